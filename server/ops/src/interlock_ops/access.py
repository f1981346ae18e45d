"""Who may do what, until when, and when each last acted (pure).

Rules:

1. It is the verified roster that is read, at the time of the question; and of what people did, the
   records of the log whose signature a key of that roster made. A record that nobody of the roster
   signed says nothing of anybody.
2. A rule can be met at a cohort if some operator over it, and as many other people as the rule asks
   for, hold the roles there now, one role for each person. A cohort whose rule nobody can meet, or
   only while one certain person is there, is named.
3. What somebody must look at is a finding with a stable name. A grant that has expired counts for
   nothing and is one too: it belongs out of the roster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import UNSET

from interlock_core.keybytes import public_key_bytes
from interlock_core.roster import MONITOR, OPERATOR, Grant, Judge, Person
from interlock_core.statement import Opened, Said
from interlock_core.wire import format_time

RULES: Final = ("start", "advance", "resume", "assign")

Name = Literal[
    "grant_expires",
    "grant_expired",
    "no_grant",
    "never_acted",
    "key_unused",
    "rule_unmeetable",
    "rule_needs_one_person",
    "cohort_denied",
]
URGENT: Final = frozenset({"rule_unmeetable", "cohort_denied"})
"""Where something cannot be done today."""


@dataclass(frozen=True)
class LastAct:
    """What somebody signed last, and when he says that it was."""

    at: datetime
    kind: str
    id: str


@dataclass(frozen=True)
class KeyUse:
    """One key of a person, by its fingerprint, and its last use; None if there was none."""

    keyid: str
    last: LastAct | None


@dataclass(frozen=True)
class Held:
    """One grant, as it stands at the time of the question.

    Attributes:
        sites: those to which it is limited; None if it is not.
    """

    role: str
    cohorts: tuple[str, ...]
    sites: tuple[str, ...] | None
    until: datetime
    expired: bool


@dataclass(frozen=True)
class Access:
    """What one person may do."""

    person: str
    keys: tuple[KeyUse, ...]
    grants: tuple[Held, ...]
    last: LastAct | None


@dataclass(frozen=True)
class Finding:
    """What somebody must look at: a stable name, whom or what it is about, and a sentence."""

    name: Name
    about: str
    detail: str


@dataclass(frozen=True)
class Review:
    """The whole review.

    Attributes:
        foreign: how many records nobody of the roster signed.
    """

    at: datetime
    roster_seq: int
    people: tuple[Access, ...]
    findings: tuple[Finding, ...]
    read: int
    foreign: int


class Acts:
    """Who used which key last, gathered record by record (rule 1)."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._last: dict[tuple[str, bytes], LastAct] = {}
        self.read = 0
        self.foreign = 0

    def add(self, opened: Opened[Said]) -> None:
        """Take one record in."""
        self.read += 1
        key = self._judge.signer_key(opened)
        if key is None:
            self.foreign += 1
            return
        said = opened.said
        kind = said.PREDICATE.removeprefix("urn:interlock:").removesuffix(":v1")
        act = LastAct(said.at, kind, opened.id)
        before = self._last.get((said.author, key))
        if before is None or before.at < act.at:
            self._last[said.author, key] = act

    def of(self, person: str, key: bytes) -> LastAct | None:
        """The last use of one key of a person."""
        return self._last.get((person, key))


def review(judge: Judge, acts: Acts, cohorts: Iterable[str], within: timedelta) -> Review:
    """Review everybody.

    Args:
        judge: the verified roster, at the time of the question.
        acts: what people did.
        cohorts: those whose rules are looked at.
        within: a grant that ends within this is a finding.
    """
    people = tuple(_access(judge, acts, one) for one in judge.roster.persons)
    findings = [one for access in people for one in _of_person(access, judge.now, within)]
    for cohort in sorted(set(cohorts)):
        findings += _of_cohort(judge, cohort)
    return Review(judge.now, judge.roster.seq, people, tuple(findings), acts.read, acts.foreign)


