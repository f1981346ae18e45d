"""The online roles of a TUF repository over a Store (I/O).

Rules:

1. The server writes these roles and no others: snapshot and timestamp of the image repository;
   targets, snapshot and timestamp of each director. ``ROLES`` is the table. Offline metadata
   comes in as bytes that were verified (``tuf_metadata``) and is stored as it came.
2. A key signs for a role only if the newest root names it for that role.
3. Immutable objects first, ``timestamp.json`` last. Whatever a reader sees at any instant is
   whole: until the timestamp is replaced, the old repository stands.
4. What a crash left unreferenced is never overwritten: a new version is one more than the highest
   that exists. Versions of all roles but root may have gaps.
5. One writer at a time: the caller serialises (the database does). Two writers would not corrupt
   anything, but the later would fail with a conflict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, cast

from securesystemslib.signer import Signer
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository import AbortEdit, Repository

from interlock_core import wire
from interlock_core.clock import Clock
from interlock_core.errors import ConfigurationError, NotFoundError, RefusedError
from interlock_core.store import Store
from interlock_core.tuf_metadata import (
    MAX_LENGTH,
    check_signatures,
    delegated_roles,
    issued_of,
    parse_metadata,
    refuse_shared_keys,
    serialise,
    set_issued,
    verify_new_offline,
    verify_root,
)

__all__ = [
    "ROLES",
    "OnlineRepository",
    "OnlineRole",
    "Published",
    "issued_of",
    "newest_root",
    "newest_versions",
    "refuse_shared_keys",
    "set_issued",
    "verify_new_offline",
    "verify_root",
]

COHORT: Final = "cohort"
"""The signed field of a director's online roles that names its cohort."""


@dataclass(frozen=True)
class OnlineRole:
    """How long an online role lives.

    Attributes:
        lifetime: from signature to expiry.
        margin: sign again when less than this remains.
    """

    lifetime: timedelta
    margin: timedelta


ROLES: Final[Mapping[str, OnlineRole]] = MappingProxyType(
    {
        # Signed anew each day: it bounds how long the network can freeze a gateway.
        Timestamp.type: OnlineRole(timedelta(days=10), timedelta(days=9)),
        # Every three days: a gateway reads them anew each time, and with the server down for a
        # week everything is still valid.
        Snapshot.type: OnlineRole(timedelta(days=10), timedelta(days=7)),
        Targets.type: OnlineRole(timedelta(days=10), timedelta(days=7)),
    }
)
"""Lifetimes of online roles; ``targets`` is online in directors only."""

_FILE: Final = re.compile(r"([1-9][0-9]{0,14})\.([a-z0-9][a-z0-9-]{0,62})\.json\Z")


@dataclass(frozen=True)
class Published:
    """What a call wrote: new versions, or None where nothing had to change."""

    targets: int | None = None
    snapshot: int | None = None
    timestamp: int | None = None

    def __bool__(self) -> bool:
        return self.timestamp is not None


def metadata_key(prefix: str, version: int, role: str) -> str:
    """The store key of versioned metadata."""
    return f"{prefix}/metadata/{version}.{role}.json"


def newest_versions(store: Store, prefix: str) -> dict[str, int]:
    """The highest version of each role that the store holds, referenced or not.

    Raises:
        TransientError: the store cannot be read.
    """
    newest: dict[str, int] = {}
    folder = f"{prefix}/metadata/"
    for key in store.list(folder):
        match = _FILE.match(key.removeprefix(folder))
        if match:
            newest[match[2]] = max(int(match[1]), newest.get(match[2], 0))
    return newest


def newest_root(store: Store, prefix: str) -> Metadata[Root]:
    """The newest root of a repository.

    Raises:
        NotFoundError: there is none yet.
        TransientError: the store cannot be read.
    """
    version = newest_versions(store, prefix).get(Root.type)
    if version is None:
        raise NotFoundError(f"There is no root in {prefix}: run the server's 'init' first.")
    return parse_metadata(
        store.get(metadata_key(prefix, version, Root.type)), Root, what=f"{version}.root.json"
    )


