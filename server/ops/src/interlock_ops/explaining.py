"""Why a gateway is not updating: the gateway's own decision, on what is known outside (pure).

Rules:

1. The decision is core's ``decide``, on the papers about the order in force, the verified roster
   and image repository, and what the gateway signed last. It is no second opinion.
2. What nobody outside knows is named. It is assumed to stand in the way of nothing, so a *granted*
   here means: nothing that is known stands in the way.
3. What the gateway said itself comes first where it is newer than everything that was signed about
   the order, and where nothing that it says is believed, that is the answer.
4. A gateway that is silent for longer than the order's deadline, or that never reported, is told by
   that: whatever it would decide, nobody has heard it decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from msgspec import UNSET

from interlock_core import decide_here
from interlock_core.catalogue import Catalogue, Listed
from interlock_core.decide import decide
from interlock_core.directive import Directive, ProductDirective
from interlock_core.errors import WireError
from interlock_core.facts import (
    Check,
    Decision,
    Expiry,
    Floors,
    Grant,
    InterlockAnswer,
    Local,
    Phase,
    Refusal,
    TargetInfo,
    Trusted,
)
from interlock_core.hold import Hold, standing_holds
from interlock_core.placed import Placing
from interlock_core.placement import POINTS, point
from interlock_core.report import Report
from interlock_core.roster import Judge, Roster
from interlock_core.seen import Seen, facts_of
from interlock_core.statement import Envelope, Opened, open_as
from interlock_ops.device_view import DeviceView
from interlock_ops.dossier import Dossier
from interlock_ops.units import show_age
from interlock_ops.why import Why, why

Source = Literal["decision", "report", "papers", "silence"]
PLENTY: Final = 2**50
"""Bytes that are free: how many, only the gateway knows."""
ASSUMED: Final = frozenset({"space is enough", "the slot holds the wanted image"})
"""Rules of ``decide`` that are assumed to be met (2)."""


@dataclass(frozen=True)
class Known:
    """What an explanation is made from.

    Attributes:
        expiries: of the image repository's metadata.
        utc_offset: local time at the gateway's site minus UTC, or None where nobody knows.
        holds: what was signed about holds of its site.
    """

    roster: Roster
    catalogue: Catalogue
    expiries: tuple[Expiry, ...]
    now: datetime
    utc_offset: timedelta | None = None
    holds: tuple[Envelope, ...] = ()


@dataclass(frozen=True)
class Because:
    """The answer in one line: a stable name, a sentence, and where it is from."""

    reason: str
    detail: str
    source: Source


@dataclass(frozen=True)
class Explained:
    """Why a gateway is where it is.

    Attributes:
        decision: the gateway's own, on what is known; None where no order is in force.
        checks: every rule that ran, in order.
        says: what the gateway said last.
        point: where it stands in the order, below ``placement.POINTS``; None where no target of
            it is for this gateway.
        stage: the first stage that has it inside, or None.
        unknown: what nobody outside knows, for people.
    """

    because: Because
    decision: Decision | None
    checks: tuple[Check, ...]
    says: Why
    point: int | None
    stage: int | None
    unknown: tuple[str, ...]


def explain(view: DeviceView, seen: Seen, dossier: Dossier | None, known: Known) -> Explained:
    """Why a gateway is where it is (rules 1 to 4).

    Args:
        view: its papers.
        seen: the same as facts.
        dossier: of the order in force for it, or None.
        known: everything else.
    """
    says = why(view, dossier.order if dossier is not None else None)
    if dossier is None:
        because = Because(says.reason, says.detail, "papers")
        return Explained(because, None, (), says, None, None, ())
    order = dossier.order.said
    targets = [known.catalogue.at_path(target.path) for target in order.targets]
    listed = [one for one in targets if one is not None]
    markets = {market for one in listed for market in one.image.markets}
    facts = facts_of(seen, known.catalogue, known.roster.fleet, markets)
    local, unknown = _local(seen, dossier, known)
    trusted = _trusted(view, dossier, known, listed)
    decision = decide(Phase.DOWNLOAD, trusted, facts.gateway, Floors(), local, known.now)
    extra: tuple[Check, ...] = ()
    if isinstance(decision.verdict, Grant):
        if order.window is None or known.utc_offset is not None:
            written = {slot.name: slot.sha256 for slot in decision.verdict.image.slots}
            there = replace(local, slot_digests=written)
            decision = decide(Phase.INSTALL, trusted, facts.gateway, Floors(), there, known.now)
        else:
            extra = _said_here(local, _site_held(view, known))
    checks = (*(one for one in decision.checks if one.rule not in ASSUMED), *extra)
    refusal = _refusal(decision, local, checks)
    placing = Placing(order, known.catalogue)
    takes = placing.target(seen.hardware, seen.running)
    return Explained(
        because=_because(view, seen, dossier, says, refusal, known.now),
        decision=decision,
        checks=checks,
        says=says,
        point=None if takes is None else point(takes.sha256, seen.device),
        stage=placing.stage(seen.cohort, seen.device, seen.hardware, seen.running),
        unknown=(*facts.unknown, *unknown),
    )


def _local(seen: Seen, dossier: Dossier, known: Known) -> tuple[Local, tuple[str, ...]]:
    """What the place said last, and what only it knows now (2)."""
    report = seen.report
    unknown = ["its own window, its free space and what its inactive slot holds"]
    if dossier.order.said.window is not None and known.utc_offset is None:
        unknown.append("its local time, so whether the order's window is open there")
    if report is None:
        unknown.append("its interlock and its hospital's hold: it never reported")
    else:
        age = show_age(known.now, seen.heard_at)
        unknown.append(f"its interlock and its hospital's hold since it reported, {age} ago")
    unknown.append("stops, orders and roll-backs that it remembers and did not report")
    local = Local(
        hold=seen.held,
        utc_offset=known.utc_offset or timedelta(0),
        interlock=_interlock(report),
        free_bytes=PLENTY,
    )
    return local, tuple(unknown)


def _interlock(report: Report | None) -> InterlockAnswer:
    if report is None or report.interlock.clear or report.interlock.mode == "none":
        return InterlockAnswer(clear=True, detail="")
    failing = [check.name for check in report.interlock.checks if not check.passed]
    named = f" ({', '.join(failing)})" if failing else ""
    return InterlockAnswer(clear=False, detail=f"not clear when it reported{named}")


def _trusted(view: DeviceView, dossier: Dossier, known: Known, listed: Sequence[Listed]) -> Trusted:
    """What both repositories say, if the director says what was signed (1)."""
    order = dossier.order.said
    cohort = view.cohort or ""
    infos = {one.path: TargetInfo(one.length, {"sha256": one.sha256}) for one in listed}
    entry = ProductDirective(
        order=dossier.order.envelope,
        authorisations=_envelopes((*dossier.authorisations, *view.words)),
        chain=_envelopes(dossier.goes),
        stops=_envelopes(dossier.stops),
        assignments=_envelopes(move.assignment for move in view.moves),
    )
    return Trusted(
        expiries=known.expiries,
        roster=known.roster,
        directive=Directive(
            fleet=known.roster.fleet,
            cohort=cohort,
            products={order.product: entry},
            holds=known.holds or UNSET,
        ),
        director_cohorts=(cohort,),
        director_targets=infos,
        director_delegates=False,
        image_targets=infos,
        images={one.path: one.image for one in listed},
    )


def _envelopes(opened: Iterable[Opened[Any]]) -> tuple[Envelope, ...]:
    return tuple(one.envelope for one in opened)


def _site_held(view: DeviceView, known: Known) -> Refusal | None:
    """Whether a signed hold of its site stands, by the gateway's own code (1)."""
    signed = []
    for envelope in known.holds:
        with suppress(WireError):
            signed.append(open_as(envelope, Hold))
    judge = Judge(known.roster, known.now)
    standing = standing_holds(judge, signed, view.cohort or "")
    return decide_here.site_held(standing, view.site, known.now)


