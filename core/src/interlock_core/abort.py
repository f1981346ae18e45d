"""When failures stop a rollout: one rule for the server, the monitor and the operators (pure).

Rules:

1. A device that was inside when its stage opened has one vote (``action``). ``started`` is how many
   these are; it is frozen then. What was excluded counts neither as failed nor as started.
2. A setting names the failures that it counts (``failure_type``), a share of them that is too much
   (``threshold_basis_points``), and a minimum sample (``min_executed``). These are AWS IoT's terms;
   ``executed`` is how many devices have tried: confirmed, failed, rolled back, or timed out.
3. Failures over ``started`` are too many when so many have executed as the minimum sample asks for,
   and Wilson's lower bound of their share, one-sided at 95 %, lies above the threshold. So one of
   two stops no fleet, and eight of forty do at 10 %.
4. Failures over ``executed`` are too many likewise, at 99.9 %. It is looked at after every report,
   so the bound is higher; without it a bad image would harm many before it is a share of all that
   were started.
5. A stage that is smaller than the minimum sample is judged when everybody in it has ended: it is
   too much when the bound of rule 3 holds and more than half failed. A stage in which everybody
   failed is too much whatever the threshold is.
6. Evidence is used once: when people resumed after a pause, what they knew then (``forgiven``) is
   taken off both sides, and it takes a new sample to pause again.
7. Each stage is judged as a whole, and each of its cohorts by itself: a hospital where everything
   fails is not lost among a thousand others.
8. An order without settings is judged by ``DEFAULT_ABORT``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal, TypeVar

from msgspec import field

from interlock_core.order import Abort
from interlock_core.report import Outcome
from interlock_core.wire import Record

Vote = Literal["confirmed", "already_installed", "failed", "rolled_back", "timed_out", "rejected"]
"""How an action ended: what it counts as, once and for all."""
FAILURES: Final[tuple[Vote, ...]] = ("failed", "rolled_back", "timed_out")
EXECUTED: Final[tuple[Vote, ...]] = ("confirmed", *FAILURES)

DEFAULT_ABORT: Final = (Abort(failure_type="all", threshold_basis_points=1_000, min_executed=5),)
"""Of an order without settings (rule 8): 10 % of all kinds of failure, from 5 devices on."""

Z_95: Final = 1.6448536269514722
Z_999: Final = 3.090232306167813
"""Quantiles of the normal distribution at 95 % and 99.9 %, one-sided."""
_ALL: Final = 10_000

N = TypeVar("N", bound=str)


class Counts(Record, frozen=True, kw_only=True):
    """How the devices of one stage stand, at one cohort or at several.

    Attributes:
        started: devices inside when the stage opened, whatever became of them.
        joined: devices that report about the order and were not: they have no vote.
        excluded: of ``started``, those that are left out: of a known issue, or quarantined.
        recovered: of those that failed, devices that run what is wanted all the same by now.
        reverted: of those that succeeded, devices that went back to what they had.
        states: how the others of ``started`` stand now, by state; without zeros.
        votes: how they ended, by vote; without zeros.
    """

    started: int = 0
    joined: int = 0
    excluded: int = 0
    recovered: int = 0
    reverted: int = 0
    states: dict[Outcome, int] = field(default_factory=dict)
    votes: dict[Vote, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            started=self.started + other.started,
            joined=self.joined + other.joined,
            excluded=self.excluded + other.excluded,
            recovered=self.recovered + other.recovered,
            reverted=self.reverted + other.reverted,
            states=_added(self.states, other.states),
            votes=_added(self.votes, other.votes),
        )

    @property
    def eligible(self) -> int:
        """How many may vote."""
        return self.started - self.excluded

    @property
    def executed(self) -> int:
        """How many have tried (rule 2)."""
        return sum(self.votes.get(vote, 0) for vote in EXECUTED)

    @property
    def ended(self) -> int:
        """How many are over: they voted, or were canceled before they could."""
        return sum(self.votes.values()) + self.states.get("canceled", 0)

    @property
    def open(self) -> int:
        """How many are still expected to end."""
        return self.eligible - self.ended

    def failures(self, failure_type: str = "all") -> int:
        """How many failed, of one type or of all."""
        wanted = FAILURES if failure_type == "all" else (failure_type,)
        return sum(self.votes.get(vote, 0) for vote in FAILURES if vote in wanted)


def _added(one: Mapping[N, int], other: Mapping[N, int]) -> dict[N, int]:
    total = {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
    return {name: number for name, number in sorted(total.items()) if number}


@dataclass(frozen=True)
class PauseReason:
    """Why a stage is paused.

    Attributes:
        failures: how many.
        of: out of how many: started, or executed.
        over: which of the two.
        threshold_basis_points: what was too much.
    """

    failure_type: str
    failures: int
    of: int
    over: Literal["started", "executed"]
    threshold_basis_points: int

    def __str__(self) -> str:
        kind = "devices failed" if self.failure_type == "all" else f"devices {self.failure_type}"
        limit = f"{self.threshold_basis_points / 100:g} %"
        kind = kind.replace("_", " ")
        return f"{self.failures} of {self.of} {self.over} {kind}; the limit is {limit}"


def wilson_lower(failures: int, trials: int, z: float) -> float:
    """Wilson's lower bound of a share.

    Args:
        failures: how many of ``trials``.
        trials: how many there were.
        z: the quantile of the confidence, one-sided.

    Returns:
        A share from 0 to 1; 0 where nothing was tried.
    """
    if trials <= 0 or failures <= 0:
        return 0.0
    share = min(failures, trials) / trials
    square = z * z
    middle = share + square / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return (middle - spread) / (1 + square / trials)


def settings_of(abort: Sequence[Abort]) -> Sequence[Abort]:
    """An order's settings, or those that it is judged by without any (rule 8)."""
    return abort or DEFAULT_ABORT


