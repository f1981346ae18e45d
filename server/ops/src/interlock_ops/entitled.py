"""Who may do what at a cohort or a site, by the roster (pure).

Rules:

1. It is the verified roster that is read, at the time of the question.
2. A grant that names sites counts for those alone, and is shown with them. One that has expired is
   shown as expired: somebody will ask why he cannot sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import UNSET

from interlock_core.names import covers
from interlock_core.roster import MONITOR, OPERATOR, CohortRules, Grant, Judge
from interlock_ops.show import roles
from interlock_ops.units import show_time


@dataclass(frozen=True)
class Entitled:
    """One person's grant.

    Attributes:
        sites: those to which it is limited; None if it is not.
        expired: whether it counts no more.
    """

    person: str
    role: str
    cohorts: tuple[str, ...]
    sites: tuple[str, ...] | None
    until: datetime
    expired: bool


def over_cohort(judge: Judge, cohort: str) -> tuple[Entitled, ...]:
    """Every grant over a cohort, by role and person."""
    return _grants(judge, lambda grant: any(covers(one, cohort) for one in grant.cohorts))


def of_site(judge: Judge, site: str) -> tuple[Entitled, ...]:
    """Every grant that names a site."""
    return _grants(judge, lambda grant: grant.sites is not UNSET and site in grant.sites)


def holders(
    judge: Judge, role: str, cohort: str, site: str | None = None, but: Iterable[str] = ()
) -> tuple[str, ...]:
    """Who holds a role over a cohort now, by name."""
    left_out = frozenset(but)
    return tuple(
        sorted(
            person.name
            for person in judge.roster.persons
            if person.name not in left_out and judge.holds(person.name, role, cohort, site)
        )
    )


def rule_words(rules: CohortRules) -> Mapping[str, str]:
    """What a cohort asks for, in words."""

    def beside(rule: Mapping[str, int]) -> str:
        return f"an operator, authorised by {roles(rule)}" if rule else "an operator alone"

    return {
        "start": beside(rules.start),
        "advance": beside(rules.advance),
        "resume": beside(rules.resume),
        "assign": f"{beside(rules.assign)}, here and at the other cohort",
        "stop": f"one signature of {' or '.join((OPERATOR, MONITOR, *rules.stop))}",
    }


def rule_facts(rules: CohortRules) -> dict[str, Any]:
    """The same for machines."""
    return {
        "pattern": rules.pattern,
        "start": dict(rules.start),
        "advance": dict(rules.advance),
        "resume": dict(rules.resume),
        "assign": dict(rules.assign),
        "stop": [OPERATOR, MONITOR, *rules.stop],
    }


def grant_facts(one: Entitled) -> dict[str, Any]:
    """One grant for machines."""
    return {
        "person": one.person,
        "role": one.role,
        "cohorts": list(one.cohorts),
        "sites": list(one.sites) if one.sites is not None else None,
        "until": show_time(one.until),
        "expired": one.expired,
    }


def grant_words(one: Entitled) -> str:
    """``ellen until 2030-01-31T08:00:00Z, at the sites ward-7``."""
    sites = f", at {', '.join(one.sites)} alone" if one.sites is not None else ""
    until = "EXPIRED at" if one.expired else "until"
    return f"{one.person} {until} {show_time(one.until)}{sites}"


def _grants(judge: Judge, wanted: Callable[[Grant], bool]) -> tuple[Entitled, ...]:
    found = [
        Entitled(
            person.name,
            grant.role,
            grant.cohorts,
            None if grant.sites is UNSET else grant.sites,
            grant.expires,
            grant.expires <= judge.now,
        )
        for person in judge.roster.persons
        for grant in person.grants
        if wanted(grant)
    ]
    return tuple(sorted(found, key=lambda one: (one.role, one.person, one.until)))
