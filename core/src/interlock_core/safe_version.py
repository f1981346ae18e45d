"""To which version a recall leads (pure).

Rules:

1. It is the newest listed release that is not recalled, for every kind of hardware and market of
   what is recalled, at or above every floor that a gateway with such an image can have.
2. Below that floor a permit is needed, and somebody must name the version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from interlock_core.catalogue import Catalogue, Listed, Past


@dataclass(frozen=True)
class Safe:
    """The version to return to.

    Attributes:
        targets: its images.
        floor: the highest that a gateway with a recalled image can have.
        below_floor: whether a permit is needed.
        lacks: kinds of hardware of what is recalled that it is not for.
    """

    version: str
    targets: tuple[Listed, ...]
    floor: int
    below_floor: bool
    lacks: tuple[str, ...]


def safe_version(
    catalogue: Catalogue, recalled: Collection[Past], to: str | None = None
) -> Safe | None:
    """The version to return to; None if there is none (1).

    Args:
        catalogue: of the product.
        recalled: what is taken back; at least one image.
        to: a version that somebody names.
    """
    floor = catalogue.floor_after(max(one.counter for one in recalled))
    bad = {one.sha256 for one in recalled}
    versions: dict[str, list[Listed]] = {}
    for one in catalogue.listed:
        if one.sha256 not in bad:
            versions.setdefault(one.image.version, []).append(one)
    if to is not None:
        images = versions.get(to)
        return None if images is None else _safe(to, images, recalled, floor)
    safe = [_safe(version, images, recalled, floor) for version, images in versions.items()]
    fitting = [one for one in safe if not one.lacks and not one.below_floor]
    return max(fitting, key=lambda one: _counter(one.targets), default=None)


def _safe(version: str, images: Sequence[Listed], recalled: Collection[Past], floor: int) -> Safe:
    needed = {(hardware, one.markets) for one in recalled for hardware in one.hardware}
    lacks = {
        hardware
        for hardware, markets in needed
        if not any(
            hardware in one.image.hardware_ids and set(markets) <= set(one.image.markets)
            for one in images
        )
    }
    targets = tuple(sorted(images, key=lambda one: one.path))
    below = min(one.image.release_counter for one in images) < floor
    return Safe(version, targets, floor, below, tuple(sorted(lacks)))


def _counter(targets: Iterable[Listed]) -> int:
    return max(one.image.release_counter for one in targets)
