"""Whether every gateway could read the next roots (pure).

Rules:

1. A root with a kind of key that the root before had not may be unreadable for an older client,
   which then follows neither repository any more. Who that would be is looked up before, in the
   list that ``interlock-ops device export`` writes.
2. Nobody is stranded by accident: people go on only by saying how many gateways they strand, the
   exact number.
3. A genesis strands nobody: there is no gateway yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from securesystemslib.signer import Key

from interlock_ceremony.acts import Preflighted
from interlock_ceremony.plan import Plan
from interlock_ceremony.standing import Standing
from interlock_core.errors import ConfigurationError, RefusedError
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.inventory import Gateways, Stranded, stranded


def new_schemes(plan: Plan, imported: Mapping[str, Key]) -> tuple[str, ...]:
    """The kinds of keys that a next root has and the one before had not.

    Args:
        plan: of the ceremony.
        imported: the new online keys, by name.
    """
    before = plan.before
    if before is None:
        return ()
    new: set[str] = set()
    for repository in plan.new_roots():
        had = {
            duty.scheme
            for place, state in before.roles.items()
            if place[0] == repository
            for duty in state.holders
        }
        had |= {key.scheme for name, key in before.keys.items() if _signs(name, repository)}
        has = {
            duty.scheme
            for place, state in plan.roles.items()
            if place[0] == repository
            for duty in state.holders
        }
        has |= {key.scheme for name, key in imported.items() if _signs(name, repository)}
        new |= has - had
    return tuple(sorted(new))


def left_behind(schemes: tuple[str, ...], gateways: Gateways, before: Standing) -> list[Stranded]:
    """The gateways that could not read keys of these kinds.

    Raises:
        ConfigurationError: the list is of another fleet.
    """
    if gateways.fleet != before.fleet:
        raise ConfigurationError(
            f"The list is of the gateways of {gateways.fleet}, and this is a ceremony of "
            f"{before.fleet}: export this fleet's."
        )
    return list(stranded(gateways, schemes))


def decide(
    schemes: tuple[str, ...], gateways: Gateways, found: list[Stranded], despite: int | None
) -> Preflighted:
    """Let people go on, or not (rule 2).

    Args:
        schemes: from ``new_schemes``.
        gateways: the list.
        found: from ``left_behind``.
        despite: how many people say that they strand, or None.

    Raises:
        RefusedError: ``stranding``.
    """
    if len(found) != (despite or 0):
        said = "" if despite is None else f", and --despite-stranding says {despite}"
        raise RefusedError(
            f"{len(found)} of {len(gateways.gateways)} gateways could not read the next roots"
            f"{said}: bring them up to date first, and export their list again. To go on and lose "
            f"them, pass --despite-stranding {len(found)}.",
            reason="stranding",
        )
    return Preflighted(
        schemes=schemes,
        listed_at=gateways.at,
        gateways=len(gateways.gateways),
        stranded=len(found),
    )


def _signs(name: str, repository: str) -> bool:
    return name in ONLINE_ROLES and ONLINE_ROLES[name][0][0] == repository
