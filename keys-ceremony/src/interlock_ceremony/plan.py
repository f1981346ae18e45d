"""What a ceremony does, from its script and what is in force (pure).

Rules:

1. A script and the standing before it give one plan and no other: the ceremony follows it, and an
   audit makes it again.
2. Whoever is there and may sign, signs: all holders of a role, not only as many as must, so that
   each key proves itself. A key that is lost or compromised signs nothing.
3. A new root is signed by the holders of the root before and by its own. Top-level targets whose
   role changes are signed by both, too: then they are believed under either root, and the server
   can switch without a gap.
4. Everybody who is there signs the transcript: with the keys that sign metadata, or, who has
   none, with a key made for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from interlock_ceremony.forms import (
    AnyScript,
    Compromised,
    Later,
    Repository,
    Role,
    Rotate,
    Script,
    scheme_of,
)
from interlock_ceremony.standing import PLACES, Duty, Place, RoleState, Standing, Why
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES

Part = Literal["administrator", "holder", "witness"]

ATTENDING = "attending"
"""Ends the name of a key that signs the transcript and nothing else."""

_ENDS = "|".join([*(f"{repository}-{role}" for repository, role in PLACES), ATTENDING])
_KEY = re.compile(rf".+-(?:{_ENDS})(?:-[0-9]+)?")
"""What ``key_name``, ``ATTENDING`` and ``fresh`` make of a person's name."""


@dataclass(frozen=True)
class Attendance:
    """How somebody who signs no metadata signs the transcript.

    Attributes:
        person: their short name.
        key: the name of the key.
        path: of the public key file that they bring, or None if the key is made here.
    """

    person: str
    key: str
    path: str | None


@dataclass(frozen=True)
class Signing:
    """A metadata file and the names of the keys that sign it.

    Attributes:
        repository: whose file it is.
        role: whose metadata it is.
        version: of the metadata.
        old: those of the version before.
        new: those of this version.
    """

    repository: Repository
    role: Role
    version: int
    old: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def file(self) -> str:
        """Where it stands in the output."""
        return metadata_file(self.repository, self.role, self.version)

    @property
    def place(self) -> Place:
        """The role."""
        return self.repository, self.role

    @property
    def signers(self) -> tuple[str, ...]:
        """Everybody's keys, each once."""
        return tuple(dict.fromkeys((*self.old, *self.new)))


@dataclass(frozen=True)
class Plan:
    """A whole ceremony.

    Attributes:
        number: the genesis is 1.
        before: what is in force, or None at the genesis.
        script: what it follows.
        roles: the offline roles as they will be.
        makes: the holders' keys that are made.
        opens: the older keys that sign.
        attends: who signs the transcript with a key for that alone.
        imports: paths of new online keys' public key files, by name.
        retires: the keys that leave.
        signings: the metadata files.
    """

    number: int
    before: Standing | None
    script: AnyScript
    roles: Mapping[Place, RoleState]
    makes: tuple[Duty, ...]
    opens: tuple[Duty, ...]
    attends: tuple[Attendance, ...]
    imports: Mapping[str, str]
    retires: Mapping[str, Why]
    signings: tuple[Signing, ...]

    def parts(self, person: str) -> tuple[Part, ...]:
        """What a person does in the ceremony."""
        found: list[Part] = []
        if person == self.script.administrator:
            found.append("administrator")
        if any(duty.holder == person for duty in (*self.makes, *self.opens)):
            found.append("holder")
        if person in self.script.witnesses:
            found.append("witness")
        return tuple(found)

    def attesters(self) -> tuple[str, ...]:
        """The names of the keys that sign the transcript (rule 4)."""
        names = [duty.key for duty in (*self.makes, *self.opens)]
        return (*names, *(one.key for one in self.attends))

    def rehearsed(self) -> Plan:
        """The same with every key in a file: a rehearsal leaves nothing in anybody's token."""
        return replace(
            self,
            makes=tuple(replace(duty, token=None) for duty in self.makes),
            roles={
                place: replace(
                    state, holders=tuple(replace(duty, token=None) for duty in state.holders)
                )
                for place, state in self.roles.items()
            },
        )

    def new_roots(self) -> dict[Repository, int]:
        """The versions of the roots that are signed."""
        return {s.repository: s.version for s in self.signings if s.role == "root"}


@dataclass(frozen=True)
class Outcome:
    """What the changes of a script come to.

    Attributes:
        roles: the offline roles as they will be.
        makes: the holders' keys to be made.
        retires: the keys that leave.
        imports: paths of new online keys' public key files, by name.
        renewed: the roles that get a new version whatever else changes.
    """

    roles: dict[Place, RoleState]
    makes: list[Duty]
    retires: dict[str, Why]
    imports: dict[str, str]
    renewed: set[Place]


