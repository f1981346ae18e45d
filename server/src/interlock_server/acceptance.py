"""Whether a statement may be stored: named refusals, judged by the roster in force.

Rules:

1. The judgement is that of the gateways (``roster``, ``chain``). What is well signed by somebody
   entitled passes, whether or not it counts yet: that is decided anew by every reader.
2. Refused by name: another fleet, an unknown author, a signature that is not his (a key that the
   roster no longer gives him, too), a role that he does not hold, authorising one's own statement,
   something that is not on file, an order for what was not released, a date in the future.
3. Statements about the fleet are for ``admission``.
4. Whoever runs the rollouts looks at every order that nobody has authorised yet, too. So one person
   has at most ``MAX_WAITING`` of a product that wait; twice as many with recalls, so that no recall
   waits for a draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from interlock_core.chain import stop_counts
from interlock_core.errors import ConflictError, RefusedError, WireError
from interlock_core.exclusion import Exclusion
from interlock_core.fleet import COUNTERSIGNERS
from interlock_core.order import Authorisation, Go, Order, Stop
from interlock_core.recall_papers import Disposition, Notice, notice_counts
from interlock_core.release import UpdateClass, read_image
from interlock_core.rollout import State
from interlock_core.roster import MONITOR, OPERATOR, Judge
from interlock_core.statement import Opened, Said
from interlock_core.supersede import in_the_way
from interlock_core.wire import format_time
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.rollout_tables import RolloutRow
from interlock_server.db.tables import StatementRow
from interlock_server.image import Released
from interlock_server.onfile import MAX_AHEAD, find
from interlock_server.running import running
from interlock_server.standing import enrolment_row

MAX_WAITING: Final = 128

_OPENERS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("open", "manual"): (OPERATOR,),
    ("open", "auto"): (MONITOR,),
    ("renew", "manual"): (OPERATOR, MONITOR),
    ("renew", "auto"): (OPERATOR, MONITOR),
    ("resume", "manual"): (OPERATOR,),
    ("resume", "auto"): (OPERATOR,),
}
"""Who may sign a ``go``, by its act and its stage's gate (rules 5, 10 and 12 of the statements)."""

_AUTHORISED: Final[Mapping[type[Said], str]] = {
    Order: "order",
    Go: "go",
    Exclusion: "exclusion",
}
"""What an authorisation about a rollout may be about."""

_WAITING: Final[tuple[State, ...]] = ("draft", "waiting_for_approval")


@dataclass(frozen=True)
class Ground:
    """What an acceptance is judged against.

    Attributes:
        released: what the image repository says.
        cohorts: those that this server serves.
        session: to look statements up.
    """

    judge: Judge
    released: Released
    cohorts: frozenset[str]
    session: Session

    def order(self, id_: str) -> Opened[Order]:
        """An order on file.

        Raises:
            RefusedError: ``unknown_order``.
        """
        found = find(self.session, id_)
        if found is None or not isinstance(found.said, Order):
            raise RefusedError(
                f"No order {id_[:12]} is on file here: send the order first.",
                reason="unknown_order",
            )
        return found


def check_statement(opened: Opened[Any], ground: Ground) -> str:
    """Judge one statement (rules 1 and 2); returns the id of the order that it concerns.

    Raises:
        RefusedError: the reason says which rule.
    """
    check_author(opened, ground.judge)
    match opened.said:
        case Order():
            return _check_order(opened, ground)
        case Authorisation():
            return _check_authorisation(opened, ground)
        case Go():
            return _check_go(opened, ground)
        case Stop():
            return _check_stop(opened, ground)
        case Notice():
            return _check_notice(opened, ground)
        case Disposition():
            return _check_disposition(opened, ground)
        case Exclusion():
            return _check_exclusion(opened, ground)
    raise AssertionError("admission judges everything else")


def check_author(opened: Opened[Any], judge: Judge) -> None:
    """See that somebody of the roster signed for this fleet, and not in the future (rule 2).

    Raises:
        RefusedError: ``wrong_fleet``, ``unknown_author``, ``bad_signature``, ``dated_in_future``.
    """
    said = opened.said
    if said.fleet != judge.roster.fleet:
        raise RefusedError(
            f"The statement is for fleet {said.fleet} and this server serves {judge.roster.fleet}.",
            reason="wrong_fleet",
        )
    if all(person.name != said.author for person in judge.roster.persons):
        raise RefusedError(
            f"The roster knows no person {said.author}: nothing was stored.",
            reason="unknown_author",
        )
    if judge.signer_key(opened) is None:
        raise RefusedError(
            f"No key that the roster gives {said.author} made this signature: sign with that key.",
            reason="bad_signature",
        )
    check_date(said, judge.now)


