"""What everything that was signed about an order says at one cohort, for ``rollout`` (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. It is read by the gateways' own code (``chain``, ``current``): nothing that was noted earlier is
   consulted.
2. An order is accepted at a cohort when it is the one in force there. It is over when it expired,
   when the roster ended it, or when one with a higher number is in force (6, 7): gateways remember
   the highest and never go back.
3. A stop of one site does not stand for its cohort: the devices of that site say themselves that
   they are stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interlock_core.chain import Papers, cleared, read_chain, stop_counts
from interlock_core.order import Order, Stop
from interlock_core.rollout import AtCohort
from interlock_core.roster import Judge
from interlock_core.statement import Opened

SUPERSEDED: Final = "superseded_order"
EXPIRED: Final = "expired_order"


def at_cohort(
    judge: Judge,
    papers: Papers,
    stops: Iterable[Opened[Stop]],
    current: Opened[Order] | None,
    cohort: str,
) -> AtCohort:
    """Read one order at one cohort.

    Args:
        judge: the roster, and the time of the reading.
        papers: what was signed about the order.
        stops: those that name it.
        current: the order of its product that is in force at the cohort (``current.in_force``).
        cohort: one that the order names.
    """
    order = papers.order
    over = _over(judge, order, current)
    if over is not None:
        return AtCohort(cohort, accepted=False, over=over)
    chain = read_chain(judge, papers, cohort)
    ended = cleared(chain)
    return AtCohort(
        cohort,
        accepted=current is not None and current.id == order.id,
        opened=tuple(stage.since for stage in chain.stages),
        live_until=chain.live_until(0),
        stopped=any(
            stop.id not in ended
            and stop.said.site is None
            and stop.said.cohort in {None, cohort}
            and stop_counts(judge, stop, cohort)
            for stop in stops
        ),
        resumed_at=max((go.said.at for go in chain.resumes), default=None),
    )


def _over(judge: Judge, order: Opened[Order], current: Opened[Order] | None) -> str | None:
    """Why an order is over at a cohort for good (rule 2)."""
    said = order.said
    if said.seq < judge.roster.min_order_seq.get(said.product, 0):
        return SUPERSEDED
    if said.expires <= judge.now:
        return EXPIRED
    return SUPERSEDED if current is not None and current.said.seq > said.seq else None