def later_paths(script: Later) -> dict[tuple[str | int, ...], str]:
    """The paths that a later script names, by their fields."""
    paths: dict[tuple[str | int, ...], str] = {("previous",): script.previous}
    if script.targets is not None:
        paths["targets",] = script.targets
    for index, change in enumerate(script.changes):
        if isinstance(change, Rotate | Compromised) and change.file is not None:
            paths["changes", index, "file"] = change.file
    return paths


def metadata_file(repository: str, role: str, version: int) -> str:
    """Where a metadata file stands in a ceremony's output."""
    return f"{repository}/{version}.{role}.json"


def key_name(person: str, place: Place) -> str:
    """The first name of a holder's key."""
    return f"{person}-{place[0]}-{place[1]}"


def reads_like_a_key(name: str) -> bool:
    """Whether a key has, or may once have, this name, which is not a person's own."""
    return name in ONLINE_ROLES or _KEY.fullmatch(name) is not None


def fresh(name: str, names: Iterable[str], number: int) -> str:
    """``name`` if no key ever had it, or else ``name`` with the number of the ceremony."""
    return f"{name}-{number}" if name in names else name


def genesis(script: Script) -> Plan:
    """The plan of a genesis; it need not make sense if the script does not."""
    scripts = {
        (IMAGE, "root"): script.image.root,
        (IMAGE, "targets"): script.image.targets,
        (DIRECTOR, "root"): script.director.root,
    }
    makes = tuple(
        Duty(
            person,
            *place,
            scheme_of(scripts[place].schemes.get(person), scripts[place].tokens.get(person)),
            key_name(person, place),
            scripts[place].tokens.get(person),
        )
        for person in script.persons
        for place in PLACES
        if person in scripts[place].holders
    )
    roles = {
        place: RoleState(
            tuple(duty for duty in makes if duty.place == place),
            scripts[place].threshold,
            scripts[place].lifetime_days,
        )
        for place in PLACES
    }
    signings = tuple(
        Signing(*place, 1, (), tuple(duty.key for duty in roles[place].holders)) for place in PLACES
    )
    return Plan(
        number=1,
        before=None,
        script=script,
        roles=roles,
        makes=makes,
        opens=(),
        attends=_attends(script, makes, frozenset(), 1),
        imports=script.online.paths(),
        retires={},
        signings=signings,
    )


def later(script: Later, before: Standing, outcome: Outcome, targets: int) -> Plan:
    """The plan of a later ceremony.

    Args:
        script: its changes were applied.
        before: what is in force.
        outcome: what the changes come to.
        targets: the version of the top-level targets in force.
    """
    number = before.number + 1
    made = {duty.key for duty in outcome.makes}
    here = set(script.persons)
    unusable = {key for key, why in outcome.retires.items() if why in {"lost", "compromised"}}
    signings = []
    for place in _touched(before, outcome):
        old = tuple(
            duty.key
            for duty in before.roles[place].holders
            if duty.holder in here and duty.key not in unusable
        )
        new = tuple(
            duty.key
            for duty in outcome.roles[place].holders
            if duty.key in made or duty.holder in here
        )
        version = before.roots[place[0]] if place[1] == "root" else targets
        signings.append(Signing(*place, version + 1, old, new))
    signing = {key for one in signings for key in one.signers}
    opens = tuple(
        duty
        for place in PLACES
        for duty in before.roles[place].holders
        if duty.key in signing and duty.key not in made
    )
    makes = tuple(outcome.makes)
    return Plan(
        number=number,
        before=before,
        script=script,
        roles=outcome.roles,
        makes=makes,
        opens=opens,
        attends=_attends(script, (*makes, *opens), before.names, number),
        imports=outcome.imports,
        retires=outcome.retires,
        signings=tuple(signings),
    )


def _touched(before: Standing, outcome: Outcome) -> list[Place]:
    """The roles whose metadata gets a new version."""
    changed = {place for place in PLACES if _differs(before.roles[place], outcome.roles[place])}
    online = {ONLINE_ROLES[name][0][0] for name in outcome.imports}
    roots: dict[Place, bool] = {
        (IMAGE, "root"): (IMAGE, "targets") in changed or IMAGE in online,
        (DIRECTOR, "root"): DIRECTOR in online,
    }
    return [
        place
        for place in PLACES
        if place in changed or place in outcome.renewed or roots.get(place)
    ]


def _differs(one: RoleState, other: RoleState) -> bool:
    return (one.holders, one.threshold) != (other.holders, other.threshold)


def _attends(
    script: AnyScript, signing: Iterable[Duty], names: frozenset[str], number: int
) -> tuple[Attendance, ...]:
    holders = {duty.holder for duty in signing}
    return tuple(
        Attendance(person, person, script.attendance[person])
        if person in script.attendance
        else Attendance(person, fresh(f"{person}-{ATTENDING}", names, number), None)
        for person in script.persons
        if person not in holders
    )
