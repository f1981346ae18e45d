"""Which releases a gateway can still reach from what runs on it (pure).

Rules:

1. A gateway goes up: from counter c to any image for its hardware and market with a higher counter
   whose barrier (``min_counter_installed``) c meets. From there it goes on.
2. Nobody is left behind: from every supported release, and from every release that is being taken
   back, the newest image for that hardware and market can be reached. What could not reach it
   before is nobody's fault now.
3. A release is supported until the day in its ``support_end``, that day included.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, product

from interlock_core.release import Image


@dataclass(frozen=True)
class Stranded:
    """Gateways that would not get to the newest release any more.

    Attributes:
        version: what runs on them.
        reaches: the highest counter that they would get to.
        newest: the one that they would not.
    """

    version: str
    hardware: str
    market: str
    reaches: int
    newest: int

    @property
    def said(self) -> str:
        """One line about them, for people."""
        return (
            f"{self.version} on {self.hardware} in {self.market} gets to counter {self.reaches}, "
            f"and the newest has {self.newest}"
        )


class Ladder:
    """The images of one product for one kind of hardware in one market (rule 1).

    Args:
        images: all of the product's.
        hardware: a hardware id.
        market: a country.
    """

    def __init__(self, images: Iterable[Image], hardware: str, market: str) -> None:
        steps = sorted(
            (image.min_counter_installed, image.release_counter)
            for image in images
            if hardware in image.hardware_ids and market in image.markets
        )
        self._barriers = [barrier for barrier, _ in steps]
        # The highest counter behind each barrier or a lower one: higher is never worse, since what
        # a lower counter may install a higher one may too, or is above it already.
        self._tops = list(accumulate((counter for _, counter in steps), max))

    @property
    def newest(self) -> int:
        """The highest counter of all; 0 if there is none."""
        return self._tops[-1] if self._tops else 0

    def climb(self, counter: int) -> int:
        """The highest counter that a gateway gets to from ``counter``; at least that."""
        while True:
            behind = bisect_right(self._barriers, counter)
            top = self._tops[behind - 1] if behind else 0
            if top <= counter:
                return counter
            counter = top


def stranded(before: Collection[Image], after: Collection[Image], today: date) -> list[Stranded]:
    """Who would be left behind if ``after`` took the place of ``before`` (rules 2 and 3).

    Args:
        before: the images of a product that are listed now.
        after: those that would be.
        today: to judge by what is supported.

    Returns:
        One line for each supported release, hardware and market, lowest counter first.
    """
    stays = {(image.version, image.release_counter, image.hardware_ids) for image in after}
    starts: dict[tuple[str, str], list[Image]] = {}
    for image in sorted(before, key=lambda one: (one.release_counter, one.version)):
        gone = (image.version, image.release_counter, image.hardware_ids) not in stays
        if gone or date.fromisoformat(image.support_end) >= today:
            for place in product(image.hardware_ids, image.markets):
                starts.setdefault(place, []).append(image)
    found = []
    for place, images in starts.items():
        was, now = Ladder(before, *place), Ladder(after, *place)
        for image in images:
            at = image.release_counter
            reaches = now.climb(at)
            if was.climb(at) == was.newest and reaches < now.newest:
                found.append(Stranded(image.version, *place, reaches, now.newest))
    return found
