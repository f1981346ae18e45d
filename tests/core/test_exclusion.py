"""Who may leave a known issue out of the counts."""

from __future__ import annotations

from typing import Any

import pytest

from interlock_core.exclusion import excluded_since
from interlock_core.roster import Judge
from tests.support import people
from tests.support.papers import authorise, consent, exclusion, hours, order
from tests.support.people import ADA, CANARY, DAY0, OLGA, OMAR, ROSTER, ST_ANNA, roster, rules

ORDER = order()
SAID = exclusion(ORDER, failure="bad_health")
NOW = DAY0 + hours(2)


def since(*words: Any, said: Any = SAID, cohort: str = CANARY, by: Any = ROSTER) -> Any:
    return excluded_since(Judge(by, NOW), said, words, cohort)


def test_it_takes_two_people() -> None:
    assert since() is None
    assert since(authorise(SAID, at=DAY0 + hours(1))) == DAY0 + hours(1)
    assert since(authorise(SAID, meaning="reviewed")) is None
    assert since(authorise(SAID, by="olga", role="operator")) is None
    assert since(authorise(SAID, at=NOW + hours(1))) is None
    assert since(authorise(exclusion(ORDER, failure="other"))) is None


def test_it_is_judged_by_the_rule_of_each_cohort() -> None:
    word = authorise(SAID)
    assert since(word, cohort=ST_ANNA) is None
    assert since(word, consent(SAID), cohort=ST_ANNA) == DAY0
    assert since(word, by=roster(rules=(rules("other"),))) is None


@pytest.mark.parametrize("resume", [{}, {"approver": 0}])
def test_where_one_person_may_resume_one_person_may_not_exclude(resume: dict[str, int]) -> None:
    alone = roster(OLGA, OMAR, ADA, rules=(rules(resume=resume),))
    assert since(by=alone) is None
    assert since(authorise(SAID), by=alone) is None
    assert since(authorise(SAID, by="omar", role="operator"), by=alone) == DAY0


def test_an_operator_signs_it_and_a_monitor_does_not() -> None:
    for author in ("ada", "mona", "hanna"):
        said = exclusion(ORDER, failure="bad_health", by=author)
        assert since(authorise(said, by="alan"), said=said) is None
    forged = exclusion(ORDER, failure="bad_health", key="omar")
    assert since(authorise(forged), said=forged) is None
    gone = roster(people.OMAR, people.ADA)
    assert since(authorise(SAID), by=gone) is None


def test_what_it_is_about() -> None:
    one = exclusion(ORDER, device="GW-0001").said
    assert one.covers("GW-0001", "bad_health")
    assert not one.covers("GW-0002", "bad_health")
    assert SAID.said.covers("GW-0002", "bad_health")
    assert not SAID.said.covers("GW-0002", "silent")
