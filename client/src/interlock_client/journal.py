"""The agent's journal: where it stands, and every decision it made (I/O).

Rules:

1. The journal is outside the slots, and a state is durable before anything is done in it.
2. A state is entered only from the states that ``FROM`` names.
3. Every decision is one create-only file with the digests of all that went into it, the local
   facts themselves, the verdict, and the digest of the decision before: an auditor who has the
   server's log can decide again. The newest ``MAX_DECISIONS`` are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock_client import numbered
from interlock_client.boot import Slot
from interlock_client.contents import Held
from interlock_client.sealed import MAX_RECORD, Checked, Kept, seal, unseal
from interlock_core import durable
from interlock_core.errors import NotFoundError, RefusedError, WireError
from interlock_core.wire import encode

MAX_DECISIONS: Final = 512
LOCAL_ACT: Final = "urn:interlock:local-act:v1"
"""The type of records that are no decision: what a person did here by hand (``local_acts``)."""


class State(StrEnum):
    """Where the agent stands."""

    IDLE = "idle"
    DOWNLOADING = "downloading"
    WRITTEN = "written"
    WAITING = "waiting"
    LAST_MOMENT = "last_moment"
    REBOOTING = "rebooting"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"


_RESTING: Final = frozenset({State.IDLE, State.CONFIRMED, State.ROLLED_BACK})
FROM: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        # Nothing is wanted any more, or what was written turned out to be no good.
        State.IDLE: frozenset(
            {State.DOWNLOADING, State.WRITTEN, State.WAITING, State.LAST_MOMENT, *_RESTING}
        ),
        # A new order may come while an older one waits.
        State.DOWNLOADING: frozenset({State.DOWNLOADING, State.WRITTEN, State.WAITING, *_RESTING}),
        # From a resting state: the slot holds the wanted image already.
        State.WRITTEN: frozenset({State.DOWNLOADING, State.WRITTEN, State.WAITING, *_RESTING}),
        State.WAITING: frozenset(
            {State.WRITTEN, State.WAITING, State.LAST_MOMENT, State.REBOOTING}
        ),
        State.LAST_MOMENT: frozenset({State.WRITTEN, State.WAITING}),
        # The slot is armed in this state and in no other before it.
        State.REBOOTING: frozenset({State.LAST_MOMENT}),
        State.CONFIRMING: frozenset({State.REBOOTING, State.CONFIRMING}),
        State.CONFIRMED: frozenset({State.CONFIRMING}),
        # From rebooting: the tries ran out and the old slot booted. From downloading: that was cut
        # off before it touched the slot, and a person goes back to what is there.
        State.ROLLED_BACK: frozenset(
            {State.DOWNLOADING, State.REBOOTING, State.CONFIRMING, *_RESTING}
        ),
    }
)
"""Each state, and the states from which it may be entered."""


class Attempt(Held, frozen=True, kw_only=True):
    """One order's image on its way into a slot.

    Attributes:
        permit: digest of the permit that the move needs; None for one that needs none.
        slot: the slot that it goes to.
        began_at: when it was first granted.
    """

    order: str
    path: str
    version: str
    counter: int
    raises_floor_to: int
    permit: str | None
    slot: Slot
    began_at: datetime


class Written(Held, frozen=True, kw_only=True):
    """What an unarmed side holds, as it was hashed while it was written or read back after."""

    slot: Slot

    def holds(self, attempt: Attempt) -> bool:
        """Whether that is what an attempt puts there."""
        return (self.slot, self.length, self.sha256, self.contents) == (
            attempt.slot,
            attempt.length,
            attempt.sha256,
            attempt.contents,
        )


class Came(Kept, frozen=True, kw_only=True):
    """How what was written came here.

    Attributes:
        received: bytes that it cost under its order, tries that failed included.
        resumed_from: bytes that were there when the last run began.
        from_delta: path of the delta by which it came, or None.
        fell_back: why it came whole although there was a delta, or None.
    """

    received: int
    resumed_from: int
    from_delta: str | None = None
    fell_back: str | None = None


class Deferral(Kept, frozen=True, kw_only=True):
    """Since when an installation waits, and what it waits for now."""

    since: datetime
    reason: str
    detail: str


class Undecided(Kept, frozen=True, kw_only=True):
    """New firmware that no check can judge yet, and since when in which boot.

    Attributes:
        since: the time of the first answer in this boot.
        monotonic_seconds: the monotonic clock then.
        boots: in how many boots that was the answer.
    """

    since: datetime
    boot_id: str
    monotonic_seconds: int
    detail: str
    boots: int = 1


class Judging(Kept, frozen=True, kw_only=True):
    """New firmware that is being judged.

    Attributes:
        boots: in how many boots in a row that began.
        boot_id: names the newest of them.
        monotonic_seconds: the monotonic clock when it began there.
    """

    boots: int
    boot_id: str
    monotonic_seconds: int


class Failures(Kept, frozen=True, kw_only=True):
    """How often in a row an order's image could not be installed here (``failing``).

    Attributes:
        reason: of the last failure.
        refused: whether that was a refusal, and not trouble that may pass.
        at: when that was.
    """

    order: str
    sha256: str
    reason: str
    refused: bool
    times: int
    at: datetime


class Ended(Kept, frozen=True, kw_only=True):
    """How the last installation ended.

    Attributes:
        permit: digest of the permit that it needed; spent by ``confirmed``, and by nothing else.
        health: the health checks that judged it.
        advisory: the advisory checks, by which nothing was judged.
    """

    outcome: str
    reason: str
    detail: str
    order: str
    sha256: str
    at: datetime
    permit: str | None = None
    health: tuple[Checked, ...] = ()
    advisory: tuple[Checked, ...] = ()


class Journal(Kept, frozen=True, kw_only=True):
    """All that the agent needs to go on after a power cut.

    Attributes:
        unpacking: digest of the target that an installer unpacks, while the state is
            ``downloading``: no state of its own, which the previous version could not read.
        fault: what ended the last try to go on with the attempt, by its reason.
        came: how what is written came here; None if nobody knows.
        undecided: since when nobody can tell whether the firmware that booted is well.
        judging: in how many boots that was asked.
    """

    state: State = State.IDLE
    attempt: Attempt | None = None
    written: Written | None = None
    deferral: Deferral | None = None
    ended: Ended | None = None
    unpacking: str | None = None
    failures: Failures | None = None
    fault: str | None = None
    came: Came | None = None
    undecided: Undecided | None = None
    judging: Judging | None = None

    def at(self, state: State, **changes: Any) -> Journal:
        """The journal in ``state`` (rule 2), with further fields changed."""
        assert self.state in FROM[state], f"{self.state} may not lead to {state}"
        return msgspec.structs.replace(self, state=state, **({"unpacking": None} | changes))


def load(path: Path) -> Journal:
    """Read the journal; an empty one if there never was any.

    Raises:
        RefusedError: ``damaged_state``.
        TransientError: it cannot be read.
    """
    try:
        return unseal(durable.read(path, limit=MAX_RECORD, what="journal"), Journal)
    except NotFoundError:
        return Journal()
    except WireError as e:
        raise RefusedError(
            f"The journal {path} is damaged ({e}). Move it away and run this again: nothing is "
            "armed without it, and an installation that was not confirmed falls back by itself.",
            reason="damaged_state",
        ) from e


def save(path: Path, journal: Journal) -> None:
    """Make the journal durable (rule 1).

    Raises:
        TransientError: the disk did not do it; the old journal stands.
    """
    durable.replace(path, seal(journal), mode=0o600)


class _Verdict(Kept, frozen=True, kw_only=True):
    outcome: str
    reason: str


class _Check(Kept, frozen=True, kw_only=True):
    rule: str
    passed: bool
    detail: str


class _Decided(Kept, frozen=True, kw_only=True):
    """What everybody who shows a decision takes from its record."""

    at: str
    phase: str
    verdict: _Verdict
    checks: tuple[_Check, ...] = ()


class Decisions:
    """The decisions made here, newest kept (rule 3).

    Args:
        directory: where; made when the first is recorded.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def record(self, entry: Mapping[str, Any]) -> int:
        """Keep one decision; return its number.

        Raises:
            TransientError: the disk did not do it.
        """
        durable.mkdir(self.directory, mode=0o700)
        numbers = self._numbers()
        number = numbers[-1] + 1 if numbers else 1
        previous = self._digest(numbers[-1]) if numbers else None
        whole = {**entry, "number": number, "previous": previous}
        durable.create(self._path(number), encode(whole) + b"\n", mode=0o600)
        for old in numbers[: -MAX_DECISIONS + 1]:
            durable.remove(self._path(old))
        return number

    def newest(self) -> dict[str, Any] | None:
        """The last decision, or None before the first; what people did since is passed over.

        Raises:
            WireError: it is damaged.
            TransientError: it cannot be read.
        """
        for number in reversed(self._numbers()):
            try:
                entry: dict[str, Any] = msgspec.json.decode(self._read(number), type=dict)
                if entry.get("type") == LOCAL_ACT:
                    continue
                msgspec.convert(entry, _Decided)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
                raise WireError(f"The decision {self._path(number)} is damaged: {e}.") from e
            return entry
        return None

    def _numbers(self) -> list[int]:
        return numbered.listed(self.directory)

    def _path(self, number: int) -> Path:
        return numbered.path(self.directory, number)

    def _digest(self, number: int) -> str:
        # Whatever its length: a record that nobody can read must not end all deciding.
        path = self._path(number)
        with durable.translated("read", path), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _read(self, number: int) -> bytes:
        return durable.read(self._path(number), limit=MAX_RECORD, what="decision")
