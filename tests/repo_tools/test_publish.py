"""Publishing through a server; ``standin`` is a stand-in for it, on real HTTP."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from interlock_core import wire
from interlock_core.api import Publication
from interlock_core.tuf_stored import StoredRepository
from tests.repo_tools.standin import FaultError, StandIn, standing_in
from tests.repo_tools.world import (
    KEY_HOLDERS,
    PRODUCT,
    ROSTER_HOLDERS,
    World,
    tool,
)

COMMAND = Path(sys.executable).with_name("interlock-repo")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    """Serves the test's own world, whichever it asked for."""
    name = "delegated" if "delegated" in request.fixturenames else "world"
    world: World = request.getfixturevalue(name)
    with standing_in(StandIn(world.image(), world.store)) as serving:
        yield serving


@pytest.fixture
def signed(staged: Path, delegated: World) -> Path:
    for name in ("rosa", "raul"):
        assert delegated.sign(staged, name).code == 0
    return staged


def test_from_the_ceremony_to_the_second_release_over_http(
    world: World, server: StandIn, tmp_path: Path
) -> None:
    acts = [
        ("delegate", world.delegations(), KEY_HOLDERS[:2]),
        ("roster", world.roster(), ROSTER_HOLDERS),
        ("stage", world.release(), ("rosa", "rita")),
        ("stage", world.release("1.1.0", 2), ("raul", "rita")),
        ("roster", world.roster(operators=("olivia",)), ROSTER_HOLDERS),
    ]
    for number, (act, spec, signers) in enumerate(acts):
        event = tmp_path / f"event-{number}"
        made = tool(
            act, "--event", event, "--repository", server.url, "--root", world.root_file, spec
        )
        assert made.code == 0, made.err
        for name in signers:
            assert world.sign(event, name).code == 0
        done = tool("publish", event, "--server", server.url, "--json")
        assert done.code == 0, done.err
        assert done.answer["reason"] == "published"
    stored = StoredRepository(world.store, "image")
    assert stored.published_version("targets") == 2
    assert stored.published_version(PRODUCT) == 2
    assert stored.published_version("interlock") == 2
    image = (world.place / "release-1.1.0" / "fw.img").read_bytes()
    digest = sha256(image).hexdigest()
    assert world.store.get(f"image/targets/{PRODUCT}/1.1.0/{digest}.fw.img") == image


def test_below_the_threshold_nothing_is_sent(
    staged: Path, delegated: World, server: StandIn
) -> None:
    delegated.sign(staged, "rosa")
    said = tool("publish", staged, "--server", server.url, "--json")
    assert (said.code, said.answer["reason"]) == (20, "untrusted_metadata")
    assert "raul, rita" in said.err
    assert server.calls == []


def test_copies_are_published_together(
    staged: Path, delegated: World, server: StandIn, tmp_path: Path
) -> None:
    shutil.copytree(staged, tmp_path / "copy")
    delegated.sign(staged, "rosa")
    delegated.sign(tmp_path / "copy", "raul")
    assert tool("publish", staged, tmp_path / "copy", "--server", server.url).code == 0


def test_publishing_again_is_done_already(signed: Path, server: StandIn) -> None:
    assert tool("publish", signed, "--server", server.url).code == 0
    before = len(server.calls)
    said = tool("publish", signed, "--server", server.url, "--json")
    assert (said.code, said.answer["reason"]) == (0, "already_published")
    assert server.calls[before:] == ["POST /v1/publications"]


def test_broken_off_anywhere_running_it_again_finishes(
    signed: Path, server: StandIn, world: World
) -> None:
    """Before and after the effect of every call, each time from where the last one stopped."""
    said, number = None, 0
    for number in range(40):
        seen = 0

        def fault(_when: str, number: int = number) -> None:
            nonlocal seen
            seen += 1
            if seen > number:
                raise FaultError

        server.fault = fault
        said = tool("publish", signed, "--server", server.url, "--json")
        if said.code == 0:
            break
        assert (said.code, said.answer["outcome"]) == (30, "transient"), said.err
    assert said is not None
    assert said.code == 0
    # Three uploads, a post and a commit, each broken before and after it took effect.
    assert number >= 5
    assert StoredRepository(world.store, "image").published_version(PRODUCT) == 1


def test_a_fresh_run_against_every_single_fault(
    delegated: World, server: StandIn, tmp_path: Path
) -> None:
    versions = iter(range(1, 40))
    for number in range(10):
        version = next(versions)
        event = tmp_path / f"e{version}"
        delegated.make("stage", event, delegated.release(f"1.{version}.0", version))
        for name in ("rosa", "raul"):
            delegated.sign(event, name)
        seen = iter(range(100))

        def fault(_when: str, number: int = number, seen: Iterator[int] = seen) -> None:
            if next(seen) == number:
                raise FaultError

        server.fault = fault
        assert tool("publish", event, "--server", server.url).code == 30
        assert tool("publish", event, "--server", server.url).code == 0
        stored = StoredRepository(delegated.store, "image")
        assert stored.published_version(PRODUCT) == version


