"""Writes that a crash cannot turn into a lie (I/O).

Rules:

1. A file appears whole or not at all. Bytes go to a temporary file in the same directory, are
   flushed to the disk, and only then get their name by one atomic act.
2. A function that returns has made its effect durable: the file and its directory are fsynced.
3. ``create`` never overwrites. The same bytes already there are success; others are a conflict:
   evidence is create-only.
4. Every change of the file system is announced to ``_step`` just before it happens, so that one
   place can enumerate the changes, or stop before any of them as a power cut would.
5. Temporary files are called ``.interlock-<random>.partial``: no name that Interlock accepts
   begins with a dot, so they are never served or listed, and ``sweep`` finds what a crash left.
6. A fault of the disk becomes a ``TransientError`` that names the path and what to do.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from interlock_core.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)

CHUNK: Final = 1 << 20
"""Bytes that are read or written at a time: what streaming costs in memory."""

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
    errno.ENOENT: "the directory does not exist; make it first",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EIO: "the disk reported an error; check it before going on",
}

_watcher: Callable[[str, Path], None] | None = None


@contextmanager
def watching(callback: Callable[[str, Path], None]) -> Iterator[None]:
    """Call ``callback(act, path)`` just before each change of the file system (rule 4).

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


def _step(act: str, path: Path) -> None:
    if _watcher is not None:
        _watcher(act, path)


@contextmanager
def translated(verb: str, path: Path) -> Iterator[None]:
    """Turn an OSError about ``path`` into a TransientError that says what to do (rule 6).

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
    """Whether a file of this name is what a crash left of an unfinished write (rule 5)."""
    return _TEMPORARY.match(name) is not None


def replace(path: Path, data: bytes, mode: int = 0o644, *, mtime: int | None = None) -> None:
    """Put ``data`` at ``path`` atomically, whatever stood there.

    Args:
        path: where; its directory must exist.
        data: all of the new content.
        mode: permission bits, whatever the umask says.
        mtime: modification time in seconds since 1970, set before the file gets its name.

    Raises:
        TransientError: the disk did not do it; the old file stands.
    """
    with translated("write", path), _written(path, [data], mode, mtime) as temporary:
        _step("rename", path)
        temporary.rename(path)
        sync_directory(path.parent)


def create(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` unless something stands there (rule 3).

    Raises:
        ConflictError: other bytes, or no file, stand there.
        TransientError: the disk did not do it; nothing stands there.
    """
    create_from(
        path, [data], length=len(data), sha256=hashlib.sha256(data).hexdigest(), mode=mode
    )


def create_from(
    path: Path, chunks: Iterable[bytes] | IO[bytes], *, length: int, sha256: str, mode: int = 0o644
) -> None:
    """``create`` from a stream, in bounded memory, verified before it becomes visible.

    If a file with this length and digest stands there already, the stream is not read.

    Args:
        path: where; its directory must exist.
        chunks: pieces of bytes, or a file that is read in pieces.
        length: the length that the whole must have, in bytes.
        sha256: the SHA-256 that the whole must have, in lower-case hexadecimal.
        mode: permission bits, whatever the umask says.

    Raises:
        ConflictError: other bytes, or no file, stand there.
        RefusedError: ``hash_mismatch``: the stream has another length or digest.
        TransientError: the disk did not do it; nothing stands there.
    """
    with translated("write", path):
        if _stands(path, length, sha256):
            sync_directory(path.parent)
            return
        checked = _checked(_pieces(chunks), path, length, sha256)
        with _written(path, checked, mode, None) as temporary:
            try:
                _name_new(temporary, path)
            except FileExistsError:
                # Another writer was first. Its bytes decide.
                _stands(path, length, sha256)
            sync_directory(path.parent)


