"""The virtual gateways: where they are, when they poll, and what becomes of an update on them.

Rules:

1. Everything about a gateway follows from the seed and its number, so that a run can be repeated.
2. What it may do is said by the functions that real gateways use: ``placement`` and ``chain``. It
   looks when its poll is due, and again at the last moment before it installs.
3. A gateway with nothing new to do says nothing, as a real one whose poll is answered by 304.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from interlock_core.order import Order
from interlock_core.placement import inside, point
from tests.support.people import CANARY

WARDS: Final = tuple(f"ward-{number}" for number in range(1, 8))
COHORTS: Final = (CANARY, *WARDS)
CANARIES: Final = 20
"""One gateway in so many is a canary."""

Fate = Literal["confirms", "fails", "rolls_back", "silent", "defers"]


@dataclass(frozen=True)
class Faults:
    """Shares of gateways, in basis points: what an update does to them.

    Attributes:
        failing: their health checks fail; half of them roll back, half stay as they are.
        silent: nothing is heard of them any more.
        deferring: they are in clinical use for up to five days, and say so each day.
    """

    failing: int = 0
    silent: int = 0
    deferring: int = 0


@dataclass
class Gateways:
    """A fleet.

    Attributes:
        cohort: of each, by number.
        lag: how many rounds after something new each polls: its place in the polling interval.
        of: the numbers of those of each cohort.
    """

    size: int
    seed: int
    rounds_per_poll: int
    cohort: list[str] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)
    of: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = Random(self.seed)  # noqa: S311  # nothing secret: a run is to be repeated
        for number in range(self.size):
            ward = WARDS[number % len(WARDS)]
            cohort = CANARY if number % CANARIES == 0 else ward
            self.cohort.append(cohort)
            self.lag.append(random.randrange(self.rounds_per_poll) + 1)
            self.of.setdefault(cohort, []).append(number)

    def points(self, order: Order) -> list[int]:
        """The point of each under an order."""
        wanted = order.targets[0].sha256
        return [point(wanted, f"GW-{number:06}") for number in range(self.size)]

    def fates(self, faults: Faults, order: Order) -> list[Fate]:
        """What becomes of each under an order."""
        random = Random(f"{self.seed} {order.seq}")  # noqa: S311  # as above
        failing, silent = faults.failing, faults.failing + faults.silent
        deferring = silent + faults.deferring
        fates: list[Fate] = []
        for _ in range(self.size):
            drawn = random.randrange(10_000)
            if drawn < failing:
                fates.append("fails" if drawn % 2 else "rolls_back")
            elif drawn < silent:
                fates.append("silent")
            else:
                fates.append("defers" if drawn < deferring else "confirms")
        return fates


@dataclass(frozen=True)
class View:
    """What gateways of a cohort read of an order: how much of it is open to them.

    Attributes:
        basis_points: the largest share of the cohort that is open; 0 if none is.
    """

    basis_points: int = 0

    def lets_in(self, point_: int) -> bool:
        """Whether a gateway of this point may go on."""
        return inside(point_, self.basis_points)
