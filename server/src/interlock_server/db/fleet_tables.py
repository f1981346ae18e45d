"""The tables of the fleet: claims, enrolments, what authorises them, moves and ends, and reports.

The rules are those of ``tables``. Further:

4. ``state``, ``shown`` and ``cohort`` of an enrolment, and ``over`` of an assignment, are what the
   signed papers and the roster said when they were last looked at (``standing``, ``moves``). They
   find devices in a large fleet; whoever reads believes the envelopes.
5. Reports are evidence: nothing changes or removes one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from interlock_server.db.tables import Base, Counted, Digest, Name

DeviceId = String(127)


class ClaimRow(Base):
    """A claim, as its author signed it.

    Attributes:
        number: the order of acceptance.
        secret_sha256: how it is found; the secret itself is nowhere.
        used_by: the id of the one enrolment that used it.
    """

    __tablename__ = "claim"

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    id: Mapped[str] = mapped_column(Digest, unique=True)
    secret_sha256: Mapped[str] = mapped_column(Digest, unique=True)
    author: Mapped[str] = mapped_column(String(127))
    received_at: Mapped[datetime]
    used_by: Mapped[str | None] = mapped_column(Digest, unique=True)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class EnrolmentRow(Base):
    """An enrolment, as its device signed it, and how far its chain of reports goes.

    Attributes:
        number: the order of acceptance.
        key_sha256: of the device key's DER SubjectPublicKeyInfo.
        cohort: of the newest report; of the enrolment before there is one.
        running: the digest of what runs there, by the newest report.
        state: as ``api.EnrolmentState``.
        shown: whether it stands for its device: the one in force, or else the newest.
        tip_number: of the newest report that was taken; 0 before the first.
        tip_said_at: when the device says that it made it.
        tip_at: when it came.
        quarantined_why: what was seen then.
    """

    __tablename__ = "enrolment"
    __table_args__ = (
        # Each list of devices is a walk along one of these (rule 4).
        Index("ix_enrolment_shown_device", "shown", "device"),
        Index("ix_enrolment_cohort_shown_device", "cohort", "shown", "device"),
        Index("ix_enrolment_site_shown_device", "site", "shown", "device"),
        Index("ix_enrolment_state_device", "state", "device"),
        Index("ix_enrolment_cohort_state_device", "cohort", "state", "device"),
        Index("ix_enrolment_site_state_device", "site", "state", "device"),
    )

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    id: Mapped[str] = mapped_column(Digest, unique=True)
    device: Mapped[str] = mapped_column(DeviceId, index=True)
    key_sha256: Mapped[str] = mapped_column(Digest, index=True)
    product: Mapped[str] = mapped_column(Name, server_default="")
    hardware: Mapped[str] = mapped_column(Name, server_default="")
    site: Mapped[str] = mapped_column(Name)
    cohort: Mapped[str] = mapped_column(Name)
    running: Mapped[str | None] = mapped_column(Digest)
    state: Mapped[str] = mapped_column(String(16))
    shown: Mapped[bool] = mapped_column(Boolean)
    received_at: Mapped[datetime]
    tip_number: Mapped[int] = mapped_column(BigInteger, default=0)
    tip_id: Mapped[str | None] = mapped_column(Digest)
    tip_said_at: Mapped[datetime | None]
    tip_at: Mapped[datetime | None]
    quarantined_at: Mapped[datetime | None]
    quarantined_why: Mapped[str | None] = mapped_column(Text)
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class WordRow(Base):
    """An authorisation of an enrolment or an assignment.

    Attributes:
        subject: the id of what it authorises.
    """

    __tablename__ = "word"

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    id: Mapped[str] = mapped_column(Digest, unique=True)
    authorises: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Digest, index=True)
    author: Mapped[str] = mapped_column(String(127), index=True)
    received_at: Mapped[datetime]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class AssignmentRow(Base):
    """An assignment, as its author signed it.

    Attributes:
        enrolment: the number of the enrolment that it moves.
        at: when its author says that it was signed.
        over: it was obeyed, or one after it was, or it expired.
    """

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("enrolment", "seq"),
        Index("ix_assignment_over_from_cohort", "over", "from_cohort"),
    )

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    id: Mapped[str] = mapped_column(Digest, unique=True)
    enrolment: Mapped[int] = mapped_column(ForeignKey("enrolment.number"))
    seq: Mapped[int] = mapped_column(BigInteger)
    from_cohort: Mapped[str] = mapped_column(Name)
    to_cohort: Mapped[str] = mapped_column(Name)
    at: Mapped[datetime]
    expires: Mapped[datetime]
    over: Mapped[bool] = mapped_column(Boolean, default=False)
    received_at: Mapped[datetime]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class ActRow(Base):
    """One person's word about a site (a hold, a description) or an enrolment (that it ended).

    Attributes:
        about: the site's name, or the enrolment's id.
        seq: of a description; one per site.
        until: of a hold, when it is over; of a release, when the hold would have been.
    """

    __tablename__ = "fleet_act"
    __table_args__ = (
        UniqueConstraint("type", "about", "seq"),
        Index("ix_fleet_act_type_until", "type", "until"),
    )

    number: Mapped[int] = mapped_column(Counted, primary_key=True)
    id: Mapped[str] = mapped_column(Digest, unique=True)
    type: Mapped[str] = mapped_column(String(63))
    author: Mapped[str] = mapped_column(String(127))
    about: Mapped[str] = mapped_column(Digest)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    until: Mapped[datetime | None]
    received_at: Mapped[datetime]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class ReportRow(Base):
    """A report that was taken, as its device signed it."""

    __tablename__ = "report"

    enrolment: Mapped[int] = mapped_column(ForeignKey("enrolment.number"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    id: Mapped[str] = mapped_column(Digest)
    received_at: Mapped[datetime]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class ForkRow(Base):
    """The report that showed a fork: evidence, one for each enrolment."""

    __tablename__ = "fork"

    enrolment: Mapped[int] = mapped_column(ForeignKey("enrolment.number"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    id: Mapped[str] = mapped_column(Digest)
    received_at: Mapped[datetime]
    envelope: Mapped[bytes] = mapped_column(LargeBinary)


class ReportRefusalRow(Base):
    """A security counter: how often something was refused in the name of an enrolment."""

    __tablename__ = "report_refusal"

    enrolment: Mapped[str] = mapped_column(Digest, primary_key=True)
    reason: Mapped[str] = mapped_column(String(63), primary_key=True)
    times: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime]


class StandingRow(Base):
    """What a person could sign for when the enrolments were last judged (``standing``)."""

    __tablename__ = "standing"

    person: Mapped[str] = mapped_column(Name, primary_key=True)
    sha256: Mapped[str] = mapped_column(Digest)
