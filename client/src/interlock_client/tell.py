"""What a gateway has to tell its fleet, and when (pure).

Rules:

1. What is told follows from what is kept and from nothing else, so that it is the same whoever asks
   and whatever was cut off: memory, journal, newest decision, trouble.
2. A report is due when what is told differs from what was told last; when an attempt has ended and
   that was not told yet; and when nothing was said for long. Times, sentences and single checks are
   told, and are no difference: a countdown is no news.
3. An end of an attempt is told by itself, before whatever came after it.
4. Nothing is told that people typed here or a check printed: that may concern a patient. The names
   of checks are told, and which of them passed.
5. A full outbox takes ends of attempts alone, for as long as it can (``outbox``, rule 5); a sign of
   life adds nothing while anything waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from interlock_client.failing import COUNTED
from interlock_client.journal import Ended, Journal, State
from interlock_client.memory import Answered, Content
from interlock_client.outbox import MAX_ENDS, MAX_WAITING, Sent
from interlock_client.poll import Trouble
from interlock_client.sealed import Checked
from interlock_core.errors import Exit
from interlock_core.wire import encode, format_time, sha256_hex

MAX_DETAIL: Final = 200
MAX_CHECKS: Final = 64
FACTORY: Final = "factory"
"""The version of what came with the gateway: nobody said which one that is."""

_CHECK_NAME: Final = re.compile(r"[^0-9A-Za-z._-]")
_SAFE: Final[Mapping[str, str]] = {
    "interlock_not_clear": "the clinical interlock does not say that now is safe",
    "local_hold": "the hospital holds it back",
}
"""What is said instead of words that were written here (rule 4)."""


@dataclass(frozen=True)
class Known:
    """All that is told follows from this (rule 1).

    Attributes:
        client: the version of this agent.
        slot: the slot that booted, None if nobody knows.
        present: what runs in it, as far as it is known.
        decision: the newest record of a decision, as plain values.
        mode: how safety is judged here (``interlock.mode``).
        answered: the clinical interlock's last answer.
        alarms: what is odd here and refuses nothing, by name (``timekeeping``).
    """

    client: str
    cohort: str
    journal: Journal
    slot: str | None
    present: Content | None
    decision: Mapping[str, Any] | None
    trouble: Trouble | None
    mode: str
    answered: Answered | None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Due:
    """A report to be made.

    Attributes:
        told: its content, as plain values.
        ended: the end of an attempt that is told then (``end``).
        why: a word for people.
    """

    told: dict[str, Any]
    ended: str | None
    why: str


def due(known: Known, last: Sent, now: datetime, interval: timedelta, waiting: int) -> list[Due]:
    """The reports to be made now, in order (rules 2, 3, 5).

    Args:
        known: everything.
        last: what was told last, acknowledged or not.
        now: the time of the report.
        interval: the longest silence.
        waiting: how many reports wait to be sent.
    """
    items: list[Due] = []
    ended = known.journal.ended
    key = end(ended) if ended is not None else last.ended
    if ended is not None and key != last.ended and waiting < MAX_ENDS:
        items.append(Due(content(known) | {"attempt": _ended(ended)}, key, "an attempt ended"))
    present = content(known)
    before = items[-1].told if items else last.told
    if before is None or differ(before, present):
        if waiting + len(items) < MAX_WAITING:
            # An end that did not fit is not called told.
            told = key if items or key == last.ended else last.ended
            items.append(Due(present, told, "something changed"))
    elif not items and waiting == 0 and _silent(last.at, now, interval):
        items.append(Due(present, last.ended, "nothing changed"))
    return items


def end(ended: Ended) -> str:
    """Names one end of an attempt, so that it is told once."""
    return sha256_hex(encode([ended.order, ended.sha256, ended.outcome, ended.at]))


def differ(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether there is news (rule 2)."""
    return _news(before) != _news(now)


def content(known: Known) -> dict[str, Any]:
    """What is told: the fields of a report that are about the gateway, as plain values."""
    trouble, ended = known.trouble, known.journal.ended
    return {
        "cohort": known.cohort,
        "running": _running(known),
        "attempt": _attempt(known),
        "decided": _decided(known.decision),
        "trouble": trouble and {"reason": trouble.reason, "since": format_time(trouble.since)},
        "interlock": _interlock(known),
        "health": _checks(ended.health if ended is not None else ()),
        "client": known.client,
        **_besides(known),
    }


def _besides(known: Known) -> dict[str, Any]:
    """What is told only where there is something of it."""
    ended = known.journal.ended
    advisory = _checks(ended.advisory if ended is not None else ())
    return ({"advisory": advisory} if advisory else {}) | (
        {"alarms": list(known.alarms)} if known.alarms else {}
    )


