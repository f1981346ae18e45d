"""What is sent to the server itself, by anybody: a named 4xx; nothing stored, nothing told."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from interlock_core import wire
from interlock_core.errors import TransientError
from interlock_core.roster import Person
from tests.attacks.siege import Siege
from tests.server.world import NOW, V1
from tests.support.papers import authorise, days, opening, order, session, signed, stop
from tests.support.people import OMAR, PEOPLE, grant, roster

PATHS = tuple(
    f"/v1/{name}"
    for name in (
        *("statements", "publications", "ceremonies", "challenges", "tokens"),
        *("enrolments", "reports"),
    )
)
"""Where anybody may post JSON."""

BODIES = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "no UTF-8": b"\xff\xfe",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "NaN": b'{"payload": NaN}',
    "infinity": b'{"payload": 1e999}',
    "a fraction": b'{"payload": 1.5}',
    "a huge number": b'{"payload": 123456789012345678901234567890}',
    "one key twice": b'{"payload": "", "payload": "", "payloadType": "", "signatures": []}',
    "half a pair": b'{"payload": "\\ud800", "payloadType": "", "signatures": []}',
    "deep lists": b"[" * 1_000,
    "deep objects": b'{"a":' * 200,
    "unknown fields": b'{"payload": "", "payloadType": "", "signatures": [], "admin": true}',
    "wrong types": b'{"payload": [], "payloadType": {}, "signatures": 5, "metadata": null}',
    "two documents": b"{}{}",
}
MEGABYTE = bytes(1 << 20)


class TestBodies:
    def test_every_door_is_tried(self, siege: Siege) -> None:
        rules = [rule for rule in siege.app.url_map.iter_rules() if "POST" in (rule.methods or ())]
        assert {rule.rule for rule in rules if not rule.arguments} == {*PATHS}

    @pytest.mark.parametrize("what", BODIES)
    def test_that_are_nothing(self, siege: Siege, what: str) -> None:
        siege.refuses_everywhere(PATHS, 400, "malformed", BODIES[what])

    @pytest.mark.parametrize("open_", [b"[", b'{"a":'])
    def test_as_deep_as_can_be_sent(self, siege: Siege, open_: bytes) -> None:
        siege.refuses(400, "malformed", "POST", "/v1/statements", open_ * (65_000 // len(open_)))

    def test_of_100_megabytes(self, siege: Siege) -> None:
        """Announced, and not waited for."""
        length = ("Content-Length", "100000000")
        siege.refuses_everywhere(PATHS, 413, "too_large", MEGABYTE, headers=[length])

    @pytest.mark.parametrize("path", PATHS)
    def test_without_an_end(self, siege: Siege, path: str) -> None:
        """Nothing announced; it is read up to the limit of its kind."""
        before, chunk = siege.kept(), b"%x\r\n%b\r\n" % (len(MEGABYTE), MEGABYTE)
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        siege.is_refusal(siege.send("POST", path, headers, [chunk] * 16), 413, "too_large")
        assert siege.kept() == before

    @pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "multipart/form-data"])
    def test_of_another_kind(self, siege: Siege, kind: str) -> None:
        told = ("Content-Type", kind)
        siege.refuses_everywhere(PATHS, 415, "unsupported_media_type", b"{}", headers=[told])

    @pytest.mark.parametrize("part", ["payload", "signatures", "payloadType"])
    def test_a_genuine_statement_without_a_part(self, siege: Siege, part: str) -> None:
        envelope = json.loads(wire.encode(order(targets=(V1.target(),)).envelope))
        del envelope[part]
        siege.refuses(400, "malformed", "POST", "/v1/statements", envelope)

    def test_a_genuine_statement_and_a_field_more(self, siege: Siege) -> None:
        envelope = json.loads(wire.encode(order(targets=(V1.target(),)).envelope))
        siege.refuses(400, "malformed", "POST", "/v1/statements", envelope | {"trusted": True})

    def test_more_signatures_than_are_looked_at(self, siege: Siege) -> None:
        envelope = json.loads(wire.encode(order(targets=(V1.target(),)).envelope))
        envelope["signatures"] *= 17
        siege.refuses(400, "malformed", "POST", "/v1/statements", envelope)


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "/image/targets/../../passphrase",
            "/image/targets/%2e%2e/%2e%2e/passphrase",
            "/image/targets/..%5c..%5cpassphrase",
            "/image/metadata/..%2f..%2f..%2fserver.sqlite3",
            "/image/metadata/%252e%252e/server.sqlite3",
            "/image/metadata/timestamp.json%00.json",
            "/image/metadata/timestamp.json%0d%0aSet-Cookie:%20x",
            "/image/metadata/%ff%fe.json",
            "/poll/" + "a" * 2000,
            "/director/Canary/metadata/timestamp.json",
            "/poll/..",
            "/poll/%2e%2e%2fserver.sqlite3",
            "//etc/passwd",
            "/image/targets/gateway//x",
            "/.interlock-0123456789abcdef.partial",
            "/v1/publications/../../passphrase",
        ],
    )
    def test_that_lead_elsewhere(self, siege: Siege, path: str) -> None:
        siege.refuses(404, "not_found", "GET", path)

    @pytest.mark.parametrize("id_", ["..", "%2e%2e", "0" * 63, "0" * 65, "A" * 64])
    @pytest.mark.parametrize("rest", ["", "/commit", "/targets/" + "0" * 64, "/targets/%2e%2e"])
    def test_publications_of_such_a_name(self, siege: Siege, id_: str, rest: str) -> None:
        method = {"": "GET", "/commit": "POST"}.get(rest, "PUT")
        siege.refuses(404, "not_found", method, f"/v1/publications/{id_}{rest}", b"{}")

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
    def test_nobody_writes_where_gateways_read(self, siege: Siege, method: str) -> None:
        path = "/image/metadata/timestamp.json"
        siege.refuses(405, "method_not_allowed", method, path, b"{}")


class TestStatements:
    def revoke(self, siege: Siege, *persons: Person) -> None:
        """Publish a roster of these people alone."""
        siege.bench.publish_roster(wire.encode(roster(*persons, seq=2, issued=NOW)), 2)

    def test_a_proposer_authorises_nothing_of_his_own(self, siege: Siege) -> None:
        paper = order(targets=(V1.target(),))
        siege.says(paper)
        siege.refuses_paper("own_authorisation", authorise(paper, "olga", role="operator"))

    @pytest.mark.parametrize("role", ["king", "operator", "monitor", "hospital"])
    def test_a_role_that_is_not_held(self, siege: Siege, role: str) -> None:
        paper = order(targets=(V1.target(),))
        siege.says(paper)
        siege.refuses_paper("role_not_held", authorise(paper, role=role))

    @pytest.mark.parametrize("by", ["ada", "hanna", "mona"])
    def test_an_order_by_nobody_entitled(self, siege: Siege, by: str) -> None:
        siege.refuses_paper("role_not_held", order(targets=(V1.target(),), by=by))

    def test_somebody_elses_name(self, siege: Siege) -> None:
        siege.refuses_paper("bad_signature", order(targets=(V1.target(),), by="omar", key="olga"))

    def test_a_stranger(self, siege: Siege) -> None:
        siege.refuses_paper("unknown_author", order(targets=(V1.target(),), by="eve"))

    def test_a_revoked_operator(self, siege: Siege) -> None:
        self.revoke(siege, *(person for person in PEOPLE if person != OMAR))
        siege.refuses_paper("unknown_author", order(targets=(V1.target(),), by="omar"))

    def test_a_grant_that_has_ended(self, siege: Siege) -> None:
        ended = msgspec.structs.replace(OMAR, grants=(grant("operator", expires=NOW),))
        self.revoke(siege, *(ended if person == OMAR else person for person in PEOPLE))
        siege.refuses_paper("role_not_held", order(targets=(V1.target(),), by="omar"))

    @pytest.mark.parametrize("what", [{"expires": NOW + days(3000)}, {"seq": 7}, {"reason": "x"}])
    def test_what_was_edited_after_it_was_signed(self, siege: Siege, what: dict[str, Any]) -> None:
        paper = order(targets=(V1.target(),))
        words = signed(msgspec.structs.replace(paper.said, **what), "eve").envelope
        forged = msgspec.structs.replace(words, signatures=paper.envelope.signatures)
        siege.refuses(403, "bad_signature", "POST", "/v1/statements", forged)

    def test_another_fleets(self, siege: Siege) -> None:
        siege.refuses_paper("wrong_fleet", order(targets=(V1.target(),), fleet="staging"))

    def test_a_date_in_the_future(self, siege: Siege) -> None:
        later = order(targets=(V1.target(),), at=NOW + days(1))
        siege.refuses_paper("dated_in_future", later)

    def test_another_order_under_the_same_number(self, siege: Siege) -> None:
        siege.says(order(targets=(V1.target(),)))
        twin = order(targets=(V1.target(),), reason="the twin")
        siege.refuses_paper("seq_taken", twin, 409)

    def test_an_image_that_nobody_released(self, siege: Siege) -> None:
        evil = msgspec.structs.replace(V1.target(), sha256="0" * 64)
        siege.refuses_paper("target_mismatch", order(targets=(evil,)))

    def test_a_word_about_what_is_not_on_file(self, siege: Siege) -> None:
        siege.refuses_paper("unknown_subject", authorise(order(targets=(V1.target(),))))

    @pytest.mark.parametrize("by", ["ada", "mona"])
    def test_an_opening_by_nobody_entitled(self, siege: Siege, by: str) -> None:
        paper = order(targets=(V1.target(),))
        siege.says(paper)
        siege.refuses_paper("role_not_held", opening(paper, by=by))

    def test_a_stop_by_nobody_entitled(self, siege: Siege) -> None:
        paper = order(targets=(V1.target(),))
        siege.says(paper)
        siege.refuses_paper("role_not_held", stop(paper, by="ada"))

    def test_the_same_word_a_hundred_times_is_one(self, siege: Siege) -> None:
        """Whoever reads a directive can post what stands in it again: nothing comes of it."""
        paper = order(targets=(V1.target(),))
        halt = stop(paper)
        siege.says(paper, authorise(paper), opening(paper), halt)
        before = siege.kept()
        siege.says(*[halt] * 5)
        assert siege.kept() == before


class TestTokens:
    def refused(self, siege: Siege, reason: str, envelope: object, status: int = 403) -> None:
        siege.refuses(status, reason, "POST", "/v1/tokens", envelope)

    def test_an_answer_is_nobody_elses(self, siege: Siege) -> None:
        """Omar's words, answered by Olga in his name."""
        words = signed(session(siege.challenge(), by="omar").said, "olga")
        self.refused(siege, "bad_signature", words.envelope)

    def test_an_answer_for_another_fleet(self, siege: Siege) -> None:
        words = session(siege.challenge(), fleet="staging")
        self.refused(siege, "wrong_fleet", words.envelope)

    def test_an_answer_a_second_time(self, siege: Siege) -> None:
        words = session(siege.challenge())
        assert siege.ask("POST", "/v1/tokens", words.envelope).status == 201
        self.refused(siege, "bad_challenge", words.envelope)

    def test_a_challenge_of_his_own(self, siege: Siege) -> None:
        self.refused(siege, "bad_challenge", session("0" * 64).envelope)

    @pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Basic b2xnYTo=", "Bearer " * 99])
    def test_no_token_at_all(self, siege: Siege, token: str) -> None:
        told = [("Authorization", token)]
        siege.refuses(401, "bad_token", "GET", "/v1/rollouts", headers=told)

    def test_a_token_signs_nothing(self, siege: Siege) -> None:
        words = session(siege.challenge()).envelope
        token = siege.ask("POST", "/v1/tokens", words).said["token"]
        told = [("Authorization", f"Bearer {token}")]
        forged = order(targets=(V1.target(),), key="eve").envelope
        siege.refuses(403, "bad_signature", "POST", "/v1/statements", forged, headers=told)


@pytest.mark.parametrize("reason", ["disk", "database"])
def test_a_fault_gives_nothing_away(
    siege: Siege, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Anybody may ask: where files lie, and what a database says, is for the log."""

    def fail(_: bytes) -> None:
        raise TransientError("Cannot write /srv/secret/place: full.", reason=reason)

    with monkeypatch.context() as patched:
        patched.setattr(siege.bench.services.statements, "post", fail)
        reply = siege.ask("POST", "/v1/statements", {})
    siege.is_refusal(reply, 503, reason)
    assert b"secret" not in reply.data
    assert "/srv/secret/place" in siege.log.text
