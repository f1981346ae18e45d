"""A gateway beside the real server's application: who may hold it, let it on, and end its key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import pytest

from interlock_client import agent, check, confirm, enrol, reporting, rotation
from interlock_client.outcome import Outcome
from interlock_core import wire
from interlock_core.api import Device
from interlock_core.errors import Exit, RefusedError
from interlock_core.order import Authorisation
from interlock_core.roster import Grant
from interlock_core.statement import Opened
from interlock_server.app import create_app
from tests.client.test_real_server import Gateway, Quiet
from tests.server.world import NOW, V1, V2, Bench, Fleet
from tests.support.papers import (
    DEVICE,
    SECRET,
    authorise,
    claim,
    countersign,
    days,
    hold,
    opening,
    order,
    release,
    revocation,
    signed,
    stage,
    started,
)
from tests.support.people import CANARY, ELLEN, FAR, FLEET, PEOPLE, person, rules

CONSENT = {"approver": 1, "engineer": 1}
EMMA = person("emma", Grant(role="engineer", cohorts=(CANARY,), expires=FAR))
"""An engineer over a whole cohort: her consent counts for orders, Ellen's for her site alone."""


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with two releases; each test works on a copy."""
    fleet = Fleet(tmp_path_factory.mktemp("founded"), NOW)
    made = Bench(fleet)
    made.found()
    made.delegate()
    made.publish_roster(wire.encode(fleet.roster(*PEOPLE, ELLEN, EMMA)))
    made.release(1, V1)
    made.release(2, V1, V2)
    made.back.database.close()
    return fleet


@pytest.fixture
def bench(founded: Fleet, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(founded.copy(tmp_path / "server"))
    made.restart()
    yield made
    made.back.database.close()


@pytest.fixture
def gateway(bench: Bench, tmp_path: Path) -> Iterator[Gateway]:
    with make_server("127.0.0.1", 0, create_app(bench.services), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Gateway(tmp_path / "gateway", bench, url)
        server.shutdown()
        thread.join()


def wanted(bench: Bench, **fields: Any) -> Opened[Any]:
    now = bench.clock()
    made: dict[str, Any] = {
        "at": now,
        "not_before": now,
        "expires": now + days(30),
        "stages": (stage(CANARY),),
    }
    return order(**made | fields)


def enrolled(gateway: Gateway, bench: Bench) -> None:
    now = bench.clock()
    bench.say_all(claim(SECRET, at=now, expires=now + days(7)))
    with closing(gateway.context()) as made:
        assert enrol.enrol(made, lambda: SECRET).reason == "waiting"
    bench.say_all(countersign(gateway.enrolment(), at=now))


def update(gateway: Gateway) -> Outcome:
    with closing(gateway.context()) as made:
        return agent.update(made)


def asked(gateway: Gateway) -> str:
    with closing(gateway.context()) as made:
        return check.check(made).reason


def installs(gateway: Gateway, version: str) -> None:
    outcome = update(gateway)
    assert outcome.outcome == "rebooting", outcome
    gateway.power_on()
    with closing(gateway.context()) as made:
        assert confirm.confirm(made).outcome == "confirmed"
        assert outcome.more["target"] == f"gateway/{version}/image.img"


def state(bench: Bench) -> str:
    return bench.read(f"/v1/devices/{DEVICE}", Device).state


def test_a_hold_a_new_key_and_its_end(gateway: Gateway, bench: Bench) -> None:
    enrolled(gateway, bench)
    of = wanted(bench, targets=(V1.target(),))
    said = hold(at=bench.clock())
    bench.say_all(of, *started(of), said)

    outcome = update(gateway)
    assert (outcome.reason, outcome.exit_code) == ("site_hold", Exit.DEFERRED)
    assert "ellen" in outcome.detail
    with closing(gateway.context()) as made:
        assert reporting.report(made).reason == "acknowledged"
    device = bench.read(f"/v1/devices/{DEVICE}", Device)
    assert device.report is not None
    bench.say_all(release(said, at=bench.clock()))
    installs(gateway, "1.0.0")

    old = gateway.enrolment()
    with closing(gateway.context()) as made:
        assert rotation.rotate(made).reason == "waiting"
        assert reporting.report(made).exit_code is Exit.DONE
    assert gateway.enrolment().id == old.id
    waiting = bench.client.get("/v1/devices?state=waiting", headers=bench.token()).json["items"]
    assert len(waiting) == 1
    with closing(gateway.context()) as made:
        asks = rotation.rotate(made).more["enrolment"]
    bench.say_all(_let_in(bench, asks))
    with closing(gateway.context()) as made:
        assert reporting.report(made).exit_code is Exit.DONE
    assert gateway.enrolment().id == asks
    assert state(bench) == "countersigned"

    bench.say_all(revocation(gateway.enrolment(), at=bench.clock()))
    bench.clock.now += days(2)
    bench.back.publisher.refresh()
    with closing(gateway.context()) as made, pytest.raises(RefusedError) as over:
        reporting.report(made)
    assert over.value.reason == "revoked"
    assert state(bench) == "revoked"
    assert asked(gateway) == "already_installed", "nothing is bricked"


def _let_in(bench: Bench, enrolment: str) -> Opened[Any]:
    """The countersignature of an enrolment of which the id alone is at hand."""
    return signed(
        Authorisation(
            fleet=FLEET,
            author="olga",
            at=bench.clock(),
            reason="the new key was compared",
            authorises="enrolment",
            id=enrolment,
            role="operator",
            meaning="approved",
        )
    )


def test_a_baseline_is_taken_where_nothing_else_is_in_force(gateway: Gateway, bench: Bench) -> None:
    base = wanted(bench, kind="baseline", targets=(V1.target(),), expires=bench.clock() + days(300))
    bench.say_all(base, *started(base))
    installs(gateway, "1.0.0")
    newer = wanted(bench, seq=2, targets=(V2.target(),), expires=bench.clock() + days(3))
    bench.say_all(newer, *started(newer))
    later = wanted(
        bench, kind="baseline", seq=3, targets=(V2.target(),), expires=bench.clock() + days(300)
    )
    bench.say_all(later, *started(later))
    # The update stands, whatever number the baseline has.
    entry = bench.directive().products["gateway"]
    assert entry.order == newer.envelope
    installs(gateway, "2.0.0")
    bench.clock.now += days(4)
    bench.back.publisher.refresh()
    assert bench.directive().products["gateway"].order == later.envelope
    assert asked(gateway) == "already_installed"


def test_a_baseline_goes_down_nowhere(gateway: Gateway, bench: Bench) -> None:
    first = wanted(bench, targets=(V2.target(),), expires=bench.clock() + days(3))
    bench.say_all(first, *started(first))
    installs(gateway, "2.0.0")
    bench.clock.now += days(4)
    base = wanted(bench, kind="baseline", seq=2, targets=(V1.target(),))
    bench.say_all(base, *started(base))
    with closing(gateway.context()) as made:
        outcome = check.check(made)
    assert (outcome.reason, outcome.exit_code) == ("below_floor", Exit.REFUSED)


def test_an_engineer_consents_for_a_cohort_and_not_for_more_than_her_site(
    gateway: Gateway, bench: Bench
) -> None:
    asking = (rules(), rules(CANARY, start=CONSENT))
    text = wire.encode(bench.fleet.roster(*PEOPLE, ELLEN, EMMA, rules=asking, seq=2))
    bench.publish_roster(text, 2)
    of = wanted(bench, targets=(V1.target(),))
    go = opening(of)
    bench.say_all(of, authorise(of), go, authorise(go))
    assert asked(gateway) == "nothing_wanted"
    local = authorise(of, "ellen", role="engineer", meaning="consented")
    answer = bench.say(local)
    assert (answer.status_code, answer.json["reason"]) == (403, "role_not_held")
    for subject in (of, go):
        bench.say_all(authorise(subject, "emma", role="engineer", meaning="consented"))
    installs(gateway, "1.0.0")


@pytest.mark.parametrize(
    "changes",
    [
        {"persons": [one for one in PEOPLE if one.name != "ada"]},
        {"min_order_seq": {"gateway": 2}},
    ],
    ids=["who authorised it left", "the roster ended it"],
)
def test_an_order_in_flight_is_void(
    gateway: Gateway, bench: Bench, changes: dict[str, Any]
) -> None:
    of = wanted(bench, targets=(V1.target(),))
    bench.say_all(of, *started(of))
    with closing(gateway.context()) as context:
        assert check.check(context).outcome == "update_available"
    made: dict[str, Any] = {"persons": PEOPLE} | changes
    persons = made.pop("persons")
    bench.publish_roster(wire.encode(bench.fleet.roster(*persons, seq=2, **made)), 2)
    assert update(gateway).outcome != "rebooting"
    assert asked(gateway) == "nothing_wanted"