def _news(told: Mapping[str, Any]) -> dict[str, Any]:
    news = {key: value for key, value in told.items() if key != "advisory"}
    decided, safety = told.get("decided"), told.get("interlock")
    if isinstance(decided, dict):
        news["decided"] = (decided.get("order"), decided.get("reason"))
    if isinstance(safety, dict):
        news["interlock"] = (safety.get("mode"), safety.get("clear"))
    return news


def _silent(at: datetime | None, now: datetime, interval: timedelta) -> bool:
    # A clock that was set back says nothing about how long it was.
    return at is None or not at <= now < at + interval


def _running(known: Known) -> dict[str, Any] | None:
    if known.slot is None or known.present is None:
        return None
    version = known.present.version or FACTORY
    return {"slot": known.slot, "sha256": known.present.sha256, "version": version}


def _attempt(known: Known) -> dict[str, Any] | None:
    journal, decided = known.journal, known.decision or {}
    attempt, ended = journal.attempt, journal.ended
    if attempt is not None:
        outcome, reason = _progress(journal, decided)
        since = journal.deferral.since if journal.deferral and outcome == "deferred" else None
        return _said(attempt.order, attempt.sha256, outcome, reason, since, attempt.permit)
    order, wanted = decided.get("order"), decided.get("wanted")
    installed = _verdict(decided).get("reason") == "already_installed"
    if installed and order and wanted and (ended is None or ended.order != order):
        return _said(order, wanted["sha256"], "already_installed", None, None)
    return _ended(ended) if ended is not None else None


def _progress(journal: Journal, decided: Mapping[str, Any]) -> tuple[str, str | None]:
    """How far an attempt is, and why no further."""
    match journal.state:
        case State.DOWNLOADING:
            if journal.fault == "hash_mismatch" or journal.fault in COUNTED:
                return "failed", journal.fault
            return ("installing" if journal.unpacking else "downloading"), journal.fault
        case State.WRITTEN:
            return "downloaded", None
        case State.LAST_MOMENT:
            return "installing", None
        case State.WAITING:
            return _waiting(journal, decided)
        case _:
            return "rebooting", "health_unknown" if journal.undecided is not None else None


def _waiting(journal: Journal, decided: Mapping[str, Any]) -> tuple[str, str | None]:
    assert journal.attempt is not None
    verdict, order = _verdict(decided), decided.get("order")
    reason = verdict.get("reason")
    if order is not None and order != journal.attempt.order:
        return "canceled", "superseded_order"
    if verdict.get("outcome") == "refused":
        match verdict.get("exit"):
            case Exit.DEFERRED:
                return "deferred", reason
            case Exit.DONE:
                return "canceled", reason
            case Exit.TRANSIENT:
                return "downloaded", reason
            case _:
                return "rejected", reason
    if journal.fault is not None:
        return "failed", journal.fault
    if journal.deferral is not None:
        return "deferred", journal.deferral.reason
    return "downloaded", None


def _ended(ended: Ended) -> dict[str, Any]:
    return _said(ended.order, ended.sha256, ended.outcome, ended.reason, None, ended.permit)


def _said(
    order: str,
    target: str,
    outcome: str,
    reason: str | None,
    since: datetime | None,
    permit: str | None = None,
) -> dict[str, Any]:
    return ({"permit": permit} if permit is not None else {}) | {
        "order": order,
        "target": target,
        "outcome": outcome,
        "reason": reason,
        "deferred_since": format_time(since) if since is not None else None,
    }


def _verdict(decided: Mapping[str, Any]) -> Mapping[str, Any]:
    verdict = decided.get("verdict")
    return verdict if isinstance(verdict, dict) else {}


def _decided(decision: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    verdict = _verdict(decision)
    reason = verdict.get("reason", "unknown")
    detail = _SAFE.get(reason, verdict.get("detail", ""))
    return {
        "at": decision.get("at"),
        "order": decision.get("order"),
        "reason": reason,
        "detail": detail[:MAX_DETAIL],
    }


def _interlock(known: Known) -> dict[str, Any]:
    if known.mode == "none":
        return {"mode": "none", "clear": True, "checks": []}
    answered = known.answered
    return {
        "mode": "checks",
        "clear": answered is not None and answered.clear,
        "checks": _checks(answered.checks if answered is not None else ()),
    }


def _checks(checks: Iterable[Checked]) -> list[dict[str, Any]]:
    told = []
    for check in checks:
        name = _CHECK_NAME.sub("_", check.name)[:63]
        told.append(
            {"name": name if name[:1].isalnum() else f"x{name[:62]}"} | {"passed": check.passed}
        )
    return told[:MAX_CHECKS]
