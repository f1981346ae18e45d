"""Why, rule by rule (I/O: decides afresh, or shows the last decision)."""

from __future__ import annotations

from typing import Any

import msgspec

from interlock_client import interlock
from interlock_client.contents import digests
from interlock_client.context import Context
from interlock_client.outcome import Outcome
from interlock_client.status import deferral
from interlock_core.errors import Exit, NotFoundError


def explain(context: Context) -> Outcome:
    """Decide now, as if to install, and tell the outcome of every rule that ran.

    The clinical interlock is asked; nothing is downloaded or installed. An image that waits in
    the inactive slot counts as it was hashed when it was written; where another one is wanted by
    now, it is asked whether that may be downloaded.

    Raises:
        InterlockError: of the family that says what to do.
    """
    from interlock_client.judge import again, judge  # noqa: PLC0415  # as above
    from interlock_core.facts import Phase  # noqa: PLC0415  # not needed to show the last one

    with context.state.lock():
        journal = context.journal()
        held = digests(journal.written.contents) if journal.written else {}
        phase = Phase.INSTALL if held else Phase.DOWNLOAD
        judgement = judge(context, context.poll(), phase, slots=held, ask=bool(held))
        wanted = judgement.decision.wanted
        if journal.written and wanted and wanted.sha256 != journal.written.sha256:
            phase = Phase.DOWNLOAD
            judgement = again(context, judgement.believed, judgement.memory, phase)
    place = context.place(judgement.memory)
    outcome = judgement.refusal() or Outcome(
        "update_available", "granted", f"The {phase.value} is granted.", Exit.DONE, judgement.more()
    )
    more: dict[str, Any] = {
        "phase": phase.value,
        "checks": [
            {"rule": item.rule, "passed": item.passed, "detail": item.detail}
            for item in judgement.decision.checks
        ],
        "deferral": deferral(journal.deferral, judgement.at),
        "interlock": interlock.mode(context.settings),
        "cohort": place.cohort,
        "configured_cohort": context.settings.cohort,
        "assigned": None if place.assigned is None else msgspec.to_builtins(place.assigned),
    }
    return Outcome(
        outcome.outcome,
        outcome.reason,
        outcome.detail,
        outcome.exit_code,
        {**outcome.more, **more},
    )


def last(context: Context) -> dict[str, Any]:
    """The last decision, as it was recorded; nothing is asked of the network.

    Raises:
        NotFoundError: nothing was decided yet.
        WireError: the record is damaged.
        TransientError: it cannot be read.
    """
    newest = context.decisions().newest()
    if newest is None:
        raise NotFoundError("Nothing was decided here yet: run 'interlock-client check'.")
    return newest
