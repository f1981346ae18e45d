"""Who may release what: the top-level targets metadata that delegates (pure).

Rules:

1. A product's role covers ``<product>/*/*``, the reserved role ``interlock`` covers
   ``interlock/*``; both are terminating.
2. Within a role each person holds one key and each key stands once: a threshold counts people.
3. The roster's holders are other people, with other keys, than the release managers of any
   product. Otherwise those who make releases could decide who installs them.
4. A role's metadata in force must still carry the threshold of the role's new holders, unless
   they sign it again (a renewal) and both are published at once. Otherwise gateways would lose it.
5. A role with classical and post-quantum keys asks for as many as ``interlock_core.hybrid`` says.
6. A public key holds one product, so that whoever steals it reaches one product: a supplier's key
   is nobody else's, and who makes two products takes a key for each. Where people want it
   otherwise, one of the two roles says so (``shares_keys``, signed and shown). Gateways do not ask:
   roles are apart by their paths and thresholds, whatever keys they list.
7. A key that left a role never comes back into it: a holder who returns has a new one. Gateways
   hold versions back by the keys that they knew (ADR 0007), and one that was switched off meanwhile
   does not know that a key was gone. Ceremonies keep the same rule for theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from interlock_core.errors import RefusedError
from interlock_core.keybytes import public_key_bytes
from interlock_core.keys import NamedKey
from interlock_core.names import ROSTER_ROLE, check_product
from interlock_core.tuf_metadata import (
    check_hybrid_roles,
    check_listed_keys,
    check_signatures,
    check_top_level,
    delegated_paths,
    delegated_roles,
)
from interlock_repo.released import following
from interlock_repo.trust import HOLDERS, SHARES_KEYS, Role, role_of


@dataclass(frozen=True)
class Holders:
    """Who shall hold a role, and how many of them must sign."""

    threshold: int
    keys: tuple[NamedKey, ...]
    shares_keys: bool = False


def next_targets(
    current: Targets, changes: Mapping[str, Holders], *, now: datetime, expires: datetime
) -> Metadata[Targets]:
    """The targets metadata that follows ``current``, with the roles of ``changes`` set.

    Raises:
        RefusedError: ``shared_key``, ``same_person``, ``bad_threshold``, ``weak_hybrid`` or
            ``same_holders``.
        WireError: ``bad_name``: a name that may not name a product.
    """
    roles = dict(delegated_roles(current))
    keys = dict(current.delegations.keys) if current.delegations is not None else {}
    for name, holders in changes.items():
        if name != ROSTER_ROLE:
            check_product(name)
        _check_holders(name, holders)
        keys |= {named.key.keyid: named.key for named in holders.keys}
        roles[name] = DelegatedRole(
            name,
            [named.key.keyid for named in holders.keys],
            holders.threshold,
            terminating=True,
            paths=delegated_paths(name),
            unrecognized_fields={HOLDERS: {n.key.keyid: n.name for n in holders.keys}}
            | ({SHARES_KEYS: True} if holders.shares_keys else {}),
        )
    used = {keyid for role in roles.values() for keyid in role.keyids}
    targets = following(current, now=now, expires=expires)
    targets.delegations = Delegations(
        {keyid: key for keyid, key in keys.items() if keyid in used}, roles
    )
    check_delegations(targets)
    return Metadata(targets)


def check_delegations(targets: Targets) -> None:
    """Check top-level targets metadata (rules 1 to 3, 5 and 6), whoever made it.

    Raises:
        RefusedError: ``bad_delegation``, ``shared_key``, ``bad_threshold``, ``weak_hybrid``,
            ``same_person`` or ``same_holders``.
        WireError: ``bad_name`` or ``bad_key``.
    """
    check_top_level(targets)
    check_listed_keys(targets)
    check_hybrid_roles(targets)
    roles = [role_of(targets, name) for name in delegated_roles(targets)]
    interlock = next((role for role in roles if role.name == ROSTER_ROLE), None)
    for role in roles:
        _check_persons(role)
        if interlock is not None and role is not interlock:
            _check_apart(interlock, role)
    _check_one_product(targets, [role for role in roles if role is not interlock])


def check_none_returns(
    current: Targets, changes: Mapping[str, Holders], older: Iterable[Targets]
) -> None:
    """Check that no new holder's key held the same role before, and left it (rule 7).

    Args:
        current: the top-level targets in force.
        changes: the roles that shall be set.
        older: the versions before it.

    Raises:
        RefusedError: ``retired_key``.
    """
    held = {name: _held(current, name) for name in changes}
    coming = {
        (name, public_key_bytes(named.key)): named.name
        for name, holders in changes.items()
        for named in holders.keys
        if held[name] and public_key_bytes(named.key) not in held[name]
    }
    for targets in older if coming else ():
        for (name, public), person in coming.items():
            if public in _held(targets, name):
                raise RefusedError(
                    f"{person}'s key held {name} in the delegations {targets.version} and left it: "
                    "a key that left never comes back. Have a new one made ('interlock-repo key "
                    f"new {person}').",
                    reason="retired_key",
                )


def _held(targets: Targets, name: str) -> set[bytes]:
    role = delegated_roles(targets).get(name)
    return {public_key_bytes(targets.get_key(k)) for k in role.keyids} if role else set()


def check_not_orphaned(targets: Targets, name: str, metadata: Metadata[Targets]) -> None:
    """Check that a role's metadata in force fits its new holders (rule 4).

    Raises:
        RefusedError: ``orphaned_role``.
    """
    try:
        check_signatures(targets, name, metadata)
    except RefusedError as e:
        raise RefusedError(
            f"{name} {metadata.signed.version} is in force and would not carry the signatures of "
            f"{name}'s new holders: keep enough of those who signed it; or pass --with-renewal, "
            f"have the new holders sign it again ('interlock-repo renew {name} --after EVENT'), "
            "and publish both at once ('publish EVENT --with RENEWAL').",
            reason="orphaned_role",
        ) from e


def _check_holders(name: str, holders: Holders) -> None:
    if not 1 <= holders.threshold <= len(holders.keys):
        raise RefusedError(
            f"{name} asks for {holders.threshold} signatures and names {len(holders.keys)} "
            "holders: nobody could ever sign it. Choose a threshold from 1 to the number of "
            "holders.",
            reason="bad_threshold",
        )
    by_key: dict[bytes, str] = {}
    for named in holders.keys:
        public = public_key_bytes(named.key)
        if public in by_key:
            raise RefusedError(
                f"{name} names one public key twice, for {by_key[public]} and {named.name}: each "
                "holder has a key of his own.",
                reason="shared_key",
            )
        if named.name in by_key.values():
            raise RefusedError(
                f"{name} names two keys of {named.name}: each holder has one key in a role, "
                "since a threshold counts people.",
                reason="same_person",
            )
        by_key[public] = named.name


def _check_persons(role: Role) -> None:
    names = [holder.name for holder in role.holders if holder.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise RefusedError(
                f"{role.name} names two keys of {name}: each holder has one key in a role, since "
                "a threshold counts people.",
                reason="same_person",
            )


def _check_apart(interlock: Role, product: Role) -> None:
    for holder in interlock.holders:
        same = product.holder_of(holder.key)
        if same is not None or (
            holder.name is not None and holder.name in {h.name for h in product.holders}
        ):
            raise RefusedError(
                f"{holder.title} holds {interlock.name} and {product.name}: the roster's holders "
                "are other people than the release managers, with other keys.",
                reason="same_holders",
            )


def _check_one_product(targets: Targets, products: Iterable[Role]) -> None:
    stated = {
        name
        for name, role in delegated_roles(targets).items()
        if role.unrecognized_fields.get(SHARES_KEYS) is True
    }
    first: dict[bytes, tuple[str, str]] = {}
    for role in products:
        for holder in role.holders:
            other, whose = first.setdefault(public_key_bytes(holder.key), (role.name, holder.title))
            if other != role.name and not {other, role.name} & stated:
                raise RefusedError(
                    f"One public key would hold {other} ({whose}) and {role.name} "
                    f"({holder.title}): take another key for one of them; or write 'shares_keys = "
                    "true' for the product, and whoever steals it reaches both.",
                    reason="shared_key",
                )
