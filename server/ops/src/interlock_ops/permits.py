"""Whether an order needs permits, and which there are (pure).

Rules:

1. Only a recall goes down, and down to a gateway's floor by itself. Below the floor that a release
   raised where it was confirmed, a permit of the product's release managers is needed (19).
2. A permit names its order by id, so there is none before the order is signed; those for another
   order do not count for this one.
3. For whom a permit is stands in its content, which gateways read; here it is named by its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from tuf.api.metadata import Targets

from interlock_core.errors import WireError
from interlock_core.order import Order
from interlock_core.release import Image, PermitFacts, permit_facts, read_image
from interlock_core.wire import format_time
from interlock_core.withdrawn import withdrawals


def permits_said(
    order: Order, order_id: str | None, product: Targets, now: datetime
) -> Iterator[str]:
    """What is to be said about permits for an order; nothing where none is needed.

    Args:
        order: the order.
        order_id: its id; None before it is signed (rule 2).
        product: the verified metadata of its product.
        now: to judge what has expired.

    Raises:
        RefusedError: ``bad_withdrawal``: the metadata is malformed.
    """
    if order.kind != "recall":
        return
    images = dict(_images(product))
    for target in order.targets:
        image = images.get(target.path)
        if image is None:
            continue
        above = _raised_above(image, images, product)
        if above:
            yield (
                f"Gateways that confirmed {', '.join(above)} refuse {target.path} (counter "
                f"{image.release_counter}) without a permit for this order."
            )
            yield from _there_are(order_id, list(_fitting(target.sha256, product, now)))


def _there_are(order_id: str | None, fitting: list[tuple[str, PermitFacts]]) -> Iterator[str]:
    mine = [(path, facts) for path, facts in fitting if facts.order == order_id]
    for path, facts in mine:
        yield f"There is the permit {path}, until {format_time(facts.expires)}."
    for path, facts in fitting:
        if facts.order != order_id:
            yield f"The permit {path} is for the order {facts.order}, and not for this one."
    if not mine:
        which = f"order = {order_id}" if order_id else "the id that the order gets now"
        yield (
            "None is there yet: the product's release managers make one with 'interlock-repo "
            f"permit', {which}."
        )


def _images(product: Targets) -> Iterator[tuple[str, Image]]:
    for path, target in product.targets.items():
        with suppress(WireError):
            yield path, read_image(path, target.custom)


def _raised_above(image: Image, images: dict[str, Image], product: Targets) -> list[str]:
    """The releases, withdrawn ones too, that raised a floor above this image (rule 1)."""
    floors = {one.version: one.raises_floor_to for one in images.values()}
    floors |= {version: one.raises_floor_to for version, one in withdrawals(product).items()}
    return sorted(version for version, floor in floors.items() if floor > image.release_counter)


def _fitting(sha256: str, product: Targets, now: datetime) -> Iterator[tuple[str, PermitFacts]]:
    for path, target in sorted(product.targets.items()):
        facts = permit_facts(path, target.custom)
        if facts is not None and facts.to_sha256 == sha256 and facts.expires > now:
            yield path, facts
