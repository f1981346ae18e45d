"""One file or block device that an image's bytes go to, and may go on going to (I/O).

Rules:

1. What is called ``before`` has returned before the first byte changes: where the destination is a
   slot, that makes sure that nothing boots what is written from here on.
2. Bytes are written once, where they belong: there is no copy beside them. What was flushed may be
   kept by whoever wrote it, and can be read again to be hashed.
3. A file is cut to the length that was written; a device keeps its size.
4. Neither a pipe nor anything else that is no file and no block device is written to, or waited
   for.
5. What is read is read from the disk, past the page cache, where the kernel lets it.
6. A device that is in use (mounted, say) is not written: it is opened exclusively, and the kernel
   says no. So settings that name the side that runs by mistake are found before they do harm.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_core import disk, durable
from interlock_core.errors import ConfigurationError

# A pipe that somebody put in its place is an error, and nothing to wait for (rule 4).
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
# Of a block device O_EXCL without O_CREAT means: unless it is in use (rule 6; man 2 open).
_ALONE: Final = os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK


def _nothing() -> None:
    """Nothing has to be done before."""


@dataclass(frozen=True)
class Destination:
    """Where bytes go.

    Attributes:
        path: the file or block device; a file is made if it is missing.
        mode: permission bits of a file that is made.
        before: called before the first byte changes; durable when it returns (rule 1).
    """

    path: Path
    mode: int = 0o600
    before: Callable[[], None] = _nothing

    def room(self) -> int:
        """Bytes that what goes here may have.

        Raises:
            ConfigurationError: there can be no such file, or there is no such device.
            TransientError: the disk did not say.
        """
        path = self.path
        with durable.translated("look at", path):
            if path.is_block_device():
                return _device_size(path)
            if not path.parent.is_dir() or (not path.exists() and path.is_relative_to("/dev")):
                raise ConfigurationError(f"There is no slot {path}: mend [installer].")
            system = os.statvfs(path.parent)
            held = path.stat().st_blocks * 512 if path.exists() else 0
            return system.f_bavail * system.f_frsize + held

    def size(self) -> int:
        """Bytes that it holds now; 0 of a file that is not there.

        Raises:
            TransientError: the disk did not say.
        """
        with durable.translated("look at", self.path):
            if self.path.is_block_device():
                return _device_size(self.path)
            return self.path.stat().st_size if self.path.exists() else 0

    @contextmanager
    def open(self, keep: int = 0) -> Iterator[Writer]:
        """Open it to be written from offset ``keep`` on.

        Raises:
            ConfigurationError: it is neither a file nor a block device (rule 4), or a device in use
                (rule 6).
            TransientError: the disk did not do it.
        """
        self.before()
        path = self.path
        with durable.translated("open", path):
            if path.exists() and not (path.is_file() or path.is_block_device()):
                raise _neither(path)
            disk.step("make", path)
            if path.is_block_device():
                descriptor = _alone(path, os.O_RDWR)
            else:
                descriptor = os.open(path, _WRITE, self.mode)
        try:
            with durable.translated("open", path):
                kind = os.fstat(descriptor).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
                raise _neither(path)
            yield Writer(path, descriptor, keep)
        finally:
            os.close(descriptor)

    @contextmanager
    def reading(self) -> Iterator[int]:
        """A descriptor to read what it holds, from the disk (rule 5).

        Raises:
            TransientError: there is nothing there, or the disk did not do it.
        """
        with durable.translated("read", self.path):
            descriptor = os.open(self.path, _READ)
        try:
            with durable.translated("read", self.path):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """What stands at ``offset``: ``length`` bytes, or fewer where it ends.

        It may come from the page cache: where that is the slot that runs, others need the cache.

        Raises:
            TransientError: there is nothing there, or the disk did not do it.
        """
        with durable.translated("read", self.path):
            descriptor = os.open(self.path, _READ)
            try:
                return _read(descriptor, offset, length)
            finally:
                os.close(descriptor)


class Writer:
    """An open destination.

    Every method raises ``TransientError`` when the disk fails.

    Args:
        path: for messages.
        descriptor: open to read and to write; it belongs to whoever opened it.
        offset: where the next byte goes.
    """

    def __init__(self, path: Path, descriptor: int, offset: int) -> None:
        self.path = path
        self.offset = offset
        self._descriptor = descriptor

    def read(self, offset: int, length: int) -> bytes:
        """What stands at ``offset``: ``length`` bytes, or fewer where it ends (rule 5)."""
        with durable.translated("read", self.path):
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
            return _read(self._descriptor, offset, length)

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Write ``chunk`` behind what was written before; it is not flushed."""
        with durable.translated("write", self.path):
            disk.step("write", self.path)
            with memoryview(chunk) as whole:
                view = whole
                while view:
                    done = os.pwrite(self._descriptor, view, self.offset)
                    self.offset += done
                    view = view[done:]

    def flush(self) -> None:
        """Put on the disk what was written until now."""
        with durable.translated("write", self.path):
            disk.step("sync", self.path)
            os.fdatasync(self._descriptor)

    def finish(self) -> None:
        """Make what was written the whole of it (rule 3), durable with its name."""
        with durable.translated("write", self.path):
            if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                disk.step("write", self.path)
                os.ftruncate(self._descriptor, self.offset)
            disk.step("sync", self.path)
            os.fsync(self._descriptor)
            disk.sync_directory(self.path.parent)


def _read(descriptor: int, offset: int, length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := os.pread(descriptor, length, offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def _neither(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is neither a file nor a block device: mend [installer], or what stands there."
    )


def _alone(path: Path, flags: int) -> int:
    """A descriptor of a block device that nobody else uses."""
    try:
        return os.open(path, flags | _ALONE)
    except OSError as e:
        if e.errno != errno.EBUSY:
            raise
        raise ConfigurationError(
            f"The slot {path} is in use, mounted perhaps, and is not written: unmount it; or mend "
            "[installer], if it belongs to the side that runs."
        ) from e


def _device_size(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
