"""What operators read: lists, one rollout, and how it reads for each cohort."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from interlock_core import wire
from interlock_core.api import PAGE, CohortView, Rollout, RolloutPage
from interlock_core.order import Order
from interlock_core.statement import Opened
from interlock_server.db.rollout_tables import RolloutRow
from tests.server.test_sessions import token
from tests.server.world import NOW, V1, Bench, both
from tests.support import people
from tests.support.papers import (
    authorise,
    consent,
    days,
    enrolment,
    hours,
    opening,
    order,
    resume,
    stage,
    stop,
)
from tests.support.people import CANARY, DAY0, ST_ANNA, ST_BERT


def paper(**fields: Any) -> Opened[Order]:
    return order(**{"targets": (V1.target(),)} | fields)


class Operator:
    """Reads with a fresh token each time, whatever the clock says."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {token(self.bench)}"}
        answer = self.bench.client.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.data

    def rollout(self, of: Opened[Order]) -> Rollout:
        self.bench.back.engine.round()
        return msgspec.json.decode(self.get(f"/v1/rollouts/{of.id}"), type=Rollout)

    def cohort(self, of: Opened[Order], name: str = CANARY) -> CohortView:
        [found] = [view for view in self.rollout(of).cohorts if view.cohort == name]
        return found

    def page(self, query: str = "") -> RolloutPage:
        return msgspec.json.decode(self.get(f"/v1/rollouts{query}"), type=RolloutPage)


@pytest.fixture
def operator(bench: Bench) -> Operator:
    return Operator(bench)


def test_a_rollout_from_proposal_to_the_end_of_its_go(bench: Bench, operator: Operator) -> None:
    def state(of: Opened[Order]) -> str:
        return operator.rollout(of).summary.state

    said = paper(not_before=DAY0 + hours(2))
    bench.say_all(said)
    assert state(said) == "waiting_for_approval"
    assert operator.cohort(said).missing == ("1 more approver",)
    assert operator.cohort(said, ST_ANNA).missing == ("1 more approver", "1 more hospital")
    bench.say_all(authorise(said))
    view = operator.cohort(said)
    assert (state(said), view.accepted_at, view.in_force) == ("scheduled", DAY0, True)
    bench.clock.now = DAY0 + hours(3)
    assert state(said) == "ready"
    first = opening(said, at=bench.clock.now)
    bench.say_all(first)
    assert state(said) == "ready"
    assert "lacks signatures" in (operator.cohort(said).objection or "")
    bench.say_all(authorise(first))
    view = operator.cohort(said)
    assert state(said) == "running"
    assert (view.stages_open, view.live_until, view.objection) == (
        1,
        bench.clock.now + days(7),
        None,
    )
    halt = stop(said, at=bench.clock.now)
    bench.say_all(halt)
    assert (state(said), operator.cohort(said).standing_stops) == ("paused", (halt.id,))
    again = resume(said, at=bench.clock.now, clears=(halt,))
    bench.say_all(again)
    assert state(said) == "paused"
    bench.say_all(authorise(again))
    assert (state(said), operator.cohort(said).standing_stops) == ("running", ())
    bench.clock.now += days(8)
    # Nobody renewed it: it stands still until somebody resumes it, as the engine says.
    assert state(said) == "paused"
    whole = operator.rollout(said)
    assert (len(whole.authorisations), len(whole.goes), len(whole.stops)) == (3, 2, 1)
    assert whole.order == said.envelope


def test_superseded_ended_and_expired_rollouts_have_stopped(
    bench: Bench, operator: Operator
) -> None:
    low, high = paper(seq=1), paper(seq=2)
    bench.say_all(low, authorise(low), high, authorise(high))
    # Where the higher one lacks a signature, the lower one may still get its own.
    assert operator.rollout(low).summary.state == "waiting_for_approval"
    bench.say_all(consent(high))
    assert operator.rollout(low).summary.state == "stopped"
    assert not operator.cohort(low).in_force
    assert operator.rollout(high).summary.in_force
    made = people.roster(seq=2, issued=NOW, min_order_seq={"gateway": 3})
    bench.publish_roster(wire.encode(made), version=2)
    assert operator.rollout(high).summary.state == "stopped"
    brief = paper(seq=3, expires=NOW + hours(1))
    bench.say_all(brief, authorise(brief))
    assert operator.rollout(brief).summary.state == "ready"
    bench.clock.now += hours(2)
    assert operator.rollout(brief).summary.state == "stopped"


