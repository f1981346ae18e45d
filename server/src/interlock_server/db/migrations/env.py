"""What Alembic runs: the caller passes its connection."""

from __future__ import annotations

from alembic import context

from interlock_server.db.rollout_tables import RolloutRow

context.configure(
    connection=context.config.attributes["connection"],
    # Every table, for whoever knows of any of the fleet's.
    target_metadata=RolloutRow.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
