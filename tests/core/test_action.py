"""One device's execution of one order, event by event."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.abort import FAILURES, Counts, pause_reason
from interlock_core.action import (
    PATIENCE,
    SUCCESSES,
    Action,
    Canceled,
    Event,
    Excluded,
    Extended,
    Included,
    Reported,
    Tick,
    counts_of,
    opened,
    reported,
    step,
)
from interlock_core.report import Attempt, CheckResult, Outcome, Running
from tests.support.papers import days, enrolment, hours, order, report, target
from tests.support.people import DAY0

DEADLINE = timedelta(days=3)
HOUR = hours(1)
FRESH = opened(1, DAY0, int(DEADLINE.total_seconds()))


def said(outcome: Outcome, after: timedelta = HOUR, reason: str | None = None) -> Reported:
    return Reported(DAY0 + after, outcome, reason or outcome)


def run(*events: Event, action: Action = FRESH) -> Action:
    for event in events:
        action = step(action, event)
    return action


@pytest.mark.parametrize("outcome", ["confirmed", "already_installed", "failed", "rolled_back"])
def test_an_end_is_one_vote(outcome: Outcome) -> None:
    done = run(said("downloading"), said("rebooting"), said(outcome))
    assert (done.state, done.vote) == (outcome, outcome)
    for later in (said("failed"), said("confirmed"), said("rolled_back"), Tick(DAY0 + days(99))):
        assert step(done, later).vote == outcome


def test_silence_beyond_the_deadline_is_a_failure() -> None:
    assert not run(Tick(DAY0 + DEADLINE - hours(1))).over
    silent = run(said("rebooting"), Tick(DAY0 + DEADLINE))
    assert (silent.state, silent.vote, silent.reason) == ("timed_out", "timed_out", "silent")


def test_progress_does_not_move_the_deadline() -> None:
    slow = run(*(said("downloading", hours(hour)) for hour in range(72)), Tick(DAY0 + DEADLINE))
    assert slow.vote == "timed_out"


@pytest.mark.parametrize(
    "waits",
    [
        said("deferred", days(2.9), "interlock_not_clear"),
        said("deferred", days(2.9), "local_hold"),
        said("waiting_for_consent", days(2.9)),
        said("scheduled", days(2.9), "not_in_stage"),
        said("scheduled", days(2.9), "spread"),
    ],
)
def test_a_device_that_says_why_it_waits_is_not_silent(waits: Reported) -> None:
    waiting = run(waits, Tick(DAY0 + days(5.8)))
    assert not waiting.over
    # But only as long as it keeps saying so.
    assert run(Tick(DAY0 + days(5.9)), action=waiting).vote == "timed_out"


def test_a_short_deadline_waits_for_the_next_daily_report() -> None:
    brief = opened(0, DAY0, 600)
    waiting = run(said("deferred", timedelta(0), "spread"), action=brief)
    assert waiting.deadline == DAY0 + PATIENCE


def test_a_refusal_is_no_failure_and_not_for_ever() -> None:
    refuses = run(said("rejected", reason="wrong_market"))
    assert not refuses.over
    assert run(said("confirmed"), action=refuses).vote == "confirmed"
    ended = run(Tick(DAY0 + DEADLINE), action=refuses)
    assert (ended.vote, ended.vote_reason) == ("rejected", "wrong_market")
    assert ended.vote not in FAILURES


def test_what_comes_late_is_shown_and_takes_no_vote_back() -> None:
    late = run(Tick(DAY0 + DEADLINE), said("confirmed", days(4)))
    assert (late.state, late.vote) == ("confirmed", "timed_out")
    assert counts_of(late).recovered == 1
    undone = run(said("confirmed"), said("rolled_back", days(4), "by_hand"))
    assert (undone.state, undone.vote) == ("rolled_back", "confirmed")
    assert counts_of(undone).reverted == 1
    assert counts_of(run(said("confirmed"), said("downloading"))).states == {"confirmed": 1}


def test_a_device_does_not_cancel_and_a_canceled_action_is_over() -> None:
    assert run(said("canceled", reason="superseded_order")).state == "scheduled"
    canceled = run(said("downloading"), Canceled(DAY0, "superseded_order"))
    assert (canceled.state, canceled.vote, canceled.over) == ("canceled", None, True)
    assert run(said("failed"), Tick(DAY0 + days(99)), action=canceled) == canceled
    # What voted has voted.
    assert run(said("failed"), Canceled(DAY0, "superseded_order")).vote == "failed"


def test_a_pause_is_not_the_devices_silence() -> None:
    paused = run(Extended(days(7)))
    assert not run(Tick(DAY0 + days(9)), action=paused).over
    assert run(Tick(DAY0 + days(10)), action=paused).over


def test_what_is_excluded_and_who_came_later_has_no_vote() -> None:
    left_out = counts_of(run(said("failed"), Excluded("known_issue")))
    assert (left_out.started, left_out.excluded, left_out.failures()) == (1, 1, 0)
    joined = replace(FRESH, counted=False)
    assert counts_of(run(said("failed"), action=joined)) == Counts(joined=1)


def test_a_known_issue_counts_again_and_nothing_else_that_was_left_out() -> None:
    known = run(said("failed"), Excluded("known_issue"))
    assert run(Included(), action=known) == run(said("failed"))
    # Whoever turns out to be a clone stays out, whatever becomes of the exclusion.
    clone = run(Excluded("quarantined"), action=known)
    assert run(Excluded("known_issue"), Included(), action=clone) == clone
    assert clone.excluded == "quarantined"


# What a report says


def test_success_is_what_the_device_signed_in_one_report() -> None:
    said_, of = order(), enrolment()
    wanted = said_.said.targets[0]

    def word(**fields: Any) -> Reported | None:
        return reported(said_, report(of, about=said_, **fields).said, DAY0)

    assert word() == Reported(DAY0, "confirmed", "confirmed")
    running = Running(slot="a", sha256=wanted.sha256, version="2.0.0")
    assert word(running=None) is None
    assert word(health=(CheckResult(name="network", passed=False),)) is None
    other = target("9.9.9").sha256
    moved = word(running=Running(slot="a", sha256=other, version="9.9.9"))
    assert moved is not None
    assert moved.outcome == "scheduled"
    there = word(running=running, attempt=None)
    assert there is not None
    assert there.outcome == "already_installed"
    assert reported(said_, report(of).said, DAY0) == Reported(DAY0, "scheduled", "not_seen")


def test_a_confirmation_is_of_what_runs() -> None:
    two = order(targets=(target("2.0.0"), target("1.5.0")))
    step_, last = two.said.targets[1], two.said.targets[0]
    attempt = Attempt(
        order=two.id, target=step_.sha256, outcome="confirmed", reason=None, deferred_since=None
    )
    running = Running(slot="a", sha256=last.sha256, version="2.0.0")
    assert reported(two, report(enrolment(), attempt=attempt, running=running).said, DAY0) is None


# Whatever happens

EVENTS = st.one_of(
    st.builds(
        Reported,
        at=st.integers(0, 60).map(lambda n: DAY0 + hours(6 * n)),
        outcome=st.sampled_from(get_args(Outcome)),
        reason=st.sampled_from(["granted", "local_hold", "spread", "bad_health"]),
    ),
    st.integers(0, 60).map(lambda n: Tick(DAY0 + hours(6 * n))),
    st.just(Canceled(DAY0, "superseded_order")),
    st.just(Excluded("known_issue")),
    st.just(Excluded("quarantined")),
    st.just(Included()),
    st.just(Extended(hours(5))),
)


@given(st.lists(EVENTS, max_size=30))
def test_nothing_votes_twice_and_nobody_counts_twice(events: list[Event]) -> None:
    action, votes = FRESH, []
    for event in events:
        after = step(action, event)
        counts = counts_of(after)
        assert counts.started == 1
        assert counts.excluded + sum(counts.states.values()) == 1
        assert sum(counts.votes.values()) <= 1
        assert after.deadline >= action.deadline
        assert not (action.over and not after.over)
        if action.excluded == "quarantined":
            assert after.excluded == "quarantined"
        if action.excluded and not after.excluded:
            assert isinstance(event, Included)
        if action.vote is not None:
            assert after.vote == action.vote
        elif after.vote is not None:
            votes.append(after.vote)
        if after.vote in SUCCESSES:
            assert isinstance(event, Reported) or action.vote == after.vote
        action = after
    assert len(votes) <= 1
    assert run(*events) == action


@given(st.lists(st.lists(EVENTS, max_size=6), min_size=1, max_size=12))
def test_a_stage_adds_up(devices: list[list[Event]]) -> None:
    total = sum((counts_of(run(*events)) for events in devices), Counts())
    assert total.started == len(devices)
    assert total.ended + total.open == total.eligible
    assert 0 <= total.failures() <= total.executed <= total.eligible
    if total.failures() == 0:
        assert pause_reason((), total) is None
