"""Statements and their status as a person reads them (pure: values in, rich renderables out).

Rules:

1. What will be signed is shown whole and in plain words: what, to whom, when, and what it does.
2. Text that others wrote is shown as text: no character of it can move the cursor, change a colour
   or turn the reading direction.
3. Ids and digests are never cut where somebody may have to compare or copy them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from interlock_core.api import RolloutSummary
from interlock_core.ending import Decommission, Revocation
from interlock_core.exclusion import Exclusion
from interlock_core.hold import Hold
from interlock_core.order import Assignment, Authorisation, Go, Order, Stop
from interlock_core.recall_papers import Disposition, Notice
from interlock_core.release import Image
from interlock_core.report import Claim
from interlock_core.site import Site
from interlock_core.statement import Said
from interlock_ops.units import show_duration, show_percent, show_time

ACTS: Final = {
    "open": "opens",
    "renew": "renews",
    "resume": "resumes at",
}


def plain(text: str) -> str:
    """``text`` on one line, whatever was in it (rule 2)."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)


def heading(text: str) -> Text:
    """A line that stands out."""
    return Text(plain(text), style="bold")


def line(text: str, style: str = "") -> Text:
    """A line of its own."""
    return Text(plain(text), style=style)


def fact(name: str, value: str) -> Text:
    """A named fact, indented."""
    return Text(f"  {name:<12} {plain(value)}")


def statement(
    said: Said,
    *,
    id_: str | None = None,
    images: Mapping[str, Image] | None = None,
    order: Order | None = None,
) -> list[RenderableType]:
    """A statement whole, in plain words (rule 1).

    Args:
        said: of the statements that people sign.
        id_: its id, where it is known already.
        images: of an order, the verified facts of its targets by path.
        order: of a go or a stop, the order that it is about, if it is known.
    """
    match said:
        case Order():
            shown = _order(said, images or {})
        case Authorisation():
            shown = [
                heading(f"Authorisation by {said.author}: {said.meaning} as {said.role}"),
                fact("of the", f"{said.authorises} {said.id}"),
            ]
        case Go():
            shown = _go(said, order)
        case Stop():
            shown = _stop(said, order)
        case Notice():
            shown = _notice(said, order)
        case Exclusion():
            shown = _exclusion(said, order)
        case _:
            shown = _act(said)
    if id_ is not None:
        shown.append(fact("id", id_))
    return [
        *shown,
        fact("reason", said.reason),
        fact("signed at", f"{show_time(said.at)} for the fleet {said.fleet}"),
    ]


def _order(order: Order, images: Mapping[str, Image]) -> list[RenderableType]:
    window = order.window
    shown: list[RenderableType] = [
        heading(f"Order {order.seq} of {order.product}, {order.kind}, by {order.author}"),
        fact("from", show_time(order.not_before)),
        fact("until", show_time(order.expires)),
        fact(
            "window",
            f"{window.opens} to {window.closes} by the gateway's local time"
            if window
            else "any time that the gateway allows",
        ),
        fact("spread", f"over {show_duration(order.spread_seconds)}"),
        fact("deadline", f"{show_duration(order.deadline_seconds)} of silence count as a failure"),
    ]
    shown += [
        fact(
            "stops at",
            f"{show_percent(abort.threshold_basis_points)} {abort.failure_type.replace('_', ' ')} "
            f"of at least {abort.min_executed}",
        )
        for abort in order.abort
    ]
    for number, target in enumerate(order.targets):
        shown.append(line(f"  {'wanted' if number == 0 else 'or first':<12} {target.path}"))
        shown.append(fact("", f"sha256 {target.sha256}"))
        shown.append(fact("", f"{target.length} bytes"))
        image = images.get(target.path)
        if image is not None:
            shown.append(
                fact(
                    "",
                    f"{image.product} {image.version}, counter {image.release_counter}, "
                    f"{image.update_class.type}, {image.update_class.urgency}, "
                    f"for {' '.join(image.hardware_ids)} in {' '.join(image.markets)}",
                )
            )
    return [*shown, _stages(order)]


