"""The same intent on what is in force now: a new event from an old one (pure but for its files).

Rules:

1. The specification in the event must give the metadata that people were shown: made again on the
   event's own base, it does, to the byte. Otherwise nothing is made from it. Of permits, which name
   the fleet of a roster that is not in that base, the content itself must come out the same, and
   what is revoked must be what was left out, but for those that had expired.
2. What was wanted is drafted on the newest base by the same code as the first time, so whatever
   would be refused when staging is refused here.
3. An intent that sets a thing whole no longer applies where somebody else changed that thing
   meanwhile: it would undo the change silently.
4. A base that is older than the event's is refused, and one that is the same needs no rebasing.
5. The old event stays as it is, as evidence; its signatures are for other bytes and count for
   nothing in the new one. What changed between the two is said, and the new one is signed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.metadata import Targets

from interlock_core.errors import ConflictError, RefusedError
from interlock_core.names import ROSTER_ROLE
from interlock_core.released import permits
from interlock_core.roster import Roster, read_roster
from interlock_core.tuf_metadata import delegated_roles, issued_of, parse_metadata
from interlock_core.wire import encode, sha256_hex
from interlock_repo.as_signed import SHOWN_KINDS, State, differences, void_section
from interlock_repo.base import OwnBase, check_not_older, unmoved
from interlock_repo.drafters import When, draft_again
from interlock_repo.event import TARGETS, Draft, Event, Kind, event_file
from interlock_repo.intent import read_spec
from interlock_repo.repository import Repository
from interlock_repo.review import Section
from interlock_repo.specs import DelegationsIntent, PermitSpec


@dataclass(frozen=True)
class Rebased:
    """A new event to be, and how it differs from the old one."""

    draft: Draft
    sections: tuple[Section, ...]


@contextmanager
def rebased(
    event: Event, repository: Repository, now: datetime, days: int | None
) -> Iterator[Rebased]:
    """Draft an event's intent on what is in force; the files stay readable inside.

    Args:
        event: the old one, checked.
        repository: the newest base.
        now: the time of issue.
        days: the lifetime; None for the one that was asked for.

    Raises:
        ConflictError: ``not_stale``: the event rests on what is in force (rule 4).
        RefusedError: ``event_damaged`` (rule 1), ``intent_overtaken`` (rule 3), ``rollback``
            (rule 4), or as the kind's drafting (rule 2).
        InterlockError: a file cannot be read.
    """
    _check_base(event, repository)
    with _folder(event) as folder:
        _check_intent(event, folder)
        check = _OVERTAKEN.get(event.file.kind)
        if check is not None:
            check(event, repository)
        draft = _draft(event, repository, folder, now, days or event.intent.lifetime_days)
        _check_permits(event, draft)
        yield Rebased(draft, tuple(_differences(event, draft)))


@contextmanager
def _folder(event: Event) -> Iterator[Path]:
    """Where the files are that the specification names."""
    if event.intent.files or event.file.kind != "release":
        with event.intent.unpacked() as folder:
            yield folder
        return
    version = event.intent.spec.get("version")
    yield event.directory / TARGETS / event.file.role / str(version)


def _draft(event: Event, repository: Repository, folder: Path, now: datetime, days: int) -> Draft:
    return draft_again(event.file.kind, event.intent, repository, folder, When(now, days))


def _check_intent(event: Event, folder: Path) -> None:
    """Rule 1."""
    if event.file.kind == "permit":
        return
    issued = issued_of(event.metadata.signed)
    if issued is not None:
        again = _draft(event, OwnBase(event), folder, issued, event.intent.lifetime_days)
        if again.metadata.signed_bytes == event.metadata.signed_bytes:
            return
    raise _other_intent(event)


def _check_permits(event: Event, draft: Draft) -> None:
    """Rule 1, of permits."""
    if event.file.kind != "permit":
        return
    if State.of(event).shown != dict(draft.targets):
        raise _other_intent(event)
    issued = issued_of(event.metadata.signed)
    before = permits(event.previous) if event.previous is not None else {}
    left = before.keys() - event.metadata.signed.targets.keys()
    over = {path for path in left if issued is not None and before[path].expires <= issued}
    said = set(read_spec(event.intent, PermitSpec).revoke)
    if not left - over <= said <= left:
        odd = sorted((left - over) ^ said)
        raise _other_intent(event, f"what it revokes differs ({', '.join(odd)})")


def _other_intent(event: Event, how: str = "it gives other bytes") -> RefusedError:
    return RefusedError(
        f"{event.directory / 'spec.json'} is not what the metadata of this event was made from, "
        f"{how}: stage it anew from the specification that people wrote.",
        reason="event_damaged",
    )


def _check_base(event: Event, repository: Repository) -> None:
    """Rule 4."""
    if unmoved(event, repository):
        raise ConflictError(
            f"{event.directory} rests on what is in force: there is nothing to rebase, sign it.",
            reason="not_stale",
        )
    check_not_older(event, repository)


def _parsed(data: bytes, role: str) -> Targets:
    return parse_metadata(data, Targets, what=f"{role} metadata").signed


def _delegations_overtaken(event: Event, repository: Repository) -> None:
    """Rule 3, for each role that the intent sets."""
    then = delegated_roles(_parsed(OwnBase(event).targets, Targets.type))
    now = delegated_roles(_parsed(repository.targets, Targets.type))
    for name in read_spec(event.intent, DelegationsIntent).roles:
        if then.get(name) != now.get(name):
            raise _overtaken(event, f"the role {name}")


def _roster_overtaken(event: Event, repository: Repository) -> None:
    """Rule 3: a roster is whole."""
    data = repository.role(ROSTER_ROLE)
    now = read_roster(repository.roster(_parsed(data, ROSTER_ROLE))) if data is not None else None
    if _substance(event.previous_roster) != _substance(now):
        raise _overtaken(event, "the roster")


def _substance(roster: Roster | None) -> tuple[object, ...] | None:
    """What people decide about a roster: all but its number and its time."""
    if roster is None:
        return None
    return roster.fleet, roster.persons, roster.rules, roster.min_order_seq


_OVERTAKEN: Final[Mapping[Kind, Callable[[Event, Repository], None]]] = {
    "delegations": _delegations_overtaken,
    "roster": _roster_overtaken,
}


def _overtaken(event: Event, what: str) -> RefusedError:
    return RefusedError(
        f"Somebody changed {what} after {event.directory} was made, and it would undo that: look "
        "at what is in force, and write the specification anew.",
        reason="intent_overtaken",
    )


def _differences(event: Event, draft: Draft) -> Iterator[Section]:
    """Rule 5."""
    file = event_file(draft)
    small = draft.kind in SHOWN_KINDS
    shown = {p: data for p, data in draft.targets.items() if small and isinstance(data, bytes)}
    now = State(file, sha256_hex(encode(file)), draft.metadata, shown)
    for section in differences(State.of(event), now):
        yield Section(f"Against the old event: {section.title}", section.lines)
    if event.signatures:
        yield void_section(signed.file for signed in event.signatures)
