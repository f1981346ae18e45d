"""Bringing the database to the schema of this program (I/O).

Rules:

1. ``upgrade`` is idempotent and, where the database allows it, one transaction.
2. A database of a newer program is refused, never changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from interlock_core.errors import ConfigurationError
from interlock_server.db.session import Database, translated

_SCRIPTS: Final = Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    # A per cent sign would be read as an interpolation.
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def newest() -> str:
    """The revision that this program needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def revision_of(database: Database) -> str | None:
    """The revision of a database; None before the first migration.

    Raises:
        TransientError: the database failed.
    """
    if not database.is_there():
        return None
    with translated(), database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check(database: Database) -> None:
    """See that the database has the schema of this program.

    Raises:
        ConfigurationError: ``wrong_schema``: it has another one.
        TransientError: the database failed.
    """
    found = revision_of(database)
    if found is None:
        raise ConfigurationError(
            "The database is empty: run 'interlock-server init' first.", reason="wrong_schema"
        )
    if found != newest():
        _refuse_newer(found)
        raise ConfigurationError(
            f"The database has schema {found} and this program needs {newest()}: run "
            "'interlock-server migrate'.",
            reason="wrong_schema",
        )


def upgrade(database: Database) -> bool:
    """Bring the database to the newest schema; returns whether anything had to be done.

    Raises:
        ConfigurationError: ``wrong_schema``: it is newer than this program.
        TransientError: the database failed.
    """
    database.make_file()
    found = revision_of(database)
    if found == newest():
        return False
    if found is not None:
        _refuse_newer(found)
    config = _config()
    with translated(), database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True


def _refuse_newer(found: str) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found not in known:
        raise ConfigurationError(
            f"The database has schema {found}, which this program does not know: it was made by "
            "a newer one; use that.",
            reason="wrong_schema",
        )
