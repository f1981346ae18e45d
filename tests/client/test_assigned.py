"""A device that signed assignments move from cohort to cohort."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from interlock_client.judge import MAX_MOVES
from interlock_core.errors import Exit
from interlock_core.order import Stage
from interlock_core.roster import CohortRules
from tests.client.bed import Bed
from tests.client.fleet import SECRET, Fleet
from tests.client.test_power import cut, every_step
from tests.client.web import Web
from tests.client.world import CANARY, PRODUCT, WARDS, World

OLD = b"what the wards run " * 100
NEW = b"what the canaries run " * 100


@pytest.fixture
def enrolled(bed: Bed, fleet: Fleet) -> Bed:
    """A gateway of the wards that may be moved to any canary cohort."""
    bed.change(cohort_patterns=("canar*", "wards"))
    assert bed.enrol().reason == "countersigned"
    return bed


def enrolment(bed: Bed) -> str:
    with bed.context() as made:
        id_ = made.place(made.memory()).enrolment
    assert id_ is not None
    return id_


def cohort(bed: Bed) -> str:
    with bed.context() as made:
        return made.place(made.memory()).cohort


def only(cohort: str) -> tuple[Stage, ...]:
    return (Stage(cohorts=(cohort,), basis_points=10_000, soak_seconds=0, gate="manual"),)


def canaries_run(world: World, data: bytes = NEW) -> None:
    """An order for the canaries alone."""
    rollout = world.order(
        world.release(f"{len(world.releases) + 1}.0.0", data), stages=only(CANARY)
    )
    world.authorise(rollout, "order", rollout.order.id)
    world.open_stage(rollout)
    world.show(CANARY, rollout)


def show(world: World) -> None:
    world.show(WARDS)


class TestObeyed:
    def test_it_runs_what_the_new_cohort_runs_in_one_command(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        canaries_run(world)
        assert enrolled.check().reason == "nothing_wanted"
        said = world.assign(enrolment(enrolled), reason="a test bench now")
        show(world)
        assert enrolled.install().outcome == "confirmed"
        assert enrolled.running == NEW
        assert cohort(enrolled) == CANARY
        assert enrolled.report().exit_code is Exit.DONE
        assert {one.said.cohort for one in fleet.reports[1:]} == {CANARY}
        with enrolled.context() as made:
            assigned = made.memory().assigned
        assert assigned is not None
        assert (assigned.id, assigned.by, assigned.reason) == (
            said.id,
            "olivia",
            "a test bench now",
        )

    def test_both_cohorts_metadata_is_kept_apart(self, world: World, enrolled: Bed) -> None:
        for _ in range(5):
            show(world)
        assert enrolled.check().reason == "nothing_wanted"
        world.assign(enrolment(enrolled))
        show(world)
        # Its director is far behind that of the wards, and is no rollback.
        assert enrolled.check().reason == "nothing_wanted"
        assert cohort(enrolled) == CANARY
        world.assignments.clear()
        world.assign(
            enrolment(enrolled), from_cohort=CANARY, to_cohort=WARDS, seq=2, reason="back again"
        )
        world.show(CANARY)
        assert enrolled.check().reason == "nothing_wanted"
        assert cohort(enrolled) == WARDS
        trusted = enrolled.home / "state" / "trusted" / "director"
        assert {path.name for path in trusted.iterdir()} == {CANARY, WARDS}

    def test_a_director_of_the_wards_stays_where_it_was(
        self, world: World, enrolled: Bed, web: Web
    ) -> None:
        """An old director of the old cohort is still refused when the gateway comes back."""
        enrolled.check()
        keys = [
            "director/wards/metadata/timestamp.json",
            "poll/wards",
        ]
        old = {key: world.store.get(key) for key in keys}
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        world.assignments.clear()
        world.assign(enrolment(enrolled), from_cohort=CANARY, to_cohort=WARDS, seq=2)
        world.show(CANARY)
        for key, data in old.items():
            web.answer(f"/{key}", data)
        assert enrolled.check().reason == "rollback"
        assert cohort(enrolled) == WARDS
        web.lies.clear()
        assert enrolled.check().reason == "nothing_wanted"

    def test_with_nothing_new_it_is_one_request(
        self, world: World, enrolled: Bed, web: Web
    ) -> None:
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        assert web.count(enrolled.check) == 1
        assert web.requests[-1] == f"/poll/{CANARY}"

    def test_what_was_settled_before_it_enrolled_is_decided_again(
        self, world: World, bed: Bed, fleet: Fleet
    ) -> None:
        """The same bytes mean more once there is an enrolment that they may name."""
        bed.change(cohort_patterns=("*",))
        fleet.countersigned = False
        assert bed.enrol().reason == "waiting"
        id_ = enrolment(bed)
        link = bed.home / "state" / "identity"
        away = link.readlink()
        link.unlink()
        world.assign(id_)
        show(world)
        assert bed.check().reason == "nothing_wanted"
        link.symlink_to(away)
        assert bed.check().reason == "nothing_wanted"
        assert cohort(bed) == CANARY

    def test_what_is_dated_ahead_of_this_clock_is_obeyed_when_its_time_comes(
        self, world: World, enrolled: Bed, web: Web
    ) -> None:
        world.clock.pass_(minutes=3)
        world.assign(enrolment(enrolled))
        world.clock.pass_(minutes=-3)
        show(world)
        enrolled.check()
        assert cohort(enrolled) == WARDS
        assert web.count(enrolled.check) == 1
        world.clock.pass_(minutes=3)
        enrolled.check()
        assert cohort(enrolled) == CANARY

    def test_endless_moves_end(self, world: World, enrolled: Bed, web: Web) -> None:
        """A server that shows the next assignment whenever the last was obeyed."""
        seq = 0
        id_ = enrolment(enrolled)

        def on_and_on(handler: Any) -> None:
            nonlocal seq
            seq += 1
            mine = handler.path.removeprefix("/poll/")
            world.assignments.clear()
            other = CANARY if mine == WARDS else WARDS
            world.assign(id_, from_cohort=mine, to_cohort=other, seq=seq)
            world.show(mine)
            handler.serve(handler.path)

        web.lies["/poll/"] = on_and_on
        outcome = enrolled.check()
        assert (outcome.reason, outcome.exit_code) == ("moving", Exit.TRANSIENT)
        assert seq <= MAX_MOVES + 2
        web.lies.clear()
        for name in (WARDS, CANARY):
            world.assignments.clear()
            world.show(name)
        assert enrolled.check().reason == "nothing_wanted"


class TestNotObeyed:
    @pytest.mark.parametrize(
        "fields",
        [
            {"device": "GW-000002"},
            {"enrolment": "0" * 64},
            {"from_cohort": CANARY, "to_cohort": WARDS},
            {"to_cohort": "elsewhere"},
            {"author": "amir"},
            {"fleet": "staging"},
        ],
        ids=str,
    )
    def test_one_that_is_not_for_it(
        self, world: World, enrolled: Bed, fields: dict[str, Any]
    ) -> None:
        world.assign(**{"enrolment": enrolment(enrolled)} | fields)
        show(world)
        assert enrolled.check().reason == "nothing_wanted"
        assert cohort(enrolled) == WARDS

    def test_one_that_has_expired(self, world: World, enrolled: Bed) -> None:
        world.assign(enrolment(enrolled), expires=world.clock() + timedelta(minutes=1))
        world.clock.pass_(minutes=1)
        show(world)
        enrolled.check()
        assert cohort(enrolled) == WARDS

    def test_one_that_the_other_cohorts_rule_does_not_allow(
        self, world: World, enrolled: Bed
    ) -> None:
        rules: dict[str, Any] = {
            "start": {"approver": 2},
            "advance": {"approver": 1},
            "resume": {"approver": 1},
            "stop": (),
        }
        world.put_roster(
            rules=(
                CohortRules(pattern="*", assign={"approver": 1}, **rules),
                CohortRules(pattern=CANARY, assign={"approver": 2}, **rules),
            )
        )
        world.image.publish()
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        assert cohort(enrolled) == WARDS
        world.assign(enrolment(enrolled), "amir", "anna", seq=2)
        show(world)
        enrolled.check()
        assert cohort(enrolled) == CANARY

    def test_a_gateway_that_is_not_enrolled_is_not_moved(self, world: World, bed: Bed) -> None:
        bed.change(cohort_patterns=("*",))
        world.assign("0" * 64)
        show(world)
        bed.check()
        assert cohort(bed) == WARDS

    def test_an_old_one_is_not_obeyed_again(self, world: World, enrolled: Bed) -> None:
        """Neither after it was moved back, nor when its configuration was changed and back."""
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        old = list(world.assignments)
        world.assignments.clear()
        world.assign(enrolment(enrolled), from_cohort=CANARY, to_cohort=WARDS, seq=2)
        world.show(CANARY)
        enrolled.check()
        assert cohort(enrolled) == WARDS
        world.assignments = old
        show(world)
        assert enrolled.check().reason == "nothing_wanted"
        assert cohort(enrolled) == WARDS
        enrolled.change(cohort=CANARY)
        enrolled.check()
        enrolled.change(cohort=WARDS)
        enrolled.check()
        assert cohort(enrolled) == WARDS


class TestConfiguration:
    def test_a_changed_configuration_wins(self, world: World, enrolled: Bed) -> None:
        world.cohorts.append("icu")
        world.director("icu").put_root(world.director_root)
        world.show("icu")
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        enrolled.change(cohort="icu")
        assert enrolled.check().reason == "nothing_wanted"
        assert cohort(enrolled) == "icu"

    def test_another_enrolment_begins_where_it_is_configured(
        self, world: World, enrolled: Bed, fleet: Fleet
    ) -> None:
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        before = enrolment(enrolled)
        fleet.claims.add(SECRET)
        assert enrolled.enrol(renew=True).reason == "countersigned"
        assert enrolment(enrolled) != before
        assert cohort(enrolled) == WARDS
        enrolled.check()
        assert cohort(enrolled) == WARDS, "that assignment was for the enrolment before"

    def test_a_damaged_identity_neither_moves_it_nor_stops_it(
        self, world: World, enrolled: Bed
    ) -> None:
        world.assign(enrolment(enrolled))
        show(world)
        enrolled.check()
        canaries_run(world)
        (enrolled.home / "state" / "identity" / "identity.json").write_bytes(b"rotten")
        assert cohort(enrolled) == CANARY
        outcome = enrolled.install()
        assert outcome.outcome == "confirmed"
        assert outcome.more["report_fault"] == "damaged_state"

    def test_explain_and_status_say_who_moved_it(self, world: World, enrolled: Bed) -> None:
        world.assign(enrolment(enrolled), reason="a test bench now")
        show(world)
        told = enrolled.explain().more
        assert (told["cohort"], told["configured_cohort"]) == (CANARY, WARDS)
        assert told["assigned"]["reason"] == "a test bench now"
        found = enrolled.status()
        assert (found["cohort"], found["configured_cohort"]) == (CANARY, WARDS)
        assert found["assigned"]["by"] == "olivia"


class TestInBetween:
    def test_what_was_written_for_the_old_cohort_is_not_armed(
        self, world: World, enrolled: Bed
    ) -> None:
        world.roll_out(world.release("1.0.0", OLD))
        enrolled.script("interlock.d/10-idle", "exit 1")
        assert enrolled.update().reason == "interlock_not_clear"
        world.assign(enrolment(enrolled))
        world.show(WARDS, world.rollouts[-1])
        world.show(CANARY)
        enrolled.script("interlock.d/10-idle", "exit 0")
        assert enrolled.update().reason == "nothing_wanted"
        assert enrolled.environment.load().armed is None
        assert enrolled.journal.attempt is None

    def test_moved_in_the_last_moment(self, world: World, enrolled: Bed, web: Web) -> None:
        """The freshest directive moves it: the old grant is worth nothing any more."""
        world.roll_out(world.release("1.0.0", OLD))
        canaries_run(world)
        polls = 0

        def moving(handler: Any) -> None:
            nonlocal polls
            polls += 1
            if polls == 2:
                world.assign(enrolment(enrolled))
                world.show(WARDS, world.rollouts[-1])
            handler.serve(handler.path)

        web.lies["/poll/wards"] = moving
        outcome = enrolled.update()
        assert (outcome.outcome, outcome.reason) == ("transient", "newer_order")
        assert enrolled.environment.load().armed is None
        assert enrolled.install().outcome == "confirmed"
        assert enrolled.running == NEW

    def test_the_same_image_is_installed_under_the_new_order(
        self, world: World, enrolled: Bed
    ) -> None:
        world.roll_out(world.release("1.0.0", OLD))
        enrolled.script("interlock.d/10-idle", "exit 1")
        enrolled.update()
        rollout = world.order(world.releases[-1], stages=only(CANARY))
        world.authorise(rollout, "order", rollout.order.id)
        world.open_stage(rollout)
        world.show(CANARY, rollout)
        world.assign(enrolment(enrolled))
        world.show(WARDS, world.rollouts[-1])
        enrolled.script("interlock.d/10-idle", "exit 0")
        assert enrolled.install().more["order"] == rollout.order.id

    def test_the_power_goes_at_any_moment(self, world: World, enrolled: Bed, fleet: Fleet) -> None:
        enrolled.change(interlock="none", health="none")
        world.roll_out(world.release("1.0.0", OLD))
        assert enrolled.install().outcome == "confirmed"
        canaries_run(world)
        world.assign(enrolment(enrolled))
        world.show(WARDS, world.rollouts[-1])
        chain = dict(fleet.chains)

        def explore(bed: Bed, step: int) -> bool:
            fleet.chains = {name: list(reports) for name, reports in chain.items()}
            was_cut = cut(bed.check, step)
            bed.power_on()
            outcome = bed.check()
            assert (outcome.outcome, cohort(bed)) == ("update_available", CANARY)
            assert bed.report().exit_code is Exit.DONE
            assert fleet.quarantined == set()
            return was_cut

        assert every_step(enrolled, explore) > 30


def test_stops_of_the_old_cohort_are_not_forgotten(world: World, enrolled: Bed) -> None:
    rollout = world.roll_out(world.release("1.0.0", OLD))
    world.stop(rollout)
    world.show(WARDS, rollout)
    assert enrolled.check().reason == "stopped"
    rollout.stops.clear()
    world.show(CANARY, rollout)
    world.assign(enrolment(enrolled))
    world.show(WARDS, rollout)
    assert enrolled.check().reason == "stopped"
    assert cohort(enrolled) == CANARY
    floors = enrolled.memory.orders
    assert {f"{PRODUCT}/{WARDS}", f"{PRODUCT}/{CANARY}"} <= set(floors)
