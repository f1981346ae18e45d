"""Who is inside a share: fixed for each device, evenly spread, and never leaving as it grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.placement import POINTS, inside, point, spread_offset
from tests.support.papers import digest

DEVICES = [f"GW-{number:05d}" for number in range(20_000)]
DEVICE = st.from_regex(r"\A[0-9A-Za-z][0-9A-Za-z._:-]{0,126}\Z")
DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(DIGEST, DEVICE, st.integers(1, POINTS), st.integers(1, POINTS))
def test_a_larger_share_contains_the_smaller(
    wanted: str, device: str, one: int, other: int
) -> None:
    place = point(wanted, device)
    assert 0 <= place < POINTS
    if inside(place, min(one, other)):
        assert inside(place, max(one, other))
    assert inside(place, POINTS)
    assert not inside(place, 0)


@pytest.mark.parametrize("share", [100, 2_500, 5_000])
def test_a_share_is_about_that_share_of_the_devices(share: int) -> None:
    """Fixed inputs, so the count is one number: within 4 standard deviations of the share."""
    chance = share / POINTS
    expected = chance * len(DEVICES)
    count = sum(inside(point(digest("image"), device), share) for device in DEVICES)
    assert abs(count - expected) < 4 * (expected * (1 - chance)) ** 0.5


def test_another_image_draws_other_devices() -> None:
    """So that the same devices are not the canaries of every release."""
    drawn = [
        {device for device in DEVICES if inside(point(digest(image), device), 1_000)}
        for image in ("one", "two")
    ]
    assert len(drawn[0] & drawn[1]) < 0.2 * len(drawn[0])


def test_every_point_and_every_second_of_a_spread_occurs() -> None:
    assert len({point(digest("image"), device) // 100 for device in DEVICES}) == 100
    offsets = {spread_offset(digest("order"), device, 59) for device in DEVICES}
    assert offsets == set(range(60))


@given(DIGEST, DEVICE, st.integers(0, 90 * 86_400))
def test_a_turn_lies_within_the_spread(order: str, device: str, spread: int) -> None:
    assert 0 <= spread_offset(order, device, spread) <= spread
