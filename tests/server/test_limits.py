"""How often an address may call without a token."""

from __future__ import annotations

from typing import Any

import pytest

from interlock_server.app import create_app
from interlock_server.config import LimitsSection
from interlock_server.web.limits import MAX_ADDRESSES, Buckets, address_of
from tests.server.world import Bench

PROXY = "127.0.0.1"


class Stopwatch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("127.0.0.1", None, None),
        ("::1", None, None),
        ("192.0.2.7", None, "192.0.2.7"),
        # Nobody is believed about himself.
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        # What a caller wrote stands before what the proxy adds.
        (PROXY, "203.0.113.5, 198.51.100.1", "198.51.100.1"),
        (PROXY, "127.0.0.1", "127.0.0.1"),
        (PROXY, "nonsense", PROXY),
        ("2001:db8::1", None, "2001:db8::/64"),
        ("2001:db8::2", None, "2001:db8::/64"),
        ("::ffff:192.0.2.7", None, "192.0.2.7"),
        (None, None, "unknown"),
    ],
)
def test_whose_calls_count_together(
    peer: str | None, forwarded: str | None, expected: str | None
) -> None:
    assert address_of(peer, forwarded, {PROXY}) == expected


def test_a_bucket_empties_and_fills_again() -> None:
    watch = Stopwatch()
    buckets = Buckets({"open": 60}, watch)
    assert [buckets.take("a", "open") for _ in range(61)] == [0] * 60 + [1]
    assert buckets.take("b", "open") == 0
    watch.now += 1
    assert [buckets.take("a", "open"), buckets.take("a", "open")] == [0, 1]
    watch.now += 3600
    assert [buckets.take("a", "open") for _ in range(61)].count(0) == 60


def test_buckets_need_bounded_memory() -> None:
    buckets = Buckets({"open": 1}, Stopwatch())
    for number in range(MAX_ADDRESSES + 10):
        buckets.take(str(number), "open")
    assert len(buckets._buckets) == MAX_ADDRESSES


@pytest.fixture
def client(bench: Bench) -> tuple[Any, Stopwatch]:
    watch = Stopwatch()
    allowed = LimitsSection(logins_per_minute=2, calls_per_minute=3)
    return create_app(bench.services, allowed, watch).test_client(), watch


def ask(client: Any, path: str, address: str, method: str = "GET", **headers: str) -> Any:
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}
    return client.open(path, method=method, headers={"X-Forwarded-For": address, **headers}, **body)


def test_too_many_calls_are_told_when_to_come_again(client: tuple[Any, Stopwatch]) -> None:
    web, watch = client
    for _ in range(3):
        assert ask(web, "/v1/info", "192.0.2.7").status_code == 200
    refused = ask(web, "/v1/info", "192.0.2.7")
    assert (refused.status_code, refused.json["reason"]) == (429, "too_many_requests")
    assert refused.content_type == "application/problem+json"
    # Another address, and another kind of call, have buckets of their own.
    assert ask(web, "/v1/info", "192.0.2.8").status_code == 200
    assert ask(web, "/v1/challenges", "192.0.2.7", "POST").status_code == 201
    watch.now += int(refused.headers["Retry-After"])
    assert ask(web, "/v1/info", "192.0.2.7").status_code == 200


def test_logins_have_a_limit_of_their_own(client: tuple[Any, Stopwatch]) -> None:
    web, _ = client
    codes = [ask(web, "/v1/challenges", "192.0.2.7", "POST").status_code for _ in range(3)]
    assert codes == [201, 201, 429]
    assert ask(web, "/v1/tokens", "192.0.2.7", "POST").status_code == 429


@pytest.mark.parametrize("path", ["/v1/reports", "/v1/enrolments", "/v1/statements"])
def test_what_is_sent_counts(client: tuple[Any, Stopwatch], path: str) -> None:
    web, _ = client
    codes = [ask(web, path, "192.0.2.7", "POST").status_code for _ in range(4)]
    assert codes == [400, 400, 400, 429]


def test_guessing_addresses_counts_too(client: tuple[Any, Stopwatch]) -> None:
    web, _ = client
    assert [ask(web, "/v1/nothing", "192.0.2.7").status_code for _ in range(4)][3] == 429


def test_a_token_is_not_limited_and_its_absence_is(
    client: tuple[Any, Stopwatch], bench: Bench
) -> None:
    web, _ = client
    token = bench.token()
    codes = [ask(web, "/v1/rollouts", "192.0.2.7", **token).status_code for _ in range(9)]
    assert codes == [200] * 9
    codes = [ask(web, "/v1/rollouts", "192.0.2.7").status_code for _ in range(4)]
    assert codes == [401, 401, 401, 429]


def test_this_machine_itself_is_not_limited(client: tuple[Any, Stopwatch]) -> None:
    web, _ = client
    assert {web.get("/v1/info").status_code for _ in range(20)} == {200}
