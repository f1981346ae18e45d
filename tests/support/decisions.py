"""One gateway before one decision: an honest world that a test changes by a line.

    honest().decide().verdict                                    # a Grant
    honest().with_gateway(market="US").decide(Phase.DOWNLOAD)    # refused: wrong_market

``World`` is frozen: ``world.but(now=…)`` changes a part, ``world.with_gateway(…)``,
``with_trusted(…)`` and ``with_local(…)`` a part of a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from interlock_core.decide import decide
from interlock_core.facts import (
    Decision,
    Expiry,
    Floors,
    Gateway,
    InterlockAnswer,
    Local,
    Phase,
    TargetInfo,
    Trusted,
)
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.order import Order, Target
from interlock_core.release import Image, Reference, Slot, UpdateClass
from interlock_core.roster import Roster
from interlock_core.statement import Opened
from tests.support.papers import (
    DEVICE,
    HARDWARE,
    PRODUCT,
    days,
    digest,
    directive,
    entry,
    hours,
    order,
    started,
    target,
)
from tests.support.people import CANARY, DAY0, FLEET, ROSTER

MARKET: Final = "DE"
OLD: Final = target("1.0.0")
NEW: Final = target()


def image(of: Target = NEW, counter: int = 20, **fields: Any) -> Image:
    """The facts of a target."""
    product, version, _ = of.path.split("/")
    made: dict[str, Any] = {
        "product": product,
        "version": version,
        "hardware_ids": (HARDWARE,),
        "release_counter": counter,
        "raises_floor_to": 0,
        "min_counter_installed": 0,
        "update_class": UpdateClass(type="security", urgency="routine"),
        "markets": ("AT", MARKET),
        "support_end": "2035-12-31",
        "udi_di": "04012345678901",
        "slots": (Slot(name="rootfs", length=of.length, sha256=of.sha256),),
        "references": (
            Reference(
                kind="sbom",
                path=f"{product}/{version}/sbom.cdx.json",
                sha256=digest(f"{product}/{version}/sbom.cdx.json"),
            ),
        ),
    }
    return Image(**made | fields)


def info(of: Target) -> TargetInfo:
    return TargetInfo(length=of.length, hashes={"sha256": of.sha256})


GATEWAY: Final = Gateway(
    fleet=FLEET,
    device=DEVICE,
    product=PRODUCT,
    cohort=CANARY,
    hardware=HARDWARE,
    market=MARKET,
    site="ward-7",
    running_sha256=OLD.sha256,
    running_counter=10,
    highest_confirmed_counter=10,
    release_floor=5,
)
NO_FLOORS: Final = Floors()
AN_HOUR_LATER: Final = DAY0 + hours(1)
LOCAL: Final = Local(
    interlock=InterlockAnswer(clear=True, detail=""),
    free_bytes=2**30,
    slot_digests={"rootfs": NEW.sha256},
)


def trusted(
    of: Opened[Order] | None,
    papers: Iterable[Opened[Any]] = (),
    *,
    images: Mapping[str, Image] | None = None,
    roster: Roster = ROSTER,
    cohort: str = CANARY,
    product: str = PRODUCT,
    **fields: Any,
) -> Trusted:
    """What both repositories say of one order and its images.

    Each image has the facts of ``image`` unless ``images`` says otherwise.
    """
    targets = of.said.targets if of is not None else ()
    facts = images if images is not None else {t.path: image(t) for t in targets}
    infos = {t.path: info(t) for t in targets}
    said = directive({product: entry(of, papers)}, cohort)
    on_disk = TargetInfo(
        length=len(msgspec.json.encode(said)), hashes={"sha256": digest("directive")}
    )
    made: dict[str, Any] = {
        "expiries": tuple(
            Expiry(role, DAY0 + days(60))
            for role in ("image/timestamp", "director/timestamp", "director/targets")
        ),
        "roster": roster,
        "directive": said,
        "director_cohorts": (cohort, cohort, cohort),
        "director_targets": {DIRECTIVE_PATH: on_disk, **infos},
        "director_delegates": False,
        "image_targets": infos,
        "images": facts,
    }
    return Trusted(**made | fields)


@dataclass(frozen=True)
class World:
    """Everything that one decision depends on."""

    trusted: Trusted
    gateway: Gateway = GATEWAY
    floors: Floors = NO_FLOORS
    local: Local = LOCAL
    now: datetime = AN_HOUR_LATER

    def decide(self, phase: Phase = Phase.REBOOT) -> Decision:
        return decide(phase, self.trusted, self.gateway, self.floors, self.local, self.now)

    def but(self, **fields: Any) -> World:
        return replace(self, **fields)

    def with_trusted(self, **fields: Any) -> World:
        return replace(self, trusted=replace(self.trusted, **fields))

    def with_gateway(self, **fields: Any) -> World:
        return replace(self, gateway=replace(self.gateway, **fields))

    def with_local(self, **fields: Any) -> World:
        return replace(self, local=replace(self.local, **fields))


def honest(
    of: Opened[Order] | None = None,
    papers: Iterable[Opened[Any]] | None = None,
    **fields: Any,
) -> World:
    """An hour after a canary rollout of ``VERSION`` started; granted in every phase."""
    paper = of if of is not None else order()
    made = trusted(paper, papers if papers is not None else started(paper))
    return World(**{"trusted": made} | fields)
