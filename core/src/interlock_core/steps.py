"""Which targets an order needs, so that no barrier leaves a gateway behind (pure).

Rules (9 is that of ``docs/wire-format.md``, "Who is believed"):

1. A gateway takes the first target in the list that is for its hardware and whose barrier its
   highest confirmed counter meets (9). So what is wanted comes first, and each step comes before
   those with a lower barrier.
2. A step has a counter that meets the barrier before it, a lower barrier of its own, and is cleared
   wherever what is wanted is. Of several the one with the lowest barrier is taken, which makes the
   fewest steps, and of those the newest.
3. It ends where every start is below no barrier. A start that no step reaches is a dead end, and
   is named: its gateways stay where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from interlock_core.catalogue import Listed
from interlock_core.order import MAX_TARGETS


@dataclass(frozen=True, order=True)
class Start:
    """Gateways of one kind of hardware that have confirmed this counter, and none above it."""

    hardware: str
    counter: int


@dataclass(frozen=True)
class Plan:
    """The targets of an order, the wanted ones first, and who cannot get there.

    Attributes:
        dead_ends: starts behind a barrier that no listed release leads past.
        without: starts whose hardware nothing wanted is for.
    """

    targets: tuple[Listed, ...]
    dead_ends: tuple[Start, ...]
    without: tuple[Start, ...]

    @property
    def complete(self) -> bool:
        """Whether the list fits into an order."""
        return len(self.targets) <= MAX_TARGETS


def compose(wanted: Sequence[Listed], listed: Iterable[Listed], starts: Collection[Start]) -> Plan:
    """The list of targets that takes every start to what is wanted (rules 1 to 3).

    Args:
        wanted: what is wanted, one image for each kind of hardware; steps that are named already
            may stand behind.
        listed: every image that may be a step.
        starts: where gateways are.
    """
    candidates = tuple(listed)
    chosen: list[Listed] = list(wanted)
    dead_ends: list[Start] = []
    without: list[Start] = []
    for hardware in sorted({start.hardware for start in starts}):
        here = sorted(start for start in starts if start.hardware == hardware)
        first = next((one for one in wanted if hardware in one.image.hardware_ids), None)
        if first is None:
            without += here
            continue
        barrier = _lowest(chosen, hardware)
        while here[0].counter < barrier:
            step = _step(candidates, first, hardware, barrier)
            if step is None:
                dead_ends += [start for start in here if start.counter < barrier]
                break
            if step not in chosen:
                chosen.append(step)
            barrier = step.image.min_counter_installed
    steps = sorted(
        chosen[len(wanted) :],
        key=lambda one: (-one.image.min_counter_installed, -one.image.release_counter, one.path),
    )
    return Plan((*wanted, *steps), tuple(dead_ends), tuple(without))


def climb(targets: Sequence[Listed], hardware: str, counter: int) -> tuple[Listed, ...] | None:
    """The targets that a gateway takes one after another, the wanted one last; None: a dead end.

    Args:
        targets: of an order, in its order.
        hardware: of the gateway.
        counter: the highest that it confirmed.
    """
    mine = [one for one in targets if hardware in one.image.hardware_ids]
    taken: list[Listed] = []
    while mine:
        fits = next((o for o in mine if o.image.min_counter_installed <= counter), None)
        if fits is None or fits in taken:
            return None
        taken.append(fits)
        if fits is mine[0]:
            return tuple(taken)
        counter = max(counter, fits.image.release_counter)
    return None


def _lowest(chosen: Iterable[Listed], hardware: str) -> int:
    return min(
        one.image.min_counter_installed for one in chosen if hardware in one.image.hardware_ids
    )


def _step(
    candidates: Iterable[Listed], wanted: Listed, hardware: str, barrier: int
) -> Listed | None:
    markets = set(wanted.image.markets)
    fitting = [
        one
        for one in candidates
        if hardware in one.image.hardware_ids
        and barrier <= one.image.release_counter < wanted.image.release_counter
        and one.image.min_counter_installed < barrier
        and markets <= set(one.image.markets)
    ]
    return min(
        fitting,
        key=lambda o: (o.image.min_counter_installed, -o.image.release_counter, o.path),
        default=None,
    )