class OnlineRepository(Repository):
    """The online side of one repository.

    Args:
        store: where it lives.
        prefix: ``"image"`` or ``"director/<cohort id>"``.
        signers: for each online role, the signers to use.
        clock: now; expiry times are counted from it.
        lifetimes: instead of those in ``ROLES``, by role.
        cohort: for a director, the cohort that its metadata names; None for the image repository.

    Raises:
        ConfigurationError: a cohort for the image repository, or a director without one.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        signers: Mapping[str, Sequence[Signer]],
        clock: Clock,
        *,
        lifetimes: Mapping[str, timedelta] | None = None,
        cohort: str | None = None,
    ) -> None:
        if (cohort is not None) != prefix.startswith("director/"):
            raise ConfigurationError(
                f"The repository {prefix} must have a cohort if it is a director, and only then."
            )
        self.store = store
        self.prefix = prefix
        self._signers = signers
        self._clock = clock
        self._lifetimes = dict(lifetimes or {})
        self._cohort = cohort
        self._snapshot_info: MetaFile | None = None
        self._targets_info: MetaFile | None = None

    @property
    def is_director(self) -> bool:
        """Whether targets is an online role here."""
        return self._cohort is not None

    # Reading

    def open(self, role: str) -> Metadata[Any]:
        """Current metadata of a top-level role; of an online role that has none, the first.

        Current is what ``timestamp.json`` leads to; of an offline role, the newest stored.

        Raises:
            NotFoundError: an offline role has no metadata yet.
            TransientError: the store cannot be read.
            WireError: what is stored is damaged.
        """
        match role:
            case Root.type:
                return newest_root(self.store, self.prefix)
            case Timestamp.type:
                return self._timestamp() or Metadata(Timestamp(snapshot_meta=self._snapshot_info))
            case Snapshot.type:
                return self._snapshot() or Metadata(Snapshot(meta={}))
            case Targets.type if self.is_director:
                return self._director_targets() or Metadata(Targets())
            case _:
                return self._offline(role)

    def current(self, role: str) -> bytes | None:
        """The newest stored bytes of an offline role, or None: what a new version follows."""
        version = newest_versions(self.store, self.prefix).get(role)
        return None if version is None else self._get(version, role)

    def _timestamp(self) -> Metadata[Timestamp] | None:
        try:
            data = self.store.get(f"{self.prefix}/metadata/timestamp.json")
        except NotFoundError:
            return None
        return parse_metadata(data, Timestamp, what=f"{self.prefix} timestamp.json")

    def _snapshot(self) -> Metadata[Snapshot] | None:
        timestamp = self._timestamp()
        if timestamp is None:
            return None
        version = timestamp.signed.snapshot_meta.version
        return parse_metadata(
            self._get(version, Snapshot.type), Snapshot, what=f"{version}.snapshot.json"
        )

    def _director_targets(self) -> Metadata[Targets] | None:
        snapshot = self._snapshot()
        if snapshot is None:
            return None
        return self._targets_at(snapshot.signed.meta["targets.json"].version, Targets.type)

    def _offline(self, role: str) -> Metadata[Targets]:
        version = newest_versions(self.store, self.prefix).get(role)
        if version is None:
            raise NotFoundError(f"There is no {role} metadata in {self.prefix} yet: publish it.")
        return self._targets_at(version, role)

    def _targets_at(self, version: int, role: str) -> Metadata[Targets]:
        return parse_metadata(self._get(version, role), Targets, what=f"{version}.{role}.json")

    def _get(self, version: int, role: str) -> bytes:
        return self.store.get(metadata_key(self.prefix, version, role))

    # Offline metadata

    def put_offline(self, role: str, data: bytes) -> None:
        """Store offline metadata that the caller has verified; readers see it after ``publish``.

        Roots are the exception: gateways look for the next one themselves.

        Raises:
            ConflictError: other bytes of this version stand there.
            WireError: it is not metadata.
            TransientError: the store failed.
        """
        if role == Root.type:
            version = parse_metadata(data, Root, what="root metadata").signed.version
        else:
            version = parse_metadata(data, Targets, what=f"{role} metadata").signed.version
        self.store.put_new(metadata_key(self.prefix, version, role), data)

    # Writing

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Give ``md`` its version, expiry, cohort and signatures, and store it (rules 2 to 4).

        Raises:
            ConfigurationError: the signers do not meet what the newest root asks for.
            TransientError: the store failed.
        """
        root = self.root()
        self._prepare(role, md)
        self._sign(role, md, root)
        data = serialise(md)
        if len(data) > MAX_LENGTH[role]:
            raise ConfigurationError(
                f"The {role} metadata of {self.prefix} is {len(data)} bytes, and TUF clients "
                f"read {MAX_LENGTH[role]}: use smaller keys or fewer roles."
            )
        if role == Timestamp.type:
            self.store.replace(f"{self.prefix}/metadata/timestamp.json", data)
            return
        self.store.put_new(metadata_key(self.prefix, md.signed.version, role), data)
        if role == Snapshot.type:
            self._snapshot_info = _meta_file(md.signed.version, data)
        else:
            self._targets_info = _meta_file(md.signed.version, data)

    def _prepare(self, role: str, md: Metadata[Any]) -> None:
        current = {Timestamp.type: self._timestamp, Snapshot.type: self._snapshot}.get(
            role, self._director_targets
        )()
        stored = newest_versions(self.store, self.prefix).get(role, 0)
        md.signed.version = max(current.signed.version if current else 0, stored) + 1
        lifetime = self._lifetimes.get(role, ROLES[role].lifetime)
        md.signed.expires = self._clock() + lifetime
        if self._cohort is not None:
            md.signed.unrecognized_fields[COHORT] = self._cohort

    def _sign(self, role: str, md: Metadata[Any], root: Root) -> None:
        if role not in ROLES or (role == Targets.type and not self.is_director):
            raise ConfigurationError(f"{role} is not an online role of {self.prefix}.")
        signers = self._signers.get(role, ())
        named = [s for s in signers if s.public_key.keyid in root.roles[role].keyids]
        if not named:
            ids = ", ".join(s.public_key.keyid[:12] for s in signers) or "(none)"
            raise ConfigurationError(
                f"{ids} is not a {role} key of root {root.version} of {self.prefix}: configure "
                "the key that the root names, or publish the root that names this one.",
                reason="wrong_online_key",
            )
        md.signatures.clear()
        for signer in named:
            md.sign(signer, append=True)
        try:
            check_signatures(root, role, md)
        except RefusedError as e:
            raise ConfigurationError(
                f"The keys configured for {role} do not meet root {root.version} of "
                f"{self.prefix}: {e}",
                reason="wrong_online_key",
            ) from e

    # What the base class asks for

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """What the next snapshot shall list: newest stored metadata of each delegated role."""
        snapshot = self._snapshot()
        known = snapshot.signed.meta if snapshot else {}
        if self.is_director:
            return {"targets.json": self._targets_info or known["targets.json"]}
        stored = newest_versions(self.store, self.prefix)
        targets = self.targets()
        infos = {}
        for role in (Targets.type, *delegated_roles(targets)):
            name = f"{role}.json"
            version = stored.get(role)
            if version is None:
                # Delegated, and nothing published yet: the snapshot does not know it.
                continue
            listed = known.get(name)
            infos[name] = (
                listed
                if listed is not None and listed.version == version
                else _meta_file(version, self._get(version, role))
            )
        return infos

    @property
    def snapshot_info(self) -> MetaFile:
        """What the next timestamp shall name."""
        if self._snapshot_info is not None:
            return self._snapshot_info
        timestamp = self._timestamp()
        if timestamp is None:
            raise NotFoundError(f"There is no snapshot in {self.prefix} yet.")
        return timestamp.signed.snapshot_meta

    # Publishing

    def publish(self) -> Published:
        """Write a new snapshot and timestamp if anything that they cover changed.

        Run again after any failure: it finishes what was begun.

        Raises:
            RefusedError: ``untrusted_metadata``: what is stored does not form a whole that
                gateways would accept; the message names the role.
            ConfigurationError: a key is not the one that the root names.
            NotFoundError: root or targets metadata is missing.
            TransientError: the store failed.
        """
        if not self.is_director:
            self._check_whole()
        return self._write()

    def publish_targets(self, targets: Mapping[str, TargetFile]) -> Published:
        """Make ``targets`` all that a director lists, and publish.

        Raises:
            ConfigurationError: not a director, or a key is not the one that the root names.
            TransientError: the store failed.
        """
        written: int | None = None
        with self.edit_targets() as current:
            if self._director_targets() is not None and current.targets == dict(targets):
                raise AbortEdit
            current.targets = dict(targets)
            written = -1
        if written is not None and self._targets_info is not None:
            written = self._targets_info.version
        return self._write(targets=written)

    def refresh(self, margin: timedelta | None = None) -> Published:
        """Sign again what expires soon, or what the newest root's keys have not signed.

        Args:
            margin: sign a role again when less than this remains; by default as in ``ROLES``.

        Raises:
            NotFoundError: nothing was published yet.
            ConfigurationError: a key is not the one that the root names.
            TransientError: the store failed.
        """
        timestamp, snapshot = self._timestamp(), self._snapshot()
        if timestamp is None or snapshot is None:
            raise NotFoundError(f"Nothing was published in {self.prefix} yet.")
        root, now = self.root(), self._clock()
        written: int | None = None
        if self.is_director and self._is_due(self.open(Targets.type), root, now, margin):
            with self.edit_targets():
                pass
            written = cast("MetaFile", self._targets_info).version
        return self._write(
            targets=written,
            force_snapshot=self._is_due(snapshot, root, now, margin),
            force_timestamp=self._is_due(timestamp, root, now, margin),
        )

    def _is_due(
        self, md: Metadata[Any], root: Root, now: datetime, margin: timedelta | None
    ) -> bool:
        role = md.signed.type
        if md.signed.expires - now < (margin if margin is not None else ROLES[role].margin):
            return True
        return not root.get_verification_result(role, md.signed_bytes, md.signatures)

    def _write(
        self,
        *,
        targets: int | None = None,
        force_snapshot: bool = False,
        force_timestamp: bool = False,
    ) -> Published:
        new_snapshot, _ = self.do_snapshot(force_snapshot)
        snapshot = self.snapshot_info.version
        new_timestamp, _ = self.do_timestamp(force_timestamp)
        return Published(
            targets=targets,
            snapshot=snapshot if new_snapshot else None,
            timestamp=self.timestamp().version if new_timestamp else None,
        )

    def _check_whole(self) -> None:
        """Refuse to publish stored metadata that does not fit together.

        A crash amid several ``put_offline`` may have left one half of a change of keys.
        """
        root = self.root()
        targets = self._offline(Targets.type)
        check_signatures(root, Targets.type, targets)
        stored = newest_versions(self.store, self.prefix)
        for role in delegated_roles(targets.signed):
            if role in stored:
                check_signatures(targets.signed, role, self._offline(role))


def _meta_file(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": wire.sha256_hex(data)})
