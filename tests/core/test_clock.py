"""The time of a decision, and the floor's rule."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core import clock
from interlock_core.clock import (
    EPOCH,
    JUMP,
    MARGIN,
    SETTLING,
    ClockReading,
    LastDecision,
    decision_time,
    first_end,
    fixed_clock,
    jumped,
    kept_until,
    raised_floor,
    system_clock,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TIMES = st.integers(0, 2**32).map(lambda seconds: EPOCH + timedelta(seconds=seconds))


def last(at: datetime, monotonic_seconds: int = 100, boot_id: str = "boot") -> LastDecision:
    return LastDecision(at=at, boot_id=boot_id, monotonic_seconds=monotonic_seconds)


def test_system_clock_is_in_utc_and_whole_seconds() -> None:
    now = system_clock()
    assert now.tzinfo is UTC
    assert now.microsecond == 0


def test_fixed_clock_stands_still_in_whole_utc_seconds() -> None:
    stopped = fixed_clock(datetime(2030, 1, 1, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2))))
    assert stopped() == stopped() == NOON


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        fixed_clock(datetime(2030, 1, 1))  # noqa: DTZ001  # the point of the test


def test_a_system_clock_that_is_right_decides() -> None:
    assert decision_time(NOON, EPOCH, None, "boot", 0) == NOON


def test_a_system_clock_set_back_is_held_by_the_floor() -> None:
    assert decision_time(EPOCH, NOON, None, "boot", 0) == NOON


def test_within_one_boot_time_goes_on_by_the_monotonic_clock() -> None:
    decided = decision_time(EPOCH, EPOCH, last(NOON), "boot", 160)
    assert decided == NOON + timedelta(seconds=60)


def test_after_a_reboot_the_last_decision_says_nothing() -> None:
    assert decision_time(EPOCH, EPOCH, last(NOON, boot_id="before"), "boot", 160) == EPOCH


def test_a_monotonic_clock_that_ran_backwards_does_not_take_time_away() -> None:
    assert decision_time(EPOCH, EPOCH, last(NOON), "boot", 1) == NOON


@given(system=TIMES, floor=TIMES, at=TIMES, elapsed=st.integers(0, 10**8))
def test_a_decision_is_never_before_any_of_the_three(
    system: datetime, floor: datetime, at: datetime, elapsed: int
) -> None:
    decided = decision_time(system, floor, last(at), "boot", 100 + elapsed)
    assert decided in {system, floor, at + timedelta(seconds=elapsed)}
    assert decided >= max(system, floor, at + timedelta(seconds=elapsed))


@given(floor=TIMES, issued=st.lists(st.none() | TIMES))
def test_the_floor_rises_to_the_newest_issue_time_and_never_falls(
    floor: datetime, issued: list[datetime | None]
) -> None:
    raised = raised_floor(floor, issued)
    assert raised >= floor
    assert all(time is None or raised >= time for time in issued)
    assert raised in {floor, *issued}


@given(ends=st.lists(TIMES))
def test_what_is_kept_outlasts_a_decision_by_the_margin(ends: list[datetime]) -> None:
    first = first_end(ends)
    assert first == (min(ends) if ends else EPOCH)
    assert kept_until(first) == EPOCH or kept_until(first) + MARGIN == first


def test_an_expiry_in_the_year_one_ends_everything_and_overflows_nothing() -> None:
    assert kept_until(first_end([datetime(1, 1, 1, tzinfo=UTC), NOON])) == EPOCH


def read(system: datetime, *, at: int = 10_000, behind: bool = False) -> ClockReading:
    return ClockReading(system=system, boot_id="boot", monotonic_seconds=at, behind=behind)


@given(elapsed=st.integers(0, 10**8), off=st.integers(-(10**8), 10**8))
def test_a_jump_is_what_the_system_clock_is_off_from_the_monotonic(elapsed: int, off: int) -> None:
    system = NOON + timedelta(seconds=elapsed + off)
    found = jumped(read(NOON), system, "boot", 10_000 + elapsed)
    assert found == (timedelta(seconds=off) if abs(off) > JUMP.total_seconds() else timedelta(0))


@pytest.mark.parametrize("years", [-5, 5])
def test_between_two_boots_nobody_can_tell(years: int) -> None:
    system = NOON + timedelta(days=365 * years)
    assert jumped(read(NOON), system, "another boot", 10) == timedelta(0)
    assert jumped(None, system, "boot", 10) == timedelta(0)
    assert jumped(read(NOON), system, "", 10_000) == timedelta(0)


def test_a_clock_that_is_set_for_the_first_time_did_not_jump() -> None:
    day, soon = timedelta(days=1), int(SETTLING.total_seconds()) - 1
    assert not jumped(read(EPOCH, behind=True), NOON, "boot", 10_000)
    assert not jumped(read(NOON, at=5), NOON + day, "boot", soon)
    # Back is back, whenever.
    assert jumped(read(NOON, at=5, behind=True), NOON - day, "boot", soon) < timedelta(0)
    assert jumped(read(NOON, at=5), NOON + day, "boot", soon + 1) > timedelta(0)


def test_the_module_asks_no_machine_but_for_the_date() -> None:
    tree = ast.parse(Path(clock.__file__).read_text())
    imported = {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {
        "__future__",
        "collections.abc",
        "datetime",
        "typing",
        "interlock_core.wire",
    }
