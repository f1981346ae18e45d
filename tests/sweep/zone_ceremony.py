"""``interlock-ceremony``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from interlock_ceremony.cli import main
from interlock_ceremony.script import MAX_SCRIPT
from interlock_ceremony.transcript import MAX_TRANSCRIPT
from interlock_core import wire
from interlock_core.ceremony_output import MAX_MANIFEST
from interlock_core.durable import watching
from interlock_core.inventory import MAX_INVENTORY, Gateways
from interlock_core.keys import MAX_KEY_FILE
from tests.keys_ceremony.stage import NOW, Stage
from tests.keys_ceremony.test_media import PowerCut
from tests.sweep.commands import (
    BAD,
    GIVEN,
    REFUSED,
    SECRET,
    TRANSIENT,
    USAGE,
    WRITTEN,
    Codes,
    Entry,
    Input,
    Place,
    Program,
    Slip,
    prepared,
)
from tests.sweep.damage import Kind
from tests.sweep.prepare import directory, mode, steps, swapped, written


def _start(words: list[str], given: Any) -> None:
    main.main(args=words, prog_name="interlock-ceremony", obj=given)


PROGRAM: Final = Program("interlock-ceremony", main, _start, ("Error: ",), many=True)


RENEWAL: Final = """\
act = "change"
fleet = "north"
previous = "out"
output = "renewed"
administrator = "bob"
persons = { bob = "Bob Bach", carol = "Carol Cui" }

[[changes]]
do = "renew"
role = "director.root"

