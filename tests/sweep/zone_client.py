"""``interlock-client``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from interlock_client.cli import edge, group
from interlock_client.sealed import MAX_RECORD
from interlock_core.bundle import MAX_BUNDLE
from interlock_core.roster import MAX_ROSTER
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import Clock, World
from tests.sweep.commands import (
    REFUSED,
    TRANSIENT,
    USAGE,
    WRITTEN,
    Codes,
    Entry,
    Input,
    Kind,
    Place,
    Program,
    Rule,
    Slip,
    prepared,
    run,
)


def _start(words: list[str], _given: Any) -> None:
    edge.run(group, words)


PROGRAM: Final = Program(
    "interlock-client",
    group,
    _start,
    ("error (", "refused (", "transient (", "deferred (", "boot-select: ", "Error: "),
)


def place(beside: Path) -> Place:
    """A gateway that was asked to update, and waits until now is safe."""
    world = World(beside, Clock(datetime.now(UTC).replace(microsecond=0)))
    web = Web(world.store)
    web.__enter__()
    home = beside / "gateway"
    bed = Bed(home, world, web)
    config = bed.write_config()
    bed.power_on()
    world.roll_out(world.release("1.0.0", b"release one " * 500))
    text = config.read_text().replace(web.url, "https://127.0.0.1:9")
    (home / "tls.toml").write_text(f'ca_file = "ca.pem"\n{text}')
    (home / "ca.pem").write_text("no certificate\n")
    values = {"config": str(config), "tls": str(home / "tls.toml")}
    made = prepared(home, values, close=lambda: web.__exit__(None, None, None))
    bed.script("interlock.d/10-idle", "exit 1")
    waiting = run(PROGRAM, ["update", "--config", str(config)], made)
    assert waiting.code == 10, waiting
    made.keep()
    return made


SAFE: Final[Codes] = frozenset({0, 10})
STATE: Final = ("state/*",)

MENDED: Final[Rule] = {"absent": SAFE, "content": SAFE, "access": SAFE | TRANSIENT}
"""What may be lost: it is fetched again, or the disk's fault is said."""
EVIDENCE: Final[Rule] = {
    "missing": SAFE | REFUSED,
    "absent": REFUSED,
    "content": REFUSED,
    "an unknown field": SAFE | REFUSED,
    "a key twice": SAFE | REFUSED,
    "access": TRANSIENT,
}
"""What must not be lost: damaged, it is left to a person. (Records are lenient about fields that
they do not know, and believed by their checksum.)"""
ROOT: Final[Rule] = {"absent": USAGE, "content": USAGE, "access": TRANSIENT}

CONFIG: Final = Input("gateway.toml", Kind.TOML, WRITTEN)
MEMORY: Final = Input("state/memory.json", Kind.JSON, EVIDENCE, MAX_RECORD, leaves=STATE)
JOURNAL: Final = Input("state/journal.json", Kind.JSON, EVIDENCE, MAX_RECORD, leaves=STATE)
BOOT: Final = Input(
    "boot/boot-0.json", Kind.JSON, MENDED, MAX_RECORD, leaves=("boot/*", "booted", *STATE)
)
BOOTED: Final = Input(
    "booted",
    Kind.TEXT,
    {"absent": USAGE | SAFE, "content": USAGE | SAFE, "access": TRANSIENT},
    64,
    leaves=STATE,
)
DECISION: Final = Input(
    "state/decisions/0000000002.json",
    Kind.JSON,
    {"absent": SAFE | USAGE, "content": SAFE | REFUSED, "access": TRANSIENT},
    MAX_RECORD,
    leaves=STATE,
)
CACHES: Final = tuple(
    Input(f"state/{name}", Kind.JSON, MENDED, limit, leaves=STATE)
    for name, limit in (
        ("bundle.json", MAX_BUNDLE),
        ("seen.json", MAX_RECORD),
        ("roster.json", MAX_ROSTER),
        *(
            (f"trusted/{file}.json", 5_000_000)
            for file in (
                "image/timestamp",
                "image/targets",
                "image/ward-gateway",
                "image/root_history/1.root",
                "director/wards/snapshot",
            )
        ),
    )
)
ROOTS: Final = (
    Input("image.root.json", Kind.JSON, ROOT, 512_000, leaves=STATE),
    Input("director.root.json", Kind.JSON, ROOT, 512_000, leaves=STATE),
)
DIRECTORIES: Final = (
    Input("state", Kind.DIRECTORY, {"missing": SAFE, "absent": REFUSED, "access": TRANSIENT},
          leaves=("state", *STATE, "slots/b", "boot/*")),
    Input("state/decisions", Kind.DIRECTORY,
          {"missing": SAFE, "absent": REFUSED, "access": TRANSIENT}, leaves=STATE),
    Input("state/trusted", Kind.DIRECTORY,
          {"missing": SAFE, "absent": REFUSED, "access": TRANSIENT | SAFE}, leaves=STATE),
)  # fmt: skip

BASE: Final = ("--config", "{config}")


