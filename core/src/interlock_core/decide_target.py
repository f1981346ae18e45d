"""Which image an order means for this gateway, and whether it may run here.

Pure. Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

8.  ``update`` and ``baseline`` never lower the release counter; a ``recall`` may, down to the
    floor.
9.  The target is the first in the list that matches my hardware and whose barrier my highest
    ever confirmed counter meets; no later one is tried.
19. Below the floor a permit is needed that covers this very move, under this order, here. It is
    spent once and lowers no floor.

Order, image repository and director must agree on length and digest (TAP 4), and the facts about
an image come from the image repository alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from interlock_core.facts import Gateway, Reason, Refusal, Trusted
from interlock_core.order import Order, Target
from interlock_core.release import Image
from interlock_core.statement import Opened


def choose(order: Order, gateway: Gateway, trusted: Trusted) -> tuple[Target, Image] | Refusal:
    """The target that the order means for this gateway, and its facts (9)."""
    listed = {path: one for path, one in trusted.images.items() if path in trusted.image_targets}
    return first_fit(order, listed, gateway.hardware, gateway.highest_confirmed_counter)


def first_fit(
    order: Order, images: Mapping[str, Image], hardware: str, highest_confirmed_counter: int
) -> tuple[Target, Image] | Refusal:
    """``choose``, for whoever knows of a gateway only what counts for it: the server, forecasts.

    Args:
        order: what was ordered.
        images: what the image repository lists, by path.
        hardware: the gateway's.
        highest_confirmed_counter: the highest release counter ever confirmed there.
    """
    barred: Refusal | None = None
    for target in order.targets:
        image = images.get(target.path)
        if image is None:
            return Refusal(
                Reason.ORDER_MISMATCH, f"the image repository has no image {target.path}"
            )
        if hardware not in image.hardware_ids:
            continue
        if image.min_counter_installed <= highest_confirmed_counter:
            return target, image
        barred = Refusal(
            Reason.BARRIER_NOT_MET,
            f"{target.path} needs counter {image.min_counter_installed} to be confirmed first",
        )
    return barred or Refusal(
        Reason.WRONG_HARDWARE, f"no target of the order is for hardware {hardware}"
    )


def runs_though_unlisted(order: Order, gateway: Gateway, trusted: Trusted) -> Target | None:
    """The target that runs here and that the image repository does not list any more.

    A release that was withdrawn goes on running: that is nothing to do, and no refusal.
    """
    return next(
        (
            target
            for target in order.targets
            if target.path not in trusted.image_targets and target.sha256 == gateway.running_sha256
        ),
        None,
    )


def disagreement(wanted: Target, trusted: Trusted) -> Refusal | None:
    """Whether order, image repository and director name different bytes."""
    image = trusted.image_targets[wanted.path]
    director = trusted.director_targets.get(wanted.path)
    if (image.length, image.hashes.get("sha256")) != (wanted.length, wanted.sha256):
        return Refusal(
            Reason.ORDER_MISMATCH, f"{wanted.path} is not what the order names by digest"
        )
    if director is None or (director.length, dict(director.hashes)) != (
        image.length,
        dict(image.hashes),
    ):
        return Refusal(
            Reason.REPOSITORIES_DISAGREE, f"director and image repository differ on {wanted.path}"
        )
    return None


def permit_needed(
    order: Opened[Order],
    wanted: Target,
    image: Image,
    gateway: Gateway,
    trusted: Trusted,
    now: datetime,
) -> str | Refusal | None:
    """The permit that the move needs and has; None if it needs none; else why it may not run."""
    if image.product != gateway.product:
        return Refusal(Reason.WRONG_PRODUCT, f"the image is for {image.product}")
    if gateway.market not in image.markets:
        return Refusal(Reason.WRONG_MARKET, f"it is not cleared for {gateway.market}")
    counter = image.release_counter
    if order.said.kind != "recall" and counter < gateway.running_counter:
        return Refusal(
            Reason.BELOW_FLOOR,
            f"only a recall goes from counter {gateway.running_counter} down to {counter}",
        )
    if counter >= gateway.release_floor:
        return None
    permit = _permit(order, wanted, gateway, trusted, now)
    return permit or Refusal(
        Reason.BELOW_FLOOR,
        f"counter {counter} is below the floor, {gateway.release_floor}, and no permit covers this "
        f"move here, under this order, now{_missing(trusted)}",
    )


def _missing(trusted: Trusted) -> str:
    """Of the permits that could not be had the first, for people."""
    if not trusted.permits_missing:
        return ""
    digest, why = next(iter(trusted.permits_missing.items()))
    return f"; {len(trusted.permits_missing)} could not be had, {digest[:12]} for one: {why}"


def _permit(
    order: Opened[Order], wanted: Target, gateway: Gateway, trusted: Trusted, now: datetime
) -> str | None:
    for digest, permit in trusted.permits.items():
        if (
            permit.fleet == gateway.fleet
            and permit.product == gateway.product
            and permit.from_sha256 == gateway.running_sha256
            and permit.to_sha256 == wanted.sha256
            and (gateway.device in permit.devices or gateway.cohort in permit.cohorts)
            and permit.order == order.id
            and permit.expires > now
            and digest not in gateway.spent_permits
        ):
            return digest
    return None


def rolled_back_here(order: Opened[Order], wanted: Target, gateway: Gateway) -> Refusal | None:
    """Whether this very image failed here already, under this order."""
    if (order.id, wanted.sha256) in gateway.rolled_back:
        return Refusal(Reason.ROLLED_BACK_HERE, f"{wanted.path} rolled back here under this order")
    return None
