"""How each kind of event is made again from what people wrote (I/O: reads files).

Rules:

1. One row for each kind: the form in which its specification travels (``intent``), and the same
   code that made it the first time. A kind without a row could not be rebased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from interlock_core import durable
from interlock_core.tuf_metadata import MAX_LENGTH
from interlock_core.wire import Record
from interlock_repo import amending, drafting
from interlock_repo.event import Draft, Kind
from interlock_repo.intent import Intent, read_spec
from interlock_repo.repository import Repository
from interlock_repo.specs import (
    DelegationsIntent,
    PermitSpec,
    ReleaseSpec,
    RenewalIntent,
    RosterRenewalIntent,
    RosterSpec,
    WithdrawalIntent,
)


@dataclass(frozen=True)
class When:
    """When a new event is issued, and for how many days."""

    now: datetime
    days: int


@dataclass(frozen=True)
class Drafter:
    """One row (rule 1).

    Attributes:
        form: of the specification.
        draft: makes the content of an event from what is in force, the specification, and the
            folder of the files that it names.
    """

    form: type[Record]
    draft: Callable[[Repository, Any, Path, When], Draft]


def draft_again(
    kind: Kind, intent: Intent, repository: Repository, folder: Path, when: When
) -> Draft:
    """Draft an event of ``kind`` from an intent.

    Args:
        kind: of the event.
        intent: what people wrote.
        repository: what is in force.
        folder: where the files lie that it names.
        when: of the new event.

    Raises:
        InterlockError: whatever the kind's own drafting refuses.
    """
    renews = kind == "roster" and "drop_expired" in intent.spec
    row = ROSTER_RENEWAL if renews else DRAFTERS[kind]
    return row.draft(repository, read_spec(intent, row.form), folder, when)


def _delegations(on: Repository, spec: DelegationsIntent, folder: Path, when: When) -> Draft:
    return drafting.draft_delegations(
        on, spec, folder, with_renewal=spec.with_renewal, now=when.now, days=when.days
    )


def _release(on: Repository, spec: ReleaseSpec, folder: Path, when: When) -> Draft:
    return drafting.draft_release(on, spec, folder, now=when.now, days=when.days)


def _roster(on: Repository, spec: RosterSpec, folder: Path, when: When) -> Draft:
    return drafting.draft_roster(on, spec, folder, now=when.now, days=when.days)


def _withdrawal(on: Repository, spec: WithdrawalIntent, folder: Path, when: When) -> Draft:
    del folder
    return amending.draft_withdrawal(
        on,
        spec.product,
        spec.version,
        spec.reason,
        despite_stranding=spec.despite_stranding,
        now=when.now,
        days=when.days,
    )


def _permit(on: Repository, spec: PermitSpec, folder: Path, when: When) -> Draft:
    del folder
    return amending.draft_permits(on, spec, now=when.now, days=when.days)


def _renewal(on: Repository, spec: RenewalIntent, folder: Path, when: When) -> Draft:
    after = _delegations_file(spec.after, folder)
    return amending.draft_renewal(on, spec.product, after=after, now=when.now, days=when.days)


def _roster_renewal(on: Repository, spec: RosterRenewalIntent, folder: Path, when: When) -> Draft:
    return drafting.draft_roster_renewal(
        on,
        drop_expired=spec.drop_expired,
        after=_delegations_file(spec.after, folder),
        now=when.now,
        days=when.days,
    )


def _delegations_file(name: str | None, folder: Path) -> bytes | None:
    if name is None:
        return None
    return durable.read(folder / name, limit=MAX_LENGTH["targets"], what="delegations")


DRAFTERS: Final[Mapping[Kind, Drafter]] = {
    "delegations": Drafter(DelegationsIntent, _delegations),
    "release": Drafter(ReleaseSpec, _release),
    "roster": Drafter(RosterSpec, _roster),
    "withdrawal": Drafter(WithdrawalIntent, _withdrawal),
    "permit": Drafter(PermitSpec, _permit),
    "renewal": Drafter(RenewalIntent, _renewal),
}
ROSTER_RENEWAL: Final = Drafter(RosterRenewalIntent, _roster_renewal)
"""A roster that nobody wrote anew: the one in force, once more."""
