"""After a boot: keep the new firmware, or go back (I/O).

Rules:

1. The verdict is local: the booted slot holds what was wanted, and every health check passes. That
   a server cannot be reached never rolls anything back.
2. Committing the slot is the one act that keeps it, disarming it the one that gives it up. What
   follows from either (counters and floors, or the record that it rolled back) is finished by the
   next run if the power goes in between.
3. Counters and floors rise here and nowhere else, and here alone a permit is spent: with the same
   write, so that none is used twice or lost, whenever the power goes.
4. A slot that fell back by itself, its tries used up, is recorded as rolled back too.
"""

from __future__ import annotations

from typing import Final

from interlock_client.contents import differing
from interlock_client.context import Context
from interlock_client.install import Standing
from interlock_client.journal import Attempt, Ended, Journal, State
from interlock_client.memory import Content
from interlock_client.outcome import NOTHING_TO_DO, Outcome
from interlock_client.probes import Verdict
from interlock_client.sealed import Checked
from interlock_client.telling import now, told
from interlock_core.errors import Exit, RefusedError, TransientError

CONFIRMED: Final = "confirmed"
ROLLED_BACK: Final = "rolled_back"
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


def settle_fallback(context: Context, journal: Journal, attempt: Attempt) -> Journal:
    """Record that the new firmware did not stay (rule 4).

    Raises:
        TransientError: the disk did not do it.
    """
    return _record_rollback(
        context,
        journal,
        attempt,
        "tries_used_up",
        f"Slot {attempt.slot} did not come up in the tries that it had.",
    )


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
    _record_rollback(context, journal, attempt, reason, detail, verdict)
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
        context.note(journal.at(State.WAITING))
        return Outcome(NOTHING_TO_DO, "nothing_to_confirm", "Nothing was armed.")
    ended = settle_fallback(context, journal, attempt).ended
    assert ended is not None
    return Outcome(ROLLED_BACK, ended.reason, ended.detail, Exit.ROLLED_BACK, _more(attempt))


def _judge(context: Context, journal: Journal, attempt: Attempt, standing: Standing) -> Outcome:
    journal = context.note(journal.at(State.CONFIRMING))
    if standing.active == attempt.slot:
        # Committed before the power went (rule 2).
        return _commit(context, journal, attempt, "committed before")
    if standing.armed != attempt.slot:
        return roll_back(
            context, journal, attempt, "interrupted_rollback", "It was being rolled back."
        )
    found = context.installer.read_back(attempt.slot, attempt.contents)
    if differing(attempt.contents, found) is not None:
        return roll_back(
            context,
            journal,
            attempt,
            "slot_mismatch",
            f"Slot {attempt.slot} does not hold what was written there.",
        )
    verdict = context.ask_health()
    if not verdict.passed:
        return roll_back(
            context,
            journal,
            attempt,
            "health_check_failed",
            f"New firmware: {verdict.detail}.",
            verdict,
        )
    return _commit(context, journal, attempt, verdict.detail, verdict)


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
        health=tuple(
            Checked(name=probe.name, passed=probe.passed)
            for probe in (verdict.probes if verdict is not None else ())
        ),
    )
    return context.note(
        journal.at(state, attempt=None, written=None, deferral=None, ended=ended, fault=None)
    )


def _more(attempt: Attempt) -> dict[str, object]:
    return {
        "order": attempt.order,
        "target": attempt.path,
        "target_sha256": attempt.sha256,
        "slot": attempt.slot,
        "permit": attempt.permit,
    }
