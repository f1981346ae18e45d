"""A TUF repository as it lies in a Store: reading only (I/O).

Rules:

1. What is *published* is what ``timestamp.json`` leads to. What is *stored* may be newer: offline
   metadata that waits for ``publish``, and leavings of a crash.
2. Metadata other than the timestamp is immutable: ``<version>.<role>.json``.
3. The newest root is the last that readers come to, who walk without a gap. One that stands beyond
   a gap waits for those before it: a change of roots was cut off there, or a root was lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Final

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from interlock_core.errors import NotFoundError
from interlock_core.store import Store
from interlock_core.tuf_metadata import parse_metadata

_FILE: Final = re.compile(r"([1-9][0-9]{0,14})\.([a-z0-9][a-z0-9-]{0,62})\.json\Z")


def metadata_key(prefix: str, version: int, role: str) -> str:
    """The store key of versioned metadata (rule 2)."""
    return f"{prefix}/metadata/{version}.{role}.json"


def timestamp_key(prefix: str) -> str:
    """The store key of the one head."""
    return f"{prefix}/metadata/timestamp.json"


def newest_versions(store: Store, prefix: str) -> dict[str, int]:
    """The highest stored version of each role, published or not; of root as rule 3 says.

    Raises:
        TransientError: the store cannot be read.
    """
    versions = _versions(store, prefix)
    newest = {role: _newest(versions, role) for role in versions}
    return {role: version for role, version in newest.items() if version is not None}


def _versions(store: Store, prefix: str) -> dict[str, set[int]]:
    versions: dict[str, set[int]] = {}
    folder = f"{prefix}/metadata/"
    for key in store.list(folder):
        match = _FILE.match(key.removeprefix(folder))
        if match:
            versions.setdefault(match[2], set()).add(int(match[1]))
    return versions


def _newest(versions: Mapping[str, set[int]], role: str) -> int | None:
    stored = versions.get(role, set())
    if role != Root.type:
        return max(stored, default=None)
    return next(n for n in count(1) if n + 1 not in stored) if 1 in stored else None


def newest_root(store: Store, prefix: str) -> Metadata[Root]:
    """The newest root of a repository.

    Raises:
        NotFoundError: there is none yet.
        TransientError: the store cannot be read.
    """
    return StoredRepository(store, prefix).root()


class StoredRepository:
    """Reads one repository.

    Every method raises ``TransientError`` if the store cannot be read, and ``WireError`` if what
    is stored is damaged.

    Args:
        store: where it lives.
        prefix: ``"image"`` or ``"director/<cohort id>"``.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self.store = store
        self.prefix = prefix
        self._listing: dict[str, set[int]] | None = None

    @contextmanager
    def one_listing(self) -> Iterator[None]:
        """Inside, stored versions are listed once; ``note`` keeps the list true."""
        self._listing = _versions(self.store, self.prefix)
        try:
            yield
        finally:
            self._listing = None

    def note(self, role: str, version: int) -> None:
        """A new version was just stored."""
        if self._listing is not None:
            self._listing.setdefault(role, set()).add(version)

    def _stored(self) -> dict[str, set[int]]:
        if self._listing is not None:
            return self._listing
        return _versions(self.store, self.prefix)

    def newest(self, role: str) -> int | None:
        """The highest stored version of a role (rule 1)."""
        return _newest(self._stored(), role)

    def published_version(self, role: str) -> int | None:
        """The version of a role that readers are led to; None before it is published."""
        timestamp = self.timestamp()
        if timestamp is None:
            return None
        if role == Timestamp.type:
            return timestamp.signed.version
        version = timestamp.signed.snapshot_meta.version
        if role == Snapshot.type:
            return version
        listed = self._snapshot_at(version).signed.meta.get(f"{role}.json")
        return listed.version if listed else None

    def published_versions(self) -> dict[str, int]:
        """The version of every targets role that readers are led to; empty before publication."""
        snapshot = self.snapshot()
        if snapshot is None:
            return {}
        return {
            name.removesuffix(".json"): meta.version for name, meta in snapshot.signed.meta.items()
        }

    def get(self, version: int, role: str) -> bytes:
        """The bytes of one version of a role.

        Raises:
            NotFoundError: there is none.
        """
        return self.store.get(metadata_key(self.prefix, version, role))

    def newest_bytes(self, role: str) -> bytes | None:
        """The bytes of the highest stored version of a role: what a new version follows."""
        version = self.newest(role)
        return None if version is None else self.get(version, role)

    def root(self) -> Metadata[Root]:
        """The newest root.

        Raises:
            NotFoundError: there is none yet.
        """
        version = self.newest(Root.type)
        if version is None:
            raise NotFoundError(f"There is no root in {self.prefix}: run the server's 'init'.")
        return self._root(version)

    def _root(self, version: int) -> Metadata[Root]:
        data = self.get(version, Root.type)
        return parse_metadata(data, Root, what=f"{version}.root.json")

    def roots(self) -> list[bytes]:
        """The bytes of every root, from the first to the newest (rule 3); maybe none."""
        newest = self.newest(Root.type) or 0
        return [self.get(version, Root.type) for version in range(1, newest + 1)]

    def root_beyond(self) -> Metadata[Root] | None:
        """The highest root, if it waits for one that is missing before it (rule 3)."""
        stored = self._stored()
        highest = max(stored.get(Root.type, set()), default=0)
        return self._root(highest) if highest > (_newest(stored, Root.type) or 0) else None

    def timestamp(self) -> Metadata[Timestamp] | None:
        """The timestamp, or None before anything was published."""
        try:
            data = self.store.get(timestamp_key(self.prefix))
        except NotFoundError:
            return None
        return parse_metadata(data, Timestamp, what=f"{self.prefix} timestamp.json")

    def snapshot(self) -> Metadata[Snapshot] | None:
        """The published snapshot, or None before anything was published."""
        timestamp = self.timestamp()
        return (
            None if timestamp is None else self._snapshot_at(timestamp.signed.snapshot_meta.version)
        )

    def _snapshot_at(self, version: int) -> Metadata[Snapshot]:
        data = self.get(version, Snapshot.type)
        return parse_metadata(data, Snapshot, what=f"{version}.snapshot.json")

    def published_targets(self, role: str = Targets.type) -> Metadata[Targets] | None:
        """The published metadata of a targets role, or None before it is published."""
        version = self.published_version(role)
        return None if version is None else self.targets_at(version, role)

    def newest_targets(self, role: str = Targets.type) -> Metadata[Targets]:
        """The highest stored version of a targets role.

        Raises:
            NotFoundError: there is none yet.
        """
        version = self.newest(role)
        if version is None:
            raise NotFoundError(f"There is no {role} metadata in {self.prefix} yet: publish it.")
        return self.targets_at(version, role)

    def targets_at(self, version: int, role: str = Targets.type) -> Metadata[Targets]:
        """One version of a targets role.

        Raises:
            NotFoundError: there is none.
        """
        data = self.get(version, role)
        return parse_metadata(data, Targets, what=f"{version}.{role}.json")
