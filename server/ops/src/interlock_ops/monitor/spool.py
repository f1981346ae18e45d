"""Stops that people deliver to the monitor itself, since a server could hide them (I/O).

Rules:

1. A stop is a file in a directory: the signed envelope, as ``rollout pause --output`` writes it. It
   needs no server and no network; whoever may write there may deliver, and nobody is believed for
   it: what counts is the signature inside.
2. It is taken into memory first, to be sent on to the server too, and only then is the file let
   go. What is no stop by somebody in the roster is put aside as ``.refused``, and somebody is told.
3. Nothing in the directory can hold the monitor up: at most ``AT_ONCE`` files are looked at, each
   of at most 64 KiB, and only regular ones.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_core import disk, durable
from interlock_core.errors import InterlockError, TransientError, WireError
from interlock_core.order import Stop
from interlock_core.statement import MAX_ENVELOPE, Opened, open_as, read_envelope

AT_ONCE: Final = 256
SUFFIX: Final = ".json"
REFUSED: Final = ".refused"


@dataclass(frozen=True)
class Delivered:
    """A file, and the stop in it; or why it holds none."""

    path: Path
    stop: Opened[Stop] | None
    why: str = ""


def look(directory: Path) -> Iterator[Delivered]:
    """The stops that lie in the spool, by name of their files.

    Raises:
        TransientError: the directory cannot be read.
    """
    with durable.translated("read", directory), os.scandir(directory) as found:
        names = sorted(
            one.name
            for one in found
            if one.name.endswith(SUFFIX) and one.is_file(follow_symlinks=False)
        )
    for name in names[:AT_ONCE]:
        path = directory / name
        try:
            data = _read(path)
            if data is not None:
                yield Delivered(path, open_as(read_envelope(data.rstrip(b"\n")), Stop))
        except WireError as e:
            yield Delivered(path, None, str(e))


def let_go(path: Path) -> None:
    """Remove a file whose stop was taken; one that stays is known and changes nothing."""
    with suppress(InterlockError):
        durable.remove(path)


def put_aside(path: Path) -> None:
    """Rename a file that holds no stop, so that it is told of once."""
    with suppress(OSError):
        disk.step("rename", path)
        path.rename(path.with_name(f"{path.name}{REFUSED}"))


def deliver(directory: Path, stop_id: str, data: bytes) -> Path:
    """Put a stop into a spool, under its id; one that lies there already is success.

    Raises:
        TransientError: the directory is missing, or the disk failed.
    """
    path = directory / f"{stop_id}{SUFFIX}"
    durable.create(path, data, mode=0o644)
    return path


def _read(path: Path) -> bytes | None:
    """A regular file's bytes; None for what is no file or has gone.

    Raises:
        WireError: it is larger than an envelope.
        TransientError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except PermissionError as e:
        raise WireError(f"It cannot be read ({e.strerror}): make it readable.") from e
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_ENVELOPE + 2)
    except OSError as e:
        raise TransientError(f"{path} could not be read ({e}).", reason="disk") from e
    finally:
        os.close(descriptor)
