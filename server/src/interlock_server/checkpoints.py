"""Publishes the log: full bundles, the tail, then the checkpoint (I/O).

Rules:

1. Publishers go one after another, by the row ``PUBLISHED``: a checkpoint never gives way to a
   smaller one, on any number of hosts. Nobody who writes entries waits for them but SQLite's, whose
   lock is one.
2. Bundles first, then the tail, then the checkpoint: whoever reads a checkpoint finds every entry
   that it covers. A kill between any two leaves the old checkpoint, and the next call goes on.
3. Before it signs, it holds the database against the checkpoint that is published. If the database
   lacks entries which that covers, or has others (a backup was restored, somebody edited it), it
   signs nothing: ``log_fork``. A log never signs two that contradict each other. While its key is
   changed, the new and the old sign together, so that whoever was handed either goes on.
4. A failure here undoes nothing: the log is evidence and decides nothing, and a stop must not wait
   for it. It is logged, ``check`` names it, and the next call makes it good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from securesystemslib.signer import Signer
from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.checkpoint import (
    MAX_CHECKPOINT,
    Checkpoint,
    origin_of,
    sign_checkpoint,
    verify_checkpoint,
)
from interlock_core.clock import Clock
from interlock_core.errors import ConflictError, InterlockError, NotFoundError, WireError
from interlock_core.log import BUNDLE, CHECKPOINT_KEY, TAIL_KEY, bundle_key, pack
from interlock_core.store import Store
from interlock_core.tree import Tree, leaf_hash, subroot
from interlock_server import log_facts, logbook
from interlock_server.db.log_tables import PUBLISHED, LogBundleRow, LogHeadRow
from interlock_server.db.session import Database
from interlock_server.db.tables import FleetRow

SECONDS_BETWEEN: Final = 1.0
"""How long entries of reports may wait, so that many of them share a checkpoint."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proof:
    """A consistency proof between two sizes."""

    old: int
    new: int
    hashes: tuple[bytes, ...]


