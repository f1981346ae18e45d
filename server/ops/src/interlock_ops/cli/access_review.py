"""``access review``: who may do what, until when, and when each last acted."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.acts import POSTED
from interlock_core.errors import ConfigurationError, Exit, WireError
from interlock_core.roster import Judge
from interlock_core.statement import open_statement
from interlock_core.wire import MAX_INTEGER
from interlock_ops.access import URGENT, Acts, Review, review
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import duration
from interlock_ops.fleet_reads import served_cohorts
from interlock_ops.log_export import records_of
from interlock_ops.show_access import FIELDS, review_csv, review_facts, review_lines
from interlock_ops.units import parse_time

EXAMPLES: Final = (
    "interlock-ops access review",
    "interlock-ops access review --within 60d --csv access.csv",
    "interlock-ops access review --at 2028-01-01T00:00:00Z --json    (what will have expired)",
)


@click.command("review", cls=Operation, examples=EXAMPLES, answers=FIELDS)
@click.option(
    "--at", metavar="TIME", help="RFC 3339, or a duration from now: who may do what then."
)
@click.option(
    "--within",
    type=duration,
    default=30 * 86_400,
    show_default="30d",
    help="A grant that ends within this is a finding.",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the grants as a table to this file; an existing one is never replaced.",
)
def access_review(run: Run, at: str | None, within: int, csv_file: Path | None) -> Answer:
    """Review who may do what, by the verified roster and what each signed last by the log.

    Named are grants that end soon or have ended, people and keys that never signed, and cohorts
    whose rules nobody can meet, or nobody without one certain person. Exit 20 where a rule cannot
    be met, 10 for any other finding, 0 for none: fit for cron.
    """
    session = run.session
    now = session.clock()
    judge = Judge(session.roster, _time(at, now))
    acts = Acts(Judge(session.roster, now))
    with run.voice.progress("entries of the log read") as progress:
        for record in records_of(session, MAX_INTEGER, progress):
            try:
                acts.add(open_statement(record.envelope, POSTED))
            except WireError:
                # What devices signed says nothing of people.
                continue
    found = review(judge, acts, served_cohorts(session), timedelta(seconds=within))
    if csv_file is not None:
        durable.create(csv_file, review_csv(found))
    return _answer(found)


def _answer(found: Review) -> Answer:
    urgent = any(one.name in URGENT for one in found.findings)
    exit_code = Exit.REFUSED if urgent else Exit.DEFERRED if found.findings else Exit.DONE
    reason = found.findings[0].name if found.findings else "reviewed"
    if urgent:
        reason = next(one.name for one in found.findings if one.name in URGENT)
    return Answer(reason, review_lines(found), review_facts(found), exit=exit_code)


def _time(text: str | None, now: datetime) -> datetime:
    try:
        return now if text is None else parse_time(text, after=now)
    except ValueError as e:
        raise ConfigurationError(f"--at: {e}.", reason="usage") from e
