"""``interlock-repo``: what its commands read, and how each must end when that is bad."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from interlock_core.ceremony_output import MAX_FLEET, MAX_MANIFEST
from interlock_core.clock import system_clock
from interlock_core.keys import MAX_KEY_FILE
from interlock_repo.cli import main
from interlock_repo.event import MAX_EVENT
from interlock_repo.intent import MAX_INTENT
from interlock_repo.specs import MAX_SPEC
from tests.repo_tools.standin import StandIn, standing_in
from tests.repo_tools.world import MEANT, World, make_people, role, write_manifest
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
from tests.sweep.keys import key_new
from tests.sweep.prepare import link, mode, pipe, swapped, written


def _start(words: list[str], _given: Any) -> None:
    main.main(args=words, prog_name="interlock-repo")


PROGRAM: Final = Program("interlock-repo", main, _start, ("interlock-repo: ",))


def place(beside: Path) -> Place:
    """A repository with a delegation, a roster and two releases; a third, staged and half signed.

    And other holders of the product, signed for and not published.
    """
    people = beside / "people"
    people.mkdir()
    make_people(people)
    home = beside / "world"
    world = World(home, people)
    world.delegate()
    world.in_force("stage", world.release("0.9.0", 1), ("rosa", "raul"))
    world.in_force("stage", world.release("1.0.0", 2), ("rosa", "raul"))
    world.in_force("roster", world.roster(), ("tom", "tess"))
    event = home / "event"
    assert world.make("stage", event, world.release("2.0.0", 3)).code == 0
    before = ("--delta-from", home / "release-1.0.0" / "fw.img")
    assert world.make("stage", home / "lighter", world.release("2.0.0", 3), *before).code == 0
    signed = home / "signed"
    shutil.copytree(event, signed)
    assert world.sign(signed, "rosa").code == 0
    complete = home / "complete"
    shutil.copytree(signed, complete)
    assert world.sign(complete, "raul").code == 0
    # The events rest on the delegations before, so one of them can be rebased.
    world.in_force("delegate", world.delegations(""), ("ada", "ben"))
    holders = world.delegations(role("products.ward-gateway", 2, "rita", "sven"))
    assert world.make("delegate", home / "holders", holders, "--with-renewal").code == 0
    for person in ("ada", "ben"):
        assert world.sign(home / "holders", person).code == 0
    renewal = home / "renewal"
    assert world.make("renew", renewal, Path("ward-gateway"), "--after", home / "holders").code == 0
    for person in ("rita", "sven"):
        assert world.sign(renewal, person).code == 0
    world.delegations()
    world.roster()
    (home / "permit.toml").write_text(PERMIT)
    world.direct({"wards": system_clock})
    write_manifest(world.later_ceremony(home / "later", 2))
    spec = world.release("3.0.0", 4)
    (home / "other.pass").write_text("correct horse battery\n")
    (home / "other.pass").chmod(0o600)
    (home / "ca.pem").write_text("no certificate\n")
    stack = ExitStack()
    server = stack.enter_context(standing_in(StandIn(world.image(), world.store)))
    values = {
        "spec": str(spec),
        "store": str(world.store.root),
        "root": str(world.root_file),
        "url": server.url,
        "secure": server.url.replace("http:", "https:"),
    }
    return prepared(home, values, close=stack.close)


PERMIT: Final = f"""\
product = "ward-gateway"
[[permits]]
from = "1.0.0"
to = "0.9.0"
order = "{"ab" * 32}"
devices = ["GW-000001"]
expires = 2036-12-31T00:00:00Z
"""
SPEC_FOLDER: Final = "release-3.0.0"
RELEASED: Final = "release-1.0.0/fw.img"
OLD_IMAGE: Final = f"{{home}}/{RELEASED}"
ANY_BYTES: Final = dict.fromkeys(
    ("truncated", "oversized", "NUL"), "any bytes are an image, and no release put these in a slot"
)
EVENT: Final[Rule] = {
    "absent": USAGE | REFUSED,
    "content": REFUSED,
    "denied": USAGE | TRANSIENT,
    "a loop": USAGE | REFUSED,
}
REPOSITORY: Final[Rule] = {"absent": BAD, "content": BAD, "access": BAD}

ROOT: Final = Input("ceremony/image/1.root.json", Kind.JSON, GIVEN, 512_000, says=("root",))
STORED: Final = tuple(
    Input(
        f"store/image/metadata/{name}.json",
        Kind.JSON,
        REPOSITORY,
        limit,
        says=("store", "repository", "metadata", name.rpartition(".")[2]),
        without={"an unknown field": "one beside what is signed, which nobody reads"},
    )
    for name, limit in (
        ("timestamp", 16_384),
        ("6.snapshot", 2_000_000),
        ("3.targets", 5_000_000),
        ("2.ward-gateway", 5_000_000),
    )
)


def spec(path: str) -> Input:
    """A TOML file that a person wrote."""
    return Input(path, Kind.TOML, WRITTEN, MAX_SPEC)


def making(
    spec_path: str,
    *,
    of: tuple[str, ...] | None = None,
    slips: tuple[Slip, ...] = (),
    inputs: tuple[Input, ...],
) -> Entry:
    """A command that makes a new event from the store: of a specification, or of what is said."""
    said = of or (spec_path,)
    words = ("--event", "{home}/made", "--repository", "{store}", "--root", "{root}", *said)
    name = "release.toml" if spec_path == "{spec}" else Path(spec_path).name
    return Entry(
        words,
        makes=("made*",),
        inputs=inputs,
        slips=(
            Slip(
                "the event is there", REFUSED, ("event",), ("--event", "{home}/event", *words[2:])
            ),
            Slip(
                "a file stands at the event",
                USAGE | REFUSED,
                (name, "event"),
                ("--event", spec_path, *words[2:]),
            ),
            Slip(
                "a file stands above the event",
                BAD,
                (name,),
                ("--event", f"{spec_path}/x", *words[2:]),
            ),
            Slip(
                "the event may not be written",
                TRANSIENT,
                ("made",),
                prepare=mode("", 0o555),
                bound=True,
            ),
            Slip(
                "an event in a directory that may not be looked at",
                TRANSIENT,
                ("event", "keys"),
                ("--event", "{home}/keys/made", *words[2:]),
                mode("keys", 0),
                bound=True,
            ),
            Slip(
                "a repository that is none",
                BAD,
                ("nothing",),
                (*words[:2], "--repository", "{home}/nothing", *words[4:]),
            ),
            Slip(
                "a repository at a URL that is none",
                USAGE,
                ("ftp://x",),
                (*words[:2], "--repository", "ftp://x", *words[4:]),
            ),
            Slip(
                "a repository that nobody serves",
                TRANSIENT,
                ("127.0.0.1:9",),
                (
                    *words[:2],
                    "--repository",
                    "http://127.0.0.1:9",
                    "--events",
                    "{home}",
                    *words[4:],
                ),
            ),
            Slip("a proxy that is none", USAGE, ("proxy",), (*words, "--proxy", "http://")),
            Slip(
                "other events where there is nothing",
                USAGE,
                ("--events",),
                (*words, "--events", "{home}/nothing"),
            ),
            Slip(
                "a CA file that is none",
                BAD,
                ("ca.pem",),
                (*words[:2], "--repository", "{secure}", *words[4:], "--ca-file", "{home}/ca.pem"),
            ),
            Slip(
                "a lifetime that is none",
                USAGE,
                ("--lifetime-days",),
                (*words, "--lifetime-days", "0"),
            ),
            *(
                [
                    Slip(
                        "a specification whose name is no UTF-8",
                        USAGE,
                        (".toml",),
                        (*words[:-1], "{home}/\udcff.toml"),
                    )
                ]
                if of is None
                else []
            ),
            *slips,
        ),
    )


def reading(
    words: tuple[str, ...],
    directory: str,
    *,
    good: int = 0,
    makes: tuple[str, ...] = (),
    more: tuple[Input, ...] = (),
    slips: tuple[Slip, ...] = (),
) -> Entry:
    """A command that opens an event."""
    parts = (
        Input(f"{directory}/event.json", Kind.JSON, EVENT, MAX_EVENT),
        Input(f"{directory}/spec.json", Kind.JSON, EVENT, MAX_INTENT),
        Input(f"{directory}/metadata/3.ward-gateway.json", Kind.JSON, EVENT, 5_000_000),
        Input(f"{directory}/base/1.root.json", Kind.JSON, EVENT, 512_000),
        Input(f"{directory}/base/2.targets.json", Kind.JSON, EVENT, 5_000_000),
        Input(f"{directory}/targets/ward-gateway/2.0.0/fw.img", Kind.BYTES, EVENT),
        Input(directory, Kind.DIRECTORY, EVENT),
        Input(f"{directory}/base", Kind.DIRECTORY, EVENT, says=(directory,)),
    )
    return Entry(
        words,
        good=good,
        makes=makes,
        inputs=(*parts, *more),
        slips=(
            Slip(
                "a file too many", REFUSED, ("extra",), prepare=written(f"{directory}/extra", "x")
            ),
            Slip(
                "a link out of the event",
                REFUSED,
                ("out",),
                prepare=link(f"{directory}/targets/out", "/etc"),
            ),
            Slip("a pipe in the event", REFUSED, ("pipe",), prepare=pipe(f"{directory}/base/pipe")),
            Slip(
                "a name that is no UTF-8",
                REFUSED,
                ("event",),
                prepare=written(f"{directory}/\udcff", "x"),
            ),
            *(
                Slip(
                    f"a base file called {name!r}",
                    REFUSED,
                    ("event.json",),
                    prepare=swapped(f"{directory}/event.json", '"1.root.json"', f'"{name}"'),
                )
                for name in ("../../1.root.json", "/etc/passwd", "1.root.json\\u0000", "..")
            ),
            *(
                Slip(
                    f"the role {name!r}",
                    REFUSED,
                    ("event.json",),
                    prepare=swapped(f"{directory}/event.json", '"ward-gateway"', f'"{name}"'),
                )
                for name in ("../../x", "root", "")
            ),
            *slips,
        ),
    )


KEYS: Final = (
    Input("keys/raul.key.json", Kind.JSON, GIVEN, MAX_KEY_FILE),
    Input("keys/raul.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE),
    Input("keys/passphrase", Kind.TEXT, SECRET, 4096, says=("passphrase", "key.json")),
)
SIGN: Final = (
    "{home}/signed",
    "--key",
    "{home}/keys/raul.key.json",
    "--passphrase-file",
    "{home}/keys/passphrase",
    *MEANT,
    "--yes",
)

FORECAST: Final = ("--repository", "{store}", "--root", "{root}")

REBASE: Final = (
    "{home}/event",
    "--event",
    "{home}/made",
    "--repository",
    "{store}",
    "--root",
    "{root}",
)

WITHDRAW: Final = ("--reason", "it is bad")


def withdrawing(*said: str) -> tuple[str, ...]:
    """The words of an event of what is said."""
    return ("--event", "{home}/made", "--repository", "{store}", "--root", "{root}", *said)


PUBLISH: Final = ("{home}/complete", "--server", "{url}")
NAMED: Final[Rule] = {**GIVEN, "absent": USAGE | REFUSED}
CEREMONY: Final = ("{home}/later", "--server", "{url}", "--root", "{root}")
TOGETHER: Final = ("{home}/holders", "--with", "{home}/renewal", "--server", "{url}")


def other_root(words: tuple[str, ...]) -> Slip:
    """A root of one's own that is none."""
    return Slip("a root that is none", REFUSED, ("root",), (*words, "--root", "{home}/ca.pem"))


