"""A person goes back to the firmware before (I/O).

Rules:

1. The other slot must hold something that was committed, unchanged, and not below the release
   floor.
2. The clinical interlock is asked, and never forced.
3. What is given up is not installed again under its order.
"""

from __future__ import annotations

from typing import Final

from interlock_client import boot
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


def rollback(context: Context) -> Outcome:
    """Boot the other slot from now on, and reboot.

    Raises:
        RefusedError: ``nothing_good``, ``slot_mismatch``, ``below_floor``.
        TransientError: ``busy``, ``reboot_failed``, ``reboot_pending``, or the disk.
        ConfigurationError: ``booted_unknown``.
    """
    with context.state.lock():
        return told(context, lambda: _alone(context))


def _alone(context: Context) -> Outcome:
    try:
        seconds, monotonic = context.settings.last_moment_timeout_seconds, context.times.monotonic
        with taken(context.settings.lease, seconds, monotonic) as lease:
            return _rollback(context, lease)
    except TransientError as e:
        if e.reason != "busy":
            raise
        return Outcome(DEFERRED, "interlock_not_clear", str(e), Exit.DEFERRED)


def _rollback(context: Context, lease: Lease) -> Outcome:
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
    memory = context.memory()
    _check_other(context, standing, memory, lease)
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
