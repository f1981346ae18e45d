"""What is sent to the server itself, by anybody: a named 4xx; nothing stored, nothing told."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import func, select

from interlock_core import wire
from interlock_core.errors import TransientError
from interlock_core.roster import Person
from interlock_server.db.tables import PublicationRow, StatementRow
from tests.server.world import NOW, V1, Bench
from tests.support.papers import authorise, days, opening, order, session, signed, stop
from tests.support.people import OLGA, OMAR, PEOPLE, grant, roster

DEEP = b"[" * 20_000


def kept(bench: Bench) -> tuple[int, int, int]:
    """How much the server has stored of what it was sent."""
    with bench.back.database.reading() as db:
        statements = db.scalar(select(func.count()).select_from(StatementRow)) or 0
        publications = db.scalar(select(func.count()).select_from(PublicationRow)) or 0
    pending = bench.settings.pending_directory
    waiting = [path for path in pending.rglob("*") if path.is_file()] if pending.is_dir() else []
    return statements, publications, len(waiting)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"payload": NaN}',
        b'{"payload": 1e999}',
        b'{"payload": 123456789012345678901234567890}',
        b'{"payload": "", "payload": "", "payloadType": "", "signatures": []}',
        b'{"payload": "\\ud800", "payloadType": "", "signatures": []}',
        DEEP,
        b" " * 7_000_000,
    ],
    ids=lambda body: body[:12].decode(errors="replace").strip() or str(len(body)),
)
@pytest.mark.parametrize("path", ["/v1/statements", "/v1/publications", "/v1/tokens"])
def test_bodies_that_are_nothing(bench: Bench, path: str, body: bytes) -> None:
    before = kept(bench)
    answer = bench.client.post(path, data=body, content_type="application/json")
    assert answer.status_code in {400, 413}
    assert answer.content_type == "application/problem+json"
    assert kept(bench) == before
    bench.say_all(order(targets=(V1.target(),)))


@pytest.mark.parametrize(
    "path",
    [
        "/image/targets/../../passphrase",
        "/image/targets/%2e%2e/%2e%2e/passphrase",
        "/image/metadata/..%2f..%2f..%2fserver.sqlite3",
        "/image/metadata/timestamp.json%00.json",
        "/poll/" + "a" * 2000,
        "/director/Canary/metadata/timestamp.json",
        "/poll/..",
        "//etc/passwd",
        "/image/targets/gateway//x",
        "/.interlock-0123456789abcdef.partial",
    ],
)
def test_paths_that_lead_elsewhere(bench: Bench, path: str) -> None:
    answer = bench.client.get(path)
    assert (answer.status_code, answer.json["reason"]) == (404, "not_found")


class TestStatements:
    def refused(self, bench: Bench, paper: object, reason: str) -> None:
        before = kept(bench)
        answer = bench.post("/v1/statements", paper)
        assert (answer.status_code, answer.json["reason"]) == (403, reason)
        assert kept(bench) == before

    def revoke(self, bench: Bench, *persons: Person) -> None:
        """Publish a roster of these people alone."""
        bench.publish_roster(wire.encode(roster(*persons, seq=2, issued=NOW)), 2)

    def test_a_proposer_authorises_nothing_of_his_own(self, bench: Bench) -> None:
        paper = order(targets=(V1.target(),))
        bench.say_all(paper)
        own = authorise(paper, "olga", role="operator")
        self.refused(bench, own.envelope, "own_authorisation")

    def test_an_unknown_role(self, bench: Bench) -> None:
        paper = order(targets=(V1.target(),))
        bench.say_all(paper)
        self.refused(bench, authorise(paper, role="king").envelope, "role_not_held")

    def test_somebody_elses_name(self, bench: Bench) -> None:
        paper = order(targets=(V1.target(),), by="omar", key="olga")
        self.refused(bench, paper.envelope, "bad_signature")

    def test_a_revoked_operator(self, bench: Bench) -> None:
        others = tuple(person for person in PEOPLE if person != OLGA)
        self.revoke(bench, *others)
        self.refused(bench, order(targets=(V1.target(),)).envelope, "unknown_author")

    def test_a_grant_that_has_ended(self, bench: Bench) -> None:
        ended = msgspec.structs.replace(OMAR, grants=(grant("operator", expires=NOW),))
        persons = tuple(ended if person == OMAR else person for person in PEOPLE)
        self.revoke(bench, *persons)
        self.refused(bench, order(targets=(V1.target(),), by="omar").envelope, "role_not_held")

    def test_what_was_edited_after_it_was_signed(self, bench: Bench) -> None:
        paper = order(targets=(V1.target(),))
        words = signed(msgspec.structs.replace(paper.said, expires=NOW + days(3000)), "eve")
        forged = msgspec.structs.replace(words.envelope, signatures=paper.envelope.signatures)
        self.refused(bench, forged, "bad_signature")

    def test_another_fleets(self, bench: Bench) -> None:
        paper = order(targets=(V1.target(),), fleet="staging")
        self.refused(bench, paper.envelope, "wrong_fleet")

    def test_the_same_word_a_hundred_times_is_one(self, bench: Bench) -> None:
        """Whoever reads a directive can post what stands in it again: nothing comes of it."""
        paper = order(targets=(V1.target(),))
        halt = stop(paper)
        bench.say_all(paper, authorise(paper), opening(paper), halt)
        before, directive = kept(bench), bench.directive()
        for _ in range(5):
            assert bench.say(halt).status_code == 200
        assert (kept(bench), bench.directive()) == (before, directive)


class TestTokens:
    def test_an_answer_is_nobody_elses(self, bench: Bench) -> None:
        """Omar's challenge, answered by Olga in his name."""
        challenge = bench.post("/v1/challenges", {}).json["challenge"]
        answer = bench.post("/v1/tokens", session(challenge, by="omar").envelope)
        assert answer.status_code == 201
        words = signed(session(challenge, by="omar").said, "olga")
        answer = bench.post("/v1/tokens", words.envelope)
        assert (answer.status_code, answer.json["reason"]) == (403, "bad_signature")

    def test_an_answer_for_another_fleet(self, bench: Bench) -> None:
        challenge = bench.post("/v1/challenges", {}).json["challenge"]
        answer = bench.post("/v1/tokens", session(challenge, fleet="staging").envelope)
        assert (answer.status_code, answer.json["reason"]) == (403, "wrong_fleet")

    def test_a_token_signs_nothing(self, bench: Bench) -> None:
        challenge = bench.post("/v1/challenges", {}).json["challenge"]
        token = bench.post("/v1/tokens", session(challenge).envelope).json["token"]
        paper = order(targets=(V1.target(),), key="eve")
        answer = bench.post(
            "/v1/statements", paper.envelope, headers={"Authorization": f"Bearer {token}"}
        )
        assert (answer.status_code, answer.json["reason"]) == (403, "bad_signature")


@pytest.mark.parametrize("reason", ["disk", "database"])
def test_a_fault_gives_nothing_away(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reason: str,
) -> None:
    """Anybody may ask: where files lie, and what a database says, is for the log."""

    def fail(_: bytes) -> None:
        raise TransientError("Cannot write /srv/secret/place: full.", reason=reason)

    monkeypatch.setattr(bench.services.statements, "post", fail)
    answer = bench.post("/v1/statements", {})
    assert (answer.status_code, answer.json["reason"]) == (503, reason)
    assert "secret" not in answer.text
    assert "/srv/secret/place" in caplog.text
