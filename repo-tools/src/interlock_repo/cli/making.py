"""What the commands that make events have in common: read, draft, assemble, show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from interlock_core.clock import system_clock
from interlock_core.errors import ConflictError, InterlockError, RefusedError
from interlock_core.http import Api
from interlock_core.names import ROSTER_PATH
from interlock_core.roster import read_roster
from interlock_repo import collisions
from interlock_repo import event as events
from interlock_repo.cli import show
from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.options import Plan
from interlock_repo.copies import open_copies
from interlock_repo.event import BASE_ROSTER, Draft, Event
from interlock_repo.publishing import assemble
from interlock_repo.reading import open_event
from interlock_repo.repository import Repository, open_repository
from interlock_repo.review import Section, account, tally_of
from interlock_repo.rosters import leaving
from interlock_repo.stops import to_sign_again

Drafted = Callable[[Repository, datetime], Draft]
"""Makes an event's content from what is in force, at a time."""

Drafting = Callable[
    [Repository, datetime], AbstractContextManager[tuple[Draft, tuple[Section, ...]]]
]
"""The same, with what is to be said beside the account; its files stay readable inside."""


def signed_delegations(copies: Sequence[Path], root: Path, now: datetime) -> bytes | None:
    """The signed text of a delegations event, of which these are copies; None for none.

    Raises:
        RefusedError: ``untrusted_metadata``: too few have signed it; ``wrong_kind``; or as
            ``open_copies``.
    """
    if not copies:
        return None
    event, tally = open_copies(copies, root)
    if event.file.kind != "delegations":
        raise RefusedError(
            f"{event.directory} is no delegations event, and names no holders.",
            reason="wrong_kind",
        )
    return assemble(event, tally, now)


def make(plan: Plan, draft: Drafted) -> Outcome:
    """Make an event from what people wrote, and show it.

    Raises:
        InterlockError: whatever is wrong; nothing was written then.
    """

    @contextmanager
    def drafted(opened: Repository, now: datetime) -> Iterator[tuple[Draft, tuple[Section, ...]]]:
        yield draft(opened, now), ()

    return make_from(plan, drafted)


def make_roster(plan: Plan, draft: Drafted) -> Outcome:
    """Make an event of a roster, and say whose stops another must sign again first.

    Raises:
        InterlockError: whatever is wrong; nothing was written then.
    """

    @contextmanager
    def drafted(opened: Repository, now: datetime) -> Iterator[tuple[Draft, tuple[Section, ...]]]:
        made = draft(opened, now)
        before, after = made.base.get(BASE_ROSTER), made.targets[ROSTER_PATH]
        if before is None or not isinstance(after, bytes):
            yield made, ()
            return
        roster = read_roster(before)
        names = leaving(roster, read_roster(after), now)
        yield (
            made,
            to_sign_again(
                plan.repository, roster, names, now, ca_file=plan.ca_file, proxy=plan.proxy
            ),
        )

    return make_from(plan, drafted)


def make_from(plan: Plan, drafting: Drafting) -> Outcome:
    """Make an event, and show it and what ``drafting`` has to say beside it.

    Raises:
        InterlockError: whatever is wrong; nothing was written then.
    """
    directory = plan.event
    if directory.exists():
        # Said before the repository is read; ``events.create`` rules on it.
        raise ConflictError(
            f"{directory} exists: an event is never overwritten, choose another name.",
            reason="event_exists",
        )
    now = system_clock()
    with (
        open_repository(
            plan.repository, plan.root, now, ca_file=plan.ca_file, proxy=plan.proxy
        ) as opened,
        drafting(opened, now) as (drafted, sections),
    ):
        events.create(directory, drafted)
    event = open_event(directory, plan.root)
    shown = account(event, now, root_is_trusted=True)
    show.show(shown, err=plan.quiet)
    show.show_sections(sections, err=plan.quiet)
    tally = tally_of(event)
    names = ", ".join(holder.title for holder in tally.waiting)
    said = (
        f"Made {directory}. {tally.needed} of {names} must sign it: "
        f"interlock-repo sign {directory} --key NAME.key.json"
    )
    others, notes = _collisions(plan, event)
    told = [f"Another event makes {event.file.role} {event.file.version} too: {o}" for o in others]
    if told:
        told.append(
            "One of them can be published; 'interlock-repo rebase' makes the others anew then."
        )
    facts = show.event_facts(event, tally) | {
        "changes": show.as_json(sections),
        "collides_with": others,
    }
    return Outcome("staged", ("", said, *told, *notes), facts)


def _collisions(plan: Plan, event: Event) -> tuple[list[str], list[str]]:
    """What the new event collides with, and what could not be found out."""
    others, notes = collisions.beside(event, plan.events), []
    if "://" in plan.repository:
        try:
            api = Api(plan.repository, ca_file=plan.ca_file, proxy=plan.proxy)
            others += collisions.waiting(event, api)
        except InterlockError as e:
            notes.append(f"Whether something else waits to be published is not known: {e}")
    return [one.said for one in others], notes
