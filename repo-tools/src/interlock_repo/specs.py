"""What people write: one TOML file for each kind of signing event.

Rules:

1. A file is read whole and checked whole before anything is made. An unknown, missing or
   malformed field is an error that names file, line and field; nothing has a silent default.
2. Files that it names are relative to the file itself, so that a directory can be moved.
3. Facts have the types that gateways read (``interlock_core.release``, ``roster``): what passes
   here is what will be signed.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, field

from interlock_core import durable
from interlock_core.errors import ConfigurationError, WireError
from interlock_core.names import (
    ROSTER_ROLE,
    DeviceId,
    Digest,
    HardwareId,
    Market,
    Name,
    TargetPath,
    Version,
)
from interlock_core.order import Seq
from interlock_core.release import Counter, Slot, UpdateClass
from interlock_core.roster import CohortRules, Grant
from interlock_core.toml_lines import place_of
from interlock_core.wire import Record

MAX_SPEC: Final = 1024 * 1024

FilePath = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
"""A file, relative to the TOML file that names it (rule 2)."""

T = TypeVar("T", bound=Record)

_WHERE: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`\Z")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")
_FIELD: Final = re.compile(r"\AObject (contains unknown|missing required) field `([^`]*)`")
"""msgspec's messages; its paths read ``$.images[0].file``."""


class RoleSpec(Record, frozen=True, kw_only=True):
    """Who holds a delegated role, and how many of them must sign.

    Attributes:
        shares_keys: a key of it may hold another product too.
    """

    threshold: int
    holders: Annotated[tuple[FilePath, ...], Meta(max_length=64)]
    shares_keys: bool = False


class DelegationsSpec(Record, frozen=True, kw_only=True):
    """Roles to add or to change; those that are not named stay as they are."""

    products: Annotated[dict[str, RoleSpec], Meta(max_length=1024)] = field(default_factory=dict)
    interlock: RoleSpec | None = None

    @property
    def roles(self) -> dict[str, RoleSpec]:
        """Every role that is set, by name."""
        interlock = {ROSTER_ROLE: self.interlock} if self.interlock is not None else {}
        return dict(self.products) | interlock


class DelegationsIntent(DelegationsSpec, frozen=True, kw_only=True):
    """Delegations as they travel in an event: with what was said on the command line."""

    with_renewal: bool = False


class ImageSpec(Record, frozen=True, kw_only=True):
    """One image of a release.

    Attributes:
        file: the image.
        name: its name in the repository; by default the file's own.
        hardware_ids: instead of the release's.
        slot: the slot that it is written to as it is.
        slots: what each slot holds afterwards, where that is not the image itself.
        delta_from: images of earlier releases, to make deltas from.
        deltas: deltas that were made already; in an event, those that travel with it.
        contents: instead of ``slots``: files that hold just that, by the names of the slots.
    """

    file: FilePath
    name: str | None = None
    hardware_ids: tuple[HardwareId, ...] | None = None
    slot: Name | None = None
    slots: tuple[Slot, ...] | None = None
    contents: Annotated[dict[Name, FilePath], Meta(min_length=1, max_length=16)] | None = None
    delta_from: Annotated[tuple[FilePath, ...], Meta(max_length=16)] = ()
    deltas: Annotated[tuple[FilePath, ...], Meta(max_length=16)] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len([one for one in (self.slot, self.slots, self.contents) if one is not None]) > 1:
            raise ValueError("`slot`, `slots` and `contents` exclude each other")


class ReleaseSpec(Record, frozen=True, kw_only=True):
    """A release: its facts, its images and its evidence. ``release.Image`` says what each means.

    Attributes:
        new_hardware: hardware ids that no release before names.
    """

    product: str
    version: Version
    hardware_ids: tuple[HardwareId, ...]
    release_counter: Counter
    raises_floor_to: Counter
    min_counter_installed: Counter
    update_class: UpdateClass
    markets: tuple[Market, ...]
    support_end: date
    udi_di: str | None = None
    new_hardware: Annotated[tuple[HardwareId, ...], Meta(max_length=64)] = ()
    images: Annotated[tuple[ImageSpec, ...], Meta(min_length=1, max_length=64)]
    sbom: FilePath | None = None
    notes: FilePath | None = None
    vex: FilePath | None = None
    provenance: FilePath | None = None

    @property
    def evidence(self) -> dict[str, str]:
        """The files that document it, by kind."""
        stated = {"sbom": self.sbom, "notes": self.notes, "vex": self.vex}
        stated["provenance"] = self.provenance
        return {kind: file for kind, file in stated.items() if file is not None}


