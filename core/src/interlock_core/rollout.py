"""A rollout as a state machine: state, event and now in; state and effects out (pure).

The server runs it. No gateway believes anything of it: what may be installed follows from what
people signed (``chain``, ``current``), and this only narrows, delays and counts.

Rules:

1. States change by two events and in the ways that ``FROM`` names. ``Read`` is what everything
   that was signed says now; ``Counted`` is how the devices stand. A change is an effect
   (``Record``), for the log.
2. Where a cohort stands is kept for each cohort (``Part``), since each has its own rule, its own
   stops, and consents in its own time. A rollout is ``running`` while it goes on at one of the
   cohorts where it was opened, and ``paused`` when it stands still at all of them.
3. A stage opens at a cohort when an opening of it counts there (``chain``) and not before the time
   from which it counts, when the rollout goes on there, and once. Actions are opened with it, and
   the number of those that were inside is frozen.
4. It stands still at a cohort while the order lacks a signature there, a stop stands, the server
   holds it, or nobody renewed it. A stop always wins. Time in which it stands still, and time in
   which nobody looked (``Away``), is no device's silence: deadlines are moved by it.
5. When too many have failed (``abort``) the server holds the rollout everywhere: it publishes the
   order without its goes. It takes no signature for that, and none is on the server. At a cohort
   the hold ends by a resume that counts there and is dated after it, and by nothing else: what is
   paused never goes on by itself. A server that is compromised may ignore this; the monitor's stop
   is signed.
6. What people knew when they resumed pauses nothing again (``Forgive``). Where it is still held,
   nothing more is judged.
7. An order that another supersedes at a cohort, or that expired or was ended by the roster, is over
   there for good: its open actions are canceled. When it is over everywhere, the rollout is
   ``stopping`` until no action is open, and then ``stopped``.
8. It is ``finished`` when every stage was opened at each cohort that it is not over at, and no
   action is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from interlock_core.abort import Counts, Place, first_pause
from interlock_core.order import Order

State = Literal[
    "draft",
    "waiting_for_approval",
    "ready",
    "scheduled",
    "running",
    "paused",
    "stopping",
    "stopped",
    "finished",
]
OVER: Final[frozenset[State]] = frozenset({"stopped", "finished"})
"""What a rollout never leaves."""
FROM: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        "draft": frozenset[State](),
        # From the two after it, when a signature that it needed counts no more.
        "waiting_for_approval": frozenset[State]({"draft", "ready", "scheduled"}),
        "scheduled": frozenset[State]({"waiting_for_approval"}),
        "ready": frozenset[State]({"waiting_for_approval", "scheduled"}),
        "running": frozenset[State]({"ready", "paused"}),
        "paused": frozenset[State]({"running"}),
        "stopping": frozenset[State]({"running", "paused"}),
        # What was never opened has nothing to be canceled.
        "stopped": frozenset[State]({"waiting_for_approval", "ready", "scheduled", "stopping"}),
        "finished": frozenset[State]({"running"}),
    }
)
"""Each state, and the states from which it may be entered."""
_ON_THE_WAY: Final[Mapping[State, State]] = MappingProxyType(
    {
        "draft": "waiting_for_approval",
        "waiting_for_approval": "ready",
        "scheduled": "ready",
        "ready": "running",
    }
)
"""What is passed through, where more than one change is seen at once."""

TOO_MANY_FAILURES: Final = "too_many_failures"


# What is seen


@dataclass(frozen=True)
class AtCohort:
    """How everything that was signed reads at one cohort now.

    Attributes:
        accepted: the order is fully authorised there.
        over: why the order is over there for good: ``superseded_order`` or ``expired_order``.
        opened: from when each stage counts as open, stage 0 first, without a gap.
        live_until: when the newest ``go`` lapses; None before stage 0 was opened.
        stopped: a stop of all of this cohort stands.
        resumed_at: of the newest resume that counts there.
    """

    cohort: str
    accepted: bool
    over: str | None = None
    opened: tuple[datetime, ...] = ()
    live_until: datetime | None = None
    stopped: bool = False
    resumed_at: datetime | None = None


@dataclass(frozen=True)
class Read:
    """What everything that was signed says at ``at``, for each cohort that the server serves."""

    at: datetime
    cohorts: tuple[AtCohort, ...]


@dataclass(frozen=True)
class Counted:
    """How the devices stand at ``at``, by stage and cohort; and as it was known at a resume."""

    at: datetime
    counts: Mapping[Place, Counts]
    forgiven: Mapping[Place, Counts]


@dataclass(frozen=True)
class Away:
    """Nobody looked for ``by``: the server was down, and no device could have been heard."""

    by: timedelta


Event: TypeAlias = Read | Counted | Away


# What follows


@dataclass(frozen=True)
class OpenActions:
    """Open an action for every device of ``cohort`` that is inside ``stage`` (rule 3).

    Attributes:
        since: when the stage opened, as it was signed.
    """

    cohort: str
    stage: int
    since: datetime


@dataclass(frozen=True)
class CancelActions:
    """Cancel what is open at ``cohort`` (rule 7)."""

    cohort: str
    why: str


@dataclass(frozen=True)
class ExtendDeadlines:
    """Move the deadlines of what is open at ``cohort`` (rule 4)."""

    cohort: str
    by: timedelta


@dataclass(frozen=True)
class Forgive:
    """Keep the counts of ``cohort`` as they stand: people know them (rule 6)."""

    cohort: str


@dataclass(frozen=True)
class Publish:
    """Make the directives of ``cohorts`` anew: they are held, or no longer."""

    cohorts: tuple[str, ...]


@dataclass(frozen=True)
class Alert:
    """Tell people: a stable name, and a sentence."""

    name: str
    detail: str


@dataclass(frozen=True)
class Record:
    """The state changed, by ``why``; for the log."""

    before: State
    after: State
    why: str


Effect: TypeAlias = (
    OpenActions | CancelActions | ExtendDeadlines | Forgive | Publish | Alert | Record
)


# What is kept


@dataclass(frozen=True)
class Part:
    """One cohort of a rollout.

    Attributes:
        opened: how many stages were opened there.
        held: the server holds it there (rule 5).
        still: why it stands still there, None while it goes on or was never opened.
        still_since: since when.
        over: why it is over there.
        resumed_at: of the newest resume that was seen.
    """

    cohort: str
    opened: int = 0
    held: bool = False
    still: str | None = None
    still_since: datetime | None = None
    over: str | None = None
    resumed_at: datetime | None = None


@dataclass(frozen=True)
class Rollout:
    """Where a rollout stands.

    Attributes:
        parts: by cohort.
        held_since: of the newest hold, as long as it holds anywhere.
        held_why: what was too much.
    """

    state: State = "draft"
    parts: Mapping[str, Part] = field(default_factory=dict)
    held_since: datetime | None = None
    held_why: str | None = None

    @property
    def held(self) -> tuple[str, ...]:
        """The cohorts whose directives are published without goes."""
        return tuple(sorted(part.cohort for part in self.parts.values() if part.held))


def step(order: Order, rollout: Rollout, event: Event) -> tuple[Rollout, tuple[Effect, ...]]:
    """The rollout after one event, and what follows from it.

    Args:
        order: what was ordered.
        rollout: where it stood.
        event: what was seen.
    """
    if rollout.state in OVER:
        return rollout, ()
    match event:
        case Read():
            return _read(order, rollout, event)
        case Counted():
            return _counted(order, rollout, event)
        case Away():
            going = [p for p in rollout.parts.values() if p.opened and not p.over and not p.still]
            return rollout, tuple(ExtendDeadlines(part.cohort, event.by) for part in going)


# What was signed


def _read(order: Order, rollout: Rollout, event: Read) -> tuple[Rollout, tuple[Effect, ...]]:
    effects: list[Effect] = []
    parts = dict(rollout.parts)
    for at in event.cohorts:
        part = parts.get(at.cohort, Part(at.cohort, held=rollout.held_since is not None))
        parts[at.cohort] = _part(order, rollout, part, at, event.at, effects)
    released = [c for c, p in parts.items() if c in rollout.held and not p.held]
    if released:
        effects.append(Publish(tuple(sorted(released))))
    rollout = replace(rollout, parts=parts)
    if not rollout.held:
        rollout = replace(rollout, held_since=None, held_why=None)
    wanted, why = _wanted(order, rollout, event)
    return _moved(rollout, wanted, why, effects)


def _part(
    order: Order,
    rollout: Rollout,
    part: Part,
    at: AtCohort,
    now: datetime,
    effects: list[Effect],
) -> Part:
    """One cohort by what was signed (rules 3 to 7)."""
    if part.over:
        return part
    if at.over:
        if part.opened:
            effects.append(CancelActions(part.cohort, at.over))
        return replace(part, over=at.over, held=False, still=None, still_since=None)
    if _after(at.resumed_at, part.resumed_at):
        effects.append(Forgive(part.cohort))
        ends = _after(at.resumed_at, rollout.held_since)
        part = replace(part, resumed_at=at.resumed_at, held=part.held and not ends)
    still = _still(part, at, now)
    if still is None and part.still_since is not None:
        effects.append(ExtendDeadlines(part.cohort, now - part.still_since))
        part = replace(part, still=None, still_since=None)
    if still is not None:
        since = part.still_since or (now if part.opened else None)
        return replace(part, still=still if part.opened else None, still_since=since)
    for number in range(part.opened, len(at.opened)):
        if at.opened[number] > now:
            break
        if part.cohort in order.stages[number].cohorts:
            effects.append(OpenActions(part.cohort, number, at.opened[number]))
        part = replace(part, opened=number + 1)
    return part


def _after(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one > other)


def _still(part: Part, at: AtCohort, now: datetime) -> str | None:
    """Why it does not go on at a cohort (rule 4), or None if it does."""
    if at.stopped:
        return "stopped"
    if part.held:
        return TOO_MANY_FAILURES
    if not at.accepted:
        return "unauthorised_rollout"
    if at.live_until is None or at.live_until <= now:
        return "go_lapsed"
    return None


def _wanted(order: Order, rollout: Rollout, event: Read) -> tuple[State, str]:
    """Where it should be by what was signed (rules 2 and 7)."""
    if rollout.state == "stopping":
        return "stopping", ""
    parts = list(rollout.parts.values())
    going_on = [part for part in parts if part.over is None]
    opened = [part for part in parts if part.opened]
    if not going_on:
        why = parts[0].over if parts and parts[0].over else "expired_order"
        if not parts and event.at < order.expires:
            return "waiting_for_approval", "no_cohort_served"
        return ("stopping" if opened else "stopped"), why
    open_now = [part for part in opened if part.over is None]
    if open_now:
        still = [part.still for part in open_now if part.still is not None]
        if len(still) == len(open_now):
            return "paused", still[0]
        return "running", "resumed" if rollout.state == "paused" else "opened"
    if opened:
        # Over where it was opened, and not opened yet elsewhere.
        return rollout.state, "opened"
    if not any(at.accepted for at in event.cohorts if at.over is None):
        return "waiting_for_approval", "not_authorised"
    if event.at < order.not_before and rollout.state != "ready":
        return "scheduled", "not_before"
    return "ready", "authorised"


# How the devices stand


def _counted(order: Order, rollout: Rollout, event: Counted) -> tuple[Rollout, tuple[Effect, ...]]:
    effects: list[Effect] = []
    if rollout.state in {"running", "paused"}:
        judged = {p.cohort for p in rollout.parts.values() if not p.held and p.over is None}
        counts = {place: one for place, one in event.counts.items() if place[1] in judged}
        found = first_pause(order.abort, counts, event.forgiven)
        if found is not None:
            stage, cohort, reason = found
            where = f"stage {stage}" + (f" at {cohort}" if cohort is not None else "")
            return _hold(rollout, event.at, f"{where}: {reason}", effects)
    remaining = sum(one.open for one in event.counts.values())
    if rollout.state == "stopping" and remaining <= 0:
        return _moved(rollout, "stopped", "all_ended", effects)
    if rollout.state == "running" and remaining <= 0 and _all_opened(order, rollout):
        return _moved(rollout, "finished", "all_ended", effects)
    return rollout, ()


def _hold(
    rollout: Rollout, now: datetime, why: str, effects: list[Effect]
) -> tuple[Rollout, tuple[Effect, ...]]:
    """Hold the rollout everywhere (rule 5)."""
    parts = dict(rollout.parts)
    for cohort, part in parts.items():
        if part.over is None:
            begins = bool(part.opened) and part.still is None
            parts[cohort] = replace(
                part,
                held=True,
                still=TOO_MANY_FAILURES if begins else part.still,
                still_since=now if begins else part.still_since,
            )
    held = replace(rollout, parts=parts, held_since=now, held_why=why)
    effects.append(Publish(held.held))
    effects.append(Alert("rollout_paused", why))
    return _moved(held, "paused", TOO_MANY_FAILURES, effects)


def _all_opened(order: Order, rollout: Rollout) -> bool:
    """Whether no stage is to come at any cohort (rule 8)."""
    for cohort in order.cohorts():
        part = rollout.parts.get(cohort, Part(cohort))
        last = max(n for n, stage in enumerate(order.stages) if cohort in stage.cohorts)
        if part.over is None and part.opened <= last:
            return False
    return True


def _moved(
    rollout: Rollout, wanted: State, why: str, effects: list[Effect]
) -> tuple[Rollout, tuple[Effect, ...]]:
    """The rollout in another state, by allowed changes alone (rule 1)."""
    state = rollout.state
    while state != wanted:
        towards = wanted if state in FROM[wanted] else _ON_THE_WAY[state]
        effects.append(Record(state, towards, why))
        state = towards
    return replace(rollout, state=state), tuple(effects)
