"""Publications: what is refused, by name, and that nothing of it is kept; uploads; commits."""

from __future__ import annotations

import io
from collections.abc import Callable
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tuf.api.metadata import TargetFile, Targets

from interlock_core import wire
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.roster import read_roster
from interlock_server.db.tables import PublisherRow
from interlock_server.image import read_released
from tests.server.world import (
    MANAGERS,
    NOW,
    PRODUCT,
    ROSTER_HOLDERS,
    TARGETS,
    V1,
    V2,
    Bench,
    Fleet,
    Reader,
    Release,
    sha256,
    sign,
)
from tests.support.people import roster


def kept(bench: Bench) -> set[Path]:
    """Every file of the Store and of the pending directory."""
    places = (bench.settings.store_directory, bench.settings.pending_directory)
    return {path for place in places for path in place.rglob("*") if path.is_file()}


def release_2(fleet: Fleet, *releases: Release) -> bytes:
    return sign(fleet.product(2, V1, *(releases or (V2,))), MANAGERS)


# A release, from the first call to the last


def test_a_release_is_published_step_by_step(bench: Bench, tmp_path: Path) -> None:
    text = release_2(bench.fleet)
    offered = bench.offer(PRODUCT, text)
    assert (offered.status_code, offered.json["state"]) == (201, "waiting")
    assert offered.json["id"] == sha256(text)
    assert {(one["path"], one["length"], one["sha256"]) for one in offered.json["missing"]} == {
        (path, len(data), sha256(data)) for path, data in V2.files.items()
    }
    early = bench.commit(sha256(text))
    assert (early.status_code, early.json["reason"]) == (409, "targets_missing")
    assert bench.send(sha256(text), V2.content).status_code == 204
    waiting = bench.client.get(f"/v1/publications/{sha256(text)}")
    assert [one["path"] for one in waiting.json["missing"]] == [V2.sbom_path]
    reader = Reader(bench.fleet, tmp_path)
    assert reader.read(bench.store, "image", V2.path, NOW) is None
    assert bench.send(sha256(text), V2.sbom).status_code == 204
    done = bench.commit(sha256(text))
    assert (done.status_code, done.json) == (
        200,
        {
            "id": sha256(text),
            "role": PRODUCT,
            "version": 2,
            "versions": {PRODUCT: 2},
            "state": "published",
            "missing": [],
        },
    )
    assert reader.read(bench.store, "image", V2.path, NOW) == V2.content
    assert not list(bench.settings.pending_directory.iterdir())


def test_every_call_may_be_made_again(bench: Bench) -> None:
    text = release_2(bench.fleet)
    for _ in range(2):
        assert bench.offer(PRODUCT, text).status_code == 201
    for data in (*V2.files.values(), V2.content):
        assert bench.send(sha256(text), data).status_code == 204
    first = bench.commit(sha256(text))
    before = kept(bench)
    assert bench.commit(sha256(text)).json == first.json
    assert bench.offer(PRODUCT, text).json == first.json
    assert bench.send(sha256(text), V2.content).status_code == 204
    assert kept(bench) == before


def test_what_the_ceremony_made_is_known_as_published(bench: Bench) -> None:
    text = (bench.settings.store_directory / "image/metadata/2.targets.json").read_bytes()
    again = bench.offer("targets", text)
    assert (again.status_code, again.json["state"], again.json["missing"]) == (201, "published", [])


def test_bytes_that_the_store_holds_are_not_asked_for_again(bench: Bench) -> None:
    text = sign(bench.fleet.product(2, V1), MANAGERS)
    offered = bench.offer(PRODUCT, text)
    assert offered.json["missing"] == []
    assert bench.commit(sha256(text)).json["version"] == 2


def test_a_release_may_hold_the_same_bytes_as_an_earlier_one(bench: Bench, tmp_path: Path) -> None:
    same = Release("2.0.0", 20, content=V1.content)
    bench.release(2, V1, same)
    assert Reader(bench.fleet, tmp_path).read(bench.store, "image", same.path, NOW) == V1.content


# Refusals before anything is kept

Change = Callable[[Fleet], tuple[str, bytes]]


def _one_signature(fleet: Fleet) -> tuple[str, bytes]:
    return PRODUCT, sign(fleet.product(2, V1, V2), MANAGERS[:1])


