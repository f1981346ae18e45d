"""Whoever holds every online key, and one person's key or the monitor's as well.

One operator can stop and renew; one approver can say a word; the monitor opens auto stages, renews
and stops. Nobody of them opens, resumes or authorises alone where the roster asks for more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner

from interlock_core.keybytes import PublicKey
from interlock_core.wire import encode
from tests.attacks.simulator import CANARY, DAY, OPERATOR, WARDS, Simulator, stage
from tests.client.world import APPROVERS, MONITOR, NOW

STEPS = {
    "order": "unauthorised_rollout",
    "start": "stage_not_open",
    "advance": "stage_not_open",
    "resume": "stopped",
}
"""Each step for which the roster asks two people, and what it is called when one is missing."""

INSTEAD: dict[str, tuple[str | None, dict[str, Any]]] = {
    "nobody": (None, {}),
    "the-author": (OPERATOR, {}),
    "the-first-again": (APPROVERS[0], {"reason": "once more"}),
    "the-first-in-another-role": (APPROVERS[0], {"role": "operator"}),
    "only-reviewed": (APPROVERS[1], {"meaning": "reviewed"}),
    "in-another-role": (APPROVERS[1], {"role": "operator"}),
    "in-a-role-that-nobody-has": (APPROVERS[1], {"role": "king"}),
    "of-another-fleet": (APPROVERS[1], {"fleet": "staging"}),
    "about-something-else": (APPROVERS[1], {"id": "0" * 64}),
    "about-another-kind": (APPROVERS[1], {"authorises": "assignment"}),
    "tomorrow": (APPROVERS[1], {"at": NOW + timedelta(days=1)}),
    "the-monitor": (MONITOR, {}),
    "the-monitor-as-such": (MONITOR, {"role": "monitor"}),
}
"""What stands in the place of the second person's word."""


