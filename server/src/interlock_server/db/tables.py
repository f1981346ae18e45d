"""The tables.

Rules:

1. Nothing here is believed by a gateway. What people signed is kept as its envelope; the other
   columns only find it again.
2. Times are UTC.
3. The schema changes by a migration only; a test holds migrations and tables against each other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}

# SQLite counts by itself only in a column that is called INTEGER.
Counted = BigInteger().with_variant(Integer(), "sqlite")

Digest = String(64)
Name = String(63)


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC, also where the database keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """From UTC."""
        del dialect
        if value is None:
            return None
        time: datetime = value
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables of the server."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcTime()}


class PublisherRow(Base):
    """The turn: whoever changes this row is the one publisher until the transaction ends."""

    __tablename__ = "publisher"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    turn: Mapped[int] = mapped_column(BigInteger)


class FleetRow(Base):
    """What the ceremony fixed, and the secret that signs challenges and tokens."""

    __tablename__ = "fleet"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Name)
    image_root: Mapped[str] = mapped_column(Digest)
    director_root: Mapped[str] = mapped_column(Digest)
    token_secret: Mapped[bytes] = mapped_column(LargeBinary)
    founded_at: Mapped[datetime]


class CohortRow(Base):
    """A cohort that has a director.

    Attributes:
        due: something was stored that its directive does not show yet.
        root_sha256: of the root under which its heads were last seen to be; None if nobody looked.
    """

    __tablename__ = "cohort"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    added_at: Mapped[datetime]
    due: Mapped[bool] = mapped_column(Boolean, default=True)
    root_sha256: Mapped[str | None] = mapped_column(Digest)


class StatementRow(Base):
    """A statement about a rollout that was accepted, as its author signed it.

    Attributes:
        number: the order of acceptance.
        order_id: the order that it is or concerns, through whatever it authorises.
        product: of an order.
        seq: of an order; one per product.
    """

    __tablename__ = "statement"
    __table_args__ = (UniqueConstraint("product", "seq"),)

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    id: Mapped[str] = mapped_column(Digest, unique=True)
    type: Mapped[str] = mapped_column(String(63), index=True)
    author: Mapped[str] = mapped_column(String(127))
    order_id: Mapped[str] = mapped_column(Digest, index=True)
    product: Mapped[str | None] = mapped_column(Name)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    received_at: Mapped[datetime]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class PublicationRow(Base):
    """Signed metadata that was verified; published once its targets are there."""

    __tablename__ = "publication"

    id: Mapped[str] = mapped_column(Digest, primary_key=True)
    role: Mapped[str] = mapped_column(Name, index=True)
    version: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    posted_at: Mapped[datetime]
    metadata_text: Mapped[bytes] = mapped_column(LargeBinary)


class UsedChallengeRow(Base):
    """A challenge that was answered: it is good for one token."""

    __tablename__ = "used_challenge"

    id: Mapped[str] = mapped_column(Digest, primary_key=True)
    expires: Mapped[datetime]


class RefusalRow(Base):
    """How often something was refused, by name, and the last time in words."""

    __tablename__ = "refusal"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    reason: Mapped[str] = mapped_column(String(63), primary_key=True)
    times: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime]
    last_detail: Mapped[str] = mapped_column(Text)
