"""Takes over what a root ceremony left behind, and makes the first heads (I/O).

Rules:

1. Everything is verified before anything is written: both roots by their own thresholds, the first
   targets metadata by the image root, the digests in ``fleet.json``, no key in both roots, and
   that our online private keys are exactly those that the roots name.
2. One server belongs to one ceremony for ever: another one is a conflict.
3. Idempotent: after a failure at any point, and to add a cohort, it is run again.
4. A cohort is added with the roots that the other directors have, the first of which is the one
   that ``init`` recorded, and is published before it is there for anybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from securesystemslib.signer import Signer
from sqlalchemy.orm import Session
from tuf.api.metadata import Root, Targets

from interlock_core import durable
from interlock_core.clock import Clock
from interlock_core.errors import ConfigurationError, ConflictError, RefusedError
from interlock_core.genesis import (
    DIRECTOR,
    IMAGE,
    ONLINE_ROLES,
    FleetFile,
    read_fleet,
)
from interlock_core.keybytes import public_key_bytes
from interlock_core.names import check_name
from interlock_core.store import Store
from interlock_core.tuf_metadata import (
    MAX_LENGTH,
    parse_metadata,
    verify_new_offline,
    verify_root,
)
from interlock_core.tuf_stored import StoredRepository, metadata_key
from interlock_core.wire import sha256_hex
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow, FleetRow
from interlock_server.heads import Publisher, director_prefix, fleet_of

MAX_FLEET_FILE: Final = 4096


@dataclass(frozen=True)
class Ceremony:
    """What a ceremony left behind, verified (rule 1)."""

    fleet: FleetFile
    image_root: bytes
    director_root: bytes
    targets: bytes


@dataclass(frozen=True)
class Founded:
    """What ``found`` did: the cohorts that it added, and whether the fleet was new."""

    fleet: str
    new: bool
    added: tuple[str, ...]
    cohorts: tuple[str, ...]


@dataclass(frozen=True)
class Added:
    """What ``add_cohorts`` did: the cohorts that are new, and all that there are now."""

    fleet: str
    added: tuple[str, ...]
    cohorts: tuple[str, ...]


def read_ceremony(directory: Path, signers: Mapping[str, Signer], now: datetime) -> Ceremony:
    """Read a ceremony's output and verify it whole (rule 1).

    Args:
        directory: the ceremony's ``output``.
        signers: our online keys, by name.
        now: to judge expiry by.

    Raises:
        RefusedError: ``wrong_digest``, ``shared_key``, ``rehearsal``, or as ``tuf_metadata`` names
            it.
        ConfigurationError: ``wrong_online_key``.
        NotFoundError, WireError, TransientError: a file is missing, malformed, unreadable.
    """
    fleet = read_fleet(
        durable.read(directory / "fleet.json", limit=MAX_FLEET_FILE, what="fleet.json")
    )
    image_root = _read(directory, IMAGE, Root.type)
    director_root = _read(directory, DIRECTOR, Root.type)
    targets = _read(directory, IMAGE, Targets.type)
    for name, data, digest in (
        (IMAGE, image_root, fleet.image_root),
        (DIRECTOR, director_root, fleet.director_root),
    ):
        if sha256_hex(data) != digest:
            raise RefusedError(
                f"{directory / name / '1.root.json'} is not the root that fleet.json names: copy "
                "the ceremony's output again.",
                reason="wrong_digest",
            )
    roots = {
        IMAGE: verify_root(image_root, None, now).signed,
        DIRECTOR: verify_root(director_root, None, now).signed,
    }
    # With nothing before it, each must be version 1.
    verify_new_offline(
        targets, Targets.type, root=roots[IMAGE], targets=None, current=None, now=now
    )
    _check_apart(roots[IMAGE], roots[DIRECTOR])
    check_online_keys(roots, signers)
    return Ceremony(fleet, image_root, director_root, targets)


def _read(directory: Path, repository: str, role: str) -> bytes:
    path = directory / repository / f"1.{role}.json"
    data = durable.read(path, limit=MAX_LENGTH[role], what=f"first {repository} {role}")
    # What verifies it later knows no path to name.
    if role == Root.type:
        parse_metadata(data, Root, what=f"metadata {path}")
    else:
        parse_metadata(data, Targets, what=f"metadata {path}")
    return data


def _check_apart(image: Root, director: Root) -> None:
    """Online keys of one repository must sign nothing in the other."""
    online = {role for pairs in ONLINE_ROLES.values() for _, role in pairs}

    def keys(root: Root, repository: str) -> set[bytes]:
        roles = online - ({Targets.type} if repository == IMAGE else set())
        return {
            public_key_bytes(root.get_key(keyid))
            for role in roles
            for keyid in root.roles[role].keyids
        }

    if keys(image, IMAGE) & keys(director, DIRECTOR):
        raise RefusedError(
            "Image repository and director share an online key: hold the ceremony with a key of "
            "its own for each.",
            reason="shared_key",
        )


def check_online_keys(roots: Mapping[str, Root], signers: Mapping[str, Signer]) -> None:
    """See that our online keys are those that the roots name.

    Args:
        roots: by repository, ``image`` and ``director``.
        signers: by the name of the online key.

    Raises:
        ConfigurationError: ``wrong_online_key``.
    """
    for name, pairs in ONLINE_ROLES.items():
        for repository, role in pairs:
            root = roots[repository]
            if signers[name].public_key.keyid not in root.roles[role].keyids:
                raise ConfigurationError(
                    f"Root {root.version} of the {repository} repository does not name the key "
                    f"{name} for {role}: configure the private key that the ceremony imported.",
                    reason="wrong_online_key",
                )


def found(
    ceremony: Ceremony,
    cohorts: Collection[str],
    *,
    database: Database,
    store: Store,
    publisher: Publisher,
    clock: Clock,
) -> Founded:
    """Take over a ceremony and publish the first heads (rules 2 and 3).

    Args:
        ceremony: verified.
        cohorts: to be added; those that are there stay.

    Raises:
        ConflictError: ``other_ceremony``: this server belongs to another one; ``store_lost``: the
            Store no longer holds what was published.
        ConfigurationError: no cohort at all, or an online key is wrong.
        WireError: ``bad_name``: a cohort's name.
        TransientError: the store or the database failed; run it again.
    """
    for cohort in cohorts:
        check_name(cohort, "cohort")
    with database.writing() as session:
        new = _claim(session, ceremony, clock())
        known = publisher.cohorts(session)
        if not new:
            _check_not_lost(store, known)
        added = sorted(set(cohorts) - set(known))
        if not known and not added:
            raise no_cohort()
        session.add_all(CohortRow(name=cohort, added_at=clock()) for cohort in added)
        session.flush()
        _put_first(store, IMAGE, Root.type, ceremony.image_root)
        _put_first(store, IMAGE, Targets.type, ceremony.targets)
        publisher.image().publish()
        everybody = publisher.cohorts(session)
        for cohort in everybody:
            _put_roots(store, cohort, ceremony.director_root, known)
        publisher.direct_cohorts(session, everybody)
    return Founded(ceremony.fleet.fleet, new, tuple(added), tuple(everybody))


def add_cohorts(
    cohorts: Collection[str],
    *,
    database: Database,
    store: Store,
    publisher: Publisher,
    clock: Clock,
) -> Added:
    """Make directors for further cohorts of a fleet that was founded (rules 3 and 4).

    Raises:
        WireError: ``bad_name``: a cohort's name.
        ConfigurationError: ``not_initialised``.
        ConflictError: ``store_lost``: the Store no longer holds what was published.
        TransientError: the store or the database failed; run it again.
    """
    for cohort in cohorts:
        check_name(cohort, "cohort")
    with database.writing() as session:
        fleet = fleet_of(session)
        known = publisher.cohorts(session)
        _check_not_lost(store, known)
        first = store.get(metadata_key(director_prefix(known[0]), 1, Root.type))
        if sha256_hex(first) != fleet.director_root:
            raise ConflictError(
                "The store has lost the first root of the directors: restore it.",
                reason="store_lost",
            )
        added = sorted(set(cohorts) - set(known))
        session.add_all(CohortRow(name=cohort, added_at=clock()) for cohort in added)
        session.flush()
        for cohort in added:
            _put_roots(store, cohort, first, known)
        publisher.direct_cohorts(session, sorted(set(cohorts)))
    return Added(fleet.name, tuple(added), tuple(sorted({*known, *added})))


def no_cohort() -> ConfigurationError:
    """What to say to whoever names no cohort where there is none yet."""
    return ConfigurationError("Name at least one cohort: --cohort NAME.")


def _claim(session: Session, ceremony: Ceremony, now: datetime) -> bool:
    fleet = ceremony.fleet
    row = session.get(FleetRow, 1)
    if row is None:
        session.add(
            FleetRow(
                id=1,
                name=fleet.fleet,
                image_root=fleet.image_root,
                director_root=fleet.director_root,
                token_secret=secrets.token_bytes(32),
                founded_at=now,
            )
        )
        return True
    if (row.name, row.image_root, row.director_root) != (
        fleet.fleet,
        fleet.image_root,
        fleet.director_root,
    ):
        raise ConflictError(
            f"This server belongs to the ceremony of fleet {row.name} (image root "
            f"{row.image_root[:12]}): use other settings for another ceremony.",
            reason="other_ceremony",
        )
    return False


def _check_not_lost(store: Store, cohorts: Collection[str]) -> None:
    """See that the Store holds the heads that the database knows were made.

    They are made in the transaction that notes them, so if they are missing, the Store was lost,
    and beginning again at version 1 would look like an attack to every gateway.
    """
    for prefix in (IMAGE, *map(director_prefix, cohorts)):
        if StoredRepository(store, prefix).timestamp() is None:
            raise ConflictError(
                f"The store has lost the repository {prefix}, which was published from here: "
                "restore it; gateways would refuse one that begins again.",
                reason="store_lost",
            )


def _put_first(store: Store, prefix: str, role: str, data: bytes) -> None:
    store.put_new(metadata_key(prefix, 1, role), data)


def _put_roots(store: Store, cohort: str, first: bytes, known: Collection[str]) -> None:
    """Give a cohort's director the root, and every later one that the others have."""
    prefix = director_prefix(cohort)
    _put_first(store, prefix, Root.type, first)
    if not known:
        return
    pattern = StoredRepository(store, director_prefix(next(iter(known))))
    for version in range(2, (pattern.newest(Root.type) or 1) + 1):
        store.put_new(metadata_key(prefix, version, Root.type), pattern.get(version, Root.type))
