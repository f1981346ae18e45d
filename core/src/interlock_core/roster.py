"""The roster, and who is believed about what.

Rules (numbers are those of ``docs/wire-format.md``, "Counting signatures"):

1. Exactly the author's signature on a statement counts. Signatures are counted by distinct roster
   person and distinct public key bytes, one role per person and subject: that of his first word,
   and of those of one second that of the role whose name comes first.
2. For a rule that asks for n people the author does not count; authorisations by others do. Only
   ``approved`` and ``consented`` count.
3. Author and authorisations are judged by the current roster, at decision time: a person who left
   it, or whose grant has expired, counts for nothing, in orders in flight too.
4. The most specific cohort pattern decides. A cohort that no pattern covers is denied.
5. Two people never share a key (a roster in which they do is refused whole); one person with two
   keys is one person.
6. One signature stops: an operator's, a monitor's, or that of a role named in the rule ``stop``.
7. A monitor holds no other role, so that its key, which works unattended, opens auto stages,
   renews and stops, and nothing else.
8. A grant that names sites counts for what names one of those sites, and for nothing wider: an
   engineer of one hospital countersigns its devices and stops its rollouts, and no other's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, UnsetType
from securesystemslib.signer import SSlibKey

from interlock_core.keybytes import PublicKey, public_key_bytes
from interlock_core.names import CohortPattern, Name, covers, most_specific
from interlock_core.order import Authorisation, Seq
from interlock_core.statement import Opened, Said, Signature
from interlock_core.wire import Record, decode_canonical

MAX_ROSTER: Final = 1024 * 1024
OPERATOR: Final = "operator"
ENGINEER: Final = "engineer"
"""Somebody of a hospital who looks after its gateways."""
MONITOR: Final = "monitor"

COUNTING_MEANINGS: Final = frozenset({"approved", "consented"})

Rule = Annotated[dict[Name, Annotated[int, Meta(ge=1, le=16)]], Meta(max_length=16)]
"""How many other people of which role; empty asks for the author alone."""


class Grant(Record, frozen=True, kw_only=True):
    """A role over cohorts, until it expires.

    Attributes:
        sites: the hospitals to which the role is limited (8); left out, it is not.
    """

    role: Name
    cohorts: Annotated[tuple[CohortPattern, ...], Meta(min_length=1, max_length=64)]
    expires: datetime
    sites: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=256)] | UnsetType = UNSET

    def at_site(self, site: str | None) -> bool:
        """Whether it counts for what concerns ``site``; None is what concerns more than one."""
        return self.sites is UNSET or (site is not None and site in self.sites)


class Person(Record, frozen=True, kw_only=True):
    """Somebody who signs: her keys, and what she may do."""

    name: Name
    keys: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=8)]
    grants: Annotated[tuple[Grant, ...], Meta(max_length=64)]


class CohortRules(Record, frozen=True, kw_only=True):
    """What a cohort asks for.

    Attributes:
        start: others who must authorise an order, and the opening of stage 0.
        advance: others who must authorise the opening of a manual stage.
        resume: others who must authorise a resume.
        stop: further roles whose one signature stops (6).
        assign: others who must authorise an assignment from or to this cohort.
    """

    pattern: CohortPattern
    start: Rule
    advance: Rule
    resume: Rule
    stop: Annotated[tuple[Name, ...], Meta(max_length=16)]
    assign: Rule


class Roster(Record, frozen=True, kw_only=True):
    """Persons, keys, roles, grants and rules: the content of ``interlock/roster.json``."""

    type: Literal["urn:interlock:roster:v1"] = "urn:interlock:roster:v1"
    fleet: Name
    seq: Seq
    issued: datetime
    rules: Annotated[tuple[CohortRules, ...], Meta(min_length=1, max_length=4096)]
    persons: Annotated[tuple[Person, ...], Meta(min_length=1, max_length=4096)]
    min_order_seq: Annotated[dict[Name, Seq], Meta(max_length=4096)]

    def __post_init__(self) -> None:
        super().__post_init__()
        _no_double((rule.pattern for rule in self.rules), "two rules for the cohort pattern")
        _no_double((person.name for person in self.persons), "two persons named")
        _no_double(
            (public_key_bytes(key.sslib()).hex() for person in self.persons for key in person.keys),
            "one public key twice (two people never share a key):",
        )
        for person in self.persons:
            roles = {grant.role for grant in person.grants}
            if MONITOR in roles and len(roles) > 1:
                raise ValueError(f"the monitor {person.name} holds another role too")
        for rule in self.rules:
            for asked in (rule.start, rule.advance, rule.resume, rule.assign):
                if MONITOR in asked:
                    raise ValueError(f"the monitor can authorise nothing (in {rule.pattern})")

    def rules_for(self, cohort: str) -> CohortRules | None:
        """The rules that decide for ``cohort``, or None: then it is denied (4)."""
        pattern = most_specific((rule.pattern for rule in self.rules), cohort)
        return next((rule for rule in self.rules if rule.pattern == pattern), None)


def _no_double(values: Iterable[str], what: str) -> None:
    for value, times in Counter(values).items():
        if times > 1:
            raise ValueError(f"the roster holds {what} {value[:80]}")


def order_of_signing(word: Opened[Authorisation]) -> tuple[datetime, str, str]:
    """A key to sort words by, so that of one person's about one subject the first counts (1).

    Times are whole seconds. In which role somebody counts who signs in two within one second must
    not be for the ids to say, which differ with every signature.
    """
    return word.said.at, word.said.role, word.id


def read_roster(data: bytes) -> Roster:
    """Read ``interlock/roster.json``.

    Raises:
        WireError: malformed, or two people share a key, or two patterns tie, or a monitor holds
            another role.
    """
    return decode_canonical(data, Roster, limit=MAX_ROSTER, what="roster")


@dataclass
class Judge:
    """The roster at one instant: whose signature counts for what.

    Signature checks are remembered, so that judging one directive under several rules verifies
    each signature once.
    """

    roster: Roster
    now: datetime
    _seen: dict[tuple[str, tuple[Signature, ...]], bytes | None] = field(default_factory=dict)
    _rules: dict[str, CohortRules | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._persons: Mapping[str, Person] = {p.name: p for p in self.roster.persons}
        self._keys: dict[str, list[SSlibKey]] = {}

    def rules_for(self, cohort: str) -> CohortRules | None:
        """``Roster.rules_for``, looked up once for each cohort."""
        if cohort not in self._rules:
            self._rules[cohort] = self.roster.rules_for(cohort)
        return self._rules[cohort]

    def signer_key(self, opened: Opened[Any]) -> bytes | None:
        """Public key bytes with which the author signed, or None if he did not (1, 3).

        The key must be one that the current roster gives to the author.
        """
        said: Said = opened.said
        # With its signatures: the same words may be shown twice, and be signed but once.
        known = (opened.id, opened.envelope.signatures)
        if known not in self._seen:
            person = self._persons.get(said.author)
            key = opened.verified_by(self._keys_of(person)) if person else None
            self._seen[known] = public_key_bytes(key) if key else None
        return self._seen[known]

    def _keys_of(self, person: Person) -> list[SSlibKey]:
        if person.name not in self._keys:
            self._keys[person.name] = [key.sslib() for key in person.keys]
        return self._keys[person.name]

    def holds(self, person: str, role: str, cohort: str, site: str | None = None) -> bool:
        """Whether ``person`` holds ``role`` over ``cohort`` now, at ``site`` or anywhere (3, 8)."""
        known = self._persons.get(person)
        return known is not None and any(
            grant.role == role
            and grant.expires > self.now
            and grant.at_site(site)
            and any(covers(pattern, cohort) for pattern in grant.cohorts)
            for grant in known.grants
        )

    def holds_at(self, person: str, role: str, site: str) -> bool:
        """Whether ``person`` holds ``role`` at ``site`` now, over whatever cohorts (3, 8)."""
        known = self._persons.get(person)
        return known is not None and any(
            grant.role == role and grant.expires > self.now and grant.at_site(site)
            for grant in known.grants
        )

    def author_is(
        self, opened: Opened[Any], roles: Iterable[str], cohort: str, site: str | None = None
    ) -> str | None:
        """The first of ``roles`` that the author holds over ``cohort``, if he signed."""
        said: Said = opened.said
        if said.fleet != self.roster.fleet or self.signer_key(opened) is None:
            return None
        return next((role for role in roles if self.holds(said.author, role, cohort, site)), None)

    def authorised_at(
        self,
        subject: Opened[Any],
        rule: Mapping[str, int],
        authorisations: Sequence[Opened[Authorisation]],
        cohort: str,
        site: str | None = None,
    ) -> datetime | None:
        """When enough others had authorised ``subject`` by ``rule`` over ``cohort``.

        Args:
            subject: an order, a go, an assignment or an enrolment.
            rule: how many others of which role.
            authorisations: whatever was signed about it.
            cohort: whose rule it is.
            site: the one site that the subject concerns, if it concerns only one (8).

        Returns:
            The ``at`` of the newest authorisation that the rule needed; the subject's own ``at``
            when it needs none; None while somebody is missing (1, 2).
        """
        times = self._times(subject, rule, authorisations, cohort, site)
        said: Said = subject.said
        newest = said.at
        for role, count in rule.items():
            if len(times[role]) < count:
                return None
            newest = max(newest, times[role][count - 1])
        return newest

    def missing(
        self,
        subject: Opened[Any],
        rule: Mapping[str, int],
        authorisations: Sequence[Opened[Authorisation]],
        cohort: str,
        site: str | None = None,
    ) -> dict[str, int]:
        """Who must still authorise ``subject`` by ``rule`` over ``cohort``: how many of which role.

        Empty exactly when ``authorised_at`` returns a time.
        """
        times = self._times(subject, rule, authorisations, cohort, site)
        return {role: n for role, asked in rule.items() if (n := asked - len(times[role])) > 0}

    def _times(
        self,
        subject: Opened[Any],
        rule: Mapping[str, int],
        authorisations: Sequence[Opened[Authorisation]],
        cohort: str,
        site: str | None = None,
    ) -> dict[str, list[datetime]]:
        """When the authorisations of ``subject`` that count were signed, by role, oldest first."""
        first: dict[str, Opened[Authorisation]] = {}
        author_key = self.signer_key(subject)
        # In the order of signing: a person's first word about a subject is the one that counts.
        for word in sorted(authorisations, key=order_of_signing):
            if (
                word.said.id == subject.id
                and f"urn:interlock:{word.said.authorises}:v1" == subject.said.PREDICATE
                and word.said.author != subject.said.author
                and word.said.fleet == self.roster.fleet
                and word.said.meaning in COUNTING_MEANINGS
                and word.said.role in rule
                and word.said.author not in first
                and self.holds(word.said.author, word.said.role, cohort, site)
                and self.signer_key(word) not in (None, author_key)
            ):
                first[word.said.author] = word
        return {
            role: [word.said.at for word in first.values() if word.said.role == role]
            for role in rule
        }
