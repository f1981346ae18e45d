"""How long ``run`` waits, and what it says (pure).

Rules:

1. The next poll comes after the interval and a jitter that is uniform between nothing and its
   setting, so that gateways which woke up together do not stay together.
2. While an installation waits for this place (the clinical interlock, a hold, the window, the
   lease), or new firmware for checks that cannot tell yet, it is looked at again after
   ``deferral_retry_seconds``.
3. After trouble that may pass the waits double from 30 s up to the interval, with jitter. Servers
   that ask to be left alone longer are, within the bounds of ``retry_after``.
4. People are told when the outcome changes. What repeats is said once, and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from interlock_client.config import Settings
from interlock_client.outcome import RETRY_AFTER, Outcome
from interlock_core.errors import Exit
from interlock_core.wire import format_time

FIRST_BACK_OFF_SECONDS: Final = 30
LOCAL: Final = frozenset({"interlock_not_clear", "local_hold", "outside_window"})
"""Reasons that this place may end at any moment (rule 2)."""

UNKNOWN: Final = "health_unknown"
"""What new firmware waits for that was not judged yet (rule 2)."""

Uniform = Callable[[float, float], float]
"""A number between two others, each as likely."""


@dataclass
class Waits:
    """How long to wait after each round.

    Attributes:
        settings: for the intervals.
        uniform: chance.
        troubles: how many rounds in a row ended in trouble that may pass.
    """

    settings: Settings
    uniform: Uniform
    troubles: int = 0

    def after(self, outcome: Outcome) -> float:
        """Seconds until the next round (rules 1 to 3)."""
        settings = self.settings
        interval: float = settings.poll_interval_seconds
        jitter: float = settings.poll_jitter_seconds
        if outcome.reason == UNKNOWN:
            return min(interval, settings.deferral_retry_seconds)
        if outcome.exit_code is Exit.TRANSIENT:
            self.troubles += 1
            # Doubled no more often than it takes to pass the longest interval.
            interval = min(interval, FIRST_BACK_OFF_SECONDS * 2.0 ** min(self.troubles - 1, 20))
            jitter = min(jitter, interval)
            interval = max(interval, float(outcome.more.get(RETRY_AFTER, 0)))
        else:
            self.troubles = 0
            if outcome.exit_code is Exit.DEFERRED and outcome.reason in LOCAL:
                return min(interval, settings.deferral_retry_seconds)
        return interval + self.uniform(0.0, jitter)


@dataclass
class Voice:
    """What people are told (rule 4), one line at a time.

    Attributes:
        last: the kind of what was said last, by subject.
        times: how often that came since.
    """

    last: dict[str, tuple[str, str]] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)

    def line(self, subject: str, outcome: Outcome, now: datetime) -> str | None:
        """The line to be said about ``subject``, or None if it was said before.

        Args:
            subject: what the outcome is of: ``update``, ``confirm``, ``report``.
            outcome: how it ended this time.
            now: when.
        """
        kind, before = (outcome.outcome, outcome.reason), self.last.get(subject)
        if kind == before:
            self.times[subject] += 1
            return None
        times = self.times.get(subject, 0)
        self.last[subject], self.times[subject] = kind, 1
        more = f" (before that, {times} times: {' '.join(before)})" if before and times > 1 else ""
        return (
            f"{format_time(now)} {subject}: {outcome.outcome} ({outcome.reason}): "
            f"{outcome.detail}{more}"
        )
