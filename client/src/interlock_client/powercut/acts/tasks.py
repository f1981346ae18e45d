"""How processes and threads come to be, and what they have of their own (rules of ``replay``)."""

from __future__ import annotations

from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import refused
from interlock_client.powercut.machine import Act, Machine
from interlock_client.powercut.trace import Call


def _execve(machine: Machine, call: Call) -> None:  # noqa: ARG001  # each act takes its call
    machine.process.exec()


def _fork(machine: Machine, call: Call) -> None:
    assert call.result is not None
    if any("CLONE_NEWNS" in argument for argument in call.arguments):
        raise refused("it has mounts of its own")
    if call.result not in machine.processes:
        machine.processes[call.result] = machine.process.child(" ".join(call.arguments))


def _unshare(machine: Machine, call: Call) -> None:
    if "CLONE_NEWNS" in call.arguments[0]:
        raise refused("it has mounts of its own")
    machine.process.unshare()


def _chdir(machine: Machine, call: Call) -> None:
    path = machine.absolute(None, trace.path(call.arguments[0]))
    machine.process.where.directory = machine.live.real(path)


def _fchdir(machine: Machine, call: Call) -> None:
    _, path = trace.descriptor(call.arguments[0])
    if path is None:
        raise refused("it went to a directory that is not known")
    machine.process.where.directory = path


def _umask(machine: Machine, call: Call) -> None:
    machine.process.where.umask = trace.integer(call.arguments[0])


ACTS: Final[dict[str, Act]] = {
    "execve": _execve,
    "execveat": _execve,
    "clone": _fork,
    "clone3": _fork,
    "fork": _fork,
    "vfork": _fork,
    "unshare": _unshare,
    "chdir": _chdir,
    "fchdir": _fchdir,
    "umask": _umask,
}