def check_date(said: Said, now: datetime) -> None:
    """See that a statement is not dated in the future, but for clocks that differ a little.

    Raises:
        RefusedError: ``dated_in_future``.
    """
    if said.at > now + MAX_AHEAD:
        raise RefusedError(
            f"The statement is dated {format_time(said.at)} and it is "
            f"{format_time(now)} here: check the clock of the machine that signed.",
            reason="dated_in_future",
        )


def _entitled(opened: Opened[Any], judge: Judge, roles: Iterable[str], over: Iterable[str]) -> None:
    roles = tuple(roles)
    if not any(judge.author_is(opened, roles, cohort) for cohort in over):
        raise RefusedError(
            f"{opened.said.author} does not hold the role {' or '.join(roles)} over any cohort "
            "that this is about.",
            reason="role_not_held",
        )


def _check_order(opened: Opened[Order], ground: Ground) -> str:
    order = opened.said
    _entitled(opened, ground.judge, (OPERATOR,), order.cohorts())
    unknown = sorted(set(order.cohorts()) - ground.cohorts)
    if unknown:
        raise RefusedError(
            f"This server has no cohort {unknown[0]}: name one of "
            f"{', '.join(sorted(ground.cohorts))}, or add it with 'interlock-server cohort add'.",
            reason="unknown_cohort",
        )
    least = ground.judge.roster.min_order_seq.get(order.product, 0)
    if order.seq < least:
        raise RefusedError(
            f"The roster ended orders of {order.product} below {least}, and this is {order.seq}.",
            reason="superseded_order",
        )
    for target in order.targets:
        released = ground.released.target(target.path)
        if released is None or (released.custom or {}).get("kind") != "image":
            raise RefusedError(
                f"No image {target.path} is published: publish the release first.",
                reason="unknown_target",
            )
        if (released.length, released.hashes.get("sha256")) != (target.length, target.sha256):
            raise RefusedError(
                f"{target.path} was released with {released.length} bytes and SHA-256 "
                f"{released.hashes.get('sha256')}, which is not what the order names.",
                reason="target_mismatch",
            )
    _check_place(opened, ground)
    _check_waiting(opened, ground)
    return opened.id


def _check_waiting(opened: Opened[Order], ground: Ground) -> None:
    """See that the author leaves the others their turn (rule 4)."""
    order = opened.said
    moved = RolloutRow.order_id == StatementRow.id
    waiting = select(func.count()).where(
        StatementRow.type == Order.PREDICATE,
        StatementRow.product == order.product,
        StatementRow.author == order.author,
        StatementRow.id != opened.id,
        ~exists().where(moved, RolloutRow.state.not_in(_WAITING)),
    )
    most = 2 * MAX_WAITING if order.kind == "recall" else MAX_WAITING
    if (ground.session.scalar(waiting) or 0) >= most:
        raise ConflictError(
            f"{most} orders of {order.product} by {order.author} wait for others already: have one "
            "authorised, which ends those with lower numbers, or let them expire.",
            reason="too_many_orders",
        )


def _check_place(order: Opened[Order], ground: Ground) -> None:
    """See that an order takes the place of none that runs by accident (``supersede``)."""
    other = in_the_way(
        order.said, _class_of(order.said, ground), running(ground.session, ground.judge.now)
    )
    if other is not None:
        raise ConflictError(
            f"Order {other.id} of {order.said.product} runs at "
            f"{', '.join(sorted(other.cohorts & set(order.said.cohorts())))}: let it finish or "
            "expire, or propose this one with 'supersedes' naming it.",
            reason="order_running",
        )


def _class_of(order: Order, ground: Ground) -> UpdateClass | None:
    """What the image repository says of the wanted image."""
    wanted = ground.released.target(order.targets[0].path)
    try:
        return read_image(order.targets[0].path, wanted.custom).update_class if wanted else None
    except WireError:
        return None


def _check_authorisation(opened: Opened[Authorisation], ground: Ground) -> str:
    word = opened.said
    subject = find(ground.session, word.id)
    said = subject.said if subject else None
    kind = next((name for type_, name in _AUTHORISED.items() if isinstance(said, type_)), None)
    if subject is None or kind != word.authorises:
        raise RefusedError(
            f"No {word.authorises} {word.id[:12]} is on file here: send that first.",
            reason="unknown_subject",
        )
    check_not_own(subject, word)
    order = subject if isinstance(subject.said, Order) else ground.order(subject.said.order)
    _entitled(opened, ground.judge, (word.role,), order.said.cohorts())
    if subject is order:
        _check_place(order, ground)
    id_: str = order.id
    return id_


