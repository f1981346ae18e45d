"""Keeps the online metadata and the poll bundles: one publisher at a time (I/O).

Rules:

1. Whoever publishes holds the database's turn, reads everything anew after taking it, and writes
   the Store inside it. So versions rise, and nobody's change is lost, on any number of hosts.
2. What is named comes before what names it: immutable objects, then ``timestamp.json``, then
   ``poll/<cohort>``. So a reader sees a whole repository at every instant, and a crash at any write
   leaves the old one. Roots have an order of their own (``rotation``).
3. Publishing is a function of what is on file and what is released. Running it again after a
   failure finishes it; with nothing to change it writes nothing.
4. One cohort that cannot be published keeps none of the others waiting: the first error is raised
   at the end.
5. The bundle carries no authority and may be left out: if it would be too long, the longest texts
   are left to the ordinary URLs.
6. Whoever publishes everything first judges anew whose countersignatures count (``standing``), and
   whoever makes a directive which assignments are over (``moves``). A cohort whose directive is out
   is not due any more.
7. Offline metadata is shown only after real clients followed to it (``trial``), and so is every
   director whose heads change with it: what they saw is what is written. Statements and refreshes
   go without: a stop, and heads that expire, must reach those who still can follow.
8. All directors are under the same roots (``rotation``): one that a failure left behind is brought
   up to the others by a refresh. A refresh also ends the time in which two keys sign.
9. Whoever publishes a director notes the root that it is under. So what all directors are under is
   read of one of them, however many there are.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from securesystemslib.signer import Signer
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets

from interlock_core import wire
from interlock_core.bundle import MAX_BUNDLE, Bundle, Roots
from interlock_core.clock import Clock
from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    NotFoundError,
    RefusedError,
    TransientError,
)
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.roster import Judge
from interlock_core.store import Store
from interlock_core.tuf_repository import OnlineRepository
from interlock_core.tuf_stored import StoredRepository, metadata_key, timestamp_key
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow, FleetRow
from interlock_server.director import Directed, direct
from interlock_server.holds import with_holds
from interlock_server.image import Released, read_released
from interlock_server.moves import settle, with_moves
from interlock_server.noted import held
from interlock_server.onfile import OnFile, read_on_file
from interlock_server.online_keys import Signers, missing_keys
from interlock_server.overlay import Overlay
from interlock_server.standing import rejudge
from interlock_server.trial import try_out
from interlock_server.unfinished import cut_off, mark_published

ALWAYS: Final = timedelta(days=36_500)
"""A margin that every head is within."""

_log = logging.getLogger(__name__)


def director_prefix(cohort: str) -> str:
    """Where a cohort's director lies in the Store."""
    return f"{DIRECTOR}/{cohort}"


def directive_key(cohort: str, info: TargetFile) -> str:
    """Where a directive lies in the Store."""
    return f"{director_prefix(cohort)}/targets/{info.hashes['sha256']}.{DIRECTIVE_PATH}"


def poll_key(cohort: str) -> str:
    """Where a cohort's poll bundle lies in the Store."""
    return f"poll/{cohort}"


def fleet_of(session: Session) -> FleetRow:
    """What the ceremony fixed.

    Raises:
        ConfigurationError: ``init`` has not run.
    """
    row = session.get(FleetRow, 1)
    if row is None:
        raise ConfigurationError(
            "This server was not initialised: run 'interlock-server init CEREMONY_DIR'.",
            reason="not_initialised",
        )
    return row


def cohorts_of(session: Session) -> list[str]:
    """The cohorts that have a director, sorted."""
    return list(session.scalars(select(CohortRow.name).order_by(CohortRow.name)))


@dataclass(frozen=True)
class Refreshed:
    """What a refresh wrote: the repositories whose heads are new."""

    written: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class DirectorRoots:
    """What the directors are under (rule 9).

    Attributes:
        texts: every root, from the first to the newest; empty if there is none yet.
        unsure: the cohorts of which it is not noted that they are under the newest.
    """

    texts: Sequence[bytes]
    unsure: Sequence[str]


