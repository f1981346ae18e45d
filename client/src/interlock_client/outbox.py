"""Reports that were signed and not acknowledged yet (I/O).

Rules (``docs/wire-format.md``, 20: numbered, chained, never forked):

1. One create-only file for each report, ``outbox/<number>.json``, sealed: the envelope as it is
   sent, and what it told. ``sent.json`` holds the same of the last report that was acknowledged.
2. The number and the predecessor of the next report follow from the newest file, else from
   ``sent.json``; what was told last does too. Each report is one atomic act, so that a power cut
   neither skips a number, nor uses one twice, nor tells the end of an attempt twice.
3. An acknowledged report is written to ``sent.json`` first and removed then. What a power cut
   leaves behind in between is seen by its number.
4. A ``sent.json`` that is lost or damaged, a hole among the files, or a damaged file is refused and
   not repaired: to guess a number would be a fork, and the device would count for nothing.
5. It is bounded. From ``MAX_WAITING`` on only ends of attempts are added, and from ``MAX_ENDS`` on
   nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from interlock_client import numbered
from interlock_client.sealed import MAX_RECORD, Kept, seal, unseal
from interlock_core import durable
from interlock_core.errors import NotFoundError, RefusedError, WireError

MAX_WAITING: Final = 512
MAX_ENDS: Final = 1024


class Sent(Kept, frozen=True, kw_only=True):
    """The last report that was acknowledged; number 0 before the first.

    Attributes:
        at: when it was signed.
        told: what it told (``tell.content``).
        ended: the end of an attempt that was told last (``tell.end``).
    """

    number: int = 0
    id: str | None = None
    at: datetime | None = None
    told: dict[str, Any] | None = None
    ended: str | None = None


class Entry(Kept, frozen=True, kw_only=True):
    """A report that waits (rule 1); fields as in ``Sent``."""

    number: int
    id: str
    at: datetime
    told: dict[str, Any]
    ended: str | None
    envelope: str

    def sent(self) -> Sent:
        """What is kept of it once it was acknowledged."""
        return Sent(number=self.number, id=self.id, at=self.at, told=self.told, ended=self.ended)


R = TypeVar("R", Sent, Entry)


@dataclass(frozen=True)
class Outbox:
    """The outbox of one enrolment.

    Attributes:
        directory: of the reports; made with the first.
        sent: the file of the last that was acknowledged.
    """

    directory: Path
    acknowledged: Path

    def sent(self) -> Sent:
        """The last report that was acknowledged.

        Raises:
            RefusedError: ``damaged_state`` (rule 4).
            TransientError: it cannot be read.
        """
        return _load(self.acknowledged, Sent)

    def numbers(self) -> list[int]:
        """The numbers of the reports that wait, in order.

        Raises:
            RefusedError: ``damaged_state`` (rule 4).
            TransientError: something cannot be read.
        """
        return self._waiting(self.sent())

    def tip(self) -> tuple[Sent, int]:
        """What the next report follows (rule 2), and how many wait.

        Raises:
            RefusedError: ``damaged_state`` (rule 4).
            TransientError: something cannot be read.
        """
        sent = self.sent()
        waiting = self._waiting(sent)
        return (self.entry(waiting[-1]).sent() if waiting else sent), len(waiting)

    def entry(self, number: int) -> Entry:
        """One report that waits.

        Raises:
            RefusedError: ``damaged_state`` (rule 4).
            TransientError: it cannot be read.
        """
        path = self._path(number)
        entry = _load(path, Entry)
        if entry.number != number:
            raise _damaged(path, f"holds report {entry.number}")
        return entry

    def entries(self) -> Iterator[Entry]:
        """The reports that wait, in order; as ``entry``."""
        for number in self.numbers():
            yield self.entry(number)

    def add(self, entry: Entry) -> None:
        """Keep a report until it is acknowledged.

        Raises:
            ConflictError: another one has its number.
            TransientError: the disk did not do it; nothing was added.
        """
        durable.mkdir(self.directory, mode=0o700)
        durable.create(self._path(entry.number), seal(entry), mode=0o600)

    def acknowledge(self, entry: Entry) -> None:
        """A server has taken a report (rule 3).

        Raises:
            TransientError: the disk did not do it.
        """
        durable.replace(self.acknowledged, seal(entry.sent()), mode=0o600)
        for number in self._listed():
            if number <= entry.number:
                durable.remove(self._path(number))

    def _waiting(self, sent: Sent) -> list[int]:
        waiting = [number for number in self._listed() if number > sent.number]
        expected = list(range(sent.number + 1, sent.number + 1 + len(waiting)))
        if waiting != expected:
            missing = next(number for number in expected if number not in waiting)
            raise _damaged(self._path(missing), "is missing")
        return waiting

    def _listed(self) -> list[int]:
        return numbered.listed(self.directory)

    def _path(self, number: int) -> Path:
        return numbered.path(self.directory, number)


def _load(path: Path, type_: type[R]) -> R:
    try:
        return unseal(durable.read(path, limit=MAX_RECORD, what="report"), type_)
    except NotFoundError as e:
        raise _damaged(path, "is missing") from e
    except WireError as e:
        raise _damaged(path, f"is damaged ({e})") from e


def _damaged(path: Path, how: str) -> RefusedError:
    return RefusedError(
        f"{path} {how}, and without it nobody knows which number the next report has: to guess "
        "would be a fork. Restore it from a backup, or enrol anew with 'interlock-client enrol "
        "--renew' and a new claim. The gateway updates all the same.",
        reason="damaged_state",
    )
