"""Whether the database's log, the Store's log and the facts on file are one (I/O, reading).

Rules:

1. What is published is believed by the log's key. The database must continue it, and every bundle
   in the Store must hold the database's entries.
2. Every fact on file has its entry, and every entry its fact: of a statement that was signed anew
   since, and of a state, the id must be known. Metadata that a ceremony made is in the Store alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from interlock_core.errors import InterlockError, NotFoundError, WireError
from interlock_core.log import (
    BUNDLE,
    CHECKPOINT_KEY,
    TAIL_KEY,
    Entry,
    bundle_key,
    pack,
    read_entry,
    unpack,
)
from interlock_core.log_audit import audit, names_of, transitions
from interlock_core.store import Store
from interlock_server import log_facts, logbook
from interlock_server.checkpoints import Checkpoints
from interlock_server.db.tables import FleetRow


@dataclass(frozen=True)
class LogProblem:
    """Something that is wrong with the log.

    Attributes:
        refused: whoever verifies the log would refuse it.
    """

    name: str
    where: str
    detail: str
    refused: bool


def inspect_log(
    session: Session, fleet: FleetRow, store: Store, checkpoints: Checkpoints
) -> Iterator[LogProblem]:
    """Look at all of it.

    Raises:
        TransientError: the store or the database failed.
    """
    held = list(logbook.every_entry(session))
    try:
        said = checkpoints.published(fleet.name)
    except NotFoundError:
        detail = "no checkpoint is published: run 'interlock-server refresh'"
        yield LogProblem("log_outdated", CHECKPOINT_KEY, detail, not held)
    except InterlockError as e:
        yield LogProblem(e.reason, CHECKPOINT_KEY, str(e), True)
    else:
        covered = held[: said.size]
        for finding in audit(covered, [], said, names_of(held, {})):
            yield LogProblem(finding.reason, "the database", finding.detail, True)
        yield from _store(store, covered)
        if len(held) > said.size:
            detail = f"{len(held) - said.size} entries are not published: run 'interlock-server "
            yield LogProblem("log_outdated", CHECKPOINT_KEY, detail + "refresh'", False)
    yield from _facts(session, fleet, held)


def _store(store: Store, covered: Sequence[bytes]) -> Iterator[LogProblem]:
    full = len(covered) // BUNDLE
    for number in range(full):
        wanted = covered[number * BUNDLE : (number + 1) * BUNDLE]
        yield from _object(store, bundle_key(number), wanted, exact=True)
    if rest := covered[full * BUNDLE :]:
        yield from _object(store, TAIL_KEY, rest, exact=False)


def _object(
    store: Store, key: str, wanted: Sequence[bytes], *, exact: bool
) -> Iterator[LogProblem]:
    try:
        data = store.get(key)
        same = data == pack(wanted) if exact else unpack(data)[: len(wanted)] == list(wanted)
    except NotFoundError:
        yield LogProblem("missing_object", key, "the store has lost these entries", True)
        return
    except WireError:
        same = False
    if not same:
        detail = "its entries are not those in the database"
        yield LogProblem("log_mismatch", key, detail, True)


def _facts(session: Session, fleet: FleetRow, held: Sequence[bytes]) -> Iterator[LogProblem]:
    entries: list[Entry] = []
    for data in held:
        try:
            entries.append(read_entry(data))
        except WireError:
            # It was told as edited: the checkpoint does not cover it as it stands.
            continue
    for finding in transitions(entries):
        yield LogProblem(finding.reason, "the database", finding.detail, True)
    for fact in log_facts.missing(session, fleet):
        detail = f"{fact.kind} {fact.name} {fact.id[:12]} is on file and not in the log"
        yield LogProblem("not_in_log", "the database", detail, True)
    for entry in log_facts.unfounded(session, fleet, entries):
        detail = f"{entry.says()} is in the log, and its fact is not on file"
        yield LogProblem("fact_lost", "the database", detail, True)
