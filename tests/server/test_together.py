"""Publications of several roles at once; withdrawals and permits as the server takes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tuf.api.metadata import Metadata, TargetFile, Targets

from interlock_core import wire
from interlock_core.api import PublicationRequest
from interlock_core.errors import RefusedError
from interlock_core.release import MAX_PERMITS, Permit, facts_of
from interlock_core.released import withdraw
from interlock_core.tuf_metadata import set_issued
from interlock_core.tuf_stored import StoredRepository
from interlock_core.withdrawn import set_withdrawn
from interlock_server.image import read_released
from interlock_server.online_keys import Signers
from interlock_server.releases import check_permit
from tests.server.later import Ceremony, send
from tests.server.test_publications import kept
from tests.server.world import (
    MANAGERS,
    NOW,
    PRODUCT,
    ROOT,
    ROSTER_HOLDERS,
    TARGETS,
    V1,
    V2,
    Bench,
    CutStore,
    Fleet,
    PowerCut,
    Reader,
    sha256,
    sign,
)
from tests.support.papers import authorise, opening, order
from tests.support.people import FLEET

NEW = ("nina", "nora")


def handed_over(fleet: Fleet, by: tuple[str, ...] = NEW, **more: bytes) -> PublicationRequest:
    """The product gets new holders, who sign again what is in force."""
    texts = {
        "targets": sign(fleet.delegations(3, **{PRODUCT: NEW}), TARGETS),
        PRODUCT: sign(fleet.product(2, V1), by),
    }
    return PublicationRequest(metadata={k: v.decode() for k, v in (texts | more).items()})


def offer(bench: Bench, request: PublicationRequest) -> Any:
    return bench.post("/v1/publications", request)


def test_new_holders_and_what_they_signed_are_published_at_once(
    bench: Bench, tmp_path: Path
) -> None:
    old = Reader(bench.fleet, tmp_path / "old")
    assert old.read(bench.store, "image", V1.path, NOW) == V1.content
    alone = bench.offer("targets", handed_over(bench.fleet).metadata["targets"].encode())
    assert (alone.status_code, alone.json["reason"]) == (403, "orphaned_role")
    request = handed_over(bench.fleet)
    offered = offer(bench, request)
    assert offered.status_code == 201, offered.text
    assert offered.json["id"] == sha256(wire.encode(request))
    assert (offered.json["role"], offered.json["versions"]) == (
        "targets",
        {PRODUCT: 2, "targets": 3},
    )
    assert offered.json["missing"] == []
    assert bench.commit(offered.json["id"]).json["state"] == "published"
    assert offer(bench, request).json["state"] == "published"
    for reader in (old, Reader(bench.fleet, tmp_path / "new")):
        assert reader.read(bench.store, "image", V1.path, NOW) == V1.content
    # From now on theirs, and nobody else's.
    late = bench.offer(PRODUCT, sign(bench.fleet.product(3, V1, V2), MANAGERS))
    assert (late.status_code, late.json["reason"]) == (403, "untrusted_metadata")
    bench.publish(PRODUCT, sign(bench.fleet.product(3, V1, V2), NEW), V2.files.values())
    assert bench.client.get(f"/v1/publications/{offered.json['id']}").status_code == 200


@pytest.mark.parametrize("version", [3, 7, 2**53 - 1])
def test_nobody_leaves_versions_out_not_even_new_holders(bench: Bench, version: int) -> None:
    """A thief's version is not jumped over: where all holders are new, the next one will do."""
    leap = sign(bench.fleet.product(version, V1), NEW)
    before = kept(bench)
    refused = offer(bench, handed_over(bench.fleet, NEW, **{PRODUCT: leap}))
    assert (refused.status_code, refused.json["reason"]) == (403, "version_gap")
    assert kept(bench) == before
    request = handed_over(bench.fleet)
    assert bench.commit(offer(bench, request).json["id"]).json["versions"][PRODUCT] == 2


@pytest.mark.parametrize(
    ("by", "status", "reason"),
    [(MANAGERS, 403, "untrusted_metadata"), (NEW[:1], 403, "untrusted_metadata")],
)
def test_what_the_old_holders_sign_does_not_hold_under_the_new_ones(
    bench: Bench, by: tuple[str, ...], status: int, reason: str
) -> None:
    before = kept(bench)
    refused = offer(bench, handed_over(bench.fleet, by))
    assert (refused.status_code, refused.json["reason"]) == (status, reason)
    assert kept(bench) == before


def test_a_role_that_is_not_delegated_comes_with_nothing(bench: Bench) -> None:
    other = sign(bench.fleet.product(1, V1), NEW)
    refused = offer(bench, handed_over(bench.fleet, NEW, pump=other))
    assert (refused.status_code, refused.json["reason"]) == (403, "untrusted_metadata")


