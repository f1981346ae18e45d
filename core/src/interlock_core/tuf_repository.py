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
5. Only ``publish`` shows new offline metadata, and only if all that is stored fits together.
   ``refresh`` signs again what is published already, so half a change of keys never blocks it.
   Top-level targets that only the keys of a coming root signed wait for that root.
6. One writer at a time: the caller serialises (the database does). Two writers would not corrupt
   anything, but the later would fail with a conflict.
7. New roots appear all at once, in the order in which readers walk: the highest is stored first,
   the lowest last. Before that the heads are signed by the keys of the root in force *and* by
   those of the newest, so that a reader who knows either accepts them, and so does one who asked
   for roots a moment before and asks for heads a moment after. ``refresh`` with ``alone`` ends
   that. If the old keys are not at hand (lost, or given up too early), or the targets metadata
   does not carry both thresholds, then what is immutable is stored first, then the roots, and the
   timestamp right after them: between those two writes readers are refused, and try again.
8. While the highest root waits for one that is missing before it, heads are signed by its keys too,
   if they are held: readers who came to it before that one was lost are served as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

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
from interlock_core.root_chain import Followed, follow
from interlock_core.store import Store
from interlock_core.tuf_metadata import (
    COHORT,
    MAX_LENGTH,
    add_signature,
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
from interlock_core.tuf_stored import (
    StoredRepository,
    metadata_key,
    newest_root,
    newest_versions,
    timestamp_key,
)

__all__ = [
    "COHORT",
    "ROLES",
    "OnlineRepository",
    "OnlineRole",
    "Published",
    "StoredRepository",
    "issued_of",
    "metadata_key",
    "newest_root",
    "newest_versions",
    "refuse_shared_keys",
    "set_issued",
    "timestamp_key",
    "verify_new_offline",
    "verify_root",
]


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
        # Every three days: a gateway reads these anew each time, and with the server down for a
        # week everything is still valid.
        Targets.type: OnlineRole(timedelta(days=10), timedelta(days=7)),
        Snapshot.type: OnlineRole(timedelta(days=10), timedelta(days=7)),
        # Every day: it bounds how long the network can freeze a gateway.
        Timestamp.type: OnlineRole(timedelta(days=10), timedelta(days=9)),
    }
)
"""Lifetimes of online roles; ``targets`` is online in directors only."""


@dataclass(frozen=True)
class Published:
    """What a call wrote: new versions, or None where nothing had to change."""

    targets: int | None = None
    snapshot: int | None = None
    timestamp: int | None = None

    def __bool__(self) -> bool:
        return self.timestamp is not None


