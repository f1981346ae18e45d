"""The people of a small fleet: keys, persons, grants, rules, rosters.

Keys are Ed25519 and follow from a name alone, so that a test reads the same in every run:
``signer("olga")`` signs with Olga's key. The fleet's people are

- ``olga`` and ``omar``, operators; ``ada`` and ``alan``, approvers; all four over every cohort;
- ``hanna``, who speaks for the hospital ``st-anna`` alone (role ``hospital``);
- ``mona``, the monitor.

By ``ROSTER``, an order and its start take one approver beside the operator, a manual stage and a
resume likewise; at ``st-anna`` the hospital must consent too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from interlock_core.keybytes import PublicKey
from interlock_core.roster import CohortRules, Grant, Person, Roster

FLEET: Final = "north"
DAY0: Final = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
"""When everything begins, unless a test says otherwise."""
FAR: Final = DAY0 + timedelta(days=3650)
CANARY: Final = "canary"
ST_ANNA: Final = "st-anna"
ST_BERT: Final = "st-bert"


@cache
def private_key(name: str) -> Ed25519PrivateKey:
    """The key that follows from ``name``."""
    seed = hashlib.sha256(b"interlock test key " + name.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


@cache
def signer(name: str) -> CryptoSigner:
    """Signs with the key that follows from ``name``."""
    return CryptoSigner(private_key(name))


@cache
def public_key(name: str) -> PublicKey:
    """The public half of the key that follows from ``name``, as a roster spells it."""
    return PublicKey.of(signer(name).public_key)


def grant(role: str, *cohorts: str, expires: datetime = FAR) -> Grant:
    """``role`` over ``cohorts``; over all of them if none is named."""
    return Grant(role=role, cohorts=cohorts or ("*",), expires=expires)


def person(name: str, *grants: Grant, keys: tuple[str, ...] | None = None) -> Person:
    """A person with the key of her name, or with the keys of the names given."""
    of = keys if keys is not None else (name,)
    return Person(name=name, keys=tuple(public_key(key) for key in of), grants=grants)


def rules(
    pattern: str = "*",
    *,
    start: Mapping[str, int] | None = None,
    advance: Mapping[str, int] | None = None,
    resume: Mapping[str, int] | None = None,
    stop: tuple[str, ...] = (),
    assign: Mapping[str, int] | None = None,
) -> CohortRules:
    """The rules of one cohort pattern; each rule not given asks for one approver."""

    def asked(rule: Mapping[str, int] | None) -> dict[str, int]:
        return dict(rule) if rule is not None else {"approver": 1}

    return CohortRules(
        pattern=pattern,
        start=asked(start),
        advance=asked(advance),
        resume=asked(resume),
        stop=stop,
        assign=asked(assign),
    )


OLGA: Final = person("olga", grant("operator"))
OMAR: Final = person("omar", grant("operator"))
ADA: Final = person("ada", grant("approver"))
ALAN: Final = person("alan", grant("approver"))
HANNA: Final = person("hanna", grant("hospital", ST_ANNA))
ELLEN: Final = person(
    "ellen",
    Grant(role="engineer", cohorts=(CANARY, "ward-*"), expires=FAR, sites=("ward-7",)),
)
"""An engineer of ward 7, who is in no roster unless it is said."""
MONA: Final = person("mona", grant("monitor"))
PEOPLE: Final = (OLGA, OMAR, ADA, ALAN, HANNA, MONA)
CONSENT: Final = {"approver": 1, "hospital": 1}
RULES: Final = (
    rules(stop=("hospital",)),
    rules(ST_ANNA, start=CONSENT, advance=CONSENT, resume=CONSENT, stop=("hospital",)),
)


def roster(
    *persons: Person,
    rules: tuple[CohortRules, ...] = RULES,
    fleet: str = FLEET,
    seq: int = 1,
    issued: datetime = DAY0 - timedelta(days=1),
    min_order_seq: Mapping[str, int] | None = None,
) -> Roster:
    """A roster of ``persons``; of everybody if none is named."""
    return Roster(
        fleet=fleet,
        seq=seq,
        issued=issued,
        rules=rules,
        persons=persons or PEOPLE,
        min_order_seq=dict(min_order_seq or {}),
    )


ROSTER: Final = roster()
