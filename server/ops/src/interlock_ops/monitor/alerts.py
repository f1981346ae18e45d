"""Tells people, once when something begins, daily while it lasts, and when it is over (I/O).

Rules:

1. An alert is one JSON line on standard error, and, where the settings name an ``alert_command``,
   one run of it with the same object on standard input. It gets no secret, a minute, and no say:
   whatever becomes of it is logged, and the monitor goes on.
2. What lasts is remembered, so that a restart does not tell it anew. An alert that was not told
   before a crash is told after it; one may be told twice, none is lost.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

from interlock_core.wire import format_time
from interlock_ops.monitor.memory import Memory

REMINDED: Final = timedelta(days=1)
PATIENCE_SECONDS: Final = 60
_SHOWN: Final = ("PATH", "LANG", "LC_ALL", "TZ")
"""What the command sees of the environment: not where the credentials are."""

ALERTS: Final = {
    "stop_signed": "the monitor stopped a rollout by the order's abort settings",
    "stage_opened": "the monitor opened an auto stage",
    "stop_delivered": "a stop was delivered to the monitor directly",
    "abort_threshold": "failures ask for a stop, and one stands",
    "failures_at_gate": "an auto stage stays shut: too many failed or were not heard",
    "no_evidence": "an auto stage stays shut: nobody has confirmed yet",
    "operator_needed": "a rollout lapses unless an operator renews it",
    "go_lapsed": "a rollout has lapsed: only a resume revives it",
    "devices_missing": "a cohort has fewer devices than 'least_devices' says",
    "log_fork": "the log has two faces",
    "log_behind": "the log is shorter than it was",
    "log_mismatch": "the log's entries are not those that its checkpoint covers",
    "bad_checkpoint": "the log's checkpoint is not signed by the log's key",
    "record_withheld": "the server keeps a statement back that is in the log",
    "record_mismatch": "the server shows another statement than the log names",
    "untrusted_repository": "the roster does not verify, or was rolled back, or has expired",
    "server_unreachable": "the server could not be read for three rounds",
    "clock_went_back": "the machine's clock was set back: nothing is signed until it is right",
    "forged_records": "reports, enrolments or words that their authors did not sign",
    "report_fork": "a device's key signs in two places: it is quarantined",
    "report_gap": "reports of a device are missing from the log",
    "bad_delivery": "a file in the spool holds no stop by somebody in the roster",
    "refused_by_server": "the server refused what the monitor signed",
    "not_sent": "what the monitor signed has not arrived at the server for minutes",
    "would_not_count": "the monitor was about to sign what counts for nothing",
    "role_not_held": "the roster gives the monitor no grant, or knows its key as no monitor's",
}
"""Every alert by name, and what it means. Documented in the operators' guide to the monitor."""


@dataclass(frozen=True)
class Alert:
    """Something that people must know.

    Attributes:
        name: of ``ALERTS``.
        subject: what it is about: an order's id, a cohort, a device, or nothing.
        detail: a sentence.
        lasts: whether it is a state, which can be over, or something that happened.
    """

    name: str
    subject: str
    detail: str
    lasts: bool = True

    @property
    def key(self) -> str:
        """Names it, however often it is seen."""
        return f"{self.name} {self.subject}"


class Alerts:
    """Remembers and tells alerts.

    Args:
        memory: where they are kept.
        command: run for each; empty for none.
        stream: where the lines go; None for nowhere.

    Attributes:
        told: what the last ``tell`` told, for machines.
    """

    def __init__(
        self, memory: Memory, command: Sequence[str] = (), stream: TextIO | None = None
    ) -> None:
        self._memory = memory
        self._command = tuple(command)
        self._stream = stream
        self.told: list[dict[str, Any]] = []
        self._run: Callable[..., Any] = subprocess.run

    def tell(self, found: Iterable[Alert], now: datetime, *, whole: bool = True) -> None:
        """Tell what is new, and what is over.

        Args:
            found: everything that is wrong now.
            now: when.
            whole: whether ``found`` is all there is to find: else nothing is over by it.
        """
        self.told = []
        current = {alert.key: alert for alert in found}
        for alert in current.values():
            self._note(alert, now)
        if whole:
            self._end(current)
        for key, name, since, detail in list(
            self._memory.rows(
                "SELECT key, name, since, detail FROM alert WHERE coalesce(told_at, 0) <= ? "
                "ORDER BY since, key",
                _seconds(now - REMINDED),
            )
        ):
            self._say(name, key.partition(" ")[2], detail, since, over=False)
            lasts = key in current and current[key].lasts
            with self._memory.writing():
                if lasts or key not in current:
                    sql = "UPDATE alert SET told_at = ? WHERE key = ?"
                    self._memory.run(sql, _seconds(now), key)
                else:
                    self._memory.run("DELETE FROM alert WHERE key = ?", key)

    def standing(self) -> list[dict[str, str]]:
        """What lasts, for machines: name, subject, detail, since."""
        rows = self._memory.rows("SELECT key, name, since, detail FROM alert ORDER BY since, key")
        return [
            _object(name, key.partition(" ")[2], detail, since) for key, name, since, detail in rows
        ]

    def _note(self, alert: Alert, now: datetime) -> None:
        assert alert.name in ALERTS, alert.name
        with self._memory.writing():
            self._memory.run(
                "INSERT INTO alert VALUES (?, ?, ?, NULL, ?) ON CONFLICT (key) DO UPDATE SET "
                "detail = excluded.detail",
                alert.key,
                alert.name,
                _seconds(now),
                alert.detail,
            )

    def _end(self, current: dict[str, Alert]) -> None:
        for key, name, since, detail, told in list(
            self._memory.rows("SELECT key, name, since, detail, told_at FROM alert")
        ):
            if key in current or told is None:
                continue
            self._say(name, key.partition(" ")[2], detail, since, over=True)
            with self._memory.writing():
                self._memory.run("DELETE FROM alert WHERE key = ?", key)

    def _say(self, name: str, subject: str, detail: str, since: int, *, over: bool) -> None:
        told = {**_object(name, subject, detail, since), "over": over}
        self.told.append(told)
        text = json.dumps(told, sort_keys=True)
        self._print(text)
        if not self._command:
            return
        try:
            self._run(
                self._command,
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE_SECONDS,
                check=True,
                env={name: os.environ[name] for name in _SHOWN if name in os.environ},
            )
        except (OSError, subprocess.SubprocessError) as e:
            failed = {"alert": "alert_command", "detail": str(e)[:500], "subject": name}
            self._print(json.dumps(failed, sort_keys=True))

    def _print(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(f"{text}\n")
            self._stream.flush()


def _object(name: str, subject: str, detail: str, since: int) -> dict[str, str]:
    when = format_time(datetime.fromtimestamp(since, UTC))
    return {"alert": name, "subject": subject, "detail": detail, "since": when}


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
