"""The record of a download on the disk (I/O).

It is no evidence: a record that is missing or damaged costs bytes that are fetched again, and
nothing else.
"""

from __future__ import annotations

from pathlib import Path

from interlock_client.download.record import Record
from interlock_client.sealed import MAX_RECORD, seal, unseal
from interlock_core import durable
from interlock_core.errors import NotFoundError, WireError


def load(path: Path) -> Record | None:
    """The record that is kept, or None.

    Raises:
        TransientError: it cannot be read.
    """
    try:
        return unseal(durable.read(path, limit=MAX_RECORD, what="record of a download"), Record)
    except (NotFoundError, WireError):
        return None


def save(path: Path, record: Record) -> None:
    """Make the record durable.

    Raises:
        TransientError: the disk did not do it; the record before stands.
    """
    durable.replace(path, seal(record), mode=0o600)


def lift(path: Path) -> bool:
    """Forget what was spent and who was proven wrong, because a person says so.

    Returns:
        Whether there was anything to forget.

    Raises:
        TransientError: the disk did not do it.
    """
    found = load(path)
    if found is None or found.lifted() == found:
        return False
    save(path, found.lifted())
    return True
