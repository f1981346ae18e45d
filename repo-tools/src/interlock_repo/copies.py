"""Copies of one signing event, signed apart, looked at together (I/O).

Rules:

1. Copies are of one event when their ``event.json`` is the same to the byte; then their metadata
   is too, and each person's signature counts in any of them. Of two different events it is said
   how they differ, and whose signatures count for nothing here.
2. Copies are named, or found one level below a directory that is named.
3. Each copy is checked whole by itself. A public key counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock_core import durable, wire
from interlock_repo.as_signed import (
    EventChangedError,
    State,
    as_signed,
    differences,
    void_section,
)
from interlock_repo.event import EVENT_FILE, MAX_EVENT, Event, put_signature
from interlock_repo.reading import open_event
from interlock_repo.review import tally_of
from interlock_repo.signatures import Tally, merged


def with_found(directories: Sequence[Path]) -> list[Path]:
    """The directories, and in place of one that holds events, those in it that are copies.

    Args:
        directories: events, or directories in which copies are looked for, one level down. Copies
            are those with the ``event.json`` of the first event.
    """
    events: list[Path] = []
    for directory in directories:
        found = sorted(path.parent for path in directory.glob(f"*/{EVENT_FILE}"))
        if (directory / EVENT_FILE).exists() or not found:
            events.append(directory)
            continue
        first = _digest((events or found)[0])
        events += [one for one in found if _digest(one) == first]
    return events


def _digest(event: Path) -> str:
    return wire.sha256_hex(durable.read(event / EVENT_FILE, limit=MAX_EVENT, what="event file"))


def open_copies(
    directories: Sequence[Path], trusted_root: Path | None = None
) -> tuple[Event, Tally]:
    """The first copy, and who signed any of them.

    Raises:
        EventChangedError: ``different_events``: they are not copies of one event (rule 1).
        InterlockError: as ``open_event``, for any copy.
    """
    events = [open_event(directory, trusted_root) for directory in with_found(directories)]
    first = events[0]
    for other in events[1:]:
        if other.digest != first.digest:
            void = [signed.file for signed in other.signatures]
            raise EventChangedError(
                f"{other.directory} is not a copy of {first.directory}: one has metadata_sha256 "
                f"{other.file.metadata_sha256}, the other {first.file.metadata_sha256}. Keep the "
                "one that was reviewed.",
                reason="different_events",
                sections=(*differences(State.of(first), State.of(other)), void_section(void)),
                void=void,
            )
    signatures = merged(event.signatures for event in events)
    return first, Tally(tally_of(first).role, signatures)


def bring_together(event: Event, tally: Tally) -> list[str]:
    """Write the signatures that other copies have into this one; return the names of who signed.

    Raises:
        TransientError: the disk did not do it; run it again.
    """
    here = {signed.file.keyid for signed in event.signatures}
    missing = [signed for signed in tally.signed if signed.file.keyid not in here]
    for signed in missing:
        put_signature(event.directory, signed.file, as_signed(event))
    return [signed.holder.title for signed in missing]
