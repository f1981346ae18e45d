"""Accepts what people signed offline: releases, delegations and the roster (I/O).

Rules:

1. Nothing is stored before it was verified (``offline``). Bytes are taken only if the signed
   metadata names them, with that length and digest; they wait in the pending directory.
2. ``commit`` puts the targets into the Store, then the metadata, then moves the heads. Everything
   is verified again under the turn: something may have been published in between. Real clients
   look at the whole before any metadata is put (``trial``).
3. New delegations and what the new holders of a role signed under them are one publication. Under
   either alone gateways would lose the role, so heads move once, to both. If that is cut off,
   whoever publishes next finishes it (``unfinished``).
4. Every step is idempotent. After a kill at any point readers see the old repository whole, and the
   same calls again finish.
"""

from __future__ import annotations

from typing import IO

from sqlalchemy import select
from sqlalchemy.orm import Session
from tuf.api.metadata import TargetFile

from interlock_core import durable, wire
from interlock_core.api import (
    MAX_BODY,
    MissingTarget,
    Publication,
    PublicationList,
    PublicationRequest,
)
from interlock_core.clock import Clock
from interlock_core.errors import (
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
)
from interlock_core.genesis import IMAGE
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.release import MAX_PERMIT, permit_facts
from interlock_core.roster import MAX_ROSTER
from interlock_core.store import Store
from interlock_core.tuf_stored import StoredRepository
from interlock_server.db.session import Database
from interlock_server.db.tables import PublicationRow
from interlock_server.heads import Publisher, fleet_of
from interlock_server.image import read_released, read_target, target_key
from interlock_server.offline import Part, Parts, read_parts, verify
from interlock_server.outward import told
from interlock_server.pending import Pending
from interlock_server.refusals import Refusals
from interlock_server.releases import (
    check_length,
    check_permit,
    check_roster,
    check_roster_targets,
)
from interlock_server.sent import newest
from interlock_server.unfinished import (
    PUBLISHED,
    WAITING,
    is_stored,
    mark_published,
    record_published,
)


