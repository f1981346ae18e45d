"""What a recall signs: stops at once, then an order to a safe version, and a notice (pure).

Rules:

1. Every order of the product that installs what is taken back, and is not over, gets a stop
   everywhere, unless one that counts at each of its cohorts stands already. One signature stops.
2. The order leads to the safe version (``safe_version``), with the steps that its barriers need,
   for every cohort of those orders and of the gateways that are affected. Cohorts over which its
   author is no operator are left out, and said.
3. Cohorts that are named as the first come first; everybody else follows in stages that people
   open. A recall has no stage that opens by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from interlock_core.catalogue import Catalogue, Past
from interlock_core.chain import read_chain
from interlock_core.order import FULL, MAX_STAGES, Order, Stage, Stop
from interlock_core.recall import Exposure
from interlock_core.roster import OPERATOR, Judge
from interlock_core.safe_version import Safe, safe_version
from interlock_core.seen import Seen
from interlock_core.steps import Plan, Start, compose
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection
from interlock_ops.view import standing_stops

MAX_COHORTS: Final = 256
"""How many cohorts one stage names."""


def installing(dossiers: Iterable[Dossier], recalled: Collection[str]) -> list[Dossier]:
    """The orders that install one of these digests."""
    return [
        one
        for one in dossiers
        if any(target.sha256 in recalled for target in one.order.said.targets)
    ]


def exposures(judge: Judge, dossiers: Iterable[Dossier]) -> tuple[Exposure, ...]:
    """How far each of these orders was ever open, by cohort."""
    return tuple(
        Exposure(
            one.order,
            {
                cohort: len(read_chain(judge, one.papers, cohort).stages)
                for cohort in one.order.said.cohorts()
            },
        )
        for one in dossiers
    )


def to_stop(judge: Judge, dossiers: Iterable[Dossier]) -> list[Dossier]:
    """Those that are not over, and that no stop holds everywhere (1)."""
    found = []
    for one in dossiers:
        order = one.order.said
        over = order.expires <= judge.now
        ended = order.seq < judge.roster.min_order_seq.get(order.product, 0)
        if not over and not ended and not _held(judge, one):
            found.append(one)
    return found


def _held(judge: Judge, dossier: Dossier) -> bool:
    """Whether some stop of everything stands and counts at every cohort of the order."""
    return all(
        any(
            one.counts and one.stop.said.cohort is None and one.stop.said.site is None
            for one in standing_stops(
                judge, dossier, cohort, read_chain(judge, dossier.papers, cohort)
            )
        )
        for cohort in dossier.order.said.cohorts()
    )


def stops_of(judge: Judge, dossiers: Iterable[Dossier], *, author: str, reason: str) -> list[Stop]:
    """A stop of each, everywhere."""
    return [
        Stop(
            fleet=judge.roster.fleet,
            author=author,
            at=judge.now,
            reason=reason,
            order=one.order.id,
            cohort=None,
            site=None,
        )
        for one in dossiers
    ]


@dataclass(frozen=True)
class Terms:
    """What somebody may choose about a recall's order.

    Attributes:
        to: the version, or None for the safe one.
        first: the cohorts that come first.
    """

    to: str | None
    first: tuple[str, ...]
    soak_seconds: int
    lasts: timedelta
    deadline_seconds: int


@dataclass(frozen=True)
class Return:
    """The order that leads back, and what is to be said about it.

    Attributes:
        steps: how its targets were found, with the dead ends.
        left_out: cohorts over which the author is no operator.
    """

    order: Order
    safe: Safe
    steps: Plan
    left_out: tuple[str, ...]


def plan_return(
    judge: Judge,
    catalogue: Catalogue,
    recalled: Sequence[Past],
    fleet: Iterable[Seen],
    cohorts: Collection[str],
    terms: Terms,
    *,
    author: str,
    reason: str,
    seq: int,
) -> Return | Objection:
    """The order of a recall (rules 2 and 3).

    Args:
        judge: the verified roster, now.
        catalogue: of the product.
        recalled: what is taken back.
        fleet: gateways of the product in those cohorts.
        cohorts: that the order is for.
        terms: what its author chose.
        author: who signs.
        reason: why.
        seq: its number.
    """
    safe = safe_version(catalogue, recalled, terms.to)
    if safe is None:
        return _nothing_safe(catalogue, recalled, terms.to)
    mine = sorted(cohort for cohort in cohorts if judge.holds(author, OPERATOR, cohort))
    left_out = tuple(sorted(set(cohorts) - set(mine)))
    if not mine:
        return Objection(
            "role_not_held",
            f"{author} is no operator over {', '.join(left_out) or 'any cohort concerned'}: have "
            "its operator propose the recall.",
        )
    unknown = sorted(set(terms.first) - set(mine))
    if unknown:
        return Objection(
            "no_such_cohort",
            f"--first names the cohort {unknown[0]}, which this recall is not for: it is for "
            f"{', '.join(mine)}.",
        )
    starts = {_start(catalogue, seen) for seen in fleet}
    steps = compose(
        safe.targets, (one for one in catalogue.listed if _fits(one.sha256, recalled)), starts
    )
    stages = _stages(terms, mine)
    if len(stages) > MAX_STAGES or not steps.complete:
        return Objection(
            "too_large",
            f"One order holds {MAX_STAGES} stages of {MAX_COHORTS} cohorts: write an order file "
            "of the kind recall for a part of them, and propose that.",
        )
    order = Order(
        fleet=judge.roster.fleet,
        author=author,
        at=judge.now,
        reason=reason,
        product=catalogue.product,
        seq=seq,
        kind="recall",
        targets=tuple(one.target for one in steps.targets),
        stages=stages,
        abort=(),
        not_before=judge.now,
        expires=judge.now + terms.lasts,
        window=None,
        spread_seconds=0,
        deadline_seconds=terms.deadline_seconds,
    )
    return Return(order, safe, steps, left_out)


def _nothing_safe(catalogue: Catalogue, recalled: Sequence[Past], to: str | None) -> Objection:
    bad = {one.sha256 for one in recalled}
    versions = sorted({one.image.version for one in catalogue.listed if one.sha256 not in bad})
    listed = ", ".join(versions) or "none"
    if to is not None:
        return Objection(
            "no_such_release",
            f"{catalogue.product} lists no release {to} to return to: it lists {listed}.",
        )
    floor = catalogue.floor_after(max(one.counter for one in recalled))
    return Objection(
        "no_safe_version",
        f"No listed release of {catalogue.product} is for all the hardware and markets of what is "
        f"taken back, at or above the floor {floor}. It lists {listed}. Publish one, or name one "
        "with --to: below the floor it takes a permit, which the product's release managers make "
        "with 'interlock-repo permit'.",
    )


def _start(catalogue: Catalogue, seen: Seen) -> Start:
    runs = catalogue.of_digest(seen.running) if seen.running is not None else None
    return Start(seen.hardware, runs.counter if runs is not None else 0)


def _fits(sha256: str, recalled: Iterable[Past]) -> bool:
    return all(one.sha256 != sha256 for one in recalled)


def _stages(terms: Terms, cohorts: Sequence[str]) -> tuple[Stage, ...]:
    """Those that come first, then the others, in as many stages as their number takes (3)."""
    first = sorted(terms.first)
    others = [cohort for cohort in cohorts if cohort not in terms.first]
    groups = [
        (named[start : start + MAX_COHORTS], soak)
        for named, soak in ((first, terms.soak_seconds), (others, 0))
        for start in range(0, len(named), MAX_COHORTS)
    ]
    return tuple(
        Stage(cohorts=tuple(named), basis_points=FULL, soak_seconds=soak, gate="manual")
        for named, soak in groups
    )
