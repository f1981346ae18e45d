"""Deltas by which a wanted image could come: those that its own signers offer (pure).

Rules:

1. An image names its deltas, among its references. Nothing else is looked at, and no director's
   word: deltas come from the product's role, as images do.
2. A delta is offered only if the role lists it with the digest that the image names, its facts
   belong to its path, it is of the image's own release, leads to exactly this image, and is
   smaller. Anything else is as if it were not there: the whole image can always be fetched.
3. No offer changes which image is wanted or whether it may be installed. That was decided, and
   what comes out is judged by the image's signed digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tuf.api.metadata import TargetFile, Targets

from interlock_core.errors import WireError
from interlock_core.facts import TargetInfo
from interlock_core.release import Delta, Image, read_delta


@dataclass(frozen=True)
class DeltaOffer:
    """A delta that leads to a wanted image.

    Attributes:
        path: its target path in the image repository.
        info: its signed length and hashes, among them SHA-256.
        facts: what it is applied to, and how its header is known.
    """

    path: str
    info: TargetInfo
    facts: Delta


def offered(role: Targets, path: str, image: Image) -> tuple[DeltaOffer, ...]:
    """The deltas that lead to an image, in the order in which it names them (rules 1 and 2).

    Args:
        role: the product's metadata, verified.
        path: of the image, which ``role`` lists.
        image: its facts.
    """
    return tuple(_offered(role, role.targets[path], image))


def _offered(role: Targets, target: TargetFile, image: Image) -> Iterator[DeltaOffer]:
    for reference in image.references:
        listed = role.targets.get(reference.path)
        if reference.kind != "delta" or listed is None:
            continue
        with suppress(WireError):
            facts = read_delta(reference.path, listed.custom)
            if (
                listed.hashes.get("sha256") == reference.sha256
                and (facts.product, facts.version) == (image.product, image.version)
                and facts.to_sha256 == target.hashes.get("sha256")
                and facts.header_length < listed.length < target.length
            ):
                info = TargetInfo(listed.length, dict(listed.hashes))
                yield DeltaOffer(reference.path, info, facts)
