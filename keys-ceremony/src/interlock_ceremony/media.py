"""Directories that come into being whole, and are read back (I/O).

Rules:

1. A ceremony's output is put together in ``.<name>.partial`` beside its place, every file durable,
   and gets its name by one rename. Whatever cuts a ceremony off, afterwards there is no output or
   all of it, never a part.
2. The output is create-only: what stands there, but an empty directory, is never touched.
3. What an interrupted ceremony left is gone on with, or set aside whole under a name of its own. A
   lock keeps two ceremonies out of one directory.
4. A file that no audit reads has no place beside a transcript, but the manifest, and private keys
   beside their public ones.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from interlock_ceremony import manifest
from interlock_ceremony.evidence import extra_file
from interlock_ceremony.metadata import KEYS, OLDER_TARGETS, ONLINE, TRANSCRIPTS
from interlock_ceremony.script import Problem
from interlock_ceremony.transcript import MAX_TRANSCRIPT
from interlock_core import disk, durable
from interlock_core.ceremony_output import FLEET, MANIFEST, TRANSCRIPT
from interlock_core.disk import translated
from interlock_core.errors import ConflictError, TransientError
from interlock_core.genesis import DIRECTOR, IMAGE
from interlock_core.keys import MAX_KEY_FILE, PRIVATE_SUFFIX, PUBLIC_SUFFIX
from interlock_core.tuf_metadata import MAX_LENGTH

_WIDE: Final = 0o755

_ROOT: Final = re.compile(r"[1-9][0-9]*\.root\.json")
_TARGETS: Final = re.compile(r"[1-9][0-9]*\.targets\.json")
_TOLD: Final = re.compile(r"[1-9][0-9]*\.json")
_PUBLIC: Final = re.compile(r".*\.pub\.json", re.DOTALL)
_PARTS: Final = (
    (IMAGE, _ROOT, MAX_LENGTH["root"]),
    (IMAGE, _TARGETS, MAX_LENGTH["targets"]),
    (DIRECTOR, _ROOT, MAX_LENGTH["root"]),
    (OLDER_TARGETS, _TARGETS, MAX_LENGTH["targets"]),
    (TRANSCRIPTS, _TOLD, MAX_TRANSCRIPT),
    (KEYS, _PUBLIC, MAX_KEY_FILE),
    (ONLINE, _PUBLIC, MAX_KEY_FILE),
    (".", re.compile(re.escape(FLEET)), MAX_KEY_FILE),
)
"""What an audit reads: directory, names, and the most bytes."""


def output_problems(output: Path) -> list[Problem]:
    """What keeps ``output`` from being made (rule 2)."""
    try:
        says = _unusable(output)
    except OSError as e:
        says = f"{output} cannot be looked at ({e.strerror}); name another."
    return [Problem(("output",), says)] if says else []


@contextmanager
def under_way(output: Path) -> Iterator[Path]:
    """The directory in which a ceremony is put together, locked (rules 1 and 3).

    One in which nothing was begun goes when the block ends; any other stays, to be gone on with.

    Raises:
        TransientError: the disk did not do it, or another ceremony is at work there.
    """
    partial = partial_of(output)
    with _locked(partial):
        try:
            yield partial
        finally:
            if partial.is_dir() and not any(partial.iterdir()):
                partial.rmdir()


def finish(partial: Path, output: Path) -> None:
    """Give a complete directory its name (rule 1).

    Raises:
        ConflictError: something appeared at ``output`` meanwhile; nothing was written there.
        TransientError: the disk did not do it.
    """
    with translated("write", output):
        partial.chmod(_WIDE)
        disk.step("rename", output)
        _rename(partial, output)
        disk.sync_directory(output.parent)


def set_aside(partial: Path, output: Path) -> Path:
    """Keep what was begun for ``output`` as evidence, under a name that is new; return that.

    Raises:
        TransientError: the disk did not do it.
    """
    names = (output.with_name(f"{output.name}.abandoned-{number}") for number in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    with translated("write", aside):
        disk.step("rename", aside)
        partial.rename(aside)
        disk.sync_directory(aside.parent)
    return aside


def partial_of(output: Path) -> Path:
    """Where a ceremony under way stands."""
    return output.with_name(f".{output.name}.partial")


def collect(directory: Path) -> dict[str, bytes]:
    """Read what stands beside a transcript.

    Args:
        directory: a ceremony's output, or a copy without the private keys.

    Returns:
        the bytes by path from ``directory``: roots and top-level targets, ``fleet.json``, earlier
        transcripts and public key files, as far as they are there.

    Raises:
        WireError: a file is too large.
        TransientError: a file cannot be read.
    """
    files: dict[str, bytes] = {}
    with translated("read", directory):
        for folder, name, limit in _PARTS:
            for path in sorted((directory / folder).glob("*")):
                if not name.fullmatch(path.name) or path.is_dir():
                    continue
                file = path.name if folder == "." else f"{folder}/{path.name}"
                files[file] = durable.read(path, limit=limit, what=file)
    return files


def check_others(directory: Path, transcript: str = TRANSCRIPT) -> None:
    """Check that an audit of what stands beside a transcript leaves nothing out (rule 4).

    Args:
        directory: as ``collect``.
        transcript: what the transcript is called there.

    Raises:
        RefusedError: ``extra_file``: each is named.
        TransientError: it cannot be read.
    """
    present = manifest.walk(directory)
    others = set(present) - {transcript, MANIFEST}
    for name in present:
        folder, _, file = name.rpartition("/")
        if any(folder == where.strip(".") and form.fullmatch(file) for where, form, _ in _PARTS):
            others.discard(name)
        if folder == KEYS and file.endswith(PUBLIC_SUFFIX):
            others.discard(name.removesuffix(PUBLIC_SUFFIX) + PRIVATE_SUFFIX)
    if others:
        raise extra_file(sorted(others))


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


def _rename(partial: Path, output: Path) -> None:
    try:
        partial.rename(output)
    except OSError as e:
        if e.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
        raise ConflictError(
            f"Something appeared at {output} during the ceremony: nothing was written there. "
            "Move it away and run this again: the ceremony is complete but for its name."
        ) from e
