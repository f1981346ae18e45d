"""What the log costs: an entry in a transaction, and a checkpoint of a long log.

In this process, on SQLite and a Store on disk, with the server's own code: what a report pays for
its entry is compared with the same transaction without one, in turn; a checkpoint of 100,000
entries with one of 1,000. A checkpoint covers one new entry and is signed, written and flushed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from time import perf_counter
from typing import Final

from securesystemslib.signer import CryptoSigner
from sqlalchemy import update

from infra.bench.measure import Row, median, row
from interlock_core.clock import system_clock
from interlock_core.log import statement_fact
from interlock_core.report import Report
from interlock_core.store import FileStore
from interlock_server import logbook
from interlock_server.checkpoints import Checkpoints
from interlock_server.db import schema
from interlock_server.db.session import Database
from interlock_server.db.tables import FleetRow, PublisherRow

RUNS: Final = 200
FEW: Final = 1_000
MANY: Final = 100_000
CHECKPOINTS: Final = 20


class _Log:
    def __init__(self, place: Path) -> None:
        self._database = Database(None, place / "log.sqlite3")
        schema.upgrade(self._database)
        self._signer = CryptoSigner.generate_ed25519()
        store = FileStore(place / "log-store", system_clock)
        self._checkpoints = Checkpoints(self._database, store, [self._signer], system_clock)
        self._made = 0
        with self._database.writing() as session:
            digest = "0" * 64
            session.add(
                FleetRow(
                    id=1,
                    name="bench",
                    image_root=digest,
                    director_root=digest,
                    token_secret=b"",
                    founded_at=system_clock(),
                )
            )

    def transaction(self, entries: int) -> float:
        """How long a small write takes with so many entries, in milliseconds."""
        began = perf_counter()
        with self._database.storing() as session:
            session.execute(update(PublisherRow).values(turn=PublisherRow.turn + 1))
            for _ in range(entries):
                self._made += 1
                id_ = hashlib.sha256(b"%d" % self._made).hexdigest()
                logbook.record(session, system_clock(), statement_fact(Report.PREDICATE, id_, b""))
        return 1000 * (perf_counter() - began)

    def grow(self, size: int) -> None:
        """Make the log as long as that, published."""
        self.transaction(size - self._made)
        self._checkpoints.publish()

    def checkpoint(self) -> float:
        """How long the checkpoint of one new entry takes, in milliseconds."""
        self.transaction(1)
        began = perf_counter()
        self._checkpoints.publish()
        return 1000 * (perf_counter() - began)

    def close(self) -> None:
        self._database.close()


def measure(place: Path) -> list[Row]:
    """Measure an entry, then checkpoints at both sizes."""
    log = _Log(place)
    try:
        pairs = [(log.transaction(1), log.transaction(0)) for _ in range(RUNS)]
        log.grow(FEW)
        few = median([log.checkpoint() for _ in range(CHECKPOINTS)])
        log.grow(MANY)
        many = median([log.checkpoint() for _ in range(CHECKPOINTS)])
    finally:
        log.close()
    own, plain = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    return [
        row("log.append", own, "ms", "the transaction without it", plain, RUNS),
        row(f"log.checkpoint.{MANY}-entries", many, "ms", f"{FEW} entries", few, CHECKPOINTS),
    ]