def _same_signer_twice(fleet: Fleet) -> tuple[str, bytes]:
    return PRODUCT, sign(fleet.product(2, V1, V2), (MANAGERS[0], MANAGERS[0]))


def _others_signed(fleet: Fleet) -> tuple[str, bytes]:
    return PRODUCT, sign(fleet.product(2, V1, V2), ROSTER_HOLDERS)


def _edited(fleet: Fleet) -> tuple[str, bytes]:
    return PRODUCT, release_2(fleet).replace(b'"version":2', b'"version":3')


def _not_delegated(fleet: Fleet) -> tuple[str, bytes]:
    return "pump", sign(fleet.product(1, Release("1.0.0", 1, product="pump")), MANAGERS)


def _root(fleet: Fleet) -> tuple[str, bytes]:
    return "root", sign(fleet.root("image"), ("root-1", "root-2"))


def _snapshot(fleet: Fleet) -> tuple[str, bytes]:
    return "snapshot", (fleet.home / "store/image/metadata/1.snapshot.json").read_bytes()


def _older(fleet: Fleet) -> tuple[str, bytes]:
    return "targets", (fleet.home / "store/image/metadata/1.targets.json").read_bytes()


def _gap(fleet: Fleet) -> tuple[str, bytes]:
    return PRODUCT, sign(fleet.product(3, V1, V2), MANAGERS)


def _same_version(fleet: Fleet) -> tuple[str, bytes]:
    return PRODUCT, sign(fleet.product(1, V1, V2), MANAGERS)


def _expired(fleet: Fleet) -> tuple[str, bytes]:
    targets = fleet.product(2, V1, V2)
    targets.expires = NOW - timedelta(seconds=1)
    return PRODUCT, sign(targets, MANAGERS)


def _issued_later(fleet: Fleet) -> tuple[str, bytes]:
    targets = fleet.product(2, V1, V2)
    targets.unrecognized_fields["issued"] = wire.format_time(NOW + timedelta(hours=1))
    return PRODUCT, sign(targets, MANAGERS)


def _changed(change: Callable[[Targets], object], *releases: Release) -> Change:
    def made(fleet: Fleet) -> tuple[str, bytes]:
        targets = fleet.product(2, V1, *(releases or (V2,)))
        change(targets)
        return PRODUCT, sign(targets, MANAGERS)

    return made


def _facts(of: Release = V2, **facts: Any) -> Change:
    def change(targets: Targets) -> None:
        targets.targets[of.path].unrecognized_fields["custom"] |= facts

    return _changed(change)


def _second_image_of_v1(targets: Targets) -> None:
    path = f"{PRODUCT}/1.0.0/other.img"
    targets.targets[path] = copy(targets.targets[V1.path])
    targets.targets[path].path = path


def _outside(targets: Targets) -> None:
    path = "pump/1.0.0/image.img"
    targets.targets[path] = TargetFile.from_data(path, b"x", ["sha256"])


def _bad_path(targets: Targets) -> None:
    path = f"{PRODUCT}/2.0.0/..img"
    targets.targets[path] = targets.targets.pop(V2.path)


def _two_hashes(targets: Targets) -> None:
    targets.targets[V2.path].hashes["sha512"] = "00" * 64


def _hash_in_capitals(targets: Targets) -> None:
    hashes = targets.targets[V2.path].hashes
    hashes["sha256"] = hashes["sha256"].upper()


def _too_long(targets: Targets) -> None:
    targets.targets[V2.path].length = 1_000_001


def _no_facts(targets: Targets) -> None:
    del targets.targets[V2.path].unrecognized_fields["custom"]


def _facts_as_list(targets: Targets) -> None:
    targets.targets[V2.path].unrecognized_fields["custom"] = [1]


def _further_fields(targets: Targets) -> None:
    targets.targets[V2.path].unrecognized_fields["note"] = "x"


def _sbom_gone(targets: Targets) -> None:
    del targets.targets[V2.sbom_path]


def _sbom_of_another_kind(targets: Targets) -> None:
    targets.targets[V2.sbom_path].unrecognized_fields["custom"]["evidence"] = "vex"


def _v1_longer(targets: Targets) -> None:
    targets.targets[V1.path].length += 1


