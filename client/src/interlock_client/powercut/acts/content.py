"""What calls do to the content of files, and which flush it (rules of ``replay``).

A flush covers the calls that had ended when it began (rule 3).
"""

from __future__ import annotations

from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import refused
from interlock_client.powercut.machine import Act, Machine
from interlock_client.powercut.trace import Call


def _read(machine: Machine, call: Call) -> None:
    # The arguments of reads are raw: a number in hexadecimal, and no path.
    slot = machine.process.files.get(int(call.arguments[0], 16))
    if slot is not None and call.result is not None:
        slot.opened.offset += call.result


def _lseek(machine: Machine, call: Call) -> None:
    opened = machine.opened(call.arguments[0])
    if opened is not None and call.result is not None:
        opened.offset = call.result


def _write(machine: Machine, call: Call) -> None:
    opened = machine.opened(call.arguments[0])
    if opened is None:
        return
    assert call.result is not None
    plain = call.name in {"write", "pwrite64"}
    whole = trace.string(call.arguments[1]) if plain else trace.buffers(call.arguments[1])
    if call.result > len(whole):
        raise refused("a write is longer than the recording takes: write in smaller pieces")
    data = whole[: call.result]
    given = trace.integer(call.arguments[3]) if call.name.startswith("pwrite") else -1
    flags = call.arguments[4] if call.name == "pwritev2" and len(call.arguments) > 4 else ""
    if opened.append or "RWF_APPEND" in flags:
        # Linux appends with pwrite too where the file was opened so.
        offset = machine.live.size(opened.node)
    else:
        offset = given if given >= 0 else opened.offset
    if given < 0:
        opened.offset = offset + len(data)
    machine.live.write(opened.node, offset, data)
    if opened.syncs or "RWF_DSYNC" in flags or "RWF_SYNC" in flags:
        machine.live.flush({opened.node}, len(machine.live.operations))


def _truncate(machine: Machine, call: Call) -> None:
    if call.name == "ftruncate":
        opened = machine.opened(call.arguments[0])
        node = opened.node if opened is not None else None
    else:
        path = machine.absolute(None, trace.path(call.arguments[0]))
        node = machine.live.node(machine.live.real(path))
    if node is not None:
        machine.live.resize(node, trace.integer(call.arguments[1]))


def _fallocate(machine: Machine, call: Call) -> None:
    opened = machine.opened(call.arguments[0])
    if opened is None:
        return
    mode = set(call.arguments[1].split("|"))
    offset, length = (trace.integer(argument) for argument in call.arguments[2:4])
    if mode - {"0", "FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_ZERO_RANGE"}:
        raise refused(f"fallocate with {call.arguments[1]} is not in the model")
    if mode & {"FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_ZERO_RANGE"}:
        machine.live.clear(opened.node, offset, length)
    if "FALLOC_FL_KEEP_SIZE" not in mode:
        size = machine.live.size(opened.node)
        machine.live.resize(opened.node, max(size, offset + length))


def _chmod(machine: Machine, call: Call) -> None:
    if call.name == "fchmod":
        opened = machine.opened(call.arguments[0])
        node, mode = opened.node if opened is not None else None, call.arguments[1]
    else:
        at = call.arguments[0] if call.name != "chmod" else None
        rest = call.arguments if at is None else call.arguments[1:]
        node = machine.live.node(machine.live.real(machine.absolute(at, trace.path(rest[0]))))
        mode = rest[1]
    if node is not None:
        machine.live.mode(node, trace.integer(mode))


def _fsync(machine: Machine, call: Call) -> None:
    opened = machine.opened(call.arguments[0])
    if opened is not None:
        modes = call.name == "fsync"
        machine.live.flush({opened.node}, machine.marks[call.began], modes=modes)


def _sync(machine: Machine, call: Call) -> None:
    machine.live.flush(set(machine.live.nodes), machine.marks[call.began])


def _syncfs(machine: Machine, call: Call) -> None:
    opened = machine.opened(call.arguments[0])
    if opened is not None:
        system = machine.live.nodes[opened.node].system
        there = {number for number, node in machine.live.nodes.items() if node.system == system}
        machine.live.flush(there, machine.marks[call.began])


ACTS: Final[dict[str, Act]] = {
    "read": _read,
    "readv": _read,
    "lseek": _lseek,
    "write": _write,
    "writev": _write,
    "pwrite64": _write,
    "pwritev": _write,
    "pwritev2": _write,
    "truncate": _truncate,
    "ftruncate": _truncate,
    "fallocate": _fallocate,
    "chmod": _chmod,
    "fchmod": _chmod,
    "fchmodat": _chmod,
    "fchmodat2": _chmod,
    "fsync": _fsync,
    "fdatasync": _fsync,
    "sync": _sync,
    "syncfs": _syncfs,
}
