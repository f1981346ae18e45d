"""What a real server logs over a whole story: lines for machines, and no secret."""

from __future__ import annotations

import json
import logging
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import urllib3

from interlock_core import wire
from interlock_core.api import EnrolmentRequest
from interlock_core.clock import system_clock
from interlock_server.cli.logs import JsonLines
from interlock_server.db.session import Database
from interlock_server.heads import fleet_of
from tests.server.test_webhooks import SECRET as HOOK_SECRET
from tests.server.world import COHORTS, V1, Bench, Fleet, call, start
from tests.support.papers import claim, enrolment, order, session

CLAIM = "a-claim-secret-that-nobody-may-see"


def test_a_line_is_one_object() -> None:
    record = logging.makeLogRecord(
        {"msg": "two\nlines of %s", "args": ("it",), "levelname": "ERROR", "name": "x"}
    )
    said = json.loads(JsonLines().format(record))
    assert (said["message"], said["level"], said["logger"]) == ("two\nlines of it", "error", "x")
    assert said.keys() == {"at", "level", "logger", "process", "message"}
    why = ValueError("why")
    record.exc_info = (ValueError, why, None)
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["trace"]


def test_no_secret_is_logged_in_a_whole_story(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet", system_clock())
    words = [word for cohort in COHORTS for word in ("--cohort", cohort)]
    assert call("init", fleet.ceremony, "--config", fleet.config, *words).code == 0
    bench = Bench(fleet)
    bench.restart()
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    (fleet.home / "hook").write_text(HOOK_SECRET)
    hook = "http://127.0.0.1:9/a-secret-path"
    text = fleet.config.read_text().replace("[server]", '[server]\nlog_format = "json"', 1)
    fleet.config.write_text(
        f'{text}\n[[webhooks]]\nname = "ops"\nurl = "{hook}"\nsecret_file = "hook"\n'
    )
    database: Database = bench.back.database
    with database.reading() as db:
        token_secret = fleet_of(db).token_secret
    database.close()
    now = system_clock()
    process = start("serve", "--config", fleet.config, "--json")
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    secrets = [CLAIM, HOOK_SECRET, hook, "a-secret-path", token_secret.hex()]
    secrets.append((fleet.home / "passphrase").read_text().strip())
    try:
        with urllib3.PoolManager(retries=False, timeout=30) as http:

            def post(path: str, body: object, **headers: str) -> Any:
                sent = {"Content-Type": "application/json", **headers}
                return http.request("POST", url + path, body=wire.encode(body), headers=sent)

            challenge = post("/v1/challenges", {}).json()["challenge"]
            answer = post("/v1/tokens", session(challenge, at=now).envelope)
            token = answer.json()["token"]
            secrets += [challenge, token]
            assert post(
                "/v1/statements", claim(CLAIM, at=now, expires=now + timedelta(days=7)).envelope
            ).status in {200, 201}
            assert post("/v1/statements", order(targets=(V1.target(),)).envelope).status
            asked = enrolment("GW-LOGS", at=now).envelope
            for secret in (CLAIM, f"{CLAIM}-wrong"):
                post("/v1/enrolments", EnrolmentRequest(claim=secret, enrolment=asked))
            post("/v1/enrolments", {"claim": CLAIM, "enrolment": "nothing"})
            post("/v1/tokens", {"challenge": challenge})
            for bearer in (token, f"{token}x", CLAIM):
                headers = {"Authorization": f"Bearer {bearer}"}
                http.request("GET", f"{url}/v1/devices", headers=headers)
            http.request("GET", f"{url}/v1/devices?token={token}")
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    lines = [json.loads(line) for line in errors.splitlines()]
    assert {line["level"] for line in lines} >= {"warning"}
    assert any("enrolment refused" in line["message"] for line in lines)
    assert [secret for secret in secrets if secret in errors] == []