def test_several_roles_without_delegations_are_no_publication(bench: Bench) -> None:
    refused = bench.post("/v1/publications", {"metadata": {PRODUCT: "{}", "interlock": "{}"}})
    assert refused.status_code == 400, refused.text
    assert "targets" in refused.json["detail"]


def a_roster(bench: Bench) -> None:
    """Another role is published by others, who know nothing of it."""
    bench.publish_roster(wire.encode(bench.fleet.roster(seq=2)), version=2)


def a_refresh(bench: Bench) -> None:
    bench.back.publisher.refresh(force=True)


def a_ceremony(bench: Bench) -> None:
    answer = send(bench, Ceremony(image=[sign(bench.fleet.root("image", 2), ROOT)]))
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "after",
    [None, a_roster, a_refresh, a_ceremony],
    ids=lambda after: getattr(after, "__name__", "itself"),
)
def test_a_cut_at_any_write_leaves_a_whole_repository_and_nobody_waiting(
    fleet: Fleet,
    signers: Signers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: Callable[[Bench], None] | None,
) -> None:
    """Whoever comes next, to publish something else or by the timer, finishes what was begun."""
    # Power goes between two writes of the Store, and each of those is whole.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    request, shown = handed_over(fleet), set()
    for number in range(60):
        bench = Bench(fleet.copy(tmp_path / f"cut-{number}"), signers)
        bench.restart(CutStore(bench.store, number))
        whole = True
        try:
            bench.commit(offer(bench, request).json["id"])
        except PowerCut:
            whole = False
        reader = Reader(bench.fleet, tmp_path / f"reader-{number}")
        assert reader.read(bench.store, "image", V1.path, NOW) == V1.content
        bench.restart()
        stored = StoredRepository(bench.store, "image")
        begun = stored.newest(PRODUCT) == 2
        if after is not None:
            after(bench)
            # All of it, or nothing of it.
            versions = (stored.published_version(PRODUCT), stored.published_version("targets"))
            assert versions == ((2, 3) if begun else (1, 2))
            shown.add(versions)
            state = bench.client.get(f"/v1/publications/{sha256(wire.encode(request))}").json[
                "state"
            ]
            assert state == ("published" if begun else "waiting")
            assert reader.read(bench.store, "image", V1.path, NOW) == V1.content
        assert bench.commit(offer(bench, request).json["id"]).json["state"] == "published"
        assert reader.read(bench.store, "image", V1.path, NOW) == V1.content
        bench.back.database.close()
        if whole:
            break
    assert number > 6
    assert after is None or shown == {(1, 2), (2, 3)}


