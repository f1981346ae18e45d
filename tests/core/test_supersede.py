"""Which orders may take the place of one that runs."""

from __future__ import annotations

from typing import Any

import pytest

from interlock_core.release import UpdateClass
from interlock_core.supersede import Running, in_the_way
from tests.support.papers import order, stage, target
from tests.support.people import CANARY, ST_ANNA, ST_BERT

RUNS = order(seq=4)
RUNNING = Running(RUNS.id, RUNS.said, frozenset({CANARY, ST_ANNA}))
ROUTINE = UpdateClass(type="security", urgency="routine")


def stands(wanted: UpdateClass | None = ROUTINE, of: Running = RUNNING, **fields: Any) -> bool:
    return in_the_way(order(**{"seq": 5} | fields).said, wanted, [of]) is of


def test_an_update_does_not_end_another_by_accident() -> None:
    assert stands()
    assert stands(None)
    assert stands(UpdateClass(type="feature", urgency="critical"))
    assert stands(supersedes=64 * "0")


@pytest.mark.parametrize(
    "fields",
    [
        {"supersedes": RUNS.id},
        {"wanted": UpdateClass(type="security", urgency="critical")},
        {"kind": "recall"},
        {"kind": "baseline"},
        # Nothing of it runs there.
        {"stages": (stage(ST_BERT),)},
        {"product": "pump", "targets": (target(product="pump"),)},
        # It takes no place: the other has the higher number.
        {"seq": 3},
        {"of": Running(RUNS.id, order(kind="baseline").said, frozenset({CANARY}))},
    ],
)
def test_by_rule_it_may(fields: dict[str, Any]) -> None:
    assert not stands(**fields)


def test_a_recall_that_runs_is_in_the_way_too() -> None:
    recall = order(seq=4, kind="recall")
    assert stands(of=Running(recall.id, recall.said, frozenset({CANARY})))