def _said_here(local: Local, site: Refusal | None) -> tuple[Check, ...]:
    """What the place said, where its clock is not known: no window can be judged."""
    return tuple(
        Check(rule, refusal is None, refusal.detail if refusal is not None else "")
        for rule, refusal in (
            ("the hospital does not hold it back", decide_here.held(local)),
            ("no signed hold of this site stands", site),
            ("the clinical interlock is clear", decide_here.not_safe(local)),
        )
    )


def _refusal(decision: Decision, local: Local, checks: Sequence[Check]) -> Refusal | None:
    """What objects, of all that is known; None where nothing does."""
    if isinstance(decision.verdict, Refusal):
        return decision.verdict
    if all(check.passed for check in checks):
        return None
    return decide_here.held(local) or decide_here.not_safe(local)


def _because(
    view: DeviceView,
    seen: Seen,
    dossier: Dossier,
    says: Why,
    refusal: Refusal | None,
    now: datetime,
) -> Because:
    """The answer in one line (rules 3 and 4)."""
    if not view.counted or seen.excluded is not None:
        return Because(says.reason, says.detail, "papers")
    if says.done:
        return Because(says.reason, says.detail, "report")
    if seen.heard_at is None:
        return Because("no_report", "it has not reported yet", "silence")
    silent = now - seen.heard_at
    if silent > timedelta(seconds=dossier.order.said.deadline_seconds):
        age = show_age(now, seen.heard_at)
        return Because("silent", f"it was heard last {age} ago, and said {says.reason}", "silence")
    if refusal is not None and not _newer(seen.report, dossier):
        return Because(str(refusal.reason), refusal.detail, "decision")
    if says.reason == "not_seen" and refusal is not None:
        return Because(str(refusal.reason), refusal.detail, "decision")
    return Because(says.reason, says.detail, "report")


def _newer(report: Report | None, dossier: Dossier) -> bool:
    """Whether the gateway decided about this order after everything that was signed about it."""
    if report is None or report.decided is None or report.decided.order != dossier.order.id:
        return False
    papers = (*dossier.authorisations, *dossier.goes, *dossier.stops)
    return report.decided.at >= max((one.said.at for one in papers), default=report.decided.at)


def points_words(found: Explained, dossier: Dossier) -> str:
    """Where the gateway stands, in words."""
    if found.point is None:
        return ""
    text = f"{found.point} of {POINTS}"
    if found.stage is None:
        return f"{text}: no stage of the order has it inside"
    share = dossier.order.said.stages[found.stage].basis_points
    return f"{text}: inside from stage {found.stage} on, which takes all below {share}"
