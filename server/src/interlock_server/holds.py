"""Holds and descriptions of sites, as the database keeps them (I/O, reading).

Rules:

1. A hold is for every cohort in which devices of its site are, or to which they are on their way.
   A device that asks to be enrolled is there too: it polls already.
2. What has expired is not read. Which of the rest stands is for ``interlock_core.hold``.
3. A site is known by its devices, or by what was signed about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from interlock_core.ending import ENDED
from interlock_core.hold import Hold
from interlock_core.statement import Opened
from interlock_server.db.fleet_tables import ActRow, AssignmentRow, EnrolmentRow
from interlock_server.onfile import OnFile, open_kept

OVER: Final = ("superseded", *sorted(ENDED))
"""States of enrolments that nothing is published for."""


def cohorts_of_site(session: Session, site: str) -> set[str]:
    """Where devices of a site are, or are on their way to (rule 1)."""
    return {cohort for cohort, _ in _places(session, EnrolmentRow.site == site)}


def acts_about(session: Session, predicate: str, about: str) -> Sequence[Opened[Any]]:
    """What was signed of one kind about one site or enrolment, oldest first."""
    wanted = select(ActRow.envelope).where(ActRow.type == predicate, ActRow.about == about)
    return [open_kept(envelope) for envelope in session.scalars(wanted.order_by(ActRow.number))]


def holds_at(session: Session, site: str, now: datetime) -> list[Opened[Hold]]:
    """Holds of a site that have not expired, and the releases of such (rule 2)."""
    return _holds(session, now, ActRow.about == site)


def with_holds(session: Session, on_file: OnFile, now: datetime) -> OnFile:
    """What is on file, with the holds that have not expired and where each is for (rule 1)."""
    holds = _holds(session, now)
    if not holds:
        return on_file
    held = sorted({hold.said.site for hold in holds})
    sites: dict[str, set[str]] = {}
    for cohort, site in _places(session, EnrolmentRow.site.in_(held)):
        sites.setdefault(cohort, set()).add(site)
    return replace(on_file, holds=tuple(holds), sites=sites)


def _holds(session: Session, now: datetime, *more: ColumnElement[bool]) -> list[Opened[Hold]]:
    wanted = select(ActRow.envelope).where(ActRow.type == Hold.PREDICATE, ActRow.until > now, *more)
    return [open_kept(envelope) for envelope in session.scalars(wanted.order_by(ActRow.number))]


def _places(session: Session, at: ColumnElement[bool]) -> set[tuple[str, str]]:
    """Pairs of cohort and site (rule 1)."""
    lives = EnrolmentRow.state.not_in(OVER)
    there = select(EnrolmentRow.cohort, EnrolmentRow.site).where(at, lives).distinct()
    coming = (
        select(AssignmentRow.to_cohort, EnrolmentRow.site)
        .join(EnrolmentRow, EnrolmentRow.number == AssignmentRow.enrolment)
        .where(at, lives, AssignmentRow.over.is_(False))
        .distinct()
    )
    found = (*session.execute(there), *session.execute(coming))
    return {(cohort, site) for cohort, site in found}


def described_sites(session: Session, predicate: str) -> set[str]:
    """The sites that somebody described (rule 3)."""
    return set(session.scalars(select(ActRow.about).where(ActRow.type == predicate).distinct()))


def newest_acts(
    session: Session, predicate: str, about: Iterable[str], now: datetime | None = None
) -> dict[str, list[bytes]]:
    """Envelopes of one kind about each, newest first; of holds those not over at ``now``."""
    wanted = (
        select(ActRow.about, ActRow.envelope)
        .where(ActRow.type == predicate, ActRow.about.in_(list(about)))
        .order_by(ActRow.number.desc())
    )
    if now is not None:
        wanted = wanted.where(ActRow.until > now)
    found: dict[str, list[bytes]] = {}
    for name, envelope in session.execute(wanted):
        found.setdefault(name, []).append(envelope)
    return found
