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
    LastDecision,
    decision_time,
    fixed_clock,
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
