"""Drives the engine with virtual gateways through simulated time.

What is real: the rollout's state machine, its reading of what people signed, the counts and the
rule that pauses (``rollout``, ``rollout_reading``, ``chain``, ``current``, ``roster``, ``abort``),
each gateway's action (``action``) and its placement (``placement``).

What is left out, and said wherever results are: SQL, HTTP, TUF and reports' signatures. What people
signed is signed, and each signature is verified once in a run.

Rules:

1. Time goes on in rounds. A round is the server's: what was signed, then deadlines, then counts;
   the gateways then do what is due.
2. As in the server, deadlines count where a rollout goes on, and what was counted is known when
   people resume.
3. After each round counts are held against what they are of: nothing is counted twice or lost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from interlock_core import action, rollout
from interlock_core.abort import Counts, Place
from interlock_core.action import Action, Canceled, Extended, Reported, Tick, counts_of
from interlock_core.chain import Papers, cleared, first_stage, read_chain, stop_counts
from interlock_core.current import in_force
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.report import Outcome
from interlock_core.rollout import (
    CancelActions,
    Counted,
    Effect,
    ExtendDeadlines,
    Forgive,
    OpenActions,
    Read,
    Record,
    Rollout,
)
from interlock_core.rollout_reading import at_cohort
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from tests.simulator.gateways import COHORTS, Fate, Faults, Gateways, View
from tests.support.people import DAY0, ROSTER

ROUND: Final = timedelta(minutes=20)
ROUNDS_PER_POLL: Final = 3
"""Gateways poll once an hour."""
DAY_ROUNDS: Final = int(timedelta(days=1) / ROUND)

_Key = tuple[Outcome, str | None, str | None, bool]


@dataclass
class Paper:
    """An order, and what was said of it."""

    order: Opened[Order]
    authorisations: list[Opened[Authorisation]] = field(default_factory=list)
    goes: list[Opened[Go]] = field(default_factory=list)
    stops: list[Opened[Stop]] = field(default_factory=list)

    def read(self, *, held: bool = False) -> Papers:
        """As it is published: without its goes where the server holds it."""
        return Papers(self.order, self.authorisations, () if held else self.goes)


@dataclass
class Course:
    """One order on its way through the fleet."""

    paper: Paper
    points: list[int]
    fates: list[Fate]
    state: Rollout = field(default_factory=Rollout)
    actions: dict[int, Action] = field(default_factory=dict)
    tally: dict[Place, Counter[_Key]] = field(default_factory=lambda: defaultdict(Counter))
    forgiven: dict[Place, Counts] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    installed: list[int] = field(default_factory=list)
    deadlines: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    log: list[tuple[int, str]] = field(default_factory=list)

    @property
    def order(self) -> Order:
        return self.paper.order.said


class Simulation:
    """A fleet, the orders over it, and the time.

    Args:
        gateways: the fleet.
        faults: what an update does to it.
    """

    def __init__(self, gateways: Gateways, faults: Faults) -> None:
        self.gateways = gateways
        self.faults = faults
        self.courses: list[Course] = []
        self.round = 0
        self.reports = 0
        self._due: dict[int, list[tuple[Callable[..., None], Course, int, Any]]] = defaultdict(list)
        self._seen: dict[Any, Any] = {}

    @property
    def now(self) -> datetime:
        """Simulated time."""
        return DAY0 + self.round * ROUND

    def file(self, paper: Paper) -> Course:
        """Accept an order."""
        order = paper.order.said
        course = Course(paper, self.gateways.points(order), self.gateways.fates(self.faults, order))
        self.courses.append(course)
        return course

    def step(self) -> None:
        """One round (rule 1)."""
        self.round += 1
        judge = Judge(ROSTER, self.now, self._seen)
        orders = [course.paper.order for course in self.courses]
        papers = {course.paper.order.id: course.paper.read() for course in self.courses}
        current = {
            cohort: in_force(judge, orders, lambda one: papers[one.id], cohort)
            for cohort in COHORTS
        }
        for course in self.courses:
            if course.state.state in rollout.OVER:
                continue
            read = [
                at_cohort(
                    judge, papers[course.paper.order.id], course.paper.stops, current[name], name
                )
                for name in COHORTS
            ]
            self._move(course, Read(self.now, tuple(read)))
            self._time_out(course)
            counts = {place: _counts(tally) for place, tally in course.tally.items()}
            for one in counts.values():
                assert sum(one.states.values()) == one.eligible <= one.started
                assert sum(one.votes.values()) <= one.eligible
            self._move(course, Counted(self.now, counts, course.forgiven))
        for course in self.courses:
            self._publish(course, judge, current)
        for act, course, number, about in self._due.pop(self.round, ()):
            act(course, number, about)

    def run(self, rounds: int, *, until: Callable[[], bool] = lambda: False) -> None:
        """So many rounds, or until something holds."""
        for _ in range(rounds):
            self.step()
            if until():
                return

    # The server

    def _move(self, course: Course, event: rollout.Event) -> None:
        course.state, effects = rollout.step(course.order, course.state, event)
        for effect in effects:
            self._apply(course, effect)

    def _apply(self, course: Course, effect: Effect) -> None:
        match effect:
            case OpenActions(cohort, stage, _):
                course.log.append((self.round, f"stage {stage} opens at {cohort}"))
                for number in self.gateways.of.get(cohort, ()):
                    if first_stage(course.order, cohort, course.points[number]) == stage:
                        fresh = action.opened(stage, self.now, course.order.deadline_seconds)
                        self._set(course, number, None, fresh)
            case CancelActions(cohort, why):
                self._each(course, cohort, Canceled(self.now, why))
            case ExtendDeadlines(cohort, by):
                self._each(course, cohort, Extended(by))
            case Forgive(cohort):
                for place, tally in course.tally.items():
                    if place[1] == cohort:
                        course.forgiven[place] = _counts(tally)
            case Record(before, after, why):
                course.log.append((self.round, f"{before} -> {after}: {why}"))
            case _:
                # What is published follows from where the rollout stands; alerts are its log.
                pass

    def _set(self, course: Course, number: int, before: Action | None, after: Action) -> None:
        cohort = self.gateways.cohort[number]
        tally = course.tally[after.stage, cohort]
        if before is not None:
            tally[_key(before)] -= 1
        tally[_key(after)] += 1
        course.actions[number] = after
        if before is None:
            course.deadlines[self._round_of(after.deadline)].append(number)

    def _each(self, course: Course, cohort: str, event: action.Event) -> None:
        for number in self.gateways.of.get(cohort, ()):
            known = course.actions.get(number)
            if known is not None and not known.over:
                self._tell(course, number, event)

    def _tell(self, course: Course, number: int, event: action.Event) -> None:
        before = course.actions[number]
        after = action.step(before, event)
        if after is not before:
            self._set(course, number, before, after)

    def _time_out(self, course: Course) -> None:
        """Deadlines, where the rollout goes on (rule 2)."""
        for number in course.deadlines.pop(self.round, ()):
            known = course.actions[number]
            if known.over:
                continue
            part = course.state.parts[self.gateways.cohort[number]]
            if known.deadline <= self.now and part.still is None:
                self._tell(course, number, Tick(self.now))
            else:
                again = max(self.round + 1, self._round_of(known.deadline))
                course.deadlines[again].append(number)

    def _round_of(self, at: datetime) -> int:
        return -((DAY0 - at) // ROUND)

    def _publish(self, course: Course, judge: Judge, current: dict[str, Any]) -> None:
        """Show each cohort its order, and let the polls of those who may go on find it."""
        for cohort in COHORTS:
            view = self._view(course, judge, current[cohort], cohort)
            if view == course.views.get(cohort, View()):
                continue
            course.views[cohort] = view
            for number in self.gateways.of.get(cohort, ()):
                if number not in course.begun and view.lets_in(course.points[number]):
                    self._later(self.gateways.lag[number], self._poll, course, number)

    def _view(self, course: Course, judge: Judge, current: Any, cohort: str) -> View:
        if current is None or current.id != course.paper.order.id:
            return View()
        papers = course.paper.read(held=cohort in course.state.held)
        chain = read_chain(judge, papers, cohort)
        over = cleared(chain)
        stopped = any(
            stop.id not in over and stop_counts(judge, stop, cohort) for stop in course.paper.stops
        )
        until = chain.live_until(0)
        if stopped or until is None or until <= judge.now:
            return View()
        stages = [course.order.stages[stage.number] for stage in chain.stages]
        return View(max((s.basis_points for s in stages if cohort in s.cohorts), default=0))

    # The gateways

    def _later(
        self, rounds: int, act: Callable[..., None], course: Course, number: int, about: Any = None
    ) -> None:
        self._due[self.round + rounds].append((act, course, number, about))

    def _may(self, course: Course, number: int) -> bool:
        return course.views[self.gateways.cohort[number]].lets_in(course.points[number])

    def _report(self, course: Course, number: int, outcome: Outcome, reason: str) -> None:
        self.reports += 1
        if number in course.actions:
            self._tell(course, number, Reported(self.now, outcome, reason))

    def _poll(self, course: Course, number: int, _: Any) -> None:
        if number in course.begun or not self._may(course, number):
            return
        course.begun.add(number)
        if course.fates[number] == "silent":
            return
        self._report(course, number, "downloading", "granted")
        self._later(2 + number % 4, self._install, course, number, 1 + number % 5)

    def _install(self, course: Course, number: int, days_in_use: int) -> None:
        """The last moment: everything is asked again."""
        if not self._may(course, number):
            # It waits, and begins again when it is let in.
            course.begun.discard(number)
            self._report(course, number, "deferred", "stopped")
            return
        if course.fates[number] == "defers" and days_in_use > 0:
            self._report(course, number, "deferred", "interlock")
            self._later(DAY_ROUNDS, self._install, course, number, days_in_use - 1)
            return
        course.installed.append(self.round)
        self._report(course, number, "rebooting", "armed")
        self._later(1, self._confirm, course, number)

    def _confirm(self, course: Course, number: int, _: Any) -> None:
        fate = course.fates[number]
        if fate == "fails":
            self._report(course, number, "failed", "health")
        elif fate == "rolls_back":
            self._report(course, number, "rolled_back", "health")
        else:
            self._report(course, number, "confirmed", "confirmed")


def _key(one: Action) -> _Key:
    return one.state, one.vote, one.excluded, one.counted


_SAMPLE: Final = action.opened(0, DAY0, 1)


def _counts(tally: Counter[_Key]) -> Counts:
    """Counts of many actions: those of one of each kind, so many times."""
    total = Counts()
    for (state, vote, excluded, counted), number in tally.items():
        if number:
            one = counts_of(_like(state, vote, excluded, counted))
            total = total + _times(one, number)
    return total


def _like(state: Any, vote: Any, excluded: str | None, counted: bool) -> Action:
    return Action(
        stage=0,
        since=_SAMPLE.since,
        deadline=_SAMPLE.deadline,
        patience=_SAMPLE.patience,
        state=state,
        vote=vote,
        excluded=excluded,
        counted=counted,
    )


def _times(one: Counts, number: int) -> Counts:
    return Counts(
        started=one.started * number,
        joined=one.joined * number,
        excluded=one.excluded * number,
        recovered=one.recovered * number,
        reverted=one.reverted * number,
        states={state: n * number for state, n in one.states.items()},
        votes={vote: n * number for vote, n in one.votes.items()},
    )


def total(course: Course, stages: Iterable[int] | None = None) -> Counts:
    """The counts of an order over all cohorts."""
    wanted = set(stages) if stages is not None else None
    found = [
        _counts(tally)
        for (stage, _), tally in course.tally.items()
        if wanted is None or stage in wanted
    ]
    return sum(found, Counts())