class Checkpoints:
    """The one publisher of the log.

    Args:
        database: holds the entries.
        store: where everybody reads.
        signers: the log's key; while it is changed, the new and the old.
        clock: now.
    """

    def __init__(
        self, database: Database, store: Store, signers: Sequence[Signer], clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._signers = tuple(signers)
        self._keys = tuple(signer.public_key for signer in signers)
        self._clock = clock
        self._due = threading.Event()

    def begin(self) -> int:
        """Begin the log of a fleet that was founded before there was one, and publish it.

        Returns:
            How many facts were recorded by this call.

        Raises:
            InterlockError: as ``publish``, or the database failed.
        """
        with self._database.reading() as session:
            fleet = session.get(FleetRow, 1)
            if fleet is None:
                return 0
            missing = log_facts.missing(session, fleet)
        added = 0
        if missing:
            # Whoever has nothing to add takes nobody's turn.
            with self._database.writing() as session:
                added = log_facts.begin(session, fleet, self._clock())
        self.publish()
        return added

    def publish(self) -> Checkpoint:
        """Publish all entries that there are; returns what is published then.

        Raises:
            ConflictError: ``log_fork`` (rule 3); nothing was written.
            TransientError: the store or the database failed.
        """
        with self._database.storing() as session:
            row = session.get_one(LogHeadRow, PUBLISHED, with_for_update=True)
            fleet = session.get_one(FleetRow, 1)
            origin = origin_of(fleet.name)
            size = logbook.size(session)
            full = self._bundles(session, size // BUNDLE)
            tree = Tree(size, full, lambda number: _leaves(session, number))
            before = self._check(origin, tree)
            said = Checkpoint(origin, size, tree.root())
            # Ed25519 signs the same words in the same way: another text has other keys.
            text = sign_checkpoint(said, *self._signers)
            if before != text:
                tail = logbook.entries(session, size // BUNDLE * BUNDLE, size)
                self._store.replace(TAIL_KEY, pack(tail))
                self._store.replace(CHECKPOINT_KEY, text.encode())
            row.size = size
        return said

    def publish_or_log(self) -> None:
        """``publish``, if there is anything new; what goes wrong is logged (rule 4)."""
        try:
            with self._database.reading() as session:
                published = session.get_one(LogHeadRow, PUBLISHED).size
                if logbook.size(session) == published:
                    return
            self.publish()
        except InterlockError as e:
            _log.error("the log could not be published: %s", e)

    def published(self, fleet: str) -> Checkpoint:
        """What is published, verified.

        Raises:
            NotFoundError: nothing is.
            WireError, RefusedError: ``bad_checkpoint``: the log's key did not sign it.
            TransientError: the store failed.
        """
        text = self.current()
        if text is None:
            raise NotFoundError("No checkpoint is published.")
        return verify_checkpoint(text, origin_of(fleet), *self._keys)

    def later(self) -> None:
        """Have ``keep_publishing`` publish soon: for reports, which are many."""
        self._due.set()

    def keep_publishing(self) -> None:
        """Begin to publish what ``later`` asks for, in a thread that ends with the process.

        What was left by a process that was killed is published first.
        """
        self._due.set()
        threading.Thread(target=self._publish_for_ever, name="log", daemon=True).start()

    def _publish_for_ever(self) -> None:
        while self._due.wait():
            time.sleep(SECONDS_BETWEEN)
            self._due.clear()
            self.publish_or_log()

    def prove(self, old: int, new: int) -> Proof:
        """That the log of ``new`` entries begins with the log of ``old``.

        Raises:
            WireError: ``bad_size``: the log was never so long, or they stand in the wrong order.
            TransientError: the database failed.
        """
        with self._database.reading() as session:
            if not 0 <= old <= new <= logbook.size(session):
                raise WireError(
                    "Ask with two sizes that the log had, the smaller first.", reason="bad_size"
                )
            wanted = select(LogBundleRow.root).where(LogBundleRow.number < new // BUNDLE)
            full = list(session.scalars(wanted.order_by(LogBundleRow.number)))
            unnoted = range(len(full), new // BUNDLE)
            full += [subroot(_leaves(session, number)) for number in unnoted]
            tree = Tree(new, full, lambda number: _leaves(session, number))
            return Proof(old, new, tuple(tree.prove_consistency(old)))

    def current(self) -> str | None:
        """The checkpoint that is published, as it is; None before the first.

        Raises:
            TransientError: the store failed.
        """
        try:
            return self._store.get(CHECKPOINT_KEY)[: MAX_CHECKPOINT + 1].decode(errors="replace")
        except NotFoundError:
            return None

    def _bundles(self, session: Session, count: int) -> list[bytes]:
        """The roots of the full bundles; those that are new are published and noted (rule 2)."""
        wanted = select(LogBundleRow.root).order_by(LogBundleRow.number)
        roots = list(session.scalars(wanted))
        for number in range(len(roots), count):
            bundle = logbook.entries(session, number * BUNDLE, (number + 1) * BUNDLE)
            self._store.put_new(bundle_key(number), pack(bundle))
            roots.append(subroot([leaf_hash(entry) for entry in bundle]))
            session.add(LogBundleRow(number=number, root=roots[-1]))
        return roots

    def _check(self, origin: str, tree: Tree) -> str | None:
        """See that the database continues what is published (rule 3); returns its text."""
        text = self.current()
        if text is None:
            return None
        before = verify_checkpoint(text, origin, *self._keys)
        if before.size > tree.size or tree.root(before.size) != before.root:
            raise ConflictError(
                f"A checkpoint of {before.size} entries is published, and the {tree.size} entries "
                "in the database do not continue it: nothing was signed. If an older backup of "
                "the database was restored, restore the newest; otherwise somebody edited it. "
                "'interlock-server check' names the entry.",
                reason="log_fork",
            )
        return text


def _leaves(session: Session, number: int) -> list[bytes]:
    """The leaf hashes of one bundle."""
    bundle = logbook.entries(session, number * BUNDLE, (number + 1) * BUNDLE)
    return [leaf_hash(entry) for entry in bundle]
