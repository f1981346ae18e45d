"""Which of several orders is in force for a cohort (pure).

The server directs by it and operators look by it. No gateway needs it: it judges the one order that
it is shown.

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. The accepted order with the highest ``seq`` is in force (6, 7), unless the roster ended it.
2. A baseline is in force only where no update or recall is (8); an expired one of these gives way
   to a baseline with a higher number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from interlock_core.chain import Papers, accepted_at
from interlock_core.order import Order
from interlock_core.roster import Judge
from interlock_core.statement import Opened


def in_force(
    judge: Judge,
    orders: Iterable[Opened[Order]],
    papers: Callable[[Opened[Order]], Papers],
    cohort: str,
) -> Opened[Order] | None:
    """The order in force among those of one product, or None.

    Args:
        judge: the roster of the moment.
        orders: of one product.
        papers: what was signed about one of them; asked for no more of them than it takes.
        cohort: where.
    """
    least = judge.roster.min_order_seq
    # From the highest number down, so that the many orders of the past are not judged each time.
    candidates = sorted(
        (order for order in orders if order.said.seq >= least.get(order.said.product, 0)),
        key=lambda order: -order.said.seq,
    )

    def first(*, baseline: bool) -> Opened[Order] | None:
        return next(
            (
                order
                for order in candidates
                if (order.said.kind == "baseline") == baseline
                and accepted_at(judge, papers(order), cohort) is not None
            ),
            None,
        )

    top = first(baseline=False)
    if top is not None and top.said.expires > judge.now:
        return top
    baseline = first(baseline=True)
    if top is None or baseline is None:
        return top or baseline
    return baseline if baseline.said.seq > top.said.seq else top
