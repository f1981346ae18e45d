"""What a delta of a new image may be made from (pure).

Rules:

1. Only from what gateways hold: what a slot holds after a release of the same product, by its
   digest. Of a release that was withdrawn since, that is the image itself.
2. The new image is for a slot of that name, and for hardware that the old one runs on; otherwise
   no gateway could ever use the delta.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tuf.api.metadata import Targets

from interlock_core import released
from interlock_core.errors import RefusedError
from interlock_core.withdrawn import withdrawals


@dataclass(frozen=True)
class Source:
    """What a slot holds after an earlier release.

    Attributes:
        slot: its name; None of a withdrawn release, of which only the image is remembered.
    """

    version: str
    slot: str | None
    sha256: str
    hardware: frozenset[str]


def sources(before: Targets | None) -> list[Source]:
    """Everything that gateways of a product may hold (rule 1).

    Raises:
        RefusedError, WireError: as ``released.images`` and ``withdrawals``.
    """
    if before is None:
        return []
    found = [
        Source(image.version, slot.name, slot.sha256, frozenset(image.hardware_ids))
        for image in released.images(before).values()
        for slot in image.slots
    ]
    found += [
        Source(version, None, gone.sha256, frozenset(gone.hardware_ids))
        for version, one in withdrawals(before).items()
        for gone in one.images
    ]
    return found


def source_for(
    known: Iterable[Source],
    sha256: str,
    *,
    what: str,
    image: str,
    slots: Collection[str],
    hardware: Collection[str],
) -> tuple[Source, str]:
    """The source with a digest, and the slot that holds it (rule 2).

    Args:
        known: what gateways may hold.
        sha256: of the old image.
        what: names the old image in errors.
        image: names the new one.
        slots: that the new image fills.
        hardware: that it is for.

    Raises:
        RefusedError: ``unknown_source``: no release put that into a slot; ``wrong_source``: it is
            for another slot or other hardware.
    """
    same = [one for one in known if one.sha256 == sha256]
    if not same:
        raise RefusedError(
            f"No release put {what} (sha256 {sha256[:12]}…) into a slot: gateways hold nothing "
            "that a delta could be made from but what was released. Name the file that was.",
            reason="unknown_source",
        )
    for one in same:
        slot = one.slot if one.slot is not None or len(slots) != 1 else next(iter(slots))
        if slot is not None and slot in slots and one.hardware & set(hardware):
            return one, slot
    raise RefusedError(
        f"No gateway that holds {what} ({same[0].version}, slot {same[0].slot or 'of its image'}, "
        f"hardware {', '.join(sorted(same[0].hardware))}) can install {image} (slots "
        f"{', '.join(sorted(slots))}, hardware {', '.join(sorted(hardware))}).",
        reason="wrong_source",
    )