@dataclass(frozen=True)
class _Again:
    """What a refresh does beside publishing (rule 8).

    Attributes:
        margin: what expires within it is signed again.
        roots: of the directors.
        written: the repositories whose heads are new are added to it.
    """

    margin: timedelta | None
    roots: Sequence[bytes]
    written: list[str]


@dataclass(frozen=True)
class _Ground:
    """What every cohort's director is made from, read under the turn (rule 1)."""

    fleet: str
    on_file: OnFile
    released: Released
    judge: Judge | None
    held: Collection[tuple[str, str]]

    def directed(self, cohort: str) -> Directed:
        """What the director of a cohort shall list now."""
        held = {order for order, where in self.held if where == cohort}
        return direct(self.judge, self.on_file, self.released, self.fleet, cohort, held)


class Publisher:
    """The one writer of online metadata.

    Args:
        database: whose turn serialises publishers.
        store: where gateways read.
        signers: the online keys that are held, by name.
        clock: now.
        oldest_root: the version of the oldest image root that a supported gateway may have.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        signers: Signers,
        clock: Clock,
        *,
        oldest_root: int = 1,
    ) -> None:
        self._database = database
        self._store = store
        self.signers = signers
        self._clock = clock
        self.oldest_root = oldest_root

    def image(self, store: Store | None = None) -> OnlineRepository:
        """The online side of the image repository, as it would be in ``store``."""
        return OnlineRepository(store or self._store, IMAGE, self._roles(IMAGE), self._clock)

    def director(self, cohort: str, store: Store | None = None) -> OnlineRepository:
        """The online side of a cohort's director, as it would be in ``store``."""
        return OnlineRepository(
            store or self._store,
            director_prefix(cohort),
            self._roles(DIRECTOR),
            self._clock,
            cohort=cohort,
        )

    def director_roots(self, cohorts: Iterable[str]) -> list[bytes]:
        """Every root of the directors (rule 8); empty if there is none yet."""
        chains = [StoredRepository(self._store, director_prefix(one)).roots() for one in cohorts]
        return max(chains, key=len, default=[])

    def standing_roots(self, session: Session) -> DirectorRoots:
        """Every root of the directors, read of one for all that are noted under the same (rule 9).

        A director that lost its newest root is not where it was noted: then all are looked at.
        """
        rows = session.execute(select(CohortRow.name, CohortRow.root_sha256))
        noted = dict(rows.all())
        one_of_each = {under or name: name for name, under in sorted(noted.items())}
        texts = self.director_roots(one_of_each.values())
        newest = wire.sha256_hex(texts[-1]) if texts else None
        return DirectorRoots(texts, [name for name in sorted(noted) if noted[name] != newest])

    def missing_keys(self, cohorts: Iterable[str]) -> list[str]:
        """What keeps the roots in force from being signed for here; empty if nothing does."""
        image = StoredRepository(self._store, IMAGE).root().signed
        # All directors are under the same roots: equal sentences are said once.
        return list(
            dict.fromkeys(
                text
                for cohort in cohorts
                for text in missing_keys(
                    {
                        IMAGE: image,
                        DIRECTOR: StoredRepository(self._store, director_prefix(cohort))
                        .root()
                        .signed,
                    },
                    self.signers,
                )
            )
        )

    def _roles(self, repository: str) -> dict[str, Sequence[Signer]]:
        return {
            role: self.signers[name]
            for name, pairs in ONLINE_ROLES.items()
            for of, role in pairs
            if of == repository
        }

    def publish_cohorts(self, cohorts: Iterable[str]) -> None:
        """Publish the directives of these cohorts as the statements on file ask for.

        Raises:
            InterlockError: the first thing that went wrong, after all were tried (rule 4).
        """
        with self._database.writing() as session:
            self.direct_cohorts(session, sorted(cohorts))

    def publish_image(self, offline: Mapping[str, bytes] | None = None) -> bool:
        """Show what is stored of the image repository, and ``offline`` with it (rule 7).

        The caller holds the turn.

        Args:
            offline: verified metadata by role, to be stored first.

        Returns:
            Whether anything is new.

        Raises:
            RefusedError: ``gateways_would_refuse``; nothing was written.
            InterlockError: as ``OnlineRepository.publish``, or the Store failed.
        """
        staged = Overlay(self._store)
        repository = self.image(staged)
        for role, text in (offline or {}).items():
            repository.put_offline(role, text)
        published = repository.publish()
        if published:
            try_out(self._store, staged, IMAGE, self._clock(), oldest_root=self.oldest_root)
        staged.write()
        return bool(published)

    def finish(self, session: Session) -> None:
        """Publish what a failure cut off (``unfinished``), before anything else is.

        What gateways would refuse by now is logged, and stays as it is.

        Args:
            session: one that holds the turn.

        Raises:
            TransientError: the store failed.
            WireError: what is stored is damaged.
        """
        for row, parts in cut_off(session, self._store):
            try:
                self.publish_image(parts.texts)
            except RefusedError as e:
                _log.error("%s %s was cut off and stays so: %s", row.role, row.version, e)
            else:
                mark_published(session, row, parts, self._clock())

    def publish_directors(self, session: Session) -> None:
        """Publish every director and bundle by what the image repository says now.

        Args:
            session: one that holds the turn.

        Raises:
            InterlockError: the first thing that went wrong.
        """
        self._rejudge(session)
        self.direct_cohorts(session, self.cohorts(session), tried=True)

    def _rejudge(self, session: Session) -> None:
        roster = read_released(self._store).roster
        if roster is not None:
            rejudge(session, roster, self._clock())

    def refresh(self, *, force: bool = False) -> Refreshed:
        """Sign again what expires soon, and publish what a failure may have left undone.

        Args:
            force: sign everything again, however long it lives.

        Raises:
            InterlockError: the first thing that went wrong, after all were tried (rule 4).
        """
        try:
            return self._refresh(ALWAYS if force else None)
        finally:
            # In a turn of its own: a cohort that cannot be published must not keep somebody who
            # was revoked entitled.
            with self._database.writing() as session:
                self._rejudge(session)

    def _refresh(self, margin: timedelta | None) -> Refreshed:
        written: list[str] = []
        with self._database.writing() as session:
            cohorts = self.cohorts(session)
            image = self.image()
            try:
                # Both, in this order: what expires is signed again as it stands, and only then may
                # more be shown, such as releases that somebody with the keys had taken back.
                refreshed = image.refresh(margin, alone=True)
                self.finish(session)
                if self.publish_image() or refreshed:
                    written.append(IMAGE)
            finally:
                again = _Again(margin, self.director_roots(cohorts), written)
                self.direct_cohorts(session, cohorts, again)
        return Refreshed(tuple(written), len(cohorts) + 1)

    def cohorts(self, session: Session) -> list[str]:
        """The cohorts that have a director, sorted."""
        return cohorts_of(session)

    def direct_cohorts(
        self,
        session: Session,
        cohorts: Sequence[str],
        again: _Again | None = None,
        *,
        tried: bool = False,
    ) -> None:
        """Publish directors and bundles of ``cohorts``; the session must hold the turn.

        Args:
            session: one that holds the turn.
            cohorts: whose.
            again: what a refresh does beside it.
            tried: whether real clients look at new heads first (rule 7).

        Raises:
            InterlockError: the first thing that went wrong, after all were tried (rule 4).
        """
        settle(session, cohorts, self._clock())
        ground = self._ground(session)
        first: InterlockError | None = None
        for cohort in cohorts:
            try:
                if self._direct(ground, cohort, again, tried=tried) and again is not None:
                    again.written.append(director_prefix(cohort))
                self._note(session, cohort)
            except InterlockError as e:
                _log.error("the director of %s could not be published: %s", cohort, e)
                first = first or e
            except Exception as e:  # noqa: BLE001  # a stop for the others must not wait for it
                _log.exception("the director of %s could not be published", cohort)
                first = first or TransientError(
                    f"The director of {cohort} could not be published ({type(e).__name__}): the "
                    "log of the server says more.",
                    reason="not_published",
                )
        if first is not None:
            raise first

    def _note(self, session: Session, cohort: str) -> None:
        """A cohort's director shows what it shall, under its newest root (rules 6 and 9)."""
        root = StoredRepository(self._store, director_prefix(cohort)).newest_bytes(Root.type)
        noted = {"due": False, "root_sha256": root and wire.sha256_hex(root)}
        shown = update(CohortRow).where(
            CohortRow.name == cohort,
            or_(
                CohortRow.due.is_(True),
                CohortRow.root_sha256.is_distinct_from(noted["root_sha256"]),
            ),
        )
        session.execute(shown.values(noted))

    def _ground(self, session: Session) -> _Ground:
        on_file = with_moves(session, read_on_file(session))
        on_file = with_holds(session, on_file, self._clock())
        released = read_released(self._store)
        now = on_file.judging_time(self._clock())
        judge = Judge(released.roster, now) if released.roster else None
        return _Ground(fleet_of(session).name, on_file, released, judge, held(session))

    def directed(self, session: Session, cohort: str) -> Directed:
        """What the director of a cohort shall list now; nothing is written."""
        return self._ground(session).directed(cohort)

    def _direct(self, ground: _Ground, cohort: str, again: _Again | None, *, tried: bool) -> bool:
        directed = ground.directed(cohort)
        for path in directed.unlisted:
            _log.error("%s is ordered at %s and not released as ordered", path, cohort)
        for product in directed.cut:
            _log.error("not all that was signed about %s fits the directive of %s", product, cohort)
        staged = Overlay(self._store)
        repository = self.director(cohort, staged)
        if again is not None and 0 < len(repository.stored.roots()) < len(again.roots):
            repository.put_roots(again.roots)
        info = TargetFile.from_data(DIRECTIVE_PATH, directed.directive, ["sha256"])
        _put_directive(staged, cohort, info, directed.directive)
        published = repository.publish_targets({DIRECTIVE_PATH: info, **directed.images})
        refreshed = repository.refresh(again.margin if again else None, alone=again is not None)
        changed = bool(published) or bool(refreshed)
        if tried and changed:
            try_out(self._store, staged, director_prefix(cohort), self._clock())
        staged.replace(poll_key(cohort), poll_bundle(staged, cohort))
        staged.write()
        return changed


