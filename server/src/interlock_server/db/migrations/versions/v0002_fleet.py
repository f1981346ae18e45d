"""The fleet: claims, enrolments, what authorises them, assignments, reports; and what is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# A migration stands by itself: tables of later programs may look different.
counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
time = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Whether every directive was published before the upgrade is not known: so each is due.
    op.add_column(
        "cohort", sa.Column("due", sa.Boolean(), server_default=sa.true(), nullable=False)
    )
    op.create_table(
        "claim",
        sa.Column("number", counted, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("author", sa.String(127), nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("used_by", sa.String(64), nullable=True),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_claim"),
        sa.UniqueConstraint("id", name="uq_claim_id"),
        sa.UniqueConstraint("secret_sha256", name="uq_claim_secret_sha256"),
        sa.UniqueConstraint("used_by", name="uq_claim_used_by"),
    )
    op.create_table(
        "enrolment",
        sa.Column("number", counted, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("device", sa.String(127), nullable=False),
        sa.Column("key_sha256", sa.String(64), nullable=False),
        sa.Column("site", sa.String(63), nullable=False),
        sa.Column("cohort", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("tip_number", sa.BigInteger(), nullable=False),
        sa.Column("tip_id", sa.String(64), nullable=True),
        sa.Column("tip_said_at", time, nullable=True),
        sa.Column("tip_at", time, nullable=True),
        sa.Column("quarantined_at", time, nullable=True),
        sa.Column("quarantined_why", sa.Text(), nullable=True),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_enrolment"),
        sa.UniqueConstraint("id", name="uq_enrolment_id"),
    )
    for columns in (
        ["device"],
        ["key_sha256"],
        ["shown", "device"],
        ["cohort", "shown", "device"],
        ["site", "shown", "device"],
        ["state", "device"],
        ["cohort", "state", "device"],
        ["site", "state", "device"],
    ):
        op.create_index(f"ix_enrolment_{'_'.join(columns)}", "enrolment", columns)
    op.create_table(
        "word",
        sa.Column("number", counted, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("authorises", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("author", sa.String(127), nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_word"),
        sa.UniqueConstraint("id", name="uq_word_id"),
    )
    op.create_index("ix_word_subject", "word", ["subject"])
    op.create_index("ix_word_author", "word", ["author"])
    op.create_table(
        "assignment",
        sa.Column("number", counted, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("enrolment", counted, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("from_cohort", sa.String(63), nullable=False),
        sa.Column("to_cohort", sa.String(63), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("expires", time, nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_assignment"),
        sa.ForeignKeyConstraint(
            ["enrolment"], ["enrolment.number"], name="fk_assignment_enrolment_enrolment"
        ),
        sa.UniqueConstraint("id", name="uq_assignment_id"),
        sa.UniqueConstraint("enrolment", "seq", name="uq_assignment_enrolment_seq"),
    )
    op.create_index("ix_assignment_over_from_cohort", "assignment", ["over", "from_cohort"])
    op.create_table(
        "report",
        sa.Column("enrolment", counted, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("enrolment", "number", name="pk_report"),
        sa.ForeignKeyConstraint(
            ["enrolment"], ["enrolment.number"], name="fk_report_enrolment_enrolment"
        ),
    )
    op.create_table(
        "fork",
        sa.Column("enrolment", counted, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("received_at", time, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("enrolment", name="pk_fork"),
        sa.ForeignKeyConstraint(
            ["enrolment"], ["enrolment.number"], name="fk_fork_enrolment_enrolment"
        ),
    )
    op.create_table(
        "report_refusal",
        sa.Column("enrolment", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(63), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("last_at", time, nullable=False),
        sa.PrimaryKeyConstraint("enrolment", "reason", name="pk_report_refusal"),
    )
    op.create_table(
        "standing",
        sa.Column("person", sa.String(63), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("person", name="pk_standing"),
    )
