"""Servers for the tests: in this process with a clock of their own, and one real one over HTTP."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from interlock_core.clock import system_clock
from interlock_server.online_keys import Signers
from interlock_server.wiring import open_signers
from tests.server.world import COHORTS, NOW, SQLITE, V1, Bench, Fleet, call, start
from tests.support import postgres


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A founded fleet with delegations, a roster and one release; tests work on copies."""
    return _founded(Fleet(tmp_path_factory.mktemp("template"), NOW))


def _founded(fleet: Fleet) -> Fleet:
    bench = Bench(fleet)
    bench.found()
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    bench.back.database.close()
    return fleet


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL of our own."""
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_template(
    template: Fleet, cluster: postgres.Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Fleet:
    """The template's fleet, with its keys, founded on PostgreSQL."""
    return _founded(template.blank(tmp_path_factory.mktemp("postgres") / "fleet", cluster))


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The database of the test's fleet: SQLite, unless the test is marked ``both``."""
    return str(getattr(request, "param", SQLITE))


@pytest.fixture(scope="session")
def signers(template: Fleet) -> Signers:
    return open_signers(template.settings())


@pytest.fixture
def fleet(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Fleet:
    """A copy of the template's fleet."""
    name = "template" if backend == SQLITE else "postgres_template"
    template: Fleet = request.getfixturevalue(name)
    return template.copy(tmp_path / "fleet")


@pytest.fixture
def bench(fleet: Fleet, signers: Signers) -> Iterator[Bench]:
    """A server of a founded fleet with one release, in this process."""
    bench = Bench(fleet, signers)
    bench.restart()
    yield bench
    bench.back.database.close()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet after its ceremony, by the machine's clock; tests work on copies."""
    return Fleet(tmp_path_factory.mktemp("blank"), system_clock())


@pytest.fixture
def empty(blank: Fleet, tmp_path: Path) -> Fleet:
    """A fleet whose server was never initialised."""
    return blank.copy(tmp_path / "empty")


@dataclass(frozen=True)
class Site:
    """A real server process, and how to reach it."""

    fleet: Fleet
    url: str
    health_url: str
    http: urllib3.PoolManager

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> urllib3.BaseHTTPResponse:
        return self.http.request(
            method, f"{self.url}{path}", headers=headers, decode_content=False, redirect=False
        )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gunicorn with two workers for the whole session, on ports that were free.

    Its own line on standard output says that it is ready and where; nobody waits by the clock.
    """
    fleet = Fleet(tmp_path_factory.mktemp("site"), system_clock())
    words = [word for cohort in COHORTS for word in ("--cohort", cohort)]
    assert call("init", fleet.ceremony, "--config", fleet.config, *words).code == 0
    bench = Bench(fleet)
    bench.restart()
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    bench.back.database.close()
    process = start("serve", "--config", fleet.config, "--json")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said = json.loads(line)
        with urllib3.PoolManager(retries=False, timeout=30) as http:
            yield Site(fleet, said["url"], said["health_url"], http)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
