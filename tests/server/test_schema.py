"""The database: migrations and tables agree, and one writer at a time."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text, update

from interlock_core.errors import ConfigurationError, TransientError
from interlock_server.db import schema
from interlock_server.db.session import Database
from interlock_server.db.tables import Base, CohortRow, PublisherRow
from tests.server.world import POSTGRESQL, SQLITE, Fleet, call
from tests.support.postgres import Cluster


@pytest.fixture
def database(tmp_path: Path) -> Database:
    file = tmp_path / "a private? 100%#place" / "server.sqlite3"
    return Database(None, file)


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def either(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of either kind."""
    if request.param == SQLITE:
        database: Database = request.getfixturevalue("database")
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        # A driver that the URL leaves open is ours.
        url = cluster.url(cluster.make()).replace("postgresql+psycopg:", "postgresql:")
        database = Database(url, None)
    yield database
    database.close()


def test_the_migrations_make_the_tables(either: Database) -> None:
    database = either
    assert schema.revision_of(database) is None
    assert schema.upgrade(database)
    assert not schema.upgrade(database)
    schema.check(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_of_the_first_release_is_brought_along(either: Database) -> None:
    """What it holds stays, and every cohort is due: nobody knows what was published last."""
    database = either
    database.make_file()
    config = schema._config()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO cohort VALUES ('canary', '2027-03-01 08:00:00')"))
    with pytest.raises(ConfigurationError, match="run 'interlock-server migrate'"):
        schema.check(database)
    assert schema.upgrade(database)
    schema.check(database)
    with database.reading() as session:
        (row,) = session.scalars(select(CohortRow))
        assert (row.name, row.due) == ("canary", True)


def test_the_file_is_for_its_owner_alone(database: Database) -> None:
    schema.upgrade(database)
    assert database.file is not None
    files = list(database.file.parent.iterdir())
    assert files
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_sqlite_is_set_up_as_it_must_be(database: Database) -> None:
    schema.upgrade(database)
    with database.reading() as session:
        asked = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        found = [session.scalar(text(f"PRAGMA {name}")) for name in asked]
    assert found == ["wal", 1, 2, 30_000]


def test_looking_makes_no_file(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="run 'interlock-server init'"):
        schema.check(database)
    assert database.file is not None
    assert not database.file.exists()


def test_a_newer_schema_is_left_alone(either: Database) -> None:
    database = either
    schema.upgrade(database)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (schema.check, schema.upgrade):
        with pytest.raises(ConfigurationError, match="made by a newer one") as caught:
            act(database)
        assert caught.value.reason == "wrong_schema"


def test_a_file_that_is_no_database_is_a_fault_not_a_crash(database: Database) -> None:
    assert database.file is not None
    database.file.parent.mkdir()
    database.file.write_bytes(b"not a database at all, but long enough to look like one" * 50)
    with pytest.raises(TransientError, match="not a database"):
        schema.upgrade(database)


def test_an_unknown_database_is_a_wrong_setting() -> None:
    for url in ("oracle9i://x", "nonsense", "postgresql+psycopg2://localhost/interlock"):
        with pytest.raises(ConfigurationError, match=r"storage\.database"):
            Database(url, None)


def test_writers_take_turns_and_lose_nothing(either: Database) -> None:
    database = either
    schema.upgrade(database)
    inside = []

    def write() -> None:
        for _ in range(10):
            with database.writing() as session:
                inside.append(1)
                assert len(inside) == 1
                session.execute(select(PublisherRow.turn))
                inside.pop()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.scalar(select(PublisherRow.turn)) == 40


def test_a_session_that_reads_sees_one_moment_and_changes_nothing(either: Database) -> None:
    schema.upgrade(either)
    with either.reading() as session:
        before = session.scalar(select(PublisherRow.turn))
        with either.writing():
            pass
        session.expire_all()
        assert session.scalar(select(PublisherRow.turn)) == before
    with either.reading() as session:
        assert session.scalar(select(PublisherRow.turn)) == 1


def test_who_waits_too_long_for_another_writer_is_told_to_try_again(either: Database) -> None:
    schema.upgrade(either)
    with (
        either.writing(),
        pytest.raises(TransientError, match="lock"),
        either.storing(wait_seconds=0) as session,
    ):
        session.execute(update(PublisherRow).values(turn=0))
    with either.reading() as session:
        assert session.scalar(select(PublisherRow.turn)) == 1


def test_a_connection_that_the_database_dropped_is_made_anew(cluster: Cluster) -> None:
    database = Database(cluster.url(cluster.make()), None)
    schema.upgrade(database)
    with psycopg.connect(cluster.url("postgres").replace("+psycopg", "")) as others:
        others.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [database.engine.url.database],
        )
    with database.reading() as session:
        assert session.scalar(select(PublisherRow.turn)) == 0
    database.close()


def test_a_database_that_is_not_there_is_a_fault_that_says_so(cluster: Cluster) -> None:
    nowhere = Database(cluster.url("nowhere"), None)
    with pytest.raises(TransientError, match='"nowhere" does not exist'):
        schema.check(nowhere)


def test_migrate_says_what_it_did(empty: Fleet) -> None:
    first = call("migrate", "--config", empty.config, "--json")
    assert (first.code, first.answer["changed"]) == (0, True)
    second = call("migrate", "--config", empty.config)
    assert (second.code, second.out) == (0, f"The database has schema {schema.newest()}.\n")