def _access(judge: Judge, acts: Acts, person: Person) -> Access:
    keys = tuple(
        KeyUse(key.keyid, acts.of(person.name, public_key_bytes(key.sslib())))
        for key in person.keys
    )
    used = [key.last for key in keys if key.last is not None]
    return Access(
        person.name,
        keys,
        tuple(_held(grant, judge.now) for grant in person.grants),
        max(used, key=lambda one: one.at, default=None),
    )


def _held(grant: Grant, now: datetime) -> Held:
    sites = None if grant.sites is UNSET else grant.sites
    return Held(grant.role, grant.cohorts, sites, grant.expires, grant.expires <= now)


def _of_person(access: Access, now: datetime, within: timedelta) -> Iterable[Finding]:
    who = access.person
    for one in access.grants:
        what = f"{one.role} over {', '.join(one.cohorts)}"
        if one.expired:
            yield Finding("grant_expired", who, f"{what} expired at {format_time(one.until)}")
        elif one.until - now <= within:
            yield Finding("grant_expires", who, f"{what} expires at {format_time(one.until)}")
    if all(one.expired for one in access.grants):
        yield Finding("no_grant", who, "no grant counts: what this person signs counts for nothing")
    if access.last is None:
        yield Finding("never_acted", who, "has signed nothing that the log holds")
        return
    for key in access.keys:
        if key.last is None:
            yield Finding("key_unused", who, f"the key {key.keyid[:20]} has signed nothing")


def _of_cohort(judge: Judge, cohort: str) -> Iterable[Finding]:
    """Rules that nobody can meet, or only while a certain person is there (rule 2)."""
    rules = judge.rules_for(cohort)
    if rules is None:
        yield Finding("cohort_denied", cohort, "no pattern of the roster covers it")
        return
    needed: dict[str, list[str]] = {}
    for name in RULES:
        rule: Mapping[str, int] = getattr(rules, name)
        holders = _holders(judge, cohort, (OPERATOR, *rule))
        if not _meetable(holders, rule):
            asked = ", ".join(f"{role} x {n}" for role, n in sorted(rule.items())) or "nobody else"
            detail = f"nobody can meet '{name}': it takes an operator, and beside him {asked}"
            yield Finding("rule_unmeetable", cohort, detail)
            continue
        for person in sorted({one for of in holders.values() for one in of}):
            without = {role: of - {person} for role, of in holders.items()}
            if not _meetable(without, rule):
                needed.setdefault(person, []).append(name)
    for person, names in sorted(needed.items()):
        detail = f"without {person} nobody can meet {', '.join(map(repr, names))}"
        yield Finding("rule_needs_one_person", cohort, detail)


def _holders(judge: Judge, cohort: str, roles: Sequence[str]) -> dict[str, set[str]]:
    return {
        role: {
            person.name
            for person in judge.roster.persons
            if role != MONITOR and judge.holds(person.name, role, cohort)
        }
        for role in roles
    }


def _meetable(holders: Mapping[str, set[str]], rule: Mapping[str, int]) -> bool:
    """Whether an operator and as many others as the rule asks for are there (rule 2)."""
    slots = [role for role, count in rule.items() for _ in range(count)]
    return any(_matched(holders, slots, author) for author in holders[OPERATOR])


def _matched(holders: Mapping[str, set[str]], slots: Sequence[str], author: str) -> bool:
    """Whether each slot has a person of its own beside the author: a bipartite matching."""
    taken: dict[str, int] = {}

    def place(slot: int, tried: set[str]) -> bool:
        for person in sorted(holders[slots[slot]] - {author} - tried):
            tried.add(person)
            if person not in taken or place(taken[person], tried):
                taken[person] = slot
                return True
        return False

    return all(place(slot, set()) for slot in range(len(slots)))
