"""``check`` and ``refresh``: what is wrong has a name, and what can be mended is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from interlock_core import wire
from interlock_core.clock import fixed_clock, system_clock
from interlock_core.tuf_metadata import serialise
from interlock_core.tuf_stored import StoredRepository
from interlock_server.heads import ALWAYS
from interlock_server.image import target_key
from interlock_server.online_keys import Signers
from interlock_server.wiring import backstage
from tests.server.later import configure, new_online
from tests.server.world import (
    HOLDERS,
    V1,
    Bench,
    Called,
    Fleet,
    Reader,
    call,
    sha256,
    sign,
)
from tests.support.papers import authorise, order
from tests.support.people import CANARY, signer


@pytest.fixture(scope="module")
def grown(blank: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet by the machine's clock with a release and a rollout; tests work on copies."""
    fleet = blank.copy(tmp_path_factory.mktemp("grown") / "fleet")
    bench = Bench(fleet)
    bench.found()
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    times: dict[str, Any] = {"at": fleet.now, "not_before": fleet.now}
    said = order(targets=(V1.target(),), expires=fleet.now + timedelta(days=30), **times)
    bench.say_all(said, authorise(said))
    bench.back.database.close()
    return fleet


@pytest.fixture
def live(grown: Fleet, tmp_path: Path) -> Fleet:
    return grown.copy(tmp_path / "fleet")


def check(fleet: Fleet, *words: str) -> Called:
    return call("check", "--config", fleet.config, "--json", *words)


def named(done: Called) -> set[tuple[str, str]]:
    return {(one["name"], one["where"]) for one in done.answer["problems"]}


def test_all_is_well(live: Fleet) -> None:
    done = check(live, "--hashes")
    assert (done.code, done.answer["problems"], done.answer["outcome"]) == (0, [], "done")
    assert call("check", "--config", live.config).out == "All is well.\n"


def store(fleet: Fleet) -> Path:
    return fleet.home / "store"


def _edited_snapshot(fleet: Fleet) -> None:
    path = max(
        store(fleet).glob("image/metadata/*.snapshot.json"), key=lambda p: p.stat().st_mtime_ns
    )
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":9', 1))


def _foreign_timestamp(fleet: Fleet) -> None:
    path = store(fleet) / "director/canary/metadata/timestamp.json"
    timestamp: Metadata[Timestamp] = Metadata.from_bytes(path.read_bytes())
    timestamp.signed.version += 1
    timestamp.sign(signer("mallory"))
    path.write_bytes(serialise(timestamp))


def _missing_snapshot(fleet: Fleet) -> None:
    stored = StoredRepository(Bench(fleet).store, "director/canary")
    version = stored.published_version(Snapshot.type)
    (store(fleet) / f"director/canary/metadata/{version}.snapshot.json").unlink()


def _other_root(fleet: Fleet) -> None:
    path = store(fleet) / "image/metadata/1.root.json"
    path.write_bytes(path.read_bytes() + b"\n")


def _missing_image(fleet: Fleet) -> None:
    (store(fleet) / target_key(V1.path, sha256(V1.content))).unlink()


def _short_image(fleet: Fleet) -> None:
    (store(fleet) / target_key(V1.path, sha256(V1.content))).write_bytes(b"short")


def _missing_directive(fleet: Fleet) -> None:
    for path in store(fleet).glob("director/canary/targets/*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "name", "where"),
    [
        (_edited_snapshot, "untrusted_metadata", "image"),
        (_foreign_timestamp, "untrusted_metadata", "director/canary"),
        (_missing_snapshot, "missing_object", "director/canary"),
        (_missing_directive, "missing_object", "director/canary"),
        (_other_root, "wrong_root", "image"),
        (_missing_image, "missing_object", V1.path),
        (_short_image, "hash_mismatch", V1.path),
    ],
)
def test_what_gateways_would_refuse(
    live: Fleet, spoil: Callable[[Fleet], None], name: str, where: str
) -> None:
    spoil(live)
    done = check(live)
    assert (done.code, done.answer["outcome"]) == (20, "refused")
    assert (name, where) in named(done)
    assert call("check", "--config", live.config).code == 20


def _root(fleet: Fleet, repository: str, version: int) -> bytes:
    return sign(fleet.root(repository, version), HOLDERS[repository])


def test_what_a_change_of_roots_left_undone(live: Fleet) -> None:
    """Gateways are served all the same, so it is nothing that they refuse."""
    metadata = store(live) / "image/metadata"
    (metadata / "3.root.json").write_bytes(_root(live, "image", 3))
    behind = store(live) / "director/canary/metadata/2.root.json"
    behind.write_bytes(_root(live, "director", 2))
    done = check(live)
    assert done.code == 1
    assert named(done) >= {("root_waits", "image"), ("root_behind", "director/st-bert")}
    assert ("root_behind", "director/canary") not in named(done)
    (metadata / "2.root.json").write_bytes(_root(live, "image", 2))
    assert call("refresh", "--config", live.config).code == 0
    assert check(live).code == 0


def test_a_key_that_the_roots_name_and_nobody_holds(live: Fleet) -> None:
    new_online(live)
    configure(live, "online-2")
    done = check(live)
    assert (done.code, named(done)) == (1, {("wrong_online_key", "keys")})
    done = call("refresh", "--config", live.config, "--force", "--json")
    assert (done.code, done.answer["reason"]) == (2, "wrong_online_key")
    done = call("cohort", "add", "late", "--config", live.config, "--json")
    assert (done.code, done.answer["reason"]) == (2, "wrong_online_key")
    configure(live, "online-2", "online")
    assert check(live).code == 0


