"""How a gateway stands and why, in one sentence (pure).

Rules:

1. What a person must know first comes first: that it cannot go on, then what it waits for, then
   what it runs.
2. The reason is named as everywhere else, so that it can be looked up, and explained beside it.
3. Unless the gateway is enrolled and countersigned, that is said too: it counts for nothing then.
   So is a client certificate that ends soon, has ended or cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from interlock_client.journal import Journal, State
from interlock_client.memory import Content
from interlock_client.poll import Trouble
from interlock_core.errors import Exit
from interlock_core.wire import format_time

_ENROLMENT: Final[Mapping[str | None, str]] = {
    None: "not enrolled",
    "waiting": "enrolled, waiting for a countersignature",
    "superseded": "its enrolment was superseded by another: enrol it anew",
    "quarantined": "its reports were forked and count for nothing: enrol it anew",
    "revoked": "its key was revoked and signs nothing that counts: enrol it anew",
    "decommissioned": "it was taken out of service: enrol it anew to use it again",
    "damaged": "its enrolment is damaged: enrol it anew",
}
_WAITS_FOR: Final = {
    "interlock_not_clear": "a patient depends on it",
    "local_hold": "the hospital holds it back",
    "site_hold": "its site is held",
    "outside_window": "the window is closed",
}


@dataclass(frozen=True)
class Standing:
    """What the sentence is made of.

    Attributes:
        booted: the slot that runs; None if nobody knows.
        slots: what is wrong with that, if something is.
        decision: the newest record of a decision, as plain values.
        enrolment: state of the enrolment, None without one, ``damaged`` if it cannot be read.
        certificate: what is wrong with the client certificate, if something is.
    """

    now: datetime
    booted: str | None
    slots: str | None
    journal: Journal
    present: Content | None
    decision: Mapping[str, Any] | None
    trouble: Trouble | None
    enrolment: str | None
    certificate: str | None = None


def sentence(standing: Standing) -> str:
    """The sentence (rules 1 to 3)."""
    clauses = [_ENROLMENT.get(standing.enrolment), standing.certificate]
    parts = [_main(standing), *(clause.rstrip(".") for clause in clauses if clause is not None)]
    return "; ".join(parts)


def age(duration: timedelta) -> str:
    """A duration as people say it."""
    minutes = max(0, int(duration.total_seconds())) // 60
    hours, days = minutes // 60, minutes // 1440
    if days >= 2:
        return f"{days} days"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _main(s: Standing) -> str:
    if s.slots is not None:
        return f"cannot update: {s.slots.rstrip('.')}"
    attempt, state = s.journal.attempt, s.journal.state
    if attempt is not None and state in {State.REBOOTING, State.CONFIRMING}:
        undecided = s.journal.undecided
        if s.booted == attempt.slot and undecided is not None:
            since = f"since {format_time(undecided.since)}"
            return f"{attempt.path} has booted; {since} nobody can tell whether it is well: " + (
                undecided.detail
            )
        if s.booted == attempt.slot:
            return f"{attempt.path} has booted and waits to be confirmed"
        return f"rebooting into {attempt.path}"
    verdict = _verdict(s.decision)
    detail = str(verdict.get("detail", "")).rstrip(".")
    if s.trouble is not None:
        since = f"since {format_time(s.trouble.since)} ({age(s.now - s.trouble.since)})"
        return f"refused {since}: {s.trouble.reason}: {detail}"
    if s.decision is None:
        return "nothing was decided here yet: run 'interlock-client check'"
    reason = str(verdict.get("reason"))
    if verdict.get("outcome") != "refused":
        return _granted(s, detail)
    match verdict.get("exit"):
        case Exit.DONE:
            return _done(s, reason, detail)
        case Exit.DEFERRED:
            return _waiting(s, reason, detail)
        case Exit.TRANSIENT:
            return f"cannot go on: {reason}: {detail}"
        case _:
            return f"refused: {reason}: {detail}"


def _granted(s: Standing, path: str) -> str:
    if s.journal.fault is not None:
        return f"cannot go on with {path}: {s.journal.fault}"
    if s.journal.state is State.WAITING and s.journal.deferral is not None:
        return _waiting(s, s.journal.deferral.reason, s.journal.deferral.detail.rstrip("."))
    ended = s.journal.ended
    if s.journal.attempt is None and ended is not None and ended.order == _order(s):
        # What was granted last is over.
        if ended.outcome == State.ROLLED_BACK:
            return f"rolled back: {ended.reason}: {ended.detail.rstrip('.')}"
        return f"up to date: runs {path} by order {ended.order[:12]}"
    return f"an update is authorised: {path} is installed at the next 'interlock-client update'"


def _waiting(s: Standing, reason: str, detail: str) -> str:
    deferral = s.journal.deferral
    waiting = s.journal.state is State.WAITING and deferral is not None
    since = f" for {age(s.now - deferral.since)}" if waiting and deferral is not None else ""
    why = _WAITS_FOR.get(reason)
    return f"waiting{since}: {why} ({detail})" if why else f"waiting{since}: {reason}: {detail}"


def _done(s: Standing, reason: str, detail: str) -> str:
    runs = "what came from the factory"
    if s.present is not None and s.present.path is not None:
        runs = s.present.path
    if reason == "already_installed":
        return f"up to date: runs {runs} by order {_order(s)[:12]}"
    if reason == "nothing_wanted":
        return f"nothing is ordered for it: runs {runs}"
    return f"{reason}: {detail}"


def _order(s: Standing) -> str:
    return str((s.decision or {}).get("order"))


def _verdict(decision: Mapping[str, Any] | None) -> Mapping[str, Any]:
    verdict = (decision or {}).get("verdict")
    return verdict if isinstance(verdict, dict) else {}
