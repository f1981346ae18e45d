"""What a command has to say in the end (pure).

Rules:

1. One outcome, one stable reason, one sentence, one exit code (``errors.Exit``).
2. ``--json`` prints exactly this, as one object; people get one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from interlock_core.errors import Exit, InterlockError

NOTHING_TO_DO: Final = "nothing_to_do"
DEFERRED: Final = "deferred"
REFUSED: Final = "refused"
TRANSIENT: Final = "transient"
ERROR: Final = "error"
RETRY_AFTER: Final = "retry_after_seconds"
"""The field that says for how long the servers ask to be left alone."""

_BY_EXIT: Final[Mapping[Exit, str]] = {
    Exit.DONE: NOTHING_TO_DO,
    Exit.DEFERRED: DEFERRED,
    Exit.REFUSED: REFUSED,
    Exit.TRANSIENT: TRANSIENT,
    Exit.ROLLED_BACK: "rolled_back",
}


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        outcome: ``nothing_to_do``, ``deferred``, ``refused`` and so on.
        reason: a stable name in snake case.
        detail: a sentence for people.
        more: further fields for machines.
    """

    outcome: str
    reason: str
    detail: str
    exit_code: Exit = Exit.DONE
    more: Mapping[str, Any] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "detail": self.detail,
            **self.more,
        }


def of_error(error: InterlockError) -> Outcome:
    """The outcome that an error means."""
    code = error.exit_code
    wait = getattr(error, "retry_after", None)
    more = {RETRY_AFTER: wait} if wait is not None else {}
    return Outcome(_BY_EXIT.get(code, ERROR), error.reason, str(error), code, more)


def of_exit(code: Exit, reason: str, detail: str, **more: Any) -> Outcome:
    """The outcome of a refusal whose exit code is known."""
    return Outcome(_BY_EXIT[code], reason, detail, code, more)