class MoveSpec(Record, frozen=True, kw_only=True):
    """One move below the floor that gateways may make once.

    Attributes:
        from_version: the release that runs there; it may be withdrawn.
        to_version: the release that may be installed in its place.
        order: id of the order under which.
        devices, cohorts: for whom; at least one of either.
        expires: until when.
    """

    from_version: Version = field(name="from")
    to_version: Version = field(name="to")
    order: Digest
    devices: Annotated[tuple[DeviceId, ...], Meta(max_length=4096)] = ()
    cohorts: Annotated[tuple[Name, ...], Meta(max_length=256)] = ()
    expires: datetime

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.devices and not self.cohorts:
            raise ValueError("name `devices` or `cohorts`: a permit is for somebody")


class PermitSpec(Record, frozen=True, kw_only=True):
    """Permits to make, and permits to take back.

    Attributes:
        product: whose releases are meant.
        permits: the moves.
        revoke: target paths of permits that shall not hold any more.
    """

    product: str
    permits: Annotated[tuple[MoveSpec, ...], Meta(max_length=256)] = ()
    revoke: Annotated[tuple[TargetPath, ...], Meta(max_length=1024)] = ()


RENEWED_AFTER: Final = "targets.json"
"""The small file with the signed delegations that a renewal goes with."""


class WithdrawalIntent(Record, frozen=True, kw_only=True):
    """A withdrawal as it travels in an event, as it was said on the command line."""

    product: str
    version: str
    reason: str
    despite_stranding: bool = False


class RenewalIntent(Record, frozen=True, kw_only=True):
    """A renewal as it travels in an event.

    Attributes:
        product: the product.
        after: the small file with the signed delegations that it goes with, if there are any.
    """

    product: str
    after: FilePath | None = None


class RosterRenewalIntent(Record, frozen=True, kw_only=True):
    """The renewal of a roster as it travels in an event.

    Attributes:
        drop_expired: grants that have expired are left out.
        after: as in ``RenewalIntent``.
    """

    drop_expired: bool
    after: FilePath | None = None


class PersonSpec(Record, frozen=True, kw_only=True):
    """A person of the roster, with the public key files that the person handed over."""

    name: Name
    keys: Annotated[tuple[FilePath, ...], Meta(min_length=1, max_length=8)]
    grants: tuple[Grant, ...]


class RosterSpec(Record, frozen=True, kw_only=True):
    """A roster as people write it: everything but the number and the time of issue."""

    fleet: Name
    rules: tuple[CohortRules, ...]
    persons: tuple[PersonSpec, ...]
    min_order_seq: dict[Name, Seq] = field(default_factory=dict)


def parse_spec(data: bytes, type_: type[T], *, what: str) -> T:
    """Check the bytes of a TOML file whole (rule 1).

    Args:
        data: the file.
        type_: ``DelegationsSpec``, ``ReleaseSpec``, ``PermitSpec`` or ``RosterSpec``.
        what: names the file in errors.

    Raises:
        ConfigurationError: it is not such a file; the message says where and what to change.
    """
    try:
        tree = tomllib.loads(data.decode("utf-8"))
        return msgspec.convert(tree, type_)
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{what} is not UTF-8 (byte {e.start}).") from e
    except RecursionError as e:
        raise ConfigurationError(f"{what} is nested too deeply.") from e
    except msgspec.ValidationError as e:
        raise ConfigurationError(f"{what}{_place(data.decode(), str(e))}: {e}.") from e
    except ValueError as e:
        # tomllib's own error, or an integer of more digits than Python reads.
        raise ConfigurationError(f"{what} is not TOML: {e}.") from e


def _place(text: str, message: str) -> str:
    """The place that msgspec's message names, with its line (rule 1)."""
    where, field = _WHERE.search(message), _FIELD.search(message)
    path: list[str | int] = [
        step[1] if step[1] is not None else int(step[2])
        for step in _STEP.finditer(where[1] if where else "")
        if step[1] is not None or step[2].isdecimal()
    ]
    if field is not None and field[1] == "contains unknown":
        path.append(field[2])
    return f", {place_of(text, path)}" if path else ""


def read_spec(path: Path, type_: type[T]) -> T:
    """Read a TOML file.

    Raises:
        ConfigurationError: as ``parse_spec``, or it is too large.
        NotFoundError: there is none.
        TransientError: it cannot be read.
    """
    try:
        data = durable.read(path, limit=MAX_SPEC, what="TOML file")
    except WireError as e:
        raise ConfigurationError(str(e)) from e
    return parse_spec(data, type_, what=str(path))
