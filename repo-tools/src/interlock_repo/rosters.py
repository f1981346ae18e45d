"""A roster becomes ``interlock`` metadata, the version after the one in force (pure).

Rules:

1. ``seq`` is one more than the roster before, and the fleet is the same for ever.
2. A person's keys come from public key files that say that name and prove possession.
3. Two patterns that tie, one person twice, or one key of two people make no roster.
4. A renewal keeps all but the number and the time. A grant that has expired is not carried on in
   silence: somebody says that it may go, and then a person without any other goes too.
5. What runs out soon is said when a roster is made, and who leaves: a stop counts while its author
   may stop, so another signs those anew before he is gone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace
from tuf.api.metadata import Metadata, TargetFile, Targets

from interlock_core import wire
from interlock_core.errors import RefusedError
from interlock_core.keybytes import PublicKey
from interlock_core.keys import NamedKey
from interlock_core.names import ROSTER_PATH
from interlock_core.released import sha256_of
from interlock_core.roster import MAX_ROSTER, Person, Roster
from interlock_repo.released import following
from interlock_repo.specs import RosterSpec

SOON: Final = timedelta(days=60)
"""A grant that runs out within this time is named: two lives of a roster, or nearly."""


def next_roster(
    spec: RosterSpec,
    keys: Mapping[str, tuple[NamedKey, ...]],
    previous: Roster | None,
    now: datetime,
) -> Roster:
    """The roster that follows ``previous``.

    Args:
        spec: what people wrote.
        keys: each person's keys, by the person's name.
        previous: the roster in force; None for the first.
        now: the time of issue.

    Raises:
        RefusedError: ``wrong_fleet`` or ``wrong_person``.
        WireError: it makes no roster (rule 3).
    """
    for person, named in keys.items():
        for key in named:
            if key.name != person:
                raise RefusedError(
                    f"A key of {person} says that it is {key.name}'s: each person hands over a "
                    "file made under the own name.",
                    reason="wrong_person",
                )
    if previous is not None and previous.fleet != spec.fleet:
        raise RefusedError(
            f"The roster in force is of the fleet {previous.fleet}, not {spec.fleet}.",
            reason="wrong_fleet",
        )
    stated = {
        "type": "urn:interlock:roster:v1",
        "fleet": spec.fleet,
        "seq": previous.seq + 1 if previous is not None else 1,
        "issued": wire.format_time(now),
        "rules": spec.rules,
        "persons": [
            {
                "name": person.name,
                "keys": [PublicKey.of(named.key) for named in keys[person.name]],
                "grants": person.grants,
            }
            for person in spec.persons
        ],
        "min_order_seq": spec.min_order_seq,
    }
    return wire.convert(msgspec.to_builtins(stated), Roster, what="roster")


def check_patterns(spec: RosterSpec, text: str) -> None:
    """Check that no two rules are for one pattern (rule 3), and say where they stand.

    Args:
        spec: what ``text`` says.
        text: the TOML file.

    Raises:
        RefusedError: ``pattern_tie``.
    """
    for pattern, times in Counter(rule.pattern for rule in spec.rules).items():
        if times > 1:
            spelled = re.compile(rf"""\bpattern\s*=\s*(["']){re.escape(pattern)}\1""")
            lines = [str(n) for n, line in enumerate(text.splitlines(), 1) if spelled.search(line)]
            where = f" (lines {' and '.join(lines)})" if lines else ""
            raise RefusedError(
                f"Two rules are for the cohort pattern {pattern}{where}, and neither comes before "
                "the other: keep one, or make one pattern longer.",
                reason="pattern_tie",
            )


def renewed(previous: Roster, now: datetime, *, drop_expired: bool) -> Roster:
    """The roster in force once more (rule 4).

    Args:
        previous: the roster in force.
        now: the time of issue.
        drop_expired: leave out grants that have expired, and who has no other.

    Raises:
        RefusedError: ``expired_grants``.
    """
    over = [
        f"{person.name} {grant.role} since {wire.format_time(grant.expires)}"
        for person in previous.persons
        for grant in person.grants
        if grant.expires <= now
    ]
    if over and not drop_expired:
        raise RefusedError(
            f"Grants have expired: {', '.join(over[:20])}. Pass --drop-expired to renew the roster "
            "without them; or write the roster anew ('interlock-repo roster') with later ones.",
            reason="expired_grants",
        )
    persons = []
    for person in previous.persons:
        grants = tuple(grant for grant in person.grants if grant.expires > now)
        if grants or not person.grants:
            persons.append(replace(person, grants=grants))
    if not persons:
        raise RefusedError(
            "Nobody's grant is left: write the roster anew ('interlock-repo roster').",
            reason="expired_grants",
        )
    return replace(previous, seq=previous.seq + 1, issued=now, persons=tuple(persons))


def ending(roster: Roster, now: datetime) -> list[tuple[str, str]]:
    """Each grant that runs out within ``SOON``, soonest first: whose, and what (rule 5)."""
    found = sorted(
        (grant.expires, person.name, grant.role, ", ".join(grant.cohorts))
        for person in roster.persons
        for grant in person.grants
        if grant.expires <= now + SOON
    )
    return [
        (name, f"{role} over {cohorts} until {wire.format_time(expires)}")
        for expires, name, role, cohorts in found
    ]


def leaving(previous: Roster, roster: Roster, now: datetime) -> list[str]:
    """Persons whose stops would count no more, or not all of them, sorted (rule 5)."""
    after = {person.name: person for person in roster.persons}
    return sorted(
        person.name
        for person in previous.persons
        if (new := after.get(person.name)) is None
        or not set(person.keys) <= set(new.keys)
        or not _held(person, now) <= _held(new, now)
    )


def _held(person: Person, now: datetime) -> set[tuple[object, ...]]:
    """What a person's grants are for now, whenever they end."""
    return {(g.role, g.cohorts, g.sites) for g in person.grants if g.expires > now}


def next_metadata(
    roster: Roster, previous: Targets | None, *, now: datetime, expires: datetime
) -> tuple[Metadata[Targets], bytes]:
    """The ``interlock`` metadata that lists ``roster``, and the roster's bytes.

    Raises:
        RefusedError: ``too_large``.
    """
    data = wire.encode(roster)
    if len(data) > MAX_ROSTER:
        raise RefusedError(
            f"The roster would be {len(data)} bytes; gateways read {MAX_ROSTER}.",
            reason="too_large",
        )
    targets = following(previous, now=now, expires=expires)
    targets.targets = {
        ROSTER_PATH: TargetFile(len(data), {"sha256": wire.sha256_hex(data)}, ROSTER_PATH)
    }
    return Metadata(targets), data


def check_roster(targets: Targets, roster: Roster, data: bytes, previous: Roster | None) -> None:
    """Check ``interlock`` metadata with its roster, whoever made them (rule 1).

    Raises:
        RefusedError: ``bad_roster``.
    """
    info = targets.targets.get(ROSTER_PATH)
    if info is None or len(targets.targets) != 1 or targets.delegations is not None:
        raise _bad(f"the metadata must list {ROSTER_PATH} and nothing else")
    if (info.length, sha256_of(ROSTER_PATH, info)) != (len(data), wire.sha256_hex(data)):
        raise _bad("the roster is not the one that the metadata lists")
    if roster.seq != (previous.seq + 1 if previous else 1):
        raise _bad(f"its number is {roster.seq}, which does not follow the one in force")
    if previous is not None and roster.fleet != previous.fleet:
        raise _bad(f"it is of the fleet {roster.fleet}, not {previous.fleet}")


def _bad(why: str) -> RefusedError:
    return RefusedError(f"Not an acceptable roster: {why}.", reason="bad_roster")
