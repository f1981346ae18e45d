"""Challenges and tokens: who may read, for how long, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.statement import Opened
from tests.server.world import NOW, Bench, both
from tests.support import people
from tests.support.papers import order, session


def challenge(bench: Bench) -> str:
    answer = bench.post("/v1/challenges", {})
    assert answer.status_code == 201
    text: str = answer.json["challenge"]
    return text


def answer_with(bench: Bench, said: Opened[Any]) -> tuple[int, str]:
    answer = bench.post("/v1/tokens", said.envelope)
    return answer.status_code, str(answer.json.get("reason", ""))


def token(bench: Bench, by: str = "olga") -> str:
    answer = bench.post("/v1/tokens", session(challenge(bench), by=by).envelope)
    assert answer.status_code == 201, answer.text
    text: str = answer.json["token"]
    return text


def read(bench: Bench, bearer: str | None) -> tuple[int, str]:
    headers = {"Authorization": bearer} if bearer is not None else {}
    answer = bench.client.get("/v1/rollouts", headers=headers)
    return answer.status_code, str(answer.json.get("reason", ""))


def test_a_signed_challenge_is_a_token_to_read_with(bench: Bench) -> None:
    for person in ("olga", "ada", "mona", "hanna"):
        assert read(bench, f"Bearer {token(bench, person)}") == (200, "")
    stated = bench.post("/v1/challenges", {}).json
    assert stated["expires"] == wire.format_time(NOW + timedelta(minutes=2))


@pytest.mark.parametrize(
    "bearer",
    [None, "", "Bearer", "Bearer ", "Basic b2xnYTpvbGdh", "Bearer x", "Bearer " + "x" * 9999],
)
def test_without_a_token_nothing_is_shown(bench: Bench, bearer: str | None) -> None:
    assert read(bench, bearer) == (401, "bad_token")
    refused = bench.client.get(f"/v1/rollouts/{'0' * 64}")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")


@both
def test_a_challenge_is_good_once(bench: Bench) -> None:
    said = session(challenge(bench))
    assert answer_with(bench, said) == (201, "")
    assert answer_with(bench, said) == (403, "bad_challenge")
    # Not by another person either, and not after a restart.
    bench.restart()
    again = session(said.said.challenge, by="omar")
    assert answer_with(bench, again) == (403, "bad_challenge")


def test_a_challenge_lives_two_minutes(bench: Bench) -> None:
    said = session(challenge(bench))
    bench.clock.now += timedelta(minutes=2, seconds=1)
    assert answer_with(bench, said) == (403, "bad_challenge")


def test_a_token_lives_fifteen_minutes(bench: Bench) -> None:
    bearer = f"Bearer {token(bench)}"
    bench.clock.now += timedelta(minutes=15)
    assert read(bench, bearer) == (200, "")
    bench.clock.now += timedelta(seconds=1)
    assert read(bench, bearer) == (401, "bad_token")


def test_a_challenge_is_no_token_and_a_token_no_challenge(bench: Bench) -> None:
    assert read(bench, f"Bearer {challenge(bench)}") == (401, "bad_token")
    assert answer_with(bench, session(token(bench))) == (403, "bad_challenge")


def test_who_gets_no_token(bench: Bench) -> None:
    text = challenge(bench)
    assert answer_with(bench, session(text, fleet="south")) == (403, "wrong_fleet")
    assert answer_with(bench, session(text, by="mallory")) == (403, "unknown_author")
    forged = session(text, by="mallory")
    as_olga = session(text, by="olga")
    swapped = forged.envelope.signatures
    envelope = type(as_olga.envelope)(
        payload=as_olga.envelope.payload,
        payload_type=as_olga.envelope.payload_type,
        signatures=swapped,
    )
    refused = bench.post("/v1/tokens", envelope)
    assert (refused.status_code, refused.json["reason"]) == (403, "bad_signature")
    assert answer_with(bench, session("made up by somebody")) == (403, "bad_challenge")
    assert answer_with(bench, order()) == (400, "malformed")
    # None of these used the challenge up.
    assert answer_with(bench, session(text)) == (201, "")


def test_a_token_dies_with_its_person(bench: Bench) -> None:
    bearer = f"Bearer {token(bench)}"
    gone = people.roster(people.OMAR, people.ADA, seq=2, issued=NOW)
    bench.publish_roster(wire.encode(gone), version=2)
    assert read(bench, bearer) == (403, "unknown_author")


def test_a_token_dies_with_the_last_grant(bench: Bench) -> None:
    until = NOW + timedelta(minutes=5)
    brief = people.person("olga", people.grant("operator", expires=until))
    made = people.roster(brief, people.ADA, seq=2, issued=NOW)
    bench.publish_roster(wire.encode(made), version=2)
    bearer = f"Bearer {token(bench)}"
    assert read(bench, bearer) == (200, "")
    bench.clock.now = until
    assert read(bench, bearer) == (403, "no_grant")


def test_a_token_of_another_server_is_not_ours(bench: Bench, empty: Any) -> None:
    other = Bench(empty)
    other.clock.now = bench.clock.now
    other.found()
    assert read(bench, f"Bearer {other.services.sessions._tokens.dumps('olga')!s}")[0] == 401
    assert read(bench, f"Bearer {bench.services.sessions._tokens.dumps('olga')!s}")[0] == 200
    other.back.database.close()
