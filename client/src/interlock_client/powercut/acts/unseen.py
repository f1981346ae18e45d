"""Calls that change a file without showing how, or that the model does not know: rule 2 of
``replay``.
"""

from __future__ import annotations

from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import refused
from interlock_client.powercut.machine import Act, Machine, split_at
from interlock_client.powercut.trace import Call

_CHANGES_BLOCKS: Final = ("CLONE", "DEDUPE", "BLKDISCARD", "BLKZEROOUT", "BLKSECDISCARD")


def _mmap(machine: Machine, call: Call) -> None:
    protection, flags, descriptor = call.arguments[2:5]
    if "PROT_WRITE" in protection and "MAP_SHARED" in flags and not descriptor.startswith("-1"):
        opened = machine.opened(descriptor)
        if opened is not None:
            raise refused("it maps a watched file into memory for writing, which no call shows")


def _hidden(machine: Machine, call: Call) -> None:  # noqa: ARG001  # as each act
    raise refused(f"it uses {call.name}, which does not show what is written")


def _special(machine: Machine, call: Call) -> None:
    at, rest = split_at(call, "mknodat")
    if machine.spot(at, rest[0]) is not None:
        raise refused(f"it makes a special file ({trace.path(rest[0])})")


def _ioctl(machine: Machine, call: Call) -> None:
    what = call.arguments[1]
    if what in {"FIOCLEX", "FIONCLEX"}:
        number, _ = trace.descriptor(call.arguments[0])
        machine.process.closing(number, closes=what == "FIOCLEX")
    if any(name in what for name in _CHANGES_BLOCKS) and machine.opened(call.arguments[0]):
        raise refused(f"{what} is not in the model")


def _copied(machine: Machine, call: Call) -> None:
    # Made to fail while it is recorded, so that the program writes what it would have copied.
    for argument in call.arguments:
        if "<" in argument and machine.opened(argument) is not None:
            raise refused(f"it uses {call.name}, which does not show what is written")


def _nothing(machine: Machine, call: Call) -> None:
    """Nothing of a file changes."""


ACTS: Final[dict[str, Act]] = {
    "sync_file_range": _nothing,
    "msync": _nothing,
    "mknod": _special,
    "mknodat": _special,
    "mmap": _mmap,
    "ioctl": _ioctl,
    "io_uring_setup": _hidden,
    "io_submit": _hidden,
    "copy_file_range": _copied,
    "sendfile": _copied,
    "splice": _copied,
}
