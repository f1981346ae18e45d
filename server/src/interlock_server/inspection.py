"""``check``: reads everything as a gateway would and names what is wrong (I/O, reading).

Rules:

1. Every repository is read by an unmodified ``tuf.ngclient`` that begins with the first root, held
   against the digest which ``init`` recorded, so whoever changed the Store is found.
2. Roots: those of all directors are the same, and the online keys that they name are held here.
3. The log is held against what is published of it and against the facts (``log_inspection``).
4. A problem has a name, a place and a sentence. What gateways would refuse is *refused*; the rest
   (permissions, work that ``refresh`` has to do) is a fault.
"""

from __future__ import annotations

import hashlib
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session
from tuf.api import exceptions
from tuf.api.metadata import Root, TargetFile
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from interlock_core.clock import Clock
from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.errors import InterlockError, NotFoundError
from interlock_core.genesis import IMAGE
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.store import FileStore
from interlock_core.tuf_repository import ROLES
from interlock_core.tuf_stored import StoredRepository, metadata_key
from interlock_core.wire import format_time, sha256_hex
from interlock_server.checkpoints import Checkpoints
from interlock_server.db.session import Database
from interlock_server.db.tables import PublicationRow
from interlock_server.heads import (
    Publisher,
    directive_key,
    director_prefix,
    fleet_of,
    poll_bundle,
    poll_key,
)
from interlock_server.image import Released, read_released, target_key
from interlock_server.log_inspection import inspect_log
from interlock_server.offline import read_parts

ROSTER_WARNING: Final = timedelta(days=7)

_BASE: Final = "http://store.invalid/"
_OTHERS_READ: Final = 0o077
_OTHERS_WRITE: Final = 0o022


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        refused: gateways, or whoever verifies the log, would refuse it.
    """

    name: str
    where: str
    detail: str
    refused: bool


class _StoreFetcher(FetcherInterface):
    """Answers a TUF client from the Store, as any static file server would."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield self._store.get(url.removeprefix(_BASE))
        except NotFoundError as e:
            raise exceptions.DownloadHTTPError(str(e), 404) from e


