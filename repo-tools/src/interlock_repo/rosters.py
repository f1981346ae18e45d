"""A roster becomes ``interlock`` metadata, the version after the one in force (pure).

Rules:

1. ``seq`` is one more than the roster before, and the fleet is the same for ever.
2. A person's keys come from public key files that say that name and prove possession.
3. Two patterns that tie, one person twice, or one key of two people make no roster.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from tuf.api.metadata import Metadata, TargetFile, Targets

from interlock_core import wire
from interlock_core.errors import RefusedError
from interlock_core.keybytes import PublicKey
from interlock_core.keys import NamedKey
from interlock_core.names import ROSTER_PATH
from interlock_core.released import sha256_of
from interlock_core.roster import MAX_ROSTER, Roster
from interlock_repo.released import following
from interlock_repo.specs import RosterSpec


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
