"""Which orders may take the place of one that runs (pure).

Of several orders of one product the highest number that is accepted is in force (``current``), and
gateways know no other rule. So that nobody ends a rollout by accident, the server takes no order,
and no word that authorises one, against these rules (docs/adr/0012):

1. An ``update`` does not take the place of an update or a recall that runs at one of its cohorts:
   one that was opened there, and neither finished nor stopped. Paused is running.
2. It may if its author says so: ``supersedes`` names the one that runs. Whoever authorises it reads
   that.
3. It may if the image that it wants is a critical security update: none of this must delay one.
4. A ``recall`` always may, and a ``baseline`` takes nothing's place (8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import UNSET

from interlock_core.order import Order
from interlock_core.release import UpdateClass


@dataclass(frozen=True)
class Running:
    """An order that runs: its id, and the cohorts at which it was opened and is not over."""

    id: str
    order: Order
    cohorts: frozenset[str]


def in_the_way(
    order: Order, wanted: UpdateClass | None, running: Iterable[Running]
) -> Running | None:
    """The first of ``running`` that an order may not take the place of, or None.

    Args:
        order: the new one.
        wanted: what the image repository says of the image that it wants.
        running: what runs, of any product.
    """
    critical = wanted is not None and (wanted.type, wanted.urgency) == ("security", "critical")
    if order.kind != "update" or critical:
        return None
    named = None if order.supersedes is UNSET else order.supersedes
    mine = frozenset(order.cohorts())
    for one in running:
        if (
            one.order.product == order.product
            and one.order.seq < order.seq
            and one.order.kind != "baseline"
            and one.id != named
            and not mine.isdisjoint(one.cohorts)
        ):
            return one
    return None
