"""Time zones by the names of the IANA database, as this machine knows them (I/O: reads tzdata)."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from interlock_core.errors import ConfigurationError


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def check_zone(name: str) -> None:
    """See that there is such a time zone.

    Raises:
        ConfigurationError: ``bad_time_zone``.
    """
    if _zone(name) is None:
        raise ConfigurationError(
            f"This machine knows no time zone {name[:80]!r}: name one of the IANA database, such "
            "as Europe/Berlin. If it knows none at all, install tzdata.",
            reason="bad_time_zone",
        )


def utc_offset(name: str, at: datetime) -> timedelta | None:
    """Local time minus UTC there and then; None where this machine does not know the zone."""
    zone = _zone(name)
    return None if zone is None else at.astimezone(zone).utcoffset()
