"""Facts about a release, as signed in a target's ``custom`` in the image repository.

Rules:

1. Facts come from the image repository's ``custom`` alone, never from a director.
2. A target's path and its facts agree on product and version, or the target is refused.
3. The release counter orders releases of a product; versions are for people.
4. The update class informs people and never changes a decision.
5. A permit covers one move (from, to), for named devices or cohorts, under one order, until it
   expires; it is needed only below the floor and does not lower the floor (19). Its facts repeat
   what tells a gateway whether to fetch it.
6. Of one move under one order a gateway reads so many permits and so many bytes of them, and no
   publisher signs or takes more (``released``).
7. A delta is a way to get an image's bytes, and no word on whether it may be installed: an image
   names its deltas, each leads to exactly that image, and what comes out is judged by the image's
   own signed digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from msgspec import Meta

from interlock_core.errors import WireError
from interlock_core.names import (
    DeviceId,
    Digest,
    HardwareId,
    Market,
    Name,
    TargetPath,
    Version,
    check_product,
    split_path,
)
from interlock_core.wire import Record, convert, decode_canonical, encode

MAX_CUSTOM: Final = 64 * 1024
MAX_PERMIT: Final = 1024 * 1024
"""The longest permit that a gateway reads, in bytes: all the devices that one may name fit."""
MAX_PERMITS: Final = 64
"""The most permits of one move (order, from, to) that a gateway reads (rule 6)."""
MAX_PERMITS_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of them together (rule 6)."""
MAX_HEADER: Final = 1024 * 1024
"""The longest header of a delta, in bytes."""
PERMITS: Final = "permits"
"""What stands for the version in the path of a permit; no release has it."""
Counter = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Length = Annotated[int, Meta(ge=1, le=2**40)]
"""Of what a slot holds, in bytes."""
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


class UpdateClass(Record, frozen=True, kw_only=True):
    """What kind of change it is, and how soon it should be made (rule 4)."""

    type: Literal["security", "feature"]
    urgency: Literal["routine", "critical"]


class Slot(Record, frozen=True, kw_only=True):
    """What a slot holds after installation, for read-back."""

    name: Name
    length: Length
    sha256: Digest


class Reference(Record, frozen=True, kw_only=True):
    """Evidence or a delta that belongs to an image: another target, by digest."""

    kind: Literal["sbom", "vex", "provenance", "notes", "delta"]
    path: TargetPath
    sha256: Digest


class Image(Record, frozen=True, kw_only=True):
    """The facts of an image target.

    Attributes:
        hardware_ids: hardware on which it runs.
        release_counter: Uptane's term; rises with every release of the product.
        raises_floor_to: once confirmed, nothing below this counter is installed again.
        min_counter_installed: a barrier: the gateway must have confirmed at least this before.
        markets: countries in which it is cleared.
        support_end: the last day of support, ISO 8601.
        udi_di: the UDI device identifier, where the product has one.
        slots: lengths and digests for read-back; never empty.
    """

    kind: Literal["image"] = "image"
    product: Name
    version: Version
    hardware_ids: Annotated[tuple[HardwareId, ...], Meta(min_length=1, max_length=64)]
    release_counter: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    raises_floor_to: Counter
    min_counter_installed: Counter
    update_class: UpdateClass
    markets: Annotated[tuple[Market, ...], Meta(min_length=1, max_length=249)]
    support_end: Date
    udi_di: Annotated[str, Meta(min_length=1, max_length=64)] | None
    slots: Annotated[tuple[Slot, ...], Meta(min_length=1, max_length=16)]
    references: Annotated[tuple[Reference, ...], Meta(max_length=64)]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_product(self.product)
        if self.raises_floor_to > self.release_counter:
            raise ValueError("`raises_floor_to` must not exceed `release_counter`")
        if self.min_counter_installed >= self.release_counter:
            raise ValueError("`min_counter_installed` must be below `release_counter`")
        date.fromisoformat(self.support_end)
        names = [slot.name for slot in self.slots]
        if len(set(names)) != len(names):
            raise ValueError("`slots` names one slot twice")


class Evidence(Record, frozen=True, kw_only=True):
    """The facts of a target that documents a release."""

    kind: Literal["evidence"] = "evidence"
    product: Name
    version: Version
    evidence: Literal["sbom", "vex", "provenance", "notes"]
    format: Annotated[str, Meta(min_length=1, max_length=64)]


