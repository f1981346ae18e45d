"""What calls do to names: made, removed, renamed, linked (rules of ``replay``).

A file that is moved or linked in from what is not watched is refused (rule 2).
"""

from __future__ import annotations

import posixpath
from typing import Final

from interlock_client.powercut import trace
from interlock_client.powercut.live import Spot, refused
from interlock_client.powercut.machine import Act, Machine, split_at
from interlock_client.powercut.trace import Call


def _mkdir(machine: Machine, call: Call) -> None:
    at, rest = split_at(call, "mkdirat")
    spot = machine.spot(at, rest[0])
    if spot is not None:
        mode = trace.integer(rest[1]) & ~machine.process.where.umask
        machine.live.add(spot, machine.live.new("directory", mode, spot.directory))


def _symlink(machine: Machine, call: Call) -> None:
    at = call.arguments[1] if call.name == "symlinkat" else None
    spot = machine.spot(at, call.arguments[-1])
    if spot is not None:
        target = trace.string(call.arguments[0])
        machine.live.add(spot, machine.live.new("link", 0o777, spot.directory, target))


def _unlink(machine: Machine, call: Call) -> None:
    at, rest = split_at(call, "unlinkat")
    spot = machine.spot(at, rest[0])
    if spot is not None:
        machine.live.remove(spot)


def _link(machine: Machine, call: Call) -> None:
    if call.name == "link":
        source = machine.spot(None, call.arguments[0])
        spot = machine.spot(None, call.arguments[1])
        node = machine.live.entries.get(source) if source is not None else None
    else:
        spot = machine.spot(*call.arguments[2:4])
        node = _linked(machine, call)
    if spot is None:
        return
    if node is None:
        raise refused(f"{spot.name} is a link to a file that is not watched")
    machine.live.add(spot, node)


def _linked(machine: Machine, call: Call) -> int | None:
    path = trace.path(call.arguments[1])
    if path == "":
        opened = machine.opened(call.arguments[0])
        return opened.node if opened is not None else None
    above, name = posixpath.split(path)
    if above in {"/proc/self/fd", "/dev/fd"} and name.isdigit():
        slot = machine.process.files.get(int(name))
        return slot.opened.node if slot is not None else None
    spot = machine.spot(call.arguments[0], call.arguments[1])
    return machine.live.entries.get(spot) if spot is not None else None


def _rename(machine: Machine, call: Call) -> None:
    if call.name == "rename":
        old = machine.spot(None, call.arguments[0])
        new = machine.spot(None, call.arguments[1])
    else:
        old = machine.spot(*call.arguments[:2])
        new = machine.spot(*call.arguments[2:4])
    flags = call.arguments[4] if call.name == "renameat2" else "0"
    if "RENAME_WHITEOUT" in flags:
        raise refused("a rename with a whiteout is not in the model")
    if old is None and new is None:
        return
    if old is None or new is None:
        name = (old or new or Spot(0, "?")).name
        raise refused(
            f"{name} is moved between what is watched and elsewhere; watch both directories"
        )
    machine.live.move(old, new, exchange="RENAME_EXCHANGE" in flags)


ACTS: Final[dict[str, Act]] = {
    "mkdir": _mkdir,
    "mkdirat": _mkdir,
    "symlink": _symlink,
    "symlinkat": _symlink,
    "unlink": _unlink,
    "unlinkat": _unlink,
    "rmdir": _unlink,
    "link": _link,
    "linkat": _link,
    "rename": _rename,
    "renameat": _rename,
    "renameat2": _rename,
}
