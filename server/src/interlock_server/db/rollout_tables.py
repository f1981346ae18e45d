"""The tables of the engine: where rollouts stand, how devices do, and the counts of both.

The rules are those of ``tables``. Further:

4. All of it follows from what was signed, from what devices reported, and from when that came. It
   is kept so that a look at a rollout costs no look at its devices.
5. An action is changed under its row's lock, and the counts of its stage with it, in one
   transaction, by adding to them where they lie: so any number of workers lose nothing.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
)
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from interlock_server.db.fleet_tables import DeviceId
from interlock_server.db.tables import Base, Counted, Digest, Name

Reason = String(63)
StateName = String(24)


class EngineRow(Base):
    """Who runs the engine: whoever holds the lease, until it ends.

    Attributes:
        holder: a name that the process made up; empty before the first.
        until: when somebody else may take it.
        seen_at: when a round was last finished, whoever did it.
    """

    __tablename__ = "engine"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    holder: Mapped[str] = mapped_column(String(32))
    until: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]


class RolloutRow(Base):
    """Where a rollout stands (``interlock_core.rollout.Rollout``).

    Attributes:
        away_until: up to when the time in which nobody looked was made good.
    """

    __tablename__ = "rollout"

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    order_id: Mapped[str] = mapped_column(Digest, unique=True)
    product: Mapped[str] = mapped_column(Name)
    seq: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(StateName, index=True)
    changed_at: Mapped[datetime]
    held_since: Mapped[datetime | None]
    held_why: Mapped[str | None] = mapped_column(Text)
    away_until: Mapped[datetime | None]


class TransitionRow(Base):
    """One change of a rollout's state, as the log commits to it.

    Attributes:
        kept: ``api.Transition`` as canonical JSON.
    """

    __tablename__ = "rollout_transition"

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    rollout: Mapped[int] = mapped_column(ForeignKey("rollout.number"), index=True)
    kept: Mapped[bytes] = mapped_column(LargeBinary)


class PartRow(Base):
    """Where a rollout stands at one cohort (``interlock_core.rollout.Part``)."""

    __tablename__ = "rollout_part"

    rollout: Mapped[int] = mapped_column(ForeignKey("rollout.number"), primary_key=True)
    cohort: Mapped[str] = mapped_column(Name, primary_key=True)
    opened: Mapped[int] = mapped_column(Integer)
    held: Mapped[bool] = mapped_column(Boolean)
    still: Mapped[str | None] = mapped_column(Reason)
    still_since: Mapped[datetime | None]
    over: Mapped[str | None] = mapped_column(Reason)
    resumed_at: Mapped[datetime | None]


class StageRow(Base):
    """The counts of one stage at one cohort (``interlock_core.abort.Counts``), by name.

    Attributes:
        opened_at: since when it counts as open, as it was signed.
        forgiven: the counts when people last resumed, as canonical JSON.
    """

    __tablename__ = "rollout_stage"

    rollout: Mapped[int] = mapped_column(ForeignKey("rollout.number"), primary_key=True)
    stage: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    cohort: Mapped[str] = mapped_column(Name, primary_key=True)
    opened_at: Mapped[datetime]
    forgiven: Mapped[str | None] = mapped_column(Text)
    started: Mapped[int] = mapped_column(BigInteger, default=0)
    joined: Mapped[int] = mapped_column(BigInteger, default=0)
    excluded: Mapped[int] = mapped_column(BigInteger, default=0)
    recovered: Mapped[int] = mapped_column(BigInteger, default=0)
    reverted: Mapped[int] = mapped_column(BigInteger, default=0)
    is_scheduled: Mapped[int] = mapped_column(BigInteger, default=0)
    is_waiting_for_consent: Mapped[int] = mapped_column(BigInteger, default=0)
    is_downloading: Mapped[int] = mapped_column(BigInteger, default=0)
    is_downloaded: Mapped[int] = mapped_column(BigInteger, default=0)
    is_installing: Mapped[int] = mapped_column(BigInteger, default=0)
    is_rebooting: Mapped[int] = mapped_column(BigInteger, default=0)
    is_confirmed: Mapped[int] = mapped_column(BigInteger, default=0)
    is_failed: Mapped[int] = mapped_column(BigInteger, default=0)
    is_timed_out: Mapped[int] = mapped_column(BigInteger, default=0)
    is_rolled_back: Mapped[int] = mapped_column(BigInteger, default=0)
    is_rejected: Mapped[int] = mapped_column(BigInteger, default=0)
    is_deferred: Mapped[int] = mapped_column(BigInteger, default=0)
    is_already_installed: Mapped[int] = mapped_column(BigInteger, default=0)
    is_canceled: Mapped[int] = mapped_column(BigInteger, default=0)
    voted_confirmed: Mapped[int] = mapped_column(BigInteger, default=0)
    voted_already_installed: Mapped[int] = mapped_column(BigInteger, default=0)
    voted_failed: Mapped[int] = mapped_column(BigInteger, default=0)
    voted_rolled_back: Mapped[int] = mapped_column(BigInteger, default=0)
    voted_timed_out: Mapped[int] = mapped_column(BigInteger, default=0)
    voted_rejected: Mapped[int] = mapped_column(BigInteger, default=0)


class ActionRow(Base):
    """One device's execution of one order (``interlock_core.action.Action``).

    Attributes:
        number: the order in which they were opened.
        enrolment: the one that the device was opened for, or reported under last.
        deadline: in seconds since 1970, so that a database can add to it.
        over: it voted, or was canceled.
    """

    __tablename__ = "action"
    __table_args__ = (
        Unique("rollout", "device"),
        # Whose deadline has passed; what devices are in a state; whose failure is of a known issue.
        Index("ix_action_rollout_over_deadline", "rollout", "over", "deadline"),
        Index("ix_action_rollout_state_number", "rollout", "state", "number"),
        Index("ix_action_rollout_vote", "rollout", "vote"),
        # What a report is about.
        Index("ix_action_device_over", "device", "over"),
    )

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    rollout: Mapped[int] = mapped_column(ForeignKey("rollout.number"))
    enrolment: Mapped[int] = mapped_column(ForeignKey("enrolment.number"))
    device: Mapped[str] = mapped_column(DeviceId)
    site: Mapped[str] = mapped_column(Name)
    cohort: Mapped[str] = mapped_column(Name)
    stage: Mapped[int] = mapped_column(Integer)
    since: Mapped[datetime]
    deadline: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(StateName)
    reason: Mapped[str] = mapped_column(Reason)
    vote: Mapped[str | None] = mapped_column(StateName)
    vote_reason: Mapped[str | None] = mapped_column(Reason)
    excluded: Mapped[str | None] = mapped_column(Reason)
    counted: Mapped[bool] = mapped_column(Boolean)
    over: Mapped[bool] = mapped_column(Boolean)
