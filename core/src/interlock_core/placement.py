"""The fixed point of a device in a rollout, and who is inside.

Rules:

1. A device's point is fixed by the wanted image's digest and the factory device id. Nobody can
   grind it: others signed the digest, and the server assigns no ids.
2. A device is inside when its point is below the stage's basis points, so a larger share contains
   the smaller one.
3. Every part of the hashed text carries its length (4 bytes, big-endian), so that no two pairs of
   parts make the same text.
"""

from __future__ import annotations

import hashlib
from typing import Final

POINTS: Final = 10_000


def _hash(label: bytes, *parts: bytes) -> int:
    digest = hashlib.sha256(label)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return int.from_bytes(digest.digest()[:8], "big")


def point(wanted_sha256: str, device: str) -> int:
    """The device's point, 0 to 9,999.

    Args:
        wanted_sha256: hexadecimal digest of the wanted target.
        device: the factory device id.
    """
    return _hash(b"interlock placement v1", bytes.fromhex(wanted_sha256), device.encode()) % POINTS


def inside(point_: int, basis_points: int) -> bool:
    """Whether a device with this point is inside a share (rule 2)."""
    return point_ < basis_points


def spread_offset(order_id: str, device: str, spread_seconds: int) -> int:
    """Seconds, 0 to ``spread_seconds``, by which this device waits within the spread."""
    label = b"interlock spread v1"
    return _hash(label, bytes.fromhex(order_id), device.encode()) % (spread_seconds + 1)
