"""Tries every state: is it good, and does a re-run end well? (I/O through its judge)

Rules:

1. Each state that looks different from those before it is judged once.
2. The re-run changes what is in place and costs most. ``class``: it is done once for each *class*,
   which the judge names: states that differ only in what nothing reads are one class. ``all``: once
   for each state that is judged, whatever the judge says. ``none``: never.
3. A bad state is reported by its number, with the shortest list of lost operations found: what is
   not needed for it to be bad is put back, one operation after the other.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from interlock_client.powercut.materialise import Stage
from interlock_client.powercut.model import Model, State, Tree, digest
from interlock_client.powercut.states import Plan, Window, lost, restored, states, windows

MOST_REPORTED: Final = 8

Rerun = Literal["all", "class", "none"]
"""In which states the same is run again (rule 2)."""


class Judge(Protocol):
    """Says whether what is in place is good.

    Attributes:
        changes: whether ``look`` may change what is in place, as a boot does.
    """

    changes: bool

    def look(self, tree: Tree) -> str | None:
        """What is wrong with what is in place, or None."""

    def kind(self, tree: Tree) -> Hashable:
        """The class of a state (rule 2)."""

    def again(self, tree: Tree) -> str | None:
        """Boot it and run the same again; what is wrong with how that ended, or None."""


@dataclass(frozen=True)
class Bad:
    """A state that is not good.

    Attributes:
        number: of the state, in the order of ``states``.
        problem: what is wrong.
        end: the number of the operation before which the power may have gone.
        state: itself; in a report, one as bad with as little lost as was found.
        lost: the operations that are not there, or not whole.
        states: how many distinct states have this problem.
    """

    number: int
    problem: str
    end: int
    state: State
    lost: tuple[int, ...]
    states: int = 1


@dataclass
class Findings:
    """What an exploration found.

    Attributes:
        operations: recorded, flushes among them.
        windows: times between flushes.
        tried: states.
        distinct: of those, that look different.
        rerun: states in which the same was run again.
        limited: whether the plan allowed no more, and there may be more.
        bad: one for each problem, the first found of each.
        bad_states: how many distinct states are bad.
    """

    operations: int
    windows: int
    tried: int = 0
    distinct: int = 0
    rerun: int = 0
    limited: bool = False
    bad: list[Bad] = field(default_factory=list)
    bad_states: int = 0

    def said(self) -> str:
        """One line of counts."""
        return (
            f"{self.operations} operations, {self.tried} states tried, {self.distinct} of them "
            f"distinct, {self.rerun} run again, {self.bad_states} bad"
        )


class Explorer:
    """Tries the states of one recording.

    Args:
        model: of the recording.
        stage: where states are put in place.
        judge: says what is good.
        plan: how much is tried.
        rerun: in which states the same is run again.
    """

    def __init__(
        self, model: Model, stage: Stage, judge: Judge, plan: Plan, rerun: Rerun = "class"
    ) -> None:
        self.model = model
        self._stage = stage
        self._judge = judge
        self.plan = plan
        self._rerun = rerun
        self._kinds: set[Hashable] = set()

    def all(self) -> Findings:
        """Try them all.

        Raises:
            TransientError: the disk did not do it.
        """
        recording = self.model.recording
        found = Findings(len(recording.operations), len(windows(recording)))
        looks: set[str] = set()
        problems: dict[str, int] = {}
        for number, (window, state) in enumerate(states(recording, self.plan)):
            found.tried = number + 1
            look = digest(self.model.tree(state))
            if look in looks:
                continue
            looks.add(look)
            problem = self._first_problem(state, found)
            if problem is None:
                continue
            found.bad_states += 1
            if problem in problems:
                bad = found.bad[problems[problem]]
                found.bad[problems[problem]] = replace(bad, states=bad.states + 1)
            elif len(found.bad) < MOST_REPORTED:
                problems[problem] = len(found.bad)
                least = self._least(window, state)
                found.bad.append(Bad(number, problem, window.end, least, lost(window, least)))
        found.distinct = len(looks)
        found.limited = found.tried >= self.plan.most
        return found

    def one(self, number: int) -> Bad | None:
        """Judge the state of this number alone; its problem is empty if it is good.

        Returns:
            It, or None if there is no such state.

        Raises:
            TransientError: the disk did not do it.
        """
        for count, (window, state) in enumerate(states(self.model.recording, self.plan)):
            if count == number:
                problem = self._problem(state) or ""
                return Bad(number, problem, window.end, state, lost(window, state))
        return None

    def _first_problem(self, state: State, found: Findings) -> str | None:
        """As ``_problem``, with a re-run only where rule 2 wants one."""
        tree = self._stage.show(state)
        problem = self._look(tree)
        if problem is not None:
            return problem
        if not self._wants_rerun(tree):
            return None
        found.rerun += 1
        return self._again(tree)

    def _wants_rerun(self, tree: Tree) -> bool:
        if self._rerun != "class":
            return self._rerun == "all"
        kind = self._judge.kind(tree)
        fresh = kind not in self._kinds
        self._kinds.add(kind)
        return fresh

    def _problem(self, state: State) -> str | None:
        tree = self._stage.show(state)
        problem = self._look(tree)
        if problem is None and self._rerun != "none":
            problem = self._again(tree)
        return problem

    def _look(self, tree: Tree) -> str | None:
        if self._judge.changes:
            self._stage.forget()
        return self._judge.look(tree)

    def _again(self, tree: Tree) -> str | None:
        self._stage.forget()
        return self._judge.again(tree)

    def _least(self, window: Window, state: State) -> State:
        """A state that is bad too, in which as little is lost as was found (rule 3)."""
        for number in reversed(lost(window, state)):
            fewer = restored(state, number)
            if self._problem(fewer) is not None:
                state = fewer
        return state
