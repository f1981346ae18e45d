"""Stops that an attacker hides, and stops by which he means to drive others out."""

from __future__ import annotations

import pytest
from securesystemslib.signer import CryptoSigner

from tests.attacks.simulator import CANARY, OPERATOR, WARDS, Simulator
from tests.client.world import APPROVERS, MONITOR, PRODUCT


class TestStops:
    @pytest.mark.parametrize("then", ["nothing", "restart", "rotation", "lost-metadata", "later"])
    def test_one_whose_stop_is_not_shown_any_more(self, sim: Simulator, then: str) -> None:
        """Once seen, it holds."""
        rollout = sim.world.roll_out(sim.release())
        sim.world.stop(rollout)
        sim.show(rollout)
        sim.says("stopped")
        sim.meanwhile(then)
        rollout.stops.clear()
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_one_whose_stop_was_never_shown(self, sim: Simulator) -> None:
        """The exposure is what is left of the ``go``, and then it is over."""
        rollout = sim.world.roll_out(sim.release())
        sim.world.stop(rollout)
        rollout.stops.clear()
        sim.show(rollout)
        sim.grants()
        sim.world.clock.pass_(days=7)
        sim.world.refresh()
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)

    def test_a_stop_is_seen_whatever_is_said_of_its_order(self, sim: Simulator) -> None:
        """It came beside an order that nobody authorised."""
        rollout = sim.world.order(sim.release())
        sim.world.stop(rollout)
        sim.show(rollout)
        sim.says("unauthorised_rollout")
        sim.world.authorise(rollout, "order", rollout.order.id)
        sim.world.open_stage(rollout)
        rollout.stops.clear()
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_a_stop_outlives_its_author(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        sim.world.stop(rollout, MONITOR)
        sim.show(rollout)
        sim.says("stopped")
        sim.roster_without(MONITOR)
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_a_stop_holds_in_another_cohort_too(self, sim: Simulator) -> None:
        """It is remembered for the product, wherever the gateway is moved."""
        rollout = sim.world.roll_out(sim.release())
        sim.world.stop(rollout)
        sim.show(rollout)
        sim.says("stopped")
        rollout.stops.clear()
        sim.world.show(CANARY, rollout)
        sim.bed.change(cohort=CANARY)
        sim.refuses("stopped", online=True)


class TestFloods:
    @pytest.mark.parametrize("author", [OPERATOR, MONITOR])
    def test_stops_are_bounded_and_a_resume_clears_each(self, sim: Simulator, author: str) -> None:
        rollout = sim.world.roll_out(sim.release())
        rollout.stops += sim.stops(author, rollout.order.id, 64)
        sim.show(rollout)
        sim.says("stopped")
        recorded = tuple(stop.id for stop in sim.bed.memory.order_floor(PRODUCT, WARDS).stops)
        assert len(recorded) == 64
        resume = sim.go(OPERATOR, rollout, act="resume", clears=recorded)
        sim.world.authorise(rollout, "go", resume.id)
        sim.show(rollout)
        sim.grants()

    def test_more_than_a_directive_may_hold(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        rollout.stops += sim.stops(OPERATOR, rollout.order.id, 65)
        sim.show(rollout)
        sim.refuses("malformed")

    def test_never_more_than_64_are_recorded(self, sim: Simulator) -> None:
        """However many are shown one after the other."""
        rollout = sim.world.roll_out(sim.release())
        for order in (rollout.order.id, "1" * 64, "2" * 64):
            rollout.stops = sim.stops(MONITOR, order, 64)
            sim.show(rollout)
            sim.says("stopped")
        assert len(sim.bed.memory.stops(PRODUCT)) == 64

    def test_a_recall_is_not_blocked(self, sim: Simulator) -> None:
        first, second = sim.release("1.0.0", b"first"), sim.release("2.0.0", b"second")
        sim.installs(first)
        bad = sim.installs(second)
        recall = sim.world.roll_out(first, kind="recall")
        recall.stops = sim.stops(MONITOR, bad.order.id, 64)
        sim.show(recall)
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.running == b"first"

    def test_nobodys_flood_drives_out_what_another_has_stopped(self, sim: Simulator) -> None:
        """A stop once seen holds, also one of an order that is not in force here yet."""
        first = sim.world.roll_out(sim.release())
        second = sim.started(release=sim.release("2.0.0", b"second"))
        sim.world.stop(second, OPERATOR)
        for stops in (second.stops, sim.stops(MONITOR, first.order.id, 64)):
            first.stops = stops
            sim.show(first)
            sim.bed.check()
        second.stops = []
        sim.show(second)
        sim.refuses("stopped", online=True)

    @pytest.mark.parametrize(
        ("orders", "author"), [(1, OPERATOR), (1, MONITOR), (64, OPERATOR)], ids=repr
    )
    def test_no_flood_keeps_a_later_stop_out(
        self, sim: Simulator, orders: int, author: str
    ) -> None:
        """Of one order or of many: what somebody stops when the record is full is recorded."""
        first = sim.world.roll_out(sim.release())
        second = sim.started(release=sim.release("2.0.0", b"second"))
        about = [first.order.id] if orders == 1 else [f"{n:064x}" for n in range(orders)]
        flood = [stop for order in about for stop in sim.stops(MONITOR, order, 64 // orders)]
        for first.stops in (flood, sim.stops(author, second.order.id, 1)):
            sim.show(first)
            sim.bed.check()
        sim.show(second)
        sim.refuses("stopped", online=True)

    def test_a_stop_that_the_record_has_no_room_for_stands_while_it_is_shown(
        self, sim: Simulator
    ) -> None:
        sim.bed.change(site="ward-7")
        rollout = sim.world.roll_out(sim.release())
        rollout.stops = sim.stops(MONITOR, rollout.order.id, 64, site="ward-8")
        sim.show(rollout)
        sim.grants()
        rollout.stops = sim.stops(MONITOR, rollout.order.id, 1)
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    @pytest.mark.parametrize("scope", [{"cohort": CANARY}, {"site": "ward-8"}])
    def test_stops_elsewhere_stop_nothing_here(self, sim: Simulator, scope: dict[str, str]) -> None:
        sim.bed.change(site="ward-7")
        rollout = sim.world.roll_out(sim.release())
        rollout.stops = sim.stops(MONITOR, rollout.order.id, 64, **scope)
        sim.show(rollout)
        sim.grants()

    def test_stops_of_other_orders_stop_nothing(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        rollout.stops = sim.stops(MONITOR, "0" * 64, 64)
        sim.show(rollout)
        sim.grants()

    @pytest.mark.parametrize("author", [APPROVERS[0], "a-stranger"])
    def test_a_stop_by_nobody_entitled_stops_nothing(self, sim: Simulator, author: str) -> None:
        sim.world.people.setdefault(author, CryptoSigner.generate_ed25519())
        rollout = sim.world.roll_out(sim.release())
        rollout.stops = sim.stops(author, rollout.order.id, 64)
        sim.show(rollout)
        sim.grants()