class TestOnePersonToo:
    """With one operator's or approver's key beside all online keys, the same."""

    def test_two_people_are_enough(self, sim: Simulator) -> None:
        """What follows is refused for one missing word, and for nothing else."""
        sim.roster_asking_two()
        sim.show(sim.short_of(None))
        sim.grants()

    @pytest.mark.parametrize("instead", INSTEAD)
    @pytest.mark.parametrize("what", STEPS)
    def test_one_word_where_two_are_asked(self, sim: Simulator, what: str, instead: str) -> None:
        author, word = INSTEAD[instead]
        sim.roster_asking_two()
        sim.show(sim.short_of(what, author, **word))
        sim.refuses(STEPS[what], online=True, mend=sim.roster)

    def test_a_word_that_is_not_asked_for_uses_nobody_up(self, sim: Simulator) -> None:
        """Shown first, it would silence the word that counts."""
        amir = sim.also(sim.person(APPROVERS[0]), "engineer")
        rollout = sim.short_of(None)
        for about in (rollout.order, *sim.goes(rollout)):
            sim.word(rollout, APPROVERS[0], about, role="engineer", at=NOW - timedelta(days=1))
        sim.roster_asking_two(amir)
        sim.show(rollout)
        sim.grants()

    @pytest.mark.parametrize("what", STEPS)
    def test_an_author_who_may_approve_as_well(self, sim: Simulator, what: str) -> None:
        """Others' things: her own word about her own is none."""
        sim.roster_asking_two(sim.also(sim.person(OPERATOR), "approver"))
        sim.show(sim.short_of(what, OPERATOR))
        sim.refuses(STEPS[what], online=True, mend=sim.roster)

    @pytest.mark.parametrize("what", STEPS)
    def test_somebody_in_two_roles(self, sim: Simulator, what: str) -> None:
        """Where an approver and an engineer are asked, one person is not both."""
        both = [sim.also(sim.person(name), "engineer") for name in APPROVERS]
        sim.roster_asking_two(*both, rule={"approver": 1, "engineer": 1})
        sim.show(sim.short_of(what, APPROVERS[0], seconds="engineer", role="engineer"))
        sim.refuses(STEPS[what], online=True, mend=sim.roster)

    @pytest.mark.parametrize("what", STEPS)
    def test_a_stranger_in_the_second_persons_name(self, sim: Simulator, what: str) -> None:
        sim.roster_asking_two()
        sim.show(sim.short_of(what, APPROVERS[1], key=sim.impostor(APPROVERS[1])))
        sim.refuses(STEPS[what], online=True, mend=sim.roster)

    @pytest.mark.parametrize("what", STEPS)
    def test_one_person_with_two_keys(self, sim: Simulator, what: str) -> None:
        second, amir = CryptoSigner.generate_ed25519(), sim.person(APPROVERS[0])
        keys = (*amir.keys, PublicKey.of(second.public_key))
        sim.roster_asking_two(msgspec.structs.replace(amir, keys=keys))
        sim.show(sim.short_of(what, APPROVERS[0], key=second, reason="once more"))
        sim.refuses(STEPS[what], online=True, mend=sim.roster)

    @pytest.mark.parametrize(
        ("two", "reason"), [("people", "malformed"), ("keys", "malformed"), ("ids", "bad_key")]
    )
    def test_one_key_twice_in_a_roster(self, sim: Simulator, two: str, reason: str) -> None:
        """Of two people, or of one, under one id or two: such a roster is refused whole."""
        roster = sim.roster()
        amir, anna = (encode(person.keys) for person in roster.persons[1:3])
        twin = amir.replace(roster.persons[1].keys[0].keyid.encode(), b"0" * 64)
        other = {"people": anna, "keys": amir, "ids": twin}[two]
        both = anna if two == "people" else amir[:-1] + b"," + other[1:]
        sim.raw_roster(encode(roster).replace(amir, both))
        sim.refuses(reason, mend=sim.roster)

    def test_an_operator_opens_nothing_alone(self, sim: Simulator) -> None:
        rollout = sim.order()
        sim.go(OPERATOR, rollout)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_an_operator_proposes_and_nothing_more(self, sim: Simulator) -> None:
        rollout = sim.world.order(sim.release())
        sim.go(OPERATOR, rollout)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_an_operator_resumes_nothing_alone(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        halt = sim.world.stop(rollout)
        sim.go(OPERATOR, rollout, act="resume", clears=(halt.id,))
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_an_operator_renews_nothing_that_lapsed(self, sim: Simulator) -> None:
        rollout = sim.order()
        opening = sim.world.open_stage(rollout)
        sim.world.clock.pass_(days=8)
        sim.world.refresh()
        sim.renew(OPERATOR, rollout, opening)
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)

    def test_nor_by_an_opening_that_is_shown_again(self, sim: Simulator) -> None:
        """The lapsed stage is opened once more, and two people were tricked into agreeing."""
        rollout = sim.started()
        sim.world.clock.pass_(days=8)
        sim.world.refresh()
        again = sim.go(OPERATOR, rollout, opened_at=NOW)
        sim.world.authorise(rollout, "go", again.id)
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)

    def test_a_resume_opens_no_stage(self, sim: Simulator) -> None:
        rollout = sim.started(stage(CANARY), stage(WARDS))
        resume = sim.go(OPERATOR, rollout, act="resume", stage=1)
        sim.world.authorise(rollout, "go", resume.id)
        sim.show(rollout)
        sim.defers("not_in_stage")

    @pytest.mark.parametrize(
        "change", [{"opened_at": NOW + timedelta(days=1)}, {"renews": "0" * 64}]
    )
    def test_a_renewal_of_nothing(self, sim: Simulator, change: dict[str, Any]) -> None:
        """Only beside its opening does a renewal count."""
        rollout = sim.order()
        opening = sim.world.open_stage(rollout)
        sim.world.clock.pass_(days=6)
        sim.renew(OPERATOR, rollout, opening, **change)
        sim.world.clock.pass_(days=2)
        sim.world.refresh()
        sim.show(rollout)
        sim.refuses("go_lapsed", online=True)


