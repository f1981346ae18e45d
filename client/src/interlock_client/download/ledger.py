"""What a run has at hand of its record, and what it may still spend (I/O: writes the record)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interlock_client.download import keeper
from interlock_client.download.record import Record
from interlock_core.errors import TransientError


class OverBudgetError(TransientError):
    """``over_budget``: going on would cost more than the order's image may."""

    def __init__(self, needed: int, record: Record, budget: int) -> None:
        fell = f" (the delta cannot be used: {record.fell_back})" if record.fell_back else ""
        liars = dict.fromkeys((*record.wrong, *record.wrong_delta))
        wrong = f", some on wrong bytes from {', '.join(liars)}" if liars else ""
        super().__init__(
            f"{needed} bytes are still to be fetched{fell}, and {record.received} of the {budget} "
            f"that `budget_bytes` allows for an order's image are spent{wrong}: raise it, or "
            "lift it once with 'interlock-client update --lift-budget'; a new order does too.",
            reason="over_budget",
        )


class Ledger:
    """The record as it is now; on the disk it is as at the last mark.

    Args:
        record: as the run begins.
        path: where it is kept.
        budget: what the order's image may cost; None for whatever it takes.
    """

    def __init__(self, record: Record, path: Path, budget: int | None) -> None:
        self.record = record
        self._path = path
        self._budget = budget

    def keep(self, kept: int, sha256: str) -> Callable[[], None]:
        """What makes durable that so much is kept, with all that is known at this moment."""
        self.record = record = self.record.with_(kept=kept, kept_sha256=sha256)
        return lambda: keeper.save(self._path, record)

    def charge(self, count: int) -> None:
        """So many bytes have arrived."""
        self.record = self.record.with_(received=self.record.received + count)

    def afford(self, needed: int) -> None:
        """Whether so many more may be asked for.

        Raises:
            OverBudgetError: they may not.
        """
        if self._budget is not None and self.record.received + needed > self._budget:
            raise OverBudgetError(needed, self.record, self._budget)

    def after_a_fault(self) -> None:
        """Note what was spent, when nothing else is sure because the disk failed.

        Raises:
            TransientError: it failed at that too.
        """
        known = keeper.load(self._path)
        if known is None or known.sha256 != self.record.sha256:
            known = self.record.dropped()
        keeper.save(self._path, known.with_(received=self.record.received))
