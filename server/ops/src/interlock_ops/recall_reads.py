"""What the server shows of a recall and of the fleet under it (I/O).

Rules:

1. What cannot be read is told, and left out: of devices, each is told by name.
2. Who stands in an inventory that was kept from before and is not shown now is open: a server can
   leave a device out of a list, and not out of a file that it never had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from interlock_core.api import RecallPage
from interlock_core.catalogue import Catalogue
from interlock_core.errors import InterlockError, RefusedError, WireError
from interlock_core.inventory import Gateways
from interlock_core.listing import catalogue_of
from interlock_core.order import Order
from interlock_core.placed import Placing
from interlock_core.recall_papers import RECALL_STATEMENTS, Disposition, Notice
from interlock_core.seen import Seen
from interlock_core.statement import Opened, open_statement
from interlock_ops.dossier import Dossier
from interlock_ops.fleet_reads import devices
from interlock_ops.outside import seen_of
from interlock_ops.session import Session

NOT_SHOWN = "not_shown"
"""Of a gateway that an inventory names and the server does not show."""


@dataclass(frozen=True)
class Beside:
    """What was signed about a recall beside its order, opened and not judged.

    Attributes:
        left_out: how many statements cannot be read.
    """

    notices: tuple[Opened[Notice], ...]
    words: tuple[Opened[Disposition], ...]
    left_out: int


def catalogue(session: Session, product: str) -> Catalogue:
    """What a product has released, verified.

    Raises:
        RefusedError, WireError, TransientError: as ``ImageRepository.product``.
    """
    return catalogue_of(product, session.image.product(product))


def try_placing(session: Session, order: Order, warn: Callable[[str], None]) -> Placing | None:
    """Where an order's gateways stand; None, and a warning, where releases cannot be read."""
    try:
        return Placing(order, catalogue(session, order.product))
    except InterlockError as e:
        warn(f"Which gateways are inside is not shown, since the releases could not be read: {e}")
        return None


def beside(session: Session, order_id: str) -> Beside:
    """The notices and dispositions of a recall.

    Raises:
        NotFoundError: the server knows no such order.
    """
    notices: dict[str, Opened[Notice]] = {}
    words: dict[str, Opened[Disposition]] = {}
    bad = 0
    for page in session.pages(f"/v1/rollouts/{order_id}/recall", RecallPage):
        for envelope in page.items:
            try:
                one = open_statement(envelope, RECALL_STATEMENTS)
            except WireError:
                bad += 1
                continue
            if isinstance(one.said, Notice):
                notices[one.id] = cast("Opened[Notice]", one)
            else:
                words[one.id] = cast("Opened[Disposition]", one)
    return Beside(tuple(notices.values()), tuple(words.values()), bad)


def dossiers(session: Session, product: str, warn: Callable[[str], None]) -> list[Dossier]:
    """Every order of a product that the server shows, newest first."""
    found = []
    for summary in session.rollouts(product):
        try:
            one = session.dossier(summary.id)
        except (RefusedError, WireError) as e:
            warn(f"The order {summary.seq} of {product} cannot be judged: {e}")
            continue
        if one.order.said.product == product:
            found.append(one)
    return found


def gateways(
    session: Session,
    product: str,
    warn: Callable[[str], None],
    progress: Callable[[int], None] = lambda _: None,
    inventory: Gateways | None = None,
    cohort: str | None = None,
) -> Iterator[Seen]:
    """The gateways of a product, as their papers show them (rules 1 and 2)."""
    shown: set[str] = set()
    for view in devices(session, cohort=cohort, progress=progress):
        seen = seen_of(view)
        if seen is None:
            warn(f"{view.device}: {view.faults[0].detail}. It is counted nowhere.")
            continue
        shown.add(seen.device)
        if seen.product == product:
            yield seen
    for one in inventory.gateways if inventory is not None else ():
        if one.device not in shown and one.product == product:
            yield Seen(
                device=one.device,
                enrolment="",
                product=product,
                hardware=one.hardware or "",
                site=one.site or "",
                cohort=one.cohort or "",
                excluded=NOT_SHOWN,
            )


def try_gateways(
    session: Session, product: str, warn: Callable[[str], None], progress: Callable[[int], None]
) -> list[Seen] | None:
    """The same; None, and a warning, where they cannot be read: a stop must not wait for them."""
    try:
        return list(gateways(session, product, warn, progress))
    except InterlockError as e:
        warn(f"The devices could not be read: {e}")
        return None
