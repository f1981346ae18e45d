"""A gateway whose commands are recorded as real processes, and judged in every state."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import cast

from interlock_client import boot
from interlock_client.powercut.explore import Explorer, Findings, Rerun
from interlock_client.powercut.materialise import Stage, Watched, watched
from interlock_client.powercut.model import Model, Tree
from interlock_client.powercut.operations import Recording
from interlock_client.powercut.record import record
from interlock_client.powercut.states import Plan
from interlock_client.powercut.wording import Words
from interlock_core.errors import InterlockError
from tests.client.bed import Bed

CLIENT = Path(sys.executable).with_name("interlock-client")
IGNORED = ("rebooting",)
PLAN = Plan(samples=int(os.environ.get("POWER_SAMPLES", "4")))
"""More by hand: the systematic states are always the same."""
RERUN = cast("Rerun", os.environ.get("POWER_RERUN", "class"))
"""``all`` by hand: the same is run again in each distinct state."""


class Gateway:
    """A bed whose whole directory is watched."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.config = bed.write_config()
        self.watched: Watched = watched([bed.home], IGNORED)
        self.versions = bed.memory.versions

    def record(self, *words: str, codes: Sequence[int] = (0,)) -> Recording:
        """Run one command of the client as it is, and return what it did."""
        self.versions = self.bed.memory.versions
        command = [str(CLIENT), *words, "--config", str(self.config)]
        return record(command, self.watched, directory=self.bed.home, codes=codes)

    def put(self, recording: Recording) -> None:
        """What the recorded command left without any power cut."""
        model = Model(recording)
        Stage(self.watched, model).show(model.whole)

    def explore(
        self,
        recording: Recording,
        good: Sequence[bytes],
        ends: Callable[[], None],
        plan: Plan = PLAN,
    ) -> Findings:
        """Try every state; what is bad is described in ``Findings.bad``, and said."""
        model = Model(recording)
        judge = Judge(self.bed, self.versions, good, ends)
        found = Explorer(model, Stage(self.watched, model), judge, plan, RERUN).all()
        words = Words(model, self.bed.home)
        said = [found.said()]
        for bad in found.bad:
            lost = words.lost(bad.lost, bad.state)
            said.append(f"{bad.number} before {bad.end}: {bad.problem}, {bad.states} such: {lost}")
        sys.stdout.write("\n".join(said) + "\n")
        return found

    def look(self, recording: Recording, good: Sequence[bytes]) -> Findings:
        """Try every state, and run nothing again."""
        model = Model(recording)
        judge = Judge(self.bed, self.versions, good, lambda: None)
        stage = Stage(self.watched, model)
        return Explorer(model, stage, judge, Plan(samples=0), "none").all()


class Judge:
    """What boots is good, what is kept can be read and forgot nothing, and a re-run ends well."""

    changes = False

    def __init__(
        self,
        bed: Bed,
        versions: dict[str, int],
        good: Sequence[bytes],
        ends: Callable[[], None],
    ) -> None:
        self.bed = bed
        self.good = good
        self.ends = ends
        self.versions = versions

    def look(self, tree: Tree) -> str | None:
        slot, _ = boot.select(self.bed.environment.load())
        if self.bed.slot(slot) not in self.good:
            return f"slot {slot} boots, and it holds nothing good"
        try:
            memory = self.bed.memory
            self.bed.journal  # noqa: B018  # whether it can be read
        except InterlockError as e:
            return f"{e.reason}: {e}"
        for role, version in self.versions.items():
            if memory.versions.get(role, 0) < version:
                return f"the floor of {role} fell"
        return None

    def kind(self, tree: Tree) -> Hashable:
        """What the agent reads; temporary files and copies that were not adopted are swept."""
        state = f"{self.bed.home}/state/"
        link = Path(f"{state}trusted")
        trusted = f"{state}{link.readlink()}/" if link.is_symlink() else None
        parts = set()
        for path, item in tree.items():
            name = path.rpartition("/")[2]
            if trusted is not None and path.startswith(trusted):
                parts.add((path.removeprefix(trusted), item.sha256))
            elif not (
                name.startswith((".interlock-", "trusted"))
                or f"{state}trusted-" in path
                or "/boot/" in path
            ):
                parts.add((path, item.sha256))
        return (frozenset(parts), self.bed.environment.load())

    def again(self, tree: Tree) -> str | None:
        try:
            self.ends()
        except (AssertionError, InterlockError) as e:
            return f"{type(e).__name__}: {e}"
        return None
