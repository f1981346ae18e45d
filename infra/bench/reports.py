"""Reports that a real server takes, and how long a stop needs to be seen.

A real server with two workers, on SQLite and on a PostgreSQL of its own, both of which wait for the
disk. Eight connections send the reports of devices under a running rollout: each is verified,
stored, logged, and counted. Reports are signed before the time is taken.

A stop is timed from the beginning of its call until a client, which polls without a pause, is
answered with a changed head.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import urllib3

from infra.bench.measure import Row, median, row, session_cpu_ms
from infra.demo.stage import BIN
from interlock_core import wire
from interlock_core.clock import system_clock
from interlock_core.order import Order
from interlock_core.report import Attempt, Enrolment, Report
from interlock_core.statement import Opened
from tests.server.world import POSTGRESQL, SQLITE, V1, Bench, Fleet
from tests.support import postgres
from tests.support.papers import authorise, days, enrolment, opening, order, report, stage, stop
from tests.support.people import CANARY

DEVICES: Final = 32
EACH: Final = 25
CONNECTIONS: Final = 8
STOPS: Final = 15
NEEDED_PER_SECOND: Final = 28.0
"""100,000 devices of which each reports once an hour."""
BEARABLE_MS: Final = 1000.0
"""For a stop to be seen by whoever polls at that moment."""


def measure(place: Path) -> list[Row]:
    """Measure on both databases, in turn."""
    with postgres.running(durable=True) as cluster:
        made = Fleet(_new(place / "reports-sqlite"), system_clock())
        fleets = {SQLITE: made, POSTGRESQL: made.blank(place / "reports-postgresql", cluster)}
        rows = []
        for name, fleet in fleets.items():
            rows += _one(name, fleet)
    return rows


def _new(home: Path) -> Path:
    home.mkdir()
    return home


def _one(name: str, fleet: Fleet) -> list[Row]:
    bench = Bench(fleet)
    bench.found(CANARY)
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    now = fleet.now
    said = order(
        targets=(V1.target(),),
        stages=(stage(CANARY),),
        at=now,
        not_before=now,
        expires=now + days(90),
    )
    go = opening(said, at=now)
    asked = [bench.let_in(enrolment(f"GW-{n}", at=now)) for n in range(DEVICES)]
    bench.say_all(said, authorise(said), go, authorise(go))
    bench.back.engine.round()
    bench.back.database.close()
    chains = [_chain(one, said) for one in asked]
    with _serving(fleet) as (url, leader):
        seconds, cpu_ms = _send(url, leader, chains)
        seen = _stops(url, said)
    number = DEVICES * EACH
    rate = round(number / seconds, 1)
    return [
        Row(
            name=f"reports.accepted.{name}",
            value=rate,
            unit="per second",
            better="higher",
            peer="limit: 100,000 devices, hourly",
            peer_value=NEEDED_PER_SECOND,
            ratio=round(rate / NEEDED_PER_SECOND, 3),
            runs=number,
        ),
        row(
            f"reports.cpu.{name}",
            round(cpu_ms / number, 2),
            "ms each",
            "limit",
            round(1000 * 2 / NEEDED_PER_SECOND, 2),
            number,
        ),
        row(f"publish.stop-seen.{name}", median(seen), "ms", "limit", BEARABLE_MS, STOPS),
    ]


def _chain(of: Opened[Enrolment], about: Opened[Order]) -> list[bytes]:
    """Reports of one device, as they are sent."""
    made: list[Opened[Report]] = []
    for number in range(EACH):
        attempt = Attempt(
            order=about.id,
            target=about.said.targets[0].sha256,
            outcome="downloading" if number % 2 else "deferred",
            reason="interlock",
            deferred_since=None,
        )
        last = made[-1] if made else None
        made.append(report(of, last, at=about.said.at, attempt=attempt))
    return [wire.encode(one.envelope) for one in made]


@contextmanager
def _serving(fleet: Fleet) -> Iterator[tuple[str, int]]:
    # In a session of its own, by which all its processes are accounted for.
    process = subprocess.Popen(
        [str(BIN / "interlock-server"), "serve", "--config", str(fleet.config), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _post(http: urllib3.PoolManager, url: str, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = http.request("POST", f"{url}{path}", body=body, headers=headers, retries=False)
    if answer.status != 201:
        raise RuntimeError(f"{path}: {answer.status} {answer.data[:300]!r}")


def _send(url: str, leader: int, chains: list[list[bytes]]) -> tuple[float, float]:
    """Send all reports, each device's in order; seconds, and the server's CPU time in ms."""

    def device(chain: list[bytes]) -> None:
        for one in chain:
            _post(http, url, "/v1/reports", one)

    with (
        urllib3.PoolManager(maxsize=CONNECTIONS) as http,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        cpu_began, began = session_cpu_ms(leader), perf_counter()
        list(pool.map(device, chains))
        return perf_counter() - began, session_cpu_ms(leader) - cpu_began


def _stops(url: str, said: Opened[Order]) -> list[float]:
    """How long each of some stops needs to be seen, in milliseconds."""
    times = []
    with urllib3.PoolManager(maxsize=4) as http:
        for number in range(STOPS):
            one = stop(said, at=said.said.at, reason=f"stop {number}")
            head = http.request("GET", f"{url}/poll/{CANARY}").headers["ETag"]
            seen: list[float] = []
            polling = threading.Thread(target=_poll, args=(http, url, head, seen))
            polling.start()
            began = perf_counter()
            _post(http, url, "/v1/statements", wire.encode(one.envelope))
            polling.join()
            times.append(1000 * (seen[0] - began))
    return times


def _poll(http: Any, url: str, head: str, seen: list[float]) -> None:
    """Poll until the head has changed."""
    while True:
        answer = http.request("GET", f"{url}/poll/{CANARY}", headers={"If-None-Match": head})
        if answer.status == 200:
            seen.append(perf_counter())
            return
