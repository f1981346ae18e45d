"""Events that change a product's metadata without a release (I/O: reads what is in force).

Rules:

1. A withdrawal takes the images of one release out of what may be installed. One that leaves
   gateways behind (``interlock_core.reach``) is refused with a list of them, unless the people who
   stage it say that they know.
2. A permit is made from versions as people call them; the tools find the images.
3. A renewal signs what is in force again, for longer, or by the role's new holders: then it rests
   on the delegations that name them, signed and not yet published, and both are published at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tuf.api.metadata import Metadata, Targets

from interlock_core import released
from interlock_core.errors import RefusedError
from interlock_core.names import ROSTER_ROLE
from interlock_core.withdrawn import set_withdrawn, withdrawals
from interlock_repo import permits, staging
from interlock_repo.drafting import Ground, ground, product_ground, roster_in_force
from interlock_repo.event import Draft, Kind
from interlock_repo.intent import Intent, intent_of
from interlock_repo.released import check_release, next_product
from interlock_repo.repository import Repository
from interlock_repo.specs import RENEWED_AFTER, PermitSpec, RenewalIntent, WithdrawalIntent
from interlock_repo.vetting import left_behind


def draft_withdrawal(
    repository: Repository,
    product: str,
    version: str,
    reason: str,
    *,
    despite_stranding: bool,
    now: datetime,
    days: int,
) -> Draft:
    """A product's next metadata without the images of one release.

    Args:
        repository: what is in force.
        product: the product.
        version: the release.
        reason: why, on one line; it is signed.
        despite_stranding: go on though gateways are left behind (rule 1).
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError: ``unknown_product``, ``unknown_version`` or ``stranding``.
        WireError: a reason that is not one line of printable text.
    """
    on = product_ground(repository, product)
    before = _in_force(on, product)
    targets = next_product(before, now=now, expires=now + timedelta(days=days))
    said = released.withdraw(before, version, at=now, reason=reason)
    set_withdrawn(targets, withdrawals(before) | {version: said})
    for image in said.images:
        del targets.targets[image.path]
    left = left_behind(targets, before, now.date())
    if left and not despite_stranding:
        listed = "; ".join(one.said for one in left[:20])
        raise RefusedError(
            f"Without {product} {version} some gateways cannot get to the newest release any "
            f"more: {listed}. Release a way up for them first; or pass --despite-stranding, and "
            "see to each of them by hand.",
            reason="stranding",
        )
    intent = WithdrawalIntent(
        product=product, version=version, reason=reason, despite_stranding=despite_stranding
    )
    return _drafted("withdrawal", on, targets, {}, intent_of(intent, days))


def draft_permits(repository: Repository, spec: PermitSpec, *, now: datetime, days: int) -> Draft:
    """A product's next metadata with new permits, or without those that are revoked.

    Args:
        repository: what is in force.
        spec: the moves.
        now: the time of issue.
        days: until expiry of the metadata.

    Raises:
        RefusedError: ``unknown_product``, ``no_roster``, ``nothing_to_do``, or as
            ``permits.permits_for``, ``add_permits`` and ``revoke``.
    """
    on = product_ground(repository, spec.product)
    before = _in_force(on, spec.product)
    if not spec.permits and not spec.revoke:
        raise RefusedError(
            "The file names no permit to make and none to revoke.", reason="nothing_to_do"
        )
    targets = next_product(before, now=now, expires=now + timedelta(days=days))
    permits.revoke(targets, before, spec.revoke)
    known = permits.known_images(before)
    fleet = _fleet(repository) if spec.permits else ""
    made = [
        permit
        for move in spec.permits
        for permit in permits.permits_for(move, spec.product, known, fleet=fleet, now=now)
    ]
    contents = permits.add_permits(targets, made)
    return _drafted("permit", on, targets, contents, intent_of(spec, days))


def draft_renewal(
    repository: Repository,
    product: str,
    *,
    after: bytes | None,
    now: datetime,
    days: int,
) -> Draft:
    """A product's metadata once more, as it is (rule 3).

    Args:
        repository: what is in force.
        product: the product.
        after: signed delegations that will be published with it; None to rest on those in force.
        now: the time of issue.
        days: until expiry.

    Raises:
        RefusedError: ``unknown_product``, ``not_released``, or as ``ground``.
    """
    on = product_ground(repository, product, after)
    targets = next_product(_in_force(on, product), now=now, expires=now + timedelta(days=days))
    files = {} if after is None else {RENEWED_AFTER: after.decode()}
    intent = RenewalIntent(product=product, after=RENEWED_AFTER if files else None)
    return _drafted("renewal", on, targets, {}, intent_of(intent, days, files))


def _drafted(
    kind: Kind, on: Ground, targets: Targets, contents: dict[str, bytes], intent: Intent
) -> Draft:
    product = on.role.name
    check_release(targets, on.previous, on.role)
    metadata = staging.within_limits(Metadata(targets), product)
    return Draft(kind, product, metadata, on.base, contents, intent)


def _in_force(on: Ground, product: str) -> Targets:
    if on.previous is None:
        raise RefusedError(
            f"{product} has no release yet: there is nothing to change.", reason="not_released"
        )
    return on.previous


def _fleet(repository: Repository) -> str:
    roster = None
    if repository.role(ROSTER_ROLE) is not None:
        roster = roster_in_force(repository, ground(repository, ROSTER_ROLE))
    if roster is None:
        raise RefusedError(
            "There is no roster yet, so there is no order that a permit could be for.",
            reason="no_roster",
        )
    return roster.fleet
