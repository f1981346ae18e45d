"""What a product has released, and what a digest that runs somewhere is (pure).

Rules:

1. Facts come from the product's verified metadata alone: of what is listed, the image's own; of
   what was taken back, what the field ``withdrawn`` remembers.
2. A release that was taken back can be named and never wanted.
3. A gateway that confirmed a release with counter c may have confirmed every one before it, so its
   floor is at most the highest ``raises_floor_to`` of the releases up to c (19).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from interlock_core.order import Target
from interlock_core.release import Image


@dataclass(frozen=True)
class Listed:
    """One image that may be wanted: bytes under a path, and its facts."""

    path: str
    length: int
    sha256: str
    image: Image

    @property
    def target(self) -> Target:
        """As an order names it."""
        return Target(path=self.path, length=self.length, sha256=self.sha256)


@dataclass(frozen=True)
class Past:
    """What a digest is or was: one image, listed or taken back.

    Attributes:
        withdrawn: whether it was taken back.
    """

    path: str
    sha256: str
    version: str
    counter: int
    raises_floor_to: int
    hardware: tuple[str, ...]
    markets: tuple[str, ...]
    withdrawn: bool


@dataclass(frozen=True)
class Catalogue:
    """All that a product has released.

    Attributes:
        listed: images that may be wanted.
        gone: images that were taken back.
    """

    product: str
    listed: tuple[Listed, ...]
    gone: tuple[Past, ...] = ()

    @cached_property
    def every(self) -> tuple[Past, ...]:
        """Every image, listed or not, lowest counter first."""
        listed = (
            Past(
                path=one.path,
                sha256=one.sha256,
                version=one.image.version,
                counter=one.image.release_counter,
                raises_floor_to=one.image.raises_floor_to,
                hardware=one.image.hardware_ids,
                markets=one.image.markets,
                withdrawn=False,
            )
            for one in self.listed
        )
        return tuple(sorted((*listed, *self.gone), key=lambda one: (one.counter, one.path)))

    @cached_property
    def _by_digest(self) -> dict[str, Past]:
        return {one.sha256: one for one in self.every}

    @cached_property
    def _by_path(self) -> dict[str, Listed]:
        return {one.path: one for one in self.listed}

    def of_digest(self, sha256: str) -> Past | None:
        """What these bytes are, if the product ever released them."""
        return self._by_digest.get(sha256)

    def at_path(self, path: str) -> Listed | None:
        """The listed image of this path."""
        return self._by_path.get(path)

    def of_version(self, version: str) -> tuple[Past, ...]:
        """Every image of a version, listed or taken back."""
        return tuple(one for one in self.every if one.version == version)

    def floor_after(self, counter: int) -> int:
        """The highest floor that a gateway can have which got as far as ``counter`` (rule 3)."""
        return floor_of(one for one in self.every if one.counter <= counter)


def floor_of(images: Iterable[Past]) -> int:
    """The floor that confirming all of these leaves."""
    return max((one.raises_floor_to for one in images), default=0)
