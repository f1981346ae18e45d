"""How long each monitor is silent: noted when it reads the log, and told to people."""

from __future__ import annotations

from datetime import timedelta

from werkzeug.test import Client

from interlock_core.api import MonitorList
from interlock_server.web.health import health_app
from tests.server.test_health import samples
from tests.server.world import V1, Bench
from tests.support.papers import order, started, stop


def seen(bench: Bench) -> dict[str, tuple[object, object]]:
    told = bench.read("/v1/monitors", MonitorList)
    return {one.name: (one.seen_at, one.signed_at) for one in told.items}


def test_a_monitor_is_heard_when_it_reads_the_log(bench: Bench) -> None:
    assert seen(bench) == {"mona": (None, None)}
    assert bench.client.get("/v1/log/records", headers=bench.token("olga")).status_code == 200
    assert seen(bench) == {"mona": (None, None)}
    first = bench.clock.now
    token = bench.token("mona")
    assert bench.client.get("/v1/log/records", headers=token).status_code == 200
    assert seen(bench) == {"mona": (first, None)}
    bench.clock.now += timedelta(seconds=5)
    bench.client.get("/v1/log/records", headers=token)
    assert seen(bench) == {"mona": (first, None)}
    bench.clock.now += timedelta(seconds=10)
    bench.client.get("/v1/log/records", headers=token)
    assert seen(bench) == {"mona": (bench.clock.now, None)}
    found = samples(Client(health_app(bench.back)).get("/metrics").text)
    assert found["interlock_monitor_seen_seconds", ("mona",)] == bench.clock.now.timestamp()
    assert found["interlock_monitor_signed_seconds", ("mona",)] == 0


def test_what_it_signed_last(bench: Bench) -> None:
    made = order(targets=(V1.target(),))
    bench.say_all(made, *started(made), stop(made, by="mona"))
    assert seen(bench) == {"mona": (None, bench.clock.now)}


def test_reading_needs_a_token(bench: Bench) -> None:
    assert bench.client.get("/v1/monitors").status_code == 401


def test_a_busy_database_keeps_nobody_from_reading(bench: Bench) -> None:
    token = bench.token("mona")
    with bench.back.database.writing():
        assert bench.client.get("/v1/log/records", headers=token).status_code == 200
    assert seen(bench) == {"mona": (None, None)}
