"""Judges an exported log, offline (I/O: reads the export; the rules are ``log_audit``'s).

Rules:

1. The checkpoint is believed by the key that the auditor names, and everything else by the
   checkpoint. Nothing is asked of anybody. Where the log's key was changed, those that were before
   vouch for older checkpoints, and not for the export's own.
2. A record must be what its entry names: the id of its statement, and the digest of the envelope,
   unless the same words were signed anew later on. Where an entry names a statement, its record
   must be there.
3. Every checkpoint that a statement carries, and every older one that the auditor brings, must be
   of this log. Whoever was shown another one is named.
4. Where a rollout stands changes only as the engine's states do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Key

from interlock_core import durable, wire
from interlock_core.acts import POSTED
from interlock_core.api import LogRecord
from interlock_core.checkpoint import (
    MAX_CHECKPOINT,
    Checkpoint,
    read_checkpoint,
    verify_checkpoint,
)
from interlock_core.errors import InterlockError, NotFoundError, WireError
from interlock_core.log import Entry, read_entry
from interlock_core.log_audit import (
    Finding,
    Seen,
    audit,
    hold_against,
    names_of,
    transitions,
)
from interlock_core.report import Enrolment, Report
from interlock_core.statement import MAX_ENVELOPE, Opened, open_statement
from interlock_core.tree import Tree, leaf_hash, verify_inclusion
from interlock_ops.log_export import CHECKPOINT, ENTRIES, HASHES, RECORDS
from interlock_ops.taking import text_of

MAX_EXPORT: Final = 2**33
"""The largest file of an export that is read."""

_LOGGED: Final = (*POSTED, Enrolment, Report)
_FOLLOWS: Final = frozenset({"transition", "state"})
"""Kinds of entries about what followed from a statement, under its id."""


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        said: the newest checkpoint.
        findings: what is wrong, the entries first.
        intact: how many entries the newest of the other checkpoints that hold covers.
        checkpoints: how many other checkpoints were held against the log.
        entries: those that could be read, in their order.
        strange: devices that were shown what is no checkpoint of the log's key, each in a sentence:
            nothing that is wrong with the log.
    """

    said: Checkpoint
    findings: tuple[Finding, ...]
    intact: int
    checkpoints: int
    entries: tuple[Entry, ...]
    strange: tuple[str, ...] = ()


@dataclass(frozen=True)
class Export:
    """An export as it lies in its directory; nothing of it is believed."""

    checkpoint: str
    entries: Sequence[bytes]
    hashes: Sequence[bytes]
    records: Sequence[bytes]


def read_export(directory: Path) -> Export:
    """Read an export.

    Raises:
        NotFoundError: it is none, or was cut off; entries or the checkpoint are missing.
        WireError: a file is too large, or no text.
        TransientError: a file cannot be read.
    """
    try:
        checkpoint = read_text(directory / CHECKPOINT)
        entries = _lines(directory / ENTRIES)
    except NotFoundError as e:
        raise NotFoundError(
            f"{directory} is no whole export ({e}) Make one with 'interlock-ops log export'."
        ) from e
    return Export(checkpoint, entries, _hashes(directory), _records(directory))


def read_text(path: Path) -> str:
    """A checkpoint's file.

    Raises:
        NotFoundError, WireError, TransientError: it is missing, too long, unreadable.
    """
    return text_of(durable.read(path, limit=4 * MAX_CHECKPOINT, what="checkpoint"))


def _lines(path: Path) -> list[bytes]:
    data = durable.read(path, limit=MAX_EXPORT, what=path.name)
    return data.removesuffix(b"\n").split(b"\n") if data else []


def _hashes(directory: Path) -> list[bytes]:
    try:
        return [bytes.fromhex(line.decode("ascii")) for line in _lines(directory / HASHES)]
    except (NotFoundError, ValueError):
        # They only help to name what is wrong; without them less can be named.
        return []


def _records(directory: Path) -> list[bytes]:
    try:
        return _lines(directory / RECORDS)
    except NotFoundError:
        return []


