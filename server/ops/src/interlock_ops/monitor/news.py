"""What people must know after a round, as alerts (I/O: reads and marks memory).

Rules:

1. What waits and will not mend itself (``judging.Waits.call``), and why a round stood still, lasts
   until a round finds otherwise.
2. What was signed, what was delivered and what did not verify is remembered with a mark until it
   was told, so that a crash loses no word of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from interlock_core.errors import InterlockError, RefusedError, TransientError
from interlock_ops.monitor.alerts import ALERTS, Alert
from interlock_ops.monitor.memory import Memory
from interlock_ops.monitor.rounds import Result

PATIENT_ROUNDS: Final = 3
"""So many rounds may fail by network or disk before somebody is told."""
UNSENT_AFTER: Final = timedelta(minutes=5)
"""After which somebody is told that what was signed has not arrived."""
_FAILED: Final = "failed_rounds"
_REPOSITORY: Final = frozenset(
    {"expired_metadata", "rollback", "untrusted_metadata", "no_roster", "malformed"}
)
_NO_ROLE: Final = frozenset({"unknown_key", "wrong_fleet"})
_TROUBLE: Final = {
    "forged": "forged_records",
    "unknown_author": "forged_records",
    "unknown_enrolment": "forged_records",
    "old_report": "forged_records",
    "report_fork": "report_fork",
    "report_gap": "report_gap",
}
_SIGNED: Final = {"open": "stage_opened", "stop": "stop_signed"}


class News:
    """Turns what happened into alerts.

    Args:
        memory: the monitor's.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def of(self, result: Result) -> list[Alert]:
        """Everything to tell after a round."""
        found = [*self._waiting(result), *self._signed(), *self._unsent(result), *self._trouble()]
        failed = 0 if result.error is None else int(self._memory.get(_FAILED) or 0) + 1
        with self._memory.writing():
            self._memory.put(_FAILED, str(failed))
        if result.error is not None:
            name = _name_of(result.error)
            if name != "server_unreachable" or failed >= PATIENT_ROUNDS:
                found.append(Alert(name, "", f"{result.error} [{result.error.reason}]"))
        return found

    def told(self) -> None:
        """Mark what was told (rule 2)."""
        with self._memory.writing():
            self._memory.run("UPDATE signed SET told = 1 WHERE told = 0 AND state != 'signed'")
            self._memory.run("UPDATE trouble SET told = times")

    def _waiting(self, result: Result) -> list[Alert]:
        return [
            Alert(one.reason, verdict.order.id, f"order {verdict.order.id[:12]}: {one.detail}")
            for verdict in result.verdicts
            for one in verdict.waits
            if one.call and one.reason in ALERTS
        ]

    def _signed(self) -> list[Alert]:
        found = []
        rows = self._memory.rows(
            "SELECT id, key, state, detail FROM signed WHERE told = 0 AND state != 'signed'"
        )
        for id_, key, state, detail in rows:
            kind, order, *_ = key.split(" ")
            if state == "refused":
                name = "refused_by_server"
            elif key.endswith(" delivered"):
                name = "stop_delivered"
            else:
                name = _SIGNED.get(kind, "")
            if name:
                said = f"{kind} {order[:12]}: {detail}"
                found.append(Alert(name, id_, said, lasts=False))
        return found

    def _unsent(self, result: Result) -> list[Alert]:
        rows = self._memory.rows(
            "SELECT id, key FROM signed WHERE state = 'signed' AND made_at <= ?",
            int((result.at - UNSENT_AFTER).timestamp()),
        )
        why = {one.id: one.detail for one in result.sent}
        return [
            Alert("not_sent", id_, f"{key.split(' ')[0]} {key.split(' ')[1][:12]}: {why.get(id_)}")
            for id_, key in rows
        ]

    def _trouble(self) -> list[Alert]:
        rows = self._memory.rows("SELECT name, times, told FROM trouble WHERE times > told")
        return [
            Alert(_TROUBLE[name], f"{name} {times}", f"{times - told} new ({name})", lasts=False)
            for name, times, told in rows
        ]


def _name_of(error: InterlockError) -> str:
    if error.reason in ALERTS:
        return error.reason
    if error.reason in _NO_ROLE:
        return "role_not_held"
    if isinstance(error, TransientError):
        return "server_unreachable"
    if error.reason in _REPOSITORY or isinstance(error, RefusedError):
        return "untrusted_repository"
    return "server_unreachable"
