"""When each monitor read the log last. The rules are those of ``tables``."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from interlock_server.db.tables import Base, Name


class MonitorRow(Base):
    """A monitor that read the log with a token of its own.

    Attributes:
        person: as the roster names it.
        seen_at: when that was, to within a few seconds.
    """

    __tablename__ = "monitor"

    person: Mapped[str] = mapped_column(Name, primary_key=True)
    seen_at: Mapped[datetime]
