"""Who may read what: every endpoint, as everybody, with every kind of token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.api import ActionPage, ClaimPage, DevicePage, PlacePage, RecallPage
from interlock_core.order import Order
from interlock_core.report import Claim, Enrolment
from interlock_core.roster import Grant
from interlock_core.statement import open_as
from interlock_server.online_keys import Signers
from interlock_server.sessions import TOKEN_LIFETIME, Reader, reading_of
from interlock_server.web.routes import BY_NAME, ROUTES, Auth
from tests.server.world import NOW, Bench, Fleet
from tests.support import people
from tests.support.papers import Named, claim, disposition, enrolment, notice, session
from tests.sweep.endpoints import ENDPOINTS, ENROLLED, ORDER, RECALL, ask, good

ELSEWHERE = enrolment("GW-ELSEWHERE", site="ward-8")
AUDRA = people.person("audra", people.grant("auditor"))
BRIEF = people.person("bruno", people.grant("auditor", expires=NOW + timedelta(minutes=5)))
BOTH = people.person(
    "berta",
    Grant(role="engineer", cohorts=("*",), expires=people.FAR, sites=("ward-7",)),
    people.grant("auditor"),
)
LAPSED = people.person(
    "lena",
    Grant(role="engineer", cohorts=("*",), expires=people.FAR, sites=("ward-7",)),
    people.grant("auditor", expires=NOW - timedelta(days=1)),
)
ROLES = {
    "operator": (people.OLGA, Reader.FLEET),
    "approver": (people.ADA, Reader.FLEET),
    "hospital": (people.HANNA, Reader.FLEET),
    "auditor": (AUDRA, Reader.FLEET),
    "engineer of a site": (people.ELLEN, Reader.SITE),
    "engineer who is auditor too": (BOTH, Reader.FLEET),
    "engineer who was auditor": (LAPSED, Reader.SITE),
    "monitor": (people.MONA, Reader.MONITOR),
}


@dataclass(frozen=True)
class Place:
    """A server with devices at two sites, and a token of everybody."""

    bench: Bench
    tokens: dict[str, dict[str, str]]
    foreign: str


@pytest.fixture(scope="module")
def place(
    template: Fleet,
    signers: Signers,
    blank: Fleet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("access")
    bench = Bench(template.copy(home / "fleet"), signers)
    bench.restart()
    everybody = (*people.PEOPLE, people.ELLEN, AUDRA, BRIEF, BOTH, LAPSED)
    made = people.roster(*everybody, seq=2, issued=NOW)
    bench.publish_roster(wire.encode(made), version=2)
    bench.say_all(ORDER, RECALL, claim(), claim("another" * 5, site="ward-8"))
    bench.let_in(ENROLLED)
    bench.let_in(ELSEWHERE)
    other = Bench(blank.copy(home / "other"))
    other.clock.now = bench.clock.now
    other.found()
    foreign = f"Bearer {other.services.sessions._tokens.dumps('olga')!s}"
    other.back.database.close()
    tokens = {role: bench.token(person.name) for role, (person, _) in ROLES.items()}
    yield Place(bench, tokens, foreign)
    bench.back.database.close()


READ = sorted(route.name for route in ROUTES if route.auth is Auth.TOKEN)


@pytest.mark.parametrize("role", sorted(ROLES))
@pytest.mark.parametrize("name", READ)
def test_each_role_reads_what_the_table_says(place: Place, name: str, role: str) -> None:
    answer = ask(place.bench, good(place.bench, name, place.tokens[role]))
    kind = ROLES[role][1]
    if kind in BY_NAME[name].readers:
        assert answer.status_code == 200, answer.text
    else:
        assert (answer.status_code, answer.json["reason"]) == (403, "not_your_reading")


def test_the_table_of_readers_is_this() -> None:
    """Written down a second time, so that nobody widens it without saying so."""
    everybody, fleet = set(Reader), {Reader.FLEET}
    people_, watching = {Reader.FLEET, Reader.SITE}, {Reader.FLEET, Reader.MONITOR}
    expected = {
        "GET /v1/rollouts": everybody,
        "GET /v1/rollouts/<id_>": everybody,
        "GET /v1/rollouts/<id_>/stages": everybody,
        "GET /v1/rollouts/<id_>/actions": everybody,
        "GET /v1/rollouts/<id_>/recall": everybody,
        "GET /v1/devices": people_,
        "GET /v1/devices/<device>": people_,
        "GET /v1/cohorts": fleet,
        "GET /v1/sites": people_,
        "GET /v1/sites/<site>": people_,
        "GET /v1/claims": people_,
        "GET /v1/monitors": everybody,
        "GET /v1/log/records": watching,
    }
    assert {name: set(BY_NAME[name].readers) for name in READ} == expected


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_no_token_or_a_wrong_one(place: Place, name: str) -> None:
    bench = place.bench
    right = place.tokens["operator"]["Authorization"]
    body, _, mac = right.rpartition(".")
    bad = {
        "none": {},
        "forged": {"Authorization": f"{body}.{mac[::-1]}"},
        "another fleet's": {"Authorization": place.foreign},
        "a challenge": {
            "Authorization": f"Bearer {bench.post('/v1/challenges', {}).json['challenge']}"
        },
    }
    for headers in bad.values():
        request = good(bench, name, {})
        request = replace(request, headers={**request.headers, **headers})
        answer = ask(bench, request)
        if BY_NAME[name].auth is Auth.TOKEN:
            assert (answer.status_code, answer.json["reason"]) == (401, "bad_token")
        else:
            # Whatever it says else, it asks for no token.
            assert answer.status_code != 401


@pytest.mark.parametrize("name", READ)
def test_a_token_dies_in_time_and_with_the_grant(place: Place, name: str) -> None:
    bench = place.bench
    then = bench.clock.now
    mine, brief = bench.token("audra"), bench.token("bruno")
    assert ask(bench, good(bench, name, brief)).status_code == 200
    try:
        bench.clock.now = NOW + timedelta(minutes=5)
        assert ask(bench, good(bench, name, brief)).json["reason"] == "no_grant"
        bench.clock.now = then + TOKEN_LIFETIME + timedelta(seconds=1)
        assert ask(bench, good(bench, name, mine)).json["reason"] == "bad_token"
    finally:
        bench.clock.now = then


def test_nobody_gets_a_token_for_another_fleet(place: Place) -> None:
    challenge = place.bench.post("/v1/challenges", {}).json["challenge"]
    said = session(challenge, fleet="south", at=NOW)
    assert place.bench.post("/v1/tokens", said.envelope).json["reason"] == "wrong_fleet"


def read(place: Place, path: str, type_: Any, role: str = "engineer of a site") -> Any:
    answer = place.bench.client.get(path, headers=place.tokens[role])
    assert answer.status_code == 200, answer.text
    return wire.decode(answer.data, type_, limit=10**7, what="answer")


def test_an_engineer_sees_her_sites_and_nothing_of_others(place: Place) -> None:
    devices = read(place, "/v1/devices", DevicePage).items
    assert {open_as(one.enrolment, Enrolment).said.site for one in devices} == {"ward-7"}
    assert [one.name for one in read(place, "/v1/sites", PlacePage).items] == ["ward-7"]
    claims = read(place, "/v1/claims", ClaimPage).items
    assert claims
    assert {open_as(one.claim, Claim).said.site for one in claims} == {"ward-7"}
    assert read(place, "/v1/devices?site=ward-8", DevicePage).items == ()
    for path, reason in {
        "/v1/devices/GW-ELSEWHERE": "unknown_device",
        "/v1/sites/ward-8": "unknown_site",
    }.items():
        there = place.bench.client.get(path, headers=place.tokens["auditor"])
        assert there.status_code == 200
        hidden = place.bench.client.get(path, headers=place.tokens["engineer of a site"])
        assert (hidden.status_code, hidden.json["reason"]) == (404, reason)
        assert "ward-8" not in hidden.json["detail"] or "ward-8" in path


def test_of_a_recall_an_engineer_sees_what_is_about_her_sites(place: Place) -> None:
    bench = place.bench
    here = disposition(RECALL, Named("GW-IN", ENROLLED.id))
    there = disposition(RECALL, Named("GW-ELSEWHERE", ELSEWHERE.id))
    told = notice(RECALL, "2.0.0")
    bench.say_all(told, here, there)
    path = f"/v1/rollouts/{RECALL.id}/recall"
    everything = read(place, path, RecallPage, "auditor").items
    assert everything == (told.envelope, here.envelope, there.envelope)
    assert read(place, path, RecallPage).items == (told.envelope, here.envelope)


def test_an_auditor_sees_every_site(place: Place) -> None:
    names = {one.name for one in read(place, "/v1/sites", PlacePage, "auditor").items}
    assert names == {"ward-7", "ward-8"}


def test_actions_are_narrowed_to_sites(place: Place) -> None:
    actions = read(place, f"/v1/rollouts/{ORDER.id}/actions", ActionPage).items
    assert {one.site for one in actions} <= {"ward-7"}
    assert isinstance(ORDER.said, Order)


def test_a_lapsed_grant_opens_nothing() -> None:
    reading = reading_of(LAPSED, NOW)
    assert (reading.kinds, reading.sites) == (frozenset({Reader.SITE}), frozenset({"ward-7"}))
    assert reading_of(BOTH, NOW).sites is None
    assert reading_of(people.MONA, NOW).kinds == {Reader.MONITOR}
