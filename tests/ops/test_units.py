"""Shares, durations and times: exact, round trip, and never anything but a ValueError."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_ops import units

NOW = datetime(2027, 3, 1, 8, tzinfo=UTC)


@given(st.integers(1, 10_000))
def test_every_share_survives_being_shown_and_typed(basis_points: int) -> None:
    shown = units.show_percent(basis_points).removesuffix(" %")
    assert units.parse_percent(Decimal(shown)) == basis_points


@pytest.mark.parametrize(
    ("value", "basis_points"),
    [
        (100, 10_000),
        (1, 100),
        (Decimal("12.5"), 1250),
        (Decimal("0.01"), 1),
        (Decimal("99.99"), 9999),
        (Decimal("12.500000"), 1250),
        (Decimal("1E1"), 1000),
    ],
)
def test_shares(value: object, basis_points: int) -> None:
    assert units.parse_percent(value) == basis_points


@pytest.mark.parametrize(
    "value",
    [
        Decimal("12.345"),
        Decimal("0.001"),
        Decimal("12.5" + "0" * 40 + "1"),
        0,
        Decimal("0.0"),
        -1,
        101,
        Decimal("100.01"),
        Decimal("NaN"),
        Decimal("Infinity"),
        10**400,
        True,
        "12.5",
        12.5,
        None,
    ],
)
def test_what_is_no_share(value: object) -> None:
    with pytest.raises(ValueError, match=r"percentage|two decimals"):
        units.parse_percent(value)


def test_three_decimals_are_named() -> None:
    with pytest.raises(ValueError, match=r"12\.345 has more than two decimals"):
        units.parse_percent(Decimal("12.345"))


@given(st.integers(0, units.MAX_SECONDS))
def test_every_duration_survives_being_shown_and_typed(seconds: int) -> None:
    assert units.parse_duration(units.show_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("1d12h", 129_600), ("90m", 5400), ("1w", 604_800), ("0s", 0), ("1h1s", 3601)],
)
def test_durations(text: str, seconds: int) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "h",
        "2 h",
        "1h1d",
        "1h2h",
        "-1h",
        "1.5h",
        "٢h",
        "2H",
        "9" * 9 + "w",
        "2h\n",
        7,
        None,
    ],
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|unit|years"):
        units.parse_duration(text)


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_time_survives_being_shown_and_typed(time: datetime) -> None:
    whole = time.replace(microsecond=0)
    assert units.parse_time(units.show_time(whole)) == whole


def test_times() -> None:
    plus_one = timezone(timedelta(hours=1))
    assert units.parse_time("2027-03-01T09:00:00+01:00") == NOW
    assert units.parse_time("2027-03-01t08:00:00z") == NOW
    assert units.parse_time(datetime(2027, 3, 1, 9, tzinfo=plus_one)) == NOW
    assert units.parse_time("30m", after=NOW) == NOW + timedelta(minutes=30)


@pytest.mark.parametrize(
    "value",
    [
        "2027-03-01T08:00:00",
        "2027-02-30T08:00:00Z",
        "2027-03-01T08:00:00.5Z",
        "2027-03-01",
        "tomorrow",
        "30d",
        datetime(2027, 3, 1, 8),  # noqa: DTZ001  # that it has no zone is the point
        datetime(2027, 3, 1, 8, 0, 0, 1, tzinfo=UTC),
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        7,
        None,
    ],
)
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|zone|seconds|calendar"):
        units.parse_time(value)


def test_a_duration_past_the_calendar_is_no_time() -> None:
    last = datetime(9999, 12, 31, tzinfo=UTC)
    with pytest.raises(ValueError, match="calendar"):
        units.parse_time("2d", after=last)


ANYTHING: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.datetimes(),
    st.lists(st.integers()),
    st.from_regex(r"[0-9]{1,12}[wdhms]([0-9]{1,3}[wdhms])?"),
)


@given(ANYTHING)
def test_anything_is_read_or_refused(value: object) -> None:
    for read in (units.parse_percent, units.parse_duration, units.parse_time):
        try:
            read(value)
        except ValueError as e:
            assert str(e)  # noqa: PT017  # most of what is drawn is refused
