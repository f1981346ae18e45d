"""A counter outside the state directory that only ever rises, and what it says of a memory (pure).

Rules:

1. The memory carries the value of the counter that it belongs to. Whenever something in it changes
   that must not be replayed (``guarded``), it is written with the next value first, and the counter
   is raised then.
2. So a memory with a lower value is an older copy that somebody put back, and is refused. One that
   is ahead by one was cut off between the two steps, and the second is made good. One that is
   further ahead, or has no value, belongs to another counter: a person decides.
3. What changes at every poll is not guarded, nor are stops: one stolen key can sign as many of
   those as it likes, and a counter wears out. Everything that is guarded changes only when people
   below or above sign something, or when this gateway installs.
"""

from __future__ import annotations

from typing import Protocol

from interlock_client.memory import Memory
from interlock_core.errors import RefusedError
from interlock_core.wire import encode, sha256_hex

PROVISIONING = 0
"""The value of a memory whose counter is being made: no counter that was made has it."""


class Counter(Protocol):
    """A counter that survives the loss of every disk.

    Both methods raise ``TransientError`` (``tpm``) if it cannot be reached, ``RefusedError``
    (``damaged_state``) if it is not the one that was made here.
    """

    def read(self) -> int:
        """Its value."""

    def increment(self) -> int:
        """Raise it by one, durably; return the new value."""


def guarded(memory: Memory) -> str:
    """Digest of all that must not be replayed (rules 1 and 3)."""
    orders = {name: (floor.seq, floor.id) for name, floor in sorted(memory.orders.items())}
    assigned = memory.assigned
    return sha256_hex(
        encode(
            [
                memory.release_floor,
                memory.highest_confirmed_counter,
                sorted(memory.versions.items()),
                memory.roster_seq,
                orders,
                memory.rolled_back,
                memory.spent_permits,
                (assigned.enrolment, assigned.seq) if assigned is not None else None,
            ]
        )
    )


def is_behind(memory: Memory, value: int) -> bool:
    """Whether the counter must still be raised to the memory's value (rule 2).

    Args:
        memory: as it was read.
        value: of the counter.

    Raises:
        RefusedError: ``damaged_state``.
    """
    kept = memory.counter
    if kept is None or kept == PROVISIONING:
        raise _refused(
            "does not belong to this gateway's TPM counter. If that was never made, or not to its "
            "end, run 'interlock-client tpm provision'; otherwise the memory was lost"
        )
    if kept < value:
        raise _refused(
            f"is an older copy: it belongs to {kept}, and the TPM counted {value} since. Somebody "
            "put an old state back"
        )
    if kept > value + 1:
        raise _refused(
            f"belongs to {kept}, and the TPM counted only {value}: it is another TPM, or its "
            "counter was made again"
        )
    return kept == value + 1


def _refused(how: str) -> RefusedError:
    return RefusedError(
        f"The gateway's memory {how}: older releases could be accepted again. What runs goes on, "
        "and nothing is installed. Put the newest state back; or, if a person accepts this one, "
        "run 'interlock-client tpm provision --adopt'.",
        reason="damaged_state",
    )
