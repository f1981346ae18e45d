"""Accepts what a later ceremony signed: roots, and targets under other keys (I/O).

Rules:

1. Everything is verified before anything is stored, and again under the turn: both chains from the
   roots in force (``root_chain``), no key in two places, the targets metadata by the newest image
   root, and that the online private keys which the newest roots name are held here.
2. A chain that is in force already, or an older one, changes nothing and takes nobody's turn:
   anybody may send what is public again. One director is read for all that are noted under the
   same roots, so that costs the same however many cohorts there are. Another root of the same
   version is a conflict.
3. Roots belong to this fleet because they follow its own: nothing else is believed about them.
4. Every step is idempotent: after a kill at any point readers see repositories that are whole, and
   the same call again finishes (``rotation``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session
from tuf.api.metadata import Root, Targets

from interlock_core import wire
from interlock_core.api import MAX_BODY, CeremonyInForce, CeremonyRequest, MetadataInForce
from interlock_core.clock import Clock
from interlock_core.errors import (
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
)
from interlock_core.genesis import DIRECTOR, IMAGE
from interlock_core.log import Fact, metadata_fact
from interlock_core.root_chain import check_apart, check_rising, follow
from interlock_core.store import Store
from interlock_core.tuf_metadata import check_signatures, parse_metadata
from interlock_core.tuf_stored import StoredRepository
from interlock_server.db.session import Database
from interlock_server.db.tables import PublicationRow
from interlock_server.heads import Publisher, fleet_of
from interlock_server.logbook import record, unrecorded
from interlock_server.offline import verify_top
from interlock_server.online_keys import missing_keys
from interlock_server.outward import told
from interlock_server.refusals import Refusals
from interlock_server.rotation import Rotation, rotate


@dataclass(frozen=True)
class _Verified:
    """A ceremony against what is in force.

    Attributes:
        rotation: what would be put in force.
        is_in_force: whether there is nothing left to do.
    """

    rotation: Rotation
    is_in_force: bool


class Ceremonies:
    """Where ceremonies are published.

    Args:
        database: whose turn serialises publishers.
        store: where gateways read.
        publisher: holds the online keys.
        refusals: counts them.
        clock: now.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        publisher: Publisher,
        refusals: Refusals,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._refusals = refusals
        self._clock = clock
        self._image = StoredRepository(store, IMAGE)

    def post(self, data: bytes) -> CeremonyInForce:
        """Put a ceremony in force; says what is in force then.

        Raises:
            WireError: malformed.
            RefusedError: as ``root_chain.follow`` and ``offline.verify_top``; ``shared_key``;
                ``gateways_would_refuse``.
            ConflictError: ``other_ceremony``, ``other_root``, ``conflict`` (other targets), or
                ``online_key_missing``; the message says what to do first.
            TransientError: the store or the database failed; or, with the reason
                ``not_published``, not every director follows yet. The same call again goes on.
        """
        request = wire.decode(data, CeremonyRequest, limit=MAX_BODY, what="ceremony")
        with self._refusals.counted("ceremony"):
            with self._database.reading() as session:
                verified = self._verify(session, request)
                if verified.is_in_force and not self._unrecorded(session):
                    return self._in_force(session, changed=False)
            with self._database.writing() as session:
                self._publisher.finish(session)
                verified = self._verify(session, request)
                if not verified.is_in_force:
                    self._put(session, verified.rotation)
                # Of a call that was cut off between the Store and the database, too.
                for fact in self._unrecorded(session):
                    record(session, self._clock(), fact)
                return self._in_force(session, changed=not verified.is_in_force)

    def _unrecorded(self, session: Session) -> list[Fact]:
        """What ceremonies put in force and the log does not hold yet."""
        director = self._publisher.standing_roots(session).texts
        roots = ((IMAGE, self._image.roots()), (DIRECTOR, director))
        facts = [
            metadata_fact(name, Root.type, version, text)
            for name, texts in roots
            for version, text in enumerate(texts, 1)
        ]
        version = self._image.published_version(Targets.type) or 0
        text = self._image.get(version, Targets.type)
        return unrecorded(session, [*facts, metadata_fact(IMAGE, Targets.type, version, text)])

    def _put(self, session: Session, rotation: Rotation) -> None:
        cohorts = self._publisher.cohorts(session)
        rotate(self._publisher, self._store, cohorts, rotation, self._clock())
        newest = self._image.newest(Targets.type)
        # What waits for one of these versions can never be published any more.
        session.execute(
            delete(PublicationRow).where(
                PublicationRow.role == Targets.type,
                PublicationRow.version <= newest,
                PublicationRow.state == "waiting",
            )
        )
        try:
            self._publisher.publish_directors(session)
        except InterlockError as e:
            raise TransientError(
                f"The roots are in force, but not every director follows yet: {told(e)} Publish "
                "the ceremony again, or run 'interlock-server refresh'.",
                reason="not_published",
            ) from e

    # Verifying

    def _verify(self, session: Session, request: CeremonyRequest) -> _Verified:
        now = self._clock()
        sent = [text.encode() for text in request.director]
        roots = self._image.roots()
        image = follow([text.encode() for text in request.image], roots, now)
        # Anybody may ask: what is wrong by itself must not make directors be read.
        check_rising(sent)
        standing = self._publisher.standing_roots(session)
        held = standing.texts
        director = follow(sent, held, now)
        if image.texts or director.texts:
            # Of every root that there ever was: a key that left one repository may be stolen.
            check_apart(_roots((*roots, *image.texts)), _roots((*held, *director.texts)))
        targets = self._targets(request.targets, image.newest)
        is_in_force = not image.texts and targets is None and self._publisher.image().accepted()
        is_in_force = is_in_force and not director.texts
        is_in_force = is_in_force and all(
            self._follows(cohort, director.newest) for cohort in standing.unsure
        )
        if not is_in_force:
            self._check_keys(image.newest, director.newest)
        rotation = Rotation(image.texts, [*held, *director.texts], targets)
        return _Verified(rotation, is_in_force)

    def _follows(self, cohort: str, root: Root) -> bool:
        director = self._publisher.director(cohort)
        return director.root().version == root.version and director.accepted()

    def _check_keys(self, image: Root, director: Root) -> None:
        missing = missing_keys({IMAGE: image, DIRECTOR: director}, self._publisher.signers)
        if missing:
            raise ConflictError(
                f"{missing[0]}, then publish the ceremony again. Nothing was changed.",
                reason="online_key_missing",
            )

    def _targets(self, text: str | None, root: Root) -> bytes | None:
        """Top-level targets to be shown with ``root``, if it is new (rule 1)."""
        newest = self._image.newest_targets()
        data = None if text is None else text.encode()
        if data is None or self._is_known(data):
            if self._image.published_version(Targets.type) == newest.signed.version:
                check_signatures(root, Targets.type, newest)
                return None
            data = self._image.newest_bytes(Targets.type)
            assert data is not None, "there is targets metadata"
        try:
            verify_top(self._store, data, root, self._clock())
        except (ConflictError, RefusedError) as e:
            if e.reason not in {"conflict", "rollback"}:
                raise
            raise ConflictError(
                f"{e} The ceremony must sign the targets metadata that follows the one in force, "
                f"which is {newest.signed.version}.",
                reason="other_targets",
            ) from e
        return data

    def _is_known(self, data: bytes) -> bool:
        """Whether a ceremony carries over targets metadata that is stored here, or was."""
        version = parse_metadata(data, Targets, what="targets metadata").signed.version
        try:
            return self._image.get(version, Targets.type) == data
        except NotFoundError:
            return False

    # Answering

    def _in_force(self, session: Session, *, changed: bool) -> CeremonyInForce:
        roots = (
            self._image.roots(),
            self._publisher.standing_roots(session).texts,
        )
        version = self._image.published_version(Targets.type) or 0
        targets = self._image.get(version, Targets.type)
        return CeremonyInForce(
            fleet=fleet_of(session).name,
            image_root=_said(len(roots[0]), roots[0][-1]),
            director_root=_said(len(roots[1]), roots[1][-1]),
            targets=_said(version, targets),
            changed=changed,
        )


def _said(version: int, data: bytes) -> MetadataInForce:
    return MetadataInForce(version=version, sha256=wire.sha256_hex(data))


def _roots(texts: Sequence[bytes]) -> list[Root]:
    return [parse_metadata(text, Root, what="root metadata").signed for text in texts]
