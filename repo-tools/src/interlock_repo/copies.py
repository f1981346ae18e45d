"""Copies of one signing event, signed apart, looked at together (I/O).

Rules:

1. Copies are of one event when their ``event.json`` is the same to the byte; then their metadata
   is too, and each person's signature counts in any of them. Of two different events it is said
   how they differ, and whose signatures count for nothing here.
2. Each copy is checked whole by itself. A public key counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock_repo.as_signed import (
    EventChangedError,
    State,
    as_signed,
    differences,
    void_section,
)
from interlock_repo.event import Event, put_signature
from interlock_repo.reading import open_event
from interlock_repo.review import tally_of
from interlock_repo.signatures import Tally, merged


def open_copies(
    directories: Sequence[Path], trusted_root: Path | None = None
) -> tuple[Event, Tally]:
    """The first copy, and who signed any of them.

    Raises:
        EventChangedError: ``different_events``: they are not copies of one event (rule 1).
        InterlockError: as ``open_event``, for any copy.
    """
    events = [open_event(directory, trusted_root) for directory in directories]
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
