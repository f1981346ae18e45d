"""``interlock-repo rebase``: the same intent on what is in force now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make_from
from interlock_repo.cli.options import DIRECTORY, Plan, new_event
from interlock_repo.event import Draft
from interlock_repo.reading import open_event
from interlock_repo.rebasing import rebased
from interlock_repo.repository import Repository
from interlock_repo.review import Section


@click.command(
    epilog="""\b
Examples:
  interlock-repo rebase release-1.4.0 --event release-1.4.0-again \\
      --repository https://updates.example.org --root image/1.root.json
"""
)
@new_event(None)
@click.argument("old", type=DIRECTORY, metavar="EVENT")
def rebase(old: Path, plan: Plan) -> Outcome:
    """Make a new signing event from what EVENT wants, on what is in force now.

    Something else was published after EVENT was made, so that it can no longer be published. The
    new event follows what is in force, and what changed is said. EVENT stays as it is; its
    signatures are void for the new event: everybody reviews and signs again. Refused if the intent
    no longer applies: the version or the counter is taken, or somebody changed what it sets.
    """
    opened = open_event(old)

    @contextmanager
    def drafted(base: Repository, now: datetime) -> Iterator[tuple[Draft, tuple[Section, ...]]]:
        with rebased(opened, base, now, plan.days or None) as new:
            yield new.draft, new.sections

    return make_from(plan, drafted)
