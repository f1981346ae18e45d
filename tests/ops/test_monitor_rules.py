"""What the monitor decides, by its rules alone: chains, stops and counts in, acts out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock_core.abort import Counts, Place
from interlock_core.chain import Papers, cleared, read_chain, stop_counts
from interlock_core.order import MAX_GO, Abort, Authorisation, Go, Order, Stop
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from interlock_ops.monitor.acting import _counts, _said, turn
from interlock_ops.monitor.gate import Evidence, gate_objection, stop_reason
from interlock_ops.monitor.judging import Act, Case, Terms, Verdict, judge_order, live_and_free
from tests.support.papers import (
    authorise,
    days,
    hours,
    opening,
    order,
    renewal,
    resume,
    signed,
    stage,
    started,
    stop,
)
from tests.support.people import (
    CANARY,
    DAY0,
    PEOPLE,
    ROSTER,
    ST_BERT,
    grant,
    person,
    roster,
    signer,
)

TERMS = Terms(valid_for=days(7), renew_before=days(3))
STAGES = (
    stage(CANARY, share=5_000),
    stage(CANARY, gate="auto"),
    stage(CANARY, ST_BERT, gate="auto"),
)
ORDER = order(stages=STAGES, expires=DAY0 + days(60))
ABORT = (Abort(failure_type="all", threshold_basis_points=1_000, min_executed=5),)
GOOD = Evidence({(0, CANARY): Counts(started=10, votes={"confirmed": 10})})
BAD = Evidence({(0, CANARY): Counts(started=10, votes={"failed": 8, "confirmed": 2})})


def case(
    *papers: Opened[Any],
    evidence: Evidence = GOOD,
    here: frozenset[str] = frozenset({CANARY, ST_BERT}),
    of: Opened[Order] = ORDER,
    short: frozenset[str] = frozenset(),
) -> Case:
    return Case(
        Papers(
            of,
            [one for one in papers if isinstance(one.said, Authorisation)],
            [one for one in papers if isinstance(one.said, Go)],
        ),
        [one for one in papers if isinstance(one.said, Stop)],
        here,
        evidence,
        short,
    )


def decided(at: datetime, given_: Case, who: str = "mona", terms: Terms = TERMS) -> Verdict:
    return judge_order(Judge(ROSTER, at), who, given_, terms)


def kinds(verdict: Verdict) -> list[str]:
    return [act.kind for act in verdict.acts]


def names(verdict: Verdict) -> set[str]:
    return {one.reason for one in verdict.waits}


BEGUN = started(ORDER)


def test_the_next_auto_stage_after_its_soak() -> None:
    assert kinds(decided(DAY0 + days(1) - timedelta(seconds=1), case(*BEGUN))) == []
    [act] = decided(DAY0 + days(1), case(*BEGUN)).acts
    assert (act.kind, act.stage, act.opened_at) == ("open", 1, DAY0 + days(1))
    assert act.until == DAY0 + days(8)


def test_never_two_stages_at_once() -> None:
    second = opening(ORDER, 1, by="mona", at=DAY0 + days(1))
    assert kinds(decided(DAY0 + days(1) + hours(23), case(*BEGUN, second))) == []
    [act] = decided(DAY0 + days(2), case(*BEGUN, second)).acts
    assert (act.kind, act.stage) == ("open", 2)


def test_it_starts_nothing_and_opens_no_manual_gate() -> None:
    assert names(decided(DAY0 + days(1), case(authorise(ORDER)))) == {"stage_not_open"}
    manual = order(stages=(stage(CANARY), stage(CANARY)))
    assert kinds(decided(DAY0 + days(2), case(*started(manual), of=manual))) == []


@pytest.mark.parametrize(
    ("papers", "at", "reason"),
    [
        ((), days(61), "expired_order"),
        ((), days(8), "go_lapsed"),
        ((stop(ORDER),), days(1), "stopped"),
        ((stop(ORDER, cohort=CANARY),), days(1), "stopped"),
        ((stop(ORDER), resume(ORDER, at=DAY0 + hours(1))), days(1), "stopped"),
    ],
    ids=["expired", "lapsed", "stopped", "stopped-here", "resumed-otherwise"],
)
def test_what_is_over_is_left_alone(papers: Any, at: timedelta, reason: str) -> None:
    verdict = decided(DAY0 + at, case(*BEGUN, *papers))
    assert kinds(verdict) == []
    assert reason in names(verdict)


def test_in_force_nowhere() -> None:
    verdict = decided(DAY0 + days(1), case(*BEGUN, here=frozenset()))
    assert (kinds(verdict), names(verdict)) == ([], {"superseded_order"})


def test_a_stop_holds_until_the_rule_clears_it() -> None:
    halt = stop(ORDER)
    alone = resume(ORDER, at=DAY0 + hours(1), clears=(halt,))
    assert kinds(decided(DAY0 + days(1), case(*BEGUN, halt, alone))) == []
    with_others = (alone, authorise(alone))
    assert kinds(decided(DAY0 + days(1), case(*BEGUN, halt, *with_others))) == ["open"]


def test_a_stop_of_one_site_holds_up_nobody_else() -> None:
    assert kinds(decided(DAY0 + days(1), case(*BEGUN, stop(ORDER, site="ward-7")))) == ["open"]


def test_a_stop_that_gateways_elsewhere_follow_hides_no_failures_here() -> None:
    """Somebody over one hospital stops "everything": no gateway of another one believes it."""
    otto = person("otto", grant("operator", ST_BERT))
    judge = Judge(roster(*PEOPLE, otto), DAY0 + days(1))
    theirs = stop(ORDER, by="otto")
    failing = case(*BEGUN, theirs, evidence=BAD)
    assert kinds(judge_order(judge, "mona", failing, TERMS)) == ["stop"]
    assert live_and_free(judge, failing) == [CANARY]
    good = case(*BEGUN, theirs)
    assert kinds(judge_order(judge, "mona", good, TERMS)) == ["open"]
    # A monitor that may not stop there does not sign again and again what counts for nothing.
    mine = stop(ORDER, by="moni")
    moni = person("moni", grant("monitor", ST_BERT))
    there = Judge(roster(*PEOPLE, otto, moni), DAY0 + days(1))
    stopped = case(*BEGUN, mine, evidence=BAD)
    assert kinds(judge_order(there, "moni", stopped, TERMS)) == []
    assert kinds(judge_order(there, "mona", stopped, TERMS)) == ["stop"]


def test_a_stop_by_somebody_who_was_revoked_holds_and_hides_no_failures() -> None:
    judge = Judge(roster(*PEOPLE, seq=2), DAY0 + days(1))
    gone = stop(ORDER, by="otto")
    assert kinds(judge_order(judge, "mona", case(*BEGUN, gone), TERMS)) == []
    failing = case(*BEGUN, gone, evidence=BAD)
    assert kinds(judge_order(judge, "mona", failing, TERMS)) == ["stop"]


def test_renewed_in_time_and_not_beyond_people() -> None:
    late = case(*BEGUN, evidence=Evidence())
    assert kinds(decided(DAY0 + days(4), late)) == []
    [act] = decided(DAY0 + days(4) + hours(1), late).acts
    assert (act.kind, act.stage, act.renews) == ("renew", 0, BEGUN[1].id)
    assert act.until == DAY0 + days(11) + hours(1)
    chain = [BEGUN[1]]
    papers = list(BEGUN)
    for day in (5, 10, 15, 20, 25):
        at = DAY0 + days(day)
        until = min(at + days(7), DAY0 + days(30))
        papers.append(renewal(BEGUN[1], at=at, by="mona", valid_until=until, seq=day))
        chain.append(papers[-1])
    verdict = decided(DAY0 + days(28), case(*papers, evidence=Evidence()))
    assert (kinds(verdict), names(verdict)) == ([], {"no_evidence", "operator_needed"})
    operator = renewal(BEGUN[1], at=DAY0 + days(28), by="olga", seq=30, valid_until=DAY0 + days(30))
    [act] = decided(DAY0 + days(29), case(*papers, operator, evidence=Evidence())).acts
    assert act.until == DAY0 + days(36)


def test_not_renewed_while_it_fails_or_when_it_is_done() -> None:
    failing = decided(DAY0 + days(5), case(*BEGUN, evidence=BAD))
    assert kinds(failing) == ["stop"]
    stopped = decided(DAY0 + days(5), case(*BEGUN, stop(ORDER, by="mona"), evidence=BAD))
    assert (kinds(stopped), "abort_threshold" in names(stopped)) == ([], True)
    one = order(stages=(stage(CANARY),))
    papers = started(one)
    assert kinds(decided(DAY0 + days(5), case(*papers, of=one))) == []
    assert "finished" in names(decided(DAY0 + days(5), case(*papers, of=one)))


def test_an_order_never_outlives_itself() -> None:
    short = order(stages=STAGES, expires=DAY0 + days(6))
    papers = started(short)
    [act] = decided(DAY0 + days(1), case(*papers, of=short)).acts
    assert act.until == DAY0 + days(6)


def test_a_monitor_of_other_cohorts_signs_nothing() -> None:
    verdict = decided(DAY0 + days(1), case(*BEGUN), who="olga")
    assert (kinds(verdict), names(verdict)) == ([], {"role_not_held"})


def test_hidden_devices_open_nothing() -> None:
    verdict = decided(DAY0 + days(1), case(*BEGUN, short=frozenset({CANARY})))
    assert (kinds(verdict), names(verdict)) == ([], {"devices_missing"})


# The gate


def gate(silent: int = 0, **votes: int) -> str | None:
    found = gate_objection(ABORT, evidence(silent, **votes), 1)
    return None if found is None else found.reason


def evidence(silent: int = 0, **votes: int) -> Evidence:
    place: Place = (0, CANARY)
    made: Mapping[Any, int] = votes
    return Evidence({place: Counts(started=40, votes=dict(made))}, {place: silent})


def test_a_gate_asks_for_more_than_no_stop() -> None:
    assert gate(confirmed=3) is None
    assert gate() == "no_evidence"
    assert stop_reason(ABORT, evidence(silent=20, confirmed=20)) is None
    assert gate(silent=20, confirmed=20) == "failures_at_gate"
    assert gate(silent=3, confirmed=30) is None
    small = Evidence({(0, CANARY): Counts(started=4, votes={"failed": 3, "confirmed": 1})})
    assert (
        stop_reason(
            (Abort(failure_type="all", threshold_basis_points=9_999, min_executed=5),), small
        )
        is None
    )
    found = gate_objection(
        (Abort(failure_type="all", threshold_basis_points=9_999, min_executed=5),), small, 1
    )
    assert found is not None
    assert found.reason == "failures_at_gate"


def test_what_people_resumed_in_spite_of_is_not_held_against_it() -> None:
    place: Place = (0, CANARY)
    then = Counts(started=40, votes={"failed": 10, "confirmed": 5})
    now = Counts(started=40, votes={"failed": 10, "confirmed": 12})
    assert gate_objection(ABORT, Evidence({place: now}, {}, {place: then}), 1) is None
    assert gate_objection(ABORT, Evidence({place: now}), 1) is not None


# Turns


def test_turns_are_by_the_roster_whatever_the_order_of_its_pages() -> None:
    zoe = person("zoe", grant("monitor"), keys=("zoe", "zoe-2"))
    gone = person("alf", grant("monitor", expires=DAY0))
    judge = Judge(roster(zoe, gone, *PEOPLE), DAY0)
    places = {name: turn(judge, signer(name).public_key) for name in ("mona", "zoe", "zoe-2")}
    assert places["mona"] == 0
    assert {places["zoe"], places["zoe-2"]} == {1, 2}
    for stranger in ("alf", "olga", "nobody"):
        with pytest.raises(Exception, match="no monitor's"):
            turn(judge, signer(stranger).public_key)


# Whatever happens


@st.composite
def worlds(draw: st.DrawFn) -> tuple[datetime, Case]:
    """Goes, stops and resumes by people and monitors, at random times, and counts."""
    papers: list[Opened[Any]] = list(BEGUN)
    halts: list[Opened[Stop]] = []
    hour = 0
    for _ in range(draw(st.integers(0, 6))):
        hour += draw(st.integers(1, 90))
        at = DAY0 + hours(hour)
        match draw(st.sampled_from(["open", "open", "renew", "stop", "resume"])):
            case "open":
                papers.append(
                    opening(ORDER, draw(st.integers(1, 2)), by=draw(MONITORS), at=at, seq=hour)
                )
            case "renew":
                papers.append(
                    renewal(BEGUN[1], at=at, by=draw(st.sampled_from(["mona", "olga"])), seq=hour)
                )
            case "stop":
                where = draw(st.sampled_from([None, CANARY, ST_BERT]))
                halts.append(stop(ORDER, at=at, cohort=where))
            case _:
                word = resume(ORDER, at=at, clears=halts, seq=hour)
                papers += [word, authorise(word)] if draw(st.booleans()) else [word]
    failed, confirmed = draw(st.integers(0, 10)), draw(st.integers(0, 10))
    counts = Counts(started=20, votes={"failed": failed, "confirmed": confirmed})
    found = Evidence({(0, CANARY): counts}, {(0, CANARY): draw(st.integers(0, 20))})
    now = DAY0 + hours(hour + draw(st.integers(0, 100)))
    return now, case(*papers, *halts, evidence=found)


MONITORS = st.sampled_from(["mona", "olga"])


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_whatever_it_signs_counts_and_nothing_else_is_signed(world: tuple[datetime, Case]) -> None:
    now, given_ = world
    judge = Judge(ROSTER, now)
    verdict = decided(now, given_)
    chains = {cohort: read_chain(judge, given_.papers, cohort) for cohort in given_.here}
    live = {c for c, chain in chains.items() if (u := chain.live_until(0)) and u > now}
    halted = {
        cohort
        for cohort, chain in chains.items()
        for one in given_.stops
        if one.said.cohort in (None, cohort)
        and one.id not in cleared(chain)
        and stop_counts(judge, one, cohort)
    }
    assert set(live_and_free(judge, given_)) == live - halted
    for act in verdict.acts:
        made = _signed(act, judge)
        assert _counts(judge, made, given_)
        assert live
        if isinstance(made.said, Stop):
            assert stop_reason(ORDER.said.abort, given_.evidence) is not None
            continue
        assert live - halted
        assert stop_reason(ORDER.said.abort, given_.evidence) is None
        go = made.said
        people = [chain.by_operator for chain in chains.values() if chain.by_operator]
        assert go.valid_until <= min(max(people) + MAX_GO, ORDER.said.expires, now + days(7))
        if go.act == "open":
            assert ORDER.said.stages[go.stage].gate == "auto"
            ready = [
                cohort
                for cohort in live - halted
                if len(chains[cohort].stages) == go.stage
                and chains[cohort].stages[-1].since + days(1) <= now
                and cohort in ORDER.said.stages[go.stage].cohorts
            ]
            assert ready


def _signed(act: Act, judge: Judge) -> Opened[Any]:
    said = _said(act, judge, "mona", None)
    return signed(said)