def _put_directive(store: Store, cohort: str, info: TargetFile, data: bytes) -> None:
    key = directive_key(cohort, info)
    published = StoredRepository(store, director_prefix(cohort)).published_targets()
    if published is not None and published.signed.targets.get(DIRECTIVE_PATH) == info:
        # It was put, durably, before the heads led to it; put it again only if it was lost.
        with suppress(NotFoundError):
            if store.size(key) == info.length:
                return
    store.put_new(key, data)


def poll_bundle(store: Store, cohort: str) -> bytes:
    """The poll bundle of what is published (rule 5).

    Raises:
        NotFoundError: a repository was not published yet.
        TransientError: the store cannot be read.
    """
    director = director_prefix(cohort)
    files: dict[str, str] = {}
    roots: dict[str, int] = {}
    for prefix, roles in ((IMAGE, (Snapshot.type,)), (director, (Snapshot.type, Targets.type))):
        stored = StoredRepository(store, prefix)
        with stored.one_listing():
            keys = [timestamp_key(prefix)]
            for role in roles:
                version = stored.published_version(role)
                if version is None:
                    raise NotFoundError(f"Nothing was published in {prefix} yet.")
                keys.append(metadata_key(prefix, version, role))
            roots[prefix] = stored.root().signed.version
            targets = stored.published_targets() if prefix == director else None
        if targets is not None:
            keys.append(directive_key(cohort, targets.signed.targets[DIRECTIVE_PATH]))
        files |= {f"/{key}": store.get(key).decode() for key in keys}
    while True:
        text = wire.encode(
            Bundle(
                cohort=cohort,
                roots=Roots(image=roots[IMAGE], director=roots[director]),
                files=files,
            )
        )
        if len(text) <= MAX_BUNDLE:
            return text
        del files[max(files, key=lambda path: len(files[path]))]
