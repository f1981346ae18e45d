"""What is on record about a hospital: its time zone and whom to call (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

23. A site is described by an operator or an engineer whose grant counts at that site. The
    description that counts and has the highest ``seq`` is in force; one by somebody whom the roster
    knows no more counts for nothing, and is signed again by somebody else.

Nothing is decided by it: a gateway's windows follow its own clock. Forecasts are made with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta

from interlock_core.names import Name
from interlock_core.order import Seq
from interlock_core.roster import ENGINEER, OPERATOR, Judge
from interlock_core.statement import Opened, Said, Subject, subject
from interlock_core.wire import Record, sha256_hex

DESCRIBERS: Final = (OPERATOR, ENGINEER)
MAX_CONTACTS: Final = 16

TimeZone = Annotated[
    str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9][A-Za-z0-9_+-]{0,31}){0,2}\Z")
]
"""A name of the IANA time zone database, such as ``Europe/Berlin``."""
Line = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Notes = Annotated[str, Meta(max_length=2000)]


class Contact(Record, frozen=True, kw_only=True):
    """Whom to call: a person or a desk of the hospital, never a patient, and how to reach it."""

    name: Line
    reach: Line


class Site(Said, frozen=True, kw_only=True):
    """Describes a site; the next description, with a higher ``seq``, replaces all of it."""

    PREDICATE = "urn:interlock:site:v1"

    site: Name
    time_zone: TimeZone
    contacts: Annotated[tuple[Contact, ...], Meta(max_length=MAX_CONTACTS)]
    notes: Notes
    seq: Seq

    def subjects(self) -> tuple[Subject, ...]:
        """The site, by the digest of its name."""
        return (subject(f"site/{self.site}", sha256_hex(self.site.encode())),)


def describes(judge: Judge, site: Opened[Site]) -> bool:
    """Whether somebody who may signed it (23)."""
    said = site.said
    return (
        said.fleet == judge.roster.fleet
        and said.at <= judge.now
        and judge.signer_key(site) is not None
        and any(judge.holds_at(said.author, role, said.site) for role in DESCRIBERS)
    )


def described(judge: Judge, signed: Iterable[Opened[Site]], site: str) -> Opened[Site] | None:
    """The description of ``site`` in force, or None (23)."""
    counting = [one for one in signed if one.said.site == site and describes(judge, one)]
    return max(counting, key=lambda one: (one.said.seq, one.id), default=None)
