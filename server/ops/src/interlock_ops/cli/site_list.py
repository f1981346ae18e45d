"""``site list``: the hospitals, and who looks after the gateways of each."""

from __future__ import annotations

from typing import Final

import click

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.entitled import grant_facts, of_site
from interlock_ops.fleet_reads import places, served_cohorts
from interlock_ops.show import columns, line
from interlock_ops.show_site import SITE_FIELDS, held_until
from interlock_ops.site_view import read_site, site_facts

EXAMPLES: Final = ("interlock-ops site list", "interlock-ops site list --json")
ANSWERS: Final = {
    "sites": "name, people (the roster's grants that name it), and by the server's account "
    "countersigned, waiting, quarantined",
    **SITE_FIELDS,
}


@click.command("list", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
def site_list(run: Run) -> Answer:
    """List the sites that the server knows, and whom the roster names for each.

    The counts are the server's; 'site show' verifies every device.
    """
    judge = run.session.judge
    served = served_cohorts(run.session)
    found = [
        (place, of_site(judge, place.name), read_site(judge, place, served))
        for place in places(run.session, "sites")
    ]
    rows = [("site", "let in", "waiting", "quarantined", "time zone", "held until", "people")]
    rows += [
        (
            place.name,
            str(place.countersigned),
            str(place.waiting),
            str(place.quarantined),
            known.described.said.time_zone if known.described is not None else "-",
            held_until(known, judge.now) or "-",
            ", ".join(f"{one.person} ({one.role})" for one in people if not one.expired) or "-",
        )
        for place, people, known in found
    ]
    told = line("As the server counts; 'site show SITE' checks the signatures.", "dim")
    return Answer(
        "listed",
        [*columns(rows), told] if found else [line("The server lists no sites.")],
        {
            "sites": [
                {
                    "name": place.name,
                    "countersigned": place.countersigned,
                    "waiting": place.waiting,
                    "quarantined": place.quarantined,
                    **site_facts(known),
                    "people": [grant_facts(one) for one in people],
                }
                for place, people, known in found
            ]
        },
    )
