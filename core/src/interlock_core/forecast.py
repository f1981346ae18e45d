"""Whom an order would reach, stage by stage, and whom it would not (pure).

Operators see it before anybody signs. It is computed from what gateways said last, by the code that
they will decide with (``decide_target``, ``placed``), and it authorises nothing.

Rules:

1. A gateway stands in the first stage that has it inside, by the target that it would take. One
   that a barrier takes by steps stands in the last of their stages, and fetches all of them.
2. What already runs the wanted image has nothing to do. What no stage has inside is outside.
3. A gateway is counted as out of reach, and named, where its own facts rule the order out
   (hardware, barrier, market, floor), where nothing that it says counts or nobody knows what runs,
   where its hospital holds updates, or where it has been silent for longer than the order's
   deadline. It stands in its stage all the same: silence counts as a failure.
4. Where a share of a cohort means few gateways, they are named: a percentage is a probability.
5. The bytes are those of whole images. What resumes, and what a cache answers, is not in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from interlock_core.catalogue import Catalogue, Listed
from interlock_core.chain import stage_of
from interlock_core.decide_target import choose, permit_needed
from interlock_core.directive import Directive
from interlock_core.facts import Gateway, Reason, Refusal, TargetInfo, Trusted
from interlock_core.order import FULL, Order, Target
from interlock_core.placed import Placing
from interlock_core.release import Image
from interlock_core.roster import Roster
from interlock_core.seen import Facts, Seen, facts_of
from interlock_core.statement import unsigned
from interlock_core.steps import Start, climb

SMALL_COHORT: Final = 30
"""Up to so many gateways of a cohort, those whom a share means are named (4)."""
NAMED: Final = 100
"""At most so many gateways are named for one reason; all are counted."""


@dataclass
class Missed:
    """Gateways out of reach for one reason: how many, and the first of them by name."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, device: str) -> None:
        """One more."""
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(device)


@dataclass
class StageForecast:
    """Whom one stage adds.

    Attributes:
        devices: who comes in with this stage and has something to do.
        installed: who comes in and runs the wanted image already.
        by_site, by_cohort: of ``devices``.
        missed: of ``devices``, who is out of reach, by reason.
        size: bytes that ``devices`` fetch, but for those whose own facts rule it out.
        steps: of ``devices``, who goes by a step first.
        means: of each small cohort of which this stage has a share: who is inside by then.
    """

    number: int
    devices: int = 0
    installed: int = 0
    by_site: Counter[str] = field(default_factory=Counter)
    by_cohort: Counter[str] = field(default_factory=Counter)
    missed: dict[str, Missed] = field(default_factory=dict)
    size: int = 0
    steps: int = 0
    means: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Forecast:
    """Whom an order would reach.

    Attributes:
        total: gateways of the order's cohorts and product.
        outside: those whom no stage has inside, by cohort.
        dead_ends: starts from which no target of the order leads to what is wanted: how many.
        versions: what runs there now, by version; ``unknown`` where nobody can say.
    """

    stages: tuple[StageForecast, ...]
    total: int = 0
    outside: Counter[str] = field(default_factory=Counter)
    dead_ends: Counter[Start] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Way:
    """What gateways of one kind take: their targets in turn, or why none."""

    target: Target
    targets: tuple[Listed, ...]
    refusal: Refusal | None
    dead_end: bool
    known: bool


class _Terms:
    """The order and the releases, with what is found out once for each kind of gateway."""

    def __init__(self, order: Order, catalogue: Catalogue, roster: Roster) -> None:
        self.order = unsigned(order)
        self.catalogue = catalogue
        self.roster = roster
        listed = [catalogue.at_path(target.path) for target in order.targets]
        self.targets = [one for one in listed if one is not None]
        self.markets = sorted({market for one in self.targets for market in one.image.markets})
        self.trusted = _trusted(order, self.targets, roster)
        self.placing = Placing(order, catalogue)
        self._ways: dict[tuple[str, str | None], tuple[_Way, str]] = {}

    def way(self, seen: Seen, now: datetime) -> tuple[_Way, str]:
        """What a gateway takes, and the version that it runs; by hardware and what runs alone."""
        key = (seen.hardware, seen.running)
        if key not in self._ways:
            facts = facts_of(seen, self.catalogue, self.roster.fleet, self.markets)
            runs = facts.runs.version if facts.runs is not None else "unknown"
            self._ways[key] = (self._find(facts, now), runs)
        return self._ways[key]

    def _find(self, facts: Facts, now: datetime) -> _Way:
        gateway = facts.gateway
        if facts.runs is None:
            # What runs there is not known, so no floor is known to hold it back, and no barrier.
            counter = self.placing.counter(gateway.hardware, gateway.running_sha256)
            gateway = replace(
                gateway, highest_confirmed_counter=counter, running_counter=0, release_floor=0
            )
        first = self.order.said.targets[0]
        chosen = choose(self.order.said, gateway, self.trusted)
        if isinstance(chosen, Refusal):
            barred = chosen.reason == Reason.BARRIER_NOT_MET
            return _Way(first, (), chosen, dead_end=barred, known=facts.runs is not None)
        target, image = chosen
        refusal = self._permit(gateway, target, image, now)
        counter = gateway.highest_confirmed_counter
        targets = climb(self.targets, gateway.hardware, counter)
        known = facts.runs is not None
        return _Way(target, targets or (), refusal, dead_end=targets is None, known=known)

    def _permit(
        self, gateway: Gateway, target: Target, image: Image, now: datetime
    ) -> Refusal | None:
        found = permit_needed(self.order, target, image, gateway, self.trusted, now)
        return found if isinstance(found, Refusal) else None


