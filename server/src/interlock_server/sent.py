"""What was sent to be published, for those who prepare something else (I/O, reading).

Rules:

1. Everything told here was signed to be public: nobody needs to log in to read it.
2. An answer is bounded: the newest publications, and of each the first signers and images.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy import select
from tuf.api.metadata import TargetFile, Targets

from interlock_core.api import PAGE, PublicationList, PublicationSummary
from interlock_core.errors import NotFoundError
from interlock_core.genesis import IMAGE
from interlock_core.store import Store
from interlock_core.tuf_metadata import parse_metadata
from interlock_core.tuf_stored import StoredRepository
from interlock_server.db.session import Database
from interlock_server.db.tables import PublicationRow
from interlock_server.offline import Part, read_parts

SHOWN: Final = 64
"""How many signers and images of a publication are told."""


def newest(
    database: Database, store: Store, role: str | None, version: int | None
) -> PublicationList:
    """The newest publications; at most a page.

    Args:
        database: where they are remembered.
        store: what is published.
        role: only of this role.
        version: only of this version.

    Raises:
        TransientError: the store or the database failed.
    """
    wanted = select(PublicationRow).limit(PAGE)
    wanted = wanted.order_by(
        PublicationRow.posted_at.desc(), PublicationRow.version.desc(), PublicationRow.id
    )
    if role is not None:
        wanted = wanted.where(PublicationRow.role == role)
    if version is not None:
        wanted = wanted.where(PublicationRow.version == version)
    with database.reading() as session:
        rows = list(session.scalars(wanted))
    return PublicationList(items=tuple(_summary(store, row) for row in rows))


def _summary(store: Store, row: PublicationRow) -> PublicationSummary:
    parts = read_parts(row.role, row.metadata_text)
    own = next(part for part in parts.each if part.role == row.role)
    signers = parse_metadata(own.text, Targets, what=row.role).signatures
    return PublicationSummary(
        id=row.id,
        role=row.role,
        version=row.version,
        state="published" if row.state == "published" else "waiting",
        posted_at=row.posted_at.replace(microsecond=0),
        signed_by=tuple(sorted(signers))[:SHOWN],
        installs=tuple(sorted(_installs(store, own)))[:SHOWN],
    )


def _installs(store: Store, part: Part) -> list[str]:
    """Images that the version before did not list."""
    before: Mapping[str, TargetFile] = {}
    with suppress(NotFoundError):
        data = StoredRepository(store, IMAGE).get(part.targets.version - 1, part.role)
        before = parse_metadata(data, Targets, what=part.role).signed.targets
    return [
        path
        for path, info in part.targets.targets.items()
        if path not in before and (info.custom or {}).get("kind") == "image"
    ]