TABLE: Final[dict[str, tuple[Entry, ...]]] = {
    "sample": (Entry(("release",), slips=(Slip("one that is none", USAGE, ("x",), ("../x",)),)),),
    "key new": (
        key_new(
            "rosa",
            "ca.pem",
            keys="{home}/keys",
            more=(
                Slip(
                    "it may not be looked at",
                    USAGE | TRANSIENT,
                    ("keys",),
                    ("kim", "--directory", "{home}/keys", "--passphrase-file", "{home}/other.pass"),
                    mode("keys", 0),
                    bound=True,
                ),
            ),
        ),
    ),
    "key show": (
        Entry(("{home}/keys/raul.pub.json",), inputs=(KEYS[1],)),
        Entry(("{home}/keys/raul.key.json",), inputs=KEYS[:2]),
    ),
    "delegate": (
        making(
            "{home}/delegations.toml",
            inputs=(
                replace(spec("delegations.toml"), without={"empty": "one that only renews"}),
                ROOT,
                *STORED[:3],
                Input("keys/rosa.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE),
            ),
            slips=(
                Slip(
                    "a key file beyond the folder",
                    USAGE,
                    ("outside",),
                    prepare=swapped(
                        "delegations.toml", "keys/rosa.pub.json", "../../outside.pub.json"
                    ),
                ),
                Slip(
                    "a product that is none",
                    REFUSED | USAGE,
                    ("product",),
                    prepare=swapped(
                        "delegations.toml", "[products.ward-gateway]", '[products."../x"]'
                    ),
                ),
            ),
        ),
    ),
    "roster": (
        making(
            "{home}/roster.toml",
            inputs=(
                spec("roster.toml"),
                Input("keys/olivia.pub.json", Kind.JSON, GIVEN, MAX_KEY_FILE),
            ),
            slips=(
                Slip(
                    "a cohort pattern that is none",
                    USAGE | REFUSED,
                    ("pattern", "cohorts"),
                    prepare=swapped("roster.toml", 'cohorts = ["*"]', 'cohorts = ["../*"]'),
                ),
            ),
        ),
    ),
    "stage": (
        making(
            "{spec}",
            inputs=(
                spec(f"{SPEC_FOLDER}/release.toml"),
                Input(
                    f"{SPEC_FOLDER}/sbom.cdx.json",
                    Kind.JSON,
                    {**GIVEN, "oversized": USAGE},
                    64 * 2**20,
                    without={
                        "an unknown field": "an SBOM has many",
                        "a key twice": "read leniently",
                    },
                ),
                Input(
                    f"{SPEC_FOLDER}/fw.img",
                    Kind.BYTES,
                    {"absent": USAGE, "content": REFUSED, "access": TRANSIENT | USAGE},
                    without=dict.fromkeys(
                        ("truncated", "oversized", "NUL"), "any bytes are an image"
                    ),
                ),
                *STORED[3:],
            ),
            slips=(
                Slip(
                    "an image name that leaves its place",
                    REFUSED | USAGE,
                    ("path", "name"),
                    prepare=swapped(
                        f"{SPEC_FOLDER}/release.toml",
                        '{ file = "fw.img" }',
                        '{ file = "fw.img", name = "../../x.img" }',
                    ),
                ),
                Slip(
                    "a version that leaves its place",
                    USAGE | REFUSED,
                    ("version",),
                    prepare=swapped(f"{SPEC_FOLDER}/release.toml", '"3.0.0"', '"../3.0.0"'),
                ),
                Slip(
                    "an image beyond the folder",
                    USAGE,
                    ("outside",),
                    prepare=swapped(f"{SPEC_FOLDER}/release.toml", "fw.img", "../../outside.img"),
                ),
                Slip(
                    "an image that never ends",
                    USAGE,
                    ("zero",),
                    prepare=swapped(f"{SPEC_FOLDER}/release.toml", '"fw.img"', '"/dev/zero"'),
                ),
            ),
        ),
        Entry(
            (
                *("--event", "{home}/made", "--repository", "{store}", "--root", "{root}"),
                *("--delta-from", OLD_IMAGE, "{spec}"),
            ),
            makes=("made*",),
            inputs=(Input(RELEASED, Kind.BYTES, GIVEN, without=ANY_BYTES),),
            slips=(
                Slip(
                    "a delta that leaves its place",
                    REFUSED | USAGE,
                    ("delta", "nowhere"),
                    prepare=swapped(
                        f"{SPEC_FOLDER}/release.toml",
                        '{ file = "fw.img" }',
                        '{ file = "fw.img", deltas = ["../../nowhere.delta"] }',
                    ),
                ),
                Slip(
                    "a delta that is none",
                    REFUSED,
                    ("fw.img",),
                    prepare=swapped(
                        f"{SPEC_FOLDER}/release.toml",
                        '{ file = "fw.img" }',
                        '{ file = "fw.img", deltas = ["fw.img"] }',
                    ),
                ),
            ),
        ),
    ),
    "rebase": (
        reading(REBASE, "event", makes=("made*",), more=(ROOT,)),
        Entry(
            REBASE,
            makes=("made*",),
            inputs=STORED[:3],
            slips=(
                Slip(
                    "the event is there",
                    REFUSED,
                    ("event",),
                    (*REBASE[:2], "{home}/event", *REBASE[3:], "--events", "{home}"),
                ),
                Slip(
                    "a lifetime that is none",
                    USAGE,
                    ("--lifetime-days",),
                    (*REBASE, "--lifetime-days", "0"),
                ),
                Slip(
                    "a CA file that is none",
                    BAD,
                    ("ca.pem",),
                    (*REBASE[:4], "{secure}", *REBASE[5:], "--ca-file", "{home}/ca.pem"),
                ),
                Slip(
                    "other events where there is nothing",
                    USAGE,
                    ("--events",),
                    (*REBASE, "--events", "{home}/nothing"),
                ),
            ),
        ),
    ),
    "permit": (
        making(
            "{home}/permit.toml",
            inputs=(spec("permit.toml"),),
            slips=(
                Slip(
                    "a permit that leaves its place",
                    USAGE | REFUSED,
                    ("revoke",),
                    prepare=swapped("permit.toml", "[[permits]]", 'revoke = ["../x"]\n[[permits]]'),
                ),
                Slip(
                    "a device that is none",
                    USAGE,
                    ("devices",),
                    prepare=swapped("permit.toml", '"GW-000001"', '"../x"'),
                ),
                Slip(
                    "a product that is none",
                    REFUSED,
                    ("product",),
                    prepare=swapped("permit.toml", '"ward-gateway"', '"../x"'),
                ),
            ),
        ),
    ),
    "withdraw": (
        making(
            "{spec}",
            of=(*WITHDRAW, "ward-gateway", "1.0.0"),
            inputs=STORED[3:],
            slips=(
                Slip(
                    "a version that is none",
                    REFUSED,
                    ("version",),
                    withdrawing(*WITHDRAW, "ward-gateway", "../x"),
                ),
                Slip(
                    "a product that is none",
                    REFUSED,
                    ("product",),
                    withdrawing(*WITHDRAW, "../x", "1.0.0"),
                ),
                Slip(
                    "a product whose name is no UTF-8",
                    REFUSED,
                    ("product",),
                    withdrawing(*WITHDRAW, "\udcff", "1.0.0"),
                ),
                Slip("no reason", USAGE, ("reason",), withdrawing("ward-gateway", "1.0.0")),
                Slip(
                    "a reason of two lines",
                    BAD,
                    ("reason",),
                    withdrawing("--reason", "a\nb", "ward-gateway", "1.0.0"),
                ),
                Slip(
                    "a reason that is no UTF-8",
                    BAD,
                    ("reason",),
                    withdrawing("--reason", "\udcff", "ward-gateway", "1.0.0"),
                ),
            ),
        ),
    ),
    "renew": (
        making(
            "{spec}",
            of=("--after", "{home}/holders", "ward-gateway"),
            inputs=(
                *STORED[3:],
                Input("holders/event.json", Kind.JSON, EVENT, MAX_EVENT),
                Input("holders/metadata/4.targets.json", Kind.JSON, EVENT, 5_000_000),
            ),
            slips=(
                Slip(
                    "a product that is none",
                    REFUSED,
                    ("product",),
                    withdrawing("--after", "{home}/holders", "interlock"),
                ),
                Slip(
                    "an event that names no holders",
                    REFUSED,
                    ("event",),
                    withdrawing("--after", "{home}/event", "ward-gateway"),
                ),
            ),
        ),
    ),
    "renew-roster": (
        making(
            "{spec}",
            of=("--after", "{home}/holders"),
            inputs=(Input("holders/event.json", Kind.JSON, EVENT, MAX_EVENT),),
            slips=(
                Slip(
                    "an event that names no holders",
                    REFUSED,
                    ("event",),
                    withdrawing("--after", "{home}/event"),
                ),
            ),
        ),
    ),
    "review": (
        reading(("{home}/event", "--root", "{root}"), "event", more=(ROOT,)),
        Entry(
            ("{home}/lighter", "--delta-from", OLD_IMAGE),
            inputs=(
                Input(RELEASED, Kind.BYTES, GIVEN, without=ANY_BYTES),
                Input(
                    "lighter/targets/ward-gateway/2.0.0/fw.img.from-1.0.0.delta", Kind.BYTES, EVENT
                ),
            ),
        ),
    ),
    "status": (
        reading(("{home}/signed",), "signed", good=10, slips=(other_root(("{home}/signed",)),)),
        Entry((*FORECAST, "{home}/signed"), good=10, inputs=(ROOT, *STORED)),
        Entry(
            (*FORECAST, "--director-root", "{home}/director.json"),
            inputs=(
                Input("director.json", Kind.JSON, GIVEN, 512_000, says=("root",)),
                *(
                    Input(
                        f"store/director/wards/metadata/{name}.json",
                        Kind.JSON,
                        REPOSITORY,
                        limit,
                        says=("store", "repository", "metadata", name.rpartition(".")[2]),
                        without={"an unknown field": "one beside what is signed is never read"},
                    )
                    for name, limit in (
                        ("timestamp", 16_384),
                        ("1.snapshot", 2_000_000),
                        ("1.targets", 5_000_000),
                    )
                ),
            ),
        ),
        Entry(
            FORECAST,
            inputs=(ROOT, *STORED),
            slips=(
                Slip(
                    "a director, of an event",
                    USAGE,
                    ("--director-root",),
                    (*FORECAST, "{home}/signed", "--director-root", "{root}"),
                ),
                Slip(
                    "a cohort without a director",
                    USAGE,
                    ("--cohort",),
                    (*FORECAST, "--cohort", "wards"),
                ),
                Slip(
                    "a cohort that is none",
                    USAGE,
                    ("--cohort",),
                    (*FORECAST, "--director-root", "{home}/director.json", "--cohort", "../x"),
                ),
                Slip("nothing at all", USAGE, ("EVENT",), ()),
                Slip("no root", USAGE, ("--root",), FORECAST[:2]),
                Slip(
                    "a warning period that is none",
                    USAGE,
                    ("--warn-days",),
                    (*FORECAST, "--warn-days", "-1"),
                ),
                Slip(
                    "a CA file that is none",
                    BAD,
                    ("ca.pem",),
                    (
                        "--repository",
                        "{secure}",
                        *FORECAST[2:],
                        "--ca-file",
                        "{home}/ca.pem",
                    ),
                ),
            ),
        ),
        Entry(
            ("{home}/signed", "{home}/complete", "--merge"),
            good=0,
            makes=("signed/signatures/*",),
            slips=(
                Slip(
                    "signatures that may not be written",
                    TRANSIENT,
                    ("signatures",),
                    prepare=mode("signed/signatures", 0o555),
                    bound=True,
                ),
            ),
        ),
    ),
    "sign": (
        Entry(
            SIGN,
            makes=("signed/signatures/*",),
            inputs=KEYS,
            slips=(
                Slip(
                    "signatures that may not be written",
                    TRANSIENT,
                    ("signatures",),
                    prepare=mode("signed/signatures", 0o555),
                    bound=True,
                ),
                Slip("a reason of two lines", BAD, ("reason",), (*SIGN, "--reason", "a\nb")),
                Slip("a reason that is no UTF-8", BAD, ("reason",), (*SIGN, "--reason", "\udcff")),
                Slip(
                    "a reason of 5,000 letters", BAD, ("reason",), (*SIGN, "--reason", "x" * 5000)
                ),
                Slip("a key that is none", USAGE, ("hsm:1",), (*SIGN[:2], "hsm:1", *SIGN[3:])),
                Slip("nobody to ask", USAGE, ("--yes",), SIGN[:-1]),
                Slip(
                    "a public half that is none",
                    REFUSED,
                    ("raul.key.json",),
                    (*SIGN, "--public", "{home}/keys/raul.key.json"),
                ),
                other_root(SIGN),
            ),
        ),
    ),
    "publish": (
        reading(
            PUBLISH,
            "complete",
            makes=("store/*",),
            slips=(
                other_root(PUBLISH),
                Slip(
                    "a server that is none",
                    USAGE,
                    ("ftp://x",),
                    (PUBLISH[0], "--server", "ftp://x"),
                ),
                Slip(
                    "a CA file that is none",
                    USAGE,
                    ("ca.pem",),
                    (PUBLISH[0], "--server", "{secure}", "--ca-file", "{home}/ca.pem"),
                ),
                Slip(
                    "a proxy that is none", USAGE, ("proxy",), (*PUBLISH, "--proxy", "socks5://x")
                ),
            ),
        ),
        Entry(
            CEREMONY,
            inputs=(
                ROOT,
                Input(
                    "later/manifest.json",
                    Kind.JSON,
                    {**GIVEN, "absent": USAGE | frozenset({0})},
                    MAX_MANIFEST,
                ),
                Input("later/fleet.json", Kind.JSON, GIVEN, MAX_FLEET),
                Input("later/image/2.root.json", Kind.JSON, NAMED, 512_000),
                Input("later/image/1.targets.json", Kind.JSON, GIVEN, 5_000_000),
                Input("later/director/1.root.json", Kind.JSON, GIVEN, 512_000),
            ),
            slips=(
                Slip("no root of one's own", USAGE, ("--root",), CEREMONY[:3]),
                Slip(
                    "an event beside it",
                    USAGE,
                    ("published alone",),
                    ("{home}/later", *PUBLISH, *CEREMONY[3:]),
                ),
                other_root(CEREMONY[:3]),
            ),
        ),
        Entry(
            TOGETHER,
            makes=("store/*",),
            inputs=(Input("renewal/metadata/3.ward-gateway.json", Kind.JSON, EVENT, 5_000_000),),
            slips=(
                Slip(
                    "a renewal without its delegations",
                    REFUSED,
                    ("renewal",),
                    ("{home}/renewal", "--server", "{url}"),
                ),
                Slip(
                    "what does not belong together",
                    REFUSED,
                    ("holders",),
                    ("{home}/complete", "--with", "{home}/holders", "--server", "{url}"),
                ),
            ),
        ),
    ),
}
