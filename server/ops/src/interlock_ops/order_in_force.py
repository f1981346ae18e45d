"""Which of several orders is in force for a cohort (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. The accepted order with the highest ``seq`` is in force (6, 7), unless the roster ended it.
2. A baseline only where no update or recall is in force (8); an expired one of these gives way to a
   baseline with a higher number.
"""

from __future__ import annotations

from collections.abc import Iterable

from interlock_core.chain import accepted_at
from interlock_core.roster import Judge
from interlock_ops.dossier import Dossier


def choose(judge: Judge, dossiers: Iterable[Dossier], cohort: str) -> Dossier | None:
    """The order in force among those of one product, or None."""
    least = judge.roster.min_order_seq
    standing = sorted(
        (
            one
            for one in dossiers
            if one.order.said.seq >= least.get(one.order.said.product, 0)
            and accepted_at(judge, one.papers, cohort) is not None
        ),
        key=lambda one: -one.order.said.seq,
    )
    top = next((one for one in standing if one.order.said.kind != "baseline"), None)
    base = next((one for one in standing if one.order.said.kind == "baseline"), None)
    if top is None or base is None:
        return top or base
    if top.order.said.expires > judge.now:
        return top
    return base if base.order.said.seq > top.order.said.seq else top
