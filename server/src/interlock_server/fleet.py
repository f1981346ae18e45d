"""How the fleet reads: devices, cohorts, sites and claims, page by page (I/O, reading).

Rules:

1. A page is found by indexed columns, and holds the envelopes as they were signed: whoever reads
   believes those. Nothing is opened here but claims, whose expiry is inside.
2. Without a state, a list of devices holds one enrolment of each: the one in force, or else the
   newest. With a state, it holds the enrolments in that state: a device that asks anew while an
   older enrolment is in force stands under ``waiting`` too.
3. The cohort of a device is that of its newest report; of its enrolment before there is one.
4. What one person may sign without end makes no list too long to be read: of his words about one
   thing the first are shown, of assignments the newest and those that lead out of where the device
   is, and in a list no more about one device than its share of an answer holds.
5. Somebody who sees some sites only is shown nothing of others, nor that there is anything. A page
   of claims then holds fewer than it could: which site a claim is for stands inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from msgspec.structs import replace
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from interlock_core.api import (
    MAX_ANSWER,
    PAGE,
    ClaimPage,
    Device,
    DevicePage,
    EnrolmentState,
    OpenClaim,
    Place,
    PlacePage,
)
from interlock_core.clock import Clock
from interlock_core.ending import ENDED, Decommission, Revocation
from interlock_core.errors import NotFoundError, WireError
from interlock_core.hold import Hold
from interlock_core.names import check_name
from interlock_core.site import Site
from interlock_core.statement import Envelope, read_envelope
from interlock_core.wire import format_time
from interlock_server.db.fleet_tables import (
    AssignmentRow,
    ClaimRow,
    EnrolmentRow,
    ReportRefusalRow,
    ReportRow,
    WordRow,
)
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow
from interlock_server.holds import OVER, described_sites, newest_acts
from interlock_server.onfile import open_kept
from interlock_server.standing import state_of

STATES: Final = get_args(EnrolmentState)
MAX_ASSIGNMENTS: Final = 32
"""How many assignments of one device are shown."""
MAX_WORDS: Final = 4
"""How many words of one person about one thing are shown: the first, and the first counts."""
SHARE: Final = 64 * 1024
"""How many bytes of words and assignments of one device are shown in a list."""

Sites = frozenset[str] | None
"""The sites that somebody sees; None for all."""

K = TypeVar("K")


class Fleet:
    """What operators read about devices.

    Args:
        database: where it is kept.
        clock: now.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def devices(
        self,
        page: int,
        *,
        cohort: str | None,
        site: str | None,
        state: str | None,
        within: Sites = None,
    ) -> DevicePage:
        """A page of devices, by device id (rules 2, 3 and 5).

        Raises:
            WireError: ``bad_name`` or ``bad_state``.
            TransientError: the database failed.
        """
        wanted = select(EnrolmentRow)
        if within is not None:
            wanted = wanted.where(EnrolmentRow.site.in_(within))
        if cohort is not None:
            wanted = wanted.where(EnrolmentRow.cohort == check_name(cohort, "cohort"))
        if site is not None:
            wanted = wanted.where(EnrolmentRow.site == check_name(site, "site"))
        if state is None:
            wanted = wanted.where(EnrolmentRow.shown.is_(True))
        elif state in STATES:
            wanted = wanted.where(EnrolmentRow.state == state)
        else:
            raise WireError(f"The state must be one of {', '.join(STATES)}.", reason="bad_state")
        wanted = wanted.order_by(EnrolmentRow.device, EnrolmentRow.number)
        with self._database.reading() as session:
            rows = list(session.scalars(wanted.offset((page - 1) * PAGE).limit(PAGE + 1)))
            items = _devices(session, rows[:PAGE], SHARE)
        return DevicePage(items=items, next=page + 1 if len(rows) > PAGE else None)

    def device(self, device: str, within: Sites = None) -> Device:
        """One device: its enrolment in force, or else the newest (rule 5).

        Raises:
            NotFoundError: ``unknown_device``.
            TransientError: the database failed.
        """
        wanted = select(EnrolmentRow).where(
            EnrolmentRow.device == device, EnrolmentRow.shown.is_(True)
        )
        if within is not None:
            wanted = wanted.where(EnrolmentRow.site.in_(within))
        with self._database.reading() as session:
            items = _devices(session, list(session.scalars(wanted)), MAX_ANSWER // 2)
        if not items:
            raise NotFoundError(
                f"No device {device[:127]} has asked to be enrolled.", reason="unknown_device"
            )
        return items[0]

    def cohorts(self, page: int) -> PlacePage:
        """A page of cohorts, by name: those with a director, and those that devices are in.

        Raises:
            TransientError: the database failed.
        """
        with self._database.reading() as session:
            served = set(session.scalars(select(CohortRow.name)))
            counts = _counts(session, EnrolmentRow.cohort)
        return _places(page, {*served, *counts}, counts, lambda name: name in served)

    def sites(self, page: int, within: Sites = None) -> PlacePage:
        """A page of sites, by name (rule 5).

        Raises:
            TransientError: the database failed.
        """
        with self._database.reading() as session:
            counts = _counts(session, EnrolmentRow.site)
            names = {*counts, *described_sites(session, Site.PREDICATE)}
            names = names if within is None else names & within
            shown = _places(page, names, counts, lambda _: True)
            items = self._signed(session, shown.items, SHARE)
        return PlacePage(items=items, next=shown.next)

    def site(self, name: str, within: Sites = None) -> Place:
        """One site: its counts, and what was signed about it (rule 5).

        Raises:
            NotFoundError: ``unknown_site``.
            TransientError: the database failed.
        """
        with self._database.reading() as session:
            counts = _counts(session, EnrolmentRow.site, EnrolmentRow.site == name)
            names = {*counts, *(described_sites(session, Site.PREDICATE) & {name})}
            if not names or (within is not None and name not in within):
                raise NotFoundError(
                    f"No device of a site {name} is known here, and nobody described one.",
                    reason="unknown_site",
                )
            shown = _places(1, names, counts, lambda _: True)
            (place,) = self._signed(session, shown.items, MAX_ANSWER // 2)
        return place

    def _signed(self, session: Session, places: Sequence[Place], share: int) -> tuple[Place, ...]:
        """Sites with what was signed about each, as far as it fits (rule 4)."""
        names = [place.name for place in places]
        said = newest_acts(session, Site.PREDICATE, names)
        holds = newest_acts(session, Hold.PREDICATE, names, self._clock())
        shown = []
        for place in places:
            left = share
            kept: list[list[bytes]] = []
            for of in (said.get(place.name, [])[:MAX_WORDS], holds.get(place.name, [])):
                kept.append([])
                for envelope in of:
                    left -= len(envelope)
                    if left < 0:
                        break
                    kept[-1].append(envelope)
            descriptions, standing = map(_read, kept)
            shown.append(replace(place, descriptions=descriptions, holds=standing))
        return tuple(shown)

    def claims(self, page: int, within: Sites = None) -> ClaimPage:
        """A page of claims, newest first (rule 5).

        Raises:
            TransientError: the database failed.
        """
        wanted = (
            select(ClaimRow.envelope, EnrolmentRow.device)
            .outerjoin(EnrolmentRow, EnrolmentRow.id == ClaimRow.used_by)
            .order_by(ClaimRow.number.desc())
            .offset((page - 1) * PAGE)
            .limit(PAGE + 1)
        )
        now = self._clock()
        with self._database.reading() as session:
            rows = session.execute(wanted).all()
        items = []
        for envelope, device in rows[:PAGE]:
            claim = open_kept(envelope)
            if within is not None and claim.said.site not in within:
                continue
            expired = now >= claim.said.expires
            items.append(OpenClaim(claim=claim.envelope, used_by=device, expired=expired))
        return ClaimPage(items=tuple(items), next=page + 1 if len(rows) > PAGE else None)


def _devices(session: Session, rows: Sequence[EnrolmentRow], share: int) -> tuple[Device, ...]:
    """The rows with all that belongs to them, by one question of each kind (rules 1 and 4)."""
    numbers = [row.number for row in rows]
    moved = _moved(session, rows)
    words = _words(session, [row.id for row in rows] + [id_ for of in moved.values() for id_ in of])
    papers = {row.number: _within(row, moved[row.number], words, share) for row in rows}
    newest = (
        select(ReportRow.enrolment, ReportRow.envelope)
        .join(EnrolmentRow, EnrolmentRow.number == ReportRow.enrolment)
        .where(ReportRow.enrolment.in_(numbers), ReportRow.number == EnrolmentRow.tip_number)
    )
    reports = {row.enrolment: row.envelope for row in session.execute(newest)}
    ended = [row.id for row in rows if row.state in ENDED]
    endings = {
        id_: envelope
        for predicate in (Revocation.PREDICATE, Decommission.PREDICATE)
        for id_, (envelope, *_) in newest_acts(session, predicate, ended).items()
    }
    refused: dict[str, list[tuple[str, int]]] = _grouped(
        (enrolment, (reason, times))
        for enrolment, reason, times in session.execute(
            select(
                ReportRefusalRow.enrolment, ReportRefusalRow.reason, ReportRefusalRow.times
            ).where(ReportRefusalRow.enrolment.in_([row.id for row in rows]))
        )
    )
    return tuple(
        Device(
            enrolment=read_envelope(row.envelope),
            state=state_of(row),
            words=_read(papers[row.number][0]),
            assignments=_read(papers[row.number][1]),
            report=read_envelope(reports[row.number]) if row.number in reports else None,
            received_at=row.tip_at,
            quarantined=_quarantined(row),
            refused=dict(refused.get(row.id, ())),
            ending=read_envelope(endings[row.id]) if row.id in endings else None,
        )
        for row in rows
    )


def _moved(session: Session, rows: Sequence[EnrolmentRow]) -> dict[int, dict[str, bytes]]:
    """The assignments to be shown with each row, by id, newest first (rule 4)."""
    found: dict[int, list[tuple[str, str, bytes]]] = _grouped(
        (enrolment, (from_cohort, id_, envelope))
        for enrolment, from_cohort, id_, envelope in session.execute(
            select(
                AssignmentRow.enrolment,
                AssignmentRow.from_cohort,
                AssignmentRow.id,
                AssignmentRow.envelope,
            )
            .where(AssignmentRow.enrolment.in_([row.number for row in rows]))
            .order_by(AssignmentRow.number.desc())
        )
    )
    moved = {}
    for row in rows:
        of = found.get(row.number, [])
        # The newest always: the next number follows from it.
        first = sorted(range(len(of)), key=lambda n: (n > 0 and of[n][0] != row.cohort, n))
        moved[row.number] = {of[n][1]: of[n][2] for n in sorted(first[:MAX_ASSIGNMENTS])}
    return moved


def _words(session: Session, subjects: Sequence[str]) -> dict[str, list[bytes]]:
    """The words about these ids, the first of each person (rule 4)."""
    nth = func.row_number().over(
        partition_by=(WordRow.subject, WordRow.author), order_by=WordRow.number
    )
    ranked = (
        select(WordRow.number, WordRow.subject, WordRow.envelope, nth.label("nth"))
        .where(WordRow.subject.in_(subjects))
        .subquery()
    )
    wanted = select(ranked.c.subject, ranked.c.envelope).where(ranked.c.nth <= MAX_WORDS)
    found = session.execute(wanted.order_by(ranked.c.number))
    return _grouped((subject, envelope) for subject, envelope in found)


def _within(
    row: EnrolmentRow,
    assignments: Mapping[str, bytes],
    words: Mapping[str, Sequence[bytes]],
    share: int,
) -> tuple[list[bytes], list[bytes]]:
    """Words and assignments that fit: the enrolment's, then each assignment with its own."""
    said = list(words.get(row.id, ()))
    shown: list[bytes] = []
    share -= sum(map(len, said))
    for id_, envelope in assignments.items():
        about = words.get(id_, ())
        share -= len(envelope) + sum(map(len, about))
        if share < 0:
            break
        said += about
        shown.append(envelope)
    return said, shown


def _quarantined(row: EnrolmentRow) -> str | None:
    if row.quarantined_at is None:
        return None
    return f"since {format_time(row.quarantined_at)}: {row.quarantined_why}"


def _read(envelopes: Iterable[bytes]) -> tuple[Envelope, ...]:
    return tuple(read_envelope(envelope) for envelope in envelopes)


def _grouped(pairs: Iterable[tuple[K, Any]]) -> dict[K, list[Any]]:
    groups: dict[K, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _counts(
    session: Session, place: InstrumentedAttribute[str], *only: ColumnElement[bool]
) -> Mapping[str, Mapping[str, int]]:
    """How many enrolments stand at each place in each state, but for those that are over."""
    lives: ColumnElement[bool] = EnrolmentRow.state.not_in(OVER)
    wanted = select(place, EnrolmentRow.state, func.count()).where(lives, *only)
    counts: dict[str, dict[str, int]] = {}
    for name, state, number in session.execute(wanted.group_by(place, EnrolmentRow.state)):
        counts.setdefault(name, {})[state] = number
    return counts


def _places(
    page: int,
    names: Iterable[str],
    counts: Mapping[str, Mapping[str, int]],
    served: Callable[[str], bool],
) -> PlacePage:
    """A page of places; ``countersigned`` counts those that are quarantined too."""
    ordered = sorted(names)[(page - 1) * PAGE :]
    items = []
    for name in ordered[:PAGE]:
        of = counts.get(name, {})
        quarantined = of.get("quarantined", 0)
        items.append(
            Place(
                name=name,
                served=served(name),
                waiting=of.get("waiting", 0),
                countersigned=of.get("countersigned", 0) + quarantined,
                quarantined=quarantined,
            )
        )
    return PlacePage(items=tuple(items), next=page + 1 if len(ordered) > PAGE else None)
