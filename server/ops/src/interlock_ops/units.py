"""Shares, durations and times, as people type and read them (pure).

Rules:

1. A share is typed and shown as a percentage with at most two decimals, and is basis points inside.
2. A duration is typed and shown as numbers with a unit, largest first: ``2h``, ``1d12h``, ``90m``.
   Units are ``w``, ``d``, ``h``, ``m`` and ``s``. It is whole seconds inside.
3. A time is RFC 3339 with a zone, in whole seconds, and is UTC inside. Where it says so, a duration
   stands for the time that lies so much later.
4. Whatever cannot be read raises a ``ValueError`` with a sentence for people, and nothing else.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from interlock_core.order import FULL
from interlock_core.wire import format_time

UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
MAX_SECONDS: Final = 50 * 366 * UNITS["d"]
"""Longer durations are slips of the keyboard."""

_DURATION: Final = re.compile(r"(?:[0-9]{1,9}[wdhms])+\Z")
_PART: Final = re.compile(r"([0-9]+)([wdhms])")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)


def parse_percent(value: object) -> int:
    """Basis points of a percentage (rule 1).

    Args:
        value: an ``int`` or a ``Decimal``.

    Raises:
        ValueError: no number, not above 0, above 100, or more than two decimals.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(  # noqa: TRY004  # rule 4: one family for whatever a file may hold
            f"{_short(value)} is not a percentage: write a number such as 12.5"
        )
    if (isinstance(value, Decimal) and not value.is_finite()) or not 0 < value <= 100:
        raise ValueError(f"{_short(value)} is not a percentage above 0 and up to 100")
    number = Decimal(value)
    # Scaling a number of many digits would round it: look at the digits themselves.
    _, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int)  # it is finite
    if exponent < -2 or len(digits) > 5 or Decimal(value) != number.normalize():
        raise ValueError(f"{_short(value)} has more than two decimals")
    return int(number * 100)


def show_percent(basis_points: int) -> str:
    """``12.5 %``: as few decimals as the share needs."""
    text = f"{Decimal(basis_points) * 100 / FULL:.2f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def show_size(size: int) -> str:
    """``1.5 MB``: bytes in powers of 1,000, with at most one decimal."""
    number, units = Decimal(size), ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    text = f"{number:.1f}"
    return f"{text.removesuffix('.0')} {units[0]}"


def parse_duration(text: object) -> int:
    """Seconds of a duration (rule 2).

    Raises:
        ValueError: it does not have that form.
    """
    if not isinstance(text, str) or _DURATION.match(text) is None:
        raise ValueError(f"{_short(text)} is not a duration: write it like 90m, 2h or 1d12h")
    parts = [(int(number), unit) for number, unit in _PART.findall(text)]
    sizes = [UNITS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f"{_short(text)} names a unit twice or out of order: write 1d12h")
    seconds = sum(number * UNITS[unit] for number, unit in parts)
    if seconds > MAX_SECONDS:
        raise ValueError(f"{_short(text)} is longer than 50 years")
    return seconds


def show_duration(seconds: int) -> str:
    """``1d12h``; ``0s`` for nothing. Weeks are shown as days."""
    parts, left = [], seconds
    for unit, size in UNITS.items():
        if unit != "w" and left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join(parts) or "0s"


def show_age(now: datetime, since: datetime | None) -> str:
    """``2h5m``: how long ago that was, to its two largest units; a dash for none."""
    if since is None:
        return "-"
    seconds = max(0, int((now - since).total_seconds()))
    parts = re.findall(r"[0-9]+[dhms]", show_duration(seconds))
    return "".join(parts[:2])


def parse_time(value: object, *, after: datetime | None = None) -> datetime:
    """A time in UTC (rule 3).

    Args:
        value: RFC 3339 text, or a ``datetime`` as TOML reads it.
        after: if given, a duration is taken too, and counts from here.

    Raises:
        ValueError: it is neither, or has no zone, or a fraction of a second.
    """
    time = value
    if isinstance(value, str):
        if after is not None and _DURATION.match(value):
            return _later(after, parse_duration(value))
        if _TIME.match(value):
            # The zone of RFC 3339 may be a small letter, which fromisoformat does not take.
            time = _or_none(value.upper())
    if not isinstance(time, datetime):
        hint = " or a duration such as 30d" if after is not None else ""
        raise ValueError(  # noqa: TRY004  # rule 4
            f"{_short(value)} is not a time: write 2030-01-31T08:00:00Z{hint}"
        )
    if time.tzinfo is None:
        raise ValueError(f"{time.isoformat()} has no zone: add Z for UTC, or +01:00")
    if time.microsecond:
        raise ValueError(f"{time.isoformat()} is not in whole seconds")
    try:
        return time.astimezone(UTC)
    except OverflowError as e:
        raise ValueError(f"{time.isoformat()} lies outside the calendar") from e


def show_time(time: datetime | None) -> str:
    """``2030-01-31T08:00:00Z``, or a dash for none."""
    return format_time(time) if time is not None else "-"


def _later(after: datetime, seconds: int) -> datetime:
    try:
        return after + timedelta(seconds=seconds)
    except OverflowError as e:
        raise ValueError("that time lies outside the calendar") from e


def _or_none(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _short(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)[:40]
    if isinstance(value, int) and value.bit_length() > 128:
        return "that number"
    return repr(value)[:40]
