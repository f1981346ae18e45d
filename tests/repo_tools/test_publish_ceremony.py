"""``publish CEREMONY_DIR``: verified from one's own root, then put in force by a real server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from interlock_core import wire
from interlock_core.api import CeremonyInForce, MetadataInForce
from interlock_core.ceremony_output import read_ceremony
from interlock_core.clock import system_clock
from interlock_core.errors import RefusedError, TransientError
from interlock_core.http import Api
from interlock_core.tuf_metadata import REHEARSAL
from interlock_repo.ceremonies import open_ceremony, request_of, send_ceremony
from tests.repo_tools.standin import FaultError, StandIn, standing_in
from tests.repo_tools.world import World, signed, tool, write_manifest
from tests.server.later import configure, new_online
from tests.server.world import HOLDERS, PATIENCE_SECONDS, TARGETS, Fleet, call, sign, start

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A server's directory after its ``init``, which holds the keys of a later ceremony as well."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), system_clock())
    new_online(made)
    configure(made, "online-2", "online")
    done = call("init", made.ceremony, "--config", made.config, "--cohort", "canary")
    assert done.code == 0, done.err
    return made


@pytest.fixture
def output(fleet: Fleet, tmp_path: Path) -> Path:
    """What the later ceremony left: new online keys, and targets metadata that delegates."""
    later = tmp_path / "later"
    shutil.copytree(fleet.ceremony, later)
    for repository, holders in HOLDERS.items():
        root = fleet.root(repository, 2, online=fleet.home / "online-2")
        (later / repository / "2.root.json").write_bytes(sign(root, holders))
    (later / "image/1.targets.json").unlink()
    (later / "image/2.targets.json").write_bytes(sign(fleet.delegations(2), TARGETS))
    (later / "transcript.json").write_bytes(b"{}")
    write_manifest(later)
    return later


@pytest.fixture
def server(fleet: Fleet) -> Iterator[str]:
    process = start("serve", "--config", fleet.config, "--json")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def test_a_ceremony_is_put_in_force_by_a_real_server(
    fleet: Fleet, output: Path, server: str
) -> None:
    root = fleet.ceremony / "image/1.root.json"
    words = ("publish", output, "--server", server, "--root", root)
    done = tool(*words, "--json")
    assert done.code == 0, done.err
    assert done.answer["reason"] == "published"
    for name, part in (("image", "image_root"), ("director", "director_root")):
        data = (output / name / "2.root.json").read_bytes()
        assert done.answer[part] == {"version": 2, "sha256": wire.sha256_hex(data)}
    assert done.answer["targets"]["version"] == 2
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        for prefix, name in (("image", "image"), ("director/canary", "director")):
            served = http.request("GET", f"{server}/{prefix}/metadata/2.root.json").data
            assert served == (output / name / "2.root.json").read_bytes()
    again = tool(*words)
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("Already in force at north: image root 2, director root 2")
    # From a later root of one's own as well.
    words = (*words[:4], "--root", output / "image/2.root.json")
    assert tool(*words, "--json").answer["reason"] == "already_published"


def test_the_servers_refusal_is_passed_on(world: World, tmp_path: Path) -> None:
    output = world.later_ceremony(tmp_path / "later", 2)
    other = world.root(system_clock(), 2)
    other.version = 2
    world.image().put_root(signed(other, world.root_signers[1:]))
    with standing_in(StandIn(world.image(), world.store)) as server:
        done = tool("publish", output, "--server", server.url, "--root", world.root_file, "--json")
    assert (done.code, done.answer["reason"]) == (20, "other_root")


def test_an_interrupted_one_is_finished_by_another(world: World, tmp_path: Path) -> None:
    output = world.later_ceremony(tmp_path / "later", 2)
    with standing_in(StandIn(world.image(), world.store)) as server:
        words = ("publish", output, "--server", server.url, "--root", world.root_file, "--json")

        def lost(when: str) -> None:
            if when == "after":
                raise FaultError

        server.fault = lost
        assert tool(*words).code == 30
        server.fault = lambda _: None
        assert tool(*words).answer["reason"] == "already_published"


def test_an_answer_that_falls_short(world: World, tmp_path: Path) -> None:
    """A server that did not take it says what is in force: that is not what was sent."""
    output = world.later_ceremony(tmp_path / "later", 2)
    ceremony = open_ceremony(output, world.root_file, system_clock())
    before = MetadataInForce(version=1, sha256=wire.sha256_hex(ceremony.image_roots[0]))
    told = CeremonyInForce(
        fleet=ceremony.fleet.fleet,
        image_root=before,
        director_root=before,
        targets=before,
        changed=False,
    )

    class Stubborn(Api):
        def post(self, *_: Any, **__: Any) -> Any:
            return told

    with pytest.raises(TransientError, match="nobody asked for"):
        send_ceremony(ceremony, Stubborn.__new__(Stubborn))


def test_an_answer_about_something_else(world: World, tmp_path: Path) -> None:
    output = world.later_ceremony(tmp_path / "later", 2)
    with standing_in(StandIn(world.image(), world.store, fleet="south")) as server:
        done = tool("publish", output, "--server", server.url, "--root", world.root_file)
    assert done.code == 30
    assert "which nobody asked for" in done.err


Spoil = Callable[[World, Path], object]


def _rehearse(world: World, output: Path) -> None:
    root = world.root(system_clock(), 2)
    root.unrecognized_fields[REHEARSAL] = True
    (output / "image/2.root.json").write_bytes(signed(root, world.root_signers))


def _lose(_world: World, output: Path) -> None:
    write_manifest(output)
    (output / "image/2.root.json").unlink()


def _cut(_world: World, output: Path) -> None:
    path = output / "image/2.root.json"
    write_manifest(output)
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_rehearse, "rehearsal"),
        (_cut, "wrong_media"),
        (_lose, "wrong_media"),
        (
            lambda w, o: (o / "image/2.root.json").write_bytes(
                signed(w.root(system_clock(), 2), w.root_signers[:1])
            ),
            "untrusted_metadata",
        ),
        (
            lambda w, o: (o / "image/1.root.json").write_bytes(
                signed(w.root(system_clock(), 1), w.root_signers[1:])
            ),
            "wrong_digest",
        ),
        (
            lambda _, o: shutil.copy(o / "image/1.root.json", o / "director/1.root.json"),
            "wrong_digest",
        ),
        (
            lambda w, o: (o / "image/1.targets.json").write_bytes(
                signed(w.root(system_clock(), 1), w.root_signers)
            ),
            "malformed",
        ),
    ],
    ids=[
        "rehearsal",
        "cut",
        "lost",
        "below the threshold",
        "another first",
        "swapped",
        "no targets",
    ],
)
def test_what_is_not_right_is_never_sent(
    world: World, tmp_path: Path, spoil: Spoil, reason: str
) -> None:
    output = world.later_ceremony(tmp_path / "later", 2)
    spoil(world, output)
    words = ("--server", NOWHERE, "--root", world.root_file, "--json")
    done = tool("publish", output, *words)
    assert (done.code, done.answer["reason"]) == (20, reason), done.err


def test_another_fleets_is_never_sent(world: World, people: Path, tmp_path: Path) -> None:
    output = world.later_ceremony(tmp_path / "later", 2)
    own = World(tmp_path / "other", people).root_file
    done = tool("publish", output, "--server", NOWHERE, "--root", own, "--json")
    assert (done.code, done.answer["reason"]) == (20, "untrusted_metadata")


def test_a_root_of_ones_own_is_needed(world: World, tmp_path: Path) -> None:
    output = world.later_ceremony(tmp_path / "later", 2)
    done = tool("publish", output, "--server", NOWHERE)
    assert done.code == 2
    assert "--root" in done.err


def test_the_newest_roots_are_sent_where_all_would_be_too_many(
    world: World, tmp_path: Path
) -> None:
    ceremony = read_ceremony(world.later_ceremony(tmp_path / "later", *range(2, 9)), system_clock())
    whole = request_of(ceremony)
    assert [text.encode() for text in whole.image] == list(ceremony.image_roots)
    limit = len(wire.encode(whole)) - 1
    shorter = request_of(ceremony, limit)
    assert len(wire.encode(shorter)) <= limit
    assert shorter.image == whole.image[1:]
    assert shorter.director == whole.director
    with pytest.raises(RefusedError, match="longer than the 100 bytes"):
        request_of(ceremony, 100)