def check_not_own(subject: Opened[Any], word: Authorisation) -> None:
    """See that nobody authorises what he signed.

    Raises:
        RefusedError: ``own_authorisation``.
    """
    if subject.said.author == word.author:
        raise RefusedError(
            f"{word.author} signed the {word.authorises} and cannot authorise it too: somebody "
            "else must.",
            reason="own_authorisation",
        )


def _check_go(opened: Opened[Go], ground: Ground) -> str:
    go = opened.said
    order = ground.order(go.order)
    if go.stage >= len(order.said.stages):
        raise RefusedError(
            f"The order has {len(order.said.stages)} stages, counted from 0; there is no stage "
            f"{go.stage}.",
            reason="unknown_stage",
        )
    stage = order.said.stages[go.stage]
    # A resume is judged by the rule of each cohort of the order, whatever stage it names.
    over = order.said.cohorts() if go.act == "resume" else stage.cohorts
    _entitled(opened, ground.judge, _OPENERS[go.act, stage.gate], over)
    if go.act == "renew":
        opening = find(ground.session, go.renews or "")
        meant = (go.order, go.stage, go.opened_at)
        if (
            opening is None
            or not isinstance(opening.said, Go)
            or opening.said.act != "open"
            or (opening.said.order, opening.said.stage, opening.said.opened_at) != meant
        ):
            raise RefusedError(
                f"No opening {(go.renews or '')[:12]} of that stage and time is on file here.",
                reason="unknown_opening",
            )
    return go.order


def _check_exclusion(opened: Opened[Exclusion], ground: Ground) -> str:
    order = ground.order(opened.said.order)
    _entitled(opened, ground.judge, (OPERATOR,), order.said.cohorts())
    return order.id


def _check_stop(opened: Opened[Stop], ground: Ground) -> str:
    stop = opened.said
    order = ground.order(stop.order)
    if stop.cohort is not None and stop.cohort not in order.said.cohorts():
        raise RefusedError(
            f"The order does not name the cohort {stop.cohort}: there is nothing to stop there.",
            reason="unknown_cohort",
        )
    over = order.said.cohorts() if stop.cohort is None else (stop.cohort,)
    if not any(stop_counts(ground.judge, opened, cohort) for cohort in over):
        raise RefusedError(
            f"{stop.author} holds no role that may stop at {' or '.join(over)}.",
            reason="role_not_held",
        )
    return stop.order


def _check_notice(opened: Opened[Notice], ground: Ground) -> str:
    notice = opened.said
    order = ground.order(notice.order)
    _entitled(opened, ground.judge, (OPERATOR,), order.said.cohorts())
    judge = replace(ground.judge, now=max(ground.judge.now, notice.at))
    if not notice_counts(judge, opened, order):
        raise RefusedError(
            f"The order {notice.order[:12]} does not lead away from what this takes back: it is a "
            f"{order.said.kind} of {order.said.product}. Name a recall of that product which does "
            "not want those images.",
            reason="order_mismatch",
        )
    return notice.order


def _check_disposition(opened: Opened[Disposition], ground: Ground) -> str:
    said = opened.said
    order = ground.order(said.order)
    if order.said.kind != "recall":
        raise RefusedError(
            f"The order {said.order[:12]} is no recall: a gateway needs no disposition under it.",
            reason="order_mismatch",
        )
    row = enrolment_of(ground.session, said.enrolment, said.device)
    if ground.judge.author_is(opened, COUNTERSIGNERS, row.cohort, row.site) is None:
        raise not_held(said.author, row.cohort, row.site)
    return said.order


def enrolment_of(session: Session, id_: str, device: str) -> EnrolmentRow:
    """The enrolment that a statement names, which is that of the device that it names.

    Raises:
        RefusedError: ``unknown_enrolment`` or ``device_mismatch``.
    """
    row = enrolment_row(session, id_)
    if row is None:
        raise RefusedError(f"No enrolment {id_[:12]} is on file here.", reason="unknown_enrolment")
    if row.device != device:
        raise RefusedError(
            f"That enrolment is of device {row.device}, not {device}.", reason="device_mismatch"
        )
    return row


def not_held(person: str, cohort: str, site: str) -> RefusedError:
    """Who is neither an operator over a cohort nor an engineer of a site over it."""
    return RefusedError(
        f"{person} is no operator over {cohort}, and no engineer of {site} over it.",
        reason="role_not_held",
    )
