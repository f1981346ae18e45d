"""``device claims``: who may still ask to be enrolled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import click
from rich.console import RenderableType

from interlock_ops.claiming import ClaimState, ClaimView, read_claim
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.fleet_reads import claims
from interlock_ops.show import columns, line
from interlock_ops.units import show_time

EXAMPLES: Final = (
    "interlock-ops device claims",
    "interlock-ops device claims --state open --json",
)
ANSWERS: Final = {
    "claims": "id, state (open, used, expired, void: nobody entitled signed it, unreadable), "
    "author, at, device, hardware, product, site, cohort, expires, used_by"
}
NEWEST: Final = 5


@click.command("claims", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.option("--state", type=click.Choice(get_args(ClaimState)), help="Only those in this state.")
def device_claims(run: Run, state: str | None) -> Answer:
    """List claims: open, used and expired, newest first.

    Whether a claim counts is computed here, from its signature and the verified roster. Who used
    it is the server's word.
    """
    judge = run.session.judge
    views = [read_claim(judge, told) for told in claims(run.session)]
    odd = [view for view in views if view.state in ("void", "unreadable")]
    if odd:
        named = [view.claim.id if view.claim else "one that cannot be read" for view in odd]
        more = f" and {len(odd) - NEWEST} more" if len(odd) > NEWEST else ""
        run.voice.warn(
            f"Nobody entitled by the present roster signed these claims: "
            f"{', '.join(named[:NEWEST])}{more}. They let nobody in."
        )
    found = [view for view in views if state in (None, view.state)]
    return Answer(
        "server_differs" if any(view.state == "unreadable" for view in odd) else "listed",
        _table(found),
        {"claims": [_facts(view) for view in found]},
    )


def _table(found: Sequence[ClaimView]) -> list[RenderableType]:
    if not found:
        return [line("The server lists no claims.")]
    rows = [("state", "device", "site", "cohort", "by", "until", "used by", "id")]
    for view in found:
        if view.claim is None:
            rows.append((view.state, "-", "-", "-", "-", "-", view.used_by or "-", "-"))
            continue
        said = view.claim.said
        rows.append(
            (
                view.state,
                said.device or "any",
                said.site,
                said.cohort,
                said.author,
                show_time(said.expires),
                view.used_by or "-",
                view.claim.id,
            )
        )
    return columns(rows)


def _facts(view: ClaimView) -> dict[str, Any]:
    if view.claim is None:
        return {"id": None, "state": view.state, "used_by": view.used_by}
    said = view.claim.said
    return {
        "id": view.claim.id,
        "state": view.state,
        "author": said.author,
        "at": show_time(said.at),
        "device": said.device,
        "hardware": said.hardware,
        "product": said.product,
        "site": said.site,
        "cohort": said.cohort,
        "expires": show_time(said.expires),
        "used_by": view.used_by,
    }
