"""Events reach whoever asked for them: signed, in order, again until they are answered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry

from interlock_core.acts import POSTED
from interlock_core.api import EnrolmentState
from interlock_core.errors import ConfigurationError
from interlock_core.log import Entry, Fact
from interlock_core.report import Enrolment
from interlock_core.rollout import State
from interlock_server.config import Webhook, load_settings
from interlock_server.hook_events import EVENTS, event_of, headers, read_secret, wanted
from interlock_server.web.health import Facts
from interlock_server.webhooks import AT_ONCE, DEAD_AFTER, LEASE, Webhooks
from tests.packaging.tree import TOP
from tests.server.world import NOW, V1, Bench
from tests.support.papers import authorise, claim, enrolment, order, report

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
ORDER = order(targets=(V1.target(),))
FIRST, SECOND = claim("first" * 5), claim("second" * 5)


@dataclass
class Receiver:
    """Somebody who is told, and verifies what he is told as Standard Webhooks says."""

    url: str = ""
    status: int = 200
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def verified(sent: Any, body: bytes) -> bool:
    signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    return hmac.compare_digest(sent["webhook-signature"], f"v1,{expected}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    mine = Receiver()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            mine.paths.append(self.path)
            mine.ids.append(self.headers["webhook-id"])
            if not verified(self.headers, body):
                self.send_response(400)
            else:
                if mine.status == 200:
                    mine.got.append(json.loads(body))
                self.send_response(mine.status)
            if mine.status == 302:
                self.send_header("Location", f"{mine.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        mine.url = f"http://127.0.0.1:{server.server_port}"
        yield mine
        server.shutdown()
        thread.join()


@dataclass
class Hooked:
    """A server with one webhook."""

    bench: Bench
    receiver: Receiver
    hook: Webhook

    def webhooks(self, *, events: tuple[str, ...] = ("*",), name: str = "ops") -> Webhooks:
        made = Webhook(name, self.receiver.url + "/in", self.hook.secret_file, events, None)
        webhooks = Webhooks(self.bench.back.database, [made], self.bench.clock)
        webhooks.open()
        return webhooks


@pytest.fixture
def hooked(bench: Bench, receiver: Receiver, tmp_path: Path) -> Hooked:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    hooked = Hooked(bench, receiver, Webhook("ops", receiver.url, file, ("*",), None))
    # It begins with what comes next.
    assert hooked.webhooks().round() == 0
    return hooked


def types(receiver: Receiver) -> list[str]:
    return [one["type"] for one in receiver.got]


def test_events_come_signed_and_in_order(hooked: Hooked) -> None:
    hooked.bench.say_all(FIRST, ORDER, authorise(ORDER))
    hooks = hooked.webhooks()
    assert hooks.round() > 3
    told = types(hooked.receiver)
    assert [one for one in told if one.startswith("statement.")] == [
        "statement.claim",
        "statement.order",
        "statement.authorisation",
    ]
    # The server moved the rollout, and that is told too.
    assert "rollout.ready" in told
    first = hooked.receiver.got[0]
    assert (first["data"]["id"], first["data"]["fleet"]) == (FIRST.id, "north")
    numbers = [one["data"]["entry"] for one in hooked.receiver.got]
    assert numbers == sorted(numbers)
    assert hooked.receiver.ids == [f"north-{number}" for number in numbers]
    assert hooks.round() == 0


def test_nothing_is_lost_or_passed_over_while_it_fails(hooked: Hooked) -> None:
    bench, receiver = hooked.bench, hooked.receiver
    receiver.status = 503
    # Publishing goes on.
    bench.say_all(FIRST, SECOND)
    hooks = hooked.webhooks()
    assert hooks.round() == 0
    assert len(receiver.ids) == 1
    # Not at once again, nor by another process.
    receiver.status = 200
    assert (hooks.round(), hooked.webhooks().round()) == (0, 0)
    bench.clock.now += timedelta(seconds=5)
    assert hooked.webhooks().round() == 2
    assert [one["data"]["id"] for one in receiver.got] == [FIRST.id, SECOND.id]
    # The one that failed came again under the same id.
    assert receiver.ids[0] == receiver.ids[1]


def test_it_waits_twice_as_long_each_time_and_dies_after_three_days(
    hooked: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    bench, receiver, hooks = hooked.bench, hooked.receiver, hooked.webhooks()
    receiver.status = 500
    bench.say_all(FIRST)
    waits = []
    end = NOW + DEAD_AFTER + timedelta(hours=2)
    last = bench.clock.now
    while bench.clock.now < end:
        before = len(receiver.ids)
        hooks.round()
        if len(receiver.ids) > before:
            waits.append(bench.clock.now - last)
            last = bench.clock.now
        bench.clock.now += timedelta(seconds=5) if len(waits) < 6 else timedelta(minutes=10)
    assert waits[1:6] == [timedelta(seconds=5 * 2**n) for n in range(5)]
    assert max(waits) == timedelta(hours=1)
    assert "webhook ops is dead" in caplog.text
    assert receiver.url not in caplog.text
    # It gets what it missed when it answers.
    receiver.status = 200
    bench.clock.now += timedelta(hours=1)
    assert hooks.round() == 1
    assert types(receiver) == ["statement.claim"]


def test_a_redirect_is_a_failure(hooked: Hooked) -> None:
    hooked.receiver.status = 302
    hooked.bench.say_all(ORDER)
    assert hooked.webhooks().round() == 0
    assert hooked.receiver.paths == ["/in"]


def test_nobody_listens(hooked: Hooked) -> None:
    hooked.bench.say_all(ORDER)
    dead = Webhook("ops", "http://127.0.0.1:9", hooked.hook.secret_file, ("*",), None)
    hooks = Webhooks(hooked.bench.back.database, [dead], hooked.bench.clock)
    hooks.open()
    assert hooks.round() == 0


def test_only_what_was_asked_for_is_told(hooked: Hooked) -> None:
    hooked.bench.say_all(ORDER, claim(), authorise(ORDER))
    hooked.webhooks(events=("statement.a*", "rollout.paused")).round()
    assert types(hooked.receiver) == ["statement.authorisation"]


def test_a_fork_is_told_and_reports_are_not(hooked: Hooked) -> None:
    bench = hooked.bench
    asked = bench.let_in(enrolment())
    bench.tell_all(report(asked))
    bench.tell(report(asked, reason="said elsewhere"))
    hooks = hooked.webhooks()
    while hooks.round():
        pass
    assert types(hooked.receiver)[-1] == "device.quarantined"
    assert "statement.report" not in types(hooked.receiver)
    # Neither devices nor hospitals stand in what is told.
    text = json.dumps(hooked.receiver.got)
    assert not [word for word in ("GW-0001", "ward-7", "secret-of") if word in text]


def test_two_processes_deliver_once(hooked: Hooked) -> None:
    hooked.bench.say_all(FIRST)
    one, other = hooked.webhooks(), hooked.webhooks()
    assert one._take(one.hooks[0]) is not None
    assert other.round() == 0
    # One that was killed in the middle of it is followed when its lease ends.
    hooked.bench.clock.now += LEASE
    assert other.round() == 1
    assert len(hooked.receiver.got) == 1


def test_a_long_log_is_told_in_turns(hooked: Hooked) -> None:
    hooked.bench.say_all(*(claim(f"secret-{n}" * 4) for n in range(AT_ONCE + 3)))
    hooks = hooked.webhooks()
    assert [hooks.round(), hooks.round(), hooks.round()] == [AT_ONCE, 3, 0]


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_!!", "whsec_" + "QUFB", base64.b64encode(KEY).decode()]
)
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_secret(text)
    assert "openssl" in str(caught.value)
    assert not text or text not in str(caught.value).replace("whsec_", "", 1) or text == "whsec_"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' own libraries."""
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = hmac.digest(key, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + body, hashlib.sha256)
    known = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert base64.b64encode(made).decode() == known
    ours = headers("north", 7, NOW, body, key)
    again = hmac.digest(key, f"north-7.{int(NOW.timestamp())}.".encode() + body, hashlib.sha256)
    assert ours["webhook-signature"] == f"v1,{base64.b64encode(again).decode()}"


