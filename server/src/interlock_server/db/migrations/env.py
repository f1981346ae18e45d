"""What Alembic runs: the caller passes its connection."""

from __future__ import annotations

from alembic import context

from interlock_server.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
