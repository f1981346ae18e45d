"""The access review: who may do what, and when each last acted."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interlock_core.api import LogRecord
from interlock_core.roster import Grant, Judge, Person, Roster
from interlock_core.statement import Opened
from interlock_ops.access import Acts, Finding, Review, review
from tests.ops.world import Place
from tests.support.papers import authorise, days, enrolment, hours, order, report, stop
from tests.support.people import (
    CANARY,
    DAY0,
    ELLEN,
    FAR,
    PEOPLE,
    ST_ANNA,
    grant,
    person,
    roster,
    rules,
)

MONTH = days(30)


def reviewed(
    of: Roster, *papers: Opened[Any], cohorts: tuple[str, ...] = (CANARY,), now: Any = DAY0
) -> Review:
    judge = Judge(of, now)
    acts = Acts(judge)
    for paper in papers:
        acts.add(paper)
    return review(judge, acts, cohorts, MONTH)


def found(of: Review) -> set[tuple[str, str]]:
    return {(one.name, one.about) for one in of.findings}


class TestPeople:
    def test_each_with_keys_grants_and_the_last_act(self) -> None:
        first, later = order(), stop(order(), by="olga", at=DAY0 + hours(2))
        of = reviewed(roster(*PEOPLE, ELLEN), first, later, authorise(first))
        by_name = {one.person: one for one in of.people}
        olga = by_name["olga"]
        assert olga.last is not None
        assert (olga.last.kind, olga.last.at) == ("stop", DAY0 + hours(2))
        assert by_name["ada"].last is not None
        assert by_name["ellen"].grants[0].sites == ("ward-7",)
        assert ("never_acted", "omar") in found(of)
        assert ("never_acted", "olga") not in found(of)

    def test_what_nobody_of_the_roster_signed_says_nothing(self) -> None:
        forged = order(key="mallory")
        of = reviewed(roster(), forged, order(by="nobody"))
        assert (of.read, of.foreign) == (2, 2)
        assert ("never_acted", "olga") in found(of)

    def test_a_key_that_is_not_used(self) -> None:
        two = person("olga", grant("operator"), keys=("olga", "olga's second"))
        of = reviewed(roster(two, *PEOPLE[1:]), order())
        assert ("key_unused", "olga") in found(of)
        assert [key.last is None for key in of.people[0].keys] == [False, True]

    def test_grants_that_end(self) -> None:
        soon = person("olga", grant("operator", expires=DAY0 + MONTH))
        gone = person("omar", grant("operator", expires=DAY0))
        later = person("ada", grant("approver", expires=DAY0 + MONTH + timedelta(seconds=1)))
        of = found(reviewed(roster(soon, gone, later)))
        assert {("grant_expires", "olga"), ("grant_expired", "omar"), ("no_grant", "omar")} <= of
        assert ("grant_expires", "ada") not in of


class TestRules:
    def test_a_fleet_of_enough_people_needs_nobody(self) -> None:
        of = reviewed(roster(rules=(rules(),)))
        assert not {name for name, _ in found(of)} & {"rule_unmeetable", "rule_needs_one_person"}

    def test_one_person_cannot_meet_a_rule_alone(self) -> None:
        alone = person("olga", grant("operator"), grant("approver"))
        assert ("rule_unmeetable", CANARY) in found(reviewed(roster(alone, rules=(rules(),))))

    def test_one_person_has_one_role(self) -> None:
        both = person("ada", grant("approver"), grant("hospital"))
        asked = rules(start={"approver": 1, "hospital": 1})
        of = reviewed(roster(PEOPLE[0], both, rules=(asked,)))
        assert any(one.name == "rule_unmeetable" and "'start'" in one.detail for one in of.findings)

    def test_who_is_needed_is_named(self) -> None:
        of = reviewed(roster(*PEOPLE), cohorts=(ST_ANNA,))
        assert Finding(
            "rule_needs_one_person",
            ST_ANNA,
            "without hanna nobody can meet 'start', 'advance', 'resume'",
        ) in set(of.findings)

    def test_a_grant_for_one_site_authorises_nothing(self) -> None:
        local = Person(
            name="ada",
            keys=PEOPLE[2].keys,
            grants=(Grant(role="approver", cohorts=("*",), expires=FAR, sites=("ward-7",)),),
        )
        of = reviewed(roster(PEOPLE[0], local, rules=(rules(),)))
        assert ("rule_unmeetable", CANARY) in found(of)

    def test_a_cohort_that_nobody_covers(self) -> None:
        of = reviewed(roster(rules=(rules(CANARY),)), cohorts=("wards",))
        assert found(of) >= {("cohort_denied", "wards")}


ROLES = ("approver", "hospital")


@given(
    held=st.lists(st.sets(st.sampled_from(("operator", *ROLES))), min_size=1, max_size=5),
    asked=st.dictionaries(st.sampled_from(ROLES), st.integers(1, 3)),
)
def test_what_can_be_met_is_what_some_choice_of_people_meets(
    held: list[set[str]], asked: dict[str, int]
) -> None:
    """Against every choice there is: an operator, and beside him a person of its own for each."""
    people = [
        person(f"p{n}", *(grant(role) for role in sorted(roles))) for n, roles in enumerate(held)
    ]
    of = reviewed(roster(*people, rules=(rules(start=asked),)))
    slots = [role for role, count in asked.items() for _ in range(count)]
    can = any(
        "operator" in held[author]
        and all(slot in held[n] for slot, n in zip(slots, row, strict=True))
        for author in range(len(held))
        for some in combinations([n for n in range(len(held)) if n != author], len(slots))
        for row in permutations(some)
    )
    said = any(one.name == "rule_unmeetable" and "'start'" in one.detail for one in of.findings)
    assert said != can


class TestCommand:
    def shows(self, place: Place, *papers: Opened[Any]) -> None:
        items = tuple(LogRecord(number=n, envelope=p.envelope) for n, p in enumerate(papers))
        place.server.records = items

    def test_it_says_who_may_do_what_and_ends_for_cron(self, place: Place, tmp_path: Path) -> None:
        one = enrolment()
        self.shows(place, order(), one, report(one))
        file = tmp_path / "access.csv"
        told = place.json("access", "review", "--csv", file, code=10)
        assert (told["records"], told["foreign"]) == (1, 0)
        assert {one["name"] for one in told["findings"]} >= {"never_acted", "rule_needs_one_person"}
        names = [one["person"] for one in told["people"]]
        assert names == [*(one.name for one in PEOPLE), "ellen"]
        table = list(csv.DictReader(io.StringIO(file.read_text())))
        assert [row["person"] for row in table] == names
        assert table[-1]["sites"] == "ward-7"
        assert table[0]["last_kind"] == "order"
        file.write_text("mine")
        assert place.json("access", "review", "--csv", file, code=20)["outcome"] == "refused"
        assert file.read_text() == "mine"

    def test_what_will_have_expired(self, place: Place) -> None:
        self.shows(place)
        told = place.json("access", "review", "--at", "2040-01-01T00:00:00Z", code=20)
        assert told["reason"] in {"rule_unmeetable", "cohort_denied"}
        assert all(grant["expired"] for one in told["people"] for grant in one["grants"])
        text = place.run("access", "review", "--at", "2040-01-01T00:00:00Z").stdout
        assert "EXPIRED" in text
        assert "rule_unmeetable" in text

    def test_a_time_that_is_none(self, place: Place) -> None:
        assert place.json("access", "review", "--at", "soon", code=2)["reason"] == "usage"