@dataclass(frozen=True)
class Inspection:
    """What is looked at.

    Attributes:
        private: files that only their owner may read.
        hashes: also hash every target, which reads the whole Store.
    """

    database: Database
    store: FileStore
    publisher: Publisher
    checkpoints: Checkpoints
    clock: Clock
    private: tuple[Path, ...]
    hashes: bool = False

    def run(self) -> list[Problem]:
        """Look at everything.

        Raises:
            ConfigurationError: the server was not initialised.
            TransientError: the store or the database failed.
        """
        problems = list(self._permissions())
        with self.database.reading() as session:
            fleet = fleet_of(session)
            cohorts = self.publisher.cohorts(session)
            problems += self._roots(cohorts)
            problems += self._repository(IMAGE, fleet.image_root)
            for cohort in cohorts:
                problems += self._repository(director_prefix(cohort), fleet.director_root)
            if not any(problem.refused for problem in problems):
                # Only what can be read at all can be compared.
                problems += self._published(session)
                for cohort in cohorts:
                    problems += self._cohort(session, cohort)
            problems += (
                Problem(one.name, one.where, one.detail, one.refused)
                for one in inspect_log(session, fleet, self.store, self.checkpoints)
            )
        return problems

    # Roots

    def _roots(self, cohorts: Sequence[str]) -> Iterator[Problem]:
        """What a change of roots may have left undone (rule 2)."""
        directors = [director_prefix(cohort) for cohort in cohorts]
        newest = len(self.publisher.director_roots(cohorts))
        for prefix in (IMAGE, *directors):
            stored = StoredRepository(self.store, prefix)
            has = stored.newest(Root.type) or 0
            if prefix != IMAGE and has < newest:
                detail = (
                    f"it stands at root {has}, and others at {newest}: run 'interlock-server "
                    "refresh'"
                )
                yield Problem("root_behind", prefix, detail, False)
            elif (beyond := stored.root_beyond()) is not None:
                detail = (
                    f"root {beyond.signed.version} waits for root {has + 1}, which is missing: "
                    "publish the ceremony again"
                )
                yield Problem("root_waits", prefix, detail, False)
        if newest and StoredRepository(self.store, IMAGE).newest(Root.type):
            for text in self.publisher.missing_keys(cohorts):
                yield Problem("wrong_online_key", "keys", text, False)

    # As a gateway

    def _repository(self, prefix: str, root_digest: str) -> Iterator[Problem]:
        try:
            root = self.store.get(metadata_key(prefix, 1, Root.type))
        except NotFoundError as e:
            yield Problem("missing_object", prefix, str(e), True)
            return
        if sha256_hex(root) != root_digest:
            yield Problem(
                "wrong_root", prefix, "the first root is not the one that init recorded", True
            )
            return
        try:
            self._read_as_gateway(prefix, root)
        except exceptions.ExpiredMetadataError as e:
            yield Problem("expired_metadata", prefix, str(e), True)
        except exceptions.RepositoryError as e:
            yield Problem("untrusted_metadata", prefix, str(e), True)
        except exceptions.DownloadError as e:
            yield Problem("missing_object", prefix, str(e), True)
        else:
            yield from self._due(prefix)

    def _read_as_gateway(self, prefix: str, root: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            updater = Updater(
                directory,
                f"{_BASE}{prefix}/metadata/",
                directory,
                f"{_BASE}{prefix}/targets/",
                fetcher=_StoreFetcher(self.store),
                bootstrap=root,
            )
            updater.refresh()
            if prefix != IMAGE:
                info = updater.get_targetinfo(DIRECTIVE_PATH)
                if info is None:
                    raise exceptions.RepositoryError("the director lists no directive")
                updater.download_target(info)
                return
            for paths in read_released(self.store).products.values():
                # One target of each product makes the client verify the product's role.
                for path in list(paths)[:1]:
                    updater.get_targetinfo(path)

    def _due(self, prefix: str) -> Iterator[Problem]:
        stored, now = StoredRepository(self.store, prefix), self.clock()
        heads = (stored.timestamp(), stored.snapshot())
        targets = None if prefix == IMAGE else stored.published_targets()
        for head in (*heads, targets):
            if head is None:
                continue
            role, expires = head.signed.type, head.signed.expires
            if expires - now < ROLES[role].lifetime / 2:
                yield Problem(
                    "refresh_overdue",
                    f"{prefix}/{role}",
                    f"expires at {format_time(expires)}: run 'interlock-server refresh', and see "
                    "why its timer did not",
                    False,
                )

    # Against the database

    def _published(self, session: Session) -> Iterator[Problem]:
        released = read_released(self.store)
        yield from self._roster(released)
        for targets in released.products.values():
            for path, info in targets.items():
                yield from self._target(path, info)
        published = select(PublicationRow).where(PublicationRow.state == "published")
        for row in session.scalars(published):
            parts = read_parts(row.role, row.metadata_text)
            for part in parts.each:
                key = metadata_key(IMAGE, part.targets.version, part.role)
                try:
                    same = self.store.get(key) == part.text
                except NotFoundError:
                    same = False
                if not same:
                    yield Problem("missing_object", key, "it was published and is not there", True)

    def _roster(self, released: Released) -> Iterator[Problem]:
        if released.roster is None:
            yield Problem("no_roster", IMAGE, "no roster is published: nobody is entitled", False)
            return
        until = released.roster.issued + MAX_ROSTER_AGE
        where, text = "interlock/roster.json", f"gateways believe it until {format_time(until)}"
        if until <= self.clock():
            yield Problem("roster_stale", where, text, True)
        elif until - ROSTER_WARNING <= self.clock():
            yield Problem("roster_expires_soon", where, text, False)

    def _target(self, path: str, info: TargetFile) -> Iterator[Problem]:
        sha256 = info.hashes["sha256"]
        try:
            with self.store.open(target_key(path, sha256)) as file:
                right = self.store.size(target_key(path, sha256)) == info.length
                if right and self.hashes:
                    right = hashlib.file_digest(file, "sha256").hexdigest() == sha256  # type: ignore[arg-type]  # typeshed asks for readinto
        except NotFoundError:
            yield Problem("missing_object", path, "the store has lost this target", True)
            return
        if not right:
            yield Problem("hash_mismatch", path, "its bytes are not those that were signed", True)

    def _cohort(self, session: Session, cohort: str) -> Iterator[Problem]:
        try:
            wanted = self.publisher.directed(session, cohort).directive
            info = TargetFile.from_data(DIRECTIVE_PATH, wanted, ["sha256"])
            listed = StoredRepository(self.store, director_prefix(cohort)).published_targets()
            assert listed is not None
            current = listed.signed.targets[DIRECTIVE_PATH] == info
            current = current and self.store.get(directive_key(cohort, info)) == wanted
        except InterlockError as e:
            yield Problem(e.reason, cohort, str(e), False)
            return
        if not current:
            yield Problem(
                "directive_outdated",
                cohort,
                "the directive is not what the statements on file ask for: run "
                "'interlock-server refresh'",
                False,
            )
        try:
            fresh = self.store.get(poll_key(cohort)) == poll_bundle(self.store, cohort)
        except NotFoundError:
            fresh = False
        if not fresh:
            detail = "the poll bundle is not what is published: run 'interlock-server refresh'"
            yield Problem("bundle_outdated", cohort, detail, False)

    # Permissions

    def _permissions(self) -> Iterator[Problem]:
        for path in self.private:
            mode = _mode(path)
            if mode is not None and mode & _OTHERS_READ:
                detail = f"others than its owner may use it: run 'chmod 600 {path}'"
                yield Problem("open_secret", str(path), detail, False)
        for path in _directories(self.store.root):
            mode = _mode(path)
            if mode is not None and mode & _OTHERS_WRITE:
                detail = f"others than its owner may write it: run 'chmod go-w {path}'"
                yield Problem("writable_store", str(path), detail, False)


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        # What is missing or out of reach is found where it is needed.
        return None


def _directories(root: Path) -> Iterable[Path]:
    yield root
    yield from (path for path in root.rglob("*") if path.is_dir())
