"""Health: what it says over its own port, and what it finds wrong."""

from __future__ import annotations

import http.client
import socket
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from interlock_server.web.health import health_app, readiness
from tests.server.conftest import Site
from tests.server.later import new_online, restart
from tests.server.world import NOW, V1, Bench, Fleet
from tests.support.papers import order


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_both_workers_answer_on_a_port_of_their_own(site: Site) -> None:
    for _ in range(10):
        for path, body in (
            ("/healthz", {"alive": True}),
            ("/readyz", {"ready": True, "wrong": []}),
        ):
            answer = site.http.request(
                "GET", f"{site.health_url}{path}", headers={"Connection": "close"}
            )
            assert (answer.status, answer.json()) == (200, body)
    assert urlsplit(site.health_url).hostname == "127.0.0.1"


def test_the_ports_do_not_serve_each_others_paths(site: Site) -> None:
    assert site.http.request("GET", f"{site.health_url}/poll/canary").status == 404
    assert site.http.request("GET", f"{site.health_url}/v1/info").status == 404
    for path in ("/healthz", "/readyz", "/metrics"):
        assert site.get(path).status == 404
    assert site.http.request("POST", f"{site.health_url}/healthz").status == 405


def test_a_caller_that_says_nothing_keeps_nobody_waiting(site: Site) -> None:
    target = urlsplit(site.health_url)
    address = (target.hostname or "", target.port or 0)
    with socket.create_connection(address) as silent:
        silent.sendall(b"GET /healthz HT")
        connection = http.client.HTTPConnection(*address, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()


def test_the_numbers_are_those_of_the_database_and_the_store(bench: Bench) -> None:
    bench.say_all(order(targets=(V1.target(),)))
    bench.say(order(targets=(V1.target(),), by="mallory", seq=2))
    client = Client(health_app(bench.back))
    found = samples(client.get("/metrics").text)
    assert found["interlock_statements_total", ("urn:interlock:order:v1",)] == 1
    assert found["interlock_refusals_total", ("statement", "unknown_author")] == 1
    assert found["interlock_publications", ("gateway", "published")] == 1
    expires = (NOW + timedelta(days=10)).timestamp()
    assert found["interlock_head_expires_seconds", ("director/canary", "timestamp")] == expires
    roster = (NOW + timedelta(days=34)).timestamp()
    assert found["interlock_roster_expires_seconds", ()] == roster


def test_a_key_that_the_roots_name_and_nobody_holds_is_not_ready(bench: Bench) -> None:
    new_online(bench.fleet)
    restart(bench, "online", image_online="online-2/image-online.key.json")
    wrong = readiness(bench.back)
    assert [text.partition(" names ")[0] for text in wrong] == [
        "Root 1 of the image repository"
    ] * 2
    assert "keys.image_online" in wrong[0]
    restart(bench, "online-2", "online")
    assert readiness(bench.back) == []


def test_an_expired_root_is_not_ready(bench: Bench) -> None:
    found = samples(Client(health_app(bench.back)).get("/metrics").text)
    expires = (NOW + timedelta(days=365)).timestamp()
    assert found["interlock_head_expires_seconds", ("image", "root")] == expires
    bench.clock.now += timedelta(days=365)
    assert "image/root has expired" in readiness(bench.back)


def test_an_expired_head_is_not_ready(bench: Bench) -> None:
    assert readiness(bench.back) == []
    bench.clock.now += timedelta(days=10)
    wrong = readiness(bench.back)
    assert "image/timestamp has expired" in wrong
    client = Client(health_app(bench.back))
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    bench.back.publisher.refresh()
    assert client.get("/readyz").status_code == 200


def test_a_store_or_a_database_that_fails_is_not_ready(bench: Bench) -> None:
    client = Client(health_app(bench.back))
    moved = bench.settings.store_directory.rename(bench.settings.store_directory.with_name("x"))
    assert client.get("/readyz").json == {"ready": False, "wrong": ["nothing was published yet"]}
    moved.rename(bench.settings.store_directory)
    assert client.get("/readyz").status_code == 200
    file = bench.settings.database_file
    assert file is not None
    bench.back.database.close()
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    file.write_bytes(b"no database, but long enough to be taken for one by its length" * 20)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "not a database" in answer.json["wrong"][0]  # type: ignore[index]
    assert client.get("/metrics").status_code == 503
    assert client.head("/readyz").data == b""


@pytest.fixture
def bare(empty: Fleet) -> Bench:
    bench = Bench(empty)
    bench.found()
    return bench


def test_before_a_roster_there_is_no_roster_to_expire(bare: Bench) -> None:
    found = samples(Client(health_app(bare.back)).get("/metrics").text)
    assert not any(name == "interlock_roster_expires_seconds" for name, _ in found)
    assert readiness(bare.back) == []
