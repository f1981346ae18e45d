"""Makes reports of what a command does, as it does it (I/O).

Rules:

1. Reports are made durable under the lock, at the end of a command and before a reboot; they are
   sent later (``reporting``).
2. That one could not be made never stops an update: it is said, and made good by the next command.
3. A gateway that is not enrolled pays nothing for this.
"""

from __future__ import annotations

from collections.abc import Callable

from interlock_client.context import Context
from interlock_client.outcome import Outcome
from interlock_core.errors import InterlockError


def told(context: Context, act: Callable[[], Outcome], *, ends: bool = True) -> Outcome:
    """Do ``act``, and make the reports that follow from it.

    Args:
        context: the gateway, locked.
        act: what a command does.
        ends: whether ``act`` may end an attempt: one that ended before and was not told is told
            first, or it would be forgotten.

    Raises:
        InterlockError: as ``act`` does; what happened until then is told.
    """
    fault = now(context, only_ends=True) if ends else None
    try:
        outcome = act()
    except InterlockError:
        now(context)
        raise
    fault = now(context) or fault
    if fault is None:
        return outcome
    more = {**outcome.more, "report_fault": fault}
    return Outcome(outcome.outcome, outcome.reason, outcome.detail, outcome.exit_code, more)


def now(context: Context, *, only_ends: bool = False) -> str | None:
    """Make what is due; the reason why it could not be made, or None (rule 2).

    Args:
        context: the gateway, locked.
        only_ends: nothing but an attempt that ended and was not told.
    """
    if not context.enrolled:
        return None
    from interlock_client.reporting import make_due  # noqa: PLC0415  # rule 3

    try:
        make_due(context, only_ends=only_ends)
    except InterlockError as e:
        return e.reason
    return None
