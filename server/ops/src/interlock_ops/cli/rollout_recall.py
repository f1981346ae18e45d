"""``rollout recall``: stops what installs a release, and orders the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import click
from msgspec import structs
from rich.console import RenderableType

from interlock_core.catalogue import Catalogue, Past
from interlock_core.errors import ConfigurationError, Exit, InterlockError, RefusedError
from interlock_core.names import check_product
from interlock_core.recall import Account, Recall, account, stand
from interlock_core.recall_papers import MAX_RECALLED, Notice, Recalled
from interlock_core.seen import Seen
from interlock_core.statement import unsigned
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import permits_of
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import duration, name
from interlock_ops.dossier import Dossier
from interlock_ops.objection import Objection, asks_of_order
from interlock_ops.recall_reads import catalogue, dossiers, try_gateways
from interlock_ops.recalling import (
    Return,
    Terms,
    exposures,
    installing,
    plan_return,
    stops_of,
    to_stop,
)
from interlock_ops.show import asks, fact, heading, line, statement
from interlock_ops.show_recall import FIELDS, account_facts, account_lines, return_warnings

EXAMPLES: Final = (
    'interlock-ops rollout recall begin gateway/2.0.0 --reason "alarms sound late"',
    'interlock-ops rollout recall gateway/2.0.0 --to 1.9.2 --first canary --soak 1h --reason "..."',
    "interlock-ops rollout recall status ORDER_ID",
    'interlock-ops rollout recall record ORDER_ID GW-0003 --as returned --reason "in the depot"',
)
ANSWERS: Final = {
    "stops": "ids of the stops that were signed, by the order that each stops",
    "id, ids": "the order that leads back, and that with its notice; null where there is none",
    "version": "the version to return to",
    "affected": f"{', '.join(FIELDS)}; null where devices could not be read",
    "needed": "who must authorise the order, by cohort",
}


def release(text: str) -> tuple[str, str]:
    """``PRODUCT/VERSION``, for an argument."""
    product, _, version = text.partition("/")
    try:
        check_product(product)
    except InterlockError as e:
        raise click.BadParameter("name a release as PRODUCT/VERSION.") from e
    if not version or "/" in version:
        raise click.BadParameter("name a release as PRODUCT/VERSION.")
    return product, version


@dataclass
class _Recalling:
    """What is found out on the way."""

    run: Run
    how: How
    terms: Terms
    catalogue: Catalogue
    recalled: tuple[Past, ...]
    stopping: Sequence[Dossier] = ()
    orders: Sequence[Dossier] = ()
    fleet: list[Seen] | None = None
    stops: dict[str, str] = field(default_factory=dict)

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(one.sha256 for one in self.recalled)


@click.command("begin", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("release_", metavar="PRODUCT/VERSION", type=release)
@click.option("--to", metavar="VERSION", help="Return to this version; by default the newest safe.")
@click.option("--first", multiple=True, type=name, help="A cohort that goes first; repeatable.")
@click.option(
    "--soak", type=duration, default=3600, show_default="1h", help="Wait so long after the first."
)
@click.option(
    "--lasts", type=duration, default=90 * 86_400, show_default="90d", help="Until it expires."
)
@click.option(
    "--deadline",
    type=duration,
    default=86_400,
    show_default="1d",
    help="Silence for longer counts as a failure.",
)
def recall_begin(
    run: Run,
    release_: tuple[str, str],
    to: str | None,
    first: tuple[str, ...],
    soak: int,
    lasts: int,
    deadline: int,
    how: How,
) -> Answer:
    """Take a release back: stop what installs it, and order the way to a safe version.

    The stops are signed and sent first, and count by your one signature. Then the devices are read,
    and you are shown who is affected, by their own signed reports; then the order of the kind
    recall is proposed, with a notice of what it takes back. Others authorise it like any order.

    It stays open until each affected gateway has a disposition: 'rollout recall status'. The word
    'begin' may be left out.
    """
    product, version = release_
    session = run.session
    # A log that lies must not keep anybody from stopping; it keeps him from everything else.
    odd: list[str] = []
    session.in_spite_of_log = odd.append
    me = session.me
    known = catalogue(session, product)
    recalled = known.of_version(version)
    if not recalled:
        listed = ", ".join(dict.fromkeys(one.version for one in known.every)) or "none"
        raise ConfigurationError(
            f"{product} never released {version[:80]}: it released {listed}.",
            reason="no_such_release",
        )
    if len(recalled) > MAX_RECALLED:
        raise RefusedError(f"{version} has more than {MAX_RECALLED} images.", reason="too_large")
    terms = Terms(to, first, soak, timedelta(seconds=lasts), deadline)
    doing = _Recalling(run, how, terms, known, recalled)
    doing.orders = dossiers(session, product, run.voice.warn)
    doing.stopping = installing(doing.orders, doing.digests)
    stopped = _stop(doing, me)
    if odd:
        raise RefusedError(
            f"{odd[0]} Nothing else is: recall it again when the log is in order.",
            reason="log_in_doubt",
        )
    with run.voice.progress("devices read") as progress:
        doing.fleet = try_gateways(session, product, run.voice.warn, progress)
    plan = _plan(doing, me)
    if isinstance(plan, Objection):
        return _stopped_only(doing, plan, stopped)
    return _propose(doing, plan, stopped)


def _stop(doing: _Recalling, me: str) -> Answer | None:
    """Sign and send the stops; None where nothing is left to stop."""
    run = doing.run
    judge = run.session.judge
    orders = to_stop(judge, doing.stopping)
    stops = stops_of(judge, orders, author=me, reason=doing.how.reason)
    if not stops:
        run.voice.show([line("No order that installs it goes on: there is nothing to stop.")])
        return None
    account: list[RenderableType] = []
    for one, stop in zip(orders, stops, strict=True):
        account += statement(stop, order=one.order.said)
    how = doing.how
    if how.output is not None:
        how = replace(how, output=how.output.with_name(f"stop-{how.output.name}"))
    answer = carry_out(run, stops, how, account=account, done="stopped")
    ids = answer.facts.get("ids", [])
    doing.stops = {one.order.id: id_ for one, id_ in zip(orders, ids, strict=False)}
    run.voice.show(answer.shown)
    return answer


def _cohorts(doing: _Recalling) -> set[str]:
    """Those of the orders, and those of gateways that are affected (rule 2 of ``recalling``)."""
    cohorts = {cohort for one in doing.stopping for cohort in one.order.said.cohorts()}
    for seen in doing.fleet or ():
        attempt = seen.report.attempt if seen.report is not None else None
        tried = attempt.target if attempt is not None else None
        if not doing.digests.isdisjoint({seen.running, tried}):
            cohorts.add(seen.cohort)
    return cohorts


def _plan(doing: _Recalling, me: str) -> Return | Objection:
    session = doing.run.session
    judge = session.judge
    cohorts = _cohorts(doing)
    if not cohorts:
        return Objection(
            "nobody_affected",
            "No order installs that release, and no gateway that is shown runs or holds it: there "
            "is nothing to lead back.",
            Exit.DONE,
        )
    return plan_return(
        judge,
        doing.catalogue,
        doing.recalled,
        [seen for seen in doing.fleet or () if seen.cohort in cohorts],
        cohorts,
        doing.terms,
        author=me,
        reason=doing.how.reason,
        seq=session.next_seq(doing.catalogue.product),
    )


def _stopped_only(doing: _Recalling, plan: Objection, stopped: Answer | None) -> Answer:
    """How it ends where no order leads back: with what was done before.

    Raises:
        InterlockError: of the objection.
    """
    if plan.exit is Exit.DONE and stopped is not None:
        doing.run.voice.warn(plan.detail)
        return stopped
    sent = f"{len(doing.stops)} stop(s) are signed. " if doing.stops else ""
    return settle(replace(plan, detail=f"{sent}{plan.detail}"))


def _propose(doing: _Recalling, plan: Return, stopped: Answer | None) -> Answer:
    run = doing.run
    session = run.session
    # With the checkpoint that it is signed with: the notice names it by its id.
    order = structs.replace(plan.order, checkpoint=session.checkpoint)
    drafted = unsigned(order)
    notice = Notice(
        fleet=order.fleet,
        author=order.author,
        at=order.at,
        reason=order.reason,
        order=drafted.id,
        product=order.product,
        images=tuple(Recalled(path=one.path, sha256=one.sha256) for one in doing.recalled),
    )
    for warning in return_warnings(plan.safe, plan.steps, plan.left_out):
        run.voice.warn(warning)
    for warning in permits_of(session, order):
        run.voice.warn(warning)
    found = _affected(doing, plan)
    now = session.clock()
    needed = asks_of_order(session.judge, order.cohorts())
    images = {one.path: one.image for one in plan.steps.targets}
    account: list[RenderableType] = [
        *(account_lines(found, now) if found is not None else ()),
        line(""),
        *statement(order, images=images),
        line(""),
        *statement(notice, order=order),
    ]
    answer = carry_out(
        run,
        [order, notice],
        doing.how,
        account=account,
        done="recalled",
        after=lambda ids: _after(ids[0], needed),
        version=plan.safe.version,
        seq=order.seq,
        needed=needed,
        affected=account_facts(found) if found is not None else None,
        stops=doing.stops,
    )
    if doing.how.dry_run and stopped is not None:
        both = [*stopped.facts["statements"], *answer.facts["statements"]]
        return replace(answer, facts={**answer.facts, "statements": both})
    return answer


def _affected(doing: _Recalling, plan: Return) -> Account | None:
    """Who is affected as it stands, judged as ``recall status`` will."""
    if doing.fleet is None:
        return None
    judge = doing.run.session.judge
    recall = Recall(
        unsigned(plan.order),
        doing.digests,
        plan.order.at,
        exposures(judge, doing.stopping),
    )
    return account(stand(judge, recall, seen, ()) for seen in doing.fleet)


def _after(order_id: str, needed: Mapping[str, Mapping[str, int]]) -> list[RenderableType]:
    command = f"interlock-ops rollout authorise {order_id} --role ROLE --reason ..."
    return [
        *asks(needed, command),
        heading("It stays open until every affected gateway has a disposition:"),
        line(f"  interlock-ops rollout recall status {order_id}"),
        fact("then", f"interlock-ops rollout start {order_id} --reason ..."),
    ]
