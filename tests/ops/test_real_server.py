"""The operators' commands against the real server: from a claim to a device that was moved."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import make_server

from interlock_core import wire
from interlock_core.clock import system_clock
from interlock_core.order import Order
from interlock_core.report import Attempt, CheckResult, Enrolment, InterlockState, Report, Running
from interlock_core.statement import Opened
from interlock_ops.settings import CONFIG_VARIABLE
from interlock_server.app import create_app
from interlock_server.wiring import services
from tests.ops.world import OPS_ROSTER, PASSPHRASE, Place, StandIn, Ticking, write_key
from tests.server.world import V1, V2, Bench, Fleet
from tests.support import papers
from tests.support.papers import authorise, enrolment, report
from tests.support.people import CANARY, ELLEN, PEOPLE, ST_BERT, roster


class Real:
    """A real server in this process, over real HTTP, and an operator's workstation."""

    def __init__(self, home: Path) -> None:
        self.now: datetime = system_clock()
        self.fleet = Fleet(home / "fleet", self.now)
        self.bench = Bench(self.fleet)
        self.bench.found()
        self.bench.delegate()
        issued = self.now - timedelta(days=1)
        data = wire.encode(roster(*PEOPLE, ELLEN, rules=OPS_ROSTER.rules, issued=issued))
        self.bench.publish_roster(data)
        self.bench.release(1, V1)
        self._serve(home)

    def copy(self, home: Path) -> Real:
        """The same elsewhere, once this one is closed."""
        copied = copy(self)
        copied.fleet = self.fleet.copy(home / "fleet")
        copied.bench = Bench(copied.fleet)
        copied.bench.clock.now = self.now
        copied.bench.services = services(copied.bench.back)
        copied._serve(home)
        return copied

    def _serve(self, home: Path) -> None:
        self._server = make_server("127.0.0.1", 0, create_app(self.bench.services), threaded=True)
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        work = home / "work"
        work.mkdir()
        (work / "1.root.json").write_bytes(
            (self.fleet.ceremony / "image" / "1.root.json").read_bytes()
        )
        (work / "passphrase").write_text(PASSPHRASE + "\n")
        (work / "passphrase").chmod(0o600)
        for name in ("olga", "omar", "ada", "ellen"):
            write_key(work, name)
        clock = Ticking(self.now)
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.place = Place(work, clock, StandIn(OPS_ROSTER, clock, work), url)
        self.secrets = home / "secrets"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.bench.back.database.close()

    def later(self, hours: int = 1) -> None:
        """Time goes by, for people and the server alike."""
        self.now += timedelta(hours=hours)
        self.place.clock.now = self.now
        self.bench.clock.now = self.now

    def ask(self, device: str, **fields: Any) -> Opened[Enrolment]:
        """A device shows the secret that it was handed."""
        asked = enrolment(device, at=self.now, **fields)
        secret = (self.secrets / f"{device}.secret").read_text().strip()
        answer = self.bench.enrol(asked, secret)
        assert answer.status_code == 201, answer.text
        return asked

    def tell(
        self, of: Opened[Enrolment], after: Opened[Report] | None = None, **fields: Any
    ) -> Opened[Report]:
        """A device reports."""
        said = report(of, after, at=self.now, **fields)
        self.bench.tell_all(said)
        return said


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Real]:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    made = Real(tmp_path)
    yield made
    made.close()


def claimed(real: Real, *devices: str) -> None:
    named = [word for device in devices for word in ("--device", device)]
    where = ("--product", "gateway", "--site", "ward-7", "--cohort", CANARY)
    real.place.device("claim", *where, *named, "--secret-dir", real.secrets)


def started(real: Real) -> Opened[Order]:
    made = papers.order(
        targets=(V1.target(),),
        at=real.now,
        not_before=real.now,
        expires=real.now + timedelta(days=30),
    )
    real.bench.say_all(made, *papers.started(made))
    return made


def test_from_the_claim_to_the_reasons(real: Real) -> None:
    place = real.place
    claimed(real, "GW-0001", "GW-0002", "GW-0003")
    assert {one["state"] for one in place.json("device", "claims")["claims"]} == {"open"}
    first, second = real.ask("GW-0001"), real.ask("GW-0002")
    states = {one["device"]: one["state"] for one in place.json("device", "claims")["claims"]}
    assert states == {"GW-0001": "used", "GW-0002": "used", "GW-0003": "open"}
    waiting = place.json("device", "list", "--state", "waiting")["devices"]
    assert [one["device"] for one in waiting] == ["GW-0001", "GW-0002"]

    answer = place.device("countersign", "--waiting", "--role", "engineer", by="ellen")
    assert [one["enrolment"] for one in answer["devices"]] == [first.id, second.id]
    assert all(one["claim"] for one in answer["devices"])
    assert answer["skipped"] == []

    wanted = started(real)
    real.tell(first, about=wanted)
    blocked = InterlockState(
        mode="checks", clear=False, checks=(CheckResult(name="bedside", passed=False),)
    )
    attempt = Attempt(
        order=wanted.id,
        target=V1.target().sha256,
        outcome="deferred",
        reason="interlock_not_clear",
        deferred_since=real.now,
    )
    real.tell(second, attempt=attempt, interlock=blocked)
    real.later()
    status = place.json("rollout", "status", wanted.id)
    assert status["reason"] == "status"
    found = status["cohorts"][CANARY]["devices"]
    assert (found["total"], found["done"]) == (2, 1)
    assert found["by_reason"] == {"interlock_not_clear": 1}
    assert found["not_done"][0]["age_seconds"] == 3600
    shown = place.run("rollout", "status", wanted.id).stdout
    assert "deferred     1 interlock_not_clear: GW-0002 since 1h (bedside)" in shown

    one = place.json("device", "show", "GW-0001")
    assert (one["reason"], one["why"]["outcome"]) == ("shown", "confirmed")
    assert one["countersigned"]["by"] == "ellen"
    assert one["order"]["id"] == wanted.id
    cohorts = {one["name"]: one for one in place.json("cohort", "list")["cohorts"]}
    assert cohorts[CANARY]["countersigned"] == 2
    site = place.json("site", "show", "ward-7")
    assert {one["device"] for one in site["devices"]} == {"GW-0001", "GW-0002"}
    cohort = place.json("cohort", "show", CANARY, by="ellen")
    assert cohort["products"]["gateway"]["status"]["state"] == "running"
    assert place.json("site", "list")["sites"][0]["countersigned"] == 2


