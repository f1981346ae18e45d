"""The tables of the log.

The rules are those of ``tables``. Further:

6. An entry is written in the transaction that writes its fact (``logbook``), under the number that
   the row ``head`` gives out; a trigger keeps entries and bundles from being changed or removed.
7. ``published`` is held by whoever publishes a checkpoint, so that they go one after another.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from interlock_server.db.tables import Base, Digest

APPENDED: Final = 1
"""The row that counts entries."""
PUBLISHED: Final = 2
"""The row that counts what the newest checkpoint covers."""


class LogHeadRow(Base):
    """How many entries there are (``APPENDED``), and how many were published (``PUBLISHED``)."""

    __tablename__ = "log_head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger)


class LogEntryRow(Base):
    """One entry, exactly as it is hashed.

    Attributes:
        fact: the SHA-256 of its fact alone, to see whether that is in the log.
    """

    __tablename__ = "log_entry"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    fact: Mapped[str] = mapped_column(Digest, index=True)
    entry: Mapped[bytes] = mapped_column(LargeBinary)


class LogBundleRow(Base):
    """The root of 256 entries: noted once, so that nobody hashes the whole log for a checkpoint."""

    __tablename__ = "log_bundle"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)
