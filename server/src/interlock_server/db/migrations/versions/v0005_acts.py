"""One person's words about sites and enrolments: holds, descriptions, ends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# A migration stands by itself: tables of later programs may look different.
counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "fleet_act",
        sa.Column("number", counted, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(63), nullable=False),
        sa.Column("author", sa.String(127), nullable=False),
        sa.Column("about", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("until", time, nullable=True),
        sa.Column("received_at", time, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_fleet_act"),
        sa.UniqueConstraint("id", name="uq_fleet_act_id"),
        sa.UniqueConstraint("type", "about", "seq", name="uq_fleet_act_type_about_seq"),
    )
    op.create_index("ix_fleet_act_type_until", "fleet_act", ["type", "until"])