def test_what_cannot_be_finished_any_more_is_said_and_keeps_nothing_from_expiring(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Its signatures ran out meanwhile: what is published is signed again all the same."""
    request = handed_over(bench.fleet)
    bench.restart(CutStore(bench.store, 1))
    with pytest.raises(PowerCut):
        bench.commit(offer(bench, request).json["id"])
    bench.restart()
    assert StoredRepository(bench.store, "image").newest(PRODUCT) == 2
    bench.clock.now = NOW + timedelta(days=91)
    before = StoredRepository(bench.store, "image").published_version("timestamp") or 0
    with pytest.raises(RefusedError):
        bench.back.publisher.refresh()
    stored = StoredRepository(bench.store, "image")
    assert (stored.published_version("timestamp") or 0) > before
    assert stored.published_version("targets") == 2
    assert "was cut off and stays so" in caplog.text


# Withdrawals


def withdrawn(fleet: Fleet, version: int = 2) -> Targets:
    before = fleet.product(version - 1, V1)
    after = fleet.product(version, V1)
    said = withdraw(before, "1.0.0", at=NOW, reason="bad")
    set_withdrawn(after, {"1.0.0": said})
    for gone in said.images:
        del after.targets[gone.path]
    return after


def test_a_withdrawn_release_is_ordered_by_nobody_any_more(bench: Bench, tmp_path: Path) -> None:
    said = order(targets=(V1.target(),))
    bench.say_all(said, authorise(said))
    bench.publish(PRODUCT, sign(withdrawn(bench.fleet), MANAGERS))
    assert read_released(bench.store).target(V1.path) is None
    assert read_released(bench.store).target(V1.sbom_path) is not None
    reader = Reader(bench.fleet, tmp_path)
    assert reader.read(bench.store, "image", V1.path, NOW) is None
    assert reader.read(bench.store, "image", V1.sbom_path, NOW) == V1.sbom
    # What runs already is told to nobody as a target; new orders are refused.
    again = bench.say(order(seq=2, targets=(V1.target(),)))
    assert (again.status_code, again.json["reason"]) == (403, "unknown_target")
    assert opening(said).said.order == said.id


def test_its_counter_and_version_stay_used(bench: Bench) -> None:
    gone = withdrawn(bench.fleet)
    bench.publish(PRODUCT, sign(gone, MANAGERS))
    new = deepcopy(gone)
    new.version = 3
    new.targets |= V1.infos()
    refused = bench.offer(PRODUCT, sign(new, MANAGERS))
    assert (refused.status_code, refused.json["reason"]) == (403, "version_reused")
    forgotten = bench.fleet.product(3, V1)
    refused = bench.offer(PRODUCT, sign(forgotten, MANAGERS))
    assert (refused.status_code, refused.json["reason"]) == (403, "bad_withdrawal")


# Permits


def permitted(of: Fleet, **changes: Any) -> tuple[bytes, bytes]:
    """The product's next metadata with a permit, and the permit."""
    fields: dict[str, Any] = {
        "fleet": FLEET,
        "product": PRODUCT,
        "from_sha256": "1" * 64,
        "to_sha256": sha256(V1.content),
        "devices": ("GW-1",),
        "cohorts": (),
        "order": "a" * 64,
        "expires": NOW,
    }
    permit = Permit(**fields | changes)
    data = wire.encode(permit)
    path = f"{PRODUCT}/permits/1.json"
    targets = of.product(2, V1)
    set_issued(targets, NOW)
    custom = msgspec.to_builtins(facts_of(permit))
    targets.targets[path] = TargetFile(
        len(data), {"sha256": sha256(data)}, path, {"custom": custom}
    )
    return sign(targets, MANAGERS), data


def test_a_permit_is_published_like_a_release(bench: Bench, tmp_path: Path) -> None:
    text, data = permitted(bench.fleet)
    bench.publish(PRODUCT, text, [data])
    reader = Reader(bench.fleet, tmp_path)
    assert reader.read(bench.store, "image", f"{PRODUCT}/permits/1.json", NOW) == data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fleet": "south"}, "wrong_fleet"),
        ({"devices": ()}, "bad_permit"),
        ({"from_sha256": sha256(V1.content)}, "bad_permit"),
    ],
)
def test_a_permit_that_no_gateway_could_use_takes_no_version(
    bench: Bench, change: dict[str, Any], reason: str
) -> None:
    text, data = permitted(bench.fleet, **change)
    assert bench.offer(PRODUCT, text).status_code == 201
    assert bench.send(sha256(text), data).status_code == 204
    refused = bench.commit(sha256(text))
    assert (refused.status_code, refused.json["reason"]) == (403, reason)
    assert read_released(bench.store).target(f"{PRODUCT}/permits/1.json") is None


def test_more_for_one_move_than_gateways_read(bench: Bench) -> None:
    text, _ = permitted(bench.fleet)
    targets = Metadata[Targets].from_bytes(text).signed
    [one] = [info for path, info in targets.targets.items() if "/permits/" in path]
    for number in range(MAX_PERMITS):
        path = f"{PRODUCT}/permits/more-{number}.json"
        hashes = {"sha256": sha256(path.encode())}
        targets.targets[path] = TargetFile(9, hashes, path, one.unrecognized_fields)
    refused = bench.offer(PRODUCT, sign(targets, MANAGERS))
    assert (refused.status_code, refused.json["reason"]) == (403, "too_many_permits")


def test_bytes_that_are_no_permit_are_refused_by_name() -> None:
    facts = facts_of(
        Permit(
            fleet=FLEET,
            product=PRODUCT,
            from_sha256="1" * 64,
            to_sha256="2" * 64,
            devices=("GW-1",),
            cohorts=(),
            order="a" * 64,
            expires=NOW,
        )
    )
    with pytest.raises(Exception, match="permit") as refused:
        check_permit("x", b"{}", facts, fleet=FLEET)
    assert getattr(refused.value, "reason", None) == "bad_permit"


def test_the_roster_may_change_hands_too(bench: Bench) -> None:
    bench.publish_roster(version=2)
    top = bench.fleet.delegations(3, interlock=NEW)
    data = bench.fleet.roster_role(3, wire.encode(bench.fleet.roster(seq=3)))
    texts = {"targets": sign(top, TARGETS), "interlock": sign(data, NEW)}
    assert ROSTER_HOLDERS != NEW
    request = PublicationRequest(metadata={k: v.decode() for k, v in texts.items()})
    offered = offer(bench, request)
    assert offered.status_code == 201, offered.text
    for missing in offered.json["missing"]:
        assert missing["path"] == "interlock/roster.json"
        roster = wire.encode(bench.fleet.roster(seq=3))
        assert bench.send(offered.json["id"], roster).status_code == 204
    assert bench.commit(offered.json["id"]).json["state"] == "published"
