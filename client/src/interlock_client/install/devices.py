"""How this machine's block devices lie on one another, and which are in use (I/O).

Rules (``layers`` has those of what follows from it):

1. What the kernel says counts, not names: the file behind a loop device is known by the numbers
   that the device itself states. Its path is asked only where the device cannot be.
2. Whether a device is in use is asked by opening it exclusively, which the kernel refuses for what
   is mounted in any namespace, mapped, part of an array, or swap.
3. What cannot be looked at is an error, and never taken for unused; what has gone meanwhile is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from interlock_client.install.layers import Extent, Layers, Thing
from interlock_core import durable
from interlock_core.errors import ConfigurationError

_SECTOR: Final = 512
_ALONE: Final = os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK
_LOOK: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_LOOP_GET_STATUS64: Final = 0x4C05
_LOOP_INFO64: Final = struct.Struct("=QQQ208x")
"""``struct loop_info64``: device, inode and device number of what is behind; man 4 loop."""
_GONE: Final = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM})
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_ROOT: Final = Path("/")


def thing(path: Path) -> Thing | None:
    """What a path leads to; None if that is neither a file nor a block device.

    Raises:
        OSError: the disk did not say.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISBLK(found.st_mode):
        return Thing("device", found.st_rdev)
    if stat.S_ISREG(found.st_mode):
        return Thing("file", found.st_dev, found.st_ino)
    return None


def same(one: Path, other: Path, root: Path = _ROOT) -> bool:
    """Whether two paths, of which one is a device, lead to the same bytes, by whatever names.

    Args:
        one: a path.
        other: another.
        root: where ``/sys``, ``/proc`` and ``/dev`` are.

    Raises:
        OSError: the disk did not say.
    """
    found, beside = thing(one), thing(other)
    return found is not None and beside is not None and read(root).one(found, beside)


def require_unused(path: Path, root: Path = _ROOT) -> None:
    """See that nothing on this machine uses the bytes of a slot.

    Args:
        path: the slot; what is neither a file nor a device is not looked at.
        root: as for ``same``.

    Raises:
        ConfigurationError: something does.
        TransientError: the machine did not say (rule 3).
    """
    with durable.translated("look at", path):
        slot = thing(path)
        if slot is None:
            return
        users, used = read(root).users(slot)
    if used:
        raise _in_use(path, "as swap, or mounted as a file")
    for user in sorted(users):
        named = path if user == slot else _node(user, root)
        if named is not None:
            with durable.translated("open", named):
                if _claimed(user, named, root):
                    how = "mounted perhaps" if user == slot else f"through {named.name}"
                    raise _in_use(path, how)


def read(root: Path = _ROOT) -> Layers:
    """How the devices lie on one another now.

    Raises:
        OSError: the machine did not say.
    """
    loops: dict[Thing, Extent] = {}
    partitions: dict[Thing, Extent] = {}
    members: dict[Thing, tuple[Thing, ...]] = {}
    for entry in _entries(root / "sys/class/block"):
        device = _numbered(entry)
        if device is None:
            continue
        if (behind := _behind(entry, root)) is not None:
            loops[device] = behind
        if (part := _part(entry)) is not None:
            partitions[device] = part
        made_of = (_numbered(one) for one in _entries(entry / "slaves"))
        if found := tuple(one for one in made_of if one is not None):
            members[device] = found
    return Layers(loops, partitions, members, frozenset(_files(root)))


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except FileNotFoundError:
        return []


def _said(path: Path) -> str | None:
    """What a file of the kernel's says; None if it is not there, or its device has gone."""
    try:
        return path.read_text(errors="surrogateescape").rstrip("\n")
    except OSError as e:
        if e.errno in _GONE or e.errno == errno.ENOTDIR:
            return None
        raise


def _numbered(entry: Path) -> Thing | None:
    said = _said(entry / "dev")
    if said is None:
        return None
    major, _, minor = said.partition(":")
    return Thing("device", os.makedev(int(major), int(minor)))


def _part(entry: Path) -> Extent | None:
    """Where on its disk a partition lies."""
    if _said(entry / "partition") is None:
        return None
    disk = _numbered(entry.resolve().parent)
    start, size = (_said(entry / name) for name in ("start", "size"))
    if disk is None or start is None or size is None:
        return None
    first = int(start) * _SECTOR
    return Extent(disk, first, first + int(size) * _SECTOR)


def _behind(entry: Path, root: Path) -> Extent | None:
    """What a loop device was set up on, if it was (rule 1)."""
    path = _said(entry / "loop/backing_file")
    if path is None:
        return None
    behind = _stated(root / "dev" / entry.name) or thing(root / path.lstrip("/"))
    if behind is None:
        return None
    start = int(_said(entry / "loop/offset") or 0)
    limit = int(_said(entry / "loop/sizelimit") or 0)
    return Extent(behind, start, start + limit) if limit else Extent(behind, start)


def _stated(device: Path) -> Thing | None:
    """What a loop device itself says is behind it; None if it cannot be asked."""
    try:
        descriptor = os.open(device, _LOOK)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(descriptor, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64.size))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    holder, inode, itself = _LOOP_INFO64.unpack(answer)
    return Thing("device", itself) if itself else Thing("file", holder, inode)


def _files(root: Path) -> Iterator[Thing]:
    """Files that are swap, or mounted without a device."""
    for line in (_said(root / "proc/swaps") or "").splitlines()[1:]:
        yield from _file(line.split()[0], root)
    for line in (_said(root / "proc/self/mountinfo") or "").splitlines():
        # man 5 proc_pid_mountinfo: after the dash come the type and the source.
        source = line.partition(" - ")[2].split(" ")[1:2]
        yield from _file(source[0] if source else "", root)


def _file(escaped: str, root: Path) -> Iterator[Thing]:
    if not escaped.startswith("/") or escaped.startswith("/dev/"):
        return
    path = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), escaped)
    with suppress(OSError):
        found = thing(root / path.lstrip("/"))
        if found is not None and found.kind == "file":
            yield found


def _node(device: Thing, root: Path) -> Path | None:
    """The file in ``/dev`` by which a device is opened; None if the device has gone."""
    number = f"{os.major(device.device)}:{os.minor(device.device)}"
    for entry in _entries(root / "sys/class/block"):
        if _said(entry / "dev") == number:
            return root / "dev" / entry.name.replace("!", "/")
    return None


def _claimed(device: Thing, named: Path, root: Path) -> bool:
    """Whether a device is in use (rule 2); what has gone is not."""
    try:
        os.close(os.open(named, _ALONE))
    except OSError as e:
        if e.errno == errno.EBUSY:
            return True
        # One that the kernel still lists has not gone: where no node leads to it, nobody knows.
        listed = e.errno == errno.ENOENT and _node(device, root) is not None
        if listed or e.errno not in _GONE:
            raise
    return False


def _in_use(path: Path, how: str) -> ConfigurationError:
    return ConfigurationError(
        f"The slot {path} is in use, {how}, and is not written: unmount it; or mend [installer], "
        "if it belongs to the side that runs."
    )
