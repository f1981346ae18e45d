"""What is in force between two ceremonies: who holds which key (pure types).

Rules:

1. It is never written down by itself: scripts, public keys and roots give it, ceremony by
   ceremony, from the genesis on (``audit``).
2. Every key that ever counted is remembered. One that left never comes back, under any name.
3. So is every key that only signed a transcript: it may do that again for the same person, and is
   never anybody else's, nor a key of a role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from securesystemslib.signer import SSlibKey

from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.forms import Repository, Role
from interlock_core.genesis import DIRECTOR, IMAGE

Place = tuple[Repository, Role]
"""An offline role of the ceremony."""

PLACES: Final[tuple[Place, ...]] = ((IMAGE, "root"), (IMAGE, "targets"), (DIRECTOR, "root"))
"""In the order in which they are treated."""

Why = Literal["removed", "replaced", "lost", "compromised", "rotated"]
"""Why a key left."""


@dataclass(frozen=True)
class Duty:
    """A key that a person holds for one role.

    Attributes:
        holder: the person's short name.
        repository: where it signs.
        role: what it signs there.
        scheme: the kind of key.
        key: the key's name, which names its files too.
        token: the PKCS#11 token that it is made in, or None for a file.
    """

    holder: str
    repository: Repository
    role: Role
    scheme: str
    key: str
    token: str | None = None

    @property
    def place(self) -> Place:
        """The role."""
        return self.repository, self.role


@dataclass(frozen=True)
class RoleState:
    """An offline role as it stands.

    Attributes:
        holders: their keys, in the order of the root's list.
        threshold: how many must sign.
        lifetime_days: from a ceremony to the expiry of what they sign in it.
    """

    holders: tuple[Duty, ...]
    threshold: int
    lifetime_days: int

    def of(self, person: str) -> Duty | None:
        """A person's key of this role, or None."""
        return next((duty for duty in self.holders if duty.holder == person), None)


@dataclass(frozen=True)
class Retired:
    """A key that counted once.

    Attributes:
        name: of the key.
        key: the public key.
        why: it left.
        ceremony: the number of the one that it left in.
    """

    name: str
    key: SSlibKey
    why: Why
    ceremony: int


@dataclass(frozen=True)
class Standing:
    """What a ceremony left in force.

    Attributes:
        number: of the ceremony; the genesis is 1.
        fleet: the fleet id.
        head: digest of the last entry of its transcript.
        people: full names of everybody who ever took part, by short name.
        roles: the offline roles.
        keys: the public keys of their holders and the online ones, by name.
        retired: the keys that left.
        attended: who signed a transcript with a key for that alone, by the key's fingerprint.
        names: every name that a key ever had.
        roots: the newest version of either root.
        targets: version and SHA-256 of the newest top-level targets that it knew.
        ended: when the last entry of its transcript was made.
    """

    number: int
    fleet: str
    head: str
    people: Mapping[str, str]
    roles: Mapping[Place, RoleState]
    keys: Mapping[str, SSlibKey]
    retired: tuple[Retired, ...]
    attended: Mapping[str, str]
    names: frozenset[str]
    roots: Mapping[Repository, int]
    targets: tuple[int, str]
    ended: datetime


def spelled(place: Place) -> str:
    """A role as a script writes it."""
    return f"{place[0]}.{place[1]}"


def known(standing: Standing | None, attending: str | None = None) -> dict[str, str]:
    """What is known of every key that ever counted, by fingerprint, for people to read.

    Args:
        standing: what is in force.
        attending: a person whose own attending keys are left out: they may come again (rule 3).
    """
    if standing is None:
        return {}
    found = {
        public: f"a key that {person} attended with"
        for public, person in standing.attended.items()
        if person != attending
    }
    found |= {fingerprint(key): name for name, key in standing.keys.items()}
    for gone in standing.retired:
        says = f"{gone.name}, which was {gone.why} in ceremony {gone.ceremony}"
        found[fingerprint(gone.key)] = says
    return found
