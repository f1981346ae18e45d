"""The small acts on a disk that ``durable`` is made of (I/O).

Rules:

1. Every change of the file system is announced to ``step`` just before it happens, so that one
   place can enumerate the changes, or stop before any of them as a power cut would.
2. Bytes are written in one place, ``written``: to a temporary file, flushed before it is handed
   on. Nothing here gives a file a name that anybody looks for before its content is on the disk.
3. Temporary files are called ``.interlock-<random>.partial``: no name that Interlock accepts
   begins with a dot, so they are never served or listed, and ``durable.sweep`` finds them.
4. A fault of the disk becomes a ``TransientError`` that names the path and what to do.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from interlock_core.errors import TransientError

_TEMPORARY: Final = re.compile(r"\.interlock-[0-9a-f]{16}\.partial\Z")

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

_ADVICE: Final = {
    errno.ENOSPC: "the disk is full; free some space and run this again",
    errno.EDQUOT: "the disk quota is used up; free some space and run this again",
    errno.EROFS: "the file system is read-only; remount it writable and run this again",
    errno.EACCES: "permission is denied; run this as a user who may",
    errno.EPERM: "permission is denied; run this as a user who may",
    errno.ENOENT: "a directory on its path does not exist; make it first",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EIO: "the disk reported an error; check it before going on",
}

_watcher: Callable[[str, Path], None] | None = None


@contextmanager
def watching(callback: Callable[[str, Path], None]) -> Iterator[None]:
    """Call ``callback(act, path)`` just before each change of the file system (rule 1).

    ``act`` is one of ``make``, ``write``, ``sync``, ``link``, ``rename``, ``symlink``,
    ``unlink``, ``mkdir`` and ``sync_directory``. What the callback raises stops the work there,
    as a power cut would. For tests and crash exploration; it holds for the whole process.
    """
    global _watcher  # noqa: PLW0603  # the file system is one for the process, so is its watcher
    before = _watcher
    _watcher = callback
    try:
        yield
    finally:
        _watcher = before


def step(act: str, path: Path) -> None:
    """Announce a change that is about to happen (rule 1)."""
    if _watcher is not None:
        _watcher(act, path)


@contextmanager
def translated(verb: str, path: Path) -> Iterator[None]:
    """Turn an OSError about ``path`` into a TransientError that says what to do (rule 4).

    Args:
        verb: what was being done: "write", "read" ...
        path: what it was done to.
    """
    try:
        yield
    except OSError as e:
        advice = _ADVICE.get(e.errno or 0, f"{e.strerror or e}; mend that and run this again")
        raise TransientError(f"Cannot {verb} {path}: {advice}.", reason="disk") from e


def is_temporary(name: str) -> bool:
    """Whether a file of this name is what a crash left of an unfinished write (rule 3)."""
    return _TEMPORARY.match(name) is not None


def temporary_beside(path: Path) -> Path:
    """A fresh temporary name in the directory of ``path`` (rule 3)."""
    return path.with_name(f".interlock-{os.urandom(8).hex()}.partial")


@contextmanager
def written(path: Path, chunks: Iterable[bytes], mode: int, mtime: int | None) -> Iterator[Path]:
    """A complete, flushed temporary file beside ``path``; removed at the end unless renamed.

    Args:
        path: what the file is going to be.
        chunks: its content.
        mode: permission bits, whatever the umask says.
        mtime: modification time in seconds since 1970, or None for now.

    Raises:
        OSError: the disk did not do it.
    """
    temporary = temporary_beside(path)
    step("make", temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  # by descriptor
            # FAT has no such bits and says so; the file was made by us, 0600, a moment ago.
            with suppress(PermissionError):
                os.fchmod(descriptor, mode)
            for chunk in chunks:
                step("write", temporary)
                _write_all(file, chunk)
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
            step("sync", temporary)
            os.fsync(descriptor)
        yield temporary
    finally:
        discard(temporary)


def discard(temporary: Path) -> None:
    """Remove a temporary file if it is there.

    A disk that fails here too leaves it to ``durable.sweep``; the error that led here says more.
    """
    with suppress(OSError):
        temporary.unlink()


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk.

    Raises:
        OSError: the disk did not do it.
    """
    step("sync", path)
    _sync(path, os.O_NOFOLLOW)


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk.

    Raises:
        OSError: the disk did not do it.
    """
    step("sync_directory", directory)
    _sync(directory, os.O_DIRECTORY)


def name_new(temporary: Path, path: Path) -> None:
    """Give a temporary file its name unless the name is taken.

    A hard link does that everywhere but on FAT, where USB sticks live; there, Linux's rename
    without replacement does.

    Raises:
        FileExistsError: the name is taken.
        OSError: the disk did not do it.
    """
    step("link", path)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as e:
        if e.errno not in _NO_HARD_LINKS:
            raise
        _rename_noreplace(temporary, path)


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_noreplace(source: Path, destination: Path) -> None:
    # Needed on USB sticks alone, and a tenth of what a short command costs to start.
    import ctypes  # noqa: PLC0415

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError as e:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(destination)) from e
    if renameat2(
        _AT_FDCWD,
        os.fsencode(source),
        _AT_FDCWD,
        os.fsencode(destination),
        ctypes.c_uint(_RENAME_NOREPLACE),
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(destination))
