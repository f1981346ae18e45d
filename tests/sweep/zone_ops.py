"""``interlock-ops``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from interlock_core import wire
from interlock_core.api import LogRecord, RolloutStages
from interlock_core.checkpoint import Checkpoint, sign_checkpoint
from interlock_core.decommissioned import MAX_CERTIFICATE
from interlock_core.inventory import MAX_INVENTORY
from interlock_core.keys import MAX_KEY_FILE
from interlock_core.log import Entry as LogEntry
from interlock_core.log import pack, statement_fact, write_entry
from interlock_core.order import Target
from interlock_core.recall_papers import Recalled
from interlock_core.statement import MAX_ENVELOPE
from interlock_core.tree import Tree, leaf_hash
from interlock_ops.cli import main
from interlock_ops.cli.edge import Edge
from interlock_ops.order_file import MAX_ORDER_FILE
from interlock_ops.settings import MAX_CONFIG
from tests.ops import world
from tests.ops.world import (
    IMAGE,
    OLD,
    OLD_PATH,
    OLD_SHA,
    OPS_ROSTER,
    PATH,
    SHA256,
    Served,
    StandIn,
    Ticking,
    build_with_older,
)
from tests.support import papers
from tests.support.papers import authorise, opening, started, stop
from tests.support.people import DAY0, FLEET, signer
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
    Rule,
    Slip,
    prepared,
    run,
)
from tests.sweep.damage import ALIKE, Kind
from tests.sweep.keys import key_new
from tests.sweep.prepare import directory, gone, mode, nothing, setting, written


def _start(words: list[str], given: Any) -> None:
    main.main(args=words, prog_name="interlock-ops", obj=given)


PROGRAM: Final = Program("interlock-ops", main, _start, ("interlock-ops: ", "Error: "))
WANTED: Final = Target(path=PATH, length=len(IMAGE), sha256=SHA256)


def place(beside: Path) -> Place:
    """An operator's workstation, a server with rollouts in every state, metadata that was seen."""
    original = build_with_older(beside / "original")
    home = beside / "home"
    shutil.copytree(original.home, home)
    clock = Ticking()
    server = StandIn(OPS_ROSTER, clock, original.store)
    served = Served(server)
    new, ready, running, paused, opened = (
        papers.order(targets=(WANTED,), seq=seq, by="omar" if seq == 1 else "olga")
        for seq in range(1, 6)
    )
    go, waiting = opening(running), opening(opened)
    consents = [
        authorise(order, by, role=role)
        for order in (ready, running, paused, opened)
        for by, role in (("ada", "approver"), ("hanna", "hospital"))
    ]
    older = Target(path=OLD_PATH, length=len(OLD), sha256=OLD_SHA)
    back = papers.order(targets=(older,), seq=9, kind="recall")
    server.post(back, papers.notice(back, images=(Recalled(path=PATH, sha256=SHA256),)))
    server.post(new, ready, running, paused, opened, *consents, go, authorise(go), waiting)
    known = papers.exclusion(running, failure="bad_health")
    server.post(*started(paused), stop(paused), known)
    clock.now += timedelta(days=2)
    _keep_log(server, home)
    _monitor(home, served.url)
    made = world.Place(home, clock, server, served.url)
    made.order_file()
    waits, belongs = (server.fleet.add(papers.enrolment(f"GW-000{n}")) for n in (1, 2))
    moved = papers.assignment(
        belongs.id, device="GW-0002", from_cohort="canary", to_cohort="st-anna"
    )
    server.post(papers.countersign(belongs), moved)
    held = papers.hold(by="olga", at=clock.now)
    server.post(papers.site(by="olga", at=clock.now), held)
    scrapped = server.fleet.add(papers.enrolment("GW-0003"))
    server.post(papers.countersign(scrapped), papers.decommission(scrapped, by="olga"))
    config, ada = made.config("olga"), made.config("ada")
    (home / "envelope.json").write_bytes(wire.encode(new.envelope))
    (home / "ca.pem").write_text("no certificate\n")
    (home / "other.pass").write_text("correct horse battery\n")
    (home / "other.pass").chmod(0o600)
    values = {
        "config": str(config),
        "ada": str(ada),
        "move": moved.id,
        "held": held.id,
        "waits": waits.said.device,
        "belongs": belongs.said.device,
        "new": new.id,
        "ready": ready.id,
        "running": running.id,
        "paused": paused.id,
        "recall": back.id,
        "go": waiting.id,
        "exclusion": known.id,
        "secure": served.url.replace("http:", "https:"),
    }
    inventory = made.json("device", "export", home / "before.json")
    assert inventory["reason"] == "exported"
    counters = RolloutStages(
        order=running.id,
        state="running",
        changed_at=DAY0,
        held_since=None,
        held_why=None,
        cohorts=(),
        stages=(),
    )
    server.stages = [(200, counters)]

    def sleep(seconds: float) -> None:
        clock.now += timedelta(seconds=seconds)

    edge = Edge(clock, sleep, at_terminal=lambda: False)
    ready_made = prepared(home, values, edge, served.close)
    for words in (
        ("rollout", "status"),
        ("log", "export", str(home / "audit"), "--log-key", str(home / "log.pub.json")),
    ):
        seen = run(PROGRAM, [*words, "--config", str(config)], ready_made)
        assert seen.code == 0, seen
    out = ["--out", str(home / "certificate"), "--config", str(config)]
    certified = run(PROGRAM, ["device", "certificate", "write", "GW-0003", *out], ready_made)
    assert certified.code == 0, certified
    ready_made.keep()
    return ready_made


