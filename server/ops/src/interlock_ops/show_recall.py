"""A recall as people and machines read it (pure).

Rules:

1. Who is open is named, the first of each kind; ``--json`` and the CSV file name all.
2. A cell of the CSV file that a spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType

from interlock_core.recall import Account, Affected
from interlock_core.safe_version import Safe
from interlock_core.steps import Plan
from interlock_ops.show import fact, heading, line
from interlock_ops.units import show_age, show_time

SHOWN: Final = 20
"""So many gateways are named for people."""
WORDS: Final[Mapping[str, str]] = {
    "runs": "run it",
    "holds": "have it, or fetch it",
    "unheard": "may have begun, and have not been heard since the recall",
    "unknown": "say nothing that counts",
}
FIELDS: Final = {
    "closed": "whether nobody is open",
    "counts": "gateways by standing: open, updated, returned, unreachable, decommissioned, clear",
    "open_by": "the open ones by why: runs, holds, unheard, unknown",
    "gateways": "device, enrolment, site, cohort, hardware, standing, why, detail, heard_at, "
    "disposition (by, since, at, reason, id); all but those who are clear",
}
COLUMNS: Final = (
    "device",
    "site",
    "cohort",
    "hardware",
    "standing",
    "why",
    "detail",
    "heard_at",
    "disposition_since",
    "disposition_by",
    "disposition_at",
    "reason",
    "enrolment",
)


def account_facts(found: Account) -> dict[str, Any]:
    """For machines; ``FIELDS`` says what stands where."""
    return {
        "closed": found.closed,
        "counts": dict(sorted(found.counts.items())),
        "open_by": dict(sorted(found.open_by.items())),
        "gateways": [_gateway(one) for one in found.affected],
    }


def _gateway(one: Affected) -> dict[str, Any]:
    word = one.word if one.standing not in ("updated", "clear") else None
    return {
        "device": one.seen.device,
        "enrolment": one.seen.enrolment,
        "site": one.seen.site,
        "cohort": one.seen.cohort,
        "hardware": one.seen.hardware,
        "standing": one.standing,
        "why": one.why,
        "detail": one.detail,
        "heard_at": show_time(one.heard_at) if one.heard_at is not None else None,
        "disposition": (
            {
                "by": word.said.author,
                "since": show_time(word.said.since),
                "at": show_time(word.said.at),
                "reason": word.said.reason,
                "id": word.id,
            }
            if word is not None
            else None
        ),
    }


def account_lines(found: Account, now: datetime) -> list[RenderableType]:
    """For people: how many stand how, and who is open."""
    counts = ", ".join(f"{number} {name}" for name, number in sorted(found.counts.items()))
    shown: list[RenderableType] = [fact("gateways", counts or "none is affected")]
    for why, words in WORDS.items():
        group = [one for one in found.affected if (one.standing, one.why) == ("open", why)]
        if group:
            shown.append(heading(f"{len(group)} {words}:"))
            shown += [_line(one, now) for one in group[:SHOWN]]
            if len(group) > SHOWN:
                shown.append(line(f"  and {len(group) - SHOWN} more: --csv or --json names all"))
    return shown


def _line(one: Affected, now: datetime) -> RenderableType:
    heard = f"heard {show_age(now, one.heard_at)} ago" if one.heard_at else "never heard"
    return line(f"  {one.seen.device}  {one.seen.site}/{one.seen.cohort}  {heard}: {one.detail}")


def account_csv(affected: Iterable[Affected]) -> bytes:
    """The list as a CSV file with a head (rule 2); lines end as RFC 4180 says."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for one in affected:
        row = _gateway(one)
        given = row["disposition"] or {}
        row |= {f"disposition_{name}": given.get(name) for name in ("since", "by", "at")}
        row["reason"] = given.get("reason")
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return file.getvalue().encode()


def _cell(value: str | None) -> str:
    text = value or ""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def return_warnings(safe: Safe, steps: Plan, left_out: Sequence[str]) -> list[str]:
    """What its author should know of the order that leads back, but for permits."""
    said = []
    if safe.lacks:
        said.append(
            f"{safe.version} is not for the hardware {', '.join(safe.lacks)}, or not in all of "
            "its markets: those gateways stay where they are."
        )
    said += [
        f"Gateways with the hardware {one.hardware} at counter {one.counter} cannot get past a "
        "barrier of the order: a dead end."
        for one in steps.dead_ends
    ]
    said += [
        f"Nothing in the order is for the hardware {name}."
        for name in sorted({one.hardware for one in steps.without} - set(safe.lacks))
    ]
    if left_out:
        said.append(
            f"You are no operator over {', '.join(left_out)}: somebody who is must propose a "
            "recall there too."
        )
    return said
