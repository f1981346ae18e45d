"""Makes the reports that are due, and sends them (I/O).

Rules:

1. A gateway that is not enrolled makes none, and updates all the same.
2. Reports are made durable where something happens: under the lock, at the end of a command and
   before a reboot. They are sent by ``report`` and ``run``, in the order of their numbers.
3. A report counts as told when a server acknowledged it. A server that refuses one keeps the rest
   from being sent: a chain has no holes.
4. With nothing due this needs no cryptography (``identity``, rule 5).
5. A report carries the checkpoint of the server's log that was shown last (``log_seen``).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock_client import __version__, identity, interlock, tell
from interlock_client.context import Context, running
from interlock_client.identity import Home, Identity
from interlock_client.outbox import Entry, Outbox, Sent
from interlock_client.outcome import NOTHING_TO_DO, Outcome
from interlock_client.poll import load_trouble
from interlock_client.tell import Due, Known
from interlock_client.timekeeping import alarms
from interlock_core.errors import (
    ConfigurationError,
    Exit,
    InterlockError,
    RefusedError,
    TransientError,
    WireError,
)

if TYPE_CHECKING:
    from interlock_client.servers import Server

REPORTED: Final = "reported"
NOT_COUNTERSIGNED: Final = "not_countersigned"

_RENEW: Final = "enrol it anew with 'interlock-client enrol --renew' and a new claim"
_ADVICE: Final = {
    "report_fork": (
        "another holder of this device's key has reported, or this gateway was restored from an "
        f"old copy. Nothing that it says is counted until then: {_RENEW}"
    ),
    "quarantined": f"nothing that it says is counted until then: {_RENEW}",
    "superseded": f"another enrolment of this device is in force: {_RENEW} if this is the device",
    "revoked": f"this gateway's key was revoked; it updates all the same: {_RENEW} if it is yours",
    "decommissioned": (
        f"this gateway was taken out of service; it updates all the same. To use it again, {_RENEW}"
    ),
    "unknown_enrolment": (
        "the server has lost the enrolment (restored from a backup?). Restore its newest backup, "
        f"or {_RENEW}"
    ),
    "report_gap": (
        "the server has lost reports that it acknowledged (restored from a backup?); nothing was "
        f"removed here. Restore its newest backup, or {_RENEW}"
    ),
}
_STATES: Final = {
    NOT_COUNTERSIGNED: "waiting",
    "report_fork": "quarantined",
    "quarantined": "quarantined",
    "superseded": "superseded",
    "revoked": "revoked",
    "decommissioned": "decommissioned",
}
"""What a refusal says about the enrolment."""


def make_due(context: Context, *, only_ends: bool = False) -> int:
    """Make the reports that are due, durable; return how many (rules 1, 2, 4).

    Args:
        context: the gateway, locked.
        only_ends: nothing but an attempt that ended and was not told.

    Raises:
        RefusedError: ``damaged_state``.
        TransientError: the disk did not do it; what was made before stands.
    """
    home = identity.in_force(context.state)
    if home is None:
        return 0
    box = box_of(home)
    last, waiting = box.tip()
    memory = context.memory(tolerant=True)
    now = context.times.decision_time(memory.clock_floor, memory.last)
    interval = timedelta(seconds=context.settings.report_interval_seconds)
    items = tell.due(_known(context), last, now, interval, waiting)
    if only_ends:
        items = [item for item in items if item.ended != last.ended][:1]
    if items:
        from interlock_client import log_seen  # noqa: PLC0415  # rule 4

        mine = identity.load_in_force(context.state)
        assert mine is not None
        seen = log_seen.load(context.state)
        for item in items:
            last = _add(box, home, mine, item, last, now, seen.text if seen else None)
    return len(items)


def box_of(home: Home) -> Outbox:
    """The outbox of an enrolment."""
    return Outbox(home.outbox, home.sent)


def report(context: Context) -> Outcome:
    """Make what is due, and send everything.

    Raises:
        RefusedError: ``damaged_state``, ``report_gap``, ``report_fork``, or as the server says.
        TransientError: ``network``, ``not_countersigned``, or the disk; what was sent is done.
    """
    with context.state.lock():
        if identity.unfinished(context.state) is not None:
            from interlock_client import rotation  # noqa: PLC0415  # rule 4

            rotation.finish(context)
        made = make_due(context)
        return send(context, made)


def send(context: Context, made: int = 0) -> Outcome:
    """Send what waits, in order (rule 3).

    Args:
        context: the gateway, locked.
        made: how many reports were made just now, to be said.

    Raises:
        As ``report``.
    """
    home = identity.in_force(context.state)
    if home is None:
        return Outcome(
            NOTHING_TO_DO,
            "not_enrolled",
            "This gateway is not enrolled, so it makes no reports: 'interlock-client enrol'.",
        )
    box = box_of(home)
    sent = 0
    server: Server | None = None
    for entry in box.entries():
        server = _send(context, home, entry)
        box.acknowledge(entry)
        sent += 1
    last = box.sent()
    more: dict[str, Any] = {"made": made, "sent": sent, "waiting": 0, "last": last.number}
    if server is None:
        detail = f"Everything is told: the last report is {last.number}."
        return Outcome(NOTHING_TO_DO, "nothing_to_report", detail, Exit.DONE, more)
    from interlock_client import log_seen  # noqa: PLC0415  # rule 4

    fault = log_seen.look(server, context.settings.fleet, context.state)
    if fault is not None:
        more["checkpoint_fault"] = fault
    detail = f"{sent} sent, the last is {last.number}."
    return Outcome(REPORTED, "acknowledged", detail, Exit.DONE, more)


def _send(context: Context, home: Home, entry: Entry) -> Server:
    """Send one report; returns the server that acknowledged it."""
    from interlock_client.api import call  # noqa: PLC0415  # rule 4
    from interlock_core.api import Received  # noqa: PLC0415  # as above

    try:
        answered = call(context.servers, "POST", "/v1/reports", Received, entry.envelope.encode())
    except RefusedError as e:
        raise _refused(home, entry, e) from e
    received = answered.said
    if (received.id, received.number) != (entry.id, entry.number):
        raise TransientError(
            f"{answered.server.url} acknowledged report {received.number} instead of "
            f"{entry.number}: nothing was removed.",
            reason="wrong_answer",
        )
    _note_state(home, "countersigned")
    return answered.server


def _refused(home: Home, entry: Entry, error: RefusedError) -> InterlockError:
    state = _STATES.get(error.reason)
    if state is not None:
        _note_state(home, state)
    if error.reason == NOT_COUNTERSIGNED:
        return TransientError(
            f"Nobody has countersigned this gateway's enrolment yet: an operator or an engineer "
            f"of the site does that. Report {entry.number} waits.",
            reason=NOT_COUNTERSIGNED,
        )
    advice = _ADVICE.get(error.reason)
    detail = f"{error} {advice[:1].upper()}{advice[1:]}." if advice else str(error)
    return RefusedError(f"Report {entry.number} was refused: {detail}", reason=error.reason)


def _note_state(home: Home, state: str) -> None:
    known = identity.load(home)
    if known.state != state:
        identity.save(home, msgspec.structs.replace(known, state=state))


def _known(context: Context) -> Known:
    memory, journal = context.memory(tolerant=True), context.journal()
    times = context.times
    try:
        slot = context.installer.booted()
    except ConfigurationError:
        slot = None
    try:
        decision = context.decisions().newest()
    except WireError:
        # It is evidence for people; that it is damaged is no reason to be silent.
        decision = None
    return Known(
        client=__version__,
        cohort=context.place(memory).cohort,
        journal=journal,
        slot=slot,
        present=running(memory, journal, slot) if slot is not None else None,
        decision=decision,
        trouble=load_trouble(context.state),
        mode=interlock.mode(context.settings),
        answered=memory.interlock,
        alarms=alarms(memory, times, times.decision_time(memory.clock_floor, memory.last)),
    )


def _add(
    box: Outbox,
    home: Home,
    mine: Identity,
    item: Due,
    last: Sent,
    now: datetime,
    checkpoint: str | None,
) -> Sent:
    """Sign one report and keep it until it is acknowledged; what it told is the last then."""
    from interlock_core.report import Report  # noqa: PLC0415  # rule 4
    from interlock_core.statement import open_as, sign  # noqa: PLC0415  # as above
    from interlock_core.wire import convert, encode  # noqa: PLC0415  # as above

    fields: dict[str, Any] = {key: item.told[key] for key in item.told if key != "client"}
    fields |= {
        "fleet": mine.fleet,
        "author": mine.device,
        "at": now,
        "reason": item.why,
        "checkpoint": checkpoint,
        "enrolment": mine.enrolment,
        "number": last.number + 1,
        "previous": last.id,
        "versions": _versions(),
    }
    said = convert(msgspec.to_builtins(fields), Report, what="report")
    envelope = sign(said, identity.signer(home))
    entry = Entry(
        number=said.number,
        id=open_as(envelope, Report).id,
        at=now,
        told=item.told,
        ended=item.ended,
        envelope=encode(envelope).decode(),
    )
    box.add(entry)
    return entry.sent()


@cache
def _versions() -> dict[str, str]:
    import platform  # noqa: PLC0415  # rule 4
    from importlib.metadata import version  # noqa: PLC0415  # as above

    names = ("tuf", "securesystemslib", "cryptography")
    return {
        "client": __version__,
        "python": platform.python_version(),
        **{name: version(name)[: tell.MAX_DETAIL] for name in names},
    }
