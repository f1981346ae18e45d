"""Whoever holds the server and every online key, and the order of things: stages, soaks, times.

He shows what people signed, in whatever order, changed, late, or in part.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner

from interlock_core.errors import Exit
from interlock_core.order import Order
from interlock_core.placement import point
from interlock_core.statement import open_as
from interlock_core.wire import sha256_hex
from tests.attacks.online import edited
from tests.attacks.simulator import CANARY, DAY, OPERATOR, WARDS, Simulator, stage
from tests.client.world import NOW, PRODUCT

CENTURY = timedelta(days=36_500)


def outside(sim: Simulator, share: int) -> bytes:
    """An image for which this gateway is outside a share (basis points)."""
    images = (b"image %d" % number for number in range(1000))
    return next(
        data for data in images if point(sha256_hex(data), sim.bed.settings.device) >= share
    )


class TestRollouts:
    def test_one_that_nobody_authorised(self, sim: Simulator) -> None:
        """The attacker proposes it himself, and people's words stand beside it."""
        rollout = sim.order()
        sim.world.people["eve"] = CryptoSigner.generate_ed25519()
        words = msgspec.structs.replace(rollout.order.said, author="eve")
        rollout.order = open_as(sim.world.by("eve", words), Order)
        sim.world.authorise(rollout, "order", rollout.order.id)
        sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_one_that_nobody_started(self, sim: Simulator) -> None:
        sim.show(sim.order())
        sim.defers("not_started")

    def test_one_that_the_attacker_starts(self, sim: Simulator) -> None:
        rollout = sim.order()
        with sim.stranger_as(OPERATOR):
            sim.world.open_stage(rollout)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    @pytest.mark.parametrize(
        "change",
        [
            {"stages": (stage(CANARY, soak=DAY), stage(WARDS))},
            {"stages": (stage(CANARY, WARDS),)},
            {"stages": (stage(CANARY), stage(WARDS, share=100))},
            {"expires": NOW + CENTURY},
            {"not_before": NOW - CENTURY / 10},
            {"seq": 9},
            {"kind": "recall"},
            {"at": NOW - timedelta(days=1)},
        ],
        ids=["share", "cohorts", "soak", "expires", "not-before", "seq", "kind", "at"],
    )
    def test_one_that_was_edited(self, sim: Simulator, change: dict[str, Any]) -> None:
        """More gateways, earlier, for longer, before another, or downwards."""
        rollout = sim.started(stage(CANARY, soak=DAY), stage(WARDS, share=100))
        sim.forge(rollout, **change)
        sim.refuses("unauthorised_rollout", online=True)

    def test_one_for_another_image(self, sim: Simulator) -> None:
        """Signed and released, only not ordered."""
        rollout, other = sim.started(), sim.release("2.0.0", b"another image")
        rollout.releases = [other]
        sim.forge(rollout, targets=(other.target,))
        sim.refuses("unauthorised_rollout", online=True)

    def test_a_larger_share_than_was_signed(self, sim: Simulator) -> None:
        """There is nothing to enlarge: a directive holds no percentage of its own."""
        data = outside(sim, 100)
        sim.show(sim.started(stage(WARDS, share=100), release=sim.release(data=data)))
        sim.defers("not_in_stage")

    def test_all_stages_at_once_when_the_calendar_says_so(self, sim: Simulator) -> None:
        """Withheld until every soak would be over: nobody has opened the second stage."""
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS))
        sim.world.open_stage(rollout, days=30)
        sim.world.clock.pass_(days=6)
        sim.world.refresh()
        sim.show(rollout)
        sim.defers("not_in_stage")

    @pytest.mark.parametrize("change", [{"stage": 1}, {"stage": 1, "seq": 2}])
    def test_and_an_opening_of_his_own_making(self, sim: Simulator, change: dict[str, int]) -> None:
        """Withheld likewise, and the second opening is the first with another number."""
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS))
        opening = sim.world.open_stage(rollout, days=30)
        sim.world.clock.pass_(days=6)
        sim.world.refresh()
        rollout.chain.append(edited(opening, **change))
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    @pytest.mark.parametrize("hours", [0, 23])
    def test_a_stage_before_its_soak(self, sim: Simulator, hours: int) -> None:
        """People were tricked into opening it early: withheld until the soak is over, it is not."""
        rollout = sim.started(stage(CANARY, soak=DAY), stage(WARDS))
        sim.world.clock.pass_(hours=hours)
        sim.world.open_stage(rollout, 1)
        sim.world.clock.pass_(days=3)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_a_stage_whose_soak_began_with_the_last_word(self, sim: Simulator) -> None:
        """The first opening was agreed to a day late: a day is missing."""
        rollout = sim.order(stage(CANARY, soak=DAY), stage(WARDS))
        first = sim.go(OPERATOR, rollout)
        sim.world.clock.pass_(hours=23)
        sim.world.authorise(rollout, "go", first.id)
        sim.world.clock.pass_(hours=2)
        sim.world.open_stage(rollout, 1)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_a_stage_without_the_one_before(self, sim: Simulator) -> None:
        rollout = sim.order(stage(CANARY), stage(WARDS))
        sim.world.open_stage(rollout, 1)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_a_stage_of_another_order(self, sim: Simulator) -> None:
        """What people opened of the one opens nothing of the other."""
        first, second = sim.started(), sim.order(release=sim.release("2.0.0", b"second"))
        second.chain, second.authorisations = first.chain, second.authorisations
        second.authorisations += first.authorisations
        sim.show(second)
        sim.defers("not_started")

    def test_an_opening_dated_back(self, sim: Simulator) -> None:
        rollout = sim.started(stage(CANARY, soak=DAY), stage(WARDS))
        opening = sim.world.open_stage(rollout, 1)
        rollout.chain[-1] = edited(opening, opened_at=sim.world.clock() + timedelta(days=1))
        sim.world.clock.pass_(days=2)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_before_its_earliest_time(self, sim: Simulator) -> None:
        sim.show(sim.started(not_before=sim.world.clock() + timedelta(days=1)))
        sim.defers("not_before")

    def test_one_that_expired(self, sim: Simulator) -> None:
        rollout = sim.started(expires=sim.world.clock() + timedelta(days=2))
        sim.world.clock.pass_(days=2)
        sim.show(rollout)
        sim.refuses("expired_order", online=True)

    def test_an_older_one_after_a_newer(self, sim: Simulator) -> None:
        older = sim.world.roll_out(sim.release())
        sim.world.roll_out(sim.release("2.0.0", b"newer"))
        sim.grants()
        sim.show(older)
        sim.refuses("superseded_order", online=True)

    def test_an_older_one_after_one_that_nobody_started(self, sim: Simulator) -> None:
        """Accepted is enough: people meant it to take the older one's place."""
        older = sim.world.roll_out(sim.release())
        sim.show(sim.order(release=sim.release("2.0.0", b"newer")))
        sim.says("not_started", Exit.DEFERRED)
        sim.show(older)
        sim.refuses("superseded_order", online=True)

    def test_another_of_the_same_number(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release(), seq=7)
        sim.grants()
        sim.show(sim.started(release=sim.release("2.0.0", b"the twin"), seq=7))
        sim.refuses("superseded_order", online=True)

    def test_one_that_the_roster_ended(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release(), seq=7)
        sim.roster(min_order_seq={PRODUCT: 8})
        sim.show(rollout)
        sim.refuses("superseded_order", online=True)

    def test_an_older_release(self, sim: Simulator) -> None:
        """Signed, ordered and authorised once; below the floor now, and no permit covers it."""
        first = sim.release("1.0.0", b"first")
        sim.installs(first)
        sim.installs(sim.release("2.0.0", b"second", raises_floor_to=2))
        sim.world.roll_out(first, kind="recall")
        sim.refuses("below_floor", online=True)

    def test_an_older_release_by_an_update(self, sim: Simulator) -> None:
        """At the floor, but only a recall goes down."""
        first = sim.release("1.0.0", b"first")
        sim.installs(first)
        sim.installs(sim.release("2.0.0", b"second"))
        sim.world.roll_out(first)
        sim.refuses("below_floor", online=True)

    def test_one_that_people_let_lapse(self, sim: Simulator) -> None:
        rollout = sim.started()
        sim.world.clock.pass_(days=8)
        sim.world.refresh()
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)

    def test_one_that_rolled_back_here(self, sim: Simulator) -> None:
        """It is not tried again under the same order, however often it is shown."""
        rollout = sim.world.roll_out(sim.release())
        sim.bed.script("health.d/10-up", "exit 1")
        assert sim.bed.install().outcome == "rolled_back"
        sim.bed.power_on()
        sim.show(rollout)
        sim.refuses("rolled_back_here", online=True)