class OnlineRepository(Repository):
    """The online side of one repository.

    Args:
        store: where it lives.
        prefix: ``"image"`` or ``"director/<cohort id>"``.
        signers: for each online role, the signers to use.
        clock: now; expiry times are counted from it.
        lifetimes: instead of those in ``ROLES``, by role.
        cohort: for a director, the cohort that its metadata names; None for the image repository.

    Attributes:
        stored: reads the same repository.

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
        self.stored = StoredRepository(store, prefix)
        self._signers = signers
        self._clock = clock
        self._lifetimes = dict(lifetimes or {})
        self._cohort = cohort
        # Instead of the newest root, those whose keys sign while roots change (rule 7).
        self._signing: tuple[Root, ...] | None = None
        # What close() wrote and no timestamp leads to yet.
        self._closed: dict[str, MetaFile] = {}
        self._shows_new = True

    @property
    def is_director(self) -> bool:
        """Whether targets is an online role here."""
        return self._cohort is not None

    def _online_roles(self) -> list[str]:
        return [role for role in ROLES if role != Targets.type or self.is_director]

    # Offline metadata

    def current(self, role: str) -> bytes | None:
        """The newest stored bytes of an offline role: what a new version must follow."""
        return self.stored.newest_bytes(role)

    def put_offline(self, role: str, data: bytes) -> None:
        """Store offline targets metadata (``verify_new_offline``); ``publish`` shows it.

        Raises:
            ConflictError: other bytes of this version stand there.
            WireError: it is not targets metadata.
            TransientError: the store failed.
        """
        version = parse_metadata(data, Targets, what=f"{role} metadata").signed.version
        self.store.put_new(metadata_key(self.prefix, version, role), data)

    def accepted(self) -> bool:
        """Whether the newest root accepts what is published (rule 7), but for expiry."""
        stored = self.stored
        heads = (stored.timestamp(), stored.snapshot(), stored.published_targets())
        root = self.root()
        return all(
            head is not None
            and root.get_verification_result(
                head.signed.type, head.signed_bytes, head.signatures
            ).verified
            for head in heads
        )

    def put_root(self, data: bytes) -> None:
        """``put_roots`` of one."""
        self.put_roots([data])

    def put_roots(self, texts: Sequence[bytes]) -> None:
        """Verify and store the first roots or the next: ``prepare_roots``, then ``show_roots``."""
        self.show_roots(self.prepare_roots(texts))

    def prepare_roots(self, texts: Sequence[bytes]) -> Followed:
        """Verify roots, and have the heads ready before they appear (rule 7). Idempotent.

        Args:
            texts: rising by one; they may begin among those that are in force.

        Returns:
            What ``show_roots`` shall show.

        Raises:
            RefusedError, ConflictError, WireError: as ``root_chain.follow``; or
                ``untrusted_metadata``: the targets metadata does not carry the new root's
                threshold.
            ConfigurationError: ``wrong_online_key``: the configured keys could not sign under the
                newest root.
            TransientError: the store failed.
        """
        coming = follow(texts, self.stored.roots(), self._clock())
        if not coming.texts or self.stored.timestamp() is None:
            return coming
        for role in self._online_roles():
            self._usable(role, coming.newest)
        with self._signing_for(coming.newest):
            self._top()
        if self._is_seamless(coming.newest):
            with self._signing_for(self.root(), coming.newest):
                self._renew(shows_new=self._has_new_top())
        return coming

    def show_roots(self, coming: Followed) -> None:
        """Store what ``prepare_roots`` verified; readers see all of it at once (rule 7).

        Raises:
            TransientError: the store failed: the same two calls again finish.
        """
        published = self.stored.timestamp() is not None
        if coming.texts and published and not self._is_seamless(coming.newest):
            with self._signing_for(coming.newest):
                self._renew(shows_new=True, before_timestamp=lambda: self._put_roots(coming))
            return
        self._put_roots(coming)
        if published:
            self.refresh()

    def _put_roots(self, coming: Followed) -> None:
        first = coming.newest.version - len(coming.texts) + 1
        for version, text in reversed(list(enumerate(coming.texts, first))):
            self.store.put_new(metadata_key(self.prefix, version, Root.type), text)
        self.stored.note(Root.type, coming.newest.version)

    def _is_seamless(self, root: Root) -> bool:
        """Whether heads can be made that the root in force and ``root`` both accept."""
        old = self.root()
        if not all(self._is_met(role, old) for role in self._online_roles()):
            return False
        with self._signing_for(old, root):
            try:
                self._top()
            except RefusedError:
                return False
        return True

    def _has_new_top(self) -> bool:
        published = self.stored.published_version(Targets.type)
        return not self.is_director and self._top().signed.version != published

    @contextmanager
    def _signing_for(self, *roots: Root) -> Iterator[None]:
        """Inside, what is signed carries the thresholds of all of these."""
        self._signing = roots
        try:
            yield
        finally:
            self._signing = None

    def _renew(
        self, *, shows_new: bool, before_timestamp: Callable[[], None] = lambda: None
    ) -> None:
        """Sign what those that sign now have not signed yet."""
        timestamp, snapshot = self.stored.timestamp(), self.stored.snapshot()
        assert timestamp is not None, "only a published repository is renewed"
        assert snapshot is not None, "only a published repository is renewed"
        with self._operation(shows_new=shows_new):
            if self.is_director and self._is_due(self.open(Targets.type), None):
                with self.edit_targets():
                    pass
            self._write(
                force_snapshot=self._is_due(snapshot, None),
                force_timestamp=self._is_due(timestamp, None),
                before_timestamp=before_timestamp,
            )

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
        with self._operation():
            return self._write()

    def publish_targets(self, targets: Mapping[str, TargetFile]) -> Published:
        """Make ``targets`` all that a director lists, and publish.

        Raises:
            ConfigurationError: not a director, or a key is not the one that the root names.
            NotFoundError: root metadata is missing.
            TransientError: the store failed.
        """
        if not self.is_director:
            raise ConfigurationError(f"The targets of {self.prefix} are signed offline.")
        with self._operation():
            with self.edit_targets() as current:
                published = self.stored.published_version(Targets.type)
                if published is not None and current.targets == dict(targets):
                    raise AbortEdit
                current.targets = dict(targets)
            return self._write()

    def refresh(self, margin: timedelta | None = None, *, alone: bool = False) -> Published:
        """Sign again what expires soon, or what the newest root's keys have not signed (rule 5).

        Args:
            margin: sign a role again when less than this remains; by default as in ``ROLES``.
            alone: also sign again what keys signed that the newest root does not name (rule 7).

        Raises:
            NotFoundError: nothing was published yet.
            ConfigurationError: a key is not the one that the root names.
            TransientError: the store failed.
        """
        timestamp, snapshot = self.stored.timestamp(), self.stored.snapshot()
        if timestamp is None or snapshot is None:
            raise NotFoundError(f"Nothing was published in {self.prefix} yet.")
        with self._operation(shows_new=False):
            if self.is_director and self._is_due(self.open(Targets.type), margin, alone=alone):
                with self.edit_targets():
                    pass
            return self._write(
                force_snapshot=self._is_due(snapshot, margin, alone=alone),
                force_timestamp=self._is_due(timestamp, margin, alone=alone),
            )

    @contextmanager
    def _operation(self, *, shows_new: bool = True) -> Iterator[None]:
        self._shows_new = shows_new
        try:
            with self.stored.one_listing():
                yield
        except BaseException:
            # A caller whose call failed must not find its half done by a later call.
            self._closed.clear()
            raise
        finally:
            self._shows_new = True

    def _is_due(self, md: Metadata[Any], margin: timedelta | None, *, alone: bool = False) -> bool:
        role = md.signed.type
        named = {keyid for root in self._signing_roots() for keyid in root.roles[role].keyids}
        if alone and not named.issuperset(md.signatures):
            return True
        remaining = md.signed.expires - self._clock()
        if remaining < (margin if margin is not None else ROLES[role].margin):
            return True
        return not all(
            root.get_verification_result(role, md.signed_bytes, md.signatures)
            for root in self._signing_roots()
        )

    def _write(
        self,
        *,
        force_snapshot: bool = False,
        force_timestamp: bool = False,
        before_timestamp: Callable[[], None] = lambda: None,
    ) -> Published:
        before = self.stored.published_version(Targets.type)
        new_snapshot, _ = self.do_snapshot(force_snapshot)
        snapshot = self.snapshot_info.version
        before_timestamp()
        new_timestamp, _ = self.do_timestamp(force_timestamp)
        targets = self.stored.published_version(Targets.type)
        return Published(
            targets=targets if targets != before else None,
            snapshot=snapshot if new_snapshot else None,
            timestamp=self.stored.published_version(Timestamp.type) if new_timestamp else None,
        )

    # What the base class asks for

    def open(self, role: str) -> Metadata[Any]:
        """Current metadata of a role; of an online role that has none, the first, unsigned.

        Current is what is published; of an offline role, the newest stored.

        Raises:
            NotFoundError: an offline role has no metadata yet.
            TransientError: the store cannot be read.
            WireError: what is stored is damaged.
        """
        match role:
            case Root.type:
                return self.stored.root()
            case Timestamp.type:
                return self.stored.timestamp() or Metadata(
                    Timestamp(snapshot_meta=self.snapshot_info)
                )
            case Snapshot.type:
                return self.stored.snapshot() or Metadata(Snapshot(meta={}))
            case Targets.type if self.is_director:
                return self.stored.published_targets() or Metadata(Targets())
            case _:
                return self.stored.newest_targets(role)

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Give ``md`` its version, expiry, cohort and signatures, and store it (rules 1 to 4).

        Raises:
            ConfigurationError: not an online role, or the signers do not meet the newest root.
            TransientError: the store failed.
        """
        if role not in self._online_roles():
            raise ConfigurationError(f"{role} is not an online role of {self.prefix}.")
        published = self.stored.published_version(role) or 0
        md.signed.version = max(published, self.stored.newest(role) or 0) + 1
        md.signed.expires = self._clock() + self._lifetimes.get(role, ROLES[role].lifetime)
        if self._cohort is not None:
            md.signed.unrecognized_fields[COHORT] = self._cohort
        self._sign(role, md)
        data = serialise(md)
        if len(data) > MAX_LENGTH[role]:
            raise ConfigurationError(
                f"The {role} metadata of {self.prefix} is {len(data)} bytes, and TUF clients "
                f"read {MAX_LENGTH[role]}: use smaller keys or fewer roles."
            )
        if role == Timestamp.type:
            self.store.replace(timestamp_key(self.prefix), data)
        else:
            self.store.put_new(metadata_key(self.prefix, md.signed.version, role), data)
            self.stored.note(role, md.signed.version)
            self._closed[role] = _meta_file(md.signed.version, data)

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """What the next snapshot shall list.

        Raises:
            RefusedError: ``untrusted_metadata``, as ``publish``.
            NotFoundError: there is no targets metadata yet.
        """
        snapshot = self.stored.snapshot()
        known = snapshot.signed.meta if snapshot else {}
        if self.is_director:
            newest = _newer(self._closed.get(Targets.type), known.get("targets.json"))
            if newest is None:
                raise NotFoundError(f"There is no targets metadata in {self.prefix} yet.")
            return {"targets.json": newest}
        if not self._shows_new:
            return dict(known)
        infos = {}
        top = self._top().signed
        for role in (Targets.type, *delegated_roles(top)):
            name = f"{role}.json"
            version = top.version if role == Targets.type else self.stored.newest(role)
            listed = known.get(name)
            if version is not None and (listed is None or listed.version < version):
                infos[name] = _meta_file(version, self.stored.get(version, role))
        if infos:
            self._check_whole(top, {name.removesuffix(".json") for name in infos})
        return known | infos

    def _top(self) -> Metadata[Targets]:
        """The top-level targets to show: the newest that all roots accept who sign now (rule 5).

        Raises:
            RefusedError: ``untrusted_metadata``: neither the newest nor what is published.
            NotFoundError: there is none.
        """
        if self.is_director:
            return self.open(Targets.type)
        newest, published = self.stored.newest_targets(), self.stored.published_targets()
        try:
            return self._accepted(newest)
        except RefusedError:
            if published is None or published.signed.version == newest.signed.version:
                raise
            return self._accepted(published)

    def _accepted(self, targets: Metadata[Targets]) -> Metadata[Targets]:
        for root in self._signing or (self.root(),):
            check_signatures(root, Targets.type, targets)
        return targets

    def _check_whole(self, top: Targets, changed: Collection[str]) -> None:
        """Refuse to show stored metadata that does not fit together (rule 5).

        A crash amid several ``put_offline`` may have left one half of a change of keys. Under the
        delegations that are published already, what did not change was seen to fit.
        """
        for role in delegated_roles(top):
            if Targets.type not in changed and role not in changed:
                continue
            if self.stored.newest(role) is not None:
                check_signatures(top, role, self.stored.newest_targets(role))

    @property
    def snapshot_info(self) -> MetaFile:
        """What the next timestamp shall name.

        Raises:
            NotFoundError: there is no snapshot yet.
        """
        timestamp = self.stored.timestamp()
        newest = _newer(
            self._closed.get(Snapshot.type), timestamp.signed.snapshot_meta if timestamp else None
        )
        if newest is None:
            raise NotFoundError(f"There is no snapshot in {self.prefix} yet.")
        return newest

    # Signing

    def _signing_roots(self) -> tuple[Root, ...]:
        if self._signing is not None:
            return self._signing
        root, beyond = self.root(), self.stored.root_beyond()
        waits = beyond is not None and all(
            self._is_met(role, beyond.signed) for role in self._online_roles()
        )
        return (root, beyond.signed) if beyond is not None and waits else (root,)

    def _sign(self, role: str, md: Metadata[Any]) -> None:
        roots = self._signing_roots()
        signers = {s.public_key.keyid: s for root in roots for s in self._usable(role, root)}
        md.signatures.clear()
        for signer in signers.values():
            add_signature(md, signer)
        for root in roots:
            check_signatures(root, role, md)

    def _named(self, role: str, root: Root) -> list[Signer]:
        keyids = root.roles[role].keyids
        return [s for s in self._signers.get(role, ()) if s.public_key.keyid in keyids]

    def _is_met(self, role: str, root: Root) -> bool:
        return len(self._named(role, root)) >= root.roles[role].threshold

    def _usable(self, role: str, root: Root) -> list[Signer]:
        """The configured signers that ``root`` names for ``role`` (rule 2).

        Raises:
            ConfigurationError: they are fewer than it asks for.
        """
        named = self._named(role, root)
        if not self._is_met(role, root):
            foreign = ", ".join(
                f"key {s.public_key.keyid[:12]} is not a {role} key of root {root.version}"
                for s in self._signers.get(role, ())
                if s not in named
            )
            raise ConfigurationError(
                f"Root {root.version} of {self.prefix} asks for {root.roles[role].threshold} "
                f"{role} key(s) and {len(named)} of its own are configured"
                f"{f' ({foreign})' if foreign else ''}: configure the keys that it names.",
                reason="wrong_online_key",
            )
        return named


def _meta_file(version: int, data: bytes) -> MetaFile:
    return MetaFile(version, len(data), {"sha256": wire.sha256_hex(data)})


def _newer(one: MetaFile | None, other: MetaFile | None) -> MetaFile | None:
    if one is None or other is None:
        return one or other
    return one if one.version > other.version else other
