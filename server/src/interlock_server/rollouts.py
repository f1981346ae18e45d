"""How the statements on file read: the views that operators get (pure).

Rules:

1. Every view is made by the gateways' own code (``chain``), from the statements and the roster of
   the moment; nothing that the server computed earlier is consulted.
2. The state of a rollout is what statements alone determine. Whether gateways have finished is
   known from their reports, so it is not claimed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interlock_core.api import CohortView, Rollout, RolloutState, RolloutSummary
from interlock_core.chain import accepted_at, cleared, read_chain, stop_counts
from interlock_core.order import Order
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Opened
from interlock_server.director import in_force
from interlock_server.onfile import OnFile


def view(judge: Judge, on_file: OnFile, order: Opened[Order], served: Iterable[str]) -> Rollout:
    """Everything about one rollout.

    Args:
        judge: the roster in force, at the time of the question.
        on_file: all statements: other orders may supersede this one.
        order: which.
        served: the cohorts that this server serves.
    """
    papers = on_file.papers(order)
    cohorts = _cohort_views(judge, on_file, order, served)
    return Rollout(
        summary=_summary(judge, order, cohorts),
        order=order.envelope,
        authorisations=tuple(word.envelope for word in papers.authorisations),
        goes=tuple(go.envelope for go in papers.goes),
        stops=tuple(stop.envelope for stop in on_file.stops_of(order)),
        cohorts=cohorts,
    )


def summary(
    judge: Judge, on_file: OnFile, order: Opened[Order], served: Iterable[str]
) -> RolloutSummary:
    """One line about one rollout; arguments as ``view``."""
    return _summary(judge, order, _cohort_views(judge, on_file, order, served))


def _cohort_views(
    judge: Judge, on_file: OnFile, order: Opened[Order], served: Iterable[str]
) -> tuple[CohortView, ...]:
    known = set(served)
    return tuple(
        _cohort_view(judge, on_file, order, cohort)
        for cohort in order.said.cohorts()
        if cohort in known
    )


def _cohort_view(judge: Judge, on_file: OnFile, order: Opened[Order], cohort: str) -> CohortView:
    papers = on_file.papers(order)
    chain = read_chain(judge, papers, cohort)
    over = cleared(chain)
    current = in_force(judge, on_file, order.said.product, cohort)
    return CohortView(
        cohort=cohort,
        accepted_at=accepted_at(judge, papers, cohort),
        missing=_missing(judge, on_file, order, cohort),
        stages_open=len(chain.stages),
        objection=chain.objection,
        live_until=chain.live_until(0),
        standing_stops=tuple(
            stop.id
            for stop in on_file.stops_of(order)
            if stop.id not in over
            and stop.said.cohort in {None, cohort}
            and stop_counts(judge, stop, cohort)
        ),
        in_force=current is not None and current.id == order.id,
    )


def _missing(judge: Judge, on_file: OnFile, order: Opened[Order], cohort: str) -> tuple[str, ...]:
    """What the order still lacks to be accepted at a cohort, for people."""
    rules = judge.roster.rules_for(cohort)
    if rules is None:
        return (f"a roster rule that covers {cohort}",)
    lacking = []
    if judge.author_is(order, (OPERATOR,), cohort) is None:
        lacking.append(f"{order.said.author} as an operator over {cohort}")
    words = on_file.papers(order).authorisations
    missing = judge.missing(order, rules.start, words, cohort)
    lacking += [f"{count} more {role}" for role, count in sorted(missing.items())]
    return tuple(lacking)


def _summary(judge: Judge, order: Opened[Order], cohorts: Sequence[CohortView]) -> RolloutSummary:
    said = order.said
    return RolloutSummary(
        id=order.id,
        product=said.product,
        seq=said.seq,
        kind=said.kind,
        author=said.author,
        at=said.at,
        expires=said.expires,
        state=_state(judge, said, cohorts),
        in_force=any(cohort.in_force for cohort in cohorts),
    )


def _state(judge: Judge, order: Order, cohorts: Sequence[CohortView]) -> RolloutState:
    """The first that holds, read from the top (rule 2)."""
    serving = [cohort for cohort in cohorts if cohort.in_force]
    opened = [cohort for cohort in serving if cohort.stages_open]
    if order.expires <= judge.now:
        return "stopped"
    if all(cohort.accepted_at is None for cohort in cohorts):
        return "waiting_for_approval"
    if not serving:
        # Superseded everywhere, or ended by the roster.
        return "stopped"
    if any(cohort.standing_stops for cohort in serving):
        return "paused"
    if not opened:
        return "scheduled" if judge.now < order.not_before else "ready"
    live = [c for c in opened if c.live_until is not None and c.live_until > judge.now]
    return "running" if live else "stopped"
