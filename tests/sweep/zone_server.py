"""``interlock-server``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

from interlock_core.ceremony_output import MAX_FLEET
from interlock_core.clock import system_clock
from interlock_core.keys import MAX_KEY_FILE
from interlock_server.cli import main
from interlock_server.config import MAX_SETTINGS
from interlock_server.web.listener import Listeners
from tests.server.world import V1, Bench, Fleet
from tests.sweep.commands import (
    BAD,
    GIVEN,
    REFUSED,
    SECRET,
    TRANSIENT,
    USAGE,
    WRITTEN,
    Entry,
    Input,
    Place,
    Program,
    Rule,
    Slip,
    prepared,
)
from tests.sweep.damage import Kind
from tests.sweep.prepare import gone, link, mode, setting, steps, written


def _no_listening(_settings: object, listeners: Listeners, *_: object) -> None:
    listeners.close()
    raise SystemExit(0)


def _start(words: list[str], _given: Any) -> None:
    with mock.patch("interlock_server.cli.serve.run", _no_listening):
        main.main(args=words, prog_name="interlock-server")


PROGRAM: Final = Program("interlock-server", main, _start, ("interlock-server: ",))


TLS: Final = """tls_certificate_file = "tls.crt"
tls_key_file = "tls.key"
[storage]"""


def place(beside: Path) -> Place:
    """A founded server with one release, and in ``blank`` one before its ``init``."""
    home = beside / "fleet"
    fleet = Fleet(home, system_clock())
    fleet.copy(home / "blank")
    bench = Bench(fleet)
    bench.found()
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    bench.back.database.close()
    (home / "fresh.pass").write_text("correct horse battery\n")
    (home / "fresh.pass").chmod(0o600)
    (home / "tls.toml").write_text(fleet.config.read_text().replace("[storage]", TLS))
    (home / "tls.crt").write_text("no certificate\n")
    (home / "tls.key").write_text("no key\n")
    return prepared(home, {})


SETTINGS: Final = Input("server.toml", Kind.TOML, WRITTEN, MAX_SETTINGS)
# A wrong passphrase does not open a key; a damaged one may look like a wrong one.
PASSPHRASE: Final = Input("passphrase", Kind.TEXT, SECRET, 4096, says=("passphrase", ".key.json"))
PRIVATE: Final = Input("online/director-online.key.json", Kind.JSON, GIVEN, MAX_KEY_FILE)
PUBLIC: Final = Input("online/director-targets.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE)
KEYS: Final = (SETTINGS, PASSPHRASE, PRIVATE, PUBLIC)

DONE: Final = frozenset({0})
FILED: Final[Rule] = {"absent": BAD, "content": BAD, "denied": TRANSIENT, "a loop": BAD}
"""What the server keeps for itself."""
DATABASE: Final = Input(
    "server.sqlite3",
    Kind.BYTES,
    FILED,
    says=("database", "initialised"),
    # Looking at an empty one says that it shall have a write-ahead log.
    leaves=("server.sqlite3",),
    without={"oversized": "SQLite does not look at what follows its pages"},
)
STORED: Final = {"absent": BAD, "content": BAD, "access": BAD}
STORE: Final = Input("store", Kind.DIRECTORY, STORED, says=("store", "root"))
ROOT: Final = Input("store/image/metadata/1.root.json", Kind.JSON, STORED, 512_000, ("root",))


def _founded(before: str) -> str:
    return f"blank/{before}"


def _blank(*inputs: Input) -> tuple[Input, ...]:
    return tuple(replace(one, path=_founded(one.path)) for one in inputs)


INIT: Final = ("{home}/blank/ceremony", "--config", "{home}/blank/server.toml")
CEREMONY: Final = (
    Input("blank/ceremony/fleet.json", Kind.JSON, GIVEN, MAX_FLEET),
    *(
        Input(f"blank/ceremony/{name}.json", Kind.JSON, GIVEN, limit, says=(name, role, "root"))
        for name, role, limit in (
            ("image/1.root", "image root", 512_000),
            ("image/1.targets", "image targets", 5_000_000),
            ("director/1.root", "director root", 512_000),
        )
    ),
)

BASE: Final = ("--config", "{home}/server.toml")


def _setting(name: str, value: str, says: str = "") -> Slip:
    prepare = setting("server.toml", name, value)
    return Slip(f"{name} = {value}", USAGE, (says or name,), prepare=prepare)


SLIPS: Final = (
    Slip("settings whose name is no UTF-8", USAGE, (".toml",), ("--config", "{home}/\udcff.toml")),
    Slip("a word too many", USAGE, ("more",), (*BASE, "more")),
    Slip("an option that nobody knows", USAGE, ("--force-it",), (*BASE, "--force-it")),
    Slip(
        "a store that leads to itself",
        USAGE | TRANSIENT,
        ("store",),
        prepare=link("store", "store"),
    ),
    Slip(
        "a passphrase that others may read",
        USAGE,
        ("chmod 600",),
        prepare=mode("passphrase", 0o644),
    ),
    _setting("listen", '"300.1.1.1:80"'),
    _setting("listen", '"127.0.0.1:99999999"'),
    _setting("listen", '"0.0.0.0:8080"'),
    _setting("health_listen", '"10.0.0.1:1"'),
    _setting("workers", "0"),
    _setting("workers", "2.5"),
    _setting("workers", "99999999999999999999"),
    _setting("store_directory", "[]"),
    _setting("store_directory", '"\\u0000"', "store_directory"),
    _setting("pending_directory", '"store/../store/inside"'),
    _setting("database", '"store/x.sqlite3"'),
    _setting("database", '"sqlite:///x"'),
    _setting("database", '"nosuch://x"'),
    _setting("database", '"\\u0000"', "database"),
    _setting("largest_target_bytes", "-1"),
    _setting("image_online", '"hsm:1"', "hsm"),
    _setting("image_online", '"../online/image-online.key.json"', "image-online"),
    _setting("passphrase_file", '"\\u0000"', "passphrase_file"),
)

READ_ONLY: Final = (
    Slip(
        "a store that may not be written",
        TRANSIENT,
        ("store",),
        prepare=mode("store/image/metadata", 0o555),
        bound=True,
        leaves=("store/director/*", "store/poll/*", "server.sqlite3"),
    ),
    # SQLite cannot put its write-ahead log away then.
    Slip(
        "a database that may not be written",
        TRANSIENT | DONE,
        ("database",),
        prepare=mode("server.sqlite3", 0o400),
        bound=True,
        leaves=("server.sqlite3-*",),
    ),
)


def _cohorts(says: str, words: Callable[[str], tuple[str, ...]]) -> tuple[Slip, ...]:
    """Cohorts that are none."""
    return tuple(
        Slip(f"the cohort {name!r}", REFUSED | USAGE, (says,), words(name))
        for name in ("../../outside", "a/b", "A", "", "x" * 64, "\udcff")
    )


PROVE: Final = ("image-online", "hsm:2?label=server", "--directory")

TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(),),
    "keys prove": (
        Entry(
            (*PROVE, "{home}/made"),
            # Neither a token nor a KMS is at hand: it says which library or setting is missing.
            good=2,
            makes=("made",),
            slips=(
                *(
                    Slip(
                        f"the URI {uri!r}", USAGE, ("hsm:", "KMS"), (PROVE[0], uri, *PROVE[2:], "x")
                    )
                    for uri in (
                        "",
                        "hsm:0",
                        "hsm:2?pin=1",
                        "file:x",
                        "awskms:",
                        "awskms:\udcff",
                        "awskms:a b",
                        "9" * 5000,
                    )
                ),
                *(
                    Slip(
                        f"the name {name!r}",
                        USAGE,
                        ("image-online",),
                        (name, *PROVE[1:], "{home}/made"),
                    )
                    for name in ("../x", "", "root", "\udcff")
                ),
                Slip(
                    "it is there",
                    REFUSED,
                    ("image-online.pub.json",),
                    (*PROVE, "{home}/online"),
                ),
                Slip(
                    "a file stands there", USAGE, ("server.toml",), (*PROVE, "{home}/server.toml")
                ),
                Slip(
                    "no PIN file",
                    USAGE,
                    ("PYKCS11LIB", "nothing"),
                    (*PROVE, "{home}/made", "--pin-file", "{home}/nothing"),
                    leaves=("made*",),
                ),
            ),
        ),
    ),
    "keys new": (
        Entry(
            ("{home}/made", "--passphrase-file", "{home}/fresh.pass"),
            makes=("made*",),
            inputs=(
                Input(
                    "fresh.pass",
                    Kind.TEXT,
                    SECRET,
                    4096,
                    says=("pass",),
                    without={"truncated": "a passphrase too", "NUL": "a passphrase too"},
                ),
            ),
            slips=(
                Slip(
                    "they are there",
                    REFUSED,
                    ("online",),
                    ("{home}/online", "--passphrase-file", "{home}/passphrase"),
                ),
                Slip(
                    "one is there, under another passphrase",
                    USAGE | REFUSED,
                    ("key.json",),
                    ("{home}/online", "--passphrase-file", "{home}/other.pass"),
                    steps(
                        gone("online/image-online.pub.json"),
                        written("other.pass", "another good one\n", 0o600),
                    ),
                ),
                Slip(
                    "a file stands there",
                    USAGE,
                    ("server.toml",),
                    ("{home}/server.toml", "--passphrase-file", "{home}/fresh.pass"),
                ),
                Slip(
                    "a file stands above",
                    REFUSED | USAGE | TRANSIENT,
                    ("server.toml",),
                    ("{home}/server.toml/x", "--passphrase-file", "{home}/fresh.pass"),
                ),
                Slip(
                    "a place that may not be written",
                    TRANSIENT,
                    ("made",),
                    prepare=mode("", 0o555),
                    bound=True,
                ),
                Slip("nobody to ask", USAGE, ("--passphrase-file",), ("{home}/made",)),
                Slip(
                    "a scheme that nobody knows",
                    USAGE,
                    ("--scheme",),
                    ("{home}/made", "--scheme", "rot13"),
                ),
                Slip(
                    "a short passphrase",
                    USAGE,
                    ("short",),
                    prepare=written("fresh.pass", "short\n"),
                ),
            ),
        ),
    ),
    "migrate": (
        Entry(
            BASE,
            inputs=(
                SETTINGS,
                replace(DATABASE, rule={**FILED, "missing": DONE, "empty": DONE}),
            ),
            slips=(*SLIPS[:3], READ_ONLY[1]),
        ),
    ),
    "check": (
        Entry(BASE, inputs=(*KEYS, DATABASE), slips=SLIPS),
        Entry((*BASE, "--hashes"), inputs=(STORE, ROOT)),
    ),
    "refresh": (
        Entry(
            BASE,
            makes=("server.sqlite3",),
            inputs=(SETTINGS, PASSPHRASE, DATABASE, STORE, ROOT),
            slips=(*SLIPS[:5], READ_ONLY[1]),
        ),
        Entry((*BASE, "--force"), makes=("server.sqlite3", "store/*"), slips=READ_ONLY),
    ),
    "serve": (
        Entry(
            BASE,
            inputs=(SETTINGS, PASSPHRASE, DATABASE, STORE, ROOT),
            slips=(
                *SLIPS[:5],
                Slip("no certificate", USAGE, ("tls.crt",), ("--config", "{home}/tls.toml")),
                Slip(
                    "a missing certificate",
                    USAGE,
                    ("tls.crt",),
                    ("--config", "{home}/tls.toml"),
                    gone("tls.crt"),
                ),
            ),
        ),
    ),
    "cohort list": (Entry(BASE, inputs=(SETTINGS, DATABASE), slips=SLIPS[:3]),),
    "cohort add": (
        Entry(
            ("wards", *BASE),
            makes=("server.sqlite3", "store/*"),
            inputs=(SETTINGS, PASSPHRASE, STORE),
            slips=(
                *_cohorts("cohort", lambda name: (name, *BASE)),
                Slip("no cohort", USAGE, ("NAME",), BASE),
                replace(READ_ONLY[0], prepare=mode("store/director", 0o555)),
                READ_ONLY[1],
            ),
        ),
    ),
    "init": (
        Entry(
            (*INIT, "--cohort", "canary"),
            makes=("blank/*",),
            inputs=(*CEREMONY, *_blank(*KEYS)),
            slips=(
                *_cohorts("cohort", lambda name: (*INIT, "--cohort", name)),
                Slip("no cohort", USAGE, ("--cohort",), INIT),
                Slip(
                    "no ceremony there",
                    USAGE,
                    ("fleet.json",),
                    ("{home}/nothing", "--config", "{home}/blank/server.toml", "--cohort", "a"),
                ),
                Slip(
                    "a place that may not be written",
                    TRANSIENT,
                    ("blank",),
                    prepare=mode("blank", 0o555),
                    bound=True,
                ),
            ),
        ),
    ),
}
