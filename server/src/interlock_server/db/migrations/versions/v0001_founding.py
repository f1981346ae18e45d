"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# A migration stands by itself: tables of later programs may look different.
counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
time = sa.DateTime(timezone=True)


def upgrade() -> None:
    publisher = op.create_table(
        "publisher",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_publisher"),
    )
    op.bulk_insert(publisher, [{"id": 1, "turn": 0}])
    op.create_table(
        "fleet",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("image_root", sa.String(64), nullable=False),
        sa.Column("director_root", sa.String(64), nullable=False),
        sa.Column("token_secret", sa.LargeBinary(), nullable=False),
        sa.Column("founded_at", time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fleet"),
    )
    op.create_table(
        "cohort",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("added_at", time, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_cohort"),
    )
    op.create_table(
        "statement",
        sa.Column("number", counted, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(63), nullable=False),
        sa.Column("author", sa.String(127), nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("product", sa.String(63), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("received_at", time, nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_statement"),
        sa.UniqueConstraint("id", name="uq_statement_id"),
        sa.UniqueConstraint("product", "seq", name="uq_statement_product_seq"),
    )
    op.create_index("ix_statement_type", "statement", ["type"])
    op.create_index("ix_statement_order_id", "statement", ["order_id"])
    op.create_table(
        "publication",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("role", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("posted_at", time, nullable=False),
        sa.Column("metadata_text", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_publication"),
    )
    op.create_index("ix_publication_role", "publication", ["role"])
    op.create_table(
        "used_challenge",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("expires", time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_used_challenge"),
    )
    op.create_table(
        "refusal",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(63), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("last_at", time, nullable=False),
        sa.Column("last_detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "reason", name="pk_refusal"),
    )
