"""One site as its signatures read (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. What the server returns is judged here: a description by 23, holds by 22. It can withhold.
2. A description that does not count any more (its author left) is shown as what it is, so that
   somebody signs it again; nothing is forecast by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from interlock_core.api import Place
from interlock_core.errors import WireError
from interlock_core.hold import Hold, standing_holds
from interlock_core.roster import Judge
from interlock_core.site import Site, described
from interlock_core.statement import Envelope, Opened, S, open_as
from interlock_ops.units import show_time


@dataclass(frozen=True)
class SiteView:
    """One site.

    Attributes:
        described: the description in force, or None.
        highest: the highest number that a description shows, whoever signed it; 0 before one.
        signed: holds and releases that the server shows of it.
        holds: those that are not over, those that last longest first.
        left_out: how many statements could not be read, or are of another site.
    """

    name: str
    described: Opened[Site] | None
    highest: int
    signed: tuple[Opened[Hold], ...]
    holds: tuple[Opened[Hold], ...]
    left_out: int


def read_site(judge: Judge, told: Place, cohorts: Iterable[str]) -> SiteView:
    """Judge what the server returned about a site (rules 1 and 2).

    Args:
        judge: the verified roster, now.
        told: the server's account.
        cohorts: where its devices may be: a hold is judged for each.
    """
    descriptions = _open_all(told.descriptions, Site)
    signed = _open_all(told.holds, Hold)
    mine = [one for one in descriptions if one.said.site == told.name]
    held = tuple(one for one in signed if one.said.site == told.name)
    standing: dict[str, Opened[Hold]] = {}
    for cohort in sorted(set(cohorts)):
        for one in standing_holds(judge, held, cohort):
            standing.setdefault(one.id, one)
    shown = len(told.descriptions) + len(told.holds)
    return SiteView(
        name=told.name,
        described=described(judge, mine, told.name),
        highest=max((one.said.seq for one in mine), default=0),
        signed=held,
        holds=tuple(sorted(standing.values(), key=_end, reverse=True)),
        left_out=shown - len(mine) - len(held),
    )


def _end(hold: Opened[Hold]) -> tuple[str, str]:
    assert hold.said.until is not None  # a release does not stand
    return show_time(hold.said.until), hold.id


def _open_all(envelopes: Sequence[Envelope], type_: type[S]) -> list[Opened[S]]:
    opened: list[Opened[S]] = []
    for envelope in envelopes:
        try:
            opened.append(open_as(envelope, type_))
        except WireError:
            continue
    return opened


def site_facts(view: SiteView) -> dict[str, Any]:
    """A site for machines."""
    said = view.described.said if view.described is not None else None
    return {
        "described": (
            {
                "id": view.described.id,
                "author": said.author,
                "at": show_time(said.at),
                "time_zone": said.time_zone,
                "contacts": [{"name": one.name, "reach": one.reach} for one in said.contacts],
                "notes": said.notes,
                "seq": said.seq,
            }
            if view.described is not None and said is not None
            else None
        ),
        "unproven": view.highest > 0 and view.described is None,
        "holds": [hold_facts(one) for one in view.holds],
    }


def hold_facts(hold: Opened[Hold]) -> dict[str, Any]:
    """A hold for machines."""
    said = hold.said
    return {
        "id": hold.id,
        "author": said.author,
        "at": show_time(said.at),
        "reason": said.reason,
        "from": show_time(said.begins) if said.begins is not None else None,
        "until": show_time(said.until) if said.until is not None else None,
    }
