"""What happens if one more key is lost: the plan for a lost quorum, role by role (pure).

Rules:

1. A role can lose as many keys as it has beyond its threshold. A role that can lose none is
   accepted only with a sentence in the script that says why.
2. Every role is looked at: both roots, the image targets, and every role that the image targets
   delegate to, releases and roster alike.
3. It is said who makes good a quorum that is lost: the holders above it, or nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tuf.api.metadata import Targets

from interlock_ceremony.forms import AnyScript
from interlock_ceremony.script import Problem
from interlock_ceremony.standing import Place, RoleState, spelled
from interlock_core.tuf_metadata import delegated_roles


@dataclass(frozen=True)
class Reserve:
    """How far a role is from not being able to sign.

    Attributes:
        role: as scripts write it, or the delegated role's name.
        keys: how many it has.
        threshold: how many must sign.
        if_lost: what must be done once fewer are left than must sign.
        accepted: why it may have none to spare, or None.
    """

    role: str
    keys: int
    threshold: int
    if_lost: str
    accepted: str | None

    @property
    def spare(self) -> int:
        """How many keys can be lost."""
        return self.keys - self.threshold

    def says(self) -> str:
        """One line for people."""
        if self.spare > 0:
            return (
                f"{self.role}: {self.keys} keys, {self.threshold} must sign; {self.spare} can be "
                "lost and replaced."
            )
        return (
            f"{self.role}: {self.keys} keys, all must sign; if one is lost, {self.if_lost}. "
            f"Accepted: {self.accepted}"
        )


def reserves(
    roles: Mapping[Place, RoleState], targets: Targets | None, accepted: Mapping[str, str]
) -> list[Reserve]:
    """Every role's reserve (rule 2).

    Args:
        roles: the offline roles as they will be.
        targets: the top-level targets in force, or None at a genesis.
        accepted: the script's sentences.
    """
    found = [
        Reserve(
            spelled(place),
            len(state.holders),
            state.threshold,
            "every gateway needs a new first root, brought to it by hand"
            if place[1] == "root"
            else "the holders of image.root replace its keys in a ceremony",
            accepted.get(spelled(place)),
        )
        for place, state in roles.items()
    ]
    for name, role in delegated_roles(targets).items() if targets else ():
        remedy = "the holders of image.targets delegate anew"
        found.append(Reserve(name, len(role.keyids), role.threshold, remedy, accepted.get(name)))
    return found


def problems(script: AnyScript, found: Iterable[Reserve]) -> Iterator[Problem]:
    """The roles that nobody thought of, and the thoughts that are about none (rule 1)."""
    by_role = {reserve.role: reserve for reserve in found}
    for role, reserve in by_role.items():
        if reserve.spare <= 0 and reserve.accepted is None:
            yield Problem(
                ("accepted_risks", role),
                f"{role} has {reserve.keys} keys and all must sign: if one is lost, "
                f"{reserve.if_lost}; name a holder more, or say here why that is accepted.",
            )
    for role in script.accepted_risks:
        if role not in by_role:
            yield Problem(("accepted_risks", role), "there is no such role; remove the line.")
        elif by_role[role].spare > 0:
            yield Problem(
                ("accepted_risks", role),
                f"{role} can lose {by_role[role].spare}: there is no risk to accept; remove the "
                "line.",
            )
        elif not script.accepted_risks[role].isprintable():
            yield Problem(
                ("accepted_risks", role), "this has unprintable characters; take them out."
            )
