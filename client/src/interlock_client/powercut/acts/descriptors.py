"""How calls open files, and copy and close descriptors (rules of ``replay``).

A file that is opened for writing and is not watched is noted, so that it can be said.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import Spot, refused
from interlock_client.powercut.machine import Act, Machine
from interlock_client.powercut.processes import Opened
from interlock_client.powercut.trace import Call

_NO_DISK: Final = ("/dev/", "/proc/", "/sys/", "/run/")


def _open(machine: Machine, call: Call) -> None:
    assert call.result is not None
    named = call.arguments[1:] if call.name in {"openat", "openat2"} else call.arguments
    flags, mode = "O_CREAT|O_TRUNC", named[-1]
    if call.name == "openat2":
        how = re.match(r"\{flags=([A-Z_|]+)(?:, mode=(0[0-7]*))?", named[1])
        if how is None:
            raise refused(f"openat2 with {named[1][:60]} is not understood")
        flags, mode = how[1], how[2] or "0"
    elif call.name != "creat":
        flags = named[1]
    makes = "O_CREAT" in flags or "O_TMPFILE" in flags
    opened = _file(machine, call.path, flags, trace.integer(mode) if makes else 0)
    machine.process.put(call.result, opened, closes="O_CLOEXEC" in flags)


def _file(machine: Machine, path: str | None, flags: str, mode: int) -> Opened | None:
    if path is None:
        return None
    words = flags.split("|")
    syncs = "O_SYNC" in words or "O_DSYNC" in words
    above, name = posixpath.split(path)
    if "O_TMPFILE" in words:
        directory = machine.live.node(above)
        if directory is None:
            return None
        node = machine.live.new("file", mode & ~machine.process.where.umask, directory)
        return Opened(node, syncs=syncs)
    found = machine.live.node(path)
    if found is None:
        directory = machine.live.node(above)
        if directory is None or machine.what.ignores(name):
            _note_elsewhere(machine, path, words)
            return None
        if "O_CREAT" not in words:
            raise refused(f"{path} came there in a way that was not recorded")
        found = machine.live.new("file", mode & ~machine.process.where.umask, directory)
        machine.live.add(Spot(directory, name), found)
    elif "O_TRUNC" in words and machine.live.nodes[found].kind == "file":
        machine.live.resize(found, 0)
    return Opened(found, append="O_APPEND" in words, syncs=syncs)


def _note_elsewhere(machine: Machine, path: str, flags: list[str]) -> None:
    writes = "O_WRONLY" in flags or "O_RDWR" in flags
    if writes and not path.startswith(_NO_DISK) and path not in machine.elsewhere:
        machine.elsewhere.append(path)


def _close(machine: Machine, call: Call) -> None:
    number, _ = trace.descriptor(call.arguments[0])
    if number is not None:
        machine.process.files.pop(number, None)


def _close_range(machine: Machine, call: Call) -> None:
    first, last = (trace.integer(argument) for argument in call.arguments[:2])
    only_marks = "CLOSE_RANGE_CLOEXEC" in call.arguments[2]
    if "CLOSE_RANGE_UNSHARE" in call.arguments[2]:
        machine.process.unshare()
    for number in [number for number in machine.process.files if first <= number <= last]:
        if only_marks:
            machine.process.closing(number, closes=True)
        else:
            del machine.process.files[number]


def _dup(machine: Machine, call: Call) -> None:
    assert call.result is not None
    opened = machine.opened(call.arguments[0])
    closes = "O_CLOEXEC" in call.arguments[2:]
    machine.process.put(call.result, opened, closes=closes)


def _fcntl(machine: Machine, call: Call) -> None:
    command = call.arguments[1]
    assert call.result is not None
    if command in {"F_DUPFD", "F_DUPFD_CLOEXEC"}:
        opened = machine.opened(call.arguments[0])
        machine.process.put(call.result, opened, closes=command == "F_DUPFD_CLOEXEC")
    elif command == "F_SETFD":
        number, _ = trace.descriptor(call.arguments[0])
        machine.process.closing(number, closes="FD_CLOEXEC" in call.arguments[2])
    elif command == "F_SETFL":
        opened = machine.opened(call.arguments[0])
        if opened is not None:
            opened.append = "O_APPEND" in call.arguments[2]


ACTS: Final[dict[str, Act]] = {
    "open": _open,
    "openat": _open,
    "openat2": _open,
    "creat": _open,
    "close": _close,
    "close_range": _close_range,
    "dup": _dup,
    "dup2": _dup,
    "dup3": _dup,
    "fcntl": _fcntl,
}
