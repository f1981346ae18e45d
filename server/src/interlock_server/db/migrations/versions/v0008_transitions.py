"""What every change of a rollout's state was, and why; nobody changes or removes one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rollout_transition",
        sa.Column("number", counted, nullable=False),
        sa.Column("rollout", counted, nullable=False),
        sa.Column("kept", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_rollout_transition"),
        sa.ForeignKeyConstraint(
            ["rollout"], ["rollout.number"], name="fk_rollout_transition_rollout_rollout"
        ),
    )
    op.create_index("ix_rollout_transition_rollout", "rollout_transition", ["rollout"])
