"""An access review for people, for machines, and as a table for a spreadsheet (pure)."""

from __future__ import annotations

import csv
import io
from typing import Any, Final

from rich.console import RenderableType

from interlock_ops.access import URGENT, Access, Held, LastAct, Review
from interlock_ops.show import columns, fact, heading, line
from interlock_ops.units import show_time

FIELDS: Final = {
    "at, roster": "the time that is asked about, and the roster's number",
    "people": "person; keys (fingerprint, last_used); grants (role, cohorts, sites, until, "
    "expired); last (at, kind, id of what was signed last; null if nothing)",
    "findings": "name, about, detail",
    "records, foreign": "how many records were read, and how many nobody of the roster signed",
}
COLUMNS: Final = (
    *("person", "role", "cohorts", "sites", "until", "expired", "keys", "last_acted", "last_kind"),
)


def review_lines(found: Review) -> list[RenderableType]:
    """The review as people read it."""
    rows = [("person", "role", "cohorts", "sites", "until", "last acted")]
    for one in found.people:
        last = _acted(one.last)
        rows += [(one.person, *_cells(held), last) for held in one.grants] or [
            (one.person, "-", "-", "-", "-", last)
        ]
    shown: list[RenderableType] = [
        heading(f"Access by roster {found.roster_seq} at {show_time(found.at)}"),
        *columns(rows),
        line(""),
    ]
    shown += [
        fact(one.person, f"{key.keyid}  {_acted(key.last)}")
        for one in found.people
        for key in one.keys
    ]
    shown.append(line(""))
    for finding in found.findings:
        style = "red" if finding.name in URGENT else "yellow"
        shown.append(line(f"  {finding.name}  {finding.about}: {finding.detail}", style))
    if not found.findings:
        shown.append(line("Nothing needs anybody's attention."))
    shown.append(
        line(f"{found.read} records of the log, {found.foreign} by nobody of this roster.", "dim")
    )
    return shown


def _cells(held: Held) -> tuple[str, str, str, str]:
    until = show_time(held.until) + (" EXPIRED" if held.expired else "")
    sites = "all" if held.sites is None else " ".join(held.sites)
    return held.role, " ".join(held.cohorts), sites, until


def _acted(last: LastAct | None) -> str:
    return f"{show_time(last.at)} ({last.kind})" if last is not None else "never"


def review_facts(found: Review) -> dict[str, Any]:
    """The review for machines; ``FIELDS`` says what stands where."""
    return {
        "at": show_time(found.at),
        "roster": found.roster_seq,
        "people": [_person(one) for one in found.people],
        "findings": [
            {"name": one.name, "about": one.about, "detail": one.detail} for one in found.findings
        ],
        "records": found.read,
        "foreign": found.foreign,
    }


def _person(one: Access) -> dict[str, Any]:
    return {
        "person": one.person,
        "keys": [{"fingerprint": key.keyid, "last_used": _last(key.last)} for key in one.keys],
        "grants": [
            {
                "role": held.role,
                "cohorts": list(held.cohorts),
                "sites": list(held.sites) if held.sites is not None else None,
                "until": show_time(held.until),
                "expired": held.expired,
            }
            for held in one.grants
        ],
        "last": _last(one.last),
    }


def _last(last: LastAct | None) -> dict[str, str] | None:
    if last is None:
        return None
    return {"at": show_time(last.at), "kind": last.kind, "id": last.id}


def review_csv(found: Review) -> bytes:
    """One line for each grant, with a head; lines end as RFC 4180 says."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for one in found.people:
        keys = " ".join(key.keyid for key in one.keys)
        last = (show_time(one.last.at), one.last.kind) if one.last is not None else ("", "")
        for held in one.grants or (None,):
            grant: tuple[str, ...] = ("", "", "", "", "")
            if held is not None:
                sites = "" if held.sites is None else " ".join(held.sites)
                cohorts, until = " ".join(held.cohorts), show_time(held.until)
                grant = (held.role, cohorts, sites, until, "yes" if held.expired else "no")
            writer.writerow((one.person, *grant, keys, *last))
    return file.getvalue().encode()
