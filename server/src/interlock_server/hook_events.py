"""What webhooks tell: events, and how a delivery is signed (pure).

Rules:

1. An event is one entry of the log, so it tells ids and digests, and no device, person, hospital or
   secret. Whoever wants more reads it with a token. Reports, and what became of single
   devices, are no events: there are too many.
2. Its id is the fleet and the number of its entry: the same however often it is delivered.
3. A delivery is signed as Standard Webhooks 1.0 says: HMAC-SHA256 over id, time and body, under the
   webhook's own secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, get_args

from msgspec import Meta

from interlock_core.acts import POSTED
from interlock_core.api import EnrolmentState
from interlock_core.errors import ConfigurationError
from interlock_core.log import Entry
from interlock_core.names import Digest
from interlock_core.report import Enrolment, Report
from interlock_core.rollout import State
from interlock_core.wire import Record

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what a secret begins with
MIN_SECRET: Final = 24
MAX_SECRET: Final = 64
_REPORT: Final = Report.PREDICATE.split(":")[2]
_STATEMENTS: Final = tuple(
    sorted({type_.PREDICATE.split(":")[2] for type_ in (*POSTED, Enrolment)})
)

EVENTS: Final[Mapping[str, str]] = {
    **{f"statement.{name}": f"A statement `{name}` was accepted." for name in _STATEMENTS},
    **{f"rollout.{state}": f"A rollout is `{state}` now." for state in get_args(State)},
    **{
        f"device.{state}": f"An enrolment is `{state}` now."
        for state in sorted(get_args(EnrolmentState))
    },
    "metadata.published": "Metadata that people signed offline was published.",
    "log.begun": "The log began.",
}
"""Every event, and what it means."""


class Data(Record, frozen=True, kw_only=True):
    """What happened: the entry of the log (``interlock_core.log.Fact``)."""

    entry: Annotated[int, Meta(ge=0)]
    fleet: str
    name: str
    id: Digest
    sha256: Digest | None
    version: int | None


class Event(Record, frozen=True, kw_only=True):
    """The body of a delivery."""

    type: str
    timestamp: datetime
    data: Data


def type_of(entry: Entry) -> str | None:
    """Which event an entry is; None if it is none (rule 1)."""
    fact = entry.fact
    if fact.kind == "statement":
        return None if fact.name == _REPORT else f"statement.{fact.name}"
    if fact.kind == "transition":
        of, _, state = fact.name.partition("/")
        return f"rollout.{state}" if of == "rollout" else None
    if fact.kind == "state":
        return f"device.{fact.name}"
    return "metadata.published" if fact.kind == "metadata" else "log.begun"


def event_of(entry: Entry, fleet: str) -> Event | None:
    """The event that an entry is; None if it is none (rule 1)."""
    type_ = type_of(entry)
    if type_ is None:
        return None
    fact = entry.fact
    data = Data(
        entry=entry.number,
        fleet=fleet,
        name=fact.name,
        id=fact.id,
        sha256=fact.sha256,
        version=fact.version,
    )
    return Event(type=type_, timestamp=entry.at, data=data)


def wanted(type_: str, patterns: Iterable[str]) -> bool:
    """Whether an event is one of those that are asked for: ``rollout.paused``, ``rollout.*``."""
    return any(
        type_.startswith(one[:-1]) if one.endswith("*") else type_ == one for one in patterns
    )


def read_secret(text: str) -> bytes:
    """The secret in a file: ``whsec_`` and base64.

    Raises:
        ConfigurationError: it is none.
    """
    bare = text.strip()
    try:
        secret = base64.b64decode(bare.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not (bare.startswith(SECRET_PREFIX) and MIN_SECRET <= len(secret) <= MAX_SECRET):
        raise ConfigurationError(
            f"A webhook's secret is '{SECRET_PREFIX}' and {MIN_SECRET} to {MAX_SECRET} random "
            f"bytes in base64: make one with 'echo \"{SECRET_PREFIX}$(openssl rand -base64 32)\"'."
        )
    return secret


def headers(fleet: str, number: int, at: datetime, body: bytes, secret: bytes) -> dict[str, str]:
    """The headers of a delivery (rules 2 and 3)."""
    id_, time = f"{fleet}-{number}", str(int(at.timestamp()))
    signed = b".".join((id_.encode(), time.encode(), body))
    mac = hmac.new(secret, signed, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "interlock-server",
        "webhook-id": id_,
        "webhook-timestamp": time,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }
