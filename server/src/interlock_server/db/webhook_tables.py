"""The table of webhooks: the log is their outbox, and this says how far each has read it.

The rules are those of ``tables``.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from interlock_server.db.tables import Base, Name


class WebhookRow(Base):
    """Where a webhook stands.

    Attributes:
        next: the number of the first log entry that was not delivered.
        failures: how often in a row it failed.
        failing_since: when the first of these was; None while it answers.
        try_at: not before; None for at once.
        busy_until: until when one process delivers to it; None for nobody.
    """

    __tablename__ = "webhook"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    next: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(Integer)
    failing_since: Mapped[datetime | None]
    try_at: Mapped[datetime | None]
    busy_until: Mapped[datetime | None]