class Publications:
    """Where releases, delegations and rosters are published.

    Args:
        database: remembers what waits.
        store: where gateways read.
        publisher: moves the heads.
        refusals: counts them.
        clock: now.
        pending: where bytes wait; outside the Store.
        largest_target_bytes: the most that one target may have.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        publisher: Publisher,
        refusals: Refusals,
        clock: Clock,
        *,
        pending: Pending,
        largest_target_bytes: int,
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._refusals = refusals
        self._clock = clock
        self._pending = pending
        self.largest_target_bytes = largest_target_bytes

    # The four calls

    def post(self, data: bytes) -> Publication:
        """Verify signed metadata and remember it; says which targets are missing.

        Raises:
            WireError: malformed.
            RefusedError, ConflictError: the reason names the rule (rule 1).
            TransientError: the store or the database failed.
        """
        request = wire.decode(data, PublicationRequest, limit=MAX_BODY, what="publication")
        with self._refusals.counted("publication"):
            parts = self._verify(request.role, request.text)
        with self._database.reading() as session:
            # Anybody can send what is public again: that takes nobody's turn.
            known = session.get(PublicationRow, parts.id)
        if known is not None:
            return self._view(known, parts)
        with self._database.writing() as session:
            row = session.get(PublicationRow, parts.id)
            if row is None:
                row = self._row(parts)
                session.add(row)
                if row.state == PUBLISHED:
                    record_published(session, parts, self._clock())
            return self._view(row, parts)

    def get(self, id_: str) -> Publication:
        """Where a publication stands.

        Raises:
            NotFoundError: there is none of this id.
            TransientError: the store or the database failed.
        """
        return self._view(*self._find(id_))

    def newest(self, role: str | None, version: int | None) -> PublicationList:
        """What was sent, the newest first (``sent.newest``).

        Raises:
            TransientError: the store or the database failed.
        """
        return newest(self._database, self._store, role, version)

    def put_target(self, id_: str, sha256: str, body: IO[bytes], length: int) -> None:
        """Take the bytes of one target.

        Args:
            id_: the publication's id.
            sha256: which target.
            body: its bytes.
            length: how many the caller announced.

        Raises:
            NotFoundError: no such publication, or it names no such target.
            RefusedError: ``wrong_length`` or ``hash_mismatch``; nothing was kept.
            TransientError: the disk failed, or the bytes stopped coming; nothing was kept.
        """
        row, parts = self._find(id_)
        named = _named(parts, sha256)
        path, info = next(iter(named.items()))
        if length != info.length:
            raise RefusedError(
                f"{path} has {info.length} bytes by its signed metadata, and {length} were "
                "announced: nothing was kept.",
                reason="wrong_length",
            )
        # Two releases may hold the same bytes, and each path needs them.
        if row.state == PUBLISHED or all(is_stored(self._store, *one) for one in named.items()):
            return
        self._pending.put(id_, sha256, body, length)

    def commit(self, id_: str) -> Publication:
        """Publish: targets, metadata, heads, directives (rule 2).

        Raises:
            NotFoundError: there is no publication of this id.
            ConflictError: ``targets_missing``.
            RefusedError: what was true when it was posted no longer is; the reason says what. Or
                ``gateways_would_refuse``: a gateway would not follow; nothing was written.
            TransientError: the store or the database failed; or, with the reason
                ``not_published``, not every director follows yet. The same call again goes on.
        """
        row, parts = self._find(id_)
        if row.state != PUBLISHED:
            with self._refusals.counted("publication"):
                over = self._commit(row, parts)
            for publication in over:
                self._pending.clear(publication)
        return self._view(*self._find(id_))

    def sweep(self) -> None:
        """Remove bytes that wait for nothing any more.

        Raises:
            TransientError: the disk or the database failed.
        """
        with self._database.reading() as session:
            waiting = select(PublicationRow.id).where(PublicationRow.state == WAITING)
            self._pending.sweep(set(session.scalars(waiting)))

    # Verifying

    def _verify(self, role: str, text: bytes) -> Parts:
        return verify(
            self._store,
            role,
            text,
            self._clock(),
            largest_target_bytes=self.largest_target_bytes,
        )

    def _check_contents(self, session: Session, parts: Parts) -> None:
        """See that small contents may take effect; they are here, waiting or stored."""
        for part in parts.each:
            if part.role == ROSTER_ROLE:
                self._check_roster(session, parts, part)
            for path, info in part.targets.targets.items():
                facts = permit_facts(path, info.custom)
                if facts is not None:
                    check_length(path, info, MAX_PERMIT)
                    data = self._content(parts.id, path, info, MAX_PERMIT)
                    check_permit(path, data, facts, fleet=fleet_of(session).name)

    def _content(self, id_: str, path: str, info: TargetFile, limit: int) -> bytes:
        data = read_target(self._store, path, info)
        if data is None:
            waiting = self._pending.path(id_, info.hashes["sha256"])
            data = durable.read(waiting, limit=limit, what=path)
        return data

    def _check_roster(self, session: Session, parts: Parts, part: Part) -> None:
        info = check_roster_targets(part.targets)
        data = self._content(parts.id, ROSTER_PATH, info, MAX_ROSTER)
        before = read_released(self._store).roster
        check_roster(data, before, fleet=fleet_of(session).name, now=self._clock())

    # Storing

    def _commit(self, row: PublicationRow, parts: Parts) -> list[str]:
        """Publish; returns the ids of the publications that are over now."""
        missing = self._missing(row.id, parts)
        if missing:
            raise ConflictError(
                f"{len(missing)} targets are missing, {missing[0].path} for one: send them, then "
                "commit again.",
                reason="targets_missing",
            )
        # Large copies are made before the turn is taken; nothing leads to them yet.
        self._verify(row.role, row.metadata_text)
        with self._database.reading() as session:
            self._check_contents(session, parts)
        for path, info in parts.files():
            self._put_target(row.id, path, info)
        with self._database.writing() as session:
            self._publisher.finish(session)
            self._verify(row.role, row.metadata_text)
            self._check_contents(session, parts)
            try:
                self._publisher.publish_image(parts.texts)
            except (RefusedError, TransientError):
                raise
            except InterlockError as e:
                raise TransientError(
                    f"{row.role} {row.version} waits, but the heads could not be moved: {told(e)} "
                    "Mend that, and commit it again.",
                    reason="not_published",
                ) from e
            try:
                self._publisher.publish_directors(session)
            except InterlockError as e:
                raise TransientError(
                    f"{row.role} {row.version} is published, but not every director follows yet: "
                    f"{told(e)} Commit it again, or run 'interlock-server refresh'.",
                    reason="not_published",
                ) from e
            return mark_published(session, row, parts, self._clock())

    def _put_target(self, id_: str, path: str, info: TargetFile) -> None:
        if is_stored(self._store, path, info):
            return
        sha256 = info.hashes["sha256"]
        waiting = self._pending.path(id_, sha256)
        with durable.translated("read", waiting), waiting.open("rb") as file:
            self._store.put_new_stream(
                target_key(path, sha256), file, length=info.length, sha256=sha256
            )

    # Looking up

    def _find(self, id_: str) -> tuple[PublicationRow, Parts]:
        with self._database.reading() as session:
            row = session.get(PublicationRow, id_)
        if row is None:
            raise NotFoundError(
                f"There is no publication {id_[:12]}: post its signed metadata first.",
                reason="unknown_publication",
            )
        return row, read_parts(row.role, row.metadata_text)

    def _row(self, parts: Parts) -> PublicationRow:
        stored = StoredRepository(self._store, IMAGE)
        published = all(
            version <= (stored.published_version(role) or 0)
            for role, version in parts.versions.items()
        )
        return PublicationRow(
            id=parts.id,
            role=parts.role,
            version=parts.version,
            state=PUBLISHED if published else WAITING,
            posted_at=self._clock(),
            metadata_text=parts.text,
        )

    def _view(self, row: PublicationRow, parts: Parts) -> Publication:
        published = row.state == PUBLISHED
        return Publication(
            id=row.id,
            role=row.role,
            version=row.version,
            versions=parts.versions,
            state=PUBLISHED if published else WAITING,
            missing=() if published else tuple(self._missing(row.id, parts)),
        )

    def _missing(self, id_: str, parts: Parts) -> list[MissingTarget]:
        return [
            MissingTarget(path=path, length=info.length, sha256=info.hashes["sha256"])
            for path, info in parts.files()
            if not is_stored(self._store, path, info)
            and not self._pending.has(id_, info.hashes["sha256"], info.length)
        ]


def _named(parts: Parts, sha256: str) -> dict[str, TargetFile]:
    named = {path: info for path, info in parts.files() if info.hashes["sha256"] == sha256}
    if not named:
        raise NotFoundError(
            f"The signed metadata names no target with SHA-256 {sha256[:12]}…: nothing was kept.",
            reason="unknown_target",
        )
    return named
