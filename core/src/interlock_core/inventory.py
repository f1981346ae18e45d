"""Which gateways there are, what reads metadata on them, and which could not read what (pure).

Rules:

1. An inventory is complete or it is none: every gateway that the server lists stands in it once, in
   the order of their ids. One whose report does not verify, or that never reported, stands in it
   without versions.
2. A gateway could not read metadata if one of the kinds of keys in it needs a library that the
   gateway does not have. One whose versions are unknown has none of what is needed. A kind that
   needs nothing in particular is read by every client that ever shipped.
3. ML-DSA needs securesystemslib 1.6.0 and cryptography 48: an older securesystemslib refuses the
   whole file for one such key, and an older cryptography counts no such signature. A kind of key
   that is not known here could be read by nobody.
4. A version that is not plainly a release ("1.6.0rc1", "unknown") is taken for none.

The inventory is no trust decision and is not signed: whoever holds the server can hide a gateway
from it, or an edit can, and the gateway would then be the one that finds out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.names import DeviceId, HardwareId, Name
from interlock_core.report import Versions
from interlock_core.wire import Record, decode_canonical

MAX_GATEWAYS: Final = 100_000
MAX_INVENTORY: Final = 64 * 1024 * 1024

_ML_DSA: Final[Mapping[str, tuple[int, ...]]] = {
    "securesystemslib": (1, 6, 0),
    "cryptography": (48,),
}
NEEDS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = MappingProxyType(
    {scheme: _ML_DSA if kind.keytype == "ml-dsa" else {} for scheme, kind in KEY_SCHEMES.items()}
)
"""What a kind of key needs at least of the libraries that a report names (rule 3)."""
_RELEASE: Final = re.compile(r"(?P<numbers>[0-9]{1,9}(?:\.[0-9]{1,9}){0,5})(?:\.post[0-9]{1,9})?\Z")


class Gateway(Record, frozen=True, kw_only=True):
    """One enrolled gateway.

    Attributes:
        state: ``waiting`` for a countersignature, ``countersigned``, ``quarantined``,
            ``superseded``, ``revoked``, or ``forged``: its papers do not verify. Gateways that were
            taken out of service are not listed.
        reported_at: when it signed the newest report that verifies; None if there is none.
        versions: what that report says; None if there is none.
    """

    device: DeviceId
    product: Name | None
    hardware: HardwareId | None
    site: Name | None
    cohort: Name | None
    state: Literal["waiting", "countersigned", "quarantined", "superseded", "revoked", "forged"]
    reported_at: datetime | None
    versions: Versions | None


class Gateways(Record, frozen=True, kw_only=True):
    """The file that ``interlock-ops device export`` writes.

    Attributes:
        at: when it was made.
        gateways: by device id, each once (rule 1).
    """

    type: Literal["urn:interlock:gateways:v1"]
    fleet: Name
    at: datetime
    gateways: Annotated[tuple[Gateway, ...], Meta(max_length=MAX_GATEWAYS)]

    def __post_init__(self) -> None:
        super().__post_init__()
        devices = [one.device for one in self.gateways]
        if any(after <= before for before, after in pairwise(devices)):
            raise ValueError("`gateways` must stand in the order of their ids, each once")


@dataclass(frozen=True)
class Stranded:
    """A gateway that could not read metadata with certain kinds of keys.

    Attributes:
        gateway: which.
        why: what it lacks, for people.
    """

    gateway: Gateway
    why: str


def read_gateways(data: bytes) -> Gateways:
    """Read an inventory.

    Raises:
        WireError: malformed, larger than ``MAX_INVENTORY`` bytes, out of order, or a gateway twice.
    """
    return decode_canonical(data, Gateways, limit=MAX_INVENTORY, what="inventory of gateways")


def stranded(gateways: Gateways, schemes: Collection[str]) -> tuple[Stranded, ...]:
    """The gateways that could not read metadata with keys of these kinds (rules 2 to 4).

    Args:
        gateways: the inventory.
        schemes: TUF's ``scheme`` of every key that the metadata would hold.
    """
    needed: dict[str, tuple[int, ...]] = {}
    unknown = sorted(set(schemes) - NEEDS.keys())
    for scheme in schemes:
        for library, least in NEEDS.get(scheme, {}).items():
            needed[library] = max(least, needed.get(library, ()))
    found = ((one, _lacking(one, needed, unknown)) for one in gateways.gateways)
    return tuple(Stranded(one, why) for one, why in found if why)


def _lacking(
    gateway: Gateway, needed: Mapping[str, tuple[int, ...]], unknown: Collection[str]
) -> str:
    """What a gateway lacks, or nothing."""
    if unknown:
        return f"no client is known to read {', '.join(unknown)}"
    if not needed:
        return ""
    if gateway.versions is None:
        return "it has not said what it runs"
    said = {library: getattr(gateway.versions, library) for library in needed}
    return "; ".join(
        f"{library} {said[library]!r}, and {'.'.join(map(str, least))} is needed"
        for library, least in needed.items()
        if _release(said[library]) < least
    )


def _release(text: str) -> tuple[int, ...]:
    """A version as six numbers; nothing if it is not plainly a release (rule 4)."""
    match = _RELEASE.match(text)
    return tuple(map(int, f"{match['numbers']}.0.0.0.0.0".split(".")[:6])) if match else ()
