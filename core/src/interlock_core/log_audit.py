"""Whether entries are those that a checkpoint covers, and which of them are not (pure).

Rules:

1. A checkpoint says that something was changed, and not what. Beside the entries an export keeps
   their leaf hashes. They are believed as far as the checkpoint's root follows from them; then they
   name every entry that was edited, deleted, moved, added, or cut off at the end.
2. Where they are not believed, the numbers inside the entries name what they can; and the older
   checkpoints that still hold say up to which entry nothing was changed.
3. Any two checkpoints of one log must agree: of an older one, the root over so many entries must be
   its root. One that covers more entries than the newest shows that the log was cut.
4. What people signed carries the checkpoint that they saw last. Each must be of this log, and agree
   with it; one that does not shows that somebody was shown another log. What devices signed does
   too, but as it was shown to them, unverified: one that the log's key did not sign is no evidence
   against the log, since whoever has one device's key can write it. It is named by itself.
5. A rollout goes from each state only to those that may follow it, by the order of its entries.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from securesystemslib.signer import Key

from interlock_core.checkpoint import Checkpoint, verify_checkpoint
from interlock_core.errors import ConfigurationError, InterlockError, WireError
from interlock_core.log import ROLLOUT, Entry, read_entry
from interlock_core.rollout import FROM
from interlock_core.tree import Tree, leaf_hash

Reason = Literal[
    "edited_entry",
    "deleted_entry",
    "reordered_entry",
    "truncated_log",
    "inserted_entry",
    "log_fork",
    "bad_checkpoint",
    "record_mismatch",
    "bad_transition",
]
MAX_FINDINGS: Final = 1000
"""How many are told: more say no more."""

Name = Callable[[int], str]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        number: of the entry that it is about, if it is about one.
        detail: a sentence that names the entry by its number and by what it was.
    """

    reason: Reason
    number: int | None
    detail: str


@dataclass(frozen=True)
class Seen:
    """A checkpoint that somebody saw.

    Attributes:
        where: it was found.
        number: of the entry that carries it, if one does.
        text: of the checkpoint.
        testimony: a device's, which verifies nothing (rule 4).
    """

    where: str
    number: int | None
    text: str
    testimony: bool = False


@dataclass(frozen=True)
class Held:
    """What came of holding checkpoints against the log.

    Attributes:
        findings: what is wrong.
        intact: how many entries the newest one that still holds covers: up to there nothing was
            changed.
        strange: testimony that shows nothing of the log, each in a sentence (rule 4).
    """

    findings: list[Finding]
    intact: int
    strange: list[str]


def audit(
    entries: Sequence[bytes], hashes: Sequence[bytes], said: Checkpoint, name: Name
) -> list[Finding]:
    """Hold entries against a checkpoint that was verified.

    Args:
        entries: as they are at hand.
        hashes: the leaf hashes that were kept beside them; not believed (rule 1).
        said: what the checkpoint says.
        name: what the entry of a number was, where the entry itself does not say it.
    """
    leaves = [leaf_hash(entry) for entry in entries]
    if len(leaves) == said.size and Tree.of(leaves).root() == said.root:
        return _formed(entries)
    if len(hashes) == said.size and Tree.of(hashes).root() == said.root:
        return _by_hashes(entries, leaves, hashes, name)
    return _by_numbers(entries, said, name)


def _formed(entries: Sequence[bytes]) -> list[Finding]:
    """Entries that are signed as they stand, and are not what entries may be."""
    found = []
    for number, data in enumerate(entries):
        entry = _read(data)
        if entry is None or entry.number != number:
            detail = f"Entry {number} was logged in a form or under a number that it must not have."
            found.append(Finding("edited_entry", number, detail))
    return found


def _read(data: bytes) -> Entry | None:
    try:
        return read_entry(data)
    except WireError:
        return None


def _by_hashes(
    entries: Sequence[bytes], leaves: Sequence[bytes], hashes: Sequence[bytes], name: Name
) -> list[Finding]:
    """By leaf hashes that lead to the signed root: every entry is told from every other."""
    places = {leaf: number for number, leaf in enumerate(hashes)}
    here = set(leaves)
    missing = [number for number, leaf in enumerate(hashes) if leaf not in here]
    last = max((places[leaf] for leaf in leaves if leaf in places), default=-1)
    strangers: dict[int, Entry | None] = {}
    found: list[Finding] = []
    standing: dict[int, int] = {}
    for at, leaf in enumerate(leaves):
        place = places.get(leaf)
        if place is not None and place not in standing:
            standing[place] = at
            continue
        entry = _read(entries[at])
        meant = at if entry is None else entry.number
        if place is None and meant in missing and meant not in strangers:
            strangers[meant] = entry
        else:
            told = "something" if entry is None else entry.says()
            detail = f"Line {at + 1} holds {told}, which was not logged there: it was put in."
            found.append(Finding("inserted_entry", None, detail))
    for number in _moved(list(standing)):
        at = standing[number]
        detail = f"Entry {number} ({name(number)}) was moved: it stands in line {at + 1}."
        found.append(Finding("reordered_entry", number, detail))
    for number in missing:
        if number in strangers:
            now = strangers[number]
            told = "no entry" if now is None else now.says()
            detail = f"Entry {number} ({name(number)}) was edited: {told} stands in its place."
            found.append(Finding("edited_entry", number, detail))
        elif number > last:
            detail = f"Entry {number} ({name(number)}) was cut off at the end of the log."
            found.append(Finding("truncated_log", number, detail))
        else:
            detail = f"Entry {number} ({name(number)}) was deleted."
            found.append(Finding("deleted_entry", number, detail))
    return found


