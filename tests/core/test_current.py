"""Which of several orders is in force for a cohort."""

from __future__ import annotations

from typing import Any

import pytest

from interlock_core.chain import Papers
from interlock_core.current import in_force
from interlock_core.order import Authorisation, Order
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from tests.support.papers import (
    PRODUCT,
    authorise,
    consent,
    days,
    hours,
    order,
    stage,
)
from tests.support.people import CANARY, DAY0, ROSTER, ST_ANNA, ST_BERT, roster

NOW = DAY0 + hours(2)


def chosen(*papers: Opened[Any], cohort: str = CANARY, **kwargs: Any) -> str | None:
    judge = Judge(kwargs.pop("roster", ROSTER), kwargs.pop("now", NOW))
    orders = [paper for paper in papers if isinstance(paper.said, Order)]

    def about(order: Opened[Order]) -> Papers:
        words = [paper for paper in papers if isinstance(paper.said, Authorisation)]
        return Papers(order, [word for word in words if word.said.id == order.id], ())

    found = in_force(judge, orders, about, cohort)
    return found.id if found else None


def test_the_highest_accepted_number_wins() -> None:
    low, high, unapproved = order(seq=1), order(seq=2), order(seq=3)
    words = [authorise(low), authorise(high)]
    assert chosen(high, low, unapproved, *words) == high.id
    assert chosen(low, unapproved, authorise(low)) == low.id
    assert chosen(unapproved) is None


def test_a_cohort_that_has_not_consented_keeps_the_order_before() -> None:
    low, high = order(seq=1), order(seq=2)
    papers = [low, high, authorise(low), consent(low), authorise(high)]
    assert chosen(*papers, cohort=CANARY) == high.id
    assert chosen(*papers, cohort=ST_ANNA) == low.id
    assert chosen(*papers, consent(high), cohort=ST_ANNA) == high.id


def test_an_order_that_does_not_name_a_cohort_changes_nothing_there() -> None:
    all_of_it, canary = order(seq=1), order(seq=2, stages=(stage(CANARY),))
    papers = [all_of_it, canary, authorise(all_of_it), authorise(canary)]
    assert chosen(*papers, cohort=CANARY) == canary.id
    assert chosen(*papers, cohort=ST_BERT) == all_of_it.id


@pytest.mark.parametrize("kind", ["update", "recall"])
def test_a_baseline_is_served_only_where_nothing_else_is_in_force(kind: str) -> None:
    baseline = order(seq=5, kind="baseline", expires=DAY0 + days(3000))
    update = order(seq=4, kind=kind)
    words = [authorise(baseline), authorise(update)]
    assert chosen(baseline, update, *words) == update.id
    assert chosen(baseline, authorise(baseline)) == baseline.id
    # Once the update is over, what was signed after it may follow; what was signed before may not.
    over = DAY0 + days(91)
    assert chosen(baseline, update, *words, now=over) == baseline.id
    older = order(seq=3, kind="baseline", expires=DAY0 + days(3000))
    assert chosen(older, update, authorise(older), authorise(update), now=over) == update.id


def test_the_roster_ends_orders_below_its_least_number() -> None:
    said = order(seq=7)
    ended = roster(min_order_seq={PRODUCT: 8})
    assert chosen(said, authorise(said)) == said.id
    assert chosen(said, authorise(said), roster=ended) is None


def test_nothing_dated_later_counts() -> None:
    said = order(at=NOW + hours(1))
    assert chosen(said, authorise(said)) is None
