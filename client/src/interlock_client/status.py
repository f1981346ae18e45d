"""How this gateway stands, from what it keeps; nothing is asked of the network (I/O: reads)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from interlock_client import identity, interlock, timekeeping, why
from interlock_client.boot import Slot
from interlock_client.context import Context, running
from interlock_client.download import keeper
from interlock_client.failing import due
from interlock_client.journal import Deferral, Journal
from interlock_client.outbox import MAX_WAITING, Outbox
from interlock_client.poll import last_answer, load_seen, load_trouble
from interlock_core.errors import InterlockError, RefusedError


def status(context: Context) -> dict[str, Any]:
    """Everything that a person or a monitor wants to know, as plain values.

    Raises:
        RefusedError: ``damaged_state``.
        TransientError: something cannot be read.
    """
    settings = context.settings
    memory, journal = context.memory(tolerant=True), context.journal()
    now = context.times.decision_time(memory.clock_floor, memory.last)
    booted, slots = _slots(context)
    present = running(memory, journal, booted) if booted else None
    seen = load_seen(context.state)
    newest = context.decisions().newest()
    place = context.place(memory)
    floor = memory.order_floor(settings.product, place.cohort)
    trouble = load_trouble(context.state)
    enrolment = _enrolment(context)
    certificate = context.client_certificate(now)
    standing = why.Standing(
        now=now,
        booted=booted,
        slots=slots.get("trouble"),
        journal=journal,
        present=present,
        decision=newest,
        trouble=trouble,
        enrolment=str(enrolment["state"]) if enrolment is not None else None,
        certificate=certificate["trouble"] if certificate is not None else None,
    )
    return {
        "why": why.sentence(standing),
        "device": settings.device,
        "product": settings.product,
        "hardware": settings.hardware,
        "cohort": place.cohort,
        "configured_cohort": settings.cohort,
        "assigned": _plain(place.assigned),
        "enrolment": enrolment,
        "outbox": _outbox(context),
        "client_certificate": certificate,
        "last_poll": last_answer(context.state),
        "state": journal.state.value,
        "running": _plain(present),
        "slots": slots,
        "attempt": _plain(journal.attempt),
        "download": _download(context),
        "deferral": deferral(journal.deferral, now),
        "failing": _failing(journal, newest, now),
        "ended": _plain(journal.ended),
        "last_decision": newest and {"at": newest.get("at"), "verdict": newest.get("verdict")},
        "trouble": _plain(trouble),
        "settled_until": seen.settled.until if seen and seen.settled else None,
        "interlock": interlock.mode(settings),
        "clock_floor": memory.clock_floor,
        "clock": timekeeping.shown(memory, context.times),
        "tpm": context.guard and {"belongs_to": memory.counter, "trouble": context.guard.trouble},
        "floors": {
            "release": memory.release_floor,
            "highest_confirmed_counter": memory.highest_confirmed_counter,
            "order": floor.seq,
            "roster": memory.roster_seq,
            "metadata": memory.versions,
            "stops": len(floor.stops),
        },
        "rolled_back": [_plain(pair) for pair in memory.rolled_back],
        "spent_permits": list(memory.spent_permits),
    }


def _download(context: Context) -> dict[str, Any] | None:
    """How far the newest download is, what it has cost, and who sent wrong bytes."""
    record = keeper.load(context.state.transfer)
    if record is None:
        return None
    return {
        "sha256": record.sha256,
        "order": record.order,
        "kept": record.kept,
        "length": record.length,
        "received": record.received,
        "budget_bytes": context.settings.download.budget_bytes,
        "from_delta": record.from_delta,
        "fell_back": record.fell_back,
        "delta_stalls": record.stalls,
        "wrong_bytes_from": list(dict.fromkeys((*record.wrong, *record.wrong_delta))),
    }


def _failing(
    journal: Journal, newest: Mapping[str, Any] | None, now: datetime
) -> dict[str, Any] | None:
    """What is wanted and could not be installed here: how often in a row, and when it is tried."""
    known = journal.failures
    if known is None or newest is None or newest.get("order") != known.order:
        return None
    return {
        "order": known.order,
        "sha256": known.sha256,
        "reason": known.reason,
        "times": known.times,
        "at": known.at,
        "tried_again_from": due(known, now),
    }


def _enrolment(context: Context) -> dict[str, Any] | None:
    """The enrolment in force, and its state as it was last known."""
    try:
        known = identity.load_in_force(context.state)
    except RefusedError as e:
        return {"state": "damaged", "trouble": str(e)}
    if known is None:
        return None
    return {
        "state": known.state,
        "id": known.enrolment,
        "site": known.site,
        "cohort": known.cohort,
        "at": known.at,
    }


def _outbox(context: Context) -> dict[str, Any] | None:
    """How many reports wait, and the last that a server acknowledged."""
    home = identity.in_force(context.state)
    if home is None:
        return None
    box = Outbox(home.outbox, home.sent)
    try:
        waiting, sent = len(box.numbers()), box.sent()
    except RefusedError as e:
        return {"waiting": None, "acknowledged": None, "full": False, "trouble": str(e)}
    return {
        "waiting": waiting,
        "acknowledged": {"number": sent.number, "id": sent.id, "at": sent.at} if sent.id else None,
        "full": waiting >= MAX_WAITING,
        "trouble": None,
    }


def deferral(waiting: Deferral | None, now: datetime) -> dict[str, Any] | None:
    """Since when an installation waits, how long that is, and for what."""
    if waiting is None:
        return None
    age = max(0, int((now - waiting.since).total_seconds()))
    return {
        "since": waiting.since,
        "age_seconds": age,
        "reason": waiting.reason,
        "detail": waiting.detail,
    }


def _slots(context: Context) -> tuple[Slot | None, dict[str, Any]]:
    try:
        standing = context.installer.standing()
    except InterlockError as e:
        return None, {"booted": None, "trouble": str(e)}
    return standing.booted, {
        "booted": standing.booted,
        "active": standing.active,
        "armed": standing.armed,
        "good": list(standing.good),
    }


def _plain(value: object) -> Any:
    return None if value is None else msgspec.to_builtins(value)
