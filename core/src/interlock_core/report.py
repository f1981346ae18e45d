"""What a gateway says: who it is, and what happened; and the claim that lets it speak up.

Rules:

1. Enrolments and reports are signed by the device key. An enrolment counts only when an operator
   or an engineer of the site countersigns it; a claim only allows asking, once (``fleet``).
2. Reports are numbered per enrolment and each carries the hash of the one before, so that a gap
   or a fork is seen (20).
3. A report says what the device runs by digest, and why it does not run something else. It never
   carries anything about a patient: there is no field for it, and unknown fields are refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from interlock_core.keybytes import PublicKey
from interlock_core.names import DeviceId, Digest, HardwareId, Name, Version
from interlock_core.statement import Said, Subject, subject
from interlock_core.wire import Record, encode, sha256_hex

ShortText = Annotated[str, Meta(max_length=200)]
MAX_CLAIM: Final = timedelta(days=30)
"""The longest that a claim may wait for its device."""
ReasonName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]
"""The stable name of a refusal, a deferral or an outcome."""
Secret = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{32,128}\Z")]
"""What a claim's holder shows: at least 24 random bytes in URL-safe base64."""


class Claim(Said, frozen=True, kw_only=True):
    """Lets one device ask to be enrolled, once, until it expires; it authorises nothing.

    Attributes:
        secret_sha256: digest of the secret that the device shows; the secret itself is in no
            statement.
        device: the one device that may use it, or null: whichever comes first.
        hardware: likewise.
    """

    PREDICATE = "urn:interlock:claim:v1"

    secret_sha256: Digest
    product: Name
    site: Name
    cohort: Name
    device: DeviceId | None
    hardware: HardwareId | None
    expires: datetime

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.at < self.expires <= self.at + MAX_CLAIM:
            raise ValueError("`expires` must lie after `at`, by at most 30 days")

    def subjects(self) -> tuple[Subject, ...]:
        """The secret, by digest."""
        return (subject("claim", self.secret_sha256),)


class Enrolment(Said, frozen=True, kw_only=True):
    """A device asks to belong to the fleet, with the key that will sign its reports.

    Attributes:
        replaces: of a rotation, the enrolment whose key gives way, and signs this one too.
    """

    PREDICATE = "urn:interlock:enrolment:v1"

    device: DeviceId
    key: PublicKey
    hardware: HardwareId
    product: Name
    site: Name
    cohort: Name
    replaces: Digest | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.author != self.device:
            raise ValueError("the author of an enrolment is its device")

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
    """How far one order went on this device.

    Attributes:
        permit: digest of the permit that the move needs, absent where it needs none.
    """

    order: Digest
    target: Digest
    outcome: Outcome
    reason: ReasonName | None
    deferred_since: datetime | None
    permit: Digest | UnsetType = UNSET


class Decided(Record, frozen=True, kw_only=True):
    """What the gateway decided last: why it does what it does, or nothing.

    Attributes:
        order: the order in force at the decision, if there was one.
        reason: ``granted``, or the refusal's name.
        detail: the refusal in a sentence.
    """

    at: datetime
    order: Digest | None
    reason: ReasonName
    detail: ShortText


class Trouble(Record, frozen=True, kw_only=True):
    """What was refused at every poll, and since when: how stale this gateway is."""

    reason: ReasonName
    since: datetime


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
    """One entry of a device's chain of reports.

    Attributes:
        cohort: whose director it polls.
        attempt: the installation in progress, or else the last that ended.
        decided: its last decision; None before the first.
        trouble: None when its last refresh verified.
        advisory: checks of the last installation by which nothing was decided; absent if there are
            none.
        alarms: what is odd at the gateway and refuses nothing, by name; absent if there is nothing.
    """

    PREDICATE = "urn:interlock:report:v1"

    enrolment: Digest
    number: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    previous: Digest | None
    cohort: Name
    running: Running | None
    attempt: Attempt | None
    decided: Decided | None
    trouble: Trouble | None
    interlock: InterlockState
    health: Annotated[tuple[CheckResult, ...], Meta(max_length=64)]
    versions: Versions
    advisory: Annotated[tuple[CheckResult, ...], Meta(max_length=64)] | UnsetType = UNSET
    alarms: Annotated[tuple[ReasonName, ...], Meta(max_length=16)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.previous is None) != (self.number == 1):
            raise ValueError("exactly the first report has no `previous`")

    def subjects(self) -> tuple[Subject, ...]:
        """The enrolment, by id."""
        return (subject("enrolment", self.enrolment),)


FLEET_STATEMENTS: Final = (Claim, Enrolment, Report)
"""What lets devices in, and what they say."""