class Delta(Record, frozen=True, kw_only=True):
    """The facts of a delta: an image's bytes as changes to what a slot holds (rule 7).

    Attributes:
        from_slot: the slot that holds what it is applied to.
        from_sha256, from_length: what that is.
        to_sha256: the image that comes out of it.
        header_length, header_sha256: of its header, with which it begins (``delta``).
    """

    kind: Literal["delta"] = "delta"
    product: Name
    version: Version
    from_slot: Name
    from_sha256: Digest
    from_length: Length
    to_sha256: Digest
    header_length: Annotated[int, Meta(ge=1, le=MAX_HEADER)]
    header_sha256: Digest

    def __post_init__(self) -> None:
        super().__post_init__()
        check_product(self.product)
        if self.from_sha256 == self.to_sha256:
            raise ValueError("a delta must lead from one image to another")


class PermitFacts(Record, frozen=True, kw_only=True):
    """The facts of a permit target (rule 5).

    Attributes:
        from_sha256, to_sha256, order, expires: as in the ``Permit`` itself.
    """

    kind: Literal["permit"] = "permit"
    product: Name
    version: Literal["permits"] = PERMITS
    from_sha256: Digest
    to_sha256: Digest
    order: Digest
    expires: datetime


class Permit(Record, frozen=True, kw_only=True):
    """The content of a permit target: one signed exception to the floor.

    Attributes:
        from_sha256: what runs.
        to_sha256: what may be installed in its place.
        devices, cohorts: for whom; either is enough.
        order: id of the order under which.
        expires: until when.
    """

    type: Literal["urn:interlock:permit:v1"] = "urn:interlock:permit:v1"
    fleet: Name
    product: Name
    from_sha256: Digest
    to_sha256: Digest
    devices: Annotated[tuple[DeviceId, ...], Meta(max_length=4096)]
    cohorts: Annotated[tuple[Name, ...], Meta(max_length=256)]
    order: Digest
    expires: datetime


F = TypeVar("F", Image, Delta)


def read_image(path: str, custom: Mapping[str, Any] | None) -> Image:
    """The facts of the image at ``path``.

    Raises:
        WireError: there are none, they are malformed, or they contradict the path (rule 2).
    """
    return _stated(path, custom, Image, "image")


def read_delta(path: str, custom: Mapping[str, Any] | None) -> Delta:
    """As ``read_image``, of the delta at ``path``."""
    return _stated(path, custom, Delta, "delta")


def _stated(path: str, custom: Any, type_: type[F], kind: str) -> F:
    if not isinstance(custom, Mapping):
        # Absent, or signed with any other value: python-tuf passes on what it finds.
        raise WireError(f"The target {path} carries no facts (custom): it is no {kind}.")
    facts = convert(dict(custom), type_, what=f"custom of {path}")
    if encode(dict(custom)) != encode(facts):
        raise WireError(f"The facts of {path} leave out a field that every {kind} states.")
    product, version, _ = split_path(path)
    if (facts.product, facts.version) != (product, version):
        raise WireError(
            f"The facts of {path} say {facts.product} {facts.version}: not what its path says."
        )
    return facts


def permit_facts(path: str, custom: Any) -> PermitFacts | None:
    """The facts of the permit at ``path``; None if it is none.

    Args:
        path: the target's path.
        custom: whatever its metadata says of it.
    """
    parts = path.split("/")
    if len(parts) != 3 or parts[1] != PERMITS or not isinstance(custom, Mapping):
        return None
    try:
        facts = convert(dict(custom), PermitFacts, what=f"custom of {path}")
    except WireError:
        return None
    return facts if facts.product == parts[0] else None


def read_permit(data: bytes, facts: PermitFacts) -> Permit:
    """The permit that a target holds.

    Args:
        data: the target's bytes.
        facts: what its metadata says of it.

    Raises:
        WireError: it is none, or it is not what its facts say (rule 5).
    """
    permit = decode_canonical(data, Permit, limit=MAX_PERMIT, what="permit")
    if facts_of(permit) != facts:
        raise WireError("The permit is not the one that its facts describe.")
    return permit


def facts_of(permit: Permit) -> PermitFacts:
    """The facts under which a permit is signed."""
    return PermitFacts(
        product=permit.product,
        from_sha256=permit.from_sha256,
        to_sha256=permit.to_sha256,
        order=permit.order,
        expires=permit.expires,
    )
