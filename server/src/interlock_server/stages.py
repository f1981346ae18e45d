"""Opens the actions of a stage: who is inside is counted, once (I/O).

Rules:

1. Inside is every device of the cohort that counts now (``standing``: countersigned, and not
   quarantined), is of the order's product and hardware, and has its point below the stage's share
   and in no stage before it: by the placement of the gateways themselves.
2. Actions and counts appear in one transaction, so ``started`` is frozen with them. A device that
   has an action already keeps it; if it is inside it is counted from here on, with all that it
   said since (``counting``, rule 3).
3. A device's barrier is judged by what it said that it runs. Nothing that the server holds says
   what it ran before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from interlock_core.abort import Counts
from interlock_core.action import counts_of, opened
from interlock_core.chain import first_stage
from interlock_core.decide_target import first_fit
from interlock_core.errors import WireError
from interlock_core.facts import Refusal
from interlock_core.order import Order
from interlock_core.placement import point
from interlock_core.release import Image, read_image
from interlock_core.rollout import OpenActions
from interlock_core.statement import Opened
from interlock_server.counting import action_in, columns, insert_new, row_of
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.rollout_tables import ActionRow, StageRow
from interlock_server.image import NO_TARGETS, Released

_AT_ONCE: Final = 1000
"""How many rows are read, or added, at once."""


@dataclass(frozen=True)
class Images:
    """What the image repository says of an order's targets, and of what devices run."""

    order: Order
    released: Released

    @cached_property
    def wanted(self) -> Mapping[str, Image]:
        """The images of the order by path, as far as they are listed."""
        return {path: one for path, one in self._listed if path in self._paths}

    @cached_property
    def counters(self) -> Mapping[str, int]:
        """The release counter of every listed image of the product, by digest of what it is."""
        hashes = self.released.products.get(self.order.product, NO_TARGETS)
        return {
            hashes[path].hashes["sha256"]: image.release_counter for path, image in self._listed
        }

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(target.path for target in self.order.targets)

    @cached_property
    def _listed(self) -> list[tuple[str, Image]]:
        found = []
        for path, info in self.released.products.get(self.order.product, NO_TARGETS).items():
            if (info.custom or {}).get("kind") != "image":
                continue
            try:
                found.append((path, read_image(path, info.custom)))
            except WireError:
                # No gateway reads it either.
                continue
        return found

    def placed_by(self, hardware: str, running: str | None) -> str | None:
        """The digest that places a device; None for one that no target fits (rules 1 and 3)."""
        counter = self.counters.get(running or "", 0) if self._has_barrier else 0
        fit = first_fit(self.order, self.wanted, hardware, counter)
        return None if isinstance(fit, Refusal) else fit[0].sha256

    @cached_property
    def _has_barrier(self) -> bool:
        return any(image.min_counter_installed > 0 for image in self.wanted.values())


def open_stage(
    session: Session,
    rollout: int,
    order: Opened[Order],
    images: Images,
    effect: OpenActions,
    now: datetime,
) -> int:
    """Open the actions of one stage at one cohort; the session must hold the turn (rules 1 and 2).

    Args:
        session: the transaction that notes that the stage is open.
        rollout: its number.
        order: what was ordered.
        images: of the order.
        effect: the stage and the cohort.
        now: from when the deadlines run.

    Returns:
        How many were inside.
    """
    cohort, stage = effect.cohort, effect.stage
    session.add(StageRow(rollout=rollout, stage=stage, cohort=cohort, opened_at=effect.since))
    session.flush()
    action = opened(stage, now, order.said.deadline_seconds)
    mine = (ActionRow.rollout == rollout, ActionRow.cohort == cohort, ActionRow.stage == stage)
    inside: set[str] = set()
    rows: list[dict[str, Any]] = []
    for device in _inside(session, order.said, images, cohort, stage):
        inside.add(device.device)
        rows.append(row_of(rollout, cohort, device, action))
        if len(rows) == _AT_ONCE:
            insert_new(session, rows)
            rows = []
    insert_new(session, rows)
    # Of those that were there already, which are inside after all.
    early = _adopt(session, order, mine, inside)
    started = select(func.count()).where(*mine, ActionRow.counted.is_(True))
    others = select(func.count()).where(*mine, ActionRow.counted.is_(False))
    fresh = (session.scalar(started) or 0) - early.started
    scheduled = Counts(started=fresh, states={action.state: fresh})
    total = early + scheduled + Counts(joined=session.scalar(others) or 0)
    here = (StageRow.rollout == rollout, StageRow.stage == stage, StageRow.cohort == cohort)
    # A cohort may have nobody in it.
    if changed := columns(total):
        session.execute(update(StageRow).where(*here).values(changed))
    return total.started


def _adopt(
    session: Session, order: Opened[Order], mine: Collection[Any], inside: Collection[str]
) -> Counts:
    """Count the actions that were there before their stage opened, and are inside it."""
    early = Counts()
    wanted = select(ActionRow).where(*mine, ActionRow.counted.is_(False))
    for row in session.scalars(wanted.order_by(ActionRow.number).with_for_update()):
        if row.device in inside:
            row.counted = True
            early += counts_of(action_in(row, order.said))
    session.flush()
    return early


def _inside(
    session: Session, order: Order, images: Images, cohort: str, stage: int
) -> Iterator[Any]:
    """The devices that are inside a stage and in none before it (rule 1)."""
    wanted = (
        select(
            EnrolmentRow.number,
            EnrolmentRow.device,
            EnrolmentRow.site,
            EnrolmentRow.hardware,
            EnrolmentRow.running,
        )
        .where(
            EnrolmentRow.cohort == cohort,
            EnrolmentRow.state == "countersigned",
            EnrolmentRow.product == order.product,
        )
        .order_by(EnrolmentRow.device)
        .limit(_AT_ONCE)
    )
    page = session.execute(wanted).all()
    while page:
        for device in page:
            placed_by = images.placed_by(device.hardware, device.running)
            if placed_by is not None:
                at = point(placed_by, device.device)
                if first_stage(order, cohort, at) == stage:
                    yield device
        page = session.execute(wanted.where(EnrolmentRow.device > page[-1].device)).all()
