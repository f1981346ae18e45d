"""Who is believed: signatures counted by person and key, rules and grants; rosters refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import SSlibKey

from interlock_core.errors import WireError
from interlock_core.keybytes import public_key_bytes
from interlock_core.order import Authorisation
from interlock_core.roster import MAX_ROSTER, Judge, Roster, read_roster
from interlock_core.statement import Opened
from interlock_core.wire import encode
from tests.support.papers import authorise, hours, opening, order, stop
from tests.support.people import (
    ADA,
    ALAN,
    CANARY,
    DAY0,
    HANNA,
    MONA,
    OLGA,
    OMAR,
    PEOPLE,
    ROSTER,
    ST_ANNA,
    grant,
    person,
    public_key,
    roster,
    rules,
)

ORDER = order()
TWO = {"approver": 2}
NOW = DAY0 + hours(1)


def met(
    words: Sequence[Opened[Authorisation]],
    rule: Mapping[str, int] = TWO,
    by: Roster = ROSTER,
    subject: Opened[Any] = ORDER,
    cohort: str = CANARY,
) -> bool:
    return Judge(by, NOW).authorised_at(subject, rule, words, cohort) is not None


# --- Counting -----------------------------------------------------------------------------------


def test_two_people_are_two() -> None:
    assert met([authorise(ORDER, "ada"), authorise(ORDER, "alan")])
    assert not met([authorise(ORDER, "ada")])
    assert met([], {})


def test_one_person_with_two_keys_is_one() -> None:
    ada = person("ada", *ADA.grants, keys=("ada", "ada-2"))
    words = [authorise(ORDER, "ada"), authorise(ORDER, "ada", key="ada-2", reason="again")]
    assert not met(words, by=roster(OLGA, ada))
    assert met([*words, authorise(ORDER, "alan")], by=roster(OLGA, ada, ALAN))


def test_one_key_under_two_ids_is_one_key() -> None:
    """Two envelopes cannot claim it, since a roster refuses an id that does not follow."""
    twice = msgspec.structs.replace(public_key("ada"), keyid=64 * "0")
    ada = msgspec.structs.replace(ADA, keys=(public_key("ada"), twice))
    with pytest.raises(WireError, match="id or spelling"):
        roster(OLGA, ada)


def test_the_author_does_not_count() -> None:
    """Neither in another role nor with another key."""
    both = person("olga", grant("operator"), grant("approver"), keys=("olga", "olga-2"))
    by = roster(both, ADA)
    for key in ("olga", "olga-2"):
        assert not met([authorise(ORDER, "ada"), authorise(ORDER, "olga", key=key)], by=by)
    assert met([authorise(ORDER, "olga")], {"approver": 1}, by, order(by="omar")) is False
    other = order(by="omar")
    assert met([authorise(other, "olga")], {"approver": 1}, roster(both, OMAR), other)


@pytest.mark.parametrize(
    ("meaning", "counts"), [("reviewed", False), ("approved", True), ("consented", True)]
)
def test_only_approved_and_consented_count(meaning: Any, counts: bool) -> None:
    words = [authorise(ORDER, "ada", meaning=meaning), authorise(ORDER, "alan")]
    assert met(words) is counts


def test_one_person_takes_one_role() -> None:
    ada = person("ada", grant("approver"), grant("hospital"))
    rule = {"approver": 1, "hospital": 1}
    alan = authorise(ORDER, "alan")
    for first, second, met_with_alan in (
        ("approver", "hospital", False),
        ("hospital", "approver", True),
    ):
        words = [
            authorise(ORDER, "ada", role=first),
            authorise(ORDER, "ada", role=second, at=DAY0 + hours(0.5)),
        ]
        assert not met(words, rule, roster(OLGA, ada))
        assert met([*words, alan], rule, roster(OLGA, ada, ALAN)) is met_with_alan


def test_of_one_persons_words_of_one_second_it_is_no_chance_which_counts() -> None:
    ada = person("ada", grant("approver"), grant("hospital"))
    for number in range(8):
        words = [
            authorise(ORDER, "ada", role=role, reason=f"{role} {number}")
            for role in ("hospital", "approver")
        ]
        assert met(words, {"approver": 1}, roster(OLGA, ada))
        both = {"approver": 1, "hospital": 1}
        hannas = [*words, authorise(ORDER, "hanna", role="hospital")]
        assert met(hannas, both, roster(OLGA, ada, HANNA), cohort=ST_ANNA)


def test_a_persons_first_word_that_counts_is_the_one() -> None:
    early = authorise(ORDER, at=DAY0)
    late = authorise(ORDER, at=DAY0 + hours(0.5))
    judge = Judge(ROSTER, NOW)
    for words in ([early, late], [late, early]):
        assert judge.authorised_at(ORDER, {"approver": 1}, words, CANARY) == DAY0
    reviewed = authorise(ORDER, at=DAY0, meaning="reviewed")
    at = judge.authorised_at(ORDER, {"approver": 1}, [reviewed, late], CANARY)
    assert at == late.said.at


def test_the_time_is_that_of_the_newest_word_that_was_needed() -> None:
    words = [
        authorise(ORDER, "ada", at=DAY0 + hours(2)),
        authorise(ORDER, "alan", at=DAY0 + hours(5)),
    ]
    third = person("abel", grant("approver"))
    by = roster(*PEOPLE, third)
    more = [*words, authorise(ORDER, "abel", at=DAY0 + hours(9))]
    judge = Judge(by, DAY0 + hours(10))
    assert judge.authorised_at(ORDER, TWO, more, CANARY) == DAY0 + hours(5)
    assert judge.authorised_at(ORDER, {}, more, CANARY) == DAY0
    assert judge.authorised_at(ORDER, {"approver": 4}, more, CANARY) is None


@pytest.mark.parametrize(
    "word",
    [
        authorise(ORDER, "eve"),
        authorise(ORDER, "alan", key="eve"),
        authorise(ORDER, "alan", role="operator"),
        authorise(ORDER, "alan", role="hospital"),
        authorise(ORDER, "alan", fleet="south"),
        authorise(order(seq=2), "alan"),
        authorise(ORDER, "alan", authorises="go"),
        authorise(ORDER, "hanna", role="approver"),
    ],
    ids=[
        "a stranger",
        "a forger",
        "a role that he has not",
        "a role that the rule does not ask",
        "another fleet",
        "another order",
        "another kind of subject",
        "a person of another role",
    ],
)
def test_other_words_count_for_nothing(word: Opened[Authorisation]) -> None:
    assert not met([authorise(ORDER, "ada"), word])


def test_a_word_about_a_go_counts_for_that_go() -> None:
    go = opening(ORDER)
    assert met([authorise(go)], {"approver": 1}, subject=go)
    assert not met([authorise(go, authorises="order")], {"approver": 1}, subject=go)
    assert not met([authorise(ORDER)], {"approver": 1}, subject=go)


def test_the_current_roster_judges() -> None:
    words = [authorise(ORDER, "ada"), authorise(ORDER, "alan")]
    for alan in (
        person("alan", grant("approver", expires=NOW)),
        person("alan", grant("approver", ST_ANNA)),
        person("alan", grant("approver", "canary-*")),
        person("alan", grant("hospital")),
        person("alan"),
        person("alan", *ALAN.grants, keys=("alan-2",)),
    ):
        assert not met(words, by=roster(OLGA, ADA, alan))
    soon = person("alan", grant("approver", "can*", expires=NOW + timedelta(seconds=1)))
    assert met(words, by=roster(OLGA, ADA, soon))


def test_only_the_authors_own_signature_counts() -> None:
    signed = stop(ORDER, by="omar")
    by_another = stop(ORDER, by="omar", key="olga")
    roles = ("operator",)
    judge = Judge(ROSTER, NOW)
    assert judge.author_is(signed, roles, CANARY) == "operator"
    assert judge.author_is(by_another, roles, CANARY) is None
    assert judge.author_is(signed, ("monitor",), CANARY) is None


# --- Rules --------------------------------------------------------------------------------------


def test_the_most_specific_pattern_decides() -> None:
    patterns = ("*", "st-*", "st-an*", "st-anna", "s*")
    by = roster(rules=tuple(rules(pattern) for pattern in patterns))
    for cohort, pattern in (
        ("st-anna", "st-anna"),
        ("st-anne", "st-an*"),
        ("st-bert", "st-*"),
        ("south", "s*"),
        ("canary", "*"),
    ):
        found = Judge(by, NOW).rules_for(cohort)
        assert found is not None
        assert found.pattern == pattern


def test_a_cohort_that_no_pattern_covers_has_no_rule() -> None:
    assert Judge(roster(rules=(rules("st-*"),)), NOW).rules_for(CANARY) is None


COHORT = st.text("ab-", min_size=1, max_size=4).filter(lambda text: text[0] != "-")
PATTERN = st.one_of(st.just("*"), COHORT, COHORT.map(lambda text: text + "*"))


@given(st.sets(PATTERN, min_size=1, max_size=6), COHORT)
def test_the_deciding_pattern_is_the_longest_that_covers(patterns: set[str], cohort: str) -> None:
    found = Judge(roster(rules=tuple(map(rules, sorted(patterns)))), NOW).rules_for(cohort)
    covering = [
        pattern
        for pattern in patterns
        if pattern == cohort or (pattern[-1] == "*" and cohort.startswith(pattern[:-1]))
    ]
    if found is None:
        assert covering == []
    else:
        assert found.pattern in covering
        if cohort in covering:
            assert found.pattern == cohort
        else:
            assert len(found.pattern) == max(map(len, covering))


# --- Refusals -----------------------------------------------------------------------------------


def test_a_roster_is_read_as_it_was_written() -> None:
    assert read_roster(encode(ROSTER)) == ROSTER


@pytest.mark.parametrize(
    ("says", "made"),
    [
        ("two persons named ada", lambda: roster(OLGA, ADA, person("ada", keys=("ada-2",)))),
        ("two people never share a key", lambda: roster(OLGA, person("omar", keys=("olga",)))),
        ("one public key twice", lambda: roster(person("olga", keys=("olga", "olga")))),
        ("two rules for the cohort pattern st-", lambda: roster(rules=(rules("st-*"),) * 2)),
        ("monitor can authorise nothing", lambda: roster(rules=(rules(resume={"monitor": 1}),))),
        (
            "the monitor mona holds another role",
            lambda: roster(person("mona", *MONA.grants, *OMAR.grants)),
        ),
    ],
)
def test_a_roster_that_could_be_read_two_ways_is_refused(says: str, made: Any) -> None:
    with pytest.raises((ValueError, WireError), match=says):
        made()


def test_rosters_of_any_size_are_bounded() -> None:
    with pytest.raises(WireError, match="at most"):
        read_roster(encode(ROSTER) + bytes(MAX_ROSTER))


@given(st.data())
def test_a_damaged_roster_is_refused_and_never_a_traceback(data: st.DataObject) -> None:
    good = encode(roster(OLGA, HANNA))
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + data.draw(st.binary(min_size=0, max_size=3)) + good[at + 1 :]
    try:
        read = read_roster(bad)
    except WireError:
        return
    assert encode(read) == bad


@pytest.mark.parametrize(
    "public",
    [
        64 * "0",
        "01" + 62 * "0",
        "01" + 60 * "0" + "80",
        "ec" + 60 * "f" + "7f",
        "ed" + 60 * "f" + "7f",
        "ee" + 60 * "f" + "ff",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    ],
)
def test_a_key_for_which_anybody_can_sign_is_nobodys(public: str) -> None:
    key = SSlibKey(64 * "0", "ed25519", "ed25519", {"public": public})
    with pytest.raises(WireError, match="small order"):
        public_key_bytes(key)
