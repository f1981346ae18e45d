"""One device's execution of one order: an action, and what moves it (pure).

Rules:

1. An action is opened when the stage opens that the device is inside of (``placed``),
   and it stays in that stage. Its deadline is as far from there as the order says.
2. It moves by what the device signed (``Reported``), by time (``Tick``), when its order is over
   (``Canceled``), when it is left out of the counts (``Excluded``) or is in them again
   (``Included``), and when a pause is over (``Extended``). Nothing else moves it, and the same
   events in the same order give the same.
3. It votes once: by the first end that it comes to. What comes after is shown and takes no vote
   back. So a device that was silent beyond its deadline and confirms later is ``timed_out`` in the
   votes and ``confirmed`` in the states (``recovered``); one that confirms and is then taken back
   by hand is ``confirmed`` in the votes and ``rolled_back`` in the states (``reverted``).
4. Success is what the device signed in one report: the attempt is ``confirmed``, what runs is what
   the attempt was for, and every health check passed; or what the order wants runs already. A
   report that says success without that moves nothing.
5. Silence beyond the deadline is a failure, ``timed_out``. A device that says why it waits (for the
   clinical interlock, a hold, a window, consent, its turn, a stage) is not silent: each time it
   says so its deadline is moved to as long after that as the order's deadline is, and at least
   ``PATIENCE``, since a device with nothing new speaks once a day.
6. A device that refuses (``rejected``) is not silent and tried nothing: at the deadline it ends as
   ``rejected``, which is no failure. It is shown.
7. A ``canceled`` action never moves again, and does not vote. A device does not cancel: when it
   says so, it waits for what the fleet says.
8. Times are those at which a report was taken, not those that the device says: its clock may be
   wrong, and its own words must not prolong anything.
9. It is left out as a known issue only as long as people's signatures say so. Every other reason
   is for good, and takes the place of that one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from interlock_core.abort import FAILURES, Counts, Vote
from interlock_core.errors import Exit
from interlock_core.facts import Reason, exit_of
from interlock_core.fleet import action as newest_word
from interlock_core.order import Order
from interlock_core.report import Outcome, Report
from interlock_core.statement import Opened

KNOWN_ISSUE: Final = "known_issue"
"""Why an action is left out whose failure an exclusion names (rule 9)."""
PATIENCE: Final = timedelta(days=2)
"""The least by which a device that says why it waits is waited for (rule 5)."""
SUCCESSES: Final[tuple[Vote, ...]] = ("confirmed", "already_installed")
_VOTES: Final[dict[Outcome, Vote]] = {
    "confirmed": "confirmed",
    "already_installed": "already_installed",
    "failed": "failed",
    "rolled_back": "rolled_back",
    "timed_out": "timed_out",
}
"""What a device says that ends its action."""
_WAITING: Final = frozenset({"deferred", "waiting_for_consent"})
_DEFERRALS: Final = frozenset(reason.value for reason in Reason if exit_of(reason) is Exit.DEFERRED)


@dataclass(frozen=True)
class Reported:
    """The device's newest word about the order (``reported``), taken at ``at``."""

    at: datetime
    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class Tick:
    """It is ``at``."""

    at: datetime


@dataclass(frozen=True)
class Canceled:
    """The order is over at this device's cohort, by ``why``."""

    at: datetime
    why: str


@dataclass(frozen=True)
class Excluded:
    """The device is left out of the counts, by ``why``: ``known_issue``, ``quarantined`` …"""

    why: str


@dataclass(frozen=True)
class Included:
    """No exclusion that counts names the device's failure any more (rule 9)."""


@dataclass(frozen=True)
class Extended:
    """The order stood still for ``by`` at the device's cohort: that is not the device's silence."""

    by: timedelta


Event: TypeAlias = Reported | Tick | Canceled | Excluded | Included | Extended