def verify(
    export: Export, keys: Sequence[Key], older: Iterable[Seen], origin: str | None
) -> Verdict:
    """Judge an export (rules 1 to 4).

    Args:
        export: as it was read.
        keys: the log's public key, known from elsewhere; then those that were before.
        older: checkpoints that the auditor brings.
        origin: of the log that is meant; None for the one that the checkpoint names.

    Raises:
        WireError, RefusedError: ``bad_checkpoint``: the export's own is not the log's.
    """
    origin = origin or read_checkpoint(export.checkpoint).said.origin
    said = verify_checkpoint(export.checkpoint, origin, keys[0])
    entries = [one for data in export.entries if (one := _entry(data)) is not None]
    opened, findings = _open_records(export.records)
    known = {number: _told(paper) for number, paper in opened.items()}
    wrong = audit(export.entries, export.hashes, said, names_of(export.entries, known))
    tree = _tree(export, said)
    carried = [
        Seen(
            f"Entry {number} ({known[number]})",
            number,
            paper.said.checkpoint,
            testimony=isinstance(paper.said, Report),
        )
        for number, paper in sorted(opened.items())
        if paper.said.checkpoint is not None
    ]
    others = [*older, *carried]
    held = hold_against(tree, said, others, keys)
    wrong += [*held.findings, *findings, *_match(entries, opened), *transitions(entries)]
    checked = len(others) - len(held.strange)
    return Verdict(said, tuple(wrong), held.intact, checked, tuple(entries), tuple(held.strange))


def _tree(export: Export, said: Checkpoint) -> Tree:
    """The tree to hold checkpoints against: the signed one, if it can be had."""
    by_hashes = Tree.of(export.hashes)
    if by_hashes.size == said.size and by_hashes.root() == said.root:
        return by_hashes
    return Tree.of([leaf_hash(entry) for entry in export.entries])


def _entry(data: bytes) -> Entry | None:
    try:
        return read_entry(data)
    except WireError:
        return None


def _open_records(records: Sequence[bytes]) -> tuple[dict[int, Opened[Any]], list[Finding]]:
    opened: dict[int, Opened[Any]] = {}
    findings = []
    for at, data in enumerate(records):
        try:
            record = wire.decode(data, LogRecord, limit=2 * MAX_ENVELOPE, what="record")
            opened[record.number] = open_statement(record.envelope, _LOGGED)
        except InterlockError as e:
            detail = f"Line {at + 1} of {RECORDS} holds no record: {e}"
            findings.append(Finding("record_mismatch", None, detail))
    return opened, findings


def _told(paper: Opened[Any]) -> str:
    name = paper.said.PREDICATE.removeprefix("urn:interlock:").removesuffix(":v1")
    at = wire.format_time(paper.said.at)
    return f"{name} {paper.id[:12]} by {paper.said.author} at {at}"


def _match(entries: Sequence[Entry], opened: dict[int, Opened[Any]]) -> Iterable[Finding]:
    """Hold records against entries (rule 2)."""
    last = {entry.fact.id: entry.number for entry in entries if entry.fact.kind == "statement"}
    for entry in entries:
        fact, paper = entry.fact, opened.get(entry.number)
        if fact.kind not in {"statement", "state"} or fact.sha256 is None:
            continue
        if paper is None:
            detail = f"No record of {entry.says()} is here."
            yield Finding("record_mismatch", entry.number, detail)
            continue
        digest = wire.sha256_hex(wire.encode(paper.envelope))
        same_words = fact.kind == "state" or paper.id == fact.id
        newest = fact.kind == "state" or last[fact.id] == entry.number
        if not same_words or (newest and digest != fact.sha256):
            detail = f"The record of {entry.says()} is another statement: {_told(paper)}."
            yield Finding("record_mismatch", entry.number, detail)


def places_of(export: Export, verdict: Verdict, statement: str) -> list[int]:
    """The numbers under which a statement stands in the log, each by an inclusion proof.

    What followed from it (a rollout's transitions, an enrolment's states) has its id too, and is
    not the statement.

    Raises:
        RefusedError: ``not_in_log``: an entry that names it is not in the log as it was signed.
    """
    tree = _tree(export, verdict.said)
    numbers = []
    for data in export.entries:
        entry = _entry(data)
        if entry is None or entry.fact.id != statement or entry.fact.kind in _FOLLOWS:
            continue
        proof = tree.prove_inclusion(entry.number) if entry.number < tree.size else []
        verify_inclusion(data, entry.number, verdict.said, proof)
        numbers.append(entry.number)
    return numbers
