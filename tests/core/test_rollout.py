"""A rollout as a state machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.abort import Counts, Place
from interlock_core.rollout import (
    FROM,
    OVER,
    Alert,
    AtCohort,
    Away,
    CancelActions,
    Counted,
    Effect,
    Event,
    ExtendDeadlines,
    Forgive,
    OpenActions,
    Publish,
    Read,
    Record,
    Rollout,
    State,
    step,
)
from tests.support.papers import days, hours, order
from tests.support.people import CANARY, DAY0, ST_ANNA, ST_BERT

ORDER = order().said
COHORTS = (CANARY, ST_ANNA, ST_BERT)
LIVE = DAY0 + days(30)


def at(cohort: str, *opened: datetime, **fields: Any) -> AtCohort:
    made: dict[str, Any] = {
        "accepted": True,
        "opened": opened,
        "live_until": LIVE if opened else None,
    }
    return AtCohort(cohort, **made | fields)


def read(when: datetime, *cohorts: AtCohort) -> Read:
    known = {one.cohort: one for one in cohorts}
    rest = (at(cohort, accepted=False) for cohort in COHORTS if cohort not in known)
    return Read(when, (*cohorts, *rest))


def counts(started: int, **votes: int) -> Counts:
    rest = started - sum(votes.values())
    made = {"started": started, "states": {"scheduled": rest} | votes, "votes": votes}
    return msgspec.convert(made, Counts)


def counted(
    when: datetime, of: Mapping[Place, Counts], forgiven: Mapping[Place, Counts] | None = None
) -> Counted:
    return Counted(when, of, forgiven or {})


def run(*events: Event, rollout: Rollout | None = None) -> tuple[Rollout, list[Effect]]:
    rollout, effects = rollout or Rollout(), list[Effect]()
    for event in events:
        rollout, more = step(ORDER, rollout, event)
        effects += more
    return rollout, effects


def states(effects: list[Effect]) -> list[State]:
    return [effect.after for effect in effects if isinstance(effect, Record)]


STARTED = read(DAY0, at(CANARY, DAY0))
BAD = counted(DAY0 + hours(2), {(0, CANARY): counts(40, failed=8)})


def held() -> Rollout:
    return run(STARTED, BAD)[0]


def test_from_the_first_paper_to_the_last_device() -> None:
    early = replace(STARTED, at=DAY0 - hours(1), cohorts=(at(CANARY),))
    rollout, effects = run(read(DAY0 - hours(2)), early, STARTED)
    assert states(effects) == ["waiting_for_approval", "scheduled", "ready", "running"]
    assert [e for e in effects if isinstance(e, OpenActions)] == [OpenActions(CANARY, 0, DAY0)]
    later = DAY0 + days(1)
    everywhere = read(later, *(at(cohort, DAY0, later) for cohort in COHORTS))
    rollout, effects = run(everywhere, rollout=rollout)
    opened = [e for e in effects if isinstance(e, OpenActions)]
    # Stage 0 is the canary's alone.
    assert opened == [OpenActions(cohort, 1, later) for cohort in COHORTS]
    done = {(0, CANARY): counts(2, confirmed=2), (1, ST_ANNA): counts(3, confirmed=2)}
    rollout, effects = run(counted(later, done), rollout=rollout)
    assert effects == []
    done[1, ST_ANNA] = counts(3, confirmed=2, timed_out=1)
    rollout, effects = run(counted(later, done), rollout=rollout)
    assert states(effects) == ["finished"]
    assert run(everywhere, BAD, rollout=rollout) == (rollout, [])


def test_what_was_all_signed_before_anybody_looked_goes_by_every_state() -> None:
    _, effects = run(STARTED)
    assert states(effects) == ["waiting_for_approval", "ready", "running"]


def test_no_stage_opens_before_its_time_or_twice() -> None:
    later = DAY0 + days(1)
    rollout, effects = run(STARTED, read(DAY0 + hours(1), at(CANARY, DAY0, later)))
    assert rollout.parts[CANARY].opened == 1
    rollout, effects = run(read(later, at(CANARY, DAY0, later)), rollout=rollout)
    assert OpenActions(CANARY, 1, later) in effects
    assert run(read(later, at(CANARY, DAY0, later)), rollout=rollout) == (rollout, [])


def test_a_stop_wins_until_it_is_cleared() -> None:
    stopped = read(DAY0 + hours(1), at(CANARY, DAY0, DAY0 + hours(1), stopped=True))
    rollout, effects = run(STARTED, stopped)
    assert rollout.state == "paused"
    assert not any(isinstance(e, OpenActions) and e.stage == 1 for e in effects)
    resumed = read(DAY0 + hours(5), at(CANARY, DAY0, resumed_at=DAY0 + hours(5)))
    rollout, effects = run(resumed, rollout=rollout)
    assert rollout.state == "running"
    # Four hours in which no device was silent.
    assert ExtendDeadlines(CANARY, hours(4)) in effects
    assert Forgive(CANARY) in effects


def test_one_hospital_that_stands_still_does_not_pause_the_others() -> None:
    both = read(DAY0, at(CANARY, DAY0), at(ST_ANNA, DAY0, stopped=True))
    assert run(both)[0].state == "running"
    lapsed = read(DAY0, at(CANARY, DAY0, live_until=DAY0))
    assert run(STARTED, lapsed)[0].parts[CANARY].still == "go_lapsed"
    voided = read(DAY0, at(CANARY, DAY0, accepted=False))
    assert run(STARTED, voided)[0].parts[CANARY].still == "unauthorised_rollout"


def test_too_many_failures_hold_it_everywhere() -> None:
    rollout, effects = run(STARTED, BAD)
    assert rollout.state == "paused"
    assert rollout.held == tuple(sorted(COHORTS))
    assert Publish(rollout.held) in effects
    [alert] = [effect for effect in effects if isinstance(effect, Alert)]
    assert alert.name == "rollout_paused"
    assert "8 of 8 executed" in alert.detail
    assert run(BAD, rollout=rollout) == (rollout, [])


def test_a_hold_ends_by_a_resume_that_is_dated_after_it() -> None:
    rollout = held()
    since = rollout.held_since
    assert since is not None
    for resumed in (None, since - hours(1), since):
        again = read(since + days(9), at(CANARY, DAY0, resumed_at=resumed))
        assert run(again, rollout=rollout)[0].state == "paused"
    after = since + hours(1)
    rollout, effects = run(read(after, at(CANARY, DAY0, resumed_at=after)), rollout=rollout)
    assert rollout.state == "running"
    assert Publish((CANARY,)) in effects
    # Where nobody resumed it, it is held on.
    assert rollout.held == (ST_ANNA, ST_BERT)


def test_known_evidence_does_not_pause_again_and_new_evidence_does() -> None:
    after = DAY0 + hours(9)
    resumed = read(after, at(CANARY, DAY0, resumed_at=after))
    rollout, effects = run(resumed, rollout=held())
    assert Forgive(CANARY) in effects
    known = {(0, CANARY): counts(40, failed=8)}
    assert run(counted(after, known, known), rollout=rollout)[0].state == "running"
    worse = {(0, CANARY): counts(40, failed=20)}
    assert run(counted(after, worse, known), rollout=rollout)[0].state == "paused"


def test_superseded_or_expired_it_is_over_for_good() -> None:
    over = read(DAY0 + hours(1), *(at(c, over="superseded_order") for c in COHORTS))
    rollout, effects = run(STARTED, over)
    assert CancelActions(CANARY, "superseded_order") in effects
    assert rollout.state == "stopping"
    assert run(STARTED, rollout=rollout)[0].state == "stopping"
    rollout, effects = run(counted(DAY0, {(0, CANARY): counts(2, confirmed=2)}), rollout=rollout)
    assert states(effects) == ["stopped"]
    never = read(DAY0, *(at(cohort, over="expired_order") for cohort in COHORTS))
    assert run(never)[0].state == "stopped"


def test_a_cohort_that_another_order_took_over_is_closed_alone() -> None:
    both = read(DAY0, at(CANARY, DAY0), at(ST_ANNA, DAY0))
    one = read(DAY0, at(CANARY, DAY0), at(ST_ANNA, DAY0, over="superseded_order"))
    rollout, effects = run(both, one)
    assert CancelActions(ST_ANNA, "superseded_order") in effects
    assert rollout.state == "running"


def test_while_nobody_looked_no_device_was_silent() -> None:
    _, effects = run(STARTED, Away(hours(7)))
    assert effects[-1] == ExtendDeadlines(CANARY, hours(7))
    assert run(Away(hours(7)), rollout=held())[1] == []


def test_a_voided_signature_before_the_start_waits_again() -> None:
    _, effects = run(read(DAY0, at(CANARY)), read(DAY0))
    assert states(effects) == ["waiting_for_approval", "ready", "waiting_for_approval"]


# Whatever happens

TIMES = st.integers(0, 80).map(lambda n: DAY0 + hours(6 * n))
READINGS = st.builds(
    AtCohort,
    cohort=st.sampled_from(COHORTS),
    accepted=st.booleans(),
    over=st.sampled_from([None, None, None, "superseded_order", "expired_order"]),
    opened=st.lists(TIMES, max_size=2).map(lambda times: tuple(sorted(times))),
    live_until=st.one_of(st.none(), TIMES, st.just(LIVE)),
    stopped=st.booleans(),
    resumed_at=st.one_of(st.none(), TIMES),
)
COUNTS = st.builds(
    lambda started, failed: counts(started + failed, failed=failed) if failed else counts(started),
    st.integers(0, 60),
    st.integers(0, 20),
)
EVENTS = st.one_of(
    st.builds(Read, TIMES, st.lists(READINGS, max_size=3, unique_by=lambda a: a.cohort).map(tuple)),
    st.builds(
        Counted,
        TIMES,
        st.dictionaries(st.tuples(st.integers(0, 1), st.sampled_from(COHORTS)), COUNTS),
        st.just({}),
    ),
    st.integers(1, 9).map(lambda n: Away(timedelta(hours=n))),
)


@given(st.lists(EVENTS, max_size=25))
def test_the_rules_hold_whatever_comes(events: list[Event]) -> None:
    rollout = Rollout()
    opened: set[tuple[str, int]] = set()
    for event in events:
        after, effects = step(ORDER, rollout, event)
        signed = {one.cohort: one for one in event.cohorts} if isinstance(event, Read) else {}
        now = rollout.state
        for effect in effects:
            if isinstance(effect, Record):
                assert effect.before == now
                assert now in FROM[effect.after]
                now = effect.after
            if isinstance(effect, OpenActions):
                said = signed[effect.cohort]
                assert isinstance(event, Read)
                assert said.opened[effect.stage] <= event.at
                assert said.accepted
                assert not said.stopped
                assert effect.cohort in ORDER.stages[effect.stage].cohorts
                assert not after.parts[effect.cohort].held
                assert (effect.cohort, effect.stage) not in opened
                opened.add((effect.cohort, effect.stage))
        assert now == after.state
        if rollout.state in OVER:
            assert (after, effects) == (rollout, ())
        for cohort, part in rollout.parts.items():
            later = after.parts[cohort]
            assert later.opened >= part.opened
            assert later.over == part.over or part.over is None
            if part.held and not later.held:
                resumed, since = signed[cohort].resumed_at, rollout.held_since
                by_people = resumed is not None and since is not None and resumed > since
                assert signed[cohort].over or by_people
        # The same again changes nothing.
        if isinstance(event, Read):
            assert step(ORDER, after, event) == (after, ())
        rollout = after


def test_every_state_can_be_entered_and_none_by_itself() -> None:
    assert set(FROM) == set(get_args(State))
    assert all(state not in before for state, before in FROM.items())
    assert not any(OVER & before for before in FROM.values())