@dataclass(frozen=True)
class Action:
    """How far one order is on one device.

    Attributes:
        stage: the stage that it belongs to.
        since: when it came into ``state``.
        deadline: when silence becomes a failure.
        patience: how long the order waits for a device.
        state: where it stands.
        reason: why, by a stable name.
        vote: how it ended, once it has.
        vote_reason: why it ended so.
        excluded: why it is left out of the counts; None if it is not.
        counted: whether it was inside when the stage opened; if not it is shown and has no vote.
    """

    stage: int
    since: datetime
    deadline: datetime
    patience: timedelta
    state: Outcome = "scheduled"
    reason: str = "no_report"
    vote: Vote | None = None
    vote_reason: str | None = None
    excluded: str | None = None
    counted: bool = True

    @property
    def over(self) -> bool:
        """Whether it has ended: it voted, or was canceled."""
        return self.vote is not None or self.state == "canceled"


def opened(stage: int, at: datetime, deadline_seconds: int, *, counted: bool = True) -> Action:
    """An action of a stage that opens now (rule 1).

    Args:
        stage: its number.
        at: when it opens for the device's cohort.
        deadline_seconds: the order's.
        counted: whether the device is inside at this moment.
    """
    patience = timedelta(seconds=deadline_seconds)
    return Action(stage, at, at + patience, patience, counted=counted)


def reported(order: Opened[Order], report: Report, at: datetime) -> Reported | None:
    """What a report says about an order; None if it says success and shows none (rule 4).

    Args:
        order: whatever order the device may have an action of.
        report: verified, and the next of its chain.
        at: when it was taken.
    """
    word = newest_word(order, report)
    if word.outcome in SUCCESSES and not _shows_success(order.said, report, word.outcome):
        return None
    return Reported(at, word.outcome, word.reason)


def _shows_success(order: Order, report: Report, outcome: Outcome) -> bool:
    running, attempt = report.running, report.attempt
    if running is None or running.sha256 not in {target.sha256 for target in order.targets}:
        return False
    if outcome == "already_installed":
        return True
    return (
        attempt is not None
        and attempt.target == running.sha256
        and all(check.passed for check in report.health)
    )


def step(action: Action, event: Event) -> Action:
    """The action after one event (rules 2 to 9)."""
    if isinstance(event, Excluded):
        stays = action.excluded not in {None, KNOWN_ISSUE}
        return action if stays else replace(action, excluded=event.why)
    if isinstance(event, Included):
        return replace(action, excluded=None) if action.excluded == KNOWN_ISSUE else action
    if action.state == "canceled":
        return action
    match event:
        case Reported():
            return _told(action, event)
        case Tick():
            return _ticked(action, event)
        case Canceled():
            if action.over:
                return action
            return replace(action, state="canceled", reason=event.why, since=event.at)
        case Extended():
            return action if action.over else replace(action, deadline=action.deadline + event.by)


def _told(action: Action, event: Reported) -> Action:
    outcome: Outcome = "scheduled" if event.outcome == "canceled" else event.outcome
    if action.state in SUCCESSES and outcome not in {"rolled_back", *SUCCESSES}:
        # What runs was confirmed here: what the device tries next is of another order.
        return action
    moved = replace(action, reason=event.reason)
    if outcome != action.state:
        moved = replace(moved, state=outcome, since=event.at)
    if action.vote is not None:
        return moved
    if event.outcome in _WAITING or event.reason in _DEFERRALS:
        until = event.at + max(action.patience, PATIENCE)
        moved = replace(moved, deadline=max(action.deadline, until))
    vote = _VOTES.get(outcome)
    return moved if vote is None else replace(moved, vote=vote, vote_reason=event.reason)


def _ticked(action: Action, event: Tick) -> Action:
    if action.over or event.at < action.deadline:
        return action
    if action.state == "rejected":
        return replace(action, vote="rejected", vote_reason=action.reason)
    return replace(
        action,
        state="timed_out",
        reason="silent",
        since=event.at,
        vote="timed_out",
        vote_reason="silent",
    )


def counts_of(action: Action) -> Counts:
    """What one action adds to the counts of its stage and cohort (rule 3)."""
    if not action.counted:
        return Counts(joined=1)
    if action.excluded:
        return Counts(started=1, excluded=1)
    return Counts(
        started=1,
        recovered=int(action.vote in FAILURES and action.state in SUCCESSES),
        reverted=int(action.vote in SUCCESSES and action.state == "rolled_back"),
        states={action.state: 1},
        votes={action.vote: 1} if action.vote is not None else {},
    )