def _read_only(*names: str) -> Any:
    def prepare(home: Path) -> None:
        for name in names:
            (home / name).chmod(0o555)

    return prepare


def _fresh(home: Path) -> None:
    """As if nothing had been written yet, and now were safe."""
    (home / "state" / "journal.json").unlink()
    (home / "slots" / "b").unlink()
    (home / "interlock.d" / "10-idle").write_text("#!/bin/sh\nexit 0\n")


SLIPS: Final = (
    Slip("a configuration whose name is no UTF-8", USAGE, (".toml",),
         ("--config", "{home}/\udcff.toml")),
    Slip("a configuration with a name of 5,000 letters", USAGE | TRANSIENT, ("xxx",),
         ("--config", "x" * 5000)),
    Slip("a word too many", USAGE, ("more",), (*BASE, "more")),
    Slip("an option that nobody knows", USAGE, ("--force",), (*BASE, "--force")),
)  # fmt: skip


def traversing(key: str, value: str = "../../outside") -> Slip:
    """A setting that tries to leave its place."""

    def prepare(home: Path) -> None:
        config = home / "gateway.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith(key)]
        config.write_text(f'{key} = "{value}"\n' + "\n".join(lines) + "\n")

    return Slip(f"{key} = {value}", USAGE, (key, "product"), prepare=prepare)


NAMES: Final = tuple(
    traversing(key, value)
    for key in ("fleet", "device", "product", "hardware", "cohort", "site")
    for value in ("../../outside", "a/b", "", "x" * 200)
)

NETWORK: Final = (
    Slip("a CA file that holds no certificate", TRANSIENT | USAGE, ("ca.pem",),
         ("--config", "{tls}"), leaves=STATE),
    Slip("a CA file that is missing", TRANSIENT | USAGE, ("ca.pem",),
         ("--config", "{tls}"), lambda home: (home / "ca.pem").unlink(), leaves=STATE),
    Slip("a CA file that may not be read", TRANSIENT | USAGE, ("ca.pem",),
         ("--config", "{tls}"), lambda home: (home / "ca.pem").chmod(0), bound=True, leaves=STATE),
    Slip("a CA file that is a directory", TRANSIENT | USAGE, ("ca.pem",),
         ("--config", "{tls}"),
         lambda home: ((home / "ca.pem").unlink(), (home / "ca.pem").mkdir())[1], leaves=STATE),
    Slip("a state directory that may not be written", TRANSIENT, ("state",),
         prepare=_read_only("state"), bound=True, leaves=("state/lock",)),
    Slip("a lock that is a directory", TRANSIENT, ("lock",),
         prepare=lambda home: (
             (home / "state" / "lock").unlink(), (home / "state" / "lock").mkdir()
         )[1]),
    Slip("a lock that leads elsewhere", TRANSIENT, ("lock",),
         prepare=lambda home: (
             (home / "state" / "lock").unlink(), (home / "state" / "lock").symlink_to("../booted")
         )[1]),
)  # fmt: skip

READS: Final = (CONFIG, MEMORY, JOURNAL, BOOT, BOOTED)
DECIDES: Final = (*READS, *ROOTS, *CACHES, *DIRECTORIES)

TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(),),
    "boot-select": (
        Entry(
            BASE,
            makes=("boot/*", "booted"),
            inputs=(CONFIG, BOOT, Input("booted", Kind.TEXT, MENDED, 64, leaves=("booted",))),
            slips=SLIPS,
        ),
    ),
    "status": (Entry(BASE, inputs=(*READS, DECISION, *CACHES), slips=(*SLIPS, *NAMES)),),
    "check": (
        Entry(
            BASE, makes=STATE, inputs=(*DECIDES, DECISION), slips=(*SLIPS, *NETWORK, *NAMES)
        ),
    ),
    "explain": (
        Entry(BASE, good=10, makes=STATE, inputs=DECIDES, slips=SLIPS),
        Entry((*BASE, "--last"), inputs=(CONFIG, DECISION), slips=SLIPS),
    ),
    "update": (
        Entry(
            BASE,
            good=10,
            makes=STATE,
            inputs=(*DECIDES, DECISION),
            slips=(
                *SLIPS,
                *NETWORK,
                Slip(
                    "slots that may not be written",
                    TRANSIENT,
                    ("slots",),
                    prepare=lambda home: (_fresh(home), _read_only("slots")(home))[1],
                    bound=True,
                    leaves=(*STATE, "boot/*"),
                ),
                Slip(
                    "a boot environment that may not be written",
                    TRANSIENT,
                    ("boot",),
                    prepare=lambda home: (_fresh(home), _read_only("boot")(home))[1],
                    bound=True,
                    leaves=STATE,
                ),
            ),
        ),
    ),
    "confirm": (Entry(BASE, makes=STATE, inputs=(*READS, *DIRECTORIES), slips=SLIPS),),
    "rollback": (Entry(BASE, good=20, makes=STATE, inputs=(*READS, *DIRECTORIES), slips=SLIPS),),
}
