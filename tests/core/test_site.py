"""Who describes a site, and which description is in force (23)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from interlock_core.errors import WireError
from interlock_core.roster import Grant, Judge
from interlock_core.site import Site, described, describes
from interlock_core.statement import Opened
from interlock_core.wire import convert
from tests.support.papers import hours, site
from tests.support.people import DAY0, ELLEN, FAR, PEOPLE, person, roster

LOCAL = person("lotte", Grant(role="operator", cohorts=("*",), expires=FAR, sites=("ward-9",)))
JUDGE = Judge(roster(*PEOPLE, ELLEN, LOCAL), DAY0 + hours(1))


@pytest.mark.parametrize("who", ["ellen", "olga", "omar"])
def test_operators_and_engineers_of_it_describe_a_site(who: str) -> None:
    assert describes(JUDGE, site(by=who))


@pytest.mark.parametrize(
    "one",
    [
        site(by="ada"),
        site(by="mona"),
        site(by="lotte"),
        site(site="ward-9"),
        site(key="mallory"),
        site(fleet="south"),
        site(at=DAY0 + hours(2)),
        site(by="nobody"),
    ],
)
def test_nobody_else_does(one: Opened[Site]) -> None:
    assert not describes(JUDGE, one)


def test_the_highest_number_that_counts_is_in_force() -> None:
    first, second = site(), site(by="olga", seq=2, time_zone="Europe/Vienna")
    stranger, elsewhere = site(by="ada", seq=9), site(by="olga", seq=7, site="ward-9")
    assert described(JUDGE, [second, first, stranger, elsewhere], "ward-7") == second
    gone = Judge(roster(ELLEN), JUDGE.now)
    assert described(gone, [second, first], "ward-7") == first
    assert described(JUDGE, [stranger], "ward-7") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "../etc/passwd"},
        {"time_zone": "/etc/localtime"},
        {"time_zone": "Europe/"},
        {"time_zone": ""},
        {"contacts": [{"name": "x", "reach": "a\nb"}]},
        {"contacts": [{"name": "", "reach": "y"}]},
        {"contacts": [{"name": "x", "reach": "y", "patient": "z"}]},
        {"contacts": 17 * [{"name": "x", "reach": "y"}]},
        {"notes": 2001 * "x"},
        {"seq": 0},
        {"site": "Ward 7"},
    ],
)
def test_a_form_that_is_none(wrong: dict[str, Any]) -> None:
    tree = msgspec.to_builtins(site().said)
    with pytest.raises(WireError):
        convert(tree | wrong, Site, what="site")
