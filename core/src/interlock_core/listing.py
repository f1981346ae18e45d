"""What a product has released, from its verified metadata (pure; tuf's types and no I/O).

Rules:

1. A target whose facts cannot be read is no image: a gateway would not install it either.
2. Images that were taken back stand in the signed field ``withdrawn``.
"""

from __future__ import annotations

from contextlib import suppress

from tuf.api.metadata import Targets

from interlock_core.catalogue import Catalogue, Listed, Past
from interlock_core.errors import WireError
from interlock_core.release import read_image
from interlock_core.withdrawn import withdrawals


def catalogue_of(product: str, metadata: Targets) -> Catalogue:
    """Everything that a product has released (rules 1 and 2).

    Args:
        product: its name.
        metadata: verified.

    Raises:
        RefusedError: ``bad_withdrawal``: the signed field is malformed.
    """
    listed = []
    for path, target in sorted(metadata.targets.items()):
        sha256 = target.hashes.get("sha256")
        with suppress(WireError):
            image = read_image(path, target.custom)
            if sha256 is not None:
                listed.append(Listed(path, target.length, sha256, image))
    gone = [
        Past(
            path=image.path,
            sha256=image.sha256,
            version=version,
            counter=taken.release_counter,
            raises_floor_to=taken.raises_floor_to,
            hardware=image.hardware_ids,
            markets=image.markets,
            withdrawn=True,
        )
        for version, taken in withdrawals(metadata).items()
        for image in taken.images
    ]
    return Catalogue(product, tuple(listed), tuple(gone))
