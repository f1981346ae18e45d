"""Fetches everything that an auditor needs, and holds it against the checkpoint first (I/O).

Rules:

1. Entries are read from the static files, at the size of one verified checkpoint: a log that grows
   meanwhile does not matter. They must lead to its root before anything is written.
2. What stands behind them is asked for with a token, and written as it came: ``log verify`` judges.
3. The directory must be new or empty. The checkpoint is written last, so that an export which was
   cut off is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from interlock_core import durable, wire
from interlock_core.api import LogRecord, LogRecordPage
from interlock_core.checkpoint import Checkpoint
from interlock_core.errors import ConflictError, RefusedError
from interlock_core.log import (
    BUNDLE,
    TAIL_KEY,
    Place,
    bundle_key,
    read_entry,
)
from interlock_core.tree import Tree, leaf_hash
from interlock_ops.session import MAX_PAGES, Session
from interlock_ops.taking import LogView

CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "entries.jsonl"
HASHES: Final = "hashes.txt"
RECORDS: Final = "records.jsonl"

Progress = Callable[[int], None]


def export(session: Session, directory: Path, progress: Progress) -> Checkpoint:
    """Write an export; returns what its checkpoint says.

    Raises:
        ConfigurationError: the settings name no key of the log.
        ConflictError: ``not_empty``: something stands in the directory.
        RefusedError: ``log_mismatch``, or as ``LogView.look``; nothing was written.
        TransientError: the server could not be asked, or the disk failed.
    """
    session.settings.need(session.settings.log_key, "log_key")
    view = session.log
    assert view is not None
    _check_empty(directory)
    text = session.checkpoint
    assert text is not None
    said = view.verify(text)
    entries = fetch_entries(session, view, said, progress)
    records = list(records_of(session, said.size, progress))
    durable.mkdir(directory)
    for name, lines in (
        (ENTRIES, entries),
        (HASHES, [leaf_hash(entry).hex().encode() for entry in entries]),
        (RECORDS, [wire.encode(record) for record in records]),
    ):
        durable.create(directory / name, b"".join(line + b"\n" for line in lines))
    durable.create(directory / CHECKPOINT, text.encode())
    return said


def _check_empty(directory: Path) -> None:
    with durable.translated("read", directory):
        taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    if taken:
        raise ConflictError(
            f"Something stands in {directory}: name a new directory. Nothing was written.",
            reason="not_empty",
        )


def fetch_entries(
    session: Session, view: LogView, said: Checkpoint, progress: Progress
) -> list[bytes]:
    """The entries that a checkpoint covers, held against its root (rule 1).

    Raises:
        RefusedError: ``log_mismatch``: they do not lead to it.
        WireError: what the server serves is no bundle.
        TransientError: the server could not be asked.
    """
    place = Place.of(said.size)
    entries: list[bytes] = []
    for number in range(place.bundle):
        entries += view.bundle(bundle_key(number))
        progress(len(entries))
    if place.within:
        # The tail is of another bundle once this one has become full.
        tail = view.bundle(TAIL_KEY)
        if not tail or read_entry(tail[0]).number != place.bundle * BUNDLE:
            tail = view.bundle(bundle_key(place.bundle))
        entries += tail[: place.within]
    tree = Tree.of([leaf_hash(entry) for entry in entries])
    if tree.size != said.size or tree.root() != said.root:
        raise RefusedError(
            f"The entries that {session.settings.server} serves are not the {said.size} that its "
            "checkpoint covers: somebody changed them. Ask who runs it to run 'interlock-server "
            "check', which names them. Nothing was written.",
            reason="log_mismatch",
        )
    return entries


def records_of(session: Session, size: int, progress: Progress) -> Iterator[LogRecord]:
    """What stands behind the first ``size`` entries, as the server shows it.

    Raises:
        RefusedError: ``endless``: the list does not end.
        TransientError: the server could not be asked.
    """
    start: int | None = 0
    for _ in range(max(MAX_PAGES, size)):
        if start is None or start >= size:
            return
        page = session.api.get(f"/v1/log/records?from={start}", LogRecordPage, token=session.token)
        yield from (record for record in page.items if record.number < size)
        if page.next is not None and page.next <= start:
            break
        start = page.next
        progress(start or size)
    raise RefusedError("The server's list of records does not end.", reason="endless")
