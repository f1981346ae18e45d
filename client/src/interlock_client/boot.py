"""Which slot boots: a pure state, and redundant checksummed copies of it (I/O at the end).

Rules:

1. A slot boots by itself only when it was committed. An armed slot is tried a limited number of
   times; when the tries are used up, the committed one boots again.
2. A try is consumed, durably, before the slot is booted. Where that cannot be written, the
   committed slot boots: an armed one could be tried for ever.
3. Every change is written to two files, one after the other, and the newest whose checksum is right
   counts. So a torn write leaves the state before it or the one after it, and a copy that goes bad
   later loses nothing: the other says the same. What is damaged or behind is written first, and is
   mended by the next change and at the next boot.
4. A third file names the committed slot and nothing else. It is right before the other slot may be
   written, and counts where no copy is whole: then that slot boots, and nothing armed. Without it
   too, the slot that booted last, or the first: a machine that boots something is better than one
   that boots nothing.
5. Where there is nothing at all the machine is new, and the first slot is the one that it came
   with.
6. No clock is asked.

How a boot loader uses it. The script that runs before the slots are mounted does::

    slot=$(interlock-client boot-select --config /boot/interlock/gateway.toml) ||
      slot=${slot:-$(cat /boot/interlock/committed || echo a)}

and boots that slot; ``/boot/interlock`` is ``boot_environment``, whose third file is there for the
day on which ``boot-select`` cannot even start: slot ``a`` may hold half an image then.
``boot-select`` prints one letter, writes it to the file ``booted`` (best on a
file system that does not survive a power cut, such as ``/run``), and consumes a try. It needs the
table ``installer`` of the configuration and nothing else. A unit of the new system then runs
``interlock-client confirm``, which commits the slot or rolls back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from interlock_client.sealed import MAX_RECORD, Kept, seal, unseal
from interlock_core import durable
from interlock_core.errors import ConfigurationError, NotFoundError, TransientError, WireError

Slot = Literal["a", "b"]
SLOTS: Final[tuple[Slot, Slot]] = ("a", "b")


class BootState(Kept, frozen=True, kw_only=True):
    """What the boot loader needs to know.

    Attributes:
        sequence: rises with every write.
        active: the committed slot.
        armed: a slot to be tried, or None.
        tries: how often it may still be tried.
        good: slots whose content was committed and not touched since; ``active`` is one.
        fell_back: the slot whose tries were used up, until it is written or something is armed.
    """

    sequence: int = 0
    active: Slot = "a"
    armed: Slot | None = None
    tries: int = 0
    good: tuple[Slot, ...] = ("a",)
    fell_back: Slot | None = None


def other(slot: Slot) -> Slot:
    """The slot beside ``slot``."""
    return "b" if slot == "a" else "a"


def new(slot: Slot) -> BootState:
    """The state of a machine that came with ``slot``."""
    return BootState(active=slot, good=(slot,))


def select(state: BootState) -> tuple[Slot, BootState]:
    """The slot to boot now, and the state after that (rule 1)."""
    if state.armed is None:
        return state.active, state
    if state.tries > 0:
        return state.armed, _next(state, tries=state.tries - 1)
    return state.active, _next(state, armed=None, fell_back=state.armed)


def invalidate(state: BootState, slot: Slot) -> BootState:
    """Before ``slot`` is written: it holds nothing good and is not tried."""
    assert slot != state.active, "the committed slot is never written"
    armed = None if state.armed == slot else state.armed
    return _next(
        state,
        armed=armed,
        tries=state.tries if armed else 0,
        good=tuple(name for name in state.good if name != slot),
        # What fell back is gone: it says nothing about what comes in its place.
        fell_back=None if state.fell_back == slot else state.fell_back,
    )


def arm(state: BootState, slot: Slot, tries: int) -> BootState:
    """Try ``slot`` at the next boots."""
    assert slot != state.active, "the committed slot needs no arming"
    return _next(state, armed=slot, tries=tries, fell_back=None)


def disarm(state: BootState) -> BootState:
    """Try nothing: the committed slot boots."""
    return _next(state, armed=None, tries=0)


def commit(state: BootState, slot: Slot) -> BootState:
    """From now on ``slot`` boots by itself."""
    good = tuple(name for name in SLOTS if name == slot or name in state.good)
    return _next(state, active=slot, armed=None, tries=0, good=good, fell_back=None)


def abandon(state: BootState, slot: Slot) -> BootState:
    """Go back from the committed ``slot`` to the other one, which holds something good."""
    assert other(slot) in state.good, "there is nothing good to go back to"
    return _next(state, active=other(slot), armed=None, tries=0, good=(other(slot),))


def _next(state: BootState, **changes: object) -> BootState:
    return msgspec.structs.replace(state, sequence=state.sequence + 1, **changes)


def _same(state: BootState, then: BootState) -> bool:
    return msgspec.structs.replace(then, sequence=state.sequence) == state


@dataclass(frozen=True)
class BootEnvironment:
    """The state on disk (rules 3 and 4).

    Attributes:
        directory: where both copies are.
        booted: the file that says which slot booted.
    """

    directory: Path
    booted: Path

    def load(self) -> BootState:
        """The newest copy that is whole, or else what rules 4 and 5 say.

        Raises:
            TransientError: no copy is whole, and one cannot be read.
        """
        return self._read()[0]

    def change(self, change: Callable[[BootState], BootState]) -> BootState:
        """Apply a transition durably; return the state after it. No change writes nothing.

        Raises:
            TransientError: the disk did not do it; the state before it counts, or the one after it.
        """
        state, copies = self._read()
        then = change(state)
        if _same(state, then):
            then = state
        data, witnessed = seal(then), self._readable_witness()
        if [data] * 2 == copies and witnessed == then.active:
            return then
        durable.mkdir(self.directory)
        # The newest copy is never the one that is written over first.
        newest = seal(state)
        for number in sorted((0, 1), key=lambda number: copies[number] == newest):
            if copies[number] != data:
                durable.replace(self._path(number), data)
        if witnessed != then.active:
            durable.replace(self._witness, f"{then.active}\n".encode())
        return then

    def _read(self) -> tuple[BootState, list[bytes | None]]:
        """The state in force, and both copies as they stand; None stands for a damaged one."""
        whole: list[BootState] = []
        copies: list[bytes | None] = []
        fault: TransientError | None = None
        for number in (0, 1):
            data: bytes | None = None
            try:
                data = durable.read(self._path(number), limit=MAX_RECORD, what="boot state")
                whole.append(unseal(data, BootState))
            except (NotFoundError, WireError):
                data = None
            except TransientError as e:
                # The other copy may do; if it does not, this one must not look like a new machine.
                fault = e
            copies.append(data)
        if whole:
            return max(whole, key=lambda state: state.sequence), copies
        if fault is not None:
            raise fault
        return new(self._witnessed() or self.last_booted() or "a"), copies

    def last_booted(self) -> Slot | None:
        """What the file ``booted`` says, or None if it is missing or says something else.

        Raises:
            TransientError: it cannot be read.
        """
        return _named(self.booted, "record of the booted slot")

    def require_booted(self) -> Slot:
        """Which slot runs now.

        Raises:
            ConfigurationError: ``booted_unknown``.
            TransientError: the file cannot be read.
        """
        slot = self.last_booted()
        if slot is None:
            raise ConfigurationError(
                f"{self.booted} does not say which slot booted: let the boot script run "
                "'interlock-client boot-select', which writes it.",
                reason="booted_unknown",
            )
        return slot

    def boot(self) -> tuple[Slot, TransientError | None]:
        """Choose the slot to boot, consume a try, and say so in ``booted``.

        Returns:
            The slot, and the fault of the disk that kept it from being recorded, if there was
            one: then nothing armed was chosen (rule 2).
        """
        committed: Slot = "a"
        armed: Slot | None = None
        fault: TransientError | None = None
        try:
            # Where no copy can be read, this may be all that is known.
            committed = self._readable_witness() or committed
            state = self.load()
            committed = state.active
            slot, _ = select(state)
            self.change(lambda present: select(present)[1])
            armed = slot if slot != committed else None
        except TransientError as e:
            fault = e
        try:
            durable.mkdir(self.booted.parent)
            durable.replace(self.booted, f"{armed or committed}\n".encode())
        except TransientError as e:
            return committed, fault or e
        return armed or committed, fault

    def _path(self, number: int) -> Path:
        return self.directory / f"boot-{number}.json"

    @property
    def _witness(self) -> Path:
        return self.directory / "committed"

    def _witnessed(self) -> Slot | None:
        """What the third file says (rule 4); None if it is missing or says something else."""
        return _named(self._witness, "record of the committed slot")

    def _readable_witness(self) -> Slot | None:
        """The same; also None if it cannot be read, which is no reason to doubt the copies."""
        try:
            return self._witnessed()
        except TransientError:
            return None


def _named(path: Path, what: str) -> Slot | None:
    try:
        text = durable.read(path, limit=64, what=what)
    except (NotFoundError, WireError):
        return None
    said = text.decode(errors="replace").strip()
    return next((slot for slot in SLOTS if slot == said), None)
