"""``interlock-repo status``: who must still sign an event; what expires in a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.clock import system_clock
from interlock_core.errors import Exit
from interlock_repo.base import follows
from interlock_repo.cli import show
from interlock_repo.cli.edge import Outcome, json_option
from interlock_repo.cli.options import DIRECTORY, EXISTING_FILE, check_names, network, trusted_root
from interlock_repo.copies import bring_together, open_copies
from interlock_repo.repository import open_repository
from interlock_repo.review import delta_lines, told

WARN_DAYS: Final = 30
"""How many days before its end a warning begins, unless one says otherwise."""


@click.command(
    epilog="""\b
Examples:
  interlock-repo status release-1.4.0
  interlock-repo status release-1.4.0 /media/usb/release-1.4.0
  interlock-repo status release-1.4.0 /media/usb/release-1.4.0 --merge
  interlock-repo status release-1.4.0 /media --merge
  interlock-repo status release-1.4.0 --repository https://updates.example.org \\
      --root image/1.root.json
  interlock-repo status --repository https://updates.example.org --root image/1.root.json
  interlock-repo status --repository https://updates.example.org --root image/1.root.json \\
      --director-root director/1.root.json --cohort canary --cohort wards

\b
Exit codes: of an event, 0 when enough people signed or it was published, 10 while signatures are
missing, and 20 when it is stale: with --repository that is said. Of a repository, 0 when nothing
ends soon, 10 inside a warning period, and 20 when something has expired. 10 means here as
everywhere that nothing is wrong and people have something to do; cron sends mail for either.
"""
)
@click.argument("event", nargs=-1, type=DIRECTORY)
@click.option("--merge", is_flag=True, help="Write the signatures of all copies into the first.")
@click.option(
    "--repository",
    metavar="URL|DIR",
    help="With EVENT: say whether it still follows what is in force there. Without: say what "
    "expires there. --root is needed.",
)
@click.option(
    "--director-root",
    type=EXISTING_FILE,
    metavar="FILE",
    help="Without EVENT: say what expires in the directors, too, by this root of theirs.",
)
@click.option(
    "--cohort",
    "cohorts",
    multiple=True,
    metavar="ID",
    callback=check_names,
    help="A director to look at; may be given more than once. Of a directory all are looked at, "
    "unless some are named.",
)
@click.option(
    "--warn-days",
    type=click.IntRange(0, 3650),
    default=WARN_DAYS,
    show_default=True,
    help="Warn so many days before an end; of what lives shorter than that, in the last third.",
)
@network
@trusted_root
@json_option
def status(
    event: tuple[Path, ...],
    merge: bool,
    repository: str | None,
    director_root: Path | None,
    cohorts: tuple[str, ...],
    warn_days: int,
    ca_file: Path | None,
    proxy: str | None,
    trusted_root: Path | None,
    as_json: bool,
) -> Outcome:
    """Say who signed EVENT, who must still sign it, and whether it is stale; or what expires.

    Several copies of one event are looked at together: name each, or a directory in which they
    lie. With --repository an event is held against what is in force. With --repository instead of
    EVENT: every role, the roster and its grants, and every permit, with dates and with what stops
    working then, what ends first in front.
    """
    del as_json
    if repository is not None and trusted_root is None:
        raise click.UsageError("--repository goes with --root.")
    if event and (director_root is not None or cohorts):
        raise click.UsageError("--director-root and --cohort go without EVENT.")
    if cohorts and director_root is None:
        raise click.UsageError("--cohort goes with --director-root.")
    if not event:
        if repository is None or trusted_root is None or merge:
            raise click.UsageError(
                "Name an EVENT (--merge needs one), or a repository with --repository and --root."
            )
        # Loaded when it is asked for: what judges a fleet is much, and other commands need none.
        from interlock_repo.cli.expiry import expiry  # noqa: PLC0415

        return expiry(
            repository,
            trusted_root,
            director_root,
            cohorts,
            warn_days=warn_days,
            ca_file=ca_file,
            proxy=proxy,
        )
    first, tally = open_copies(event, trusted_root)
    brought = bring_together(first, tally) if merge else []
    lines = [
        f"{first.file.role} {first.file.version}, read aloud: {first.spoken_digest}",
        f"  in words: {first.words}",
    ]
    lines += [f"  with {line.what}: {line.new}" for line in delta_lines(first)]
    lines += [f"  + {told(one.file)}" for one in tally.signed]
    lines += [f"    {holder.title} has not signed" for holder in tally.waiting]
    lines += [f"Brought in the signature of {name}." for name in brought]
    facts = show.event_facts(first, tally) | {"brought_in": brought, "follows": None}
    if repository is not None and trusted_root is not None:
        with open_repository(
            repository, trusted_root, system_clock(), ca_file=ca_file, proxy=proxy
        ) as opened:
            state, said = follows(first, opened)
        facts["follows"] = state
        lines.append(said)
        if state != "in_force":
            return Outcome(state, lines, facts, Exit.REFUSED if state == "stale" else Exit.DONE)
    lines.append(tally.next_step())
    return Outcome(
        "signatures_missing" if tally.needed else "threshold_met",
        lines,
        facts,
        Exit.DEFERRED if tally.needed else Exit.DONE,
    )
