"""Takes what the log shows into memory, as far as it verifies (I/O: writes memory).

Rules (20 is that of ``docs/wire-format.md``):

1. What people signed is kept if a key that the roster gives its author made the signature; whether
   it counts is judged anew each time (``judging``). A stop that counted once is kept as one.
2. An enrolment is kept if its own key signed it, and stands while ``fleet.in_force`` says so by
   countersignatures that were verified here. The server's word about it is not asked for.
3. A report is taken if the enrolment's key signed it and it follows the one before (20). The same
   number with another id quarantines the device; what lies beyond a gap is not taken; what was
   taken before is nothing new. Ids are kept of the last ``WINDOW`` reports: an older one that
   comes again is neither counted nor held against the device.
4. Whatever does not verify changes nothing but a counter, and somebody is told.
5. An enrolment that somebody entitled ended stands no more, whatever becomes of him (24).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from interlock_core import wire
from interlock_core.chain import stop_counts
from interlock_core.ending import ENDINGS, Ending, ending_counts, ends_as
from interlock_core.errors import WireError
from interlock_core.exclusion import Exclusion
from interlock_core.fleet import Tip, follows, in_force, report_counts, signed_by_device
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.report import Enrolment, Report
from interlock_core.roster import Judge
from interlock_core.statement import Envelope, Opened, open_as, open_statement, read_envelope
from interlock_ops.monitor.memory import Memory

KEPT: Final = (Order, Authorisation, Go, Stop, Exclusion, *ENDINGS, Enrolment, Report)
"""What the monitor decides by."""
KEPT_NAMES: Final = frozenset(type_.__name__.lower() for type_ in KEPT)
WINDOW: Final = 64
_AT_ONCE: Final = 500


class Intake:
    """Takes statements in; all of it inside ``Memory.writing``.

    Args:
        memory: where they are kept.
        judge: the verified roster, now.

    Attributes:
        trouble: how often what was refused, by name (rule 4).
        reported: devices whose report was taken: with its ``Report``, in order.
        left_out: whether a device was quarantined or its enrolment ended.
    """

    def __init__(self, memory: Memory, judge: Judge) -> None:
        self._memory = memory
        self._judge = judge
        self.trouble: Counter[str] = Counter()
        self.reported: list[Report] = []
        self.left_out = False

    def take(self, envelope: Envelope) -> str:
        """Take one statement; returns what became of it.

        Returns:
            ``kept``, ``known`` or ``ignored`` (a type that nothing here is decided by); or what is
            wrong: ``forged``, ``unknown_author``, ``unknown_enrolment``, ``report_gap``,
            ``report_fork`` or ``old_report``.
        """
        try:
            opened = open_statement(envelope, KEPT)
        except WireError:
            return "ignored"
        said = opened.said
        if isinstance(said, Report):
            result = self._report(open_as(envelope, Report))
        elif isinstance(said, Enrolment):
            result = self._enrolment(open_as(envelope, Enrolment))
        else:
            result = self._paper(opened)
        if result not in {"kept", "known", "ignored"}:
            self.trouble[result] += 1
        return result

    # What people signed

    def _paper(self, opened: Opened[Any]) -> str:
        if self._memory.row("SELECT 1 FROM paper WHERE id = ?", opened.id) is not None:
            return "known"
        said = opened.said
        if said.fleet != self._judge.roster.fleet or self._judge.signer_key(opened) is None:
            return "unknown_author"
        about = said.product if isinstance(said, Order) else _about(said)
        counted = isinstance(said, Stop) and self.counts(open_as(opened.envelope, Stop))
        self._memory.run(
            "INSERT INTO paper VALUES (?, ?, ?, ?, ?)",
            opened.id,
            type(said).__name__.lower(),
            about,
            int(counted),
            wire.encode(opened.envelope),
        )
        if isinstance(said, Authorisation) and said.authorises == "enrolment":
            self.settle_enrolment(said.id)
        if isinstance(said, ENDINGS):
            self._end(opened)
        return "kept"

    def counts(self, stop: Opened[Stop]) -> bool:
        """Whether a stop counts anywhere that it may be about."""
        order = self._memory.row(
            "SELECT envelope FROM paper WHERE id = ? AND kind = 'order'", stop.said.order
        )
        cohorts: Iterable[str] = () if stop.said.cohort is None else (stop.said.cohort,)
        if order is not None and not cohorts:
            cohorts = open_as(read_envelope(order[0]), Order).said.cohorts()
        return any(stop_counts(self._judge, stop, cohort) for cohort in cohorts)

    # Devices

    def _enrolment(self, opened: Opened[Enrolment]) -> str:
        said = opened.said
        if self._memory.row("SELECT 1 FROM enrolment WHERE id = ?", opened.id) is not None:
            return "known"
        if said.fleet != self._judge.roster.fleet or not signed_by_device(opened):
            return "forged"
        self._memory.run(
            "INSERT INTO enrolment VALUES (?, ?, ?, ?, ?, 0, NULL, NULL, 0, NULL, NULL, NULL, ?)",
            opened.id,
            said.device,
            said.product,
            said.site,
            said.cohort,
            wire.encode(opened.envelope),
        )
        self._settle(said.device)
        return "kept"

    def _end(self, ending: Opened[Any]) -> None:
        """Take an enrolment out of force for good, if somebody entitled ended it (rule 5)."""
        said: Ending = ending.said
        row = self._memory.row("SELECT envelope FROM enrolment WHERE id = ?", said.enrolment)
        if row is None or not ending_counts(
            self._judge, ending, open_as(read_envelope(row[0]), Enrolment)
        ):
            return
        self._memory.run(
            "UPDATE enrolment SET ended = ? WHERE id = ?", ends_as(said), said.enrolment
        )
        self.settle_enrolment(said.enrolment)
        self.left_out = True

    def settle_enrolment(self, enrolment: str) -> None:
        """Judge again which enrolment of a device stands (rule 2)."""
        row = self._memory.row("SELECT device FROM enrolment WHERE id = ?", enrolment)
        if row is not None:
            self._settle(row[0])

    def settle_all(self, roster_seq: int) -> None:
        """Judge every device again, once for each roster."""
        if self._memory.get("settled_by") == str(roster_seq):
            return
        devices = list(self._memory.rows("SELECT DISTINCT device FROM enrolment ORDER BY device"))
        for number, (device,) in enumerate(devices):
            if number % _AT_ONCE == 0:
                # What a judge remembers of signatures grows with every device.
                self._judge = Judge(self._judge.roster, self._judge.now)
            self._settle(device)
        self._memory.put("settled_by", str(roster_seq))

    def _settle(self, device: str) -> None:
        rows = list(
            self._memory.rows(
                "SELECT id, envelope, stands, ended FROM enrolment WHERE device = ?", device
            )
        )
        enrolments = [open_as(read_envelope(envelope), Enrolment) for _, envelope, *_ in rows]
        words = [
            open_as(read_envelope(envelope), Authorisation)
            for one in enrolments
            for (envelope,) in self._memory.rows(
                "SELECT envelope FROM paper WHERE about = ? AND kind = 'authorisation'", one.id
            )
        ]
        found = in_force(self._judge, enrolments, words)
        for id_, _, stands, ended in rows:
            now = int(found is not None and found.id == id_ and ended is None)
            if now != stands:
                self._memory.run("UPDATE enrolment SET stands = ? WHERE id = ?", now, id_)

    def _report(self, opened: Opened[Report]) -> str:
        said = opened.said
        row = self._memory.row(
            "SELECT envelope, tip_number, tip_id, quarantined, ended, stands FROM enrolment "
            "WHERE id = ?",
            said.enrolment,
        )
        if row is None:
            return "unknown_enrolment"
        envelope, number, tip_id, quarantined, ended, stands = row
        if not report_counts(open_as(read_envelope(envelope), Enrolment), opened):
            return "forged"
        tip = None if tip_id is None else Tip(number, tip_id)
        known = self._memory.row(
            "SELECT id FROM taken WHERE enrolment = ? AND number = ?", said.enrolment, said.number
        )
        verdict = follows(tip, None if known is None else known[0], opened)
        if verdict == "fork":
            if said.number <= number - WINDOW:
                return "old_report"
            self._quarantine(said.enrolment, said.number)
            self.left_out = True
            return "report_fork"
        if verdict != "next":
            return "known" if verdict == "known" else "report_gap"
        if quarantined is not None:
            return "report_fork"
        if ended is not None:
            return "ignored"
        self._take(opened, self._judge.now)
        if stands:
            self.reported.append(said)
        return "kept"

    def _quarantine(self, enrolment: str, number: int) -> None:
        why = f"its key signed another report {number} than the one that was taken"
        self._memory.run(
            "UPDATE enrolment SET quarantined = coalesce(quarantined, ?) WHERE id = ?",
            why,
            enrolment,
        )

    def _take(self, opened: Opened[Report], now: datetime) -> None:
        said = opened.said
        self._memory.run(
            "UPDATE enrolment SET tip_number = ?, tip_id = ?, heard_at = ?, cohort = ?, report = ? "
            "WHERE id = ?",
            said.number,
            opened.id,
            int(now.timestamp()),
            said.cohort,
            wire.encode(opened.envelope),
            said.enrolment,
        )
        self._memory.run(
            "INSERT INTO taken VALUES (?, ?, ?)", said.enrolment, said.number, opened.id
        )
        self._memory.run(
            "DELETE FROM taken WHERE enrolment = ? AND number <= ?",
            said.enrolment,
            said.number - WINDOW,
        )


def _about(said: Any) -> str:
    if isinstance(said, ENDINGS):
        return str(said.enrolment)
    return str(said.id if isinstance(said, Authorisation) else said.order)
