"""Who must still authorise: what the rule asks for, less those whose word counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock_core.order import Authorisation
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from tests.support.papers import authorise, order
from tests.support.people import DAY0, PEOPLE, ST_ANNA, grant, person, roster

ORDER = order()
RULE = {"approver": 2, "hospital": 1}
BOTH = roster(
    *[one for one in PEOPLE if one.name != "ada"],
    person("ada", grant("approver"), grant("hospital")),
)
WORDS = (
    authorise(ORDER, "ada"),
    authorise(ORDER, "ada", role="hospital"),
    authorise(ORDER, "alan"),
    authorise(ORDER, "alan", meaning="reviewed"),
    authorise(ORDER, "alan", key="mallory"),
    authorise(ORDER, "hanna", role="hospital"),
    authorise(ORDER, "olga"),
)


def test_nobody_has_said_anything() -> None:
    assert Judge(BOTH, DAY0).missing(ORDER, RULE, (), ST_ANNA) == RULE


def test_a_person_counts_in_one_role() -> None:
    missing = Judge(BOTH, DAY0).missing(ORDER, RULE, WORDS[:2], ST_ANNA)
    assert missing in ({"approver": 1, "hospital": 1}, {"approver": 2})


def test_reviews_forgeries_and_the_authors_own_word_leave_everybody_missing() -> None:
    missing = Judge(BOTH, DAY0).missing(ORDER, RULE, [*WORDS[3:5], WORDS[6]], ST_ANNA)
    assert missing == RULE


@given(
    st.lists(st.sampled_from(WORDS)),
    st.fixed_dictionaries(
        {}, optional={"approver": st.integers(1, 3), "hospital": st.integers(1, 2)}
    ),
)
def test_nobody_is_missing_exactly_when_it_is_authorised(
    words: list[Opened[Authorisation]], rule: dict[str, int]
) -> None:
    judge = Judge(BOTH, DAY0)
    missing = judge.missing(ORDER, rule, words, ST_ANNA)
    assert (missing == {}) == (judge.authorised_at(ORDER, rule, words, ST_ANNA) is not None)