def _keep_log(server: StandIn, home: Path) -> None:
    """A log of what was posted, at the stand-in, and its public key."""
    world.write_key(home, "log")
    entries, records = [], []
    for number, paper in enumerate(server.papers):
        fact = statement_fact(paper.said.PREDICATE, paper.id, wire.encode(paper.envelope))
        entries.append(write_entry(LogEntry(number=number, at=server.clock(), fact=fact)))
        records.append(LogRecord(number=number, envelope=paper.envelope))
    root = Tree.of([leaf_hash(entry) for entry in entries]).root()
    note = sign_checkpoint(Checkpoint(f"{FLEET}/log", len(entries), root), signer("log"))
    server.log = {"/log/checkpoint": note.encode(), "/log/tail": pack(entries)}
    server.records = tuple(records)


def _monitor(home: Path, url: str) -> None:
    """A monitor's settings and key. Its spool, which it empties, is in tests/ops."""
    world.write_key(home, "mona")
    (home / "stops").mkdir()
    (home / "monitor.toml").write_text(
        f"""server = "{url}"
fleet = "{FLEET}"
image_root = "1.root.json"
log_key = "log.pub.json"
key = "mona.key.json"
passphrase_file = "passphrase"
state_directory = "watch"

[monitor]
stops_directory = "stops"
interval = "1m"
"""
    )


MENDED: Final[Codes] = frozenset({0}) | TRANSIENT | REFUSED
SEEN: Final[Rule] = {"absent": MENDED, "content": MENDED, "access": MENDED}
"""Metadata that is remembered: verified again whatever it says."""
STATE: Final = ("state", "state/*")
MADE: Final = ("out.json", *STATE)