def test_two_events_on_one_version_the_second_is_told(
    delegated: World, signed: Path, server: StandIn, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    delegated.make("stage", other, delegated.release("2.0.0", 9))
    for name in ("rosa", "raul"):
        delegated.sign(other, name)
    assert tool("publish", signed, "--server", server.url).code == 0
    said = tool("publish", other, "--server", server.url, "--json")
    assert (said.code, said.answer["reason"]) == (20, "conflict")
    assert "start again from the current one" in said.err
    assert "Published instead, signed by rosa, raul: " in said.err
    assert f"{PRODUCT} 1.0.0 (release counter 1)" in said.err
    assert f"interlock-repo rebase {other}" in said.err


def test_a_server_asks_for_no_other_bytes(
    signed: Path, server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = StandIn.view

    def greedy(self: StandIn, id_: str) -> Publication:
        asked = {"path": f"{PRODUCT}/1.0.0/fw.img", "length": 4, "sha256": "0" * 64}
        tree = json.loads(wire.encode(honest(self, id_)))
        return wire.convert(tree | {"missing": [asked]}, Publication, what="view")

    monkeypatch.setattr(StandIn, "view", greedy)
    said = tool("publish", signed, "--server", server.url, "--json")
    assert (said.code, said.answer["reason"]) == (20, "unexpected_target")
    assert all(call.startswith("POST") for call in server.calls)


def test_bytes_of_an_earlier_release_are_asked_of_its_event(
    delegated: World, server: StandIn, tmp_path: Path
) -> None:
    delegated.in_force("stage", delegated.release(), ("rosa", "raul"))
    event = tmp_path / "e"
    delegated.make("stage", event, delegated.release("1.1.0", 2))
    for name in ("rosa", "raul"):
        delegated.sign(event, name)
    [lost] = [p for p in delegated.store.root.rglob("*.fw.img") if "1.0.0" in p.parts]
    lost.unlink()
    said = tool("publish", event, "--server", server.url, "--json")
    assert (said.code, said.answer["reason"]) == (2, "missing_target")
    assert "1.0.0/fw.img" in said.err


def test_the_same_bytes_under_two_names_go_once(
    delegated: World, server: StandIn, tmp_path: Path
) -> None:
    images = '[{ file = "fw.img", name = "a.img" }, { file = "fw.img", name = "b.img" }]'
    event = tmp_path / "e"
    delegated.make("stage", event, delegated.release(images=images))
    for name in ("rosa", "raul"):
        delegated.sign(event, name)
    assert tool("publish", event, "--server", server.url).code == 0
    assert sum(call.startswith("PUT") for call in server.calls) == 3
    assert len(list(delegated.store.root.rglob("*.[ab].img"))) == 2


def test_another_server_than_meant(
    signed: Path, server: StandIn, tmp_path: Path, people: Path
) -> None:
    elsewhere = World(tmp_path / "elsewhere", people)
    with standing_in(StandIn(elsewhere.image(), elsewhere.store)) as other:
        said = tool("publish", signed, "--server", other.url, "--json")
    assert (said.code, said.answer["reason"]) == (20, "untrusted_metadata")


def test_nobody_answers(signed: Path) -> None:
    said = tool("publish", signed, "--server", "http://127.0.0.1:9", "--json")
    assert (said.code, said.answer["outcome"]) == (30, "transient")


@pytest.mark.parametrize(
    "words",
    [
        ("--server", "http://updates.example.org"),
        ("--server", "ftp://127.0.0.1"),
        ("--server", "http://127.0.0.1:1", "--proxy", "nonsense"),
        ("--server", "http://127.0.0.1:1", "--ca-file", "none.pem"),
    ],
)
def test_addresses_that_may_not_be_called(signed: Path, words: tuple[str, ...]) -> None:
    assert tool("publish", signed, *words).code == 2


def test_a_bar_on_a_terminal_and_silence_elsewhere(signed: Path, server: StandIn) -> None:
    words = [str(COMMAND), "publish", str(signed), "--server", server.url]
    main, child = pty.openpty()
    with subprocess.Popen(
        words, stdin=child, stdout=subprocess.PIPE, stderr=child, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                shown += os.read(main, 65536)
            except OSError:
                break
        os.close(main)
        assert process.wait() == 0, shown
    assert b"fw.img" in shown
    assert b"75.0/75.0 kB" in shown
    done = subprocess.run(words, capture_output=True, check=True)
    assert done.stderr == b""
