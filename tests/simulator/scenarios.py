"""What a fleet is led through, and what is to come of it.

Each scenario is one order in four stages, over a canary cohort and seven wards; people renew it
while it runs and open each stage when the soak before it is over. It pauses by the settings of an
order that has none of its own. What is expected is asserted here,
so that a large run and a small one are held to the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from time import process_time
from typing import Any, Final

from interlock_core.abort import FAILURES
from interlock_core.rollout import OVER, State
from interlock_core.wire import Record
from tests.simulator.gateways import WARDS, Faults, Gateways
from tests.simulator.run import DAY_ROUNDS, ROUND, ROUNDS_PER_POLL, Course, Paper, Simulation, total
from tests.support.papers import authorise, days, opening, order, renewal, stage, stop, target
from tests.support.people import CANARY

SOAK: Final = days(2)
STAGES: Final = (
    stage(CANARY, soak=SOAK),
    stage(*WARDS, share=1_000, soak=SOAK),
    stage(*WARDS, share=5_000, soak=SOAK),
    stage(*WARDS, soak=SOAK),
)
WEEKS: Final = 6
LEFT_OUT: Final = (
    "left out: SQL, HTTP, TUF and reports' signatures; people's signatures are verified once a run"
)


class Outcome(Record, frozen=True, kw_only=True):
    """What a scenario came to.

    Attributes:
        state: of its first order.
        stages: how many stages of that were opened.
        simulated_days: how long it took there.
        cpu_seconds: what it cost here.
    """

    name: str
    state: str
    why: str | None
    stages: int
    started: int
    confirmed: int
    failed: int
    timed_out: int
    deferred_at_the_end: int
    reports: int
    simulated_days: float
    cpu_seconds: float
    log: tuple[str, ...]


def _paper(simulation: Simulation, number: int, **fields: Any) -> Course:
    """An order that is authorised, and whose first stage is opened."""
    now = simulation.now
    made: dict[str, Any] = {
        "seq": number,
        "targets": (target(f"2.{number}.0"),),
        "stages": STAGES,
        "abort": (),
        "deadline_seconds": 86_400,
        "at": now,
        "not_before": now,
        "expires": now + days(90),
    }
    ordered = order(**made | fields)
    paper = Paper(ordered, [authorise(ordered, at=now)])
    _open(simulation, paper, 0)
    return simulation.file(paper)


def _stands(course: Course, state: State) -> None:
    assert course.state.state == state, course.log


def _open(simulation: Simulation, paper: Paper, number: int) -> None:
    go = opening(paper.order, number, at=simulation.now)
    paper.goes.append(go)
    paper.authorisations.append(authorise(go, at=simulation.now))


class People:
    """Operators: they open what is due and renew what runs, while it runs."""

    def __init__(self, simulation: Simulation, course: Course) -> None:
        self.simulation, self.course = simulation, course
        self.opened_at = {0: simulation.now}
        self.renewed_at = simulation.now

    def act(self) -> None:
        """Once a day."""
        now, course = self.simulation.now, self.course
        if course.state.state != "running":
            return
        newest = max(self.opened_at)
        if newest + 1 < len(STAGES) and now >= self.opened_at[newest] + SOAK + timedelta(hours=1):
            _open(self.simulation, course.paper, newest + 1)
            self.opened_at[newest + 1] = self.renewed_at = now
        elif now >= self.renewed_at + days(3):
            newest_go = next(
                go
                for go in reversed(course.paper.goes)
                if go.said.act == "open" and go.said.stage == newest
            )
            course.paper.goes.append(renewal(newest_go, at=now, seq=2 + len(course.paper.goes)))
            self.renewed_at = now


def _lead(simulation: Simulation, course: Course, until: Callable[[], bool]) -> None:
    people = People(simulation, course)
    for _ in range(WEEKS * 7):
        simulation.run(DAY_ROUNDS, until=until)
        if until():
            return
        people.act()


def _over(course: Course) -> Callable[[], bool]:
    return lambda: course.state.state in OVER or course.state.state == "paused"


def failing(simulation: Simulation) -> Course:
    """30 % fail: paused within the first stage, and few were harmed."""
    course = _paper(simulation, 1)
    _lead(simulation, course, _over(course))
    _stands(course, "paused")
    assert {place[0] for place in course.tally} == {0}
    seen = len(course.installed)
    simulation.run(3 * DAY_ROUNDS)
    assert len(course.installed) == seen, "installed after the pause had reached every poll"
    return course


def healthy(simulation: Simulation) -> Course:
    """0.5 % fail: nothing pauses, and everybody is reached."""
    course = _paper(simulation, 1)
    _lead(simulation, course, _over(course))
    _stands(course, "finished")
    assert total(course).started == simulation.gateways.size
    return course


def silent(simulation: Simulation) -> Course:
    """30 % are never heard of again: paused within the first stage."""
    course = failing(simulation)
    assert total(course).votes.get("timed_out", 0) > 0
    return course


def deferring(simulation: Simulation) -> Course:
    """30 % are in use for days and say so: nothing pauses, and everybody is reached."""
    course = healthy(simulation)
    assert not set(FAILURES) & total(course).votes.keys()
    return course


def superseding(simulation: Simulation) -> Course:
    """Another order takes the place of one that is half way: the first closes, the second ends."""
    first = _paper(simulation, 1)
    _lead(simulation, first, lambda: len({place[0] for place in first.tally}) > 1)
    second = _paper(simulation, 2)
    _lead(simulation, second, _over(second))
    _stands(first, "stopped")
    _stands(second, "finished")
    assert total(first).open == 0
    assert total(second).started == simulation.gateways.size
    return second


def recall(simulation: Simulation) -> Course:
    """One is stopped half way and recalled: it closes, and the recall reaches everybody."""
    first = _paper(simulation, 1)
    _lead(simulation, first, lambda: len({place[0] for place in first.tally}) > 1)
    first.paper.stops.append(stop(first.paper.order, at=simulation.now))
    simulation.run(2 * ROUNDS_PER_POLL)
    installed = len(first.installed)
    _stands(first, "paused")
    back = _paper(simulation, 2, kind="recall")
    _lead(simulation, back, _over(back))
    assert len(first.installed) == installed, "installed after the stop had reached every poll"
    _stands(first, "stopped")
    _stands(back, "finished")
    return back


SCENARIOS: Final[dict[str, tuple[Callable[[Simulation], Course], Faults]]] = {
    "30-percent-fail": (failing, Faults(failing=3_000)),
    "half-a-percent-fails": (healthy, Faults(failing=50)),
    "30-percent-silent": (silent, Faults(silent=3_000)),
    "30-percent-defer": (deferring, Faults(deferring=3_000)),
    "superseded": (superseding, Faults()),
    "recalled": (recall, Faults(failing=50)),
}


def play(name: str, devices: int, seed: int) -> Outcome:
    """Play one scenario.

    Raises:
        AssertionError: something else came of it than is to.
    """
    scenario, faults = SCENARIOS[name]
    began = process_time()
    simulation = Simulation(Gateways(devices, seed, ROUNDS_PER_POLL), faults)
    course = scenario(simulation)
    counts = total(course)
    return Outcome(
        name=name,
        state=course.state.state,
        why=course.state.held_why,
        stages=len({place[0] for place in course.tally}),
        started=counts.started,
        confirmed=counts.votes.get("confirmed", 0),
        failed=counts.votes.get("failed", 0) + counts.votes.get("rolled_back", 0),
        timed_out=counts.votes.get("timed_out", 0),
        deferred_at_the_end=counts.states.get("deferred", 0),
        reports=simulation.reports,
        simulated_days=round(simulation.round * ROUND / timedelta(days=1), 1),
        cpu_seconds=round(process_time() - began, 2),
        log=tuple(
            f"day {at * ROUND / timedelta(days=1):.2f}: {what}"
            for one in simulation.courses
            for at, what in one.log
            if "->" in what
        ),
    )