def test_a_stop_at_one_cohort_stands_there_alone(bench: Bench, operator: Operator) -> None:
    said = paper()
    bench.say_all(said, authorise(said), consent(said), stop(said, cohort=ST_ANNA, by="hanna"))
    assert operator.cohort(said, CANARY).standing_stops == ()
    assert len(operator.cohort(said, ST_ANNA).standing_stops) == 1
    # Nothing was opened that could pause, and it goes on at the other cohort.
    assert operator.rollout(said).summary.state == "ready"


def test_a_rollout_has_one_state_wherever_it_is_shown(bench: Bench, operator: Operator) -> None:
    said = paper(stages=(stage(CANARY),))
    first = opening(said)

    def shown() -> set[str]:
        stages = msgspec.json.decode(operator.get(f"/v1/rollouts/{said.id}/stages"))["state"]
        [listed] = operator.page().items
        return {operator.rollout(said).summary.state, listed.state, stages}

    bench.let_in(enrolment("GW-1"))
    for paper_, state in ((said, "waiting_for_approval"), (authorise(said), "ready")):
        bench.say_all(paper_)
        assert shown() == {state}
    bench.say_all(first, authorise(first))
    assert shown() == {"running"}
    bench.say_all(later := paper(stages=(stage(CANARY),), seq=2, kind="recall"), authorise(later))
    assert operator.rollout(said).summary.state == "stopped"
    # What the engine has not seen is a draft, here as there.
    with bench.back.database.writing() as session:
        session.execute(
            update(RolloutRow).where(RolloutRow.order_id == said.id).values(order_id=64 * "0")
        )
    unseen = msgspec.json.decode(operator.get(f"/v1/rollouts/{said.id}"), type=Rollout)
    assert unseen.summary.state == "draft"


def test_what_keeps_an_order_from_a_cohort_is_said(bench: Bench, operator: Operator) -> None:
    local = people.person("olga", people.grant("operator", CANARY))
    made = people.roster(
        local,
        people.ADA,
        rules=(people.rules(CANARY), people.rules(ST_ANNA)),
        seq=2,
        issued=NOW,
    )
    bench.publish_roster(wire.encode(made), version=2)
    said = paper()
    bench.say_all(said, authorise(said))
    assert operator.cohort(said, CANARY).missing == ()
    assert operator.cohort(said, ST_ANNA).missing == ("olga as an operator over st-anna",)
    assert operator.cohort(said, ST_BERT).missing == ("a roster rule that covers st-bert",)


@both
def test_lists_are_newest_first_and_paged(
    bench: Bench, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert operator.page() == RolloutPage(items=(), next=None)
    assert PAGE == 100
    monkeypatch.setattr("interlock_server.web.operator_api.PAGE", 2)
    made = [paper(seq=n, stages=(stage(CANARY),), at=DAY0 + timedelta(n)) for n in (3, 1, 5)]
    bench.clock.now = DAY0 + days(6)
    bench.say_all(*made)
    first = operator.page()
    assert ([item.seq for item in first.items], first.next) == ([5, 1], 2)
    second = operator.page("?page=2")
    assert ([item.seq for item in second.items], second.next) == ([3], None)
    assert operator.page("?product=gateway&page=2") == second
    assert operator.page("?product=pump").items == ()
    assert operator.page("?page=999999").items == ()


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("?page=0", 400, "bad_page"),
        ("?page=-1", 400, "bad_page"),
        ("?page=x", 400, "bad_page"),
        ("?page=99999999999999999999", 400, "bad_page"),
        ("?page=%C2%B2", 400, "bad_page"),
        ("?product=Gateway", 400, "bad_name"),
        ("?product=%00", 400, "bad_name"),
        ("/" + "0" * 64, 404, "unknown_order"),
        ("/x", 404, "unknown_order"),
    ],
)
def test_questions_without_an_answer(bench: Bench, path: str, status: int, reason: str) -> None:
    headers = {"Authorization": f"Bearer {token(bench)}"}
    answer = bench.client.get(f"/v1/rollouts{path}", headers=headers)
    assert (answer.status_code, answer.json["reason"]) == (status, reason)


def test_a_go_is_no_rollout(bench: Bench) -> None:
    said = paper()
    first = opening(said)
    bench.say_all(said, first)
    headers = {"Authorization": f"Bearer {token(bench)}"}
    answer = bench.client.get(f"/v1/rollouts/{first.id}", headers=headers)
    assert (answer.status_code, answer.json["reason"]) == (404, "unknown_order")
