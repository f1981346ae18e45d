"""A site as a person reads it (pure)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType

from interlock_core.hold import holding
from interlock_ops.show import fact, line
from interlock_ops.site_view import SiteView
from interlock_ops.units import show_time

SITE_FIELDS: Final = {
    "described": "id, author, at, time_zone, contacts, notes, seq; null where nobody did",
    "unproven": "whether it was described by somebody whom the roster knows no more",
    "holds": "that stand or will: id, author, at, reason, from, until",
}
NOT_KNOWN: Final[dict[str, Any]] = {"described": None, "unproven": False, "holds": []}


def described_lines(view: SiteView | None, now: datetime) -> list[RenderableType]:
    """Its description and its holds."""
    if view is None:
        return [fact("described", "by nobody: 'interlock-ops site add' does")]
    shown: list[RenderableType] = []
    if view.described is not None:
        said = view.described.said
        shown.append(fact("time zone", said.time_zone))
        shown += [fact("contact", f"{one.name}: {one.reach}") for one in said.contacts]
        shown += [fact("notes", said.notes)] if said.notes else []
        shown.append(fact("described", f"by {said.author}, {show_time(said.at)}"))
    elif view.highest:
        text = "by somebody whom the roster knows no more: have it signed again ('site add')"
        shown.append(fact("described", text))
    else:
        shown.append(fact("described", "by nobody: 'interlock-ops site add' does"))
    for one in view.holds:
        said_of = one.said
        assert said_of.begins is not None  # a release does not stand
        assert said_of.until is not None  # as above
        stands = "held" if said_of.begins <= now else "will be held"
        text = f"{show_time(said_of.begins)} to {show_time(said_of.until)} by {said_of.author}"
        shown.append(line(f"  {stands:<12} {text}: {said_of.reason}", "yellow"))
        shown.append(fact("", one.id))
    return shown


def held_until(view: SiteView, now: datetime) -> str | None:
    """Until when the site is held now; None if it is not."""
    hold = holding(view.holds, view.name, now)
    return None if hold is None or hold.said.until is None else show_time(hold.said.until)