def _trusted(order: Order, targets: Iterable[Listed], roster: Roster) -> Trusted:
    known = {one.path: one for one in targets}
    return Trusted(
        expiries=(),
        roster=roster,
        directive=Directive(fleet=roster.fleet, cohort=order.cohorts()[0], products={}),
        director_cohorts=(),
        director_targets={},
        director_delegates=False,
        image_targets={
            path: TargetInfo(one.length, {"sha256": one.sha256}) for path, one in known.items()
        },
        images={path: one.image for path, one in known.items()},
    )


def forecast(
    order: Order,
    catalogue: Catalogue,
    roster: Roster,
    fleet: Iterable[Seen],
    now: datetime,
) -> Forecast:
    """Whom an order would reach (rules 1 to 5).

    Args:
        order: its terms.
        catalogue: of its product.
        roster: in force.
        fleet: gateways, in any order; those of other products or cohorts are left out.
        now: silence is counted to here.
    """
    terms = _Terms(order, catalogue, roster)
    found = Forecast(tuple(StageForecast(number) for number in range(len(order.stages))))
    cohorts = frozenset(order.cohorts())
    small: dict[str, list[tuple[str, int]]] = {cohort: [] for cohort in cohorts}
    sizes: Counter[str] = Counter()
    for seen in fleet:
        if seen.product != order.product or seen.cohort not in cohorts:
            continue
        found.total += 1
        sizes[seen.cohort] += 1
        way, version = terms.way(seen, now)
        found.versions[version] += 1
        if way.dead_end:
            found.dead_ends[Start(seen.hardware, _counter(catalogue, seen))] += 1
        stage = _stage(order, seen, way)
        if sizes[seen.cohort] <= SMALL_COHORT and stage is not None:
            small[seen.cohort].append((seen.device, stage))
        if stage is None:
            found.outside[seen.cohort] += 1
        else:
            _add(found.stages[stage], seen, way, order, now)
    _name_few(found, order, small, sizes)
    return found


def _stage(order: Order, seen: Seen, way: _Way) -> int | None:
    """The stage by which a gateway has all that it takes (1)."""
    stage = stage_of(order, seen.cohort, way.target.sha256, seen.device)
    for one in way.targets[1:]:
        later = stage_of(order, seen.cohort, one.sha256, seen.device)
        if stage is None or later is None:
            return None
        stage = max(stage, later)
    return stage


def _add(stage: StageForecast, seen: Seen, way: _Way, order: Order, now: datetime) -> None:
    # A step that runs is not the end: only the last that it takes is.
    if seen.running == way.target.sha256 and len(way.targets) == 1:
        stage.installed += 1
        return
    stage.devices += 1
    stage.by_site[seen.site] += 1
    stage.by_cohort[seen.cohort] += 1
    reason = _missed(seen, way, order, now)
    if reason is not None:
        stage.missed.setdefault(reason, Missed()).add(seen.device)
    if way.refusal is None:
        stage.size += sum(one.length for one in way.targets if one.sha256 != seen.running)
        stage.steps += len(way.targets) > 1


def _missed(seen: Seen, way: _Way, order: Order, now: datetime) -> str | None:
    """Why a gateway is out of reach (3)."""
    if way.refusal is not None:
        return str(way.refusal.reason)
    if way.dead_end:
        return str(Reason.BARRIER_NOT_MET)
    if seen.excluded is not None:
        return seen.excluded
    if seen.heard_at is None or seen.running is None:
        return "no_report"
    if not way.known:
        return "unknown_image"
    if seen.held is not None:
        return "held"
    return "silent" if now - seen.heard_at > timedelta(seconds=order.deadline_seconds) else None


def _counter(catalogue: Catalogue, seen: Seen) -> int:
    past = catalogue.of_digest(seen.running) if seen.running is not None else None
    return past.counter if past is not None else 0


def _name_few(
    found: Forecast,
    order: Order,
    small: Mapping[str, Sequence[tuple[str, int]]],
    sizes: Mapping[str, int],
) -> None:
    """Name whom a share of a small cohort means (4)."""
    for number, stage in enumerate(order.stages):
        if stage.basis_points == FULL:
            continue
        for cohort in sorted(stage.cohorts):
            if 0 < sizes.get(cohort, 0) <= SMALL_COHORT:
                found.stages[number].means[cohort] = sorted(
                    device for device, first in small[cohort] if first <= number
                )
