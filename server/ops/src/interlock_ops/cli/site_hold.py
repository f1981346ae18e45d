"""``site hold``: one person keeps a hospital's gateways from being changed for a while."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from interlock_core.errors import ConfigurationError
from interlock_core.hold import Hold
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import name
from interlock_ops.describing import object_to_hold
from interlock_ops.show import line, statement
from interlock_ops.units import parse_time, show_time

EXAMPLES: Final = (
    'interlock-ops site hold st-anna --until 3d --reason "the network is being rebuilt"',
    "interlock-ops site hold st-anna --from 2027-12-24T00:00:00Z --until 2027-12-27T00:00:00Z ...",
)
ANSWERS: Final = {"id, ids": "the hold's id", "site, from, until": "what was signed"}


@click.command("hold", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("site", type=name)
@click.option(
    "--until", required=True, metavar="TIME", help="RFC 3339, or a duration from now; at most 90d."
)
@click.option(
    "--from", "begins", metavar="TIME", help="RFC 3339, or a duration from now. By default now."
)
def site_hold(run: Run, site: str, until: str, begins: str | None, how: How) -> Answer:
    """Hold a site: its gateways download, and change nothing, until the hold is over.

    An engineer of the site signs it alone, or an operator over its gateways' cohorts. What an
    engineer holds, no operator releases. The server carries it and could leave it out: the lock
    that no server reaches is the gateway's own hold file.
    """
    session = run.session
    me = session.me
    judge = session.judge
    start = judge.now if begins is None else _time("--from", begins, judge.now)
    end = _time("--until", until, judge.now)
    objection = object_to_hold(judge, me, site, start, end)
    if objection is not None:
        return settle(objection)
    said = Hold(
        fleet=session.roster.fleet,
        author=me,
        at=judge.now,
        reason=how.reason,
        site=site,
        begins=start,
        until=end,
        ends=None,
    )
    facts: dict[str, Any] = {"site": site, "from": show_time(start), "until": show_time(end)}
    return carry_out(
        run,
        [said],
        how,
        account=statement(said),
        done="held",
        unsure=f"ask 'site show {site}', then try again.",
        after=lambda _: [line(f"  interlock-ops site release {site} --reason ... ends it early.")],
        **facts,
    )


def _time(option: str, text: str, now: datetime) -> datetime:
    try:
        return parse_time(text, after=now)
    except ValueError as e:
        raise ConfigurationError(f"{option}: {e}.", reason="usage") from e
