"""Releases that were taken back (pure; tuf's types and no I/O).

Rules:

1. A withdrawn release's images leave the product's metadata, so no gateway can install them: it
   refuses an order for them by name (``order_mismatch``). What runs already goes on running.
2. The signed field ``withdrawn`` remembers it for ever, by version: its release counter and the
   floor that it raised, the digest of each image, when and why. A counter and a version that were
   used stay used, and people can still say what a gateway runs.
3. Its evidence stays listed: whoever still runs it needs its SBOM and its VEX all the more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from tuf.api.metadata import Targets

from interlock_core.errors import RefusedError, WireError
from interlock_core.names import Digest, HardwareId, Market, TargetPath, Version
from interlock_core.release import Counter, Image
from interlock_core.wire import Record, convert

WITHDRAWN: Final = "withdrawn"
"""The signed field of a product's metadata (rule 2)."""


class Gone(Record, frozen=True, kw_only=True):
    """One image that was taken back."""

    path: TargetPath
    sha256: Digest
    hardware_ids: Annotated[tuple[HardwareId, ...], Meta(min_length=1, max_length=64)]
    markets: Annotated[tuple[Market, ...], Meta(min_length=1, max_length=249)]


class Withdrawal(Record, frozen=True, kw_only=True):
    """One release that was taken back.

    Attributes:
        release_counter: the highest of its images.
        raises_floor_to: likewise; gateways that confirmed it install nothing below.
        at: when.
        reason: why, for people.
        images: each image that it had.
    """

    release_counter: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    raises_floor_to: Counter
    at: datetime
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    images: Annotated[tuple[Gone, ...], Meta(min_length=1, max_length=64)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reason.isprintable():
            raise ValueError("`reason` must be one line of printable text")


def withdrawals(targets: Targets | None) -> dict[str, Withdrawal]:
    """What a product has taken back so far, by version.

    Raises:
        RefusedError: ``bad_withdrawal``: the signed field is malformed.
    """
    stated: Any = targets.unrecognized_fields.get(WITHDRAWN, {}) if targets is not None else {}
    try:
        return convert(stated, dict[Version, Withdrawal], what=f"field {WITHDRAWN!r}")
    except WireError as e:
        raise RefusedError(str(e), reason="bad_withdrawal") from e


def set_withdrawn(targets: Targets, stated: Mapping[str, Withdrawal]) -> None:
    """State what was taken back; call it before signing."""
    targets.unrecognized_fields[WITHDRAWN] = {
        version: msgspec.to_builtins(stated[version]) for version in sorted(stated)
    }


def withdrawal(
    images: Mapping[str, tuple[Image, str]], version: str, *, at: datetime, reason: str
) -> Withdrawal:
    """What is to be remembered of a release.

    Args:
        images: every image of the product and its SHA-256, by path.
        version: the release; it has an image.
        at: when it is taken back.
        reason: why.

    Raises:
        WireError: a reason that is not one line of printable text.
    """
    mine = {path: pair for path, pair in sorted(images.items()) if pair[0].version == version}
    stated = {
        "release_counter": max(image.release_counter for image, _ in mine.values()),
        "raises_floor_to": max(image.raises_floor_to for image, _ in mine.values()),
        "at": msgspec.to_builtins(at),
        "reason": reason,
        "images": [
            {
                "path": path,
                "sha256": sha256,
                "hardware_ids": list(image.hardware_ids),
                "markets": list(image.markets),
            }
            for path, (image, sha256) in mine.items()
        ],
    }
    return convert(stated, Withdrawal, what="withdrawal")


def highest_counter(images: Iterable[Image], gone: Mapping[str, Withdrawal]) -> int:
    """The highest release counter that a product ever had; 0 before its first release."""
    counters = [image.release_counter for image in images]
    counters += [one.release_counter for one in gone.values()]
    return max(counters, default=0)
