"""``interlock-client``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

from dataclasses import replace
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
    """Three gateways: one waits until now is safe, one has just rebooted, one was confirmed."""
    world = World(beside, Clock(datetime.now(UTC).replace(microsecond=0)))
    web = Web(world.store)
    web.__enter__()
    home = beside / "gateways"
    beds = [Bed(home / name, world, web) for name in ("waits", "rebooted", "confirmed")]
    configs = [str(bed.write_config()) for bed in beds]
    world.roll_out(world.release("1.0.0", b"release one " * 500))
    waits, *others = beds
    text = Path(configs[0]).read_text().replace("http://", "https://")
    (waits.home / "tls.toml").write_text(f'ca_file = "ca.pem"\n{text}')
    (waits.home / "ca.pem").write_text("no certificate\n")
    names = ("config", "rebooted", "confirmed", "tls")
    values = dict(zip(names, [*configs, str(waits.home / "tls.toml")], strict=True))
    made = prepared(home, values, close=lambda: web.__exit__(None, None, None))
    waits.script("interlock.d/10-idle", "exit 1")
    for bed, config, code in zip(beds, configs, (10, 0, 0), strict=True):
        bed.power_on()
        done = run(PROGRAM, ["update", "--config", config], made)
        assert done.code == code, done
    for bed in others:
        bed.power_on()
    done = run(PROGRAM, ["confirm", "--config", configs[2]], made)
    assert done.code == 0, done
    made.keep()
    return made


SAFE: Final[Codes] = frozenset({0, 10})
STATE: Final = ("*/state/*",)

ANY: Final[Codes] = SAFE | REFUSED | TRANSIENT
MENDED: Final[Rule] = {
    "absent": SAFE | TRANSIENT,
    "content": SAFE,
    "access": SAFE | TRANSIENT,
}
"""What may be lost: it is fetched again, or the disk's fault is said."""
TRUSTED: Final[Rule] = {
    "absent": SAFE | TRANSIENT,
    "content": SAFE | REFUSED,
    "access": SAFE | TRANSIENT,
}
"""As that, and what was signed and is spelled otherwise now is refused until its next version."""
EVIDENCE: Final[Rule] = {
    "missing": SAFE | REFUSED,
    "absent": ANY,
    "content": REFUSED,
    "an unknown field": SAFE | REFUSED,
    "a key twice": SAFE | REFUSED,
    "access": TRANSIENT,
}
"""What must not be lost: damaged, it is left to a person. (Records are lenient about fields that
they do not know, and believed by their checksum.)"""
RESULT: Final[Rule] = {"absent": ANY | USAGE, "content": SAFE | REFUSED, "access": TRANSIENT}
PLACE: Final[Rule] = {"missing": ANY, "absent": REFUSED, "access": ANY}

CONFIG: Final = Input("waits/gateway.toml", Kind.TOML, WRITTEN)
MEMORY: Final = Input("waits/state/memory.json", Kind.JSON, EVIDENCE, MAX_RECORD, leaves=STATE)
JOURNAL: Final = Input("waits/state/journal.json", Kind.JSON, EVIDENCE, MAX_RECORD, leaves=STATE)
BOOT: Final = Input(
    "waits/boot/boot-0.json", Kind.JSON, MENDED, MAX_RECORD, leaves=("waits/boot/*", "waits/booted", *STATE)
)
BOOTED: Final = Input(
    "waits/booted",
    Kind.TEXT,
    {"absent": USAGE | SAFE, "content": USAGE | SAFE, "access": SAFE | TRANSIENT},
    64,
    leaves=STATE,
)
DECISION: Final = Input(
    "waits/state/decisions/0000000002.json", Kind.JSON, RESULT, MAX_RECORD, leaves=STATE
)
SEEN: Final = Input("waits/state/seen.json", Kind.JSON, MENDED, MAX_RECORD, leaves=STATE)
CACHES: Final = (
    SEEN,
    Input("waits/state/bundle.json", Kind.JSON, MENDED, MAX_BUNDLE, leaves=STATE),
    Input("waits/state/roster.json", Kind.JSON, MENDED, MAX_ROSTER, leaves=STATE),
    *(
        Input(f"waits/state/trusted/{file}.json", Kind.JSON, TRUSTED, limit, ("trusted",), STATE)
        for file, limit in (
            ("image/timestamp", 16_384),
            ("image/ward-gateway", 5_000_000),
            ("image/root_history/1.root", 512_000),
            ("director/wards/snapshot", 2_000_000),
        )
    ),
)
ROOTS: Final = (
    Input("waits/image.root.json", Kind.JSON, WRITTEN, 512_000, leaves=STATE),
    Input("waits/director.root.json", Kind.JSON, WRITTEN, 512_000, leaves=STATE),
)
DIRECTORIES: Final = tuple(
    Input(path, Kind.DIRECTORY, PLACE, says=("state",), leaves=("waits/state", *STATE, "waits/slots/b"))
    for path in ("waits/state", "waits/state/decisions", "waits/state/trusted")
)

BASE: Final = ("--config", "{config}")