def _stages(order: Order) -> Table:
    table = _table("stage", "cohorts", "share", "soak", "gate")
    for number, stage in enumerate(order.stages):
        table.add_row(
            str(number),
            ", ".join(stage.cohorts),
            show_percent(stage.basis_points),
            show_duration(stage.soak_seconds),
            "people" if stage.gate == "manual" else "auto: the monitor",
        )
    return table


def _go(go: Go, order: Order | None) -> list[RenderableType]:
    shown: list[RenderableType] = [
        heading(f"Go by {go.author}: {ACTS[go.act]} stage {go.stage}"),
        fact("of order", _named(go.order, order)),
    ]
    if order is not None and go.stage < len(order.stages) and go.act != "resume":
        stage = order.stages[go.stage]
        shown.append(
            fact("for", f"{show_percent(stage.basis_points)} of {', '.join(stage.cohorts)}")
        )
    if go.act == "resume":
        shown += [fact("ends stop", stop) for stop in go.clears]
    else:
        shown.append(fact("opened at", show_time(go.opened_at)))
    if go.renews is not None:
        shown.append(fact("renews", go.renews))
    shown.append(fact("lapses at", f"{show_time(go.valid_until)} unless it is renewed"))
    return shown


def _stop(stop: Stop, order: Order | None) -> list[RenderableType]:
    scope = [
        text
        for text in (
            f"at the cohort {stop.cohort}" if stop.cohort else "",
            f"at the site {stop.site}" if stop.site else "",
        )
        if text
    ]
    return [
        heading(f"Stop by {stop.author}: {' and '.join(scope) if scope else 'everywhere'}"),
        fact("of order", _named(stop.order, order)),
        fact("does", "no gateway begins or goes on until a resume by the cohort's rule ends it"),
    ]


def _exclusion(said: Exclusion, order: Order | None) -> list[RenderableType]:
    whose = f"of {said.device}" if said.device is not None else "of any device"
    why = f"by {said.failure}" if said.failure is not None else "by any reason"
    return [
        heading(f"Exclusion by {said.author}: a known issue"),
        fact("of order", _named(said.order, order)),
        fact("leaves out", f"failures {whose}, {why}"),
        fact("does", "they count neither as failed nor as started, now and later"),
    ]


def _notice(notice: Notice, order: Order | None) -> list[RenderableType]:
    shown: list[RenderableType] = [heading(f"Recall of {notice.product} by {notice.author}")]
    for image in notice.images:
        shown += [fact("takes back", image.path), fact("", f"sha256 {image.sha256}")]
    return [*shown, fact("by order", _named(notice.order, order))]


def _disposition(said: Disposition) -> list[RenderableType]:
    return [
        heading(f"Disposition by {said.author}: {said.device} is {said.disposition}"),
        fact("since", show_time(said.since)),
        fact("recall", said.order),
        fact("enrolment", said.enrolment),
    ]


def _claim(claim: Claim) -> list[RenderableType]:
    return [
        heading(f"Claim by {claim.author}: one gateway may ask to be enrolled, once"),
        fact("device", claim.device or "whichever comes first"),
        fact("hardware", claim.hardware or "any"),
        fact("product", claim.product),
        fact("site", claim.site),
        fact("cohort", claim.cohort),
        fact("secret", f"sha256 {claim.secret_sha256}"),
        fact("until", show_time(claim.expires)),
    ]


def _assignment(said: Assignment) -> list[RenderableType]:
    return [
        heading(f"Assignment {said.seq} by {said.author}: moves {said.device}"),
        fact("from", said.from_cohort),
        fact("to", said.to_cohort),
        fact("enrolment", said.enrolment),
        fact("until", show_time(said.expires)),
    ]


