"""A person goes back to the firmware before (I/O).

Rules:

1. The other slot must hold something that was committed, unchanged, and not below the release
   floor.
2. The clinical interlock is asked, and never forced.
3. What is given up is not installed again under its order.
4. A TPM that does not answer leaves open whether the memory is the newest, so it is not gone back
   then; but a person who says why may (``without_tpm``), and that is kept beside the decisions.
   Everything else is asked as before. A TPM that answers is always believed.
"""

from __future__ import annotations

from typing import Final

from interlock_client import boot, local_acts
from interlock_client.confirm import PENDING, roll_back
from interlock_client.contents import differing
from interlock_client.context import Context
from interlock_client.install import Standing
from interlock_client.journal import Ended, State
from interlock_client.lease import Lease, taken
from interlock_client.memory import Content, Memory
from interlock_client.outcome import DEFERRED, Outcome
from interlock_client.telling import now, told
from interlock_core.errors import Exit, RefusedError, TransientError

ROLLING_BACK: Final = "rolling_back"


def rollback(context: Context, *, without_tpm: str | None = None) -> Outcome:
    """Boot the other slot from now on, and reboot.

    Args:
        context: the gateway.
        without_tpm: why it is gone back though the TPM does not answer (rule 4), as
            ``local_acts.check_reason`` returns it.

    Raises:
        RefusedError: ``nothing_good``, ``slot_mismatch``, ``below_floor``, ``damaged_state``.
        TransientError: ``busy``, ``tpm``, ``reboot_failed``, ``reboot_pending``, or the disk.
        ConfigurationError: ``booted_unknown``.
    """
    with context.state.lock():
        return told(context, lambda: _alone(context, without_tpm))


def _alone(context: Context, without_tpm: str | None) -> Outcome:
    try:
        seconds, monotonic = context.settings.last_moment_timeout_seconds, context.times.monotonic
        with taken(context.settings.lease, seconds, monotonic) as lease:
            return _rollback(context, lease, without_tpm)
    except TransientError as e:
        if e.reason != "busy":
            raise
        return Outcome(DEFERRED, "interlock_not_clear", str(e), Exit.DEFERRED)


def _rollback(context: Context, lease: Lease, without_tpm: str | None) -> Outcome:
    verdict = context.ask_interlock()
    if not verdict.passed:
        return Outcome(DEFERRED, "interlock_not_clear", f"{verdict.detail}.", Exit.DEFERRED)
    standing = context.installer.standing()
    journal = context.journal()
    attempt = journal.attempt
    if journal.state in PENDING and attempt is not None and standing.booted == attempt.slot:
        # New firmware that nobody confirmed yet: giving it up is all there is to do.
        if standing.active == attempt.slot:
            raise TransientError(
                "The new firmware is committed already: run 'interlock-client confirm', then "
                "roll back.",
                reason="confirm_pending",
            )
        journal = context.note(journal.at(State.CONFIRMING))
        given_up = roll_back(context, journal, attempt, "by_hand", "A person rolled it back.")
        return Outcome(ROLLING_BACK, "by_hand", given_up.detail, Exit.DONE, given_up.more)
    if standing.booted != standing.active:
        raise TransientError(
            f"Slot {standing.active} is to boot and {standing.booted} still runs: reboot.",
            reason="reboot_pending",
        )
    memory = _memory(context, without_tpm)
    _check_other(context, standing, memory, lease)
    _record(context, standing, memory, without_tpm)
    lease.keep()
    present = memory.slots.get(standing.booted)
    if present is not None and present.order is not None:
        context.remember(memory.having_rolled_back(present.order, present.sha256))
    context.installer.abandon(standing.booted)
    ended = _by_hand(context, memory, present) or journal.ended
    context.note(
        journal.at(State.ROLLED_BACK, attempt=None, written=None, deferral=None, ended=ended)
    )
    now(context)
    context.reboot()
    other = boot.other(standing.booted)
    return Outcome(ROLLING_BACK, "by_hand", f"Slot {other} boots from now on.")


def _memory(context: Context, without_tpm: str | None) -> Memory:
    """What the other slot is judged by (rule 4)."""
    try:
        return context.memory(tolerant=without_tpm is not None)
    except TransientError as e:
        if e.reason != "tpm":
            raise
        raise TransientError(
            f"{e} To go back all the same to what was confirmed here before: 'interlock-client "
            "rollback --without-tpm --reason TEXT'.",
            reason="tpm",
        ) from e


def _record(context: Context, standing: Standing, memory: Memory, without_tpm: str | None) -> None:
    """Keep that a person did without the TPM, if so it is (rule 4)."""
    trouble = context.guard.trouble if context.guard is not None else None
    if without_tpm is None or trouble is None:
        return
    other = boot.other(standing.booted)
    local_acts.record(
        context,
        context.times.decision_time(memory.clock_floor, memory.last),
        "rollback_without_tpm",
        without_tpm,
        {
            "slot": {"from": standing.booted, "to": other},
            "goes_back_to": memory.slots[other],
            "release_floor": memory.release_floor,
            "tpm": trouble,
        },
    )


def _by_hand(context: Context, memory: Memory, present: Content | None) -> Ended | None:
    """How what was given up has ended, if it was installed by an order."""
    if present is None or present.order is None:
        return None
    return Ended(
        outcome=State.ROLLED_BACK.value,
        reason="by_hand",
        detail="A person rolled it back.",
        order=present.order,
        sha256=present.sha256,
        at=context.times.decision_time(memory.clock_floor, memory.last),
    )


def _check_other(context: Context, standing: Standing, memory: Memory, lease: Lease) -> None:
    other = boot.other(standing.booted)
    content = memory.slots.get(other)
    if other not in standing.good or content is None:
        raise RefusedError(
            f"Slot {other} holds nothing that was confirmed: there is nothing to go back to.",
            reason="nothing_good",
        )
    if content.counter < memory.release_floor:
        raise RefusedError(
            f"Slot {other} holds release counter {content.counter}, below the floor "
            f"{memory.release_floor}: it may not run again.",
            reason="below_floor",
        )
    found = context.installer.read_back(other, content.contents, lease)
    if differing(content.contents, found) is not None:
        raise RefusedError(
            f"Slot {other} does not hold what was confirmed there: nothing was changed.",
            reason="slot_mismatch",
        )
