"""Keeps the memory and the counter together (I/O, through ``Counter``).

Rules (``counter`` has those about what is compared):

1. The counter is read once for each command, when the memory is first read.
2. Where the counter cannot be reached, nothing is decided and nothing installed. What only goes on
   with what runs (``tolerant``: a confirmation, a report) goes on without it; what it changes is
   written with the mark that a step of the counter is owed, and that is made good at the next
   chance.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from interlock_client.counter import Counter, guarded, is_behind
from interlock_client.memory import Memory
from interlock_core.errors import TransientError


class Guard:
    """One command's view of the counter.

    Args:
        counter: what was made here.
        save: makes a memory durable.

    Attributes:
        trouble: why the counter could not be reached; None if it could.
    """

    def __init__(self, counter: Counter, save: Callable[[Memory], None]) -> None:
        self._counter = counter
        self._save = save
        self._value: int | None = None
        self._kept: Memory | None = None
        self.trouble: str | None = None

    @property
    def began(self) -> bool:
        """Whether the memory was read."""
        return self._kept is not None

    def checked(self, memory: Memory, *, tolerant: bool) -> Memory:
        """The memory as it was read, if it is the newest; steps that are due are made good.

        Args:
            memory: as it stands on the disk.
            tolerant: whether to go on without the counter (rule 2).

        Raises:
            RefusedError: ``damaged_state``: it is not the newest.
            TransientError: ``tpm``, or the disk.
        """
        self._kept = memory
        try:
            if self._value is None:
                self._value = self._counter.read()
            if is_behind(memory, self._value):
                self._raise()
            if memory.owes_count:
                memory = self._next(memory, self._value)
        except TransientError as e:
            self._value, self.trouble = None, str(e)
            if not tolerant:
                raise
        return memory

    def keep(self, memory: Memory) -> Memory:
        """Make a memory durable that was changed, and raise the counter if that is due.

        Raises:
            RefusedError: ``memory_full``.
            TransientError: ``tpm``: it is durable, and the counter follows at the next chance; or
                the disk.
        """
        kept = self._kept
        assert kept is not None, "it is read before it is changed"
        changed = guarded(memory) != guarded(kept)
        if changed and self._value is not None:
            return self._next(memory, self._value)
        # Whoever changed it may have read it before the last step.
        return self._saved(memory, kept.counter, owes=kept.owes_count or changed)

    def _next(self, memory: Memory, value: int) -> Memory:
        """Rule 1 of ``counter``: first the memory, then the counter."""
        memory = self._saved(memory, value + 1, owes=False)
        self._raise()
        return memory

    def _saved(self, memory: Memory, counter: int | None, *, owes: bool) -> Memory:
        memory = msgspec.structs.replace(memory, counter=counter, owes_count=owes)
        self._save(memory)
        self._kept = memory
        return memory

    def _raise(self) -> None:
        # Until it has said so, nobody knows where it stands.
        self._value = None
        self._value = self._counter.increment()
