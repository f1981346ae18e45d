"""Reads the log whole, and believes none of it before it was held against the checkpoint (I/O).

Rules:

1. The checkpoint is signed by the log's key, which somebody gave to the monitor, and continues the
   one that was seen last (``taking``). A log that contradicts itself, or is shorter than it was, is
   an alarm, and the monitor signs nothing that lets a rollout go on.
2. The entries that are new lead, with the roots of all bundles before them, to the checkpoint's
   root. Only then is any of them believed to be in the log.
3. Behind each entry that names a statement which the monitor decides by, its envelope must come.
   One that is kept back may be a stop, so reading ends there: ``record_withheld``.
4. How far was read is written together with what was read, a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from interlock_core.api import LogRecordPage
from interlock_core.checkpoint import Checkpoint
from interlock_core.errors import ConfigurationError, RefusedError, WireError
from interlock_core.log import BUNDLE, TAIL_KEY, Entry, Place, bundle_key, read_entry
from interlock_core.statement import Envelope, open_statement
from interlock_core.tree import Tree, leaf_hash, subroot
from interlock_ops.monitor.intake import KEPT, KEPT_NAMES
from interlock_ops.monitor.memory import Memory
from interlock_ops.session import Session
from interlock_ops.taking import LogView

CURSOR: Final = "cursor"
_KEPT_BUNDLES: Final = 16

Page = list[tuple[Entry, Envelope | None]]


class Feed:
    """The log of one server, from where it was read last.

    Args:
        session: with settings that name the log's key.
        memory: where the cursor is kept.
    """

    def __init__(self, session: Session, memory: Memory) -> None:
        self._session = session
        self._memory = memory
        self._bundles: dict[int, list[bytes]] = {}

    @property
    def cursor(self) -> int:
        """The number of the next entry to read."""
        return int(self._memory.get(CURSOR) or 0)

    def pages(self) -> Iterator[tuple[int, Page]]:
        """What is new, verified, page by page: where the next begins, and entries with envelopes.

        Whoever takes a page writes the cursor with it.

        Raises:
            RefusedError: ``bad_checkpoint``, ``log_fork``, ``log_behind``, ``log_mismatch``,
                ``record_withheld`` or ``record_mismatch`` (rules 1 to 3).
            WireError: the server serves something else.
            TransientError: it could not be asked.
        """
        view = self._session.log
        if view is None:
            raise ConfigurationError(
                "The monitor needs the log: set 'log_key' to the log's public key.",
                reason="missing_setting",
            )
        said = view.verify(view.look())
        if said.size < self.cursor:
            raise RefusedError(
                f"The log has {said.size} entries, and {self.cursor} were read before.",
                reason="log_behind",
            )
        last = self._verify(view, said)
        while (start := self.cursor) < said.size:
            page = self._records(start)
            end = said.size if page.next is None else min(page.next, said.size)
            if end <= start:
                raise RefusedError("The server's list of records does not end.", reason="endless")
            records = {record.number: record.envelope for record in page.items}
            found = [
                (entry, _behind(entry, records.get(entry.number)))
                for entry in self._entries(view, start, end, last)
            ]
            yield end, found
            if self.cursor != end:
                raise AssertionError("a page was not taken")

    def _records(self, start: int) -> LogRecordPage:
        path = f"/v1/log/records?from={start}"
        try:
            return self._session.api.get(path, LogRecordPage, token=self._session.token)
        except RefusedError as e:
            if e.reason != "bad_token":
                raise
            # Reading a large log takes longer than a token lives.
            self._session.renew_token()
            return self._session.api.get(path, LogRecordPage, token=self._session.token)

    def _verify(self, view: LogView, said: Checkpoint) -> list[bytes]:
        """Hold the entries against the root, and remember the roots of full bundles (rule 2).

        Returns:
            The entries after the last full bundle.
        """
        roots = [root for (root,) in self._memory.rows("SELECT root FROM bundle ORDER BY number")]
        place, known = Place.of(said.size), len(roots)
        roots += [
            subroot(_hashes(self._bundle(view, number, BUNDLE)))
            for number in range(known, place.bundle)
        ]
        last = self._bundle(view, place.bundle, place.within) if place.within else []
        tree = Tree(said.size, roots, lambda _: _hashes(last))
        if tree.root() != said.root:
            raise RefusedError(
                f"The entries that {self._session.settings.server} serves are not the {said.size} "
                "that its checkpoint covers: somebody changed them. Ask who runs it to run "
                "'interlock-server check'.",
                reason="log_mismatch",
            )
        if len(roots) > known:
            with self._memory.writing():
                for number in range(known, len(roots)):
                    self._memory.run("INSERT INTO bundle VALUES (?, ?)", number, roots[number])
        return last

    def _bundle(self, view: LogView, number: int, count: int) -> list[bytes]:
        """The first ``count`` entries of a bundle, full or not."""
        kept = self._bundles.get(number, [])
        if len(kept) >= count:
            return kept[:count]
        found: list[bytes] = []
        if count < BUNDLE:
            found = view.bundle(TAIL_KEY)
            # The tail is of another bundle once this one has become full.
            if not found or read_entry(found[0]).number != number * BUNDLE:
                found = []
        found = found or view.bundle(bundle_key(number))
        if len(self._bundles) >= _KEPT_BUNDLES:
            self._bundles.pop(next(iter(self._bundles)))
        self._bundles[number] = found
        return found[:count]

    def _entries(self, view: LogView, start: int, end: int, last: list[bytes]) -> Iterator[Entry]:
        """Entries that ``_verify`` held against the root; of full bundles, read again (rule 2)."""
        for number in range(start // BUNDLE, (end - 1) // BUNDLE + 1):
            first = number * BUNDLE
            row = self._memory.row("SELECT root FROM bundle WHERE number = ?", number)
            entries = last if row is None else self._bundle(view, number, BUNDLE)
            if row is not None and subroot(_hashes(entries)) != row[0]:
                raise RefusedError(
                    f"Bundle {number} of the log is not what it was a moment ago.",
                    reason="log_mismatch",
                )
            for at in range(max(start, first), min(end, first + BUNDLE)):
                yield read_entry(entries[at - first])


def _hashes(entries: list[bytes]) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries]


def _behind(entry: Entry, envelope: Envelope | None) -> Envelope | None:
    """The statement behind an entry (rule 3)."""
    fact = entry.fact
    if fact.kind != "statement" or fact.name not in KEPT_NAMES:
        return envelope if fact.kind == "state" else None
    if envelope is None:
        raise RefusedError(
            f"The server keeps back what stands behind {entry.says()}: it may be a stop, so "
            "nothing is signed by what came before. Ask who runs it.",
            reason="record_withheld",
        )
    try:
        found = open_statement(envelope, KEPT).id
    except WireError:
        found = "nothing"
    if found != fact.id:
        raise RefusedError(
            f"The server shows {found[:12]} as what stands behind {entry.says()}: ask who runs it.",
            reason="record_mismatch",
        )
    return envelope
