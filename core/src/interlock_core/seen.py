"""What is known of a gateway from outside: its facts, as ``decide`` takes them (pure).

Operators forecast and explain with it, so that they run the gateway's own decision on it.

Rules:

1. Who it is stands in its enrolment; where it is and what runs, in the newest report that its own
   key signed. What that image is, the product's metadata says.
2. What nobody outside can know is named, and assumed to stand in the way of nothing: its market,
   as far as the markets of what runs leave it open; floors and permits beyond what runs.
3. Where what runs and what is wanted share no market, the gateway's market is one that what is
   wanted is not cleared for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from interlock_core.catalogue import Catalogue, Past
from interlock_core.facts import Gateway
from interlock_core.report import Report

ENDED_HERE: Final = frozenset({"rolled_back"})
"""Outcomes of an attempt after which its target is not tried again under its order."""


@dataclass(frozen=True)
class Seen:
    """One gateway as its papers show it.

    Attributes:
        enrolment: id of the enrolment in force.
        cohort: that of its newest report, before the first that of its enrolment.
        report: the newest that its own key signed and that counts; None without one.
        heard_at: when it signed that; None without one.
        excluded: why nothing that it says counts (``quarantined``, ``waiting`` …), or None.
        out_of_service: whether somebody entitled signed that it was decommissioned.
        hold: what holds its site, by a hold that was signed and stands now; or None.
    """

    device: str
    enrolment: str
    product: str
    hardware: str
    site: str
    cohort: str
    report: Report | None = None
    heard_at: datetime | None = None
    excluded: str | None = None
    out_of_service: bool = False
    hold: str | None = None

    @property
    def running(self) -> str | None:
        """Digest of what runs, as far as it said."""
        said = self.report.running if self.report is not None else None
        return said.sha256 if said is not None else None

    @property
    def held(self) -> str | None:
        """Why its hospital holds updates back: by a signed hold, or as it said last."""
        if self.hold is not None:
            return self.hold
        decided = self.report.decided if self.report is not None else None
        if decided is None or decided.reason not in {"local_hold", "site_hold"}:
            return None
        return decided.detail or decided.reason


@dataclass(frozen=True)
class Facts:
    """A gateway's facts, and what of them is not known.

    Attributes:
        runs: what runs, if the product released it.
        unknown: what had to be assumed, for people.
    """

    gateway: Gateway
    runs: Past | None
    unknown: tuple[str, ...]


def facts_of(
    seen: Seen, catalogue: Catalogue, fleet: str, wanted_markets: Collection[str]
) -> Facts:
    """A gateway's facts as ``decide`` takes them (rules 1 to 3).

    Args:
        seen: the gateway.
        catalogue: of its product.
        fleet: the fleet id.
        wanted_markets: the markets of what is wanted.
    """
    runs = catalogue.of_digest(seen.running) if seen.running is not None else None
    unknown: list[str] = []
    if seen.running is None:
        unknown.append("what runs on it: it has not said")
    elif runs is None:
        unknown.append("the release counter of what runs: its product never released that")
    market, known = _market(runs, wanted_markets)
    if not known:
        unknown.append("its market: gateways do not report it")
    counter = runs.counter if runs is not None else 0
    attempt = seen.report.attempt if seen.report is not None else None
    rolled_back = (
        frozenset({(attempt.order, attempt.target)})
        if attempt is not None and attempt.outcome in ENDED_HERE
        else frozenset()
    )
    gateway = Gateway(
        fleet=fleet,
        device=seen.device,
        product=seen.product,
        cohort=seen.cohort,
        hardware=seen.hardware,
        market=market,
        site=seen.site,
        running_sha256=seen.running,
        running_counter=counter,
        highest_confirmed_counter=counter,
        release_floor=runs.raises_floor_to if runs is not None else 0,
        rolled_back=rolled_back,
        enrolment=seen.enrolment,
    )
    return Facts(gateway, runs, tuple(unknown))


def _market(runs: Past | None, wanted: Collection[str]) -> tuple[str, bool]:
    """A market to decide with, and whether it decides as the gateway's own would."""
    allowed = sorted(wanted)
    if runs is None or not runs.markets:
        return (allowed[0] if allowed else "", False)
    common = sorted(set(runs.markets) & set(wanted))
    if not common:
        return runs.markets[0], True
    return common[0], set(runs.markets) <= set(wanted)
