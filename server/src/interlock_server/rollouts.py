"""How the statements on file read: the views that operators get (pure).

Rules:

1. How an order reads at a cohort is found by the gateways' own code (``chain``), from statements
   and the roster of the moment; nothing that the server computed earlier is consulted.
2. The state of a rollout is the engine's, and no second opinion: what it has not seen is a draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interlock_core.api import CohortView, Rollout, RolloutSummary
from interlock_core.chain import Papers, accepted_at, cleared, read_chain, stop_counts
from interlock_core.current import in_force
from interlock_core.order import Order
from interlock_core.rollout import State
from interlock_core.roster import OPERATOR, Judge
from interlock_core.statement import Envelope, Opened
from interlock_server.onfile import OnFile


class Views:
    """The views of one moment.

    Args:
        judge: the roster in force, at the time of the question.
        on_file: all statements: one order may supersede another.
        served: the cohorts that this server serves.
        states: where the engine last saw each rollout, by the id of its order (rule 2).
    """

    def __init__(
        self, judge: Judge, on_file: OnFile, served: Iterable[str], states: Mapping[str, State]
    ) -> None:
        self._judge = judge
        self._states = states
        self._on_file = on_file
        self._served = frozenset(served)
        self._in_force: dict[tuple[str, str], str | None] = {}

    def rollout(self, order: Opened[Order]) -> Rollout:
        """Everything about one rollout."""
        papers = self._on_file.papers(order)
        cohorts = self._cohorts(order)
        return Rollout(
            summary=self._summary(order, cohorts),
            order=order.envelope,
            authorisations=tuple(word.envelope for word in papers.authorisations),
            goes=tuple(go.envelope for go in papers.goes),
            stops=tuple(stop.envelope for stop in self._on_file.stops_of(order)),
            exclusions=self._exclusions(order),
            cohorts=cohorts,
        )

    def summary(self, order: Opened[Order]) -> RolloutSummary:
        """One line about one rollout."""
        return self._summary(order, self._cohorts(order))

    def _summary(self, order: Opened[Order], cohorts: Sequence[CohortView]) -> RolloutSummary:
        said = order.said
        return RolloutSummary(
            id=order.id,
            product=said.product,
            seq=said.seq,
            kind=said.kind,
            author=said.author,
            at=said.at,
            expires=said.expires,
            state=self._states.get(order.id, "draft"),
            in_force=any(cohort.in_force for cohort in cohorts),
        )

    def _exclusions(self, order: Opened[Order]) -> tuple[Envelope, ...]:
        """The known issues of an order, each with what was said about it."""
        return tuple(
            paper.envelope
            for one in self._on_file.exclusions_of(order)
            for paper in (one, *self._on_file.words(one.id))
        )

    def _cohorts(self, order: Opened[Order]) -> tuple[CohortView, ...]:
        return tuple(
            self._cohort(order, cohort) for cohort in order.said.cohorts() if cohort in self._served
        )

    def _cohort(self, order: Opened[Order], cohort: str) -> CohortView:
        judge, papers = self._judge, self._on_file.papers(order)
        chain = read_chain(judge, papers, cohort)
        over = cleared(chain)
        return CohortView(
            cohort=cohort,
            accepted_at=accepted_at(judge, papers, cohort),
            missing=_missing(judge, papers, cohort),
            stages_open=len(chain.stages),
            objection=chain.objection,
            live_until=chain.live_until(0),
            standing_stops=tuple(
                stop.id
                for stop in self._on_file.stops_of(order)
                if stop.id not in over
                and stop.said.cohort in {None, cohort}
                and stop_counts(judge, stop, cohort)
            ),
            in_force=self._current(order.said.product, cohort) == order.id,
        )

    def _current(self, product: str, cohort: str) -> str | None:
        """The id of the order in force; found once for all the orders that it supersedes."""
        key = (product, cohort)
        if key not in self._in_force:
            orders, papers = self._on_file.orders_of(product), self._on_file.papers
            order = in_force(self._judge, orders, papers, cohort)
            self._in_force[key] = order.id if order else None
        return self._in_force[key]


def _missing(judge: Judge, papers: Papers, cohort: str) -> tuple[str, ...]:
    """What the order still lacks to be accepted at a cohort, for people."""
    rules, order = judge.rules_for(cohort), papers.order
    if rules is None:
        return (f"a roster rule that covers {cohort}",)
    lacking = []
    if judge.author_is(order, (OPERATOR,), cohort) is None:
        lacking.append(f"{order.said.author} as an operator over {cohort}")
    missing = judge.missing(order, rules.start, papers.authorisations, cohort)
    lacking += [f"{count} more {role}" for role, count in sorted(missing.items())]
    return tuple(lacking)