BAD = {
    'url = "http://hooks.example.org/x"': "plain HTTP",
    'url = "ftp://hooks.example.org/x"': "no server URL",
    'url = "https://a@hooks.example.org/x"': "user name",
    'url = "https://h.example.org/x"\nevent = ["*"]': "event",
}


@pytest.mark.parametrize("lines", sorted(BAD))
def test_settings_that_cannot_be(bench: Bench, lines: str) -> None:
    config = bench.fleet.config
    text = f'\n[[webhooks]]\nname = "ops"\nsecret_file = "s"\n{lines}\n'
    config.write_text(config.read_text() + text)
    with pytest.raises(ConfigurationError, match=BAD[lines]):
        load_settings(config)


def test_an_event_that_is_none_is_an_error(hooked: Hooked) -> None:
    with pytest.raises(ConfigurationError, match=r"rollout\.pausd"):
        hooked.webhooks(events=("rollout.pausd",))
    missing = Webhook("ops", "https://h.example.org", Path("/nowhere/x"), ("*",), None)
    with pytest.raises(ConfigurationError, match="secret of webhook ops"):
        Webhooks(hooked.bench.back.database, [missing], hooked.bench.clock).open()


def test_every_event_is_documented_and_none_else() -> None:
    text = (TOP / "docs" / "webhooks.md").read_text()
    assert dict(re.findall(r"^\| `([a-z_.-]+)` \| (.*) \|$", text, re.MULTILINE)) == dict(EVENTS)


def test_every_fact_that_is_recorded_is_an_event_or_a_report() -> None:
    def of(kind: Any, name: str) -> Any:
        fact = Fact(kind=kind, name=name, id="0" * 64, sha256=None)
        return event_of(Entry(number=1, at=NOW, fact=fact), "north")

    assert of("statement", "report") is None
    assert of("transition", "action/timed_out") is None
    facts = [
        *(("statement", type_.PREDICATE.split(":")[2]) for type_ in (*POSTED, Enrolment)),
        *(("transition", f"rollout/{state}") for state in get_args(State)),
        *(("state", state) for state in get_args(EnrolmentState)),
        ("metadata", "image/root"),
        ("begun", "north"),
    ]
    for kind, name in facts:
        event = of(kind, name)
        assert event.type in EVENTS
        assert wanted(event.type, ("*",))


def test_metrics_say_how_a_webhook_does(hooked: Hooked) -> None:
    bench = hooked.bench
    hooked.receiver.status = 500
    bench.say_all(FIRST)
    hooks = hooked.webhooks()
    hooks.round()
    object.__setattr__(bench.back, "webhooks", hooks)
    registry = CollectorRegistry()
    registry.register(Facts(bench.back))
    of = {"webhook": "ops"}
    assert registry.get_sample_value("interlock_webhook_behind", of) == 1
    since = registry.get_sample_value("interlock_webhook_failing_since_seconds", of)
    assert since == NOW.timestamp()
    assert registry.get_sample_value("interlock_webhook_dead", of) == 0
    bench.clock.now += DEAD_AFTER
    assert registry.get_sample_value("interlock_webhook_dead", of) == 1