def test_moved_and_enrolled_anew(real: Real) -> None:
    place = real.place
    claimed(real, "GW-0001")
    asked = real.ask("GW-0001")
    key = asked.said.key.keyid
    place.device("countersign", "GW-0001", "--role", "operator", "--fingerprint", key)
    said = real.tell(asked)
    real.later()
    moved = place.device("assign", "GW-0001", "--to", ST_BERT)
    place.device("authorise", moved["id"], "--role", "approver", by="ada")
    [move] = place.json("device", "show", "GW-0001")["assignments"]
    assert (move["lacking"], move["done"]) == ([], False)
    real.later()
    real.tell(asked, said, cohort=ST_BERT)
    found = place.json("device", "list", "--cohort", ST_BERT)["devices"]
    assert [one["device"] for one in found] == ["GW-0001"]
    assert found[0]["assignments"][0]["done"] is True

    (real.secrets / "GW-0001.secret").unlink()
    claimed(real, "GW-0001")
    again = real.ask("GW-0001", key="a-new-key")
    result = place.device("countersign", "GW-0001", "--role", "operator")
    assert result["devices"][0]["enrolment"] == again.id
    assert result["devices"][0]["replaces"] == asked.id
    assert place.json("device", "show", "GW-0001")["enrolment"]["id"] == again.id


def test_an_engineer_stops_at_his_site(real: Real) -> None:
    claimed(real, "GW-0001")
    asked = real.ask("GW-0001")
    real.bench.say_all(authorise(asked, "omar", role="operator"))
    wanted = started(real)
    words = ("rollout", "pause", wanted.id, "--cohort", CANARY, "--site", "ward-7")
    result = real.place.run(*words, "--reason", "power works", "--yes", by="ellen")
    assert (result.exit_code, result.stderr) == (0, "")
    [stop] = real.place.json("site", "show", "ward-7")["stops"]
    assert (stop["author"], stop["counts"]) == ("ellen", True)


def test_a_release_comes_back(real: Real) -> None:
    """Recalled by one command, led back by signed orders, and closed by what gateways signed."""
    place, bench = real.place, real.bench
    bench.release(2, V1, V2)
    claimed(real, "GW-0001", "GW-0002")
    devices = [real.ask(name) for name in ("GW-0001", "GW-0002")]
    place.device("countersign", "--waiting", "--role", "engineer", by="ellen")
    bad = papers.order(
        targets=(V2.target(),),
        at=real.now,
        not_before=real.now,
        expires=real.now + timedelta(days=30),
    )
    bench.say_all(bad, *papers.started(bad))
    said = [real.tell(one, about=bad) for one in devices]
    bench.back.engine.round()
    real.later()

    answer = place.act("recall", "gateway/2.0.0", "--first", CANARY)
    id_ = answer["id"]
    assert answer["version"] == "1.0.0"
    assert {one["device"] for one in answer["affected"]["gateways"]} == {"GW-0001", "GW-0002"}
    assert place.json("explain", "GW-0001")["because"]["reason"] == "confirmed"
    bench.back.engine.round()
    watched = place.json("rollout", "watch", bad.id, "--for", "1m", code=20)
    assert watched["reason"] in {"paused", "stopped"}

    place.act("authorise", id_, "--role", "approver", by="ada")
    opened = place.act("start", id_)
    place.act("authorise", "--go", opened["id"], "--role", "approver", by="ada")
    bench.back.engine.round()
    open_ = place.json("rollout", "recall", "status", id_, code=10)
    assert (open_["reason"], open_["open_by"]) == ("recall_open", {"runs": 2})
    real.later()
    attempt = Attempt(
        order=id_,
        target=V1.target().sha256,
        outcome="confirmed",
        reason=None,
        deferred_since=None,
    )
    running = Running(slot="b", sha256=V1.target().sha256, version="1.0.0")
    real.tell(devices[0], said[0], attempt=attempt, running=running)
    place.act("recall", "record", id_, "GW-0002", "--as", "returned", by="ellen")
    closed = place.json("rollout", "recall", "status", id_)
    assert closed["counts"] == {"returned": 1, "updated": 1}
