"""Who holds a site, for whom, until when, and who releases it (22)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.errors import WireError
from interlock_core.facts import Reason, Refusal
from interlock_core.hold import MAX_HOLD, Hold, standing_holds
from interlock_core.roster import Grant, Judge, Person
from interlock_core.statement import Opened, open_as
from tests.support.decisions import AN_HOUR_LATER, World, honest
from tests.support.papers import days, hold, hours, release
from tests.support.people import (
    CANARY,
    DAY0,
    ELLEN,
    FAR,
    OLGA,
    PEOPLE,
    ST_ANNA,
    grant,
    person,
    roster,
)

EMIL = person("emil", Grant(role="engineer", cohorts=("*",), expires=FAR, sites=("ward-7",)))
ELSEWHERE = person("elke", Grant(role="engineer", cohorts=("*",), expires=FAR, sites=("ward-9",)))
BOTH = person(
    "bodo",
    grant("operator"),
    Grant(role="engineer", cohorts=("*",), expires=FAR, sites=("ward-7",)),
)
EVERYBODY = (*PEOPLE, ELLEN, EMIL, ELSEWHERE, BOTH)
HOLD = hold()


def judge(*people: Person, now: datetime = AN_HOUR_LATER) -> Judge:
    return Judge(roster(*(people or EVERYBODY)), now)


def stands(*signed: Opened[Hold], cohort: str = CANARY, by: Judge | None = None) -> bool:
    return HOLD.id in {one.id for one in standing_holds(by or judge(), signed, cohort)}


class TestHolds:
    def test_an_engineer_of_the_site_holds_it_alone(self) -> None:
        assert stands(HOLD)

    def test_an_operator_holds_it_alone(self) -> None:
        one = hold(by="olga")
        assert standing_holds(judge(), [one], CANARY) == (one,)

    @pytest.mark.parametrize(
        ("one", "cohort"),
        [
            (hold(by="elke"), CANARY),
            (hold(by="ada"), CANARY),
            (hold(by="mona"), CANARY),
            (hold(by="nobody"), CANARY),
            (hold(key="mallory"), CANARY),
            (hold(fleet="south"), CANARY),
            (hold(), ST_ANNA),
            (hold(at=AN_HOUR_LATER + hours(1)), CANARY),
        ],
        ids=[
            "an engineer of another site",
            "an approver",
            "the monitor",
            "somebody whom the roster does not know",
            "another key in her name",
            "another fleet",
            "a cohort over which she is no engineer",
            "from the future",
        ],
    )
    def test_nobody_else_does(self, one: Opened[Hold], cohort: str) -> None:
        assert not standing_holds(judge(), [one], cohort)

    def test_it_ends_by_itself(self) -> None:
        assert stands(HOLD, by=judge(now=DAY0 + days(2) - timedelta(seconds=1)))
        assert not stands(HOLD, by=judge(now=DAY0 + days(2)))

    def test_it_ends_with_the_grant_of_its_author(self) -> None:
        assert not stands(HOLD, by=judge(*PEOPLE))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"until": DAY0},
            {"until": DAY0 + MAX_HOLD + timedelta(seconds=1)},
            {"until": None},
            {"begins": None},
            {"ends": HOLD.id},
            {"begins": None, "until": None},
        ],
    )
    def test_a_form_that_is_none(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"hold|release|until"):
            hold(**wrong)

    def test_an_edit_makes_another_statement(self) -> None:
        longer = msgspec.structs.replace(HOLD.said, until=DAY0 + days(9))
        edited = Opened(longer, HOLD.id, HOLD.payload, HOLD.envelope)
        assert open_as(edited.envelope, Hold).said.until == DAY0 + days(2)
        with pytest.raises(WireError):
            open_as(msgspec.structs.replace(HOLD.envelope, payload="e30="), Hold)


class TestReleases:
    @pytest.mark.parametrize("who", ["ellen", "emil", "bodo"])
    def test_an_engineer_of_the_site_ends_an_engineers_hold(self, who: str) -> None:
        assert not stands(HOLD, release(HOLD, by=who))

    @pytest.mark.parametrize("who", ["olga", "omar", "elke", "ada", "mona"])
    def test_nobody_else_does(self, who: str) -> None:
        assert stands(HOLD, release(HOLD, by=who))

    def test_an_operator_ends_an_operators_hold(self) -> None:
        one = hold(by="olga")
        assert not standing_holds(judge(), [one, release(one, by="omar")], CANARY)
        assert standing_holds(judge(), [one, release(one, by="emil")], CANARY)

    def test_a_hold_by_somebody_who_is_both_is_the_hospitals(self) -> None:
        one = hold(by="bodo")
        assert standing_holds(judge(), [one, release(one, by="olga")], CANARY)
        assert not standing_holds(judge(), [one, release(one, by="emil")], CANARY)

    def test_of_another_hold_or_in_another_sites_name(self) -> None:
        other = hold(reason="another")
        assert stands(HOLD, release(other))
        assert stands(HOLD, release(HOLD, site="ward-9", by="elke"))

    def test_from_the_future(self) -> None:
        assert stands(HOLD, release(HOLD, at=AN_HOUR_LATER + hours(1)))


def held(*signed: Opened[Hold], people: tuple[Person, ...] = EVERYBODY) -> World:
    said = honest().trusted.directive
    shown = msgspec.structs.replace(said, holds=tuple(one.envelope for one in signed))
    return honest().with_trusted(directive=shown, roster=roster(*people))


def refused(world: World) -> Reason | None:
    verdict = world.decide().verdict
    return verdict.reason if isinstance(verdict, Refusal) else None


class TestGateway:
    def test_waits_while_it_stands(self) -> None:
        verdict = held(HOLD).decide().verdict
        assert isinstance(verdict, Refusal)
        assert verdict.reason is Reason.SITE_HOLD
        assert "ellen" in verdict.detail
        assert "2027-03-03T08:00:00Z" in verdict.detail
        assert "the network is being rebuilt" in verdict.detail

    def test_goes_on_when_it_is_over_released_or_signed_by_nobody_entitled(self) -> None:
        assert refused(held(HOLD).but(now=DAY0 + days(2))) is None
        assert refused(held(HOLD, release(HOLD))) is None
        assert refused(held(HOLD, people=PEOPLE)) is None
        assert refused(held(hold(begins=AN_HOUR_LATER + hours(1), until=DAY0 + days(3)))) is None

    def test_of_another_site_is_no_concern(self) -> None:
        assert refused(held(hold(by="elke", site="ward-9"))) is None

    def test_one_that_does_not_know_its_site_waits_for_all(self) -> None:
        world = held(hold(by="elke", site="ward-9")).with_gateway(site=None)
        assert refused(world) is Reason.SITE_HOLD

    def test_a_hold_that_cannot_be_read_holds_nothing(self) -> None:
        broken = msgspec.structs.replace(HOLD.envelope, payload="e30=")
        said = msgspec.structs.replace(honest().trusted.directive, holds=(broken,))
        assert refused(honest().with_trusted(directive=said)) is None


SIGNERS = st.sampled_from(["ellen", "emil", "elke", "olga", "omar", "ada", "bodo", "nobody"])


@given(
    authors=st.lists(SIGNERS, min_size=1, max_size=4),
    ends=st.lists(st.tuples(SIGNERS, st.integers(0, 3)), max_size=4),
    after=st.integers(-1, 50),
)
def test_more_signatures_by_others_never_end_what_an_engineer_holds(
    authors: list[str], ends: list[tuple[str, int]], after: int
) -> None:
    holds = [hold(by=one, reason=f"{n}") for n, one in enumerate(authors)]
    signed = [*holds, *(release(holds[n % len(holds)], by=who) for who, n in ends)]
    by = judge(now=DAY0 + hours(after))
    standing = set(standing_holds(by, signed, CANARY))
    engineers, operators = {"ellen", "emil", "bodo"}, {"olga", "omar", "bodo"}
    for n, one in enumerate(holds):
        author = one.said.author
        mine = engineers if author in engineers else operators if author in operators else set()
        ended = any(who in mine and m % len(holds) == n for who, m in ends)
        assert (one in standing) == (0 <= after < 48 and bool(mine) and not ended)


def test_the_longest_comes_first() -> None:
    short, long = hold(by="olga", lasts=days(1)), hold(by="olga", lasts=days(9))
    assert standing_holds(judge(OLGA), [short, long], CANARY) == (long, short)
