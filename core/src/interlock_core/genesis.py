"""What a ceremony fixes for ever: the fleet id, and the digests of both first roots.

Rules:

1. The fleet id stands in every statement, the roster and the directive, so that what was signed
   for staging cannot be replayed into production.
2. Online keys are named for what they sign, the same in the ceremony, the server and the guides.
"""

from __future__ import annotations

from typing import Final, Literal

from interlock_core.names import Digest, Name
from interlock_core.wire import Record, decode

IMAGE: Final = "image"
DIRECTOR: Final = "director"

IMAGE_ONLINE: Final = "image-online"
DIRECTOR_TARGETS: Final = "director-targets"
DIRECTOR_ONLINE: Final = "director-online"

ONLINE_ROLES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    IMAGE_ONLINE: ((IMAGE, "snapshot"), (IMAGE, "timestamp")),
    DIRECTOR_TARGETS: ((DIRECTOR, "targets"),),
    DIRECTOR_ONLINE: ((DIRECTOR, "snapshot"), (DIRECTOR, "timestamp")),
}
"""Online key name -> the (repository, role) pairs that it signs."""


class FleetFile(Record, frozen=True, kw_only=True):
    """``fleet.json`` of a ceremony's output."""

    type: Literal["urn:interlock:fleet:v1"] = "urn:interlock:fleet:v1"
    fleet: Name
    image_root: Digest
    director_root: Digest


def read_fleet(data: bytes) -> FleetFile:
    """Read ``fleet.json``.

    Raises:
        WireError: malformed.
    """
    return decode(data, FleetFile, limit=4096, what="fleet.json")
