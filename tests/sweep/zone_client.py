"""``interlock-client``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

from interlock_client import context, log_seen
from interlock_client.cli import edge, group
from interlock_client.context import Context
from interlock_client.identity import MAX_KEY
from interlock_client.powercut import scenario
from interlock_client.sealed import MAX_RECORD, seal
from interlock_core.bundle import MAX_BUNDLE
from interlock_core.roster import MAX_ROSTER
from tests.client.bed import Bed
from tests.client.fleet import SECRET, Fleet
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
    Place,
    Program,
    Rule,
    Slip,
    prepared,
    run,
)
from tests.sweep.damage import ALIKE, Kind
from tests.sweep.prepare import directory, gone, link, mode, setting, steps


def _start(words: list[str], _given: Any) -> None:
    made: list[Context] = []

    def assemble(*args: Any, **more: Any) -> Context:
        made.append(_ASSEMBLE(*args, **more))
        return made[-1]

    # A process that ends closes its connections; what `run` would do would never end.
    assembled = mock.patch.object(context, "assemble", assemble)
    with mock.patch("interlock_client.daemon.run"), assembled:
        try:
            edge.run(group, words)
        finally:
            for one in made:
                one.close()


_ASSEMBLE: Final = context.assemble
PROGRAM: Final = Program(
    "interlock-client",
    group,
    _start,
    ("error (", "refused (", "transient (", "deferred (", "boot-select: ", "Error: "),
)


def place(beside: Path) -> Place:
    """Gateways: one waits until now is safe, one has just rebooted, one was confirmed and has a
    report that waits, one has enrolled and not reported yet.
    """
    world = World(beside, Clock(datetime.now(UTC).replace(microsecond=0)))
    web = Web(world.store)
    web.__enter__()
    home = beside / "gateways"
    beds = [Bed(home / name, world, web) for name in ("waits", "rebooted", "confirmed", "enrolled")]
    configs = [str(bed.write_config()) for bed in beds]
    world.roll_out(world.release("1.0.0", b"release one " * 500))
    waits, *others = beds
    text = Path(configs[0]).read_text().replace("http://", "https://")
    (waits.home / "tls.toml").write_text(f'ca_file = "ca.pem"\n{text}')
    (waits.home / "ca.pem").write_text("no certificate\n")
    names = ("config", "rebooted", "confirmed", "enrolled", "tls")
    values = dict(zip(names, [*configs, str(waits.home / "tls.toml")], strict=True))
    made = prepared(home, values, close=lambda: web.__exit__(None, None, None))
    waits.script("interlock.d/10-idle", "exit 1")
    for bed, config, code in zip(beds[:3], configs[:3], (10, 0, 0), strict=True):
        bed.power_on()
        done = run(PROGRAM, ["update", "--config", config], made)
        assert done.code == code, done
    for bed in others:
        bed.power_on()
    secrets = [f"{SECRET}-{number}" for number in range(3)]
    for name, secret in zip(("used", "claim", "third"), secrets, strict=True):
        (home / name).write_text(f"{secret}\n")
        (home / name).chmod(0o600)
    fleet = Fleet(set(secrets))
    fleet.answers(web)
    for words in (["confirm"], ["enrol", "--claim-file", str(home / "used")], ["report"]):
        done = run(PROGRAM, [*words, "--config", configs[2]], made)
        assert done.code == 0, done
    words = ["enrol", "--claim-file", str(home / "third"), "--config", configs[3]]
    assert run(PROGRAM, words, made).code == 0
    shown = log_seen.LogSeen(url="https://gone.example/log/checkpoint", etag=None, text="seen")
    (home / "enrolled" / "state" / "log-checkpoint.json").write_bytes(seal(shown))
    # Nobody takes the next report.
    web.lies = {"/v1/enrolments": fleet.answer}
    assert run(PROGRAM, ["check", "--config", configs[2]], made).code == 0
    done = run(PROGRAM, ["report", "--config", configs[2]], made)
    assert done.code == 30, done
    power = home / "power"
    for name, text in (("slots/a", "old firmware"), ("old.img", "old firmware"), ("boot/x", "")):
        (power / name).parent.mkdir(parents=True, exist_ok=True)
        (power / name).write_text(text)
    (power / "power-cuts.toml").write_text(
        'watch = ["slots", "boot"]\ncommand = ["touch", "slots/b"]\n'
        'boots = ["echo", "slots/a"]\ngood = ["old.img"]\n'
    )
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
NEEDLESS: Final[Rule] = {"absent": TRANSIENT, "content": TRANSIENT, "access": TRANSIENT}
"""What nothing needs: a report is made without it, and nobody takes that here."""
RESULT: Final[Rule] = {"absent": ANY | USAGE, "content": SAFE | REFUSED, "access": TRANSIENT}
PLACE: Final[Rule] = {"missing": ANY, "absent": REFUSED, "access": ANY}

CONFIG: Final = Input("waits/gateway.toml", Kind.TOML, WRITTEN)
MEMORY: Final = Input("waits/state/memory.json", Kind.JSON, EVIDENCE, MAX_RECORD, leaves=STATE)
JOURNAL: Final = Input("waits/state/journal.json", Kind.JSON, EVIDENCE, MAX_RECORD, leaves=STATE)
BOOT: Final = Input(
    "waits/boot/boot-0.json",
    Kind.JSON,
    MENDED,
    MAX_RECORD,
    leaves=("waits/boot/*", "waits/booted", *STATE),
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
TRANSFER: Final = Input("waits/state/transfer.json", Kind.JSON, MENDED, MAX_RECORD, leaves=STATE)
CACHES: Final = (
    SEEN,
    Input("waits/state/bundle.json", Kind.JSON, MENDED, MAX_BUNDLE, leaves=STATE, without=ALIKE),
    Input("waits/state/roster.json", Kind.JSON, MENDED, MAX_ROSTER, leaves=STATE, without=ALIKE),
    *(
        Input(
            f"waits/state/trusted/{file}.json",
            Kind.JSON,
            TRUSTED,
            limit,
            ("trusted",),
            STATE,
            ALIKE,
        )
        for file, limit in (
            ("image/timestamp", 16_384),
            ("image/ward-gateway", 5_000_000),
            ("image/root_history/1.root", 512_000),
            ("director/wards/snapshot", 2_000_000),
        )
    ),
)
LOG_SEEN: Final = Input(
    "enrolled/state/log-checkpoint.json",
    Kind.JSON,
    NEEDLESS,
    MAX_RECORD,
    says=("/v1/reports",),
    leaves=STATE,
)
ROOTS: Final = (
    Input("waits/image.root.json", Kind.JSON, WRITTEN, 512_000, leaves=STATE),
    Input("waits/director.root.json", Kind.JSON, WRITTEN, 512_000, leaves=STATE),
)
DIRECTORIES: Final = tuple(
    Input(
        path,
        Kind.DIRECTORY,
        PLACE,
        says=("state",),
        leaves=("waits/state", *STATE, "waits/slots/b"),
    )
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


def _fresh(home: Path) -> None:
    """As if nothing had been written yet, and now were safe."""
    (home / "waits" / "state" / "journal.json").unlink()
    (home / "waits" / "slots" / "b").unlink()
    (home / "waits" / "interlock.d" / "10-idle").write_text("#!/bin/sh\nexit 0\n")


SLIPS: Final = (
    Slip(
        "a configuration whose name is no UTF-8",
        USAGE,
        (".toml",),
        ("--config", "{home}/\udcff.toml"),
    ),
    Slip(
        "a configuration with a name of 5,000 letters",
        USAGE | TRANSIENT,
        ("xxx",),
        ("--config", "x" * 5000),
    ),
    Slip("a word too many", USAGE, ("more",), (*BASE, "more")),
    Slip("an option that nobody knows", USAGE, ("--force",), (*BASE, "--force")),
)


def traversing(key: str, value: str) -> Slip:
    """A setting that is no name, and perhaps tries to leave its place."""
    said = (key, "product")
    return Slip(
        f"{key} = {value}", USAGE, said, prepare=setting("waits/gateway.toml", key, f'"{value}"')
    )


def reasons(*more: str) -> tuple[Slip, ...]:
    """What a person who takes something back may get wrong about the reason."""
    words = (*BASE, *more)
    return (
        Slip("no reason", USAGE, ("--reason",), words),
        Slip("an empty reason", USAGE, ("reason",), (*words, "--reason", " ")),
        Slip("a reason of 5,000 letters", USAGE, ("500",), (*words, "--reason", "x" * 5000)),
    )


NAMES: Final = tuple(
    traversing(key, value)
    for key in ("fleet", "device", "product", "hardware", "cohort", "site")
    for value in ("../../outside", "a/b", "", "x" * 200)
)

NETWORK: Final = (
    Slip(
        "a CA file that holds no certificate",
        TRANSIENT | USAGE,
        ("ca.pem",),
        ("--config", "{tls}"),
        leaves=STATE,
    ),
    Slip(
        "a CA file that is missing",
        TRANSIENT | USAGE,
        ("ca.pem",),
        ("--config", "{tls}"),
        gone("waits/ca.pem"),
        leaves=STATE,
    ),
    Slip(
        "a CA file that may not be read",
        TRANSIENT | USAGE,
        ("ca.pem",),
        ("--config", "{tls}"),
        mode("waits/ca.pem", 0),
        bound=True,
        leaves=STATE,
    ),
    Slip(
        "a CA file that is a directory",
        TRANSIENT | USAGE,
        ("ca.pem",),
        ("--config", "{tls}"),
        directory("waits/ca.pem"),
        leaves=STATE,
    ),
    Slip(
        "a state directory that may not be written",
        TRANSIENT,
        ("state",),
        prepare=mode("waits/state", 0o555),
        bound=True,
        leaves=("waits/state/lock",),
    ),
    Slip("a lock that is a directory", TRANSIENT, ("lock",), prepare=directory("waits/state/lock")),
    Slip(
        "a lock that leads elsewhere",
        TRANSIENT,
        ("lock",),
        prepare=link("waits/state/lock", "../booted"),
    ),
)

OUTBOX: Final = "confirmed/state/identity/outbox"
LENIENT: Final = dict.fromkeys(
    ("a key twice", "an unknown field"), "records are believed by their checksum"
)
IDENTITY: Final = Input(
    "enrolled/state/identity/identity.json",
    Kind.JSON,
    {**EVIDENCE, "missing": REFUSED, "absent": REFUSED},
    MAX_RECORD,
    leaves=("enrolled/state/*",),
    without=LENIENT,
)
SENT: Final = replace(
    IDENTITY, path="enrolled/state/identity/sent.json", says=("sent.json", "outbox")
)
DEVICE_KEY: Final = replace(
    IDENTITY,
    path="enrolled/state/identity/device.key.pem",
    kind=Kind.TEXT,
    limit=MAX_KEY,
    without=dict.fromkeys(("NUL", "not UTF-8"), "PEM begins where it begins"),
)
WAITING: Final = Input(
    f"{OUTBOX}/0000000002.json",
    Kind.JSON,
    # The newest one that is gone was perhaps never there.
    {**EVIDENCE, "missing": ANY},
    MAX_RECORD,
    says=("0000000002.json", "outbox", "v1"),
    leaves=("confirmed/state/*",),
    without=LENIENT,
)
CLAIM: Final = Input(
    "claim",
    Kind.TEXT,
    WRITTEN,
    4096,
    says=("claim",),
    without={"truncated": "a claim too, and the server says that it is none"},
)

READS: Final = (CONFIG, MEMORY, JOURNAL, BOOT, BOOTED)
IMAGE_OF_ANY_LENGTH: Final = {
    "truncated": "a slot that begins with it may go on as it likes",
}
LOADER: Final = (
    replace(
        CONFIG,
        without=dict.fromkeys(
            ("wrong type", "an unknown key"),
            "a mistake elsewhere in the file must not keep the machine from booting",
        ),
    ),
    BOOT,
    Input(
        "waits/boot/committed",
        Kind.TEXT,
        MENDED,
        64,
        leaves=("waits/boot/*", "waits/booted"),
    ),
    replace(BOOTED, rule=MENDED, leaves=("waits/booted", "waits/boot/*")),
)

SCENARIO: Final = Input("power/power-cuts.toml", Kind.TOML, WRITTEN, scenario.MAX_SCENARIO)
TRY: Final = (*BASE, "{home}/power/power-cuts.toml")

TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(BASE), Entry((*BASE, "--installer"))),
    "power-cuts": (
        Entry((*BASE, "--sample")),
        Entry(
            (*TRY, "--operations"),
            inputs=(
                SCENARIO,
                LOADER[0],
                Input("power/old.img", Kind.BYTES, WRITTEN, without=IMAGE_OF_ANY_LENGTH),
                Input("power/slots", Kind.DIRECTORY, WRITTEN, says=("slots",)),
            ),
            slips=(
                Slip("no scenario", USAGE, ("scenario",), BASE),
                Slip(
                    "a copy where something stands",
                    USAGE,
                    ("slots",),
                    (*TRY, "--keep", "{home}/power/slots"),
                ),
                Slip("a state that there is not", USAGE, ("99999",), (*TRY, "--state", "99999")),
                Slip(
                    "a command that fails",
                    USAGE,
                    ("false",),
                    prepare=setting("power/power-cuts.toml", "command", '["false"]'),
                ),
                Slip(
                    "a program that is not there",
                    USAGE,
                    ("no-such-program",),
                    prepare=setting("power/power-cuts.toml", "boots", '["no-such-program"]'),
                ),
            ),
        ),
        Entry((*TRY, "--samples", "0"), inputs=()),
        Entry(
            (*TRY, "--state", "0", "--keep", "{home}/power/kept"),
            makes=("power/kept", "power/kept/*"),
        ),
    ),
    "boot-select": (
        Entry(BASE, makes=("waits/boot/*", "waits/booted"), inputs=LOADER, slips=SLIPS),
    ),
    "status": (Entry(BASE, inputs=(*READS, DECISION, SEEN, TRANSFER), slips=(*SLIPS, *NAMES)),),
    "check": (
        Entry(
            BASE,
            makes=STATE,
            inputs=(CONFIG, MEMORY, JOURNAL, *ROOTS, *CACHES, *DIRECTORIES),
            slips=(*SLIPS, *NETWORK),
        ),
    ),
    "clock show": (Entry(BASE, inputs=(CONFIG, MEMORY), slips=SLIPS),),
    "clock reset": (
        Entry(
            (*BASE, "--reason", "ticket 4711", "--yes"),
            makes=STATE,
            inputs=(CONFIG, MEMORY),
            slips=(
                *reasons("--yes"),
                Slip("nobody to ask", USAGE, ("--yes",), (*BASE, "--reason", "ticket 4711")),
            ),
        ),
    ),
    "explain": (
        Entry(BASE, good=10, makes=STATE, inputs=(CONFIG, MEMORY, JOURNAL), slips=SLIPS),
        Entry((*BASE, "--last"), inputs=(CONFIG, DECISION)),
    ),
    "installing": (
        Entry(
            (*BASE, "0" * 64),
            good=20,
            inputs=(CONFIG,),
            slips=(
                Slip("no digest", USAGE, ("SHA256",), BASE),
                Slip("another digest", USAGE, ("64 digits",), (*BASE, "A" * 64)),
                Slip("a word too many", USAGE, ("more",), (*BASE, "0" * 64, "more")),
            ),
        ),
    ),
    "tpm show": (Entry(BASE, good=2, inputs=(), slips=SLIPS),),
    "tpm provision": (
        Entry(
            (*BASE, "--owner-auth-file", "{home}/claim"),
            good=2,
            inputs=(),
            slips=(
                *SLIPS,
                Slip("adopted without a reason", USAGE, ("--reason",), (*BASE, "--adopt")),
                Slip("a reason for nothing", USAGE, ("--adopt",), (*BASE, "--reason", "why")),
                Slip(
                    "an authorisation that others may read",
                    USAGE,
                    ("chmod 600",),
                    (*BASE, "--owner-auth-file", "{home}/claim"),
                    mode("claim", 0o644),
                ),
            ),
        ),
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
                    prepare=steps(_fresh, mode("waits/slots", 0o555)),
                    bound=True,
                    leaves=(*STATE, "waits/boot/*"),
                ),
                Slip(
                    "a boot environment that may not be written",
                    TRANSIENT,
                    ("boot",),
                    prepare=steps(_fresh, mode("waits/boot", 0o555)),
                    bound=True,
                    leaves=(*STATE, "waits/slots/b"),
                ),
            ),
        ),
        Entry((*BASE, "--lift-budget"), good=10, makes=STATE, inputs=(TRANSFER,)),
    ),
    "confirm": (
        Entry(BASE, makes=STATE, inputs=(CONFIG, JOURNAL, BOOT, BOOTED), slips=SLIPS),
        Entry(
            ("--config", "{rebooted}"),
            makes=("rebooted/state/*", "rebooted/boot/*"),
            inputs=(
                *_of("rebooted", MEMORY, BOOT, BOOTED),
                replace(*_of("rebooted", JOURNAL), says=("journal",)),
            ),
            slips=(
                Slip(
                    "a state directory that may not be written",
                    TRANSIENT,
                    ("state",),
                    prepare=mode("rebooted/state", 0o555),
                    bound=True,
                ),
            ),
        ),
    ),
    "retry": (
        Entry(
            (*BASE, "--reason", "ticket 4711"),
            makes=STATE,
            inputs=(CONFIG, MEMORY, DECISION),
            slips=(
                *reasons(),
                Slip(
                    "an order of two letters",
                    USAGE,
                    ("8",),
                    (*BASE, "--reason", "ticket 4711", "--order", "ab"),
                    leaves=STATE,
                ),
            ),
        ),
    ),
    "rollback": (
        Entry(
            ("--config", "{confirmed}"),
            makes=("confirmed/state/*", "confirmed/boot/*", "confirmed/rebooting"),
            inputs=_of("confirmed", CONFIG, MEMORY, JOURNAL, BOOT, BOOTED),
            slips=(
                *SLIPS,
                Slip(
                    "without the TPM and without a reason",
                    USAGE,
                    ("--reason",),
                    ("--without-tpm", "--config", "{confirmed}"),
                ),
            ),
        ),
    ),
    "run": (Entry(BASE, inputs=(CONFIG,), slips=SLIPS),),
    "enrol": (
        Entry(
            ("--claim-file", "{home}/claim", "--config", "{rebooted}"),
            makes=("rebooted/state/*",),
            inputs=(
                replace(CONFIG, path="rebooted/gateway.toml"),
                CLAIM,
                replace(*_of("rebooted", MEMORY), says=("memory.json", "claim")),
            ),
            slips=(
                Slip("no claim", USAGE, ("claim",), ("--config", "{rebooted}")),
                Slip(
                    "two claims",
                    USAGE,
                    ("--claim-stdin",),
                    ("--claim-file", "{home}/claim", "--claim-stdin", "--config", "{rebooted}"),
                ),
                Slip(
                    "an empty claim", USAGE, ("claim",), ("--claim-stdin", "--config", "{rebooted}")
                ),
                Slip(
                    "a claim that others may read",
                    USAGE,
                    ("chmod 600",),
                    prepare=mode("claim", 0o644),
                ),
                Slip(
                    "a claim whose name is no UTF-8",
                    USAGE,
                    ("passphrase file", "claim"),
                    ("--claim-file", "{home}/\udcff", "--config", "{rebooted}"),
                ),
                Slip(
                    "a renewal without a claim",
                    USAGE,
                    ("--claim-file",),
                    ("--renew", "--config", "{confirmed}"),
                ),
                Slip(
                    "a claim that was used",
                    REFUSED,
                    ("claim",),
                    ("--claim-file", "{home}/used", "--config", "{rebooted}"),
                    leaves=("rebooted/state/identity-*",),
                ),
            ),
        ),
        Entry(("--config", "{enrolled}"), makes=("enrolled/state/*",), inputs=(IDENTITY,)),
        Entry(
            ("--rotate", "--config", "{enrolled}"),
            makes=("enrolled/state/*",),
            inputs=(IDENTITY, DEVICE_KEY),
            slips=(
                Slip(
                    "a rotation with a claim",
                    USAGE,
                    ("--rotate",),
                    ("--rotate", "--claim-file", "{home}/claim", "--config", "{enrolled}"),
                ),
                Slip(
                    "a rotation of what is not enrolled",
                    USAGE,
                    ("not enrolled",),
                    ("--rotate", "--config", "{rebooted}"),
                ),
            ),
        ),
    ),
    "report": (
        Entry(
            ("--config", "{enrolled}"),
            good=30,
            makes=("enrolled/state/*",),
            inputs=(
                replace(CONFIG, path="enrolled/gateway.toml"),
                IDENTITY,
                SENT,
                DEVICE_KEY,
                LOG_SEEN,
            ),
            slips=(
                Slip(
                    "an identity that may not be written",
                    TRANSIENT,
                    ("identity",),
                    prepare=mode("enrolled/state/identity", 0o555),
                    bound=True,
                ),
            ),
        ),
        Entry(
            ("--config", "{confirmed}"), good=30, makes=("confirmed/state/*",), inputs=(WAITING,)
        ),
    ),
}