def _v1_gone(targets: Targets) -> None:
    del targets.targets[V1.path]


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        (_one_signature, 403, "untrusted_metadata"),
        (_same_signer_twice, 403, "untrusted_metadata"),
        (_others_signed, 403, "untrusted_metadata"),
        (_edited, 403, "untrusted_metadata"),
        (_not_delegated, 403, "untrusted_metadata"),
        (_root, 403, "untrusted_metadata"),
        (_snapshot, 403, "untrusted_metadata"),
        (_older, 403, "rollback"),
        (_gap, 403, "version_gap"),
        (_same_version, 409, "conflict"),
        (_expired, 403, "expired_metadata"),
        (_issued_later, 403, "issued_in_future"),
        (_changed(_outside), 403, "bad_delegation"),
        (_changed(_bad_path), 400, "bad_path"),
        (_changed(_two_hashes), 403, "bad_hashes"),
        (_changed(_hash_in_capitals), 403, "bad_hashes"),
        (_changed(_too_long), 403, "target_too_large"),
        (_changed(_no_facts), 403, "bad_facts"),
        (_changed(_facts_as_list), 403, "bad_facts"),
        (_changed(_further_fields), 403, "bad_facts"),
        (_facts(version="2.0.1"), 403, "bad_facts"),
        (_facts(colour="red"), 403, "bad_facts"),
        (_facts(references=[]), 403, "no_sbom"),
        (_changed(_sbom_gone), 403, "missing_reference"),
        (_changed(_sbom_of_another_kind), 403, "missing_reference"),
        (_facts(release_counter=10), 403, "counter_not_raised"),
        (_changed(_second_image_of_v1), 403, "version_reused"),
        (_facts(V1, markets=["DE", "US"]), 403, "target_changed"),
        (_changed(_v1_longer), 403, "target_changed"),
        (_changed(_v1_gone), 403, "target_removed"),
    ],
)
def test_nothing_is_kept_of_what_is_refused(
    bench: Bench, change: Change, status: int, reason: str
) -> None:
    before = kept(bench)
    role, text = change(bench.fleet)
    answer = bench.offer(role, text)
    assert (answer.status_code, answer.json["reason"]) == (status, reason), answer.text
    assert answer.content_type == "application/problem+json"
    assert kept(bench) == before
    assert bench.client.get(f"/v1/publications/{sha256(text)}").status_code == 404
    assert bench.send(sha256(text), V2.content).status_code == 404


def test_new_delegations_may_not_orphan_a_product(bench: Bench) -> None:
    strangers = ("sven", "sara")
    lost = sign(bench.fleet.delegations(3, **{PRODUCT: strangers}), TARGETS)
    refused = bench.offer("targets", lost)
    assert (refused.status_code, refused.json["reason"]) == (403, "orphaned_role")
    # As the refusal says: a version that old and new holders have signed comes first.
    bench.publish(PRODUCT, sign(bench.fleet.product(2, V1), (*MANAGERS, *strangers)))
    bench.publish("targets", lost)
    bench.publish(PRODUCT, sign(bench.fleet.product(3, V1), strangers))


# Uploads


@pytest.fixture
def waiting(bench: Bench) -> str:
    text = release_2(bench.fleet)
    assert bench.offer(PRODUCT, text).status_code == 201
    return sha256(text)


def test_only_announced_bytes_are_taken(bench: Bench, waiting: str) -> None:
    before = kept(bench)
    digest = sha256(V2.content)
    path = f"/v1/publications/{waiting}/targets/{digest}"

    def put(data: bytes, **headers: str) -> tuple[int, str]:
        answer = bench.client.put(path, data=data, headers=headers)
        return answer.status_code, answer.json["reason"] if answer.data else ""

    flipped = bytes([V2.content[0] ^ 1]) + V2.content[1:]
    assert put(flipped) == (400, "hash_mismatch")
    assert put(V2.content[:-1]) == (400, "wrong_length")
    assert put(V2.content + b"x") == (400, "wrong_length")
    assert put(b"x" * 1_000_001) == (413, "too_large")
    unnamed = bench.send(waiting, b"something that nobody signed")
    assert (unnamed.status_code, unnamed.json["reason"]) == (404, "unknown_target")
    assert kept(bench) == before
    assert put(V2.content) == (204, "")


