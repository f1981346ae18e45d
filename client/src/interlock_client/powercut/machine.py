"""The state of a command while its calls are followed: its processes, and what is watched.

Rules:

1. Descriptors are followed through copies, children and ``exec``, so that each write is known by
   its file and place. A descriptor whose file is watched and that came in another way (through a
   socket, or from before the recording) is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import Live, Spot, refused
from interlock_client.powercut.materialise import Snapshot, Watched
from interlock_client.powercut.processes import Opened, Process
from interlock_client.powercut.trace import Call

_MAKES_A_PROCESS: Final = frozenset({"clone", "clone3", "fork", "vfork"})


class Machine:
    """A command, as far as its calls were followed.

    Args:
        calls: of the whole command.
        start: what was there before.
        what: what is watched.
        first: the process that it began as.

    Attributes:
        live: what is watched, as it is now.
        process: who made the call that is followed now.
        processes: those that were seen, by number.
        marks: how many operations there were when so many calls had ended.
        elsewhere: files that were opened for writing and are not watched.
    """

    def __init__(
        self, calls: Sequence[Call], start: Snapshot, what: Watched, first: Process
    ) -> None:
        self.live = Live(start, what)
        self.what = what
        self._parents = {
            call.result: call
            for call in calls
            if call.name in _MAKES_A_PROCESS and call.result is not None
        }
        self._first = first
        self.process = first
        self.processes: dict[int, Process] = {}
        self.marks = [0]
        self.elsewhere: list[str] = []

    def take(self, call: Call, act: Act) -> None:
        """Follow one call that ended.

        Raises:
            ConfigurationError: ``not_recordable``.
        """
        self.process = self._known(call.process)
        if call.result is not None:
            act(self, call)
        self.marks.append(len(self.live.operations))

    def exited(self, call: Call) -> None:
        """A process is no more."""
        self.processes.pop(call.process, None)

    def _known(self, number: int) -> Process:
        if number not in self.processes:
            made = self._parents.get(number)
            if made is None:
                self.processes[number] = self._first
            else:
                parent = self._known(made.process)
                self.processes[number] = parent.child(" ".join(made.arguments))
        return self.processes[number]

    def absolute(self, at: str | None, path: str) -> str:
        """The absolute path that a call means, by its directory descriptor if it has one."""
        base = self.process.where.directory
        if at is not None:
            number, annotated = trace.descriptor(at)
            if annotated is not None:
                base = annotated
            elif number is not None and not path.startswith("/"):
                raise refused(f"{path} is relative to a descriptor that leads nowhere known")
        return posixpath.join(base, path)

    def spot(self, at: str | None, argument: str) -> Spot | None:
        """The directory and name that a call changes, if that is watched."""
        return self.live.spot(self.absolute(at, trace.path(argument)))

    def opened(self, argument: str) -> Opened | None:
        """The watched file that a descriptor leads to, if it does (rule 1)."""
        number, path = trace.descriptor(argument)
        slot = self.process.files.get(number) if number is not None else None
        if slot is not None:
            return slot.opened
        if path is not None and self.live.node(path) is not None:
            raise refused(
                f"a descriptor of {path} came in a way that was not recorded (rule 1: through a "
                "socket, or from before)"
            )
        return None


Act = Callable[[Machine, Call], None]
"""What one call does."""


def split_at(call: Call, with_directory: str) -> tuple[str | None, tuple[str, ...]]:
    """The directory descriptor of a call, if it is the one with it, and its other arguments."""
    if call.name == with_directory:
        return call.arguments[0], call.arguments[1:]
    return None, call.arguments