def _moved(numbers: Sequence[int]) -> list[int]:
    """The fewest numbers without which the others stand in their order."""
    # A longest rising subsequence: of each length, the smallest end so far, and what came before.
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for number in numbers:
        at = bisect_left(ends, number)
        before[number] = ends[at - 1] if at else None
        ends[at : at + 1] = [number]
    kept = set()
    one = ends[-1] if ends else None
    while one is not None:
        kept.add(one)
        one = before[one]
    return sorted(set(numbers) - kept)


def _by_numbers(entries: Sequence[bytes], said: Checkpoint, name: Name) -> list[Finding]:
    """By the numbers inside the entries, where no list of hashes is to be believed (rule 2)."""
    found: list[Finding] = []
    standing: dict[int, int] = {}
    for at, data in enumerate(entries):
        entry = _read(data)
        if entry is None:
            detail = f"Line {at + 1} ({name(at)}) holds no entry: it was edited."
            found.append(Finding("edited_entry", at, detail))
        number = at if entry is None else entry.number
        if number in standing:
            detail = f"Line {at + 1} holds another entry {number}: it was put in."
            found.append(Finding("inserted_entry", number, detail))
        standing.setdefault(number, at)
    for number in _moved(list(standing)):
        detail = f"Entry {number} ({name(number)}) was moved: line {standing[number] + 1} holds it."
        found.append(Finding("reordered_entry", number, detail))
    here, last = set(standing), max(standing, default=-1)
    for number in range(min(said.size, last + 1)):
        if number not in here:
            detail = f"Entry {number} ({name(number)}) was deleted."
            found.append(Finding("deleted_entry", number, detail))
    if last + 1 < said.size:
        detail = (
            f"Entries {last + 1} to {said.size - 1} (the first was {name(last + 1)}) were cut off "
            "at the end of the log."
        )
        found.append(Finding("truncated_log", last + 1, detail))
    found += [
        Finding("inserted_entry", number, f"Entry {number} lies beyond the {said.size} signed.")
        for number in sorted(here)
        if number >= said.size
    ]
    if not found:
        detail = (
            "Some entry was edited, and its leaf hash with it or the list of hashes is missing: "
            "an older checkpoint, or the export's hashes as they were, would tell which."
        )
        found.append(Finding("edited_entry", None, detail))
    return found


def hold_against(tree: Tree, said: Checkpoint, seen: Iterable[Seen], keys: Sequence[Key]) -> Held:
    """Hold every checkpoint that somebody saw against the log (rules 3 and 4).

    Args:
        tree: over the entries at hand.
        said: the newest checkpoint; its root need not be the tree's.
        seen: other checkpoints.
        keys: the log's, and those that were before.
    """
    found: list[Finding] = []
    strange: list[str] = []
    intact = 0
    known: dict[tuple[int, bytes], bool] = {}
    for one in seen:
        try:
            other = verify_checkpoint(one.text, said.origin, *keys)
        except ConfigurationError:
            raise
        except InterlockError as e:
            if one.testimony:
                strange.append(f"{one.where} was shown something else as the log: {e}")
            else:
                found.append(Finding("bad_checkpoint", one.number, f"{one.where}: {e}"))
            continue
        if other.size > said.size:
            detail = (
                f"{one.where} saw a log of {other.size} entries, and this one has {said.size}: "
                f"entries {said.size} to {other.size - 1} were cut off, or it is another log."
            )
            found.append(Finding("truncated_log", one.number, detail))
            continue
        agrees = known.get((other.size, other.root))
        if agrees is None:
            agrees = other.size <= tree.size and tree.root(other.size) == other.root
            known[other.size, other.root] = agrees
        if agrees:
            intact = max(intact, other.size)
        else:
            detail = (
                f"{one.where} saw a checkpoint of {other.size} entries, signed by the log's key, "
                "that is not of this log: the log has two faces."
            )
            found.append(Finding("log_fork", one.number, detail))
    return Held(found, intact, strange)


def transitions(entries: Iterable[Entry]) -> list[Finding]:
    """What the log says of rollouts that no rollout does (rule 5).

    Args:
        entries: in their order.
    """
    # By plain text: what an entry names need not be a state.
    after = {str(state): sources for state, sources in FROM.items()}
    standing: dict[str, str] = {}
    found = []
    for entry in entries:
        order, (kind, _, state) = entry.fact.id, entry.fact.name.partition("/")
        if entry.fact.kind != "transition" or kind != ROLLOUT:
            continue
        before = standing.get(order, "draft")
        if before not in after.get(state, ()):
            detail = (
                f"{entry.says()}: order {order[:12]} was {before}, and from there no rollout "
                f"becomes {state}: an entry is missing, or the server recorded what it did not do."
            )
            found.append(Finding("bad_transition", entry.number, detail))
        standing[order] = state
    return found


def names_of(entries: Sequence[bytes], known: Mapping[int, str]) -> Name:
    """What each number was: by the records, or else by an entry that says so."""
    told = {entry.number: entry.says() for data in entries if (entry := _read(data)) is not None}
    return lambda number: known.get(number) or told.get(number) or "of which no record is here"