def test_a_body_that_breaks_off_leaves_nothing(bench: Bench, waiting: str) -> None:
    before = kept(bench)
    broken = bench.client.put(
        f"/v1/publications/{waiting}/targets/{sha256(V2.content)}",
        input_stream=io.BytesIO(V2.content[:100]),
        content_length=len(V2.content),
    )
    assert broken.status_code == 400, broken.text
    assert kept(bench) == before


@pytest.mark.parametrize("id_", ["0" * 63, "G" * 64, "0" * 64, "..", "%00"])
def test_an_id_of_nothing_is_not_found(bench: Bench, id_: str) -> None:
    for answer in (
        bench.client.get(f"/v1/publications/{id_}"),
        bench.client.put(f"/v1/publications/{id_}/targets/{'0' * 64}", data=b"x"),
        bench.client.post(f"/v1/publications/{id_}/commit"),
    ):
        assert answer.status_code == 404, answer.text
        assert answer.content_type == "application/problem+json"


# What changed between the first call and the last


def test_of_two_versions_that_wait_the_first_committed_wins(bench: Bench) -> None:
    other = Release("2.0.0", 21, b"another image")
    one, two = release_2(bench.fleet), release_2(bench.fleet, other)
    for text, release in ((one, V2), (two, other)):
        assert bench.offer(PRODUCT, text).status_code == 201
        for data in release.files.values():
            bench.send(sha256(text), data)
    assert bench.commit(sha256(two)).status_code == 200
    late = bench.commit(sha256(one))
    assert late.status_code == 404
    assert not list(bench.settings.pending_directory.iterdir())
    assert read_released(bench.store).target(other.path) is not None


def test_what_expired_while_it_waited_is_refused(bench: Bench, waiting: str) -> None:
    for data in V2.files.values():
        bench.send(waiting, data)
    bench.clock.now += timedelta(days=91)
    late = bench.commit(waiting)
    assert (late.status_code, late.json["reason"]) == (403, "expired_metadata")
    assert read_released(bench.store).target(V2.path) is None


# The roster


def roster_text(fleet: Fleet, data: bytes, version: int = 2) -> bytes:
    return sign(fleet.roster_role(version, data), ROSTER_HOLDERS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{}", "bad_roster"),
        (wire.encode(roster(fleet="south", seq=2, issued=NOW)), "wrong_fleet"),
        (wire.encode(roster(seq=1, issued=NOW)), "rollback"),
        (wire.encode(roster(seq=2, issued=NOW - timedelta(days=35))), "roster_stale"),
        (wire.encode(roster(seq=2, issued=NOW + timedelta(days=1))), "roster_stale"),
        (wire.encode(roster(seq=2, issued=NOW)) + b" ", "bad_roster"),
    ],
)
def test_a_roster_that_gateways_would_refuse_takes_no_version(
    bench: Bench, data: bytes, reason: str
) -> None:
    text = roster_text(bench.fleet, data)
    assert bench.offer(ROSTER_ROLE, text).status_code == 201
    assert bench.send(sha256(text), data).status_code == 204
    stored = {path for path in kept(bench) if "pending" not in path.parts}
    refused = bench.commit(sha256(text))
    assert (refused.status_code, refused.json["reason"]) == (403, reason), refused.text
    assert {path for path in kept(bench) if "pending" not in path.parts} == stored
    good = wire.encode(roster(seq=2, issued=NOW))
    bench.publish_roster(good, version=2)
    assert read_released(bench.store).roster == read_roster(good)


def test_the_role_of_the_roster_holds_the_roster_alone(bench: Bench) -> None:
    data = wire.encode(roster(seq=2, issued=NOW))
    two = bench.fleet.roster_role(2, data)
    two.targets["interlock/other.json"] = TargetFile.from_data(
        "interlock/other.json", b"x", ["sha256"]
    )
    empty = bench.fleet.roster_role(2, data)
    empty.targets.clear()
    long = bench.fleet.roster_role(2, data)
    long.targets[ROSTER_PATH].length = 2**21
    for targets, reason in (
        (two, "bad_roster"),
        (empty, "bad_roster"),
        (long, "target_too_large"),
    ):
        refused = bench.offer(ROSTER_ROLE, sign(targets, ROSTER_HOLDERS))
        assert (refused.status_code, refused.json["reason"]) == (403, reason)


