"""Holds: a hospital, or whoever runs its cohorts, wants nothing changed for a while (pure).

The gateway decides with it, the server publishes with it and operators look by it.

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

22. A hold is signed by an engineer of its site over a cohort there, or an operator over it, alone:
    one signature holds. It is for the gateways of its site in the cohorts over which its author
    counts, from ``from`` until ``until``, at most 90 days; what changes a gateway waits for it, and
    nothing else. A release ends it early. It is signed by somebody who holds the role in which the
    hold counts: what a hospital holds, no operator releases.

A server can leave a hold out. So a hold is a word to the fleet; the gateway's own hold file is the
lock (docs/adr/0013).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import field

from interlock_core.names import Digest, Name
from interlock_core.roster import ENGINEER, OPERATOR, Judge
from interlock_core.statement import Opened, Said, Subject, subject
from interlock_core.wire import sha256_hex

MAX_HOLD: Final = timedelta(days=90)
"""The longest that one signature holds a site."""
HOLDERS: Final = (ENGINEER, OPERATOR)
"""Who may hold a site; the first that the author holds is the role in which it counts."""


class Hold(Said, frozen=True, kw_only=True):
    """Holds a site, or releases it.

    Attributes:
        begins: from when; null in a release.
        until: when it is over by itself; null in a release.
        ends: of a release, the id of the hold that it ends; null in a hold.
    """

    PREDICATE = "urn:interlock:hold:v1"

    site: Name
    begins: datetime | None = field(name="from")
    until: datetime | None
    ends: Digest | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ends is not None:
            if self.begins is not None or self.until is not None:
                raise ValueError("a release names what it `ends`, and no time")
        elif self.begins is None or self.until is None:
            raise ValueError("a hold says `from` when `until` when")
        elif not self.begins < self.until <= self.begins + MAX_HOLD:
            raise ValueError("`until` must lie after `from`, by at most 90 days")

    def subjects(self) -> tuple[Subject, ...]:
        """The hold that is ended, by id; or the site, by the digest of its name."""
        if self.ends is not None:
            return (subject("hold", self.ends),)
        return (subject(f"site/{self.site}", sha256_hex(self.site.encode())),)


def hold_role(judge: Judge, hold: Opened[Hold], cohort: str) -> str | None:
    """In which role its author holds his site's gateways of ``cohort``, if he may (22)."""
    if hold.said.at > judge.now:
        return None
    return judge.author_is(hold, HOLDERS, cohort, hold.said.site)


def releases(judge: Judge, release: Opened[Hold], hold: Opened[Hold], cohort: str) -> bool:
    """Whether ``release`` ends ``hold`` for the gateways of ``cohort`` (22)."""
    role = hold_role(judge, hold, cohort)
    return (
        role is not None
        and release.said.ends == hold.id
        and release.said.site == hold.said.site
        and release.said.at <= judge.now
        and judge.author_is(release, (role,), cohort, hold.said.site) is not None
    )


def standing_holds(
    judge: Judge, signed: Sequence[Opened[Hold]], cohort: str
) -> tuple[Opened[Hold], ...]:
    """The holds that are not over for gateways of ``cohort``, those that last longest first.

    Args:
        judge: the roster of the moment.
        signed: holds and releases, of any sites.
        cohort: where.
    """
    found = [
        (one.said.until, one.id, one)
        for one in signed
        if one.said.until is not None
        and one.said.until > judge.now
        and hold_role(judge, one, cohort) is not None
        and not any(releases(judge, other, one, cohort) for other in signed)
    ]
    return tuple(one for _, _, one in sorted(found, key=lambda each: each[:2], reverse=True))


def holding(
    standing: Iterable[Opened[Hold]], site: str | None, now: datetime
) -> Opened[Hold] | None:
    """The hold that keeps a gateway of ``site`` from being changed now, or None.

    A gateway that does not know its site is held by every hold that it is shown.
    """
    return next(
        (
            one
            for one in standing
            if one.said.begins is not None
            and one.said.begins <= now
            and site in (None, one.said.site)
        ),
        None,
    )
