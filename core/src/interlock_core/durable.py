"""Writes that a crash cannot turn into a lie (I/O).

Rules:

1. A file appears whole or not at all. Bytes go to a temporary file in the same directory, are
   flushed to the disk, and only then get their name by one atomic act.
2. A function that returns has made its effect durable: the file and its directory are fsynced.
3. ``create`` never overwrites. The same bytes already there are success; others are a conflict:
   evidence is create-only.
4. A fault of the disk is a ``TransientError`` that names the path and what to do, and leaves what
   stood before. What a crash leaves is found by ``sweep``.

The acts on the disk are in ``disk``, where ``watching`` can enumerate them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from interlock_core import disk
from interlock_core.disk import is_temporary, translated, watching
from interlock_core.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    TransientError,
    WireError,
)

__all__ = [
    "CHUNK",
    "create",
    "create_from",
    "fsync_tree",
    "is_temporary",
    "mkdir",
    "read",
    "remove",
    "replace",
    "sweep",
    "switch_link",
    "translated",
    "watching",
]

CHUNK: Final = 1 << 20
"""Bytes that are read or written at a time: what streaming costs in memory."""


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
    with translated("write", path), disk.written(path, [data], mode, mtime) as temporary:
        disk.step("rename", path)
        temporary.rename(path)
        disk.sync_directory(path.parent)


def create(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` unless something stands there (rule 3).

    Raises:
        ConflictError: other bytes, or no file, stand there.
        TransientError: the disk did not do it; nothing stands there.
    """
    create_from(path, [data], length=len(data), sha256=hashlib.sha256(data).hexdigest(), mode=mode)


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
        TransientError: the disk did not do it, or the stream broke off; nothing stands there.
    """
    with translated("write", path):
        if _stands(path, length, sha256):
            disk.sync_directory(path.parent)
            return
        checked = _checked(_pieces(chunks, path), path, length, sha256)
        with disk.written(path, checked, mode, None) as temporary:
            try:
                disk.name_new(temporary, path)
            except FileExistsError:
                # Another writer was first. Its bytes decide.
                _stands(path, length, sha256)
            disk.sync_directory(path.parent)


def mkdir(path: Path, mode: int = 0o755) -> None:
    """Make a directory and its parents durably; one that exists is left as it is.

    Raises:
        ConflictError: something else stands at the path or above it.
        TransientError: the disk did not do it.
    """
    with translated("make the directory", path):
        missing = []
        for directory in (path, *path.parents):
            if directory.is_dir():
                break
            missing.append(directory)
        for directory in reversed(missing):
            disk.step("mkdir", directory)
            try:
                directory.mkdir()
                directory.chmod(mode)
            except (FileExistsError, NotADirectoryError) as e:
                if not directory.is_dir():
                    raise ConflictError(
                        f"The directory {directory} cannot be made: a file stands in its way."
                    ) from e
            disk.sync_directory(directory.parent)


def remove(path: Path) -> None:
    """Remove a file durably; one that is not there is success.

    Raises:
        TransientError: the disk did not do it.
    """
    with translated("remove", path):
        disk.step("unlink", path)
        path.unlink(missing_ok=True)
        disk.sync_directory(path.parent)


def switch_link(link: Path, target: str) -> None:
    """Point the symbolic link ``link`` at ``target`` atomically.

    This is how a whole directory is swapped: fill a new one, ``fsync_tree`` it, switch the link.

    Args:
        link: the link; if something stands there, it must be a link.
        target: what it shall hold, taken from the link's own directory if relative.

    Raises:
        ConflictError: something that is no link stands at ``link``.
        TransientError: the disk did not do it; the old link stands.
    """
    with translated("switch", link):
        if not link.is_symlink() and link.exists():
            raise ConflictError(f"{link} is not a symbolic link: move it away first.")
        temporary = disk.temporary_beside(link)
        try:
            disk.step("symlink", temporary)
            temporary.symlink_to(target)
            disk.step("rename", link)
            temporary.rename(link)
        finally:
            disk.discard(temporary)
        disk.sync_directory(link.parent)


def fsync_tree(directory: Path) -> None:
    """Flush every file and directory under ``directory``, and itself, to the disk.

    Raises:
        TransientError: the disk did not do it.
    """
    with translated("flush", directory):
        for parent, _, files in os.walk(directory, topdown=False, onerror=_raise):
            for name in files:
                path = Path(parent, name)
                if not path.is_symlink():
                    disk.sync_file(path)
            disk.sync_directory(Path(parent))


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
        if isinstance(e.__cause__, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            raise NotFoundError(f"There is no {what} at {path}.") from e
        raise
    if len(data) > limit:
        raise WireError(f"The {what} at {path} is larger than the {limit} bytes allowed.")
    return data


def sweep(directory: Path, *, before: float) -> int:
    """Remove what crashes left under ``directory``; return how many files that were (rule 4).

    Args:
        directory: walked with all below it.
        before: only files changed before this time, in seconds since 1970, are removed: younger
            ones may belong to a writer at work.

    Raises:
        TransientError: the disk did not do it.
    """
    swept = 0
    with translated("sweep", directory):
        for parent, _, files in os.walk(directory, onerror=_raise):
            for name in filter(is_temporary, files):
                path = Path(parent, name)
                # The time of the last change of any kind: a head's own time is set by its writer.
                if path.lstat().st_ctime < before:
                    disk.step("unlink", path)
                    path.unlink(missing_ok=True)
                    swept += 1
    return swept


def _raise(error: OSError) -> None:
    raise error


def _pieces(chunks: Iterable[bytes] | IO[bytes], path: Path) -> Iterator[bytes]:
    source = iter(lambda: chunks.read(CHUNK), b"") if hasattr(chunks, "read") else iter(chunks)
    while True:
        try:
            chunk = next(source)
        except StopIteration:
            return
        except OSError as e:
            raise TransientError(
                f"The bytes for {path.name} stopped coming ({e}): nothing was kept, send them "
                "again.",
                reason="source",
            ) from e
        yield chunk


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
            raise ConflictError(
                f"{path} exists and is a symbolic link: nothing was written."
            ) from e
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConflictError(f"{path} exists and is not a file: nothing was written.")
        with open(descriptor, "rb", closefd=False) as file:
            same = status.st_size == length and sha256 == _digest(file)
        if not same:
            raise ConflictError(f"{path} exists with other content: nothing was written.")
        # It may be there by a write whose author was cut off before it flushed.
        disk.step("sync", path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _digest(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed asks for readinto