def mkdir(path: Path, mode: int = 0o755) -> None:
    """Make a directory and its parents durably; one that exists is left as it is.

    Raises:
        ConflictError: something else stands at the path or above it.
        TransientError: the disk did not do it.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path.parent == path:
            break
        path = path.parent
    for directory in reversed(missing):
        with translated("make the directory", directory):
            _step("mkdir", directory)
            try:
                directory.mkdir()
                directory.chmod(mode)
            except (FileExistsError, NotADirectoryError) as e:
                if not directory.is_dir():
                    raise ConflictError(
                        f"{directory} cannot be made: a file stands in its way."
                    ) from e
            sync_directory(directory.parent)


def remove(path: Path) -> None:
    """Remove a file durably; one that is not there is success.

    Raises:
        TransientError: the disk did not do it.
    """
    with translated("remove", path):
        _step("unlink", path)
        path.unlink(missing_ok=True)
        sync_directory(path.parent)


def switch_link(link: Path, target: str) -> None:
    """Point the symbolic link ``link`` at ``target`` atomically.

    This is how a whole directory is swapped: fill a new one, ``fsync_tree`` it, switch the link.

    Args:
        link: the link; it may exist, as a link.
        target: what it shall hold, taken from the link's own directory if relative.

    Raises:
        ConflictError: something that is no link stands at ``link``.
        TransientError: the disk did not do it; the old link stands.
    """
    with translated("switch", link):
        if _is_no_link(link):
            raise ConflictError(f"{link} is not a symbolic link: move it away first.")
        temporary = _temporary(link)
        try:
            _step("symlink", temporary)
            temporary.symlink_to(target)
            _step("rename", link)
            temporary.rename(link)
        except OSError:
            _discard(temporary)
            raise
        sync_directory(link.parent)


def fsync_tree(directory: Path) -> None:
    """Flush every file and directory under ``directory``, and itself, to the disk.

    Raises:
        TransientError: the disk did not do it.
    """
    with translated("flush", directory):
        for parent, _, files in os.walk(directory, topdown=False):
            for name in files:
                path = Path(parent, name)
                if not path.is_symlink():
                    _sync_file(path)
            sync_directory(Path(parent))


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to the disk.

    Raises:
        OSError: the disk did not do it.
    """
    _step("sync_directory", directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, *, limit: int, what: str) -> bytes:
    """Read a whole small file.

    Args:
        path: the file.
        limit: the most bytes allowed.
        what: names the thing in errors.

    Raises:
        NotFoundError: no file is there.
        WireError: it is larger than ``limit`` bytes.
        TransientError: it cannot be read.
    """
    try:
        with translated("read", path), path.open("rb") as file:
            data = file.read(limit + 1)
    except TransientError as e:
        cause = e.__cause__
        if isinstance(cause, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise NotFoundError(f"There is no {what} at {path}.") from e
        raise
    if len(data) > limit:
        raise WireError(f"The {what} at {path} is larger than the {limit} bytes allowed.")
    return data


def sweep(directory: Path, *, before: float) -> int:
    """Remove what crashes left under ``directory``; return how many files that were (rule 5).

    Args:
        directory: walked with all below it.
        before: only files changed before this time, in seconds since 1970, are removed: younger
            ones may belong to a writer at work.

    Raises:
        TransientError: the disk did not do it.
    """
    swept = 0
    with translated("sweep", directory):
        for parent, _, files in os.walk(directory):
            for name in filter(is_temporary, files):
                path = Path(parent, name)
                if path.lstat().st_ctime < before:
                    _step("unlink", path)
                    path.unlink(missing_ok=True)
                    swept += 1
    return swept


@contextmanager
def _written(path: Path, chunks: Iterable[bytes], mode: int, mtime: int | None) -> Iterator[Path]:
    """The one place that writes bytes: a complete, flushed temporary file beside ``path``.

    It is removed at the end unless it was renamed.
    """
    temporary = _temporary(path)
    _step("make", temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  # by descriptor
            os.fchmod(descriptor, mode)
            for chunk in chunks:
                _step("write", temporary)
                _write_all(file, chunk)
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
            _step("sync", temporary)
            os.fsync(descriptor)
        yield temporary
    finally:
        _discard(temporary)


def _write_all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _discard(temporary: Path) -> None:
    # A disk that fails here leaves a temporary file, which sweep() finds; the error that
    # brought us here says more.
    with suppress(OSError):
        temporary.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".interlock-{secrets.token_hex(8)}.partial")


def _pieces(chunks: Iterable[bytes] | IO[bytes]) -> Iterator[bytes]:
    if hasattr(chunks, "read"):
        while chunk := chunks.read(CHUNK):
            yield chunk
    else:
        yield from chunks


def _checked(chunks: Iterable[bytes], path: Path, length: int, sha256: str) -> Iterator[bytes]:
    digest = hashlib.sha256()
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > length:
            raise RefusedError(
                f"{path.name} is longer than the {length} bytes announced: nothing was kept.",
                reason="hash_mismatch",
            )
        digest.update(chunk)
        yield chunk
    if seen != length:
        raise RefusedError(
            f"{path.name} ended after {seen} of {length} bytes: nothing was kept.",
            reason="hash_mismatch",
        )
    if digest.hexdigest() != sha256:
        raise RefusedError(
            f"{path.name} does not have the SHA-256 announced: nothing was kept.",
            reason="hash_mismatch",
        )


def _stands(path: Path, length: int, sha256: str) -> bool:
    """Whether exactly these bytes stand at ``path``, flushed; False if nothing does.

    Raises:
        ConflictError: something else does.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise ConflictError(f"{path} exists and is a symbolic link: nothing written.") from e
        raise
    with open(descriptor, "rb") as file:  # noqa: PTH123  # by descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConflictError(f"{path} exists and is not a file: nothing was written.")
        if (
            status.st_size != length
            or hashlib.file_digest(file, "sha256").hexdigest() != sha256
        ):
            raise ConflictError(f"{path} exists with other content: nothing was written.")
        # It may be there by a write whose author was cut off before it flushed.
        os.fsync(descriptor)
    return True


def _is_no_link(path: Path) -> bool:
    try:
        return not stat.S_ISLNK(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _sync_file(path: Path) -> None:
    _step("sync", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name_new(temporary: Path, path: Path) -> None:
    """Give a temporary file its name unless the name is taken.

    A hard link does that everywhere but on FAT, where USB sticks live; there, Linux's
    rename without replacement does.

    Raises:
        FileExistsError: the name is taken.
        OSError: the disk did not do it.
    """
    _step("link", path)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError as e:
        if e.errno not in _NO_HARD_LINKS:
            raise
        _rename_noreplace(temporary, path)


def _rename_noreplace(source: Path, destination: Path) -> None:
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
