"""How long a server asks to be left alone (pure; RFC 9110, section 10.2.3).

Rules:

1. It is read from 429 and 503 alone, in both its forms. A date is compared with the server's own
   ``Date``, because this clock may start in 1970; without one, with this clock.
2. It is bounded: whoever may say it, the network included, gains no more than a short silence.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

ASKS_TO_WAIT: Final = frozenset({429, 503})
MAX_SECONDS: Final = 3600

_SECONDS: Final = re.compile(r"[0-9]{1,19}\Z")


def seconds(status: int, header: str | None, date: str | None, now: datetime) -> int | None:
    """Seconds to wait, from 0 to ``MAX_SECONDS``; None if nothing intelligible was asked.

    Args:
        status: of the answer.
        header: its ``Retry-After``.
        date: its ``Date``.
        now: this clock.
    """
    if status not in ASKS_TO_WAIT or header is None:
        return None
    text = header.strip()
    if _SECONDS.match(text):
        return min(int(text), MAX_SECONDS)
    until = _moment(text)
    if until is None:
        return None
    wait = int((until - (_moment(date or "") or now)).total_seconds())
    return max(0, min(wait, MAX_SECONDS))


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