CONFIG: Final = Input("olga.toml", Kind.TOML, WRITTEN, MAX_CONFIG, ("olga.toml", "is needed"))
KEY: Final = Input("olga.key.json", Kind.JSON, GIVEN, MAX_KEY_FILE, leaves=STATE)
PUBLIC: Final = Input("olga.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE, leaves=STATE)
PASSPHRASE: Final = Input(
    "passphrase", Kind.TEXT, SECRET, 4096, says=("passphrase", "key.json"), leaves=STATE
)
ROOT: Final = Input("1.root.json", Kind.JSON, GIVEN, 512_000, says=("root",), leaves=STATE)
MEMORY: Final = tuple(
    Input(f"state/metadata/{name}.json", Kind.JSON, SEEN, limit, ("",), MADE, ALIKE)
    for name, limit in (("timestamp", 16_384), ("snapshot", 2_000_000), ("interlock", 5_000_000))
)
PLACES: Final = tuple(
    Input(path, Kind.DIRECTORY, SEEN, says=("state",), leaves=MADE)
    for path in ("state", "state/metadata")
)

BASE: Final = ("--config", "{config}")
ACT: Final = (*BASE, "--reason", "a good one", "--yes", "--output", "{home}/out.json")


def _setting(name: str, value: str, codes: Codes = USAGE, says: str = "") -> Slip:
    prepare = setting("olga.toml", name, value)
    return Slip(f"{name} = {value}", codes, (says or name,), prepare=prepare, leaves=STATE)


SETTINGS: Final = (
    Slip("settings whose name is no UTF-8", USAGE, (".toml",), ("--config", "{home}/\udcff.toml")),
    Slip("no settings", USAGE, ("image_root", "key", "server", "fleet"), ()),
    _setting("server", '"ftp://x"'),
    _setting("server", '"http://updates.example.org"', USAGE, "updates.example.org"),
    _setting("server", '""'),
    _setting("server", "7"),
    _setting("server", '"http://127.0.0.1:9"', TRANSIENT, "127.0.0.1:9"),
    _setting("server", '"http://[::1"', USAGE, "[::1"),
    _setting("server", '"http://127.0.0.1\\u0000"'),
    _setting("proxy", '"socks5://x"'),
    _setting("proxy", '"http://"', USAGE, "proxy"),
    _setting("fleet", '"../../x"'),
    _setting("person", '"../../x"'),
    _setting("key", '"~nobody-here/x.key.json"'),
    _setting("key", '"x\\u0000.key.json"'),
    _setting("key", '"hsm:1"', USAGE, "hsm"),
    _setting("key", '"file:olga.key.json"', USAGE, "file"),
    _setting("image_root", '"../../../nothing"', USAGE, "nothing"),
    _setting("image_root", '"x\\u0000"'),
    _setting("ca_file", '"nothing.pem"', USAGE, "nothing.pem"),
    _setting("ca_file", '"x\\u0000"'),
    _setting("passphrase_file", '"x\\u0000"'),
    _setting("state_directory", '"olga.toml/x"', BAD, "olga.toml"),
    _setting("state_directory", '"x\\u0000"'),
)
TLS: Final = tuple(
    Slip(
        f"a CA file that {what}",
        USAGE | TRANSIENT,
        ("ca.pem", "CA"),
        (*BASE, "--server", "{secure}", "--ca-file", "{home}/ca.pem"),
        prepare,
        bound=True,
        leaves=STATE,
    )
    for what, prepare in (
        ("holds no certificate", nothing),
        ("is missing", gone("ca.pem")),
        ("may not be read", mode("ca.pem", 0)),
        ("is a directory", directory("ca.pem")),
    )
)
ACTING: Final = (
    Slip(
        "something else stands at the output",
        REFUSED,
        ("out.json",),
        prepare=written("out.json", "something else\n"),
        leaves=STATE,
    ),
    Slip(
        "the output is a directory",
        USAGE,
        ("out.json", "output"),
        prepare=directory("out.json"),
        leaves=STATE,
    ),
    Slip(
        "the output may not be written",
        TRANSIENT,
        ("out.json",),
        prepare=mode("", 0o555),
        bound=True,
        leaves=STATE,
    ),
)


def ids(*words: str) -> tuple[Slip, ...]:
    """Ids that are none."""
    return tuple(
        Slip(
            f"the id {wrong!r}",
            USAGE,
            ("is not an id", "no UTF-8", "not UTF-8"),
            (*words, wrong, *ACT),
        )
        for wrong in ("../../x", "", "A" * 64, "0" * 63, "0" * 5000, "\udcff", "0" * 64 + "\n")
    )


def names(*words: str) -> tuple[Slip, ...]:
    """Names that are none, after an option that takes one."""
    return tuple(
        Slip(f"{words[-1]} {wrong!r}", USAGE, ("is no name",), (*words, wrong, *ACT))
        for wrong in ("../../x", "a/b", "", "X", "a" * 64, "\udcff")
    )


def act(
    *words: str,
    by: str = "{config}",
    slips: tuple[Slip, ...] = (),
    inputs: tuple[Input, ...] = (CONFIG, KEY),
) -> Entry:
    """A command that signs, into a file."""
    given = tuple(by if word == "{config}" else word for word in ACT)
    return Entry(
        (*words, *given),
        makes=MADE,
        inputs=inputs if by == "{config}" else (),
        slips=(*ACTING[:1], *slips),
    )


def devices(*words: str) -> tuple[Slip, ...]:
    """Devices that are none, after these words."""
    return tuple(
        Slip(f"the device {wrong!r}", USAGE, ("device", "DEVICE", "UTF-8"), (*words, wrong, *ACT))
        for wrong in ("../../x", "a/b", "", "d" * 200, "\udcff")
    )


def listing(*words: str, slips: tuple[Slip, ...] = ()) -> Entry:
    """A command that reads what the server knows."""
    return Entry((*words, *BASE), makes=STATE, inputs=(CONFIG,), slips=slips)


WATCH: Final = ("--config", "{home}/monitor.toml", "--once")
WATCHED: Final = ("watch", "watch/*", "stops", "stops/*")


def _watch(name: str, value: str, says: str) -> Slip:
    """A setting of a monitor that is none."""

    def prepare(home: Path) -> None:
        path = home / "monitor.toml"
        kept = [line for line in path.read_text().splitlines() if not line.startswith(f"{name} ")]
        path.write_text("\n".join([*kept, f"{name} = {value}", ""]))

    return Slip(f"{name} = {value}", USAGE, (says,), prepare=prepare)


LOG: Final = ("--log-key", "{home}/log.pub.json", *BASE)
LOG_KEY: Final = Input("log.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE, leaves=STATE)
EXPORTED: Final[Rule] = {"absent": BAD, "content": REFUSED, "access": USAGE | TRANSIENT}
NEW: Final = ("new", "new/*", *STATE)
HELPS: Final[Rule] = {"absent": MENDED, "content": MENDED, "access": MENDED | USAGE}
"""Hashes only help to name what is wrong with the entries."""

CLAIM: Final = ("--product", "gateway", "--site", "ward-7", "--cohort", "canary")
CLAIMED: Final = ("--secret-dir", "{home}/secrets", *ACT)

TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(("ops",), slips=(Slip("one that is none", USAGE, ("x",), ("../x",)),)),),
    "key new": (key_new("olga", "olga.toml"),),
    "key show": (
        Entry(("{home}/olga.pub.json",), inputs=(PUBLIC,)),
        Entry(("{home}/olga.key.json",), inputs=(PUBLIC, replace(KEY, leaves=()))),
    ),
    "rollout propose": (
        Entry(
            ("{home}/order.toml", *ACT),
            makes=MADE,
            inputs=(
                CONFIG,
                KEY,
                PUBLIC,
                PASSPHRASE,
                ROOT,
                *MEMORY,
                *PLACES,
                Input("order.toml", Kind.TOML, WRITTEN, MAX_ORDER_FILE),
            ),
            slips=(
                *ACTING,
                Slip(
                    "a number that is none",
                    USAGE,
                    ("--seq",),
                    ("{home}/order.toml", "--seq", "0", *ACT),
                ),
                Slip(
                    "a step that is none",
                    REFUSED,
                    ("lists no image",),
                    ("{home}/order.toml", "--via", "../../x", *ACT),
                    leaves=STATE,
                ),
                Slip(
                    "an order to supersede that is none",
                    USAGE,
                    ("is not an id",),
                    ("{home}/order.toml", "--supersedes", "../../x", *ACT),
                ),
            ),
        ),
    ),
    "rollout authorise": (
        act(
            "{new}",
            "--role",
            "approver",
            by="{ada}",
            slips=(*ids("--role", "approver"), *names("{new}", "--role")),
        ),
        act(
            "--go",
            "{go}",
            "--role",
            "approver",
            by="{ada}",
            slips=ids("--role", "approver", "--go"),
        ),
        act(
            "--exclusion",
            "{exclusion}",
            "--role",
            "approver",
            by="{ada}",
            slips=ids("--role", "approver", "--exclusion"),
        ),
    ),
    "rollout start": (
        act(
            "{ready}",
            slips=(
                *ids(),
                *(
                    Slip(
                        f"{option} {wrong!r}",
                        USAGE,
                        (option, "opened"),
                        ("{ready}", option, wrong, *ACT),
                    )
                    for option in ("--valid-for", "--opened-at")
                    for wrong in ("soon", "", "9" * 400 + "d", "-1h", "\udcff")
                ),
            ),
        ),
    ),
    "rollout advance": (
        act(
            "{running}",
            slips=(
                *ids(),
                Slip(
                    "a stage that is none", USAGE, ("stage",), ("{running}", "--stage", "99", *ACT)
                ),
            ),
        ),
    ),
    "rollout renew": (act("{running}", slips=ids()),),
    "rollout pause": (
        act(
            "{running}",
            slips=(*ids(), *names("{running}", "--cohort"), *names("{running}", "--site")),
        ),
        Entry(
            ("{running}", "--monitor", "{home}/stops", *ACT),
            makes=(*MADE, "stops", "stops/*"),
            slips=(
                Slip(
                    "a spool that is missing",
                    USAGE,
                    ("stops",),
                    prepare=gone("stops"),
                    leaves=STATE,
                ),
                Slip(
                    "a spool that may not be written",
                    TRANSIENT,
                    ("stops",),
                    prepare=mode("stops", 0o555),
                    bound=True,
                    leaves=STATE,
                ),
            ),
        ),
    ),
    "rollout recall begin": (
        Entry(
            ("gateway/2.0.0", "--to", "1.0.0", *ACT),
            makes=("out*.json", "stop-out*.json", *STATE),
            inputs=(CONFIG, KEY),
            slips=(
                # The stops are signed first, and are of use by themselves.
                replace(ACTING[0], leaves=("stop-out*.json", *STATE)),
                *(
                    Slip(
                        f"the release {wrong!r}",
                        USAGE,
                        ("PRODUCT/VERSION", "released", "UTF-8"),
                        (wrong, *ACT),
                        leaves=STATE,
                    )
                    for wrong in ("../../x", "gateway", "gateway/", "gateway/9.9.9", "", "\udcff")
                ),
                *names("gateway/2.0.0", "--first"),
                *(
                    Slip(
                        f"{option} {wrong!r}",
                        USAGE,
                        (option,),
                        ("gateway/2.0.0", option, wrong, *ACT),
                    )
                    for option in ("--soak", "--lasts", "--deadline")
                    for wrong in ("soon", "", "9" * 400 + "d", "-1h", "\udcff")
                ),
            ),
        ),
    ),
    "rollout recall status": (
        Entry(
            ("{recall}", *BASE, "--csv", "{home}/list.csv", "--inventory", "{home}/before.json"),
            makes=(*STATE, "list.csv"),
            inputs=(CONFIG, Input("before.json", Kind.JSON, WRITTEN, MAX_INVENTORY)),
            good=10,
            slips=(
                *(
                    Slip(slip.name, slip.codes, slip.says, (slip.words or ("",))[:1] + BASE)
                    for slip in ids()
                ),
                Slip(
                    "an order that is no such recall",
                    REFUSED,
                    ("recall",),
                    ("{running}", *BASE),
                    leaves=STATE,
                ),
                Slip(
                    "something stands at the list",
                    REFUSED,
                    ("list.csv",),
                    ("{recall}", *BASE, "--csv", "{home}/list.csv"),
                    written("list.csv", "something else\n"),
                    leaves=STATE,
                ),
            ),
        ),
    ),
    "rollout recall record": (
        act(
            "{recall}",
            "{belongs}",
            "--as",
            "returned",
            slips=(
                *(
                    Slip(
                        slip.name,
                        slip.codes,
                        slip.says,
                        (*(slip.words or ("",))[:1], "GW-0002", "--as", "returned", *ACT),
                    )
                    for slip in ids()
                ),
                *devices("{recall}", "--as", "returned"),
                Slip(
                    "a word that is none",
                    USAGE,
                    ("--as",),
                    ("{recall}", "{belongs}", "--as", "lost", *ACT),
                ),
                Slip(
                    "a time that is none",
                    USAGE,
                    ("--since",),
                    ("{recall}", "{belongs}", "--as", "returned", "--since", "soon", *ACT),
                    leaves=STATE,
                ),
            ),
        ),
    ),
    "rollout exclude": (
        act(
            "{running}",
            "--device",
            "GW-0002",
            slips=(
                *ids("--device", "GW-0002"),
                *(
                    Slip(
                        f"{option} {wrong!r}",
                        USAGE,
                        (option, "UTF-8"),
                        ("{running}", option, wrong, *ACT),
                    )
                    for option in ("--device", "--reason-name")
                    for wrong in ("", "../x", "a" * 200, "\udcff", "x\ny")
                ),
                Slip("nobody is named", USAGE, ("--device", "--reason-name"), ("{running}", *ACT)),
                Slip(
                    "a device and a reason",
                    USAGE,
                    ("--device", "--reason-name"),
                    ("{running}", "--device", "GW-1", "--reason-name", "silent", *ACT),
                ),
            ),
        ),
        act("{running}", "--reason-name", "silent"),
    ),
    "rollout resume": (act("{paused}", slips=(*ids(), *ids("{paused}", "--clears"))),),
    "rollout status": (
        Entry(
            BASE,
            makes=STATE,
            inputs=(CONFIG, KEY, PUBLIC, PASSPHRASE, ROOT),
            slips=(*SETTINGS, *TLS),
        ),
        Entry(("{running}", *BASE), makes=STATE),
    ),
    "rollout watch": (
        Entry(
            ("{running}", *BASE, "--for", "1s"),
            good=10,
            makes=STATE,
            inputs=(CONFIG,),
            slips=tuple(
                Slip(
                    f"{option} {wrong!r}",
                    USAGE,
                    (option,),
                    ("{running}", option, wrong, *BASE),
                )
                for option in ("--for", "--every")
                for wrong in ("soon", "", "-1h", "\udcff")
            ),
        ),
    ),
    "rollout post": (
        Entry(
            ("{home}/envelope.json", *BASE),
            inputs=(CONFIG, Input("envelope.json", Kind.JSON, GIVEN, MAX_ENVELOPE)),
        ),
    ),
    "monitor": (
        Entry(
            WATCH,
            makes=WATCHED,
            inputs=(
                Input("monitor.toml", Kind.TOML, WRITTEN, MAX_CONFIG, leaves=WATCHED),
                Input("mona.key.json", Kind.JSON, GIVEN, MAX_KEY_FILE, leaves=WATCHED),
                Input("mona.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE, leaves=WATCHED),
                Input(
                    "passphrase",
                    Kind.TEXT,
                    SECRET,
                    4096,
                    says=("passphrase", "key.json"),
                    leaves=WATCHED,
                ),
                Input("1.root.json", Kind.JSON, GIVEN, 512_000, says=("root",), leaves=WATCHED),
                Input("log.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE, leaves=WATCHED),
            ),
            slips=(
                Slip("no settings", USAGE, ("--config",), ("--once",)),
                *(
                    _watch(name, value, says)
                    for name, value, says in (
                        ("interval", '"0s"', "interval"),
                        ("interval", '"soon"', "interval"),
                        ("stagger", "7", "stagger"),
                        ("valid_for", '"31d"', "valid_for"),
                        ("renew_before", '"7d"', "renew_before"),
                        ("alert_command", '"one"', "alert_command"),
                        ("least_devices", "{ canary = 0 }", "least_devices"),
                        ("nonsense", "1", "nonsense"),
                        ("stops_directory", '"~nobody-here/x"', "stops_directory"),
                        ("stops_directory", '"x\\u0000"', "stops_directory"),
                    )
                ),
            ),
        ),
    ),
    "log export": (
        Entry(
            ("{home}/new", *LOG),
            makes=NEW,
            inputs=(
                CONFIG,
                LOG_KEY,
                Input("state/log-checkpoint", Kind.TEXT, SEEN, 16_384, ("heckpoint",), NEW),
            ),
            slips=(
                Slip("a directory that is not empty", REFUSED, ("audit",), ("{home}/audit", *LOG)),
                Slip("a file", USAGE, ("log.pub.json",), ("{home}/log.pub.json", *LOG)),
                Slip("no key", USAGE, ("log_key",), ("{home}/new", *BASE)),
            ),
        ),
    ),
    "log verify": (
        Entry(
            ("{home}/audit", "--checkpoint", "{home}/audit/checkpoint", *LOG),
            inputs=(
                LOG_KEY,
                Input("audit/checkpoint", Kind.TEXT, EXPORTED, 16_384, ("heckpoint",)),
                Input("audit/entries.jsonl", Kind.TEXT, EXPORTED, says=("ntry", "ntries")),
                Input("audit/records.jsonl", Kind.TEXT, EXPORTED, says=("record",)),
                Input("audit/hashes.txt", Kind.TEXT, HELPS, says=("hashes",)),
            ),
            slips=(
                Slip("a directory that is none", USAGE, ("nothing",), ("{home}/nothing", *LOG)),
                Slip("no key", USAGE, ("log_key",), ("{home}/audit", *BASE)),
                *(
                    Slip(
                        f"the statement {wrong!r}",
                        USAGE,
                        ("is not an id", "UTF-8"),
                        ("{home}/audit", "--statement", wrong, *LOG),
                    )
                    for wrong in ("../../x", "", "\udcff")
                ),
            ),
        ),
    ),
    "post": (Entry(("{home}/envelope.json", *BASE), inputs=(CONFIG,)),),
    "device claim": (
        Entry(
            (*CLAIM, *CLAIMED),
            makes=(*MADE, "secrets", "secrets/*"),
            inputs=(CONFIG, KEY),
            slips=(
                ACTING[0],
                Slip(
                    "a secret is there",
                    REFUSED,
                    ("passphrase",),
                    (*CLAIM, "--secret-file", "{home}/passphrase", *ACT),
                    leaves=STATE,
                ),
                Slip(
                    "a file stands where the secrets go",
                    USAGE,
                    ("passphrase",),
                    (*CLAIM, "--secret-dir", "{home}/passphrase", *ACT),
                    leaves=STATE,
                ),
                Slip(
                    "the secrets may not be written",
                    TRANSIENT,
                    ("secrets",),
                    prepare=mode("", 0o555),
                    bound=True,
                    leaves=STATE,
                ),
                Slip(
                    "nowhere for the secrets",
                    USAGE,
                    ("--secret-dir",),
                    (*CLAIM, *ACT),
                    leaves=STATE,
                ),
                Slip(
                    "a count that is none", USAGE, ("--count",), (*CLAIM, "--count", "0", *CLAIMED)
                ),
                Slip(
                    "a time that is none", USAGE, ("valid",), (*CLAIM, "--valid", "999d", *CLAIMED)
                ),
                *(
                    Slip(
                        f"{option} {wrong!r}",
                        USAGE,
                        ("name", "product", "hardware", "device"),
                        (*CLAIM, option, wrong, *CLAIMED),
                    )
                    for option in ("--site", "--cohort", "--product", "--hardware", "--device")
                    for wrong in ("../../x", "", "\udcff")
                ),
            ),
        ),
    ),
    "device countersign": (
        act(
            "{waits}",
            "--role",
            "operator",
            slips=(
                *devices("--role", "operator"),
                Slip(
                    "a fingerprint that is none",
                    USAGE,
                    ("fingerprint",),
                    ("{waits}", "--role", "operator", "--fingerprint", "../x", *ACT),
                ),
            ),
        ),
    ),
    "device assign": (
        act(
            "{belongs}",
            "--to",
            "st-bert",
            slips=(
                *devices("--to", "st-bert"),
                *names("{belongs}", "--to"),
                Slip(
                    "a time that is none",
                    USAGE,
                    ("expires",),
                    ("{belongs}", "--to", "st-bert", "--expires", "soon", *ACT),
                ),
            ),
        ),
    ),
    "device authorise": (
        act(
            "{move}",
            "--role",
            "approver",
            by="{ada}",
            slips=(
                *ids("--role", "approver"),
                *(
                    replace(slip, name=f"--device: {slip.name}")
                    for slip in devices("{move}", "--role", "approver", "--device")
                ),
            ),
        ),
    ),
    "device export": (
        Entry(
            ("{home}/gateways.json", *BASE),
            makes=(*STATE, "gateways.json"),
            inputs=(CONFIG, KEY),
            slips=tuple(
                replace(
                    slip,
                    says=("gateways.json", "FILE"),
                    prepare=prepare,
                )
                for slip, prepare in zip(
                    ACTING,
                    (
                        written("gateways.json", "something else\n"),
                        directory("gateways.json"),
                        mode("", 0o555),
                    ),
                    strict=True,
                )
            ),
        ),
    ),
    "device list": (
        listing(
            slips=(Slip("a state that is none", USAGE, ("--state",), ("--state", "../x", *BASE)),)
        ),
    ),
    "device show": (
        listing(
            "{belongs}",
            slips=tuple(
                replace(slip, words=(slip.words or ("",))[:1] + BASE) for slip in devices()
            ),
        ),
    ),
    "explain": (
        listing(
            "{belongs}",
            slips=tuple(
                replace(slip, words=(slip.words or ("",))[:1] + BASE) for slip in devices()
            ),
        ),
    ),
    "device claims": (
        listing(
            slips=(Slip("a state that is none", USAGE, ("--state",), ("--state", "../x", *BASE)),)
        ),
    ),
    "access review": (
        Entry(
            BASE,
            good=10,
            makes=STATE,
            inputs=(CONFIG,),
            slips=tuple(
                Slip(f"{option} {wrong!r}", USAGE, (option, "UTF-8"), (option, wrong, *BASE))
                for option in ("--at", "--within")
                for wrong in ("soon", "", "9" * 400 + "d", "\udcff")
            ),
        ),
        Entry(
            ("--csv", "{home}/access.csv", *BASE),
            good=10,
            makes=(*STATE, "access.csv"),
            slips=tuple(
                replace(
                    slip,
                    says=("access.csv", "--csv"),
                    prepare=prepare,
                )
                for slip, prepare in zip(
                    ACTING,
                    (
                        written("access.csv", "something else\n"),
                        directory("access.csv"),
                        mode("", 0o555),
                    ),
                    strict=True,
                )
            ),
        ),
    ),
    "device revoke": (act("{belongs}", slips=devices()),),
    "device decommission": (
        act(
            "{belongs}",
            "--out",
            "{home}/new.certificate",
            slips=(
                *devices("--out", "{home}/new.certificate"),
                Slip(
                    "something stands where the certificate goes",
                    REFUSED,
                    ("certificate",),
                    ("{belongs}", "--out", "{home}/certificate", *ACT),
                ),
            ),
        ),
    ),
    "device certificate write": (
        Entry(
            ("GW-0003", "--out", "{home}/written", *BASE),
            makes=(*STATE, "written"),
            inputs=(CONFIG,),
            slips=(
                Slip(
                    "something stands there",
                    REFUSED,
                    ("written",),
                    prepare=written("written", "something else\n"),
                    leaves=STATE,
                ),
                Slip(
                    "a device that is in service",
                    REFUSED,
                    ("out of service",),
                    ("{belongs}", "--out", "{home}/written", *BASE),
                    leaves=STATE,
                ),
            ),
        ),
    ),
    "device certificate verify": (
        Entry(
            ("{home}/certificate", *BASE),
            inputs=(
                replace(CONFIG, leaves=()),
                Input(
                    "certificate",
                    Kind.JSON,
                    GIVEN,
                    MAX_CERTIFICATE,
                    says=("certificate", "statement", "metadata", "root", "roster", "enrolment"),
                ),
                replace(ROOT, leaves=()),
            ),
        ),
    ),
    "site add": (
        act(
            "ward-9",
            "--time-zone",
            "Europe/Berlin",
            "--contact",
            "night desk: 1234",
            slips=(
                *(
                    Slip(
                        f"{option} {wrong!r}",
                        USAGE,
                        (option, "time zone", "contact", "UTF-8"),
                        ("ward-9", "--time-zone", "Europe/Berlin", option, wrong, *ACT),
                    )
                    for option in ("--time-zone", "--contact")
                    for wrong in ("../x", "", "x" * 500, "\udcff", "Mars/Olympus")
                ),
                Slip(
                    "a site that is none",
                    USAGE,
                    ("is no name",),
                    ("../x", "--time-zone", "Europe/Berlin", *ACT),
                ),
                Slip(
                    "notes that are too long",
                    USAGE,
                    ("--notes",),
                    ("ward-9", "--time-zone", "Europe/Berlin", "--notes", "x" * 2001, *ACT),
                ),
            ),
        ),
    ),
    "site edit": (
        act(
            "ward-7",
            "--notes",
            "another gate",
            slips=(
                Slip("a site that is none", USAGE, ("is no name",), ("../x", *ACT)),
                Slip(
                    "contacts and none",
                    USAGE,
                    ("--no-contacts",),
                    ("ward-7", "--contact", "a: b", "--no-contacts", *ACT),
                ),
            ),
        ),
    ),
    "site hold": (
        act(
            "ward-7",
            "--until",
            "3d",
            slips=(
                Slip(
                    "a site that is none", USAGE, ("is no name",), ("../x", "--until", "3d", *ACT)
                ),
                *(
                    Slip(
                        f"{option} {wrong!r}",
                        USAGE,
                        (option, "UTF-8"),
                        ("ward-7", "--until", "3d", option, wrong, *ACT),
                    )
                    for option in ("--until", "--from")
                    for wrong in ("soon", "", "9" * 400 + "d", "\udcff")
                ),
            ),
        ),
    ),
    "site release": (
        act(
            "ward-7",
            "--hold",
            "{held}",
            slips=(
                Slip("a site that is none", USAGE, ("is no name",), ("../x", *ACT)),
                *ids("ward-7", "--hold"),
            ),
        ),
    ),
    "cohort list": (listing(),),
    "cohort show": (
        listing(
            "canary",
            slips=(Slip("a cohort that is none", USAGE, ("is no name",), ("../x", *BASE)),),
        ),
    ),
    "site list": (listing(),),
    "site show": (
        listing(
            "ward-7", slips=(Slip("a site that is none", USAGE, ("is no name",), ("../x", *BASE)),)
        ),
    ),
}