def pause_reason(
    abort: Sequence[Abort], counts: Counts, forgiven: Counts | None = None
) -> PauseReason | None:
    """Why these counts are too bad to go on, or None (rules 2 to 6).

    Args:
        abort: the order's settings, as they were signed.
        counts: of one stage: as a whole, or at one cohort.
        forgiven: of the same, as they stood when people last resumed after a pause.
    """
    before = forgiven if forgiven is not None else Counts()
    for setting in settings_of(abort):
        found = _judged(setting, counts, before)
        if found is not None:
            return found
    return None


def _judged(setting: Abort, counts: Counts, before: Counts) -> PauseReason | None:
    kind = setting.failure_type
    executed = max(0, counts.executed - before.executed)
    failures = min(executed, max(0, counts.failures(kind) - before.failures(kind)))
    started = max(executed, counts.eligible - before.executed)
    threshold = setting.threshold_basis_points / _ALL

    def found(of: int, over: Literal["started", "executed"]) -> PauseReason:
        return PauseReason(kind, failures, of, over, setting.threshold_basis_points)

    if failures == 0:
        return None
    too_many = wilson_lower(failures, started, Z_95) > threshold
    if executed >= setting.min_executed:
        if too_many:
            return found(started, "started")
        if wilson_lower(failures, executed, Z_999) > threshold:
            return found(executed, "executed")
    if counts.open <= 0:
        if failures == started:
            return found(started, "started")
        if started < setting.min_executed and too_many and 2 * failures > started:
            return found(started, "started")
    return None


Place = tuple[int, str]
"""A stage and a cohort."""


def first_pause(
    abort: Sequence[Abort],
    counts: Mapping[Place, Counts],
    forgiven: Mapping[Place, Counts] | None = None,
) -> tuple[int, str | None, PauseReason] | None:
    """The first stage that is too bad to go on, as a whole or at one cohort (rule 7).

    Returns:
        The stage; the cohort, or None for all of it; and why. None if there is none.
    """
    known = forgiven or {}
    for stage in sorted({number for number, _ in counts}):
        places = sorted(place for place in counts if place[0] == stage)
        whole = sum((counts[place] for place in places), Counts())
        then = sum((known.get(place, Counts()) for place in places), Counts())
        reason = pause_reason(abort, whole, then)
        if reason is not None:
            return stage, None, reason
        for place in places:
            reason = pause_reason(abort, counts[place], known.get(place))
            if reason is not None:
                return stage, place[1], reason
    return None
