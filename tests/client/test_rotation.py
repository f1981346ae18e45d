"""A gateway gets a new key, asked for by the old one; and what it does when its key is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock_client import identity
from interlock_client.state import StateDir
from interlock_core.api import EnrolmentRequest, EnrolmentState
from interlock_core.errors import Exit
from interlock_core.fleet import rotates
from interlock_core.report import Enrolment
from interlock_core.statement import Opened, open_as
from interlock_core.wire import decode
from tests.client.bed import Bed
from tests.client.fleet import SECRET, Fleet
from tests.client.test_assigned import cohort, enrolment
from tests.client.test_cli import client
from tests.client.test_power import cut, every_step
from tests.client.world import CANARY, World


@pytest.fixture
def enrolled(bed: Bed, fleet: Fleet) -> Bed:
    """A gateway that is enrolled and has reported."""
    bed.change(cohort_patterns=("canar*", "wards"))
    assert bed.enrol().reason == "countersigned"
    assert bed.report().exit_code is Exit.DONE
    fleet.countersign_rotations = False
    return bed


def asked(fleet: Fleet) -> list[Opened[Enrolment]]:
    """The rotations that were sent."""
    bodies = [body for path, body in fleet.asked if path == "/v1/enrolments"]
    requests = [decode(body, EnrolmentRequest, limit=2**20, what="request") for body in bodies]
    return [open_as(one.enrolment, Enrolment) for one in requests if one.claim is None]


class TestRotation:
    def test_the_old_key_signs_until_the_new_one_is_countersigned(
        self, enrolled: Bed, fleet: Fleet
    ) -> None:
        old = enrolment(enrolled)
        outcome = enrolled.rotate()
        assert (outcome.outcome, outcome.reason, outcome.exit_code) == ("rotating", "waiting", 0)
        (new,) = asked(fleet)
        assert rotates(new, fleet.enrolments[old]) is None
        assert enrolled.check().reason == "nothing_wanted"
        enrolled.report()
        assert enrolment(enrolled) == old
        fleet.countersign_rotations = True
        assert enrolled.report().exit_code is Exit.DONE
        assert enrolment(enrolled) == new.id
        assert [one.said.number for one in fleet.chains[new.id]] == [1]
        assert fleet.quarantined == set()

    def test_asking_again_sends_the_same_words(self, enrolled: Bed, fleet: Fleet) -> None:
        fleet.lose = 1
        assert enrolled.rotate().reason == "network"
        assert enrolled.rotate().reason == "waiting"
        assert enrolled.rotate().reason == "waiting"
        assert len({one.id for one in asked(fleet)}) == 1
        fleet.countersign_rotations = True
        assert enrolled.rotate().outcome == "rotated"
        assert enrolment(enrolled) == asked(fleet)[0].id

    def test_a_second_rotation_has_a_key_of_its_own(self, enrolled: Bed, fleet: Fleet) -> None:
        fleet.countersign_rotations = True
        assert enrolled.rotate().outcome == "rotated"
        assert enrolled.rotate().outcome == "rotated"
        first, second = asked(fleet)
        assert second.said.replaces == first.id
        assert len({one.said.key.keyid for one in fleet.enrolments.values()}) == 3

    def test_it_stays_in_the_cohort_to_which_it_was_moved(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        world.assign(enrolment(enrolled))
        world.show("wards")
        assert enrolled.check().reason == "nothing_wanted"
        assert cohort(enrolled) == CANARY
        fleet.countersign_rotations = True
        for _ in range(2):
            assert enrolled.rotate().outcome == "rotated"
            assert cohort(enrolled) == CANARY
        assert asked(fleet)[-1].said.cohort == CANARY

    def test_whenever_the_power_fails_it_has_one_identity_and_its_place(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        world.assign(enrolment(enrolled))
        world.show("wards")
        assert enrolled.check().reason == "nothing_wanted"
        fleet.countersign_rotations = True
        taken = dict(fleet.enrolments)

        def explore(bed: Bed, step: int) -> bool:
            fleet.enrolments = dict(taken)
            was_cut = cut(bed.rotate, step)
            bed.power_on()
            assert cohort(bed) == CANARY
            if enrolment(bed) in taken:
                assert bed.rotate().outcome == "rotated"
            assert cohort(bed) == CANARY
            assert bed.report().exit_code is Exit.DONE
            return was_cut

        assert every_step(enrolled, explore) > 20

    def test_a_claim_wins_over_a_rotation_that_waits(self, enrolled: Bed, fleet: Fleet) -> None:
        assert enrolled.rotate().reason == "waiting"
        fleet.claims.add(SECRET)
        assert enrolled.enrol(SECRET, renew=True).reason == "countersigned"
        newest = list(fleet.enrolments)[-1]
        assert enrolment(enrolled) == newest
        assert fleet.enrolments[newest].said.key != asked(fleet)[0].said.key
        # What waited was of the old key, and is not taken over.
        fleet.countersign_rotations = True
        enrolled.report()
        assert enrolment(enrolled) == newest

    def test_there_is_nothing_to_rotate_before_it_is_enrolled(self, bed: Bed, fleet: Fleet) -> None:
        outcome = bed.rotate()
        assert (outcome.reason, outcome.exit_code) == ("not_enrolled", Exit.USAGE)
        assert not fleet.asked

    def test_a_key_that_is_lost_rotates_nothing(self, enrolled: Bed, fleet: Fleet) -> None:
        home = identity.in_force(StateDir(enrolled.home / "state"))
        assert home is not None
        home.key.unlink()
        outcome = enrolled.rotate()
        assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED)
        assert asked(fleet) == []


class TestEnded:
    @pytest.mark.parametrize("state", ["revoked", "decommissioned"])
    def test_it_says_so_and_goes_on_updating(
        self, world: World, enrolled: Bed, fleet: Fleet, state: EnrolmentState
    ) -> None:
        fleet.ended[enrolment(enrolled)] = state
        new = b"what the wards run next " * 100
        rollout = world.order(world.release("2.0.0", new))
        world.authorise(rollout, "order", rollout.order.id)
        world.open_stage(rollout)
        world.show("wards", rollout)
        assert enrolled.install().outcome == "confirmed"
        outcome = enrolled.report()
        assert (outcome.reason, outcome.exit_code) == (state, Exit.REFUSED)
        assert "updates all the same" in outcome.detail
        told = enrolled.status()
        assert told["enrolment"]["state"] == state
        assert enrolled.running == new
        again = enrolled.enrol(None)
        assert (again.outcome, again.reason, again.exit_code) == ("enrolled", state, 0)

    def test_it_is_let_in_anew_with_a_claim_and_another_key(
        self, enrolled: Bed, fleet: Fleet
    ) -> None:
        old = enrolment(enrolled)
        fleet.ended[old] = "revoked"
        fleet.claims.add(SECRET)
        assert enrolled.enrol(SECRET, renew=True).reason == "countersigned"
        assert enrolled.report().exit_code is Exit.DONE
        assert enrolment(enrolled) != old


def test_the_command_takes_no_claim_with_it(bed: Bed, tmp_path: Path) -> None:
    for more in (["--renew"], ["--claim-stdin"], ["--claim-file", str(tmp_path / "claim")]):
        done = client("enrol", "--rotate", *more, "--config", bed.write_config())
        assert done.code == Exit.USAGE
        assert "--rotate takes no claim" in done.err


def test_rotating_is_a_command(enrolled: Bed) -> None:
    done = client("enrol", "--rotate", "--config", enrolled.write_config())
    assert done.code == 0, done.err
    assert "has asked for a new key" in done.out
