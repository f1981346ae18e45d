"""The transcript of a ceremony under way, on the disk before anything else happens (I/O).

Rules:

1. Each entry is one line of canonical JSON, appended and flushed before the next act begins. A
   line without its end is what a power cut left of a write: it was never believed, and goes.
2. Going on after an interruption, the acts are told again from the first: what stands in the
   journal must be the same, and is not written twice. What differs stops the ceremony.
3. A ceremony that goes on tells of the interruption.
4. Nothing is written under a time before that of the last entry: the clock is mended first.
"""

from __future__ import annotations

import os
from pathlib import Path

from interlock_ceremony.acts import ASIDES, Abandoned, AnyAct, AnyAside, Resumed
from interlock_ceremony.transcript import MAX_TRANSCRIPT, Entry, check_chain, next_entry
from interlock_core import disk, durable, wire
from interlock_core.clock import Clock
from interlock_core.disk import translated
from interlock_core.errors import ConfigurationError, ConflictError, RefusedError, WireError


class Journal:
    """The entries of a ceremony under way.

    Attributes:
        entries: those that are on the disk.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open the journal at ``path``, or begin one.

        Raises:
            ConflictError: what stands there is no journal.
            ConfigurationError: ``clock_back``: the clock went back; nothing was written.
            TransientError: the disk did not do it.
        """
        self._path = path
        self._clock = clock
        self.entries = read_entries(path)
        self._told = 0
        self.was_cut_off = bool(self.entries)
        if self.was_cut_off:
            self._append(Resumed())

    def tell(self, act: AnyAct) -> Entry:
        """Write an act down, or find it where it was written down before (rule 2).

        Raises:
            ConflictError: something else was written down there.
            ConfigurationError: ``clock_back``: the clock went back; nothing was written.
            TransientError: the disk did not do it.
        """
        found = self.told_next()
        if found is None:
            self._told = len(self.entries) + 1
            return self._append(act)
        if found.act != act:
            raise ConflictError(
                f"The ceremony under way in {self._path.parent} took another course at entry "
                f"{found.number}: go on with the script and the keys that it began with, or "
                "remove that directory, with all keys made in it, and begin again.",
                reason="other_ceremony",
            )
        self._told = found.number
        return found

    def told_next(self) -> Entry | None:
        """The next entry that was written down before an interruption, or None."""
        rest = self.entries[self._told :]
        return next((entry for entry in rest if not isinstance(entry.act, ASIDES)), None)

    def aside(self, act: AnyAside) -> None:
        """Write down what has no place of its own in a plan."""
        self._append(act)

    def abandon(self, act: Abandoned) -> None:
        """Write down that the ceremony is given up: nothing goes on from here."""
        self._append(act)

    def has(self, act: AnyAct) -> bool:
        """Whether exactly this is written down."""
        return any(entry.act == act for entry in self.entries)

    def _append(self, act: AnyAct) -> Entry:
        last, now = self.entries[-1] if self.entries else None, self._clock()
        if last is not None and now < last.at:
            raise ConfigurationError(
                f"This machine's clock says {wire.format_time(now)}, and entry {last.number} was "
                f"written at {wire.format_time(last.at)}: set the clock by a watch in the room, "
                "and run this again; it goes on where it stopped. If the entry's time is the wrong "
                "one, give this ceremony up ('abandon'), and begin again.",
                reason="clock_back",
            )
        entry = next_entry(last, now, act)
        line = wire.encode(entry) + b"\n"
        with translated("write", self._path):
            new = not self._path.exists()
            disk.step("write", self._path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
            with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123  # by descriptor
                file.write(line)
                disk.step("sync", self._path)
                os.fsync(descriptor)
            if new:
                disk.sync_directory(self._path.parent)
        self.entries.append(entry)
        return entry


def read_entries(path: Path) -> list[Entry]:
    """The entries of the journal at ``path``, without a line that was torn (rule 1).

    Raises:
        ConflictError: what stands there is no journal.
        TransientError: the disk did not do it.
    """
    if not path.exists():
        return []
    data = durable.read(path, limit=MAX_TRANSCRIPT, what="journal of a ceremony")
    lines = data.split(b"\n")
    if torn := lines.pop():
        with translated("write", path):
            disk.step("write", path)
            os.truncate(path, len(data) - len(torn))
    try:
        entries = [
            wire.decode_canonical(line, Entry, limit=MAX_TRANSCRIPT, what="journal")
            for line in lines
        ]
        check_chain(entries)
    except (WireError, RefusedError) as e:
        raise ConflictError(
            f"{path} was changed: no ceremony can go on from it. Keep that directory as evidence "
            "under another name, and begin again with other keys.",
            reason="broken_chain",
        ) from e
    return entries
