"""``cohort list``: the cohorts, and the rule of the roster that covers each."""

from __future__ import annotations

from typing import Final

import click

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.fleet_reads import places
from interlock_ops.show import columns, line

EXAMPLES: Final = ("interlock-ops cohort list", "interlock-ops cohort list --json")
ANSWERS: Final = {
    "cohorts": "name, pattern (of the roster's rule, or null: it is denied), and by the server's "
    "account served, countersigned, waiting, quarantined"
}


@click.command("list", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
def cohort_list(run: Run) -> Answer:
    """List the cohorts that the server knows, and the rule that covers each.

    The counts are the server's; 'cohort show' verifies every device.
    """
    roster = run.session.roster
    found = []
    for place in places(run.session, "cohorts"):
        rules = roster.rules_for(place.name)
        found.append((place, rules.pattern if rules is not None else None))
    rows = [("cohort", "rule", "served", "let in", "waiting", "quarantined")]
    rows += [
        (
            place.name,
            pattern or "NONE: denied",
            "yes" if place.served else "no",
            str(place.countersigned),
            str(place.waiting),
            str(place.quarantined),
        )
        for place, pattern in found
    ]
    told = line("As the server counts; 'cohort show COHORT' checks the signatures.", "dim")
    return Answer(
        "listed",
        [*columns(rows), told] if found else [line("The server lists no cohorts.")],
        {
            "cohorts": [
                {
                    "name": place.name,
                    "pattern": pattern,
                    "served": place.served,
                    "countersigned": place.countersigned,
                    "waiting": place.waiting,
                    "quarantined": place.quarantined,
                }
                for place, pattern in found
            ]
        },
    )