def test_the_same_roster_may_be_signed_again(bench: Bench) -> None:
    data = wire.encode(bench.fleet.roster())
    bench.publish_roster(data, version=2)
    assert read_released(bench.store).roster == bench.fleet.roster()


# Leftovers


def test_refresh_sweeps_what_waits_for_nothing(bench: Bench, waiting: str) -> None:
    bench.send(waiting, V2.content)
    stray = bench.settings.pending_directory / ("0" * 64)
    stray.mkdir()
    (stray / "1").write_bytes(b"of a publication that is over")
    bench.back.publications.sweep()
    assert not stray.exists()
    assert bench.commit(waiting).json["reason"] == "targets_missing"
    bench.send(waiting, V2.sbom)
    assert bench.commit(waiting).status_code == 200


def test_two_paths_may_hold_the_same_bytes(bench: Bench) -> None:
    twin = Release("2.0.0", 20, V1.content)
    text = release_2(bench.fleet, twin)
    offered = bench.offer(PRODUCT, text)
    assert [one["path"] for one in offered.json["missing"]] == [twin.path, twin.sbom_path]
    for data in twin.files.values():
        assert bench.send(sha256(text), data).status_code == 204
    assert bench.commit(sha256(text)).status_code == 200


def test_what_is_published_meanwhile_is_seen_before_anything_is_stored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    strangers = ("sven", "sara")
    bench.publish(PRODUCT, sign(bench.fleet.product(2, V1), (*MANAGERS, *strangers)))
    text = sign(bench.fleet.product(3, V1, V2), MANAGERS)
    assert bench.offer(PRODUCT, text).status_code == 201
    for data in V2.files.values():
        bench.send(sha256(text), data)
    other = Bench(bench.fleet, bench.signers)
    other.restart()
    copying = bench.back.publications._put_target

    def meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        # The managers lose their role while their release is being copied.
        other.publish("targets", sign(bench.fleet.delegations(3, **{PRODUCT: strangers}), TARGETS))
        copying(*args)

    monkeypatch.setattr(bench.back.publications, "_put_target", meanwhile)
    refused = bench.commit(sha256(text))
    assert (refused.status_code, refused.json["reason"]) == (403, "untrusted_metadata")
    # Nothing stands in the way of what the new holders sign.
    bench.publish(PRODUCT, sign(bench.fleet.product(3, V1, V2), strangers))
    other.back.database.close()


def test_what_is_published_and_sent_again_takes_nobodys_turn(bench: Bench) -> None:
    text = sign(bench.fleet.product(2, V1, V2), MANAGERS)

    def turn() -> int:
        with bench.back.database.reading() as db:
            return db.scalar(select(PublisherRow.turn)) or 0

    bench.publish(PRODUCT, text, V2.files.values())
    before = turn()
    again = bench.offer(PRODUCT, text)
    assert (again.status_code, again.json["state"]) == (201, "published")
    assert bench.commit(sha256(text)).json["state"] == "published"
    assert turn() == before


def test_what_was_sent_for_a_version_is_told(bench: Bench) -> None:
    """So that a second event on the same version learns of the first before anybody signs it."""
    text = release_2(bench.fleet)
    assert bench.offer(PRODUCT, text).status_code == 201

    def told(query: str) -> list[dict[str, Any]]:
        answer = bench.client.get(f"/v1/publications{query}")
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json["items"]
        return items

    [one] = told(f"?role={PRODUCT}&version=2")
    assert (one["id"], one["state"], one["installs"]) == (sha256(text), "waiting", [V2.path])
    assert len(one["signed_by"]) == len(MANAGERS)
    [out] = told(f"?role={PRODUCT}&version=1")
    assert (out["state"], out["installs"]) == ("published", [V1.path])
    assert {item["id"] for item in told(f"?role={PRODUCT}")} == {one["id"], out["id"]}
    assert {item["id"] for item in told("")} > {one["id"], out["id"]}
    assert told(f"?role={PRODUCT}&version=3") == []


@pytest.mark.parametrize("query", ["role=../x", "version=0", "version=x", "version="])
def test_a_question_that_is_none(bench: Bench, query: str) -> None:
    answer = bench.client.get(f"/v1/publications?{query}")
    assert answer.status_code == 400
    assert answer.json["reason"] in {"bad_name", "bad_version"}
