"""Before heads flip: would gateways follow? (I/O: reads Stores, and works in a scratch directory)

Rules:

1. What would be published is looked at whole and beforehand, through an ``Overlay``; nothing of it
   is in the Store yet.
2. Those who look are unmodified ``tuf.ngclient`` clients, one for each place where gateways stand:
   *fresh* trusts root 1 and nothing else; *oldest* trusts the oldest supported root, and the oldest
   snapshot that the Store holds with what it led to; *current* trusts what is published now.
3. Each must arrive at exactly the staged root, timestamp, snapshot and targets; and at each role
   that changed, with every new target of it as its metadata says. If root or targets changed, the
   fresh one goes to every role.
4. If one does not arrive, nothing is published, and the refusal says which client, where, and why.
   What expired and was not changed is no reason: it stops gateways today already, and whatever
   renews it must be able to come.
5. It costs no bytes of targets: those were verified when they were stored, and only their length is
   asked for. The number of clients, and what each reads, is bounded by the metadata's own limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from interlock_core import disk
from interlock_core.errors import InterlockError, NotFoundError, RefusedError
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE
from interlock_core.store import Store
from interlock_core.tuf_metadata import MAX_ROOT_ROTATIONS, delegated_roles, parse_metadata
from interlock_core.tuf_stored import StoredRepository, metadata_key, timestamp_key

REASON: Final = "gateways_would_refuse"
CHUNK: Final = 256 * 1024
_BASE: Final = "interlock:"
_LOCAL_TARGETS: Final = "targets"


def try_out(
    before: Store, staged: Store, prefix: str, now: datetime, *, oldest_root: int = 1
) -> None:
    """See that gateways would follow from what is published to what is staged (rules 2 to 4).

    Args:
        before: the Store as it is.
        staged: the Store as it would be, an ``Overlay`` of it.
        prefix: ``"image"`` or ``"director/<cohort id>"``.
        now: what time it is for the clients.
        oldest_root: the version of the oldest root that a supported gateway may have.

    Raises:
        RefusedError: ``gateways_would_refuse``.
        TransientError: a Store or the scratch directory failed; nothing is known.
    """
    trial = _Trial(StoredRepository(before, prefix), StoredRepository(staged, prefix), now)
    fresh = [_Standing("that is new", 1)]
    if trial.before.timestamp() is not None:
        newest = trial.before.root().signed.version
        fresh += [
            _Standing(
                "of the oldest supported root",
                min(max(1, oldest_root), newest),
                trial.oldest_snapshot(),
            ),
            _Standing("of today", newest, trial.published(Snapshot.type), has_timestamp=True),
        ]
    for standing in fresh:
        with TemporaryDirectory(prefix="interlock-trial-") as scratch:
            trial.follow(standing, Path(scratch))


@dataclass(frozen=True)
class _Standing:
    """What a client trusts before it looks (rule 2).

    Attributes:
        who: names it, after "A gateway".
        root: the version of its root.
        snapshot: the version of the snapshot that it holds with all that this lists, or None.
        has_timestamp: whether it holds the published timestamp.
    """

    who: str
    root: int
    snapshot: int | None = None
    has_timestamp: bool = False


class _Trial:
    """One staged repository, and the clients that are sent to it."""

    def __init__(self, before: StoredRepository, staged: StoredRepository, now: datetime) -> None:
        self.before = before
        self._staged = staged
        self._now = now
        # Each client meets the same roles, and they may be long: read once for all.
        self._roles: dict[str, tuple[bytes, Targets]] = {}
        self._new: dict[str, list[str]] = {}

    # What changes

    def published(self, role: str) -> int | None:
        """The version of a role that gateways are led to today."""
        return self.before.published_version(role)

    def oldest_snapshot(self) -> int | None:
        """The oldest snapshot that the Store holds."""
        folder = metadata_key(self.before.prefix, 1, Snapshot.type).rpartition("/")[0] + "/"
        names = (key.removeprefix(folder) for key in self.before.store.list(folder))
        versions = [int(n.partition(".")[0]) for n in names if n.endswith(f".{Snapshot.type}.json")]
        return min(versions, default=None)

    @cached_property
    def _arrival(self) -> Mapping[str, int]:
        """The versions at which every client must arrive (rule 3)."""
        timestamp, snapshot = self._staged.timestamp(), self._staged.snapshot()
        if timestamp is None or snapshot is None:
            raise NotFoundError(f"Nothing is staged in {self._staged.prefix}.")
        listed = {name.removesuffix(".json"): m.version for name, m in snapshot.signed.meta.items()}
        return listed | {
            Root.type: self._staged.root().signed.version,
            Timestamp.type: timestamp.signed.version,
            Snapshot.type: snapshot.signed.version,
        }

    @cached_property
    def _departure(self) -> Mapping[str, int]:
        """The versions that are published today."""
        snapshot = self.before.snapshot()
        if snapshot is None:
            return {}
        listed = {name.removesuffix(".json"): m.version for name, m in snapshot.signed.meta.items()}
        return listed | {Root.type: self.before.root().signed.version}

    def _stays(self, role: str) -> bool:
        return self._departure.get(role) == self._arrival.get(role)

    @cached_property
    def _top(self) -> Targets:
        return self._role(Targets.type)

    def _role(self, role: str) -> Targets:
        return self._read(role)[1]

    def _read(self, role: str) -> tuple[bytes, Targets]:
        if role not in self._roles:
            data = self._staged.get(self._arrival[role], role)
            metadata = parse_metadata(data, Targets, what=f"staged {role}")
            self._roles[role] = (data, metadata.signed)
        return self._roles[role]

    def _new_paths(self, role: str) -> list[str]:
        """The targets of a role that are not there today, or are otherwise."""
        if role not in self._new:
            staged, held = self._role(role).targets, self._departure.get(role)
            known: Mapping[str, TargetFile] = {}
            if held is not None:
                data = self.before.get(held, role)
                known = parse_metadata(data, Targets, what=role).signed.targets
            self._new[role] = [path for path in staged if known.get(path) != staged[path]]
        return self._new[role]

    def _lapsed(self, role: str) -> bool:
        """Whether a role expired and is not changed (rule 4)."""
        if not self._stays(role):
            return False
        signed = self._staged.root().signed if role == Root.type else self._role(role)
        return signed.is_expired(self._now)

    # The clients

    def follow(self, standing: _Standing, scratch: Path) -> None:
        """Send one client (rules 3 and 4)."""
        with disk.translated("write", scratch):
            self._settle(standing, scratch)
        with self._named(standing, "", Root.type, Targets.type) as whole:
            updater = self._updater(standing, scratch)
            updater.refresh()
            self._check_arrival(standing, scratch)
        if not whole.ended:
            return
        everything = standing.snapshot is None and not (
            self._stays(Root.type) and self._stays(Targets.type)
        )
        for role in delegated_roles(self._top):
            if role in self._arrival and (everything or not self._stays(role)):
                with self._named(standing, f" at {role}", role):
                    self._visit(updater, role, scratch)

    def _settle(self, standing: _Standing, scratch: Path) -> None:
        """Lay out what the client trusts already."""
        (scratch / _LOCAL_TARGETS).mkdir()
        if standing.snapshot is None:
            return
        data = self.before.get(standing.snapshot, Snapshot.type)
        (scratch / f"{Snapshot.type}.json").write_bytes(data)
        held = parse_metadata(data, Snapshot, what="snapshot that is held").signed
        for name, meta in held.meta.items():
            role = name.removesuffix(".json")
            # What is not there any more, it fetches.
            with suppress(NotFoundError):
                (scratch / name).write_bytes(self.before.get(meta.version, role))
        if standing.has_timestamp:
            data = self.before.store.get(timestamp_key(self.before.prefix))
            (scratch / f"{Timestamp.type}.json").write_bytes(data)

    def _updater(self, standing: _Standing, scratch: Path) -> Updater:
        prefix = f"{_BASE}{self._staged.prefix}"
        updater = Updater(
            str(scratch),
            f"{prefix}/metadata/",
            str(scratch / _LOCAL_TARGETS),
            f"{prefix}/targets/",
            fetcher=_StoreFetcher(self._staged.store),
            config=UpdaterConfig(max_root_rotations=MAX_ROOT_ROTATIONS),
            bootstrap=self._staged.get(standing.root, Root.type),
        )
        # ngclient has no public way to say what time it is; this server's clock is a parameter.
        updater._trusted_set.reference_time = self._now  # noqa: SLF001
        return updater

    def _check_arrival(self, standing: _Standing, scratch: Path) -> None:
        for role in (Root.type, Timestamp.type, Snapshot.type, Targets.type):
            self._check_version(standing, role, (scratch / f"{role}.json").read_bytes())

    def _check_version(self, standing: _Standing, role: str, data: bytes) -> None:
        arrived = Metadata[Any].from_bytes(data).signed.version
        if arrived != self._arrival[role]:
            raise _refused(
                standing, "", f"it stays at {role} {arrived} and {self._arrival[role]} is staged"
            )

    def _visit(self, updater: Updater, role: str, scratch: Path) -> None:
        """Have a client find a delegated role, and what is new in it."""
        signed, staged = self._read(role)
        # ngclient loads a role on the way to a target; this one need not exist.
        none = ROSTER_PATH if role == ROSTER_ROLE else f"{role}/0/none"
        for path in self._new_paths(role) or [none]:
            found = updater.get_targetinfo(path)
            if found != staged.targets.get(path):
                raise exceptions.RepositoryError(f"{path} is found otherwise than it was signed")
            if found is not None:
                self._check_length(path, found)
        if (scratch / f"{role}.json").read_bytes() != signed:
            raise exceptions.RepositoryError(f"another {role} than {staged.version} is found")

    def _check_length(self, path: str, info: TargetFile) -> None:
        folder, _, name = path.rpartition("/")
        digest = info.hashes["sha256"]
        within = f"{folder}/" if folder else ""
        length = self._staged.store.size(f"{self._staged.prefix}/targets/{within}{digest}.{name}")
        if length != info.length:
            raise exceptions.RepositoryError(f"{path} has {length} bytes")

    @contextmanager
    def _named(self, standing: _Standing, where: str, *roles: str) -> Iterator[_Ended]:
        """Say which client failed where (rule 4)."""
        ended = _Ended()
        try:
            yield ended
            ended.ended = True
        except exceptions.ExpiredMetadataError as e:
            if not any(self._lapsed(role) for role in roles):
                raise _refused(standing, where, e) from e
        except exceptions.DownloadError as e:
            if isinstance(e.__cause__, InterlockError):
                raise e.__cause__ from e
            raise _refused(standing, where, e) from e
        except (exceptions.RepositoryError, NotFoundError) as e:
            raise _refused(standing, where, e) from e


@dataclass
class _Ended:
    """Whether what was tried came to its end."""

    ended: bool = False


class _StoreFetcher(FetcherInterface):
    """Answers a client from a Store, as a static file server would."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            file = self._store.open(url.removeprefix(_BASE))
        except NotFoundError as e:
            raise exceptions.DownloadHTTPError(str(e), 404) from e
        with file:
            while chunk := file.read(CHUNK):
                yield chunk


def _refused(standing: _Standing, where: str, why: object) -> RefusedError:
    return RefusedError(
        f"A gateway {standing.who} would not follow{where}: {why}. Nothing of it was published.",
        reason=REASON,
    )
