"""From a verified repository and what people wrote to a signing event's content (I/O: reads files).

Rules:

1. Every event follows what is in force, with the next version; it carries what it follows, and
   the roots and delegations by which anybody can verify that offline.
2. Lifetimes are those of ``LIFETIME_DAYS`` unless the caller says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata, Root, Targets

from interlock_core.keys import NamedKey, load_public_key
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE, check_product
from interlock_core.roster import read_roster
from interlock_core.tuf_metadata import delegated_roles, parse_metadata
from interlock_repo import delegations, rosters, staging
from interlock_repo.event import BASE_ROSTER, Draft
from interlock_repo.repository import Repository
from interlock_repo.specs import DelegationsSpec, ReleaseSpec, RosterSpec
from interlock_repo.trust import role_of

LIFETIME_DAYS: Final = {"delegations": 365, "release": 365, "roster": 35}
"""How long each kind of metadata is valid, in days (rule 2)."""


def draft_delegations(
    repository: Repository, spec: DelegationsSpec, folder: Path, *, now: datetime, days: int
) -> Draft:
    """New top-level targets with the roles of ``spec`` set.

    Args:
        repository: what is in force.
        spec: the roles to add or change.
        folder: where the public key files that it names are.
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError, WireError: as ``delegations.next_targets``; or ``orphaned_role``.
        NotFoundError, TransientError: a key file is missing or cannot be read.
    """
    current = _targets(repository.targets, "targets")
    for product in spec.products:
        check_product(product)
    roles = dict(spec.products)
    if spec.interlock is not None:
        roles[ROSTER_ROLE] = spec.interlock
    changes = {
        name: delegations.Holders(role.threshold, _keys(role.holders, folder))
        for name, role in roles.items()
    }
    metadata = delegations.next_targets(
        current, changes, now=now, expires=now + timedelta(days=days)
    )
    for name in changes.keys() & delegated_roles(current).keys():
        data = repository.role(name)
        if data is not None:
            delegations.check_not_orphaned(metadata.signed, name, _metadata(data, name))
    base = _base(repository) | {f"{current.version}.targets.json": repository.targets}
    return Draft("delegations", Targets.type, metadata, base, {})


def draft_release(
    repository: Repository, spec: ReleaseSpec, folder: Path, *, now: datetime, days: int
) -> Draft:
    """A product's next metadata with the release of ``spec``.

    Args:
        repository: what is in force.
        spec: the release.
        folder: where the files that it names are.
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError: ``unknown_product``, or as ``staging.stage``.
        WireError, NotFoundError, TransientError: as ``staging.stage``.
    """
    targets = _targets(repository.targets, "targets")
    role = staging.delegated_product(targets, spec.product)
    data = repository.role(spec.product)
    previous = _targets(data, spec.product) if data is not None else None
    staged = staging.stage(
        spec, folder, role, previous, now=now, expires=now + timedelta(days=days)
    )
    base = _delegated_base(repository, targets, spec.product, data)
    return Draft("release", spec.product, staged.metadata, base, staged.contents)


def draft_roster(
    repository: Repository, spec: RosterSpec, folder: Path, *, now: datetime, days: int
) -> Draft:
    """The next roster.

    Args:
        repository: what is in force.
        spec: persons, grants and rules.
        folder: where the public key files that it names are.
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError: ``unknown_role`` if nobody holds the role yet, or as ``rosters.next_roster``.
        WireError, NotFoundError, TransientError: as ``rosters.next_roster``, or a key file.
    """
    targets = _targets(repository.targets, "targets")
    role_of(targets, ROSTER_ROLE)
    data = repository.role(ROSTER_ROLE)
    previous = _targets(data, ROSTER_ROLE) if data is not None else None
    base = _delegated_base(repository, targets, ROSTER_ROLE, data)
    before = None
    if previous is not None:
        base[BASE_ROSTER] = repository.roster(previous)
        before = read_roster(base[BASE_ROSTER])
    keys = {person.name: _keys(person.keys, folder) for person in spec.persons}
    roster = rosters.next_roster(spec, keys, before, now)
    metadata, content = rosters.next_metadata(
        roster, previous, now=now, expires=now + timedelta(days=days)
    )
    return Draft("roster", ROSTER_ROLE, metadata, base, {ROSTER_PATH: content})


def _keys(files: Iterable[str], folder: Path) -> tuple[NamedKey, ...]:
    return tuple(load_public_key(folder / file) for file in files)


def _base(repository: Repository) -> dict[str, bytes]:
    first = parse_metadata(repository.roots[0], Root, what="root metadata").signed.version
    return {f"{first + i}.root.json": data for i, data in enumerate(repository.roots)}


def _delegated_base(
    repository: Repository, targets: Targets, role: str, previous: bytes | None
) -> dict[str, bytes]:
    base = _base(repository) | {f"{targets.version}.targets.json": repository.targets}
    if previous is not None:
        base[f"{_targets(previous, role).version}.{role}.json"] = previous
    return base


def _targets(data: bytes, role: str) -> Targets:
    return _metadata(data, role).signed


def _metadata(data: bytes, role: str) -> Metadata[Targets]:
    return parse_metadata(data, Targets, what=f"{role} metadata in force")