class TestMonitorToo:
    """With the monitor's key: the auto stages that remain open unwatched, and nothing else does."""

    def test_auto_stages_open(self, sim: Simulator) -> None:
        """The exposure. Whoever cannot accept it uses manual gates."""
        rollout = sim.started(stage(CANARY), stage(CANARY, gate="auto"), stage(WARDS, gate="auto"))
        sim.go(MONITOR, rollout, stage=1)
        sim.go(MONITOR, rollout, stage=2)
        sim.show(rollout)
        sim.grants()

    def test_but_not_before_their_soak(self, sim: Simulator) -> None:
        rollout = sim.started(stage(CANARY, soak=DAY), stage(WARDS, gate="auto"))
        sim.world.clock.pass_(hours=23)
        sim.go(MONITOR, rollout, stage=1)
        sim.world.clock.pass_(days=3)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_from_the_future(self, sim: Simulator) -> None:
        """Dated to the end of the soak, before it is over."""
        rollout = sim.started(stage(CANARY, soak=DAY), stage(WARDS, gate="auto"))
        later = sim.world.clock() + timedelta(days=1)
        sim.go(MONITOR, rollout, stage=1, opened_at=later)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    @pytest.mark.parametrize("days", [1, 20, 36_500])
    def test_nor_for_longer_by_a_date_in_the_future(self, sim: Simulator, days: int) -> None:
        """Signed as if later, it would live longer."""
        rollout = sim.started(stage(CANARY), stage(WARDS, gate="auto"))
        later = sim.world.clock() + timedelta(days=days)
        until = later + timedelta(days=30)
        sim.go(MONITOR, rollout, stage=1, at=later, valid_until=until)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_a_manual_gate(self, sim: Simulator) -> None:
        rollout = sim.started(stage(CANARY), stage(WARDS))
        sim.go(MONITOR, rollout, stage=1)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_a_manual_gate_that_people_agreed_to(self, sim: Simulator) -> None:
        """Whatever others say beside it, a monitor opens no manual stage."""
        rollout = sim.started(stage(CANARY), stage(WARDS))
        opening = sim.go(MONITOR, rollout, stage=1)
        sim.world.authorise(rollout, "go", opening.id)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_does_a_person_open_an_auto_stage(self, sim: Simulator) -> None:
        rollout = sim.started(stage(CANARY), stage(WARDS, gate="auto"))
        opening = sim.go(OPERATOR, rollout, stage=1)
        sim.world.authorise(rollout, "go", opening.id)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_a_start(self, sim: Simulator) -> None:
        rollout = sim.order()
        sim.go(MONITOR, rollout)
        sim.show(rollout)
        sim.refuses("stage_not_open", online=True)

    def test_nor_another_order(self, sim: Simulator) -> None:
        rollout = sim.world.order(sim.release(), author=MONITOR)
        sim.world.authorise(rollout, "order", rollout.order.id)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True)

    def test_nor_a_resume(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        halt = sim.world.stop(rollout)
        resume = sim.go(MONITOR, rollout, act="resume", clears=(halt.id,))
        sim.world.authorise(rollout, "go", resume.id)
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    def test_nor_a_stop_of_its_own_that_it_takes_back(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        halt = sim.world.stop(rollout, MONITOR)
        sim.go(MONITOR, rollout, act="resume", clears=(halt.id,))
        sim.show(rollout)
        sim.refuses("stopped", online=True)

    @pytest.mark.parametrize("act", ["renew", "open"])
    def test_nor_beyond_thirty_days_of_people(self, sim: Simulator, act: str) -> None:
        """Neither renewals nor the auto stage opened over and over."""
        sim.show(sim.kept_alive_by_a_monitor(act, days=32))
        sim.refuses("go_lapsed", online=True)

    def test_thirty_days_are_what_it_has(self, sim: Simulator) -> None:
        """The exposure, just before it ends."""
        sim.show(sim.kept_alive_by_a_monitor("open", days=29))
        sim.grants()
