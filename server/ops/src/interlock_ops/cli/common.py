"""What several commands share: signing a ``go``, checking targets, what exclusions do (I/O)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import click
from rich.console import RenderableType

from interlock_core.api import DeviceAction
from interlock_core.errors import ConfigurationError, InterlockError
from interlock_core.exclusion import Exclusion
from interlock_core.order import DEFAULT_GO, MAX_GO, Go, Order
from interlock_core.release import Image
from interlock_ops.cli.acting import How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import duration
from interlock_ops.dossier import Dossier
from interlock_ops.excluding import concerned, effect_facts, effect_lines, not_shown
from interlock_ops.fleet_reads import failures, read_stages
from interlock_ops.opening import Opening, plan_opening
from interlock_ops.permits import permits_said
from interlock_ops.proposing import object_to_targets
from interlock_ops.session import Session
from interlock_ops.show import asks, fact, statement
from interlock_ops.units import parse_time

VALID_FOR: Final = click.option(
    "--valid-for",
    type=duration,
    default=int(DEFAULT_GO.total_seconds()),
    show_default="7d",
    help="How long this signature keeps the stage open; at most 30d.",
)
AGAIN: Final = click.option(
    "--again", is_flag=True, help="Sign another one even where one waits for signatures."
)
OPENED_AT: Final = click.option(
    "--opened-at",
    metavar="TIME",
    help="When the stage opens: RFC 3339, or a duration from now. By default now.",
)


def verified_images(session: Session, order: Order) -> Mapping[str, Image]:
    """The verified facts of an order's targets, by path.

    Raises:
        RefusedError: ``order_mismatch``: the order names something else than what the image
            repository holds.
    """
    found = [session.image.find(target.path) for target in order.targets]
    objection = object_to_targets(order.targets, [one.facts for one in found])
    if objection is not None:
        raise objection.error()
    return {one.facts.path: one.image for one in found}


def lifetime(valid_for: int) -> timedelta:
    """How long a go is valid.

    Raises:
        ConfigurationError: nothing, or longer than a signature may last.
    """
    if not 0 < valid_for <= MAX_GO.total_seconds():
        raise ConfigurationError(
            "--valid-for must be longer than nothing and at most 30d.", reason="usage"
        )
    return timedelta(seconds=valid_for)


def opening_time(text: str | None, now: datetime) -> datetime | None:
    """The value of ``--opened-at``.

    Raises:
        ConfigurationError: no time.
    """
    try:
        return None if text is None else parse_time(text, after=now)
    except ValueError as e:
        raise ConfigurationError(f"--opened-at: {e}.", reason="usage") from e


def open_stage(
    run: Run,
    order_id: str,
    how: How,
    *,
    stage: int | None,
    opened_at: str | None,
    valid_for: int,
    again: bool,
) -> Answer:
    """Open one stage: what ``start`` and ``advance`` do."""
    session = run.session
    lasts = lifetime(valid_for)
    me = session.me
    dossier = session.dossier(order_id)
    judge = session.judge
    plan = plan_opening(
        judge,
        dossier,
        me,
        stage=stage,
        opened_at=opening_time(opened_at, judge.now),
        again=again,
    )
    if not isinstance(plan, Opening):
        return settle(plan)
    order = dossier.order.said
    images = verified_images(session, order)
    go = Go(
        fleet=session.roster.fleet,
        author=me,
        at=judge.now,
        reason=how.reason,
        order=dossier.order.id,
        stage=plan.stage,
        act="open",
        renews=None,
        clears=(),
        opened_at=plan.opened_at,
        valid_until=judge.now + lasts,
        seq=plan.seq,
    )
    account: list[RenderableType] = statement(order, id_=dossier.order.id, images=images)
    account += statement(go, order=order)
    account += [fact("not for", f"{cohort}: {why}") for cohort, why in plan.not_for.items()]
    return carry_out(
        run,
        [go],
        how,
        account=account,
        done="opened",
        after=lambda ids: asks_for_go(plan.asks, ids),
        order=dossier.order.id,
        stage=plan.stage,
        needed=plan.asks,
    )


def permits_of(session: Session, order: Order, order_id: str | None = None) -> list[str]:
    """What is to be said about permits for an order; of one that is no recall nothing is asked.

    Args:
        session: reads the verified image repository.
        order: the order.
        order_id: its id; None before it is signed.

    Raises:
        RefusedError, WireError, TransientError: as ``ImageRepository.product``.
    """
    if order.kind != "recall":
        return []
    product = session.image.product(order.product)
    return list(permits_said(order, order_id, product, session.clock()))


def asks_for_go(
    needed: Mapping[str, Mapping[str, int]], ids: Sequence[str]
) -> Sequence[RenderableType]:
    """Who must authorise a go now."""
    return asks(
        needed,
        f"interlock-ops rollout authorise --go {ids[0]} --role ROLE --reason ...",
    )


def effect(
    run: Run, order_id: str, order: Order, exclusions: Sequence[Exclusion]
) -> tuple[list[RenderableType], dict[str, Any]]:
    """Whom exclusions leave out and what the counts would be, in words and for machines.

    A person is warned where it cannot be read.
    """
    told = read_stages(run.session, order_id, run.voice.warn)
    left_out: list[DeviceAction] = []
    try:
        shown = list(failures(run.session, order_id))
        left_out = concerned(shown, exclusions)
        unseen = 0 if told is None else not_shown(told, shown)
        if unseen:
            run.voice.warn(
                f"{unseen} of the failures that are counted are not shown to you: more may be left "
                "out than what follows says."
            )
    except InterlockError as e:
        run.voice.warn(f"Whom it leaves out could not be read: {e}")
        told = None
    return effect_lines(order, told, left_out), effect_facts(order, told, left_out)


def describe_order(dossier: Dossier) -> list[RenderableType]:
    """The order in one line, for acts that do not depend on its details."""
    said = dossier.order.said
    return [
        fact(
            "order",
            f"{dossier.order.id} ({said.product} {said.seq}, {said.kind}, {said.targets[0].path})",
        )
    ]
