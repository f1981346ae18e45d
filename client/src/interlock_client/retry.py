"""A person lets a version be tried again that rolled back or could not be installed here (I/O).

Rules:

1. Only what rolled back here is forgiven, by its order and digest, and that it failed to be
   installed (``failing``): everything else that an order must meet is asked as before, at the next
   update.
2. Who, when and why is kept beside the decisions before it is forgiven.
"""

from __future__ import annotations

from typing import Final

import msgspec

from interlock_client import local_acts
from interlock_client.context import Context
from interlock_client.memory import Memory, RolledBack
from interlock_client.outcome import NOTHING_TO_DO, Outcome
from interlock_core.errors import ConfigurationError, Exit

RETRY: Final = "retry"
MIN_PREFIX: Final = 8


def retry(context: Context, reason: str, order: str | None = None) -> Outcome:
    """Let it be tried again.

    Args:
        context: the gateway.
        reason: as ``local_acts.check_reason`` returns it.
        order: the beginning of an order's id, at least 8 letters; None for what was refused last.

    Raises:
        ConfigurationError: too short, or more than one order begins so.
        RefusedError: ``damaged_state``.
        TransientError: ``busy``, ``tpm``, or the disk.
        WireError: the newest decision is damaged.
    """
    if order is not None and len(order) < MIN_PREFIX:
        raise ConfigurationError(f"Name at least {MIN_PREFIX} letters of the order.")
    with context.state.lock():
        memory = context.memory()
        failing = _failing(context, order or "")
        if order is None:
            wanted = _wanted(context)
            pairs = [pair for pair in (*memory.rolled_back, *failing) if pair == wanted]
        else:
            pairs = [*_begins(memory, order), *failing]
        pairs = list(dict.fromkeys(pairs))
        if not pairs:
            return Outcome(
                NOTHING_TO_DO,
                "nothing_to_retry",
                "Nothing that rolled back or failed here is wanted: 'interlock-client status "
                "--json' lists what did.",
            )
        if len({pair.order for pair in pairs}) > 1:
            raise ConfigurationError("More than one order begins so: name more of it.")
        now = context.times.decision_time(memory.clock_floor, memory.last)
        changed = {"forgiven": [{"order": p.order, "sha256": p.sha256} for p in pairs]}
        local_acts.record(context, now, RETRY, reason, changed)
        context.remember(memory.forgiving(pairs))
        journal = context.journal()
        if any(pair in pairs for pair in failing):
            context.note(msgspec.structs.replace(journal, failures=None))
    return Outcome(
        RETRY,
        "by_hand",
        f"What order {pairs[0].order[:12]} wants may be tried again, at the next update.",
        Exit.DONE,
        {"order": pairs[0].order, "target_sha256": [pair.sha256 for pair in pairs]},
    )


def _wanted(context: Context) -> RolledBack | None:
    """What the last decision was about."""
    newest = context.decisions().newest() or {}
    order, wanted = newest.get("order"), newest.get("wanted") or {}
    return None if not order else RolledBack(order=order, sha256=wanted.get("sha256", ""))


def _failing(context: Context, order: str) -> list[RolledBack]:
    """What could not be installed here under an order that begins so."""
    failures = context.journal().failures
    if failures is None or not failures.order.startswith(order):
        return []
    return [RolledBack(order=failures.order, sha256=failures.sha256)]


def _begins(memory: Memory, order: str) -> list[RolledBack]:
    return [pair for pair in memory.rolled_back if pair.order.startswith(order)]