[accepted_risks]
"image.targets" = "The image root's holders can replace it."
"director.root" = "Gateways are few and near."
"""
LATER: Final = (
    "{home}/held/renew.toml",
    "--key",
    "{home}/held/out/keys",
    "--yes",
    *(
        word
        for holder in ("bob", "carol")
        for word in ("--passphrase-file", f"{holder}={{home}}/held/{holder}.txt")
    ),
)


def _power_cut(act: str, path: Path) -> None:
    if (act, path.name) == ("link", "1.targets.json"):
        raise PowerCut


def place(beside: Path) -> Place:
    """Where a ceremony was held (``held``), can be (``next``), and was interrupted (``cut``)."""
    home = beside / "home"
    for name in ("held", "next", "cut"):
        (home / name).mkdir(parents=True)
    Stage.setup(home / "held").done()
    with watching(_power_cut), suppress(PowerCut):
        Stage.setup(home / "cut").run()
    (home / "held" / "renew.toml").write_text(RENEWAL)
    (home / "held" / "hybrid.toml").write_text(HYBRID)
    (home / "held" / "gateways.json").write_bytes(wire.encode(NOBODY))
    return prepared(home, {}, Stage.setup(home / "next").room)


SCRIPT: Final = Input("next/genesis.toml", Kind.TOML, WRITTEN, MAX_SCRIPT)
ONLINE: Final = Input(
    "next/online/image-online.pub.json",
    Kind.JSON,
    {"absent": USAGE, "content": USAGE, "access": USAGE},
    MAX_KEY_FILE,
)
SECRET_FILE: Final = Input(
    "next/bob.txt",
    Kind.TEXT,
    SECRET,
    4096,
    says=("bob",),
    without={"truncated": "a passphrase too", "NUL": "a passphrase too"},
)
RUN: Final = (
    "{home}/next/genesis.toml",
    *(
        word
        for holder in ("alice", "bob", "carol", "dana")
        for word in ("--passphrase-file", f"{holder}={{home}}/next/{holder}.txt")
    ),
)


ABANDON: Final = (
    "{home}/cut/genesis.toml",
    "--reason",
    "the machine had a network",
    "--key",
    "{home}/held/out/keys",
    *(
        word
        for holder in ("alice", "bob", "carol", "dana")
        for word in ("--passphrase-file", f"{holder}={{home}}/cut/{holder}.txt")
    ),
    "--by",
    "dana",
)


def changed(old: str, new: str, *, codes: Codes = USAGE, says: str = "genesis.toml") -> Slip:
    """The script with one thing written otherwise."""
    name = f"{new[:60]} for {old}"
    return Slip(name, codes, (says,), prepare=swapped("next/genesis.toml", old, new))


SCRIPTS: Final = (
    changed('fleet = "north"', 'fleet = "../../x"'),
    changed('output = "out"', 'output = ".."'),
    changed('output = "out"', 'output = "nothing/out"'),
    changed('output = "out"', 'output = "genesis.toml"'),
    changed('output = "out"', 'output = "a\\u0000b"'),
    changed('output = "out"', f'output = "{"x" * 300}"'),
    changed('alice = "Alice Amsel"', '"../alice" = "Alice Amsel"'),
    changed("threshold = 2", "threshold = 0"),
    changed("threshold = 2", f"threshold = {2**70}"),
    changed('"online/image-online.pub.json"', '"../../outside.pub.json"'),
    changed('"online/image-online.pub.json"', '"/dev/null"'),
    changed('"online/image-online.pub.json"', '"x\\u0000"'),
    Slip(
        "something stands at the output",
        USAGE,
        ("out",),
        prepare=steps(directory("next/out"), written("next/out/x", "mine")),
    ),
    Slip(
        "the output may not be looked at",
        USAGE | TRANSIENT,
        ("next", "out"),
        prepare=mode("next", 0),
        bound=True,
    ),
    Slip("a script whose name is no UTF-8", USAGE, (".toml",), ("{home}/\udcff.toml",)),
)

PREVIOUS: Final = {"absent": USAGE, "content": USAGE, "access": USAGE}
"""What is wrong with the ceremony before is wrong with the script that names it."""


MEDIA: Final = {"absent": USAGE | REFUSED, "content": REFUSED, "access": BAD}
NEW_KEY: Final = (
    "dana",
    "--directory",
    "{home}/next/attending",
    "--passphrase-file",
    "{home}/next/bob.txt",
)
HYBRID: Final = RENEWAL.replace('output = "renewed"', 'output = "hybrid"').replace(
    'do = "renew"\nrole = "director.root"',
    'do = "replace"\nrole = "director.root"\nholder = "bob"\nby = "bob"\n'
    'scheme = "ml-dsa-65/1"\n\n[[changes]]\n'
    'do = "replace"\nrole = "director.root"\nholder = "carol"\nby = "carol"\n'
    'scheme = "ml-dsa-65/1"',
)
NOBODY: Final = Gateways(type="urn:interlock:gateways:v1", fleet="north", at=NOW, gateways=())


def moved_keys(home: Path) -> None:
    """The private keys are not with the rest."""
    for path in (home / "held" / "out" / "keys").glob("*.key.json"):
        path.unlink()


HELD: Final = (
    Input("held/out/transcript.json", Kind.JSON, GIVEN, MAX_TRANSCRIPT, says=("transcript",)),
    Input("held/out/fleet.json", Kind.JSON, GIVEN, MAX_KEY_FILE),
    Input("held/out/image/1.root.json", Kind.JSON, GIVEN, 512_000),
    Input("held/out/image/1.targets.json", Kind.JSON, GIVEN, 512_000),
    Input("held/out/director/1.root.json", Kind.JSON, GIVEN, 512_000),
    Input(
        "held/out/manifest.json",
        Kind.JSON,
        {**GIVEN, "absent": USAGE | frozenset({0})},
        MAX_MANIFEST,
    ),
    Input(
        "held/out/keys/bob-image-root.pub.json",
        Kind.JSON,
        {**GIVEN, "absent": USAGE | REFUSED, "a loop": TRANSIENT},
        MAX_KEY_FILE,
    ),
    Input(
        "held/out/keys",
        Kind.DIRECTORY,
        {"absent": BAD, "access": TRANSIENT | REFUSED},
        says=("out",),
    ),
)

TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(),),
    "rehearse": (Entry((RUN[0],), inputs=(SCRIPT, ONLINE), slips=SCRIPTS),),
    "run": (
        Entry(
            RUN,
            makes=("next/out*",),
            inputs=(SCRIPT, ONLINE, SECRET_FILE),
            slips=(
                *SCRIPTS,
                Slip(
                    "the output may not be made",
                    TRANSIENT,
                    ("out",),
                    prepare=mode("next", 0o555),
                    bound=True,
                ),
                Slip(
                    "a holder that is none",
                    USAGE,
                    ("HOLDER=FILE", "mallory"),
                    (RUN[0], "--passphrase-file", "mallory={home}/next/bob.txt"),
                ),
                Slip(
                    "a holder that leaves its place",
                    USAGE,
                    ("HOLDER=FILE",),
                    (RUN[0], "--passphrase-file", "../x={home}/next/bob.txt"),
                ),
                Slip(
                    "a passphrase file without a holder",
                    USAGE,
                    ("HOLDER=FILE",),
                    (RUN[0], "--passphrase-file", "{home}/next/bob.txt"),
                ),
                Slip("nobody to ask", USAGE, ("--passphrase-file",), (RUN[0],)),
                Slip(
                    "a passphrase that others may read",
                    USAGE,
                    ("chmod 600",),
                    prepare=mode("next/bob.txt", 0o644),
                ),
            ),
        ),
        Entry(
            (*LATER, "--gateways", "{home}/held/gateways.json"),
            makes=("held/renewed*",),
            inputs=(
                Input("held/renew.toml", Kind.TOML, WRITTEN, MAX_SCRIPT),
                Input("held/out/manifest.json", Kind.JSON, PREVIOUS, MAX_MANIFEST, ("previous",)),
                Input("held/out/transcript.json", Kind.JSON, PREVIOUS, says=("previous",)),
                Input("held/out/director/1.root.json", Kind.JSON, PREVIOUS, says=("previous",)),
                Input("held/out", Kind.DIRECTORY, PREVIOUS, says=("previous",)),
                Input(
                    "held/out/keys/bob-director-root.key.json",
                    Kind.JSON,
                    {**GIVEN, "access": BAD},
                    MAX_KEY_FILE,
                ),
                Input("held/out/keys", Kind.DIRECTORY, {"absent": BAD, "access": BAD}, 0, ("",)),
            ),
            slips=(
                Slip(
                    "a path that holds no such key",
                    USAGE,
                    ("bob-director-root.key.json",),
                    ("{home}/held/renew.toml", "--key", "{home}/next"),
                    prepare=moved_keys,
                ),
            ),
        ),
    ),
    "abandon": (
        Entry(
            ABANDON,
            makes=("cut/.out.partial*", "cut/out.abandoned-1*"),
            inputs=(
                Input("cut/genesis.toml", Kind.TOML, WRITTEN, MAX_SCRIPT),
                Input(
                    "cut/.out.partial/keys/alice-image-root.key.json",
                    Kind.JSON,
                    {**GIVEN, "access": BAD},
                    MAX_KEY_FILE,
                ),
                replace(SECRET_FILE, path="cut/bob.txt"),
            ),
            slips=(
                Slip("a stranger", USAGE, ("mallory",), (*ABANDON[:-1], "mallory")),
                Slip("no reason", USAGE, ("--reason",), (ABANDON[0], *ABANDON[3:])),
                Slip("nothing was begun", USAGE, ("next",), (RUN[0], *ABANDON[1:])),
            ),
        ),
    ),
    "key new": (
        Entry(
            NEW_KEY,
            makes=("next/attending*",),
            inputs=(replace(SECRET_FILE, says=("dana", "bob")),),
            slips=(
                Slip("a name that leaves its place", REFUSED, ("name",), ("../x", *NEW_KEY[1:])),
                Slip("no such kind of key", USAGE, ("scheme",), (*NEW_KEY, "--scheme", "rot13")),
                Slip(
                    "there is one",
                    REFUSED,
                    ("dana",),
                    NEW_KEY,
                    prepare=steps(
                        directory("next/attending"), written("next/attending/dana.pub.json", "{}")
                    ),
                ),
            ),
        ),
    ),
    "checklist": (Entry((RUN[0],), inputs=(SCRIPT, ONLINE), slips=SCRIPTS),),
    "preflight": (
        Entry((RUN[0],), inputs=(SCRIPT, ONLINE), slips=SCRIPTS),
        Entry(
            ("{home}/held/hybrid.toml", "--gateways", "{home}/held/gateways.json"),
            inputs=(
                Input("held/hybrid.toml", Kind.TOML, WRITTEN, MAX_SCRIPT),
                Input("held/gateways.json", Kind.JSON, GIVEN, MAX_INVENTORY, ("gateways",)),
            ),
            slips=(
                Slip("no list", USAGE, ("--gateways",), ("{home}/held/hybrid.toml",)),
                Slip("no number", USAGE, ("stranding",), ("x", "--despite-stranding", "many")),
            ),
        ),
    ),
    "check": (
        Entry(
            ("{home}/held/out",),
            inputs=(
                Input("held/out/manifest.json", Kind.JSON, GIVEN, MAX_MANIFEST),
                Input("held/out/fleet.json", Kind.JSON, MEDIA, MAX_KEY_FILE),
                Input("held/out/image/1.root.json", Kind.JSON, MEDIA, 512_000),
                Input("held/out", Kind.DIRECTORY, {"absent": BAD, "access": BAD}),
            ),
        ),
    ),
    "verify": (
        Entry(
            ("{home}/held/out/transcript.json",),
            inputs=HELD,
            slips=(
                Slip("no transcript", USAGE, ("TRANSCRIPT",), ()),
                Slip("one too many", USAGE, ("more",), ("{home}/held/out/transcript.json", "more")),
            ),
        ),
    ),
}
