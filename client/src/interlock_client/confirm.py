"""After a boot: keep the new firmware, or go back (I/O).

Rules:

1. The verdict is local: the booted slot holds what was wanted, and every health check passes. That
   a server cannot be reached never rolls anything back. Advisory checks are only told.
2. Committing the slot is the one act that keeps it, disarming it the one that gives it up. What
   follows from either (counters and floors, or the record that it rolled back) is finished by the
   next run if the power goes in between, or if it cannot be kept. That never holds a rollback up.
3. Counters and floors rise here and nowhere else, and here alone a permit is spent: with the same
   write, so that none is used twice or lost, whenever the power goes.
4. A slot that fell back by itself, its tries used up, is recorded as rolled back too.
5. Where no check says no and one cannot tell (``health_unknown``), nothing is decided: the slot
   stays armed, no try is used up, and it is asked again. What runs is signed and has booted, but
   the old firmware is known to be good, and a gateway whose own network driver is broken cannot
   tell either: after ``patience_seconds`` in one boot it goes back, as for a failed check.
   Patience begins anew in each boot, and boots are counted durably before anything is asked: with
   as many as there are tries it is over, whether the boot loader counts them or not. Where nobody
   could tell in any of them, that is the reason, and not a bad image.
6. A reboot that comes later than the first answer is no part of the installation any more: then the
   clinical interlock is asked first, and never forced. Until it is clear, the checks are asked on,
   and any that pass meanwhile confirm the firmware.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from interlock_client.contents import differing
from interlock_client.context import Context
from interlock_client.failing import NOT_BOOTED, counting
from interlock_client.install import Standing
from interlock_client.journal import Attempt, Ended, Journal, Judging, State, Undecided
from interlock_client.memory import Content
from interlock_client.outcome import NOTHING_TO_DO, TRANSIENT, Outcome
from interlock_client.probes import Probe, Verdict
from interlock_client.sealed import Checked
from interlock_client.state import exclusive
from interlock_client.telling import now, told
from interlock_core.errors import Exit, RefusedError, TransientError

CONFIRMED: Final = "confirmed"
HEALTH_UNKNOWN: Final = "health_unknown"
ROLLED_BACK: Final = "rolled_back"
TRIES_USED_UP: Final = "tries_used_up"
PENDING: Final = frozenset({State.REBOOTING, State.CONFIRMING})


def confirm(context: Context) -> Outcome:
    """Judge the firmware that booted.

    Raises:
        RefusedError: ``unexpected_slot``, ``damaged_state``.
        TransientError: ``reboot_pending``, ``busy``, or the disk.
        ConfigurationError: ``booted_unknown``.
    """
    with context.state.lock():
        return told(context, lambda: _confirm(context))


def fell_back(journal: Journal, attempt: Attempt, standing: Standing) -> bool:
    """Whether the old slot runs because the new one was given up (rules 2 and 4)."""
    return journal.state is State.CONFIRMING or standing.fell_back == attempt.slot


def unexpected_slot(attempt: Attempt, standing: Standing) -> RefusedError:
    """The committed slot is not the one that runs."""
    return RefusedError(
        f"Slot {attempt.slot} is committed, and slot {standing.booted} runs: boot the committed "
        "slot.",
        reason="unexpected_slot",
    )


def settle_not_booted(context: Context, journal: Journal, attempt: Attempt) -> Journal:
    """Wait again, unarmed: the reboot was noted, and the old firmware runs on (``failing``).

    The power may have gone before it was armed, which happens once. A boot loader that does not
    boot what is armed, or does not say that it fell back, would do it at every poll.

    Raises:
        TransientError: the disk did not do it.
    """
    memory = context.memory(tolerant=True)
    at = context.times.decision_time(memory.clock_floor, memory.last)
    error = TransientError(
        f"{attempt.path} was to boot in slot {attempt.slot}, and the old firmware runs on.",
        reason=NOT_BOOTED,
    )
    failures = counting(journal.failures, attempt, error, at)
    again = failures is not None and failures.times > 1
    return context.note(
        journal.at(State.WAITING, failures=failures, fault=NOT_BOOTED if again else None)
    )


def settle_fallback(context: Context, journal: Journal, attempt: Attempt) -> Journal:
    """Record that the new firmware did not stay (rules 4 and 5).

    Raises:
        TransientError: the disk did not do it.
    """
    tries, boots = context.settings.installer.tries, 0
    if journal.state is State.CONFIRMING and journal.judging is not None:
        boots = journal.judging.boots
    reason, detail = _used_up(journal, attempt, boots if boots >= tries else None)
    return _record_rollback(context, journal, attempt, reason, detail)


def roll_back(
    context: Context,
    journal: Journal,
    attempt: Attempt,
    reason: str,
    detail: str,
    verdict: Verdict | None = None,
) -> Outcome:
    """Give up new firmware that was not committed, and boot the old one.

    Raises:
        TransientError: the disk did not do it.
    """
    context.installer.disarm()
    try:
        _record_rollback(context, journal, attempt, reason, detail, verdict)
    except (RefusedError, TransientError) as e:
        # What is known to be bad does not run on for that: the old firmware records it (rule 2).
        detail = f"{detail} It is not recorded yet: {e}"
    now(context)
    try:
        with context.uninterrupted():
            context.reboot()
    except TransientError as e:
        detail = f"{detail} {e} The old firmware runs after the next boot."
    return Outcome(ROLLED_BACK, reason, detail, Exit.ROLLED_BACK, _more(attempt))


def _confirm(context: Context) -> Outcome:
    journal = context.journal()
    standing = context.installer.standing()
    attempt = journal.attempt
    if journal.state not in PENDING or attempt is None:
        return _at_rest(standing)
    if standing.booted == attempt.slot:
        return _judge(context, journal, attempt, standing)
    return _booted_the_old(context, journal, attempt, standing)


def _at_rest(standing: Standing) -> Outcome:
    if standing.booted == standing.active:
        return Outcome(NOTHING_TO_DO, "nothing_to_confirm", "Nothing waits to be confirmed.")
    if standing.armed == standing.booted:
        raise RefusedError(
            f"Slot {standing.booted} runs and was never committed, and the journal knows nothing "
            "of it: the machine falls back when its tries are used up.",
            reason="unexpected_slot",
        )
    raise TransientError(
        f"Slot {standing.active} is to boot and {standing.booted} still runs: reboot.",
        reason="reboot_pending",
    )


def _booted_the_old(
    context: Context, journal: Journal, attempt: Attempt, standing: Standing
) -> Outcome:
    if standing.active == attempt.slot:
        raise unexpected_slot(attempt, standing)
    if standing.armed == attempt.slot:
        raise TransientError(
            f"Slot {attempt.slot} is armed and {standing.booted} still runs: reboot.",
            reason="reboot_pending",
        )
    if not fell_back(journal, attempt, standing):
        # Cut off before it was armed: the next update goes on.
        settle_not_booted(context, journal, attempt)
        return Outcome(NOTHING_TO_DO, "nothing_to_confirm", "Nothing was armed.")
    ended = settle_fallback(context, journal, attempt).ended
    assert ended is not None
    return Outcome(ROLLED_BACK, ended.reason, ended.detail, Exit.ROLLED_BACK, _more(attempt))


def _judge(context: Context, journal: Journal, attempt: Attempt, standing: Standing) -> Outcome:
    fault: TransientError | None = None
    judging = _judging(context, journal)
    if judging != journal.judging:
        try:
            journal = context.note(journal.at(State.CONFIRMING, judging=judging))
        except TransientError as e:
            # What is bad is given up all the same; nothing is kept that cannot be recorded.
            fault = e
    if standing.active == attempt.slot:
        if fault is not None:
            raise fault
        # Committed before the power went (rule 2).
        return _commit(context, journal, attempt, "committed before")
    if standing.armed != attempt.slot:
        return roll_back(
            context, journal, attempt, "interrupted_rollback", "It was being rolled back."
        )
    if judging.boots > context.settings.installer.tries:
        # The boot loader does not count. One of these boots may have ended amid the checks, by a
        # watchdog, so nothing is asked.
        return roll_back(context, journal, attempt, *_used_up(journal, attempt, judging.boots - 1))
    # Once in each boot: while nobody can tell, it is asked every minute.
    waits = journal.undecided is not None and _this_boot(context, journal.undecided)
    found = {} if waits else context.installer.read_back(attempt.slot, attempt.contents)
    if not waits and differing(attempt.contents, found) is not None:
        return roll_back(
            context,
            journal,
            attempt,
            "slot_mismatch",
            f"Slot {attempt.slot} does not hold what was written there.",
        )
    verdict = context.ask_health()
    if fault is not None and (verdict.passed or verdict.unknown):
        raise fault
    if verdict.passed:
        return _commit(context, journal, attempt, verdict.detail, verdict)
    if verdict.unknown:
        return _undecided(context, journal, attempt, verdict)
    failed = "health_check_failed", f"New firmware: {verdict.detail}."
    if waits:
        return _when_safe(context, journal, attempt, *failed, verdict)
    return roll_back(context, journal, attempt, *failed, verdict)


def _judging(context: Context, journal: Journal) -> Judging:
    """In which boot in a row of the same attempt it is judged now (rule 5)."""
    known = journal.judging if journal.state is State.CONFIRMING else None
    if known is not None and _this_boot(context, known):
        return known
    return Judging(
        boots=1 + (known.boots if known is not None else 0),
        boot_id=context.times.boot_id(),
        monotonic_seconds=int(context.times.monotonic()),
    )


def _this_boot(context: Context, known: Judging | Undecided) -> bool:
    # Where the kernel does not name its boots, a clock that went back tells them apart.
    times = context.times
    return known.boot_id == times.boot_id() and known.monotonic_seconds <= int(times.monotonic())


def _used_up(journal: Journal, attempt: Attempt, boots: int | None) -> tuple[str, str]:
    """Why it is given up without an answer, and that in words (rule 5).

    Args:
        journal: as it stands.
        attempt: what is given up.
        boots: in how many boots it was judged, if that was in each that it had; None otherwise.
    """
    if boots is None:
        return TRIES_USED_UP, f"Slot {attempt.slot} did not come up in the tries that it had."
    if journal.undecided is None or journal.undecided.boots < boots:
        return (
            TRIES_USED_UP,
            f"Slot {attempt.slot} was booted {boots} times, and no answer came of its checks.",
        )
    detail = (
        f"Slot {attempt.slot} was booted {boots} times, and nobody could tell whether "
        f"{attempt.path} is well: {journal.undecided.detail}."
    )
    return HEALTH_UNKNOWN, detail


def _undecided(context: Context, journal: Journal, attempt: Attempt, verdict: Verdict) -> Outcome:
    """Nobody can tell yet (rule 5)."""
    health, times = context.settings.health, context.times
    assert health != "none", "then nobody is asked"
    memory = context.memory(tolerant=True)
    present = Undecided(
        since=times.decision_time(memory.clock_floor, memory.last),
        boot_id=times.boot_id(),
        monotonic_seconds=int(times.monotonic()),
        detail=verdict.detail,
    )
    first = journal.undecided
    if first is not None and _this_boot(context, first):
        present = msgspec.structs.replace(first, detail=verdict.detail)
    elif first is not None:
        present = msgspec.structs.replace(present, boots=first.boots + 1)
    if present != first:
        journal = context.note(journal.at(State.CONFIRMING, undecided=present))
    left = health.patience_seconds - (int(times.monotonic()) - present.monotonic_seconds)
    detail = f"Nobody can tell whether {attempt.path} is well: {verdict.detail}."
    if left <= 0:
        return _when_safe(context, journal, attempt, HEALTH_UNKNOWN, detail, verdict)
    detail = f"{detail} It is asked again; after {left} s the old firmware is booted."
    more = {**_more(attempt), "since": present.since, "seconds_left": left}
    return Outcome(TRANSIENT, HEALTH_UNKNOWN, detail, Exit.TRANSIENT, more)


def _when_safe(
    context: Context,
    journal: Journal,
    attempt: Attempt,
    reason: str,
    detail: str,
    verdict: Verdict,
) -> Outcome:
    """Go back if the clinical interlock says that now is safe (rule 6)."""
    try:
        with exclusive(context.settings.lease, "Clinical software holds the lease", mode=0o644):
            answer = context.ask_interlock()
            if answer.passed:
                return roll_back(context, journal, attempt, reason, detail, verdict)
            why = f"{answer.detail}."
    except TransientError as e:
        if e.reason != "busy":
            raise
        why = str(e)
    more = {**_more(attempt), "seconds_left": 0, "failed": reason}
    detail = f"{detail} The old firmware is booted as soon as now is safe: {why}"
    return Outcome(TRANSIENT, HEALTH_UNKNOWN, detail, Exit.TRANSIENT, more)


def _commit(
    context: Context,
    journal: Journal,
    attempt: Attempt,
    why: str,
    verdict: Verdict | None = None,
) -> Outcome:
    context.installer.commit(attempt.slot)
    memory = context.memory(tolerant=True)
    content = Content(
        length=attempt.length,
        sha256=attempt.sha256,
        slots=attempt.slots,
        path=attempt.path,
        version=attempt.version,
        counter=attempt.counter,
        order=attempt.order,
    )
    context.remember(
        memory.confirming(
            attempt.slot,
            content,
            raises_floor_to=attempt.raises_floor_to,
            permit=attempt.permit,
        )
    )
    by = f", by permit {attempt.permit[:12]}, which is spent" if attempt.permit else ""
    detail = f"{attempt.path} is confirmed in slot {attempt.slot} ({why}){by}."
    _end(context, journal, attempt, State.CONFIRMED, "healthy", detail, verdict)
    return Outcome(CONFIRMED, "healthy", detail, Exit.DONE, _more(attempt))


def _record_rollback(
    context: Context,
    journal: Journal,
    attempt: Attempt,
    reason: str,
    detail: str,
    verdict: Verdict | None = None,
) -> Journal:
    context.remember(
        context.memory(tolerant=True).having_rolled_back(attempt.order, attempt.sha256)
    )
    return _end(context, journal, attempt, State.ROLLED_BACK, reason, detail, verdict)


def _end(
    context: Context,
    journal: Journal,
    attempt: Attempt,
    state: State,
    reason: str,
    detail: str,
    verdict: Verdict | None,
) -> Journal:
    memory = context.memory(tolerant=True)
    ended = Ended(
        outcome=state.value,
        reason=reason,
        detail=detail,
        order=attempt.order,
        sha256=attempt.sha256,
        at=context.times.decision_time(memory.clock_floor, memory.last),
        permit=attempt.permit,
        health=_checked(verdict.probes if verdict is not None else ()),
        advisory=_checked(context.ask_advice() if state is State.CONFIRMED else ()),
    )
    gone = ("attempt", "written", "deferral", "failures", "fault", "undecided", "judging")
    return context.note(journal.at(state, ended=ended, **dict.fromkeys(gone)))


def _checked(probes: Iterable[Probe]) -> tuple[Checked, ...]:
    return tuple(Checked(name=probe.name, passed=probe.passed) for probe in probes)


def _more(attempt: Attempt) -> dict[str, object]:
    return {
        "order": attempt.order,
        "target": attempt.path,
        "target_sha256": attempt.sha256,
        "slot": attempt.slot,
        "permit": attempt.permit,
    }
