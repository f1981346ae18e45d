"""Publications of several roles that a failure cut off (I/O).

Rules:

1. Their metadata is put role by role, and nothing that was put can be taken away. Between two roles
   what is stored does not fit together, and nobody's publication could be shown. So whoever takes
   the turn next to publish or to refresh finishes it first (``Publisher.finish``).
2. It was cut off if it waits, all its targets are in the Store, and a role of it is stored to which
   nobody is led yet: it had been verified whole under the turn by then, and nothing was shown
   since. Real clients look at the whole once more (``trial``). Or it is shown already, and only the
   database was not told.
3. A publication is over with its own publication, or with that of another of the same versions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import NotFoundError
from interlock_core.genesis import IMAGE
from interlock_core.log import metadata_fact
from interlock_core.store import Store
from interlock_core.tuf_stored import StoredRepository
from interlock_server.db.tables import PublicationRow
from interlock_server.image import target_key
from interlock_server.logbook import record
from interlock_server.offline import Part, Parts, read_parts

WAITING: Final = "waiting"
PUBLISHED: Final = "published"


def cut_off(session: Session, store: Store) -> list[tuple[PublicationRow, Parts]]:
    """What was cut off (rule 2), the lowest version first; the caller holds the turn.

    Raises:
        TransientError: the store cannot be read.
        WireError: what is stored is damaged.
    """
    waiting = (
        select(PublicationRow)
        .where(PublicationRow.state == WAITING, PublicationRow.role == Targets.type)
        .order_by(PublicationRow.version, PublicationRow.id)
    )
    stored = StoredRepository(store, IMAGE)
    each = [(row, read_parts(row.role, row.metadata_text)) for row in session.scalars(waiting)]
    return [
        (row, parts)
        for row, parts in each
        if len(parts.each) > 1
        and _is_begun(stored, parts)
        and all(is_stored(store, path, info) for path, info in parts.files())
    ]


def _is_begun(stored: StoredRepository, parts: Parts) -> bool:
    published = stored.published_versions()
    waits = [part.targets.version > published.get(part.role, 0) for part in parts.each]
    put = [_is_put(stored, part) for part in parts.each]
    return all(put) if not any(waits) else any(p and w for p, w in zip(put, waits, strict=True))


def _is_put(stored: StoredRepository, part: Part) -> bool:
    try:
        return stored.get(part.targets.version, part.role) == part.text
    except NotFoundError:
        return False


def is_stored(store: Store, path: str, info: TargetFile) -> bool:
    """Whether the Store holds a target, as long as its metadata says.

    Raises:
        TransientError: the store cannot be read.
    """
    try:
        return store.size(target_key(path, info.hashes["sha256"])) == info.length
    except NotFoundError:
        return False


def record_published(session: Session, parts: Parts, now: datetime) -> None:
    """Record in the log that the parts of a publication are published."""
    for part in parts.each:
        fact = metadata_fact(IMAGE, part.role, part.targets.version, part.text)
        record(session, now, fact)


def mark_published(session: Session, row: PublicationRow, parts: Parts, now: datetime) -> list[str]:
    """Note that a publication was published; returns the ids of those that are over (rule 3)."""
    record_published(session, parts, now)
    session.execute(
        update(PublicationRow).where(PublicationRow.id == row.id).values(state=PUBLISHED)
    )
    over = [row.id]
    for role, version in parts.versions.items():
        lost = (
            PublicationRow.role == role,
            PublicationRow.version <= version,
            PublicationRow.state == WAITING,
        )
        over += session.scalars(select(PublicationRow.id).where(*lost))
        session.execute(delete(PublicationRow).where(*lost))
    return over
