"""What is shown is computed from signatures, and a server that tells another story is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from interlock_core.api import Rollout
from interlock_core.errors import RefusedError, WireError
from interlock_core.order import Order
from interlock_core.roster import Judge, Roster
from interlock_core.statement import Opened
from interlock_ops.dossier import Dossier, open_rollout
from interlock_ops.view import CohortStatus, Status, read_status
from tests.ops.world import told
from tests.support.papers import (
    authorise,
    consent,
    days,
    opening,
    order,
    renewal,
    resume,
    started,
    stop,
)
from tests.support.people import CANARY, DAY0, ROSTER, ST_ANNA, ST_BERT, roster

ORDER = order()


def dossier(
    papers: Iterable[Opened[Any]], now: datetime = DAY0, of: Opened[Order] = ORDER
) -> Dossier:
    return open_rollout(told(of, papers, now), of.id)


def status(papers: Iterable[Opened[Any]], now: datetime = DAY0, by: Roster = ROSTER) -> Status:
    return read_status(Judge(by, now), dossier(papers, now))


def canary(papers: Iterable[Opened[Any]], now: datetime = DAY0) -> CohortStatus:
    [found] = [c for c in status(papers, now).cohorts if c.cohort == CANARY]
    return found


def test_nobody_has_authorised_yet() -> None:
    found = {cohort.cohort: cohort for cohort in status([]).cohorts}
    assert found.keys() == {CANARY, ST_ANNA, ST_BERT}
    assert found[CANARY].missing == {"approver": 1}
    assert found[ST_ANNA].missing == {"approver": 1, "hospital": 1}
    assert {cohort.state for cohort in found.values()} == {"waiting_for_approval"}


def test_one_cohort_may_be_ready_before_another() -> None:
    found = {cohort.cohort: cohort for cohort in status([authorise(ORDER)]).cohorts}
    assert (found[CANARY].state, found[ST_BERT].state) == ("ready", "ready")
    assert found[CANARY].accepted_at == DAY0
    assert (found[ST_ANNA].state, found[ST_ANNA].missing) == (
        "waiting_for_approval",
        {"hospital": 1},
    )


def test_an_opening_waits_for_signatures() -> None:
    first = opening(ORDER)
    found = canary([authorise(ORDER), first])
    [waiting] = found.stages[0].waiting
    assert (waiting.go.id, waiting.missing) == (first.id, {"approver": 1})
    assert found.state == "ready"


def test_an_opening_for_later_is_scheduled() -> None:
    first = opening(ORDER, at=DAY0, opened_at=DAY0 + days(1))
    assert canary([authorise(ORDER), first, authorise(first)]).state == "scheduled"


def test_a_running_rollout_has_its_soak_and_its_end() -> None:
    found = canary(started(ORDER), DAY0 + timedelta(hours=4))
    assert found.state == "running"
    assert found.live_until == DAY0 + days(7)
    assert [stage.since for stage in found.stages] == [DAY0, None]
    assert found.stages[0].soak_ends == DAY0 + days(1)


def test_a_cohort_whose_own_stage_is_not_open_does_not_run() -> None:
    found = {cohort.cohort: cohort.state for cohort in status(started(ORDER)).cohorts}
    assert (found[CANARY], found[ST_BERT]) == ("running", "ready")


def test_it_lapses_and_a_renewal_in_time_prevents_that() -> None:
    papers = started(ORDER)
    assert canary(papers, DAY0 + days(8)).state == "lapsed"
    renewed = renewal(papers[1], at=DAY0 + days(6))
    found = canary([*papers, renewed], DAY0 + days(8))
    assert (found.state, found.live_until) == ("running", DAY0 + days(13))


def test_a_stop_stands_until_a_resume_that_counts() -> None:
    papers = started(ORDER)
    halt = stop(ORDER, at=DAY0)
    assert canary([*papers, halt]).state == "paused"
    again = resume(ORDER, at=DAY0, clears=[halt])
    assert canary([*papers, halt, again]).state == "paused"
    found = canary([*papers, halt, again, authorise(again)])
    assert (found.state, found.standing) == ("running", ())


def test_a_stop_elsewhere_does_not_pause_here() -> None:
    found = status([*started(ORDER), stop(ORDER, cohort=ST_ANNA)])
    paused = {cohort.cohort: bool(cohort.standing) for cohort in found.cohorts}
    assert paused == {CANARY: False, ST_ANNA: True, ST_BERT: False}


def test_a_stop_of_somebody_who_left_is_shown_and_does_not_count() -> None:
    left = roster(*[person for person in ROSTER.persons if person.name != "omar"])
    papers = [*started(ORDER), stop(ORDER, by="omar")]
    found = read_status(Judge(left, DAY0), dossier(papers)).cohorts[0]
    assert [one.counts for one in found.standing] == [False]
    assert found.state == "running"


def test_a_revoked_author_makes_the_order_wait_again() -> None:
    left = roster(*[person for person in ROSTER.persons if person.name != "olga"])
    found = read_status(Judge(left, DAY0), dossier(started(ORDER))).cohorts[0]
    assert (found.state, found.author_counts) == ("waiting_for_approval", False)


def test_a_later_accepted_order_supersedes() -> None:
    later = order(seq=2)
    papers = [authorise(later)]
    found = read_status(Judge(ROSTER, DAY0), dossier(started(ORDER)), [dossier(papers, of=later)])
    by_cohort = {cohort.cohort: cohort.state for cohort in found.cohorts}
    assert by_cohort[CANARY] == "superseded"
    assert by_cohort[ST_ANNA] == "waiting_for_approval"


def test_a_later_order_that_nobody_authorised_does_not() -> None:
    found = read_status(
        Judge(ROSTER, DAY0), dossier(started(ORDER)), [dossier([], of=order(seq=2))]
    )
    assert found.cohorts[0].state == "running"


def test_the_roster_ends_orders() -> None:
    found = read_status(Judge(roster(min_order_seq={"gateway": 2}), DAY0), dossier(started(ORDER)))
    assert found.cohorts[0].state == "superseded"


def test_it_expires() -> None:
    assert canary(started(ORDER), DAY0 + days(90)).state == "expired"


def test_a_cohort_without_a_rule_is_denied() -> None:
    only = roster(rules=tuple(rule for rule in ROSTER.rules if rule.pattern == ST_ANNA))
    found = read_status(Judge(only, DAY0), dossier(started(ORDER)))
    assert {c.cohort for c in found.cohorts if c.state == "denied"} == {CANARY, ST_BERT}


# A server that lies


def test_an_honest_account_does_not_differ() -> None:
    halt = stop(ORDER)
    papers = [*started(ORDER, consents=True), halt]
    assert status(papers, DAY0 + timedelta(hours=1)).differences == ()


def test_another_order_is_refused_by_name() -> None:
    other = order(seq=9)
    with pytest.raises(RefusedError, match=other.id) as caught:
        open_rollout(told(other, [], DAY0), ORDER.id)
    assert caught.value.reason == "wrong_order"


def test_an_edited_payload_is_refused() -> None:
    rollout = told(ORDER, [], DAY0)
    broken = msgspec.structs.replace(rollout.order, payload=rollout.order.payload[:-4] + "AAAA")
    with pytest.raises(WireError):
        open_rollout(msgspec.structs.replace(rollout, order=broken), ORDER.id)


def view(**fields: Any) -> Callable[[Rollout], Rollout]:
    """The first cohort's view, with other fields."""

    def alter(rollout: Rollout) -> Rollout:
        first, *rest = rollout.cohorts
        return msgspec.structs.replace(
            rollout, cohorts=(msgspec.structs.replace(first, **fields), *rest)
        )

    return alter


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (view(accepted_at=None), "accepted at"),
        (view(stages_open=2), "open stages: the server says 2, the signatures 1"),
        (view(live_until=DAY0 + days(30)), "live until"),
        (view(standing_stops=()), "standing stops: the server says none"),
        (view(cohort="elsewhere"), "elsewhere: the server lists it"),
        (
            lambda r: msgspec.structs.replace(
                r, summary=msgspec.structs.replace(r.summary, author="ada")
            ),
            "summary names another order",
        ),
        (
            lambda r: msgspec.structs.replace(r, stops=(*r.stops, r.order)),
            "1 statement(s) that it sent are unreadable",
        ),
        (
            lambda r: msgspec.structs.replace(r, goes=(*r.goes, opening(order(seq=5)).envelope)),
            "1 statement(s) that it sent are unreadable or about another order",
        ),
    ],
)
def test_a_difference_is_named(alter: Callable[[Rollout], Rollout], said: str) -> None:
    papers = [*started(ORDER), stop(ORDER)]
    lied = open_rollout(alter(told(ORDER, papers, DAY0)), ORDER.id)
    differences = read_status(Judge(ROSTER, DAY0), lied).differences
    assert any(said in text for text in differences), differences


def test_a_hidden_cohort_is_named() -> None:
    rollout = told(ORDER, [], DAY0)
    lied = open_rollout(msgspec.structs.replace(rollout, cohorts=()), ORDER.id)
    differences = read_status(Judge(ROSTER, DAY0), lied).differences
    assert f"{CANARY}: the server does not list it" in differences


def test_in_force_and_not_accepted_differ() -> None:
    alter = view(in_force=True)
    lied = open_rollout(alter(told(ORDER, [], DAY0)), ORDER.id)
    differences = read_status(Judge(ROSTER, DAY0), lied).differences
    assert any("calls it in force" in text for text in differences)


def test_a_forged_statement_counts_for_nothing() -> None:
    forged = [
        authorise(ORDER, "ada", key="mallory"),
        opening(ORDER, key="mallory"),
        consent(ORDER, key="mallory"),
    ]
    found = canary(forged)
    assert (found.state, found.stages[0].waiting) == ("waiting_for_approval", ())
