"""What expires when, and what stops working then (pure).

Rules:

1. Everything that has an end is listed: of the image repository each role's metadata, the roster,
   each grant in it, each permit; of each director that was read its roles. What stops is said as
   people would notice it. A root that several directors have is listed once.
2. A warning begins so many days before the end, but for what lives shorter than that no earlier
   than in the last third of its life: else what is renewed each week would always be warned of.
3. What has expired comes first, then whatever ends first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from tuf.api.metadata import Root, Signed, Snapshot, Targets, Timestamp

from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.names import ROSTER_ROLE
from interlock_core.released import permits
from interlock_core.roster import Roster
from interlock_core.tuf_metadata import issued_of
from interlock_core.tuf_repository import ROLES

Kind = Literal["role", "roster", "grant", "permit"]

_EVERYTHING: Final = "gateways refuse everything that is published"
_REFRESH: Final = "see that the server's 'refresh' runs"
_STOPS: Final[Mapping[str, str]] = {
    Root.type: f"{_EVERYTHING}: hold a ceremony for a new root",
    Targets.type: f"{_EVERYTHING}: 'interlock-repo delegate' with an empty file renews it",
    Snapshot.type: f"{_EVERYTHING}: {_REFRESH}",
    Timestamp.type: f"{_EVERYTHING}: {_REFRESH}",
    ROSTER_ROLE: "gateways refuse every order: 'interlock-repo roster' makes the next one",
}


@dataclass(frozen=True)
class Standing:
    """What is in force, verified.

    Attributes:
        top: root, targets, snapshot and timestamp, as far as there are any.
        roles: the delegated roles by name.
        roster: None before there is one.
        directors: root, targets, snapshot and timestamp by cohort, of those that were read.
    """

    top: tuple[Signed, ...]
    roles: Mapping[str, Targets]
    roster: Roster | None
    directors: Mapping[str, tuple[Signed, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """One thing that ends.

    Attributes:
        kind: what it is.
        what: its name, for people.
        at: when.
        warned: from when on it is warned of (rule 2).
        stops: what does not work any more then.
    """

    kind: Kind
    what: str
    at: datetime
    warned: datetime
    stops: str

    def state(self, now: datetime) -> Literal["expired", "soon", "later"]:
        """How it stands."""
        if self.at <= now:
            return "expired"
        return "soon" if self.warned <= now else "later"


def forecast(standing: Standing, warn_days: int) -> list[End]:
    """Everything that ends, what ends first in front (rules 1 to 3).

    Raises:
        RefusedError, WireError: facts or times that cannot be read.
    """
    return sorted(_ends(standing, timedelta(days=warn_days)), key=lambda end: (end.at, end.what))


def _ends(standing: Standing, warn: timedelta) -> Iterator[End]:
    for signed in standing.top:
        yield _role(signed.type, signed, warn, _STOPS[signed.type])
    for name, targets in standing.roles.items():
        stops = _STOPS.get(
            name, f"nothing of {name} can be installed: 'interlock-repo renew {name}'"
        )
        yield _role(name, targets, warn, stops)
        if name != ROSTER_ROLE:
            yield from _permits(targets, warn)
    if standing.roster is not None:
        yield from _of_roster(standing.roster, warn)
    yield from _directors(standing.directors, warn)


def _directors(directors: Mapping[str, tuple[Signed, ...]], warn: timedelta) -> Iterator[End]:
    roots = set[int]()
    for cohort, each in directors.items():
        for signed in each:
            if signed.type != Root.type:
                stops = f"gateways of {cohort} refuse every order: {_REFRESH}"
                yield _role(f"director/{cohort} {signed.type}", signed, warn, stops)
            elif signed.version not in roots:
                roots.add(signed.version)
                yield _role("director root", signed, warn, _STOPS[Root.type])


def _role(name: str, signed: Signed, warn: timedelta, stops: str) -> End:
    begins = issued_of(signed)
    director = name.startswith("director/")
    online = ROLES.get(signed.type) if director or name in {Snapshot.type, Timestamp.type} else None
    life = online.lifetime if online is not None else None
    if begins is not None:
        life = signed.expires - begins
    return End(
        "role",
        f"{name} {signed.version}",
        signed.expires,
        _warned(signed.expires, life, warn),
        stops,
    )


def _permits(targets: Targets, warn: timedelta) -> Iterator[End]:
    for path, facts in permits(targets).items():
        stops = "the downgrade that it permits is refused (below_floor)"
        at = facts.expires
        yield End("permit", f"permit {path}", at, _warned(at, None, warn), stops)


def _of_roster(roster: Roster, warn: timedelta) -> Iterator[End]:
    at = roster.issued + MAX_ROSTER_AGE
    yield End(
        "roster",
        f"roster {roster.seq}",
        at,
        _warned(at, MAX_ROSTER_AGE, warn),
        "gateways believe no roster: they refuse every order (roster_stale)",
    )
    for person in roster.persons:
        for grant in person.grants:
            over = ", ".join(grant.cohorts)
            yield End(
                "grant",
                f"{person.name} as {grant.role} over {over}",
                grant.expires,
                _warned(grant.expires, None, warn),
                f"what {person.name} signs as {grant.role} there does not count",
            )


def _warned(at: datetime, life: timedelta | None, warn: timedelta) -> datetime:
    """When the warning begins (rule 2)."""
    return at - (warn if life is None else min(warn, life / 3))
