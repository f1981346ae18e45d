"""Whom an order would reach: a planted fleet, and the gateways' own code as the oracle."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock_core.catalogue import Catalogue
from interlock_core.chain import first_stage
from interlock_core.forecast import NAMED, Forecast, forecast
from interlock_core.order import Order
from interlock_core.placement import point
from interlock_core.report import Decided
from interlock_core.seen import Seen
from interlock_core.steps import Start
from tests.support.papers import HARDWARE, days, order, stage, target
from tests.support.people import CANARY, DAY0, ROSTER, ST_ANNA
from tests.support.released import catalogue, gone, listed, seen

NOW = DAY0 + days(1)
SIZE = 1024


def an_order(*counters: int, **fields: Any) -> Order:
    targets = tuple(target(f"{counter}.0.0") for counter in counters)
    return order(**{"targets": targets} | fields).said


def told(fleet: list[Seen], of: Order, releases: Catalogue, now: Any = NOW) -> Forecast:
    return forecast(of, releases, ROSTER, fleet, now)


ALL = (stage(CANARY),)
RELEASES = catalogue(listed(1), listed(2))


def test_a_planted_fleet() -> None:
    hold = Decided(at=DAY0, order=None, reason="local_hold", detail="trial week")
    fleet = [
        seen("GW-01", 1, site="anna"),
        seen("GW-02", 1, site="anna"),
        seen("GW-03", 2, site="bert"),
        seen("GW-04", 1, site="bert", hardware="other"),
        seen("GW-05", 1, site="bert", heard_at=NOW - days(4)),
        seen("GW-06", site="bert"),
        seen("GW-07", 1, site="bert", excluded="quarantined"),
        seen("GW-08", 1, site="bert", decided=hold),
        seen("GW-09", 1, site="bert", cohort=ST_ANNA),
    ]
    found = told(fleet, an_order(2, stages=ALL), RELEASES)
    [one] = found.stages
    assert (found.total, one.devices, one.installed) == (8, 7, 1)
    assert one.by_site == {"anna": 2, "bert": 5}
    assert {reason: missed.named for reason, missed in one.missed.items()} == {
        "wrong_hardware": ["GW-04"],
        "silent": ["GW-05"],
        "no_report": ["GW-06"],
        "quarantined": ["GW-07"],
        "held": ["GW-08"],
    }
    # Those whose own facts rule it out fetch nothing; who is silent may come back.
    assert one.size == 6 * SIZE
    assert found.versions == {"1.0.0": 6, "2.0.0": 1, "unknown": 1}


def test_a_stage_takes_in_those_whom_their_point_puts_there() -> None:
    stages = (stage(CANARY, share=2_000), stage(CANARY, share=5_000))
    wanted = an_order(2, stages=stages)
    fleet = [seen(f"GW-{number}", 1) for number in range(40)]
    found = told(fleet, wanted, RELEASES)
    places = Counter(
        first_stage(wanted, CANARY, point(target("2.0.0").sha256, one.device)) for one in fleet
    )
    assert [one.devices for one in found.stages] == [places[0], places[1]]
    assert found.outside == {CANARY: places[None]}
    assert len(places) == 3


def test_a_small_cohort_is_named_and_a_large_one_is_not() -> None:
    wanted = an_order(2, stages=(stage(CANARY, share=5_000), stage(CANARY)))
    fleet = [seen(f"GW-{number:02}", 1) for number in range(10)]
    found = told(fleet, wanted, RELEASES)
    means = found.stages[0].means[CANARY]
    assert len(means) == found.stages[0].devices
    assert means == [
        one.device for one in fleet if point(target("2.0.0").sha256, one.device) < 5_000
    ]
    assert found.stages[1].means == {}
    many = [seen(f"GW-{number:02}", 1) for number in range(31)]
    assert told(many, wanted, RELEASES).stages[0].means == {}


def test_a_small_cohort_of_which_a_share_means_nobody() -> None:
    wanted = an_order(2, stages=(stage(CANARY, share=1), stage(CANARY)))
    found = told([seen("GW-1", 1)], wanted, RELEASES)
    assert found.stages[0].means == {CANARY: []}


def test_a_barrier_with_its_step() -> None:
    releases = catalogue(listed(1), listed(2), listed(3, min_counter_installed=2))
    fleet = [seen("GW-1", 1), seen("GW-2", 2)]
    found = told(fleet, an_order(3, 2, stages=ALL), releases)
    assert (found.stages[0].devices, found.stages[0].steps) == (2, 1)
    assert found.stages[0].size == 3 * SIZE
    assert found.dead_ends == {}


def test_a_barrier_without_a_step_is_a_dead_end() -> None:
    releases = catalogue(listed(1), listed(2), listed(3, min_counter_installed=2))
    found = told([seen("GW-1", 1), seen("GW-2", 2)], an_order(3, stages=ALL), releases)
    assert found.stages[0].missed["barrier_not_met"].named == ["GW-1"]
    assert found.dead_ends == {Start(HARDWARE, 1): 1}
    assert found.stages[0].size == SIZE


def test_what_is_not_known_bars_nobody() -> None:
    releases = catalogue(listed(1), listed(3, min_counter_installed=2))
    found = told([seen("GW-1"), seen("GW-2", 7)], an_order(3, stages=ALL), releases)
    assert {reason: one.named for reason, one in found.stages[0].missed.items()} == {
        "no_report": ["GW-1"],
        "unknown_image": ["GW-2"],
    }
    assert found.dead_ends == {}


def test_a_gateway_that_runs_a_step_goes_on() -> None:
    releases = catalogue(listed(1), listed(2), listed(3, min_counter_installed=2))
    found = told([seen("GW-1", 2)], an_order(3, 2, stages=ALL), releases)
    assert (found.stages[0].installed, found.stages[0].size) == (0, SIZE)


def test_markets_as_far_as_they_are_known() -> None:
    fleet = [seen("GW-1", 1)]
    abroad = catalogue(listed(1, markets=("US",)), listed(2, markets=("DE",)))
    assert "wrong_market" in told(fleet, an_order(2, stages=ALL), abroad).stages[0].missed
    both = catalogue(listed(1, markets=("DE", "US")), listed(2, markets=("DE",)))
    assert told(fleet, an_order(2, stages=ALL), both).stages[0].missed == {}


def test_downwards_only_by_a_recall_and_not_below_the_floor() -> None:
    fleet = [seen("GW-1", 2)]
    update, recall = an_order(1, stages=ALL), an_order(1, kind="recall", stages=ALL)
    assert "below_floor" in told(fleet, update, RELEASES).stages[0].missed
    assert told(fleet, recall, RELEASES).stages[0].missed == {}
    raised = catalogue(listed(1), listed(2, raises_floor_to=2))
    assert "below_floor" in told(fleet, recall, raised).stages[0].missed
    withdrawn = catalogue(listed(1), gone=(gone(2, raises_floor_to=2),))
    assert "below_floor" in told(fleet, recall, withdrawn).stages[0].missed


def test_all_are_counted_and_the_first_are_named() -> None:
    fleet = [seen(f"GW-{number:03}") for number in range(NAMED + 5)]
    missed = told(fleet, an_order(2, stages=ALL), RELEASES).stages[0].missed["no_report"]
    assert (missed.count, len(missed.named)) == (NAMED + 5, NAMED)


@settings(max_examples=40)
@given(
    shares=st.lists(st.integers(1, 10_000), min_size=1, max_size=4),
    runs=st.lists(st.sampled_from([None, 1, 2]), max_size=25),
    silent=st.integers(0, 9),
)
def test_everybody_is_counted_once(shares: list[int], runs: list[int | None], silent: int) -> None:
    stages = tuple(stage(CANARY, share=share) for share in sorted(shares))
    wanted = an_order(2, stages=stages)
    fleet = [seen(f"GW-{number}", of) for number, of in enumerate(runs)]
    now = NOW + timedelta(days=silent)
    found = told(fleet, wanted, RELEASES, now)
    counted = sum(one.devices + one.installed for one in found.stages)
    assert counted + sum(found.outside.values()) == found.total == len(fleet)
    for one in found.stages:
        assert sum(one.by_site.values()) == sum(one.by_cohort.values()) == one.devices
        assert sum(missed.count for missed in one.missed.values()) <= one.devices
    # The same fleet in another order is forecast alike.
    again = told(list(reversed(fleet)), wanted, RELEASES, now)
    assert [(one.devices, one.size) for one in again.stages] == [
        (one.devices, one.size) for one in found.stages
    ]