def _act(said: Said) -> list[RenderableType]:
    """What people say about a site or a device."""
    match said:
        case Claim():
            return _claim(said)
        case Assignment():
            return _assignment(said)
        case Hold():
            return _hold(said)
        case Site():
            return _site(said)
        case Revocation() | Decommission():
            return _ending(said)
        case Disposition():
            return _disposition(said)
    return [heading(type(said).__name__)]


def _hold(hold: Hold) -> list[RenderableType]:
    if hold.ends is not None:
        return [
            heading(f"Release by {hold.author}: the site {hold.site}"),
            fact("ends", hold.ends),
        ]
    assert hold.begins is not None  # it is no release
    assert hold.until is not None  # as above
    return [
        heading(f"Hold by {hold.author}: the site {hold.site}"),
        fact("from", show_time(hold.begins)),
        fact("until", show_time(hold.until)),
        fact("does", "its gateways download and change nothing; a release ends it early"),
    ]


def _site(site: Site) -> list[RenderableType]:
    return [
        heading(f"Description {site.seq} by {site.author}: the site {site.site}"),
        fact("time zone", site.time_zone),
        *(fact("contact", f"{one.name}: {one.reach}") for one in site.contacts),
        *([fact("notes", site.notes)] if site.notes else []),
    ]


def _ending(said: Revocation | Decommission) -> list[RenderableType]:
    over = fact("does", "nothing that its key signs is taken again, ever; it updates all the same")
    if isinstance(said, Revocation):
        shown = [heading(f"Revocation by {said.author}: the key of {said.device}")]
        return [*shown, fact("enrolment", said.enrolment), over]
    report = said.report
    return [
        heading(f"Out of service, by {said.author}: {said.device}"),
        fact("enrolment", said.enrolment),
        fact("last report", f"{report.number}, {report.id}" if report is not None else "none"),
        fact("it ran", said.running or "not known"),
        over,
    ]


def _named(id_: str, order: Order | None) -> str:
    if order is None:
        return id_
    return f"{id_} ({order.product} {order.seq}, {order.kind}, {order.targets[0].path})"


def asks(needed: Mapping[str, Mapping[str, int]], command: str) -> list[RenderableType]:
    """Who must authorise next, by cohort, and the command that does it."""
    people = {cohort: rule for cohort, rule in needed.items() if rule}
    if not people:
        return [line("Nobody else is needed.")]
    return [
        heading("Needed now, from others:"),
        *(fact(cohort, roles(rule)) for cohort, rule in people.items()),
        line(f"  {command}"),
    ]


def roles(rule: Mapping[str, int]) -> str:
    """``approver x 2, engineer x 1``."""
    return ", ".join(f"{role} x {count}" for role, count in sorted(rule.items())) or "nobody"


def rollouts(items: Iterable[RolloutSummary]) -> list[RenderableType]:
    """The server's list, which nothing of is signed."""
    rows = [("product", "seq", "kind", "state", "in force", "author", "signed at", "id")]
    rows += [
        (
            one.product,
            str(one.seq),
            plain(one.kind),
            one.state,
            "yes" if one.in_force else "no",
            plain(one.author),
            show_time(one.at),
            one.id,
        )
        for one in items
    ]
    if len(rows) == 1:
        return [line("The server lists no rollouts.")]
    return [
        *columns(rows),
        line("As the server tells it; 'rollout status ORDER_ID' checks the signatures.", "dim"),
    ]


def columns(rows: Sequence[Sequence[str]]) -> list[RenderableType]:
    """Rows of cells, the first row their names; each as wide as it needs to be.

    Not a table that is fitted to the terminal: an id is there to be copied (rule 3).
    """
    shown = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for row in shown
    ]


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def facts(named: Mapping[str, str]) -> Sequence[RenderableType]:
    """Named facts, one a line."""
    return [fact(name.replace("_", " "), value) for name, value in named.items()]
