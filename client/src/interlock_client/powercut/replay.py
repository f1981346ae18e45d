"""From the system calls of a command to the operations of the model.

Rules (1 is ``machine``'s, and what each call does is in ``acts``):

2. What cannot be seen or is not in the model is refused as ``not_recordable``, never passed over:
   a file mapped for writing, ``io_uring``, a clone of blocks, a file moved in from elsewhere, a
   call that is not known.
3. A flush covers the calls that had ended when it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from interlock_client.powercut.acts import content, descriptors, names, tasks, unseen
from interlock_client.powercut.live import refused
from interlock_client.powercut.machine import Act, Machine
from interlock_client.powercut.materialise import Snapshot, Watched
from interlock_client.powercut.operations import Recording
from interlock_client.powercut.processes import Process, Where
from interlock_client.powercut.trace import Call

_ACTS: Final[dict[str, Act]] = {
    **descriptors.ACTS,
    **tasks.ACTS,
    **content.ACTS,
    **names.ACTS,
    **unseen.ACTS,
}

TRACED: Final = tuple(_ACTS)
"""The calls that have to be recorded."""
RAW: Final = ("read", "readv")
"""Of these the arguments are recorded as numbers: what is read is not needed."""
FAILED: Final = {"copy_file_range": "ENOSYS", "sendfile": "EINVAL", "splice": "EINVAL"}
"""Calls that move bytes without showing them: while recording they fail as on an old kernel, and
programs fall back to reading and writing."""


def replay(
    calls: Sequence[Call], start: Snapshot, what: Watched, *, directory: str, umask: int
) -> Recording:
    """The operations that calls make on what is watched.

    Args:
        calls: of the whole command, in the order in which they ended.
        start: what was there before.
        what: what is watched.
        directory: in which the first process began.
        umask: of the first process.

    Raises:
        ConfigurationError: ``not_recordable`` (rules 1 and 2).
        WireError: the trace cannot be read.
    """
    machine = Machine(calls, start, what, Process(Where(directory, umask)))
    for call in calls:
        if call.name == "exited":
            machine.exited(call)
            continue
        act = _ACTS.get(call.name, _unknown)
        machine.take(call, act)
    live = machine.live
    elsewhere = tuple(machine.elsewhere)
    return Recording(start.roots, live.nodes, start.entries, live.operations, elsewhere)


def _unknown(machine: Machine, call: Call) -> None:  # noqa: ARG001  # as each act
    raise refused(f"the call {call.name} is not known")
