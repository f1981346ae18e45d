"""From a verified repository and what people wrote to a signing event's content (I/O: reads files).

Rules:

1. Every event follows what is in force, with the next version; it carries what it follows, and
   the roots and delegations by which anybody can verify that offline.
2. Lifetimes are those of ``event.LIFETIME_DAYS`` unless the caller says otherwise.
3. New holders sign a role again before the delegations that name them are published: such an event
   rests on those delegations, signed, beside the ones in force.
4. What people wrote travels along, with the small files that it names, so that the same event can
   be made again on another base (``intent``, ``drafters``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace
from tuf.api.metadata import DelegatedRole, Metadata, Root, Targets

from interlock_core.errors import RefusedError
from interlock_core.keys import NamedKey, load_public_key
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE, check_product
from interlock_core.roster import Roster, read_roster
from interlock_core.tuf_metadata import check_signatures, delegated_roles, parse_metadata
from interlock_repo import delegations, rosters, staging
from interlock_repo.event import BASE_ROSTER, Draft
from interlock_repo.intent import Attached, Intent, intent_of
from interlock_repo.repository import Repository
from interlock_repo.specs import (
    RENEWED_AFTER,
    DelegationsIntent,
    DelegationsSpec,
    ReleaseSpec,
    RoleSpec,
    RosterRenewalIntent,
    RosterSpec,
)
from interlock_repo.trust import role_of


@dataclass(frozen=True)
class Ground:
    """What an event of a delegated role rests on.

    Attributes:
        role: what the delegator says of it.
        previous: the role's metadata in force; None before there is any.
        base: the files that the event carries.
    """

    role: DelegatedRole
    previous: Targets | None
    base: dict[str, bytes]


def ground(repository: Repository, name: str, after: bytes | None = None) -> Ground:
    """What is in force of a delegated role.

    Args:
        repository: what is in force.
        name: a product, or ``interlock``.
        after: signed delegations that will be published with the event (rule 3).

    Raises:
        RefusedError: ``unknown_role``; of ``after``: ``untrusted_metadata`` or ``version_gap``.
        WireError: ``after`` is no targets metadata.
        NotFoundError, TransientError: as ``Repository.role``.
    """
    current = _targets(repository.targets, "targets")
    delegator = current if after is None else _following(repository, current, after)
    role_of(delegator, name)
    role = delegated_roles(delegator)[name]
    data = repository.role(name)
    base = _base(repository) | {f"{current.version}.targets.json": repository.targets}
    if after is not None:
        base[f"{delegator.version}.targets.json"] = after
    previous = _targets(data, name) if data is not None else None
    if data is not None and previous is not None:
        base[f"{previous.version}.{name}.json"] = data
    return Ground(role, previous, base)


def product_ground(repository: Repository, product: str, after: bytes | None = None) -> Ground:
    """As ``ground``, of a product: the roster is none, whoever asks for it as one.

    Raises:
        RefusedError: ``unknown_product``, or as ``ground``.
    """
    staging.delegated_product(_targets(repository.targets, Targets.type), product)
    return ground(repository, product, after)


def _following(repository: Repository, current: Targets, after: bytes) -> Targets:
    metadata = _metadata(after, "targets")
    root = parse_metadata(repository.roots[-1], Root, what="root metadata").signed
    check_signatures(root, Targets.type, metadata)
    if metadata.signed.version != current.version + 1:
        raise RefusedError(
            f"The delegations {metadata.signed.version} do not follow {current.version}, which is "
            "in force: have them staged anew.",
            reason="version_gap",
        )
    return metadata.signed


def draft_delegations(
    repository: Repository,
    spec: DelegationsSpec,
    folder: Path,
    *,
    with_renewal: bool = False,
    now: datetime,
    days: int,
) -> Draft:
    """New top-level targets with the roles of ``spec`` set.

    Args:
        repository: what is in force.
        spec: the roles to add or change.
        folder: where the public key files that it names are.
        with_renewal: new holders will sign again what is in force (rule 3).
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError, WireError: as ``delegations.next_targets``; or ``orphaned_role`` or
            ``retired_key``.
        NotFoundError, TransientError: a key file is missing or cannot be read.
    """
    current = _targets(repository.targets, "targets")
    for product in spec.products:
        check_product(product)
    changes = {
        name: delegations.Holders(role.threshold, _keys(role.holders, folder), role.shares_keys)
        for name, role in spec.roles.items()
    }
    older = (_targets(data, "older targets") for data in repository.older_targets())
    delegations.check_none_returns(current, changes, older)
    metadata = delegations.next_targets(
        current, changes, now=now, expires=now + timedelta(days=days)
    )
    for name in changes.keys() & delegated_roles(current).keys():
        data = repository.role(name)
        if data is not None and not with_renewal:
            delegations.check_not_orphaned(metadata.signed, name, _metadata(data, name))
    base = _base(repository) | {f"{current.version}.targets.json": repository.targets}
    attached = Attached(folder)

    def travelling(role: RoleSpec) -> RoleSpec:
        return replace(role, holders=tuple(map(attached.add, role.holders)))

    kept = DelegationsIntent(
        products={name: travelling(role) for name, role in spec.products.items()},
        interlock=travelling(spec.interlock) if spec.interlock is not None else None,
        with_renewal=with_renewal,
    )
    intent = intent_of(kept, days, attached.files)
    return Draft("delegations", Targets.type, metadata, base, {}, intent)


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
    on = product_ground(repository, spec.product)
    staged = staging.stage(
        spec, folder, on.role, on.previous, now=now, expires=now + timedelta(days=days)
    )
    intent = intent_of(staged.spec, days)
    return Draft("release", spec.product, staged.metadata, on.base, staged.contents, intent)


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
    on = ground(repository, ROSTER_ROLE)
    before = roster_in_force(repository, on)
    keys = {person.name: _keys(person.keys, folder) for person in spec.persons}
    attached = Attached(folder)
    persons = tuple(
        replace(person, keys=tuple(map(attached.add, person.keys))) for person in spec.persons
    )
    intent = intent_of(replace(spec, persons=persons), days, attached.files)
    roster = rosters.next_roster(spec, keys, before, now)
    return drafted_roster(roster, on, intent, now=now, days=days)


def draft_roster_renewal(
    repository: Repository,
    *,
    drop_expired: bool,
    after: bytes | None,
    now: datetime,
    days: int,
) -> Draft:
    """The roster in force once more.

    Args:
        repository: what is in force.
        drop_expired: leave out grants that have expired.
        after: signed delegations that will be published with it (rule 3).
        now: the time of issue.
        days: until expiry of the metadata.

    Raises:
        RefusedError: ``no_roster``, or as ``rosters.renewed`` and ``ground``.
    """
    on = ground(repository, ROSTER_ROLE, after)
    before = roster_in_force(repository, on)
    if before is None:
        raise RefusedError(
            "There is no roster yet: write the first one ('interlock-repo sample roster').",
            reason="no_roster",
        )
    files = {} if after is None else {RENEWED_AFTER: after.decode()}
    kept = RosterRenewalIntent(drop_expired=drop_expired, after=RENEWED_AFTER if files else None)
    roster = rosters.renewed(before, now, drop_expired=drop_expired)
    return drafted_roster(roster, on, intent_of(kept, days, files), now=now, days=days)


def roster_in_force(repository: Repository, on: Ground) -> Roster | None:
    """The roster in force, which the event then carries; None before the first.

    Raises:
        RefusedError, NotFoundError, TransientError: as ``Repository.roster``.
        WireError: it is malformed.
    """
    if on.previous is None:
        return None
    on.base[BASE_ROSTER] = repository.roster(on.previous)
    return read_roster(on.base[BASE_ROSTER])


def drafted_roster(
    roster: Roster, on: Ground, intent: Intent, *, now: datetime, days: int
) -> Draft:
    """The event of a roster.

    Args:
        roster: that shall be in force.
        on: what it rests on.
        intent: what people wrote.
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError: ``too_large``.
    """
    metadata, content = rosters.next_metadata(
        roster, on.previous, now=now, expires=now + timedelta(days=days)
    )
    return Draft("roster", ROSTER_ROLE, metadata, on.base, {ROSTER_PATH: content}, intent)


def _keys(files: Iterable[str], folder: Path) -> tuple[NamedKey, ...]:
    return tuple(load_public_key(folder / file) for file in files)


def _base(repository: Repository) -> dict[str, bytes]:
    first = parse_metadata(repository.roots[0], Root, what="root metadata").signed.version
    return {f"{first + i}.root.json": data for i, data in enumerate(repository.roots)}


def _targets(data: bytes, role: str) -> Targets:
    return _metadata(data, role).signed


def _metadata(data: bytes, role: str) -> Metadata[Targets]:
    return parse_metadata(data, Targets, what=f"{role} metadata in force")
