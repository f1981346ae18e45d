"""Which states are tried, and in which order (pure).

Rules:

1. Between two flushes nothing becomes certain, so what a cut can leave at any instant between them
   is also something that it can leave at the end of that time: one *window* for each flush, with
   what is certain by then and what is pending. The state after each single operation is among them.
2. In each window, systematically. Of what was done since the flush before, the *new*: every
   beginning of it, with all and with nothing of what is older; each operation alone, each left out;
   every subset where at most ``EVERY`` are pending, and otherwise every pair. Of what is older and
   was never flushed: each left out, where at most ``OLD`` are. And of all: everything that was done
   to one file, or to the names of one directory, left out and alone, also with each new operation
   left out beside it; all names left out, and alone.
3. In each window, each new write torn in each way of ``tears``, with all others there and with only
   those before it there; and all writes to one file torn to nothing, its length kept.
4. In each window with more than that, random subsets of everything with random tears, from a seed.
5. The order is fixed, the likeliest first over all windows, so that a limit cuts off the least
   likely, and a state keeps its number for as long as the recording and the seed are the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

from interlock_client.powercut.model import State, Tear
from interlock_client.powercut.operations import (
    Add,
    Mode,
    Move,
    Operation,
    Recording,
    Remove,
    Resize,
    Sync,
    Write,
)

EVERY: Final = 7
PAIRS: Final = 24
OLD: Final = 16
SECTORS: Final = (512, 4096)

_TEARS: Final[tuple[Tear, ...]] = (
    Tear("none"),
    Tear("stale"),
    *(
        Tear(keep, sector)
        for sector in SECTORS
        for keep in ("first", "but_last", "last", "but_first")
    ),
)


@dataclass(frozen=True)
class Window:
    """The time up to a flush, or up to the end.

    Attributes:
        end: the number of the flush, or of all operations.
        certain: bit n is set where operation n is on the disk whatever happens.
        pending: the numbers of those that may be there.
        new: those of them that were done since the flush before.
    """

    end: int
    certain: int
    pending: tuple[int, ...]
    new: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """How much is tried.

    Attributes:
        seed: of the random part.
        samples: random states for each window that has more than the systematic ones.
        most: states in all.
    """

    seed: int = 1
    samples: int = 16
    most: int = 20_000


def windows(recording: Recording) -> list[Window]:
    """The windows of a recording, in order (rule 1)."""
    operations = recording.operations
    certain, synced = 0, 0
    flushed: dict[int, set[int]] = {}
    found: list[Window] = []
    before = 0
    for number, operation in enumerate(operations):
        if not isinstance(operation, Sync):
            continue
        found.append(_window(operations, before, number, certain | synced))
        before = number
        synced |= 1 << number
        for earlier in range(operation.before):
            if certain >> earlier & 1:
                continue
            halves = _halves(operations[earlier], operation)
            done = flushed.setdefault(earlier, set())
            done |= halves & operation.nodes
            if halves and halves <= done:
                certain |= 1 << earlier
    found.append(_window(operations, before, len(operations), certain | synced))
    return found


def states(recording: Recording, plan: Plan) -> Iterator[tuple[Window, State]]:
    """The states to try, each once, numbered from 0 by their order (rules 2 to 5)."""
    seen: set[State] = set()

    def fresh() -> Iterator[tuple[Window, State]]:
        present = windows(recording)
        for level in (_plain, _torn, _subsets, _random):
            for window in present:
                for state in level(recording.operations, window, plan):
                    if state not in seen:
                        seen.add(state)
                        yield window, state

    return islice(fresh(), plan.most)


def tears(write: Write) -> Iterator[Tear]:
    """The ways in which a write may be there in part, each other than all and nothing (rule 3)."""
    parts: set[tuple[int, int]] = set()
    for tear in _TEARS:
        part = tear.pieces(write.offset, len(write.data))
        if part == (write.offset, write.offset + len(write.data)):
            continue
        if tear.keep in {"none", "stale"} or (part[0] < part[1] and part not in parts):
            parts.add(part)
            yield tear


def lost(window: Window, state: State) -> tuple[int, ...]:
    """The numbers of the operations that are not there, or not whole."""
    torn = {number for number, _ in state.torn}
    return tuple(n for n in window.pending if not state.has(n) or n in torn)


def restored(state: State, number: int) -> State:
    """The state with one operation whole."""
    torn = tuple(one for one in state.torn if one[0] != number)
    return State(state.kept | 1 << number, torn)


def _window(operations: Sequence[Operation], before: int, end: int, certain: int) -> Window:
    pending = tuple(
        number
        for number in range(end)
        if not certain >> number & 1 and not isinstance(operations[number], Sync)
    )
    return Window(end, certain, pending, tuple(n for n in pending if n >= before))


def _halves(operation: Operation, sync: Sync) -> set[int]:
    """What must be flushed for an operation to be certain."""
    match operation:
        case Write(node=node) | Resize(node=node):
            return {node}
        case Mode(node=node):
            return {node} if sync.modes else set()
        case Add(directory=directory) | Remove(directory=directory):
            return {directory}
        case Move(directory=directory, to_directory=to_directory):
            return {directory, to_directory}
        case _:
            return set()


def _bits(numbers: Sequence[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits


def _groups(operations: Sequence[Operation], window: Window) -> list[int]:
    """What is written back together, or is not: one file's content, one directory's names, all
    names (rule 2).
    """
    groups: dict[tuple[str, int], int] = {}
    for number in window.pending:
        match operations[number]:
            case Write(node=node) | Resize(node=node):
                keys = [("content", node)]
            case Add(directory=directory) | Remove(directory=directory):
                keys = [("names", directory), ("names", 0)]
            case Move(directory=directory, to_directory=there):
                keys = [("names", directory), ("names", there), ("names", 0)]
            case _:
                keys = []
        for key in set(keys):
            groups[key] = groups.get(key, 0) | 1 << number
    return list(dict.fromkeys(groups.values()))


def _plain(operations: Sequence[Operation], window: Window, plan: Plan) -> Iterator[State]:  # noqa: ARG001  # each level takes the same
    certain, pending, new = window.certain, window.pending, window.new
    every = certain | _bits(pending)
    older = every & ~_bits(new)
    yield State(every)
    yield State(certain)
    for size in range(len(new)):
        yield State(older | _bits(new[:size]))
        yield State(certain | _bits(new[:size]))
    for number in new:
        yield State(every & ~(1 << number))
        yield State(certain | 1 << number)
    if len(pending) - len(new) <= OLD:
        for number in pending:
            yield State(every & ~(1 << number))
    for group in _groups(operations, window):
        yield State(every & ~group)
        yield State(certain | group)


def _torn(operations: Sequence[Operation], window: Window, plan: Plan) -> Iterator[State]:  # noqa: ARG001  # as above
    certain, pending, new = window.certain, window.pending, window.new
    every = certain | _bits(pending)
    emptied: dict[int, list[tuple[int, Tear]]] = {}
    for number in pending:
        write = operations[number]
        if isinstance(write, Write):
            emptied.setdefault(write.node, []).append((number, Tear("none")))
    for place, number in enumerate(new):
        write = operations[number]
        if isinstance(write, Write):
            before = every & ~_bits(new[place + 1 :])
            for tear in tears(write):
                yield State(every, ((number, tear),))
                yield State(before, ((number, tear),))
    for torn in emptied.values():
        yield State(every, tuple(torn))


def _subsets(operations: Sequence[Operation], window: Window, plan: Plan) -> Iterator[State]:  # noqa: ARG001  # as above
    certain, pending, new = window.certain, window.pending, window.new
    every = certain | _bits(pending)
    if len(pending) <= EVERY:
        for size in range(len(pending) + 1):
            for chosen in combinations(pending, size):
                yield State(certain | _bits(chosen))
        return
    if len(new) <= PAIRS:
        for pair in combinations(new, 2):
            yield State(every & ~_bits(pair))
            yield State(certain | _bits(pair))
    for group in _groups(operations, window):
        for number in new:
            yield State(every & ~group & ~(1 << number))


def _random(operations: Sequence[Operation], window: Window, plan: Plan) -> Iterator[State]:
    if len(window.pending) < 3:
        return
    chance = random.Random(f"{plan.seed} {window.end}")  # noqa: S311  # states to try, no secret
    for _ in range(plan.samples):
        share = chance.choice((0.15, 0.5, 0.85))
        kept = tuple(n for n in window.pending if chance.random() < share)
        torn = []
        for number in kept:
            write = operations[number]
            ways = list(tears(write)) if isinstance(write, Write) else []
            if ways and chance.random() < 0.25:
                torn.append((number, chance.choice(ways)))
        yield State(window.certain | _bits(kept), tuple(torn))