def _of(gateway: str, *inputs: Input) -> tuple[Input, ...]:
    """The same of another gateway, where more may be done with them."""
    return tuple(
        replace(
            one,
            path=one.path.replace("waits", gateway),
            leaves=(*STATE, f"{gateway}/boot/*", f"{gateway}/rebooting") if one.leaves else (),
        )
        for one in inputs
    )


def _read_only(*names: str) -> Any:
    def prepare(home: Path) -> None:
        for name in names:
            (home / "waits" / name).chmod(0o555)

    return prepare


def _fresh(home: Path) -> None:
    """As if nothing had been written yet, and now were safe."""
    (home / "waits" / "state" / "journal.json").unlink()
    (home / "waits" / "slots" / "b").unlink()
    (home / "waits" / "interlock.d" / "10-idle").write_text("#!/bin/sh\nexit 0\n")


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
        config = home / "waits" / "gateway.toml"
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
         ("--config", "{tls}"), lambda home: (home / "waits" / "ca.pem").unlink(), leaves=STATE),
    Slip("a CA file that may not be read", TRANSIENT | USAGE, ("ca.pem",),
         ("--config", "{tls}"), lambda home: (home / "waits" / "ca.pem").chmod(0), bound=True, leaves=STATE),
    Slip("a CA file that is a directory", TRANSIENT | USAGE, ("ca.pem",),
         ("--config", "{tls}"),
         lambda home: ((home / "waits" / "ca.pem").unlink(), (home / "waits" / "ca.pem").mkdir())[1], leaves=STATE),
    Slip("a state directory that may not be written", TRANSIENT, ("state",),
         prepare=_read_only("state"), bound=True, leaves=("waits/state/lock",)),
    Slip("a lock that is a directory", TRANSIENT, ("lock",),
         prepare=lambda home: (
             (home / "waits" / "state" / "lock").unlink(), (home / "waits" / "state" / "lock").mkdir()
         )[1]),
    Slip("a lock that leads elsewhere", TRANSIENT, ("lock",),
         prepare=lambda home: (
             (home / "waits" / "state" / "lock").unlink(), (home / "waits" / "state" / "lock").symlink_to("../booted")
         )[1]),
)  # fmt: skip

READS: Final = (CONFIG, MEMORY, JOURNAL, BOOT, BOOTED)
LOADER: Final = (
    replace(
        CONFIG,
        without={
            name: "a mistake elsewhere in the file must not keep the machine from booting"
            for name in ("wrong type", "an unknown key")
        },
    ),
    BOOT,
    replace(BOOTED, rule=MENDED, leaves=("waits/booted", "waits/boot/*")),
)

TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(),),
    "boot-select": (Entry(BASE, makes=("waits/boot/*", "waits/booted"), inputs=LOADER, slips=SLIPS),),
    "status": (Entry(BASE, inputs=(*READS, DECISION, SEEN), slips=(*SLIPS, *NAMES)),),
    "check": (
        Entry(
            BASE,
            makes=STATE,
            inputs=(*READS, DECISION, *ROOTS, *CACHES, *DIRECTORIES),
            slips=(*SLIPS, *NETWORK),
        ),
    ),
    "explain": (
        Entry(BASE, good=10, makes=STATE, inputs=(CONFIG, MEMORY, JOURNAL), slips=SLIPS),
        Entry((*BASE, "--last"), inputs=(CONFIG, DECISION)),
    ),
    "update": (
        Entry(
            BASE,
            good=10,
            makes=STATE,
            inputs=(CONFIG, MEMORY, JOURNAL, *ROOTS),
            slips=(
                *SLIPS,
                *NETWORK,
                Slip(
                    "slots that may not be written",
                    TRANSIENT,
                    ("slots",),
                    prepare=lambda home: (_fresh(home), _read_only("slots")(home))[1],
                    bound=True,
                    leaves=(*STATE, "waits/boot/*"),
                ),
                Slip(
                    "a boot environment that may not be written",
                    TRANSIENT,
                    ("boot",),
                    prepare=lambda home: (_fresh(home), _read_only("boot")(home))[1],
                    bound=True,
                    leaves=(*STATE, "waits/slots/b"),
                ),
            ),
        ),
    ),
    "confirm": (
        Entry(BASE, makes=STATE, inputs=(CONFIG, JOURNAL, BOOT, BOOTED), slips=SLIPS),
        Entry(
            ("--config", "{rebooted}"),
            makes=("rebooted/state/*", "rebooted/boot/*"),
            inputs=_of("rebooted", MEMORY, JOURNAL, BOOT, BOOTED),
            slips=(
                Slip(
                    "a state directory that may not be written",
                    TRANSIENT,
                    ("state",),
                    prepare=lambda home: (home / "rebooted" / "state").chmod(0o555),
                    bound=True,
                ),
            ),
        ),
    ),
    "rollback": (
        Entry(
            ("--config", "{confirmed}"),
            makes=("confirmed/state/*", "confirmed/boot/*", "confirmed/rebooting"),
            inputs=_of("confirmed", CONFIG, MEMORY, JOURNAL, BOOT, BOOTED),
            slips=SLIPS,
        ),
    ),
}
