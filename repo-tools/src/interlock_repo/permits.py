"""Permits become targets of a product's role (pure).

Rules:

1. A permit is for one pair of images: what runs, which may have been withdrawn since, and what may
   be installed in its place, which is listed. A release with an image for each kind of hardware
   makes one permit for each pair that shares hardware.
2. A permit goes down, to other bytes. Upwards none is needed, and one that nobody needs is not
   signed.
3. Its fleet is that of the roster in force; it is for named devices or cohorts, under one order,
   until it expires.
4. Its name is made of its digest. The same one twice is refused; one that is left out is revoked.
5. One event makes so many, and so many bytes of them, as people are shown and signatures carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from tuf.api.metadata import TargetFile, Targets

from interlock_core import released, wire
from interlock_core.errors import RefusedError
from interlock_core.release import MAX_PERMITS_BYTES, PERMITS, Permit, facts_of
from interlock_core.withdrawn import withdrawals
from interlock_repo.specs import MoveSpec

MAX_MADE: Final = 256
"""The most permits of one event, of ``MAX_PERMITS_BYTES`` together (rule 5)."""

_NAME_LENGTH: Final = 16


@dataclass(frozen=True)
class Known:
    """An image that is listed, or was.

    Attributes:
        listed: whether gateways may still install it.
    """

    path: str
    version: str
    counter: int
    sha256: str
    hardware: frozenset[str]
    listed: bool


def known_images(targets: Targets) -> list[Known]:
    """Every image that a product ever had.

    Raises:
        RefusedError, WireError: as ``released.read_facts`` and ``withdrawals``.
    """
    found = [
        Known(
            path,
            image.version,
            image.release_counter,
            released.sha256_of(path, targets.targets[path]),
            frozenset(image.hardware_ids),
            listed=True,
        )
        for path, image in released.images(targets).items()
    ]
    found += [
        Known(
            gone.path, version, one.release_counter, gone.sha256, frozenset(gone.hardware_ids),
            listed=False,
        )
        for version, one in withdrawals(targets).items()
        for gone in one.images
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.counter, one.path))


def permits_for(
    move: MoveSpec, product: str, known: Iterable[Known], *, fleet: str, now: datetime
) -> list[Permit]:
    """The permits that one move takes (rules 1 to 3).

    Raises:
        RefusedError: ``unknown_version``, ``no_such_move``, ``permit_not_needed`` or ``expired``.
    """
    images = list(known)
    sources = _of_version(images, move.from_version)
    wanted = [one for one in _of_version(images, move.to_version) if one.listed]
    if not wanted:
        raise RefusedError(
            f"{move.to_version} was withdrawn: nobody can install it, with a permit or without.",
            reason="unknown_version",
        )
    if move.expires <= now:
        raise RefusedError(
            f"The permit would have expired at {wire.format_time(move.expires)}: say a later time.",
            reason="expired",
        )
    pairs = [(a, b) for a in sources for b in wanted if a.hardware & b.hardware]
    if not pairs:
        raise RefusedError(
            f"No hardware runs both {move.from_version} and {move.to_version} of {product}.",
            reason="no_such_move",
        )
    if any(source.sha256 == target.sha256 for source, target in pairs):
        raise RefusedError(
            f"{move.from_version} and {move.to_version} hold the same image: one runs as the other "
            "does.",
            reason="no_such_move",
        )
    if any(source.counter <= target.counter for source, target in pairs):
        raise RefusedError(
            f"{move.from_version} to {move.to_version} does not go down: an order alone does it, "
            "and no permit is needed.",
            reason="permit_not_needed",
        )
    return [
        Permit(
            fleet=fleet,
            product=product,
            from_sha256=source.sha256,
            to_sha256=target.sha256,
            devices=tuple(sorted(set(move.devices))),
            cohorts=tuple(sorted(set(move.cohorts))),
            order=move.order,
            expires=move.expires,
        )
        for source, target in pairs
    ]


def add_permits(targets: Targets, permits: Iterable[Permit]) -> dict[str, bytes]:
    """List permits in a product's metadata; return their bytes by path (rules 4 and 5).

    Raises:
        RefusedError: ``name_twice``: a permit that is listed already; ``too_many_permits``.
    """
    contents: dict[str, bytes] = {}
    for permit in permits:
        data = wire.encode(permit)
        digest = wire.sha256_hex(data)
        path = f"{permit.product}/{PERMITS}/{digest[:_NAME_LENGTH]}.json"
        if path in targets.targets:
            raise RefusedError(
                f"The permit {path} is listed already: it need not be signed again.",
                reason="name_twice",
            )
        custom = msgspec.to_builtins(facts_of(permit))
        targets.targets[path] = TargetFile(len(data), {"sha256": digest}, path, {"custom": custom})
        contents[path] = data
    if len(contents) > MAX_MADE or sum(map(len, contents.values())) > MAX_PERMITS_BYTES:
        raise RefusedError(
            f"These are {len(contents)} permits, and one event makes at most {MAX_MADE}, of "
            f"{MAX_PERMITS_BYTES} bytes together: make several events, one after the other.",
            reason="too_many_permits",
        )
    return contents


def revoke(targets: Targets, before: Targets, paths: Iterable[str]) -> None:
    """Leave permits out that ``before`` lists (rule 4); one that has expired is out already.

    Raises:
        RefusedError: ``unknown_permit``.
    """
    listed = released.permits(before)
    for path in paths:
        if path not in listed:
            raise RefusedError(
                f"{path} is no permit in force ({', '.join(listed) or 'there is none'}).",
                reason="unknown_permit",
            )
        targets.targets.pop(path, None)


def titles(targets: Iterable[Targets | None]) -> Mapping[str, str]:
    """What people call an image, by its SHA-256: version, and whether it was withdrawn."""
    return {
        one.sha256: one.version if one.listed else f"{one.version} (withdrawn)"
        for each in targets
        if each is not None
        for one in known_images(each)
    }


def _of_version(images: Iterable[Known], version: str) -> list[Known]:
    found = [one for one in images if one.version == version]
    if not found:
        raise RefusedError(f"The product never had a release {version}.", reason="unknown_version")
    return found
