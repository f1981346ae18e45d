"""Whoever would have a gateway go below its floor, with permits that do not fit.

The gateway has confirmed a release that raised its floor, and a recall to the one before is
authorised and open. What is missing is a permit that covers this very move.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from interlock_core.release import MAX_PERMITS, MAX_PERMITS_BYTES, Permit
from interlock_core.wire import encode, sha256_hex
from tests.attacks.simulator import CANARY, WARDS, Simulator
from tests.client.world import NOW, PRODUCT, Release, Rollout


class Case(NamedTuple):
    """What was released, and the recall."""

    first: Release
    second: Release
    recall: Rollout


def recalled(sim: Simulator) -> Case:
    """The second release runs and has raised the floor; the first is ordered back."""
    first, second = sim.release("1.0.0", b"first"), None
    sim.installs(first)
    second = sim.release("2.0.0", b"second", raises_floor_to=2)
    sim.installs(second)
    return Case(first, second, sim.world.roll_out(first, kind="recall"))


def permit(sim: Simulator, case: Case, **changes: Any) -> str:
    return sim.world.permit(case.recall, case.second, case.first, **changes)


def withdraw(sim: Simulator, *permits: str) -> None:
    """The product's holders take permits back, all of them if none is named."""
    for digest in permits or tuple(sim.world.permits):
        del sim.world.permits[digest]
    sim.world.put_product()
    sim.world.bundle(WARDS)


class TestPermits:
    def test_none(self, sim: Simulator) -> None:
        recalled(sim)
        sim.refuses("below_floor", online=True)

    @pytest.mark.parametrize(
        "change",
        [
            {"devices": ("GW-000002",)},
            {"devices": (), "cohorts": (CANARY,)},
            {"order": "ab" * 32},
            {"from_sha256": "cd" * 32},
            {"to_sha256": "cd" * 32},
            {"fleet": "another-fleet"},
            {"product": "infusion-bridge"},
            {"expires": NOW},
        ],
        ids=["device", "cohort", "order", "from", "to", "fleet", "product", "expired"],
    )
    def test_one_for_something_else(self, sim: Simulator, change: dict[str, Any]) -> None:
        """Another device's, another cohort's, another order's, for another move, or over."""
        permit(sim, recalled(sim), **change)
        sim.refuses("below_floor", online=True)

    def test_one_that_expires_while_the_image_waits(self, sim: Simulator) -> None:
        """The last moment decides again."""
        permit(sim, recalled(sim), expires=NOW + timedelta(days=2))
        sim.bed.script("interlock.d/10-idle", "exit 1")
        assert sim.bed.update().reason == "interlock_not_clear"
        sim.bed.script("interlock.d/10-idle", "exit 0")
        sim.world.clock.pass_(days=3)
        sim.world.refresh()
        sim.refuses("below_floor", online=True, slot=True)

    def test_one_that_was_spent(self, sim: Simulator) -> None:
        """It went down once, and somebody on the ward brought it up again."""
        case = recalled(sim)
        permit(sim, case)
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.rollback().reason == "by_hand"
        sim.bed.power_on()
        assert sim.bed.running == b"second"
        sim.refuses("below_floor", online=True)

    def test_one_that_was_revoked(self, sim: Simulator) -> None:
        permit(sim, recalled(sim))
        sim.grants()
        withdraw(sim)
        sim.refuses("below_floor", online=True)

    def test_one_that_is_shown_again_after_it_was_revoked(self, sim: Simulator) -> None:
        """The product's metadata has a floor of its own, whatever the online keys sign."""
        permit(sim, recalled(sim))
        older = sim.published(PRODUCT)
        withdraw(sim)
        sim.says("below_floor")
        sim.serve_role(PRODUCT, older, sim.world.product_keys[PRODUCT])
        sim.refuses("rollback", online=True)

    def test_one_signed_below_the_threshold(self, sim: Simulator) -> None:
        """One release manager alone, and whoever holds the online keys."""
        permit(sim, recalled(sim))
        forged = sim.published(PRODUCT)
        forged.version += 1
        sim.serve_role(PRODUCT, forged, sim.world.product_keys[PRODUCT][:1])
        sim.refuses("untrusted_metadata", online=True)

    @pytest.mark.parametrize("other", [{"devices": ("GW-000001",)}, {"cohorts": (WARDS,)}])
    def test_one_whose_words_are_others(self, sim: Simulator, other: dict[str, Any]) -> None:
        """Other bytes under the digest that was signed: of another device, or of all.

        They are no permit, and so nothing permits this move: that is the refusal. It names the
        bytes, and does not end the decision: whoever serves them could end every other, too, and
        with it keep a stop from being learned.
        """
        case = recalled(sim)
        wrong = sha256_hex(permit_bytes(case, devices=("GW-000002",)))
        assert permit(sim, case, devices=("GW-000002",)) == wrong
        sim.web.answer(served_at(wrong), permit_bytes(case, **other))
        assert "hash_mismatch" in sim.refuses("below_floor", online=True).detail

    @pytest.mark.parametrize("status", [404, 503, 200])
    def test_anothers_that_cannot_be_had(self, sim: Simulator, status: int) -> None:
        """It ends nothing: the move is made by this gateway's own."""
        case = recalled(sim)
        others, mine = sim.world.permit_each(
            case.recall, case.second, case.first, [{"devices": ("GW-000002",)}, {}]
        )
        sim.web.answer(served_at(others), b"none", status)
        outcome = sim.bed.install()
        assert (outcome.outcome, outcome.more["permit"]) == ("confirmed", mine), outcome

    def test_a_stop_beside_one_that_cannot_be_had(self, sim: Simulator) -> None:
        """What was signed to stop is learned first (16)."""
        case = recalled(sim)
        sim.web.answer(served_at(permit(sim, case)), b"none", 404)
        stop = sim.world.stop(case.recall)
        sim.world.show(WARDS, case.recall)
        sim.says("stopped")
        assert [one.id for one in sim.bed.memory.stops(PRODUCT)] == [stop.id]

    @pytest.mark.parametrize("status", [404, 503])
    def test_this_gateways_that_cannot_be_had(self, sim: Simulator, status: int) -> None:
        """It permits nothing, and is named where it was needed."""
        case = recalled(sim)
        mine = permit(sim, case)
        sim.web.answer(served_at(mine), b"", status)
        said = sim.refuses("below_floor", online=True)
        assert f"1 could not be had, {mine[:12]} for one: network" in said.detail

    def test_more_than_a_gateway_reads(self, sim: Simulator) -> None:
        """No publisher takes so many; those that are left out are named."""
        case = recalled(sim)
        others = [{"devices": (f"GX-{number:06}",)} for number in range(MAX_PERMITS)]
        made = sim.world.permit_each(case.recall, case.second, case.first, [*others, {}])
        detail = sim.refuses("below_floor", online=True).detail
        assert f"1 could not be had, {made[-1][:12]} for one: no more than 64 permits" in detail

    def test_longer_ones_than_a_gateway_reads(self, sim: Simulator) -> None:
        case, many = recalled(sim), tuple(f"GX-{number:061}" for number in range(4096))
        each = [{"devices": (*many[number:], *many[:number])} for number in range(16)]
        assert 16 * len(permit_bytes(case, devices=many)) > MAX_PERMITS_BYTES
        each.append({"devices": ("GW-000001", *many[:4095])})
        made = sim.world.permit_each(case.recall, case.second, case.first, each)
        detail = sim.refuses("below_floor", online=True).detail
        assert f"2 could not be had, {made[-2][:12]} for one: no more than" in detail
        withdraw(sim, *list(sim.world.permits)[:2])
        sim.grants()

    @pytest.mark.parametrize("kind", ["update", "baseline"])
    def test_one_for_an_order_that_is_no_recall(self, sim: Simulator, kind: str) -> None:
        """No permit lets another kind of order go down."""
        case = recalled(sim)
        other = sim.world.roll_out(case.first, kind=kind)
        sim.world.permit(other, case.second, case.first)
        sim.refuses("below_floor", online=True)


