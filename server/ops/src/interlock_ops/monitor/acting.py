"""Signs what was decided, once, and sends it until it has arrived (I/O).

Rules:

1. Monitors take turns by their place in the roster: the first signs at once, each other waits
   ``stagger`` longer for what is to be done to be seen as done. Where two sign all the same it does
   no harm: the earliest opening is taken, and renewals and stops agree.
2. What is signed must count: it is judged together with what is known, by the code that gateways
   decide with, before it is kept or sent.
3. It is kept, with the mark that it was signed, in one transaction before it leaves. Who is killed
   before that has signed nothing that anybody saw; who is killed after it sends the same again.
4. An opening or a renewal that the server refuses is taken back and told, and not tried again
   within the hour.
5. An opening or a renewal that could not be sent is let go once it is not wanted any more. A stop
   is sent until it has arrived, whatever was answered before: a refusal is told once, and the next
   round tries again. Nothing that a server or a proxy answers ends the monitor.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from securesystemslib.signer import Signer, SSlibKey

from interlock_core import wire
from interlock_core.chain import Papers, read_chain, stop_counts
from interlock_core.errors import InterlockError, RefusedError, TransientError
from interlock_core.keybytes import public_key_bytes
from interlock_core.order import Go, Stop
from interlock_core.roster import MONITOR, Judge
from interlock_core.statement import Envelope, Opened, open_as, open_statement, read_envelope, sign
from interlock_ops.monitor.judging import Act, Case
from interlock_ops.monitor.memory import Memory
from interlock_ops.session import Session

AGAIN_AFTER: Final = timedelta(hours=1)
"""After which what the server refused is tried again."""
REFUSED_AT_ONCE: Final = 64
"""How many stops that were refused before one round tries again."""

_log = logging.getLogger(__name__)


def turn(judge: Judge, key: SSlibKey) -> int:
    """The place of a key among those of all monitors, from 0 (rule 1).

    Raises:
        RefusedError: ``unknown_key``: it is no monitor's.
    """
    mine = public_key_bytes(key)
    keys = sorted(
        (person.name, public_key_bytes(one.sslib()).hex())
        for person in judge.roster.persons
        for one in person.keys
        if any(grant.role == MONITOR and grant.expires > judge.now for grant in person.grants)
    )
    for place, (_, known) in enumerate(keys):
        if known == mine.hex():
            return place
    raise RefusedError(
        f"Roster {judge.roster.seq} knows the key {key.keyid[:12]} as no monitor's: nothing that "
        "it signs would count. Have the roster renewed with it.",
        reason="unknown_key",
    )


@dataclass(frozen=True)
class Sent:
    """What became of one statement: ``sent``, ``kept`` for the next round, or ``refused``."""

    id: str
    key: str
    state: str
    detail: str


class Acting:
    """Signs and sends.

    Args:
        memory: where it is kept.
        session: the server.
        signer: the monitor's key, opened.
    """

    def __init__(self, memory: Memory, session: Session, signer: Signer) -> None:
        self._memory = memory
        self._session = session
        self._signer = signer

    def ripe(self, acts: Sequence[Act], now: datetime, delay: timedelta) -> list[Act]:
        """Those of ``acts`` whose turn it is; remembers since when each is due (rules 1 and 4)."""
        keys = {act.key for act in acts}
        with self._memory.writing():
            for (key,) in list(self._memory.rows("SELECT key FROM due")):
                if key not in keys:
                    self._memory.run("DELETE FROM due WHERE key = ?", key)
            for key in keys:
                self._memory.run("INSERT OR IGNORE INTO due VALUES (?, ?)", key, _seconds(now))
        since = dict(self._memory.rows("SELECT key, since FROM due"))
        return [
            act
            for act in acts
            if since[act.key] + int(delay.total_seconds()) <= _seconds(now)
            and not self._refused_lately(act.key, now)
        ]

    def _refused_lately(self, key: str, now: datetime) -> bool:
        row = self._memory.row(
            "SELECT 1 FROM signed WHERE key = ? AND state = 'refused' AND made_at > ?",
            key,
            _seconds(now - AGAIN_AFTER),
        )
        return row is not None

    def sign(self, judge: Judge, me: str, act: Act, case: Case, checkpoint: str | None) -> str:
        """Sign and keep one act; returns its id (rules 2 and 3).

        Raises:
            RefusedError: ``would_not_count``: nothing was kept.
            TransientError: the disk or the key failed; nothing was kept.
        """
        said = _said(act, judge, me, checkpoint)
        opened: Opened[Go] | Opened[Stop] = (
            open_as(sign(said, self._signer), Go)
            if isinstance(said, Go)
            else open_as(sign(said, self._signer), Stop)
        )
        if not _counts(judge, opened, case):
            raise RefusedError(
                f"What would be signed ({act.key}) would count nowhere: nothing was sent. Please "
                "report this.",
                reason="would_not_count",
            )
        envelope = wire.encode(opened.envelope)
        with self._memory.writing():
            self.keep(opened.id, act.key, judge.now, act.why, envelope)
            self._memory.run(
                "INSERT OR IGNORE INTO paper VALUES (?, ?, ?, ?, ?)",
                opened.id,
                "stop" if act.kind == "stop" else "go",
                act.order,
                int(act.kind == "stop"),
                envelope,
            )
        return opened.id

    def keep(self, id_: str, key: str, now: datetime, why: str, envelope: bytes) -> None:
        """Keep an envelope to be sent; inside ``Memory.writing``."""
        self._memory.run(
            "INSERT OR IGNORE INTO signed VALUES (?, ?, ?, 'signed', ?, 0, ?)",
            id_,
            key,
            _seconds(now),
            why,
            envelope,
        )

    def send(self, wanted: Iterable[str] | None) -> list[Sent]:
        """Send what has not arrived (rules 3 to 5).

        Args:
            wanted: the orders about which an opening or a renewal is still right to send; None
                where that is not known: then only stops are sent.
        """
        right = None if wanted is None else set(wanted)
        waiting = list(
            self._memory.rows(
                "SELECT id, key, envelope FROM signed WHERE state = 'signed' "
                "ORDER BY key NOT LIKE 'stop %', made_at, id"
            )
        )
        # After what was never tried, and the newest first: one that no server takes holds up none.
        waiting += self._memory.rows(
            "SELECT id, key, envelope FROM signed WHERE state = 'refused' AND key LIKE 'stop %' "
            "ORDER BY made_at DESC, id LIMIT ?",
            REFUSED_AT_ONCE,
        )
        return [self._send(id_, key, read_envelope(data), right) for id_, key, data in waiting]

    def _send(self, id_: str, key: str, envelope: Envelope, right: set[str] | None) -> Sent:
        said = open_statement(envelope, (Go, Stop)).said
        if isinstance(said, Go) and right is None:
            return Sent(id_, key, "kept", "the round stood still")
        if isinstance(said, Go) and (
            said.order not in (right or ()) or said.valid_until <= self._session.clock()
        ):
            return self._mark(id_, key, "dropped", "it is not wanted any more")
        try:
            self._session.post(envelope, id_)
        except TransientError as e:
            return Sent(id_, key, "kept", str(e))
        except InterlockError as e:
            return self._mark(id_, key, "refused", f"{e} [{e.reason}]")
        return self._mark(id_, key, "sent", "")

    def _mark(self, id_: str, key: str, state: str, detail: str) -> Sent:
        (before,) = self._memory.row("SELECT state FROM signed WHERE id = ?", id_)
        if before == state:
            return Sent(id_, key, state, detail)
        if before == "refused":
            detail = detail or "it has arrived, after it was refused"
        with self._memory.writing():
            self._memory.run("UPDATE signed SET state = ? WHERE id = ?", state, id_)
            if detail:
                sql = "UPDATE signed SET detail = ?, told = 0 WHERE id = ?"
                self._memory.run(sql, detail, id_)
            if state in {"refused", "dropped"} and not key.startswith("stop "):
                self._memory.run("DELETE FROM paper WHERE id = ?", id_)
        _log.info("statement %s (%s) is %s", id_[:12], key, state)
        return Sent(id_, key, state, detail)


def _said(act: Act, judge: Judge, me: str, checkpoint: str | None) -> Go | Stop:
    reason = act.why[:1000]
    fleet = judge.roster.fleet
    if act.kind == "stop":
        return Stop(
            fleet=fleet,
            author=me,
            at=judge.now,
            reason=reason,
            checkpoint=checkpoint,
            order=act.order,
            cohort=None,
            site=None,
        )
    assert act.opened_at is not None
    assert act.until is not None
    return Go(
        fleet=fleet,
        author=me,
        at=judge.now,
        reason=reason,
        checkpoint=checkpoint,
        order=act.order,
        stage=act.stage,
        act=act.kind,
        renews=act.renews,
        clears=(),
        opened_at=act.opened_at,
        valid_until=act.until,
        seq=act.seq,
    )


def _counts(judge: Judge, opened: Opened[Go] | Opened[Stop], case: Case) -> bool:
    """Whether it would make a difference somewhere (rule 2)."""
    said = opened.said
    if isinstance(said, Stop):
        stop = open_as(opened.envelope, Stop)
        return any(stop_counts(judge, stop, cohort) for cohort in case.here)
    go = open_as(opened.envelope, Go)
    with_it = Papers(case.papers.order, case.papers.authorisations, (*case.papers.goes, go))
    for cohort in case.here:
        chain = read_chain(judge, with_it, cohort)
        known = {one.opening.id for one in chain.openings} | {one.id for one in chain.renewals}
        if go.id in known:
            return True
    return False


def _seconds(time: datetime) -> int:
    return int(time.timestamp())
