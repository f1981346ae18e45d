"""Under which root each director was last seen: found by the next refresh, or by a ceremony."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("cohort", sa.Column("root_sha256", sa.String(64), nullable=True))