class TestHonest:
    def test_those_that_expired_take_nobodys_place(self, sim: Simulator) -> None:
        case = recalled(sim)
        over = [
            {"devices": (f"GX-{number:06}",), "expires": NOW} for number in range(MAX_PERMITS + 1)
        ]
        mine = sim.world.permit_each(case.recall, case.second, case.first, [*over, {}])[-1]
        assert sim.bed.update().more["permit"] == mine

    @pytest.mark.parametrize(
        "whom", [{"devices": ("GW-000001",)}, {"devices": (), "cohorts": (WARDS,)}]
    )
    def test_the_one_move_is_made_once_and_said(self, sim: Simulator, whom: dict[str, Any]) -> None:
        digest = permit(sim, recalled(sim), **whom)
        outcome = sim.bed.install()
        assert (outcome.outcome, outcome.more["permit"]) == ("confirmed", digest), outcome
        assert sim.bed.running == b"first"
        assert f"by permit {digest[:12]}" in outcome.detail
        assert sim.bed.memory.spent_permits == (digest,)
        assert sim.bed.memory.release_floor == 2

    def test_a_failed_attempt_spends_nothing(self, sim: Simulator) -> None:
        case = recalled(sim)
        permit(sim, case)
        sim.bed.script("health.d/10-up", "exit 1")
        assert sim.bed.install().outcome == "rolled_back"
        assert sim.bed.memory.spent_permits == ()
        sim.bed.power_on()
        sim.refuses("rolled_back_here", online=True)

    def test_a_move_that_needs_none_spends_none(self, sim: Simulator) -> None:
        first, second = sim.release("1.0.0", b"first"), sim.release("2.0.0", b"second")
        for release in (first, second):
            sim.installs(release)
        recall = sim.world.roll_out(first, kind="recall")
        sim.world.permit(recall, second, first)
        assert sim.bed.install().more["permit"] is None
        assert sim.bed.memory.spent_permits == ()


def served_at(digest: str, number: int = 0) -> str:
    return f"/image/targets/{PRODUCT}/permits/{digest}.{number:04}.json"


def permit_bytes(case: Case, **changes: Any) -> bytes:
    """A permit for this move, as people would write it."""
    fields: dict[str, Any] = {
        "fleet": "test-fleet",
        "product": PRODUCT,
        "from_sha256": case.second.target.sha256,
        "to_sha256": case.first.target.sha256,
        "devices": (),
        "cohorts": (),
        "order": case.recall.order.id,
        "expires": NOW + timedelta(days=30),
    }
    return encode(Permit(**fields | changes))
