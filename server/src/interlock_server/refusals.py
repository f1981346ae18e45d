"""Counts refusals by name (I/O).

Rules:

1. Each refusal is logged, and counted in the database, one row for each name: it grows with the
   number of names and not with the number of attempts.
2. Counting never changes the answer: if the database fails here, the refusal stands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from interlock_core.clock import Clock
from interlock_core.errors import ConflictError, RefusedError, TransientError
from interlock_server.db.session import Database
from interlock_server.db.tables import RefusalRow

MAX_DETAIL: Final = 500

_log = logging.getLogger(__name__)


@contextmanager
def counted(database: Database, clock: Clock, kind: str) -> Iterator[None]:
    """Log and count what is refused inside, and let it pass on.

    Args:
        kind: of what is refused: ``statement``, ``publication`` or ``session``.
    """
    try:
        yield
    except (RefusedError, ConflictError) as e:
        _log.warning("%s refused (%s): %s", kind, e.reason, e)
        try:
            _count(database, clock, kind, e.reason, str(e))
        except TransientError as fault:
            _log.error("the refusal could not be counted: %s", fault)
        raise


def _count(database: Database, clock: Clock, kind: str, reason: str, detail: str) -> None:
    with database.writing() as session:
        row = session.get(RefusalRow, (kind, reason))
        if row is None:
            row = RefusalRow(kind=kind, reason=reason, times=0)
            session.add(row)
        row.times += 1
        row.last_at = clock()
        row.last_detail = detail[:MAX_DETAIL]
