"""How slow a server may be: judged within a window that moves, by the time it was waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_client.config import Download
from interlock_client.download.rate import CHUNK, LeastRate, Pace
from tests.client.bed import Bed

WINDOW, LEAST = 60.0, 1000
quarters = st.integers(0, 80).map(lambda number: number / 4)
"""Seconds, which are added and taken away again without rounding."""


def test_who_sends_nothing_is_due_after_a_window() -> None:
    assert LeastRate(LEAST, WINDOW, 5.0).due == 65.0


@given(st.integers(1100, 10**6), st.floats(0.01, 10.0))
def test_whoever_keeps_to_it_is_never_due(rate: int, every: float) -> None:
    watched, now = LeastRate(LEAST, WINDOW, 0.0), 0.0
    while now < 600:
        now += every
        watched.came(int(rate * every) + 1, now)
        assert watched.due > now


@given(st.integers(0, 10**9), st.integers(0, 900))
def test_what_came_fast_before_buys_no_more_than_a_window(burst: int, drip: int) -> None:
    """However much there was at first, and whatever average that leaves."""
    watched, now = LeastRate(LEAST, WINDOW, 0.0), 1.0
    watched.came(burst, now)
    while now < watched.due:
        now += 1.0
        watched.came(drip, now)
        assert now < 2 * WINDOW + 10


@given(st.lists(st.tuples(quarters, st.integers(0, 50_000)), max_size=60))
def test_nobody_is_due_who_brought_enough_within_the_window(
    came: list[tuple[float, int]],
) -> None:
    watched, now, seen = LeastRate(LEAST, WINDOW, 0.0), 0.0, [(0.0, 0)]
    for after, count in came:
        now += after
        if now >= watched.due:
            begun = watched.due - WINDOW
            assert sum(count for at, count in seen if at > begun) < LEAST * WINDOW
            return
        watched.came(count, now)
        seen.append((now, count))


@pytest.mark.parametrize(("rate", "size"), [(None, CHUNK), (10**9, CHUNK), (1024, 4096)])
def test_a_thin_rate_is_read_in_small_pieces(rate: int | None, size: int) -> None:
    """So that no pause is long enough to be taken for silence at the other end."""
    assert Pace(rate).read_size == size


def test_what_is_configured_reaches_every_server(bed: Bed) -> None:
    bed.limits = None  # type: ignore[assignment]  # as outside of tests
    bed.change(
        download=Download(min_bytes_per_second=77, min_rate_window_seconds=9, run_seconds=61)
    )
    with bed.context() as made:
        [server] = made.servers.each
    limits = server.limits
    assert limits.image_bytes_per_second == 77
    assert limits.image_window_seconds == 9
    assert limits.image_seconds == 61
