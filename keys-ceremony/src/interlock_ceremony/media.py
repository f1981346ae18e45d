"""Directories that come into being whole, and are read back (I/O).

Rules:

1. A ceremony's output is put together in ``.<name>.partial`` beside its place, every file durable,
   and gets its name by one rename. Whatever cuts a ceremony off, afterwards there is no output or
   all of it, never a part.
2. The output is create-only: what stands there, but an empty directory, is never touched.
3. What a killed ceremony left is a directory of keys that nobody has seen: the next one to the
   same place removes it. A lock keeps two ceremonies out of one directory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interlock_ceremony.metadata import FLEET, KEYS, ONLINE, SIGNED_BY
from interlock_ceremony.script import Problem
from interlock_ceremony.transcript import MAX_TRANSCRIPT
from interlock_core import disk, durable
from interlock_core.disk import translated
from interlock_core.errors import ConflictError, TransientError
from interlock_core.keys import MAX_KEY_FILE, PUBLIC_SUFFIX
from interlock_core.tuf_metadata import MAX_LENGTH

_WIDE: Final = 0o755


def output_problems(output: Path) -> list[Problem]:
    """What keeps ``output`` from being made (rule 2)."""
    try:
        says = _unusable(output)
    except OSError as e:
        says = f"{output} cannot be looked at ({e.strerror}); name another."
    return [Problem(("output",), says)] if says else []


@contextmanager
def assembled(output: Path) -> Iterator[Path]:
    """A fresh directory to fill, which becomes ``output`` if the block ends well (rule 1).

    Raises:
        ConflictError: something appeared at ``output`` meanwhile; nothing was written.
        TransientError: the disk did not do it, or another ceremony is at work there.
    """
    partial = output.with_name(f".{output.name}.partial")
    with _locked(partial):
        try:
            with translated("empty", partial):
                _empty(partial)
            yield partial
            with translated("write", output):
                partial.chmod(_WIDE)
                disk.step("rename", output)
                _rename(partial, output)
        except BaseException:
            # A disk that fails here as well leaves what the next ceremony removes (rule 3).
            shutil.rmtree(partial, ignore_errors=True)
            raise
        with translated("flush", output.parent):
            disk.sync_directory(output.parent)


def collect(directory: Path) -> dict[str, bytes]:
    """Read what stands beside a transcript: the metadata, ``fleet.json``, public key files.

    Args:
        directory: a ceremony's output, or a copy without the private keys.

    Returns:
        the bytes by path from ``directory``. Public key files are included where they are there.

    Raises:
        NotFoundError: metadata or ``fleet.json`` is missing.
        WireError: a file is too large.
        TransientError: a file cannot be read.
    """
    files: dict[str, bytes] = {
        file: durable.read(directory / file, limit=MAX_LENGTH["root"], what=file)
        for file in SIGNED_BY
    }
    files[FLEET] = durable.read(directory / FLEET, limit=MAX_KEY_FILE, what=FLEET)
    with translated("read", directory):
        for folder in (KEYS, ONLINE):
            for path in sorted((directory / folder).glob(f"*{PUBLIC_SUFFIX}")):
                name = f"{folder}/{path.name}"
                files[name] = durable.read(path, limit=MAX_KEY_FILE, what=name)
    return files


def read_transcript(path: Path) -> bytes:
    """Read a transcript.

    Raises:
        NotFoundError: no file is there.
        WireError: it is too large.
        TransientError: it cannot be read.
    """
    return durable.read(path, limit=MAX_TRANSCRIPT, what="transcript")


def _unusable(output: Path) -> str | None:
    if output.name in {"", ".."}:
        return f"{output} names no new directory; name one."
    if not output.parent.is_dir():
        return f"there is no directory {output.parent}; make it, or name another."
    if output.is_symlink():
        return f"{output} is a symbolic link; name a directory that is new."
    if not output.exists():
        return None
    if not output.is_dir():
        return f"{output} is a file; name a directory that is new."
    if any(output.iterdir()):
        return f"{output} exists and is not empty; name a new one: nothing is overwritten."
    if output.is_mount():
        return f"{output} is where a medium is mounted; name a directory on it."
    return None


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    with translated("make the directory", partial):
        disk.step("mkdir", partial)
        partial.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _is_mine(descriptor, partial):
            raise TransientError(
                f"Another ceremony is at work in {partial}: wait until it ended.", reason="busy"
            )
        yield
    finally:
        os.close(descriptor)


def _is_mine(descriptor: int, partial: Path) -> bool:
    with translated("lock", partial):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another ceremony may have finished, and renamed it, since it was opened.
            return os.path.samestat(os.fstat(descriptor), partial.stat())
        except (BlockingIOError, FileNotFoundError):
            return False


def _empty(directory: Path) -> None:
    for child in directory.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


def _rename(partial: Path, output: Path) -> None:
    try:
        partial.rename(output)
    except OSError as e:
        if e.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        raise ConflictError(
            f"Something appeared at {output} during the ceremony: nothing was written there, and "
            "the keys that were made are gone; name another output and run this again."
        ) from e