def test_flipped_bits_are_found_when_hashes_are_asked_for(live: Fleet) -> None:
    path = store(live) / target_key(V1.path, sha256(V1.content))
    path.write_bytes(b"X" + V1.content[1:])
    assert check(live).code == 0
    done = check(live, "--hashes")
    assert (done.code, named(done)) == (20, {("hash_mismatch", V1.path)})


def aged(fleet: Fleet, signers: Signers, age: timedelta) -> None:
    """Sign every head as if it had been done so long ago."""
    clock = fixed_clock(system_clock() - age)
    back = backstage(fleet.settings(), signers, clock=clock)
    back.publisher.refresh(force=True)
    back.database.close()


@pytest.fixture
def online(live: Fleet) -> Signers:
    return Bench(live).signers


def test_heads_that_nobody_refreshed(live: Fleet, online: Signers) -> None:
    aged(live, online, timedelta(days=6))
    done = check(live)
    assert done.code == 1
    assert ("refresh_overdue", "image/timestamp") in named(done)
    # Six days ago the order was not signed yet, so the directive of then is not that of now.
    assert {name for name, _ in named(done)} == {"refresh_overdue", "directive_outdated"}
    assert call("refresh", "--config", live.config).code == 0
    assert check(live).code == 0


def test_heads_that_expired_and_a_refresh_that_mends_them(live: Fleet, online: Signers) -> None:
    aged(live, online, timedelta(days=11))
    done = check(live)
    assert (done.code, done.answer["reason"]) == (20, "expired_metadata")
    assert call("refresh", "--config", live.config).code == 0
    assert check(live).code == 0


def test_a_refresh_with_nothing_to_do_writes_nothing(live: Fleet) -> None:
    before = {path: path.stat().st_mtime_ns for path in store(live).rglob("*") if path.is_file()}
    done = call("refresh", "--config", live.config, "--json")
    assert (done.code, done.answer["written"]) == (0, [])
    assert {
        path: path.stat().st_mtime_ns for path in store(live).rglob("*") if path.is_file()
    } == before


def test_a_forced_refresh_signs_everything_and_gateways_follow(live: Fleet, tmp_path: Path) -> None:
    reader = Reader(live, tmp_path / "reader")
    bench = Bench(live)
    now = system_clock()
    before = reader.read(bench.store, "image", V1.path, now)
    done = call("refresh", "--config", live.config, "--force", "--json")
    assert (done.code, len(done.answer["written"]), done.answer["total"]) == (0, 4, 4)
    assert reader.read(bench.store, "image", V1.path, now) == before
    assert timedelta(days=365) < ALWAYS


def _stolen_directive(fleet: Fleet) -> None:
    """Somebody with the online keys has the director say that nothing is wanted."""
    bench = Bench(fleet)
    repository = bench.back.publisher.director(CANARY)
    listed = repository.stored.published_targets()
    assert listed is not None
    empty = wire.encode({"cohort": CANARY, "fleet": "north", "products": {}, "type": "x"})
    info = listed.signed.targets["directive.json"].from_data("directive.json", empty, ["sha256"])
    key = f"director/{CANARY}/targets/{info.hashes['sha256']}.directive.json"
    bench.store.put_new(key, empty)
    repository.publish_targets({"directive.json": info})


def _stale_bundle(fleet: Fleet) -> None:
    (store(fleet) / f"poll/{CANARY}").write_bytes(b"{}")


def _no_bundle(fleet: Fleet) -> None:
    (store(fleet) / f"poll/{CANARY}").unlink()


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (_stolen_directive, "directive_outdated"),
        (_stale_bundle, "bundle_outdated"),
        (_no_bundle, "bundle_outdated"),
    ],
)
def test_what_refresh_mends(live: Fleet, spoil: Callable[[Fleet], None], name: str) -> None:
    spoil(live)
    done = check(live)
    assert done.code == 1
    assert (name, CANARY) in named(done)
    assert call("refresh", "--config", live.config).code == 0
    assert check(live).code == 0


def test_permissions(live: Fleet) -> None:
    (live.online / "image-online.key.json").chmod(0o640)
    (live.home / "server.sqlite3").chmod(0o644)
    (store(live) / "poll").chmod(0o775)
    done = check(live)
    assert done.code == 1
    assert named(done) == {
        ("open_secret", str(live.online / "image-online.key.json")),
        ("open_secret", str(live.home / "server.sqlite3")),
        ("writable_store", str(store(live) / "poll")),
    }


def test_a_store_that_lost_a_publication(live: Fleet) -> None:
    (store(live) / "image/metadata/2.targets.json").unlink()
    done = check(live)
    assert done.code == 20
    assert {name for name, _ in named(done)} == {"missing_object"}


def test_before_a_roster_it_says_that_nobody_is_entitled(empty: Fleet) -> None:
    call("init", empty.ceremony, "--config", empty.config, "--cohort", CANARY)
    done = check(empty)
    assert (done.code, named(done)) == (1, {("no_roster", "image")})


def test_commands_need_init_first(empty: Fleet) -> None:
    for command in ("check", "refresh"):
        done = call(command, "--config", empty.config, "--json")
        assert (done.code, done.answer["reason"]) == (2, "wrong_schema")
        assert "interlock-server init" in done.err
