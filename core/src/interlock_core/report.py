"""What a gateway says: who it is, and what happened.

Rules:

1. Both are signed by the device key. An enrolment counts only when an operator or an engineer of
   the site countersigns it; a claim token only allows asking.
2. Reports are numbered per enrolment and each carries the hash of the one before, so that a gap
   or a fork is seen (20).
3. A report says what the device runs by digest. It never carries anything about a patient: there
   is no field for it, and unknown fields are refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from interlock_core.keybytes import PublicKey
from interlock_core.names import DeviceId, Digest, HardwareId, Name, Version
from interlock_core.statement import Said, Subject, subject
from interlock_core.wire import Record, encode, sha256_hex

ShortText = Annotated[str, Meta(max_length=200)]


class Enrolment(Said, frozen=True, kw_only=True):
    """A device asks to belong to the fleet, with the key that will sign its reports."""

    PREDICATE = "urn:interlock:enrolment:v1"

    device: DeviceId
    key: PublicKey
    hardware: HardwareId
    product: Name
    site: Name
    cohort: Name

    def subjects(self) -> tuple[Subject, ...]:
        """The device's key, by the digest of its canonical form."""
        return (subject("device-key", sha256_hex(encode(self.key))),)


class Running(Record, frozen=True, kw_only=True):
    """What runs, and from which slot."""

    slot: Name
    sha256: Digest
    version: Version


Outcome = Literal[
    "scheduled",
    "waiting_for_consent",
    "downloading",
    "downloaded",
    "installing",
    "rebooting",
    "confirmed",
    "failed",
    "timed_out",
    "rolled_back",
    "rejected",
    "deferred",
    "already_installed",
    "canceled",
]


class Attempt(Record, frozen=True, kw_only=True):
    """How far one order went on this device."""

    order: Digest
    target: Digest
    outcome: Outcome
    reason: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")] | None
    deferred_since: datetime | None


class CheckResult(Record, frozen=True, kw_only=True):
    """One named check, and whether it passed."""

    name: Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,62}\Z")]
    passed: bool


class InterlockState(Record, frozen=True, kw_only=True):
    """The last answer of the clinical interlock; ``mode`` shows a gateway that has none."""

    mode: Literal["checks", "none"]
    clear: bool
    checks: Annotated[tuple[CheckResult, ...], Meta(max_length=64)]


class Versions(Record, frozen=True, kw_only=True):
    """What reads the metadata here, so that a migration can be checked beforehand."""

    client: ShortText
    tuf: ShortText
    securesystemslib: ShortText
    cryptography: ShortText
    python: ShortText


class Report(Said, frozen=True, kw_only=True):
    """One entry of a device's chain of reports."""

    PREDICATE = "urn:interlock:report:v1"

    enrolment: Digest
    number: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    previous: Digest | None
    running: Running | None
    attempt: Attempt | None
    interlock: InterlockState
    health: Annotated[tuple[CheckResult, ...], Meta(max_length=64)]
    versions: Versions

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.previous is None) != (self.number == 1):
            raise ValueError("exactly the first report has no `previous`")

    def subjects(self) -> tuple[Subject, ...]:
        """The enrolment, by id."""
        return (subject("enrolment", self.enrolment),)
