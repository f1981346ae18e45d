"""Which spread keeps a site below its cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.placement import spread_offset
from interlock_core.site_cap import MAX_SPREAD_SECONDS, breach, needed_spread
from tests.support.papers import digest


def test_where_nothing_is_to_be_feared_nothing_is_spread() -> None:
    assert needed_spread(2, 2, 600) == 0
    assert breach(0, 1, 600, 0) == 0
    # Two gateways that begin within a minute of each other, in 100: by hand.
    assert breach(2, 1, 60, 6_000) == pytest.approx(2 * 0.01)
    assert needed_spread(5_000, 1, 86_400, 0.001) is None


@given(st.integers(1, 60), st.integers(1, 6), st.integers(60, 3_600))
def test_the_least_spread_is_enough_and_less_is_not(devices: int, cap: int, takes: int) -> None:
    spread = needed_spread(devices, cap, takes)
    if spread is None:
        assert breach(devices, cap, takes, MAX_SPREAD_SECONDS) > 0.01
    elif spread:
        assert breach(devices, cap, takes, spread) <= 0.01
        assert breach(devices, cap, takes, spread - 60) > 0.01


def test_real_offsets_keep_to_it() -> None:
    devices, cap, takes = 20, 3, 600
    spread = needed_spread(devices, cap, takes, 0.05)
    assert spread is not None
    breached = 0
    for number in range(200):
        order = digest(f"order {number}")
        begins = sorted(spread_offset(order, f"GW-{n}", spread) for n in range(devices))
        breached += any(begins[n + cap] - begins[n] < takes for n in range(devices - cap))
    assert breached <= 200 * 0.05 * 1.5


@pytest.mark.parametrize("bad", [(-1, 1, 60, 0), (5, 0, 60, 0), (5, 1, 0, 0), (5, 1, 60, -1)])
def test_numbers_that_make_no_sense(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="from"):
        breach(*bad)
    with pytest.raises(ValueError, match="between"):
        needed_spread(5, 1, 60, 1.0)
