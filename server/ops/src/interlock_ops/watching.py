"""A rollout as it goes on, from the server's counters (pure).

Rules:

1. The counters are the server's word, and nothing of them is signed: ``rollout status`` counts from
   signed reports. Whether they are too bad is computed here, by core's one rule (``abort``).
2. Watching ends when the rollout has ended or stands still by a stop; what waits for people or for
   time is waited for.
3. It asks less often while nothing changes, and after a fault, up to a bound; a change makes it
   quick again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from interlock_core.abort import Counts, first_pause, settings_of
from interlock_core.api import RolloutStages, StageCounts
from interlock_core.errors import Exit
from interlock_core.order import Order
from interlock_ops.show import fact, heading, line, plain
from interlock_ops.units import show_percent, show_time

ENDS: Final = {"finished": Exit.DONE, "stopped": Exit.REFUSED, "paused": Exit.REFUSED}
"""States in which watching ends, and how (2)."""
SLOWEST: Final = 60.0
SLOWER: Final = 1.5
MAX_FAULTS: Final = 10
"""So many faults in a row, and the last is told."""
COLUMNS: Final = (
    "stage",
    "cohort",
    "started",
    "confirmed",
    "failed",
    "rolled back",
    "timed out",
    "rejected",
    "deferred",
    "on the way",
    "excluded",
)
FIELDS: Final = {
    "id, state, changed_at": "the rollout, its state, and since when",
    "held": "why the server publishes it without its goes, or null",
    "too_bad": "why the counters are too bad to go on, by the order's own settings, or null",
    "stages": "stage, cohort, started, counts (by state and vote), failures, executed, excluded, "
    "joined, recovered, reverted",
}
_WAITING: Final = frozenset({"deferred", "waiting_for_consent"})


@dataclass
class Pace:
    """How long to wait before the next question, in seconds (3)."""

    every: float
    _next: float | None = None
    faults: int = 0

    def changed(self) -> float:
        """After a change."""
        self.faults, self._next = 0, self.every
        return self.every

    def same(self) -> float:
        """After an answer that brought nothing new."""
        self.faults = 0
        return self._slower()

    def fault(self) -> float:
        """After a question that failed."""
        self.faults += 1
        return self._slower()

    def _slower(self) -> float:
        self._next = min(max(SLOWEST, self.every), (self._next or self.every) * SLOWER)
        return self._next


def row(one: StageCounts) -> tuple[str, ...]:
    """One stage at one cohort, under ``COLUMNS``."""
    counts = one.counts
    votes = counts.votes
    done = votes.get("confirmed", 0) + votes.get("already_installed", 0)
    waits = sum(number for state, number in counts.states.items() if state in _WAITING)
    numbers = (
        counts.started,
        done,
        votes.get("failed", 0),
        votes.get("rolled_back", 0),
        votes.get("timed_out", 0),
        votes.get("rejected", 0),
        waits,
        max(0, counts.open - waits),
        counts.excluded,
    )
    return (str(one.stage), one.cohort, *(str(number) for number in numbers))


def too_bad(order: Order, told: RolloutStages) -> str | None:
    """Why the counters are too bad to go on; None where they are not (1)."""
    found = first_pause(
        order.abort,
        {(one.stage, one.cohort): one.counts for one in told.stages},
        {(one.stage, one.cohort): one.forgiven for one in told.stages if one.forgiven is not None},
    )
    if found is None:
        return None
    stage, cohort, reason = found
    where = f"stage {stage}" + (f" at {cohort}" if cohort is not None else "")
    return f"{where}: {reason}"


def limits(order: Order) -> str:
    """What would be too much, in words."""
    return ", ".join(
        f"{show_percent(one.threshold_basis_points)} {one.failure_type.replace('_', ' ')} "
        f"of at least {one.min_executed}"
        for one in settings_of(order.abort)
    )


def table(order: Order, told: RolloutStages) -> Table:
    """The stages that are open, for a terminal."""
    title = f"{order.product} {order.seq}: {told.state.replace('_', ' ')}"
    made = Table(
        title=Text(title), caption=Text(caption(order, told)), box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in COLUMNS:
        made.add_column(name, justify="left" if name == "cohort" else "right")
    for one in told.stages:
        made.add_row(*row(one))
    return made


def caption(order: Order, told: RolloutStages) -> str:
    """What is to be said beside the numbers."""
    said = too_bad(order, told)
    held = f"held: {plain(told.held_why or '')}; " if told.held_since is not None else ""
    still = "; ".join(
        f"{one.cohort} stands still: {one.still}" for one in told.cohorts if one.still is not None
    )
    bad = f"too bad to go on: {said}; " if said is not None else ""
    return f"{held}{bad}{still + '; ' if still else ''}the limit is {limits(order)}"


def line_of(order: Order, told: RolloutStages, at: str) -> str:
    """The same in one line, where there is no terminal."""
    stages = "; ".join(_words(one) for one in told.stages) or "no stage is open"
    bad = too_bad(order, told)
    return f"{at}  {told.state}  {stages}" + (f"; too bad to go on: {bad}" if bad else "")


def _words(one: StageCounts) -> str:
    named = zip(COLUMNS[3:], row(one)[3:], strict=True)
    numbers = ", ".join(f"{number} {name}" for name, number in named if number != "0")
    return f"stage {one.stage} {one.cohort}: {one.counts.started} started" + (
        f", {numbers}" if numbers else ""
    )


def facts(order_id: str, order: Order, told: RolloutStages) -> dict[str, Any]:
    """For machines; ``FIELDS`` says what stands where."""
    return {
        "id": order_id,
        "state": told.state,
        "changed_at": show_time(told.changed_at),
        "held": (told.held_why or "") if told.held_since is not None else None,
        "too_bad": too_bad(order, told),
        "stages": [_stage(one) for one in told.stages],
    }


def _stage(one: StageCounts) -> dict[str, Any]:
    counts: Counts = one.counts
    return {
        "stage": one.stage,
        "cohort": one.cohort,
        "opened_at": show_time(one.opened_at),
        "started": counts.started,
        "joined": counts.joined,
        "excluded": counts.excluded,
        "recovered": counts.recovered,
        "reverted": counts.reverted,
        "states": dict(sorted(counts.states.items())),
        "votes": dict(sorted(counts.votes.items())),
        "failures": counts.failures(),
        "executed": counts.executed,
    }


def counted(order: Order, told: RolloutStages) -> list[RenderableType]:
    """The counters as a part of a status: nothing where no stage is open."""
    if not told.stages:
        return []
    shown: list[RenderableType] = [heading(f"By the server's counters: {told.state}")]
    for one in told.stages:
        shown.append(line(f"  {_words(one)}"))
        failed, of = one.counts.failures(), one.counts.eligible
        if of:
            share = show_percent(round(10_000 * failed / of)) if failed else "0 %"
            shown.append(fact("", f"{failed} of {of} failed ({share})"))
    bad = too_bad(order, told)
    shown.append(fact("limit", limits(order)))
    if bad is not None:
        shown.append(line(f"  {'too bad':<12} {bad}", "red"))
    if told.held_since is not None:
        text = f"since {show_time(told.held_since)}: {told.held_why or ''}"
        shown.append(line(f"  {'held':<12} {text}", "red"))
    return shown
