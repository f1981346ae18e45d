"""Devices are judged here: a server that lies about one is found out, and drops none of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from interlock_core.api import Device
from interlock_core.errors import WireError
from interlock_core.order import Order, Target
from interlock_core.report import (
    Attempt,
    CheckResult,
    Decided,
    Enrolment,
    InterlockState,
    Report,
    Trouble,
)
from interlock_core.statement import Opened, open_as
from tests.ops.world import IMAGE, PATH, SHA256, Place
from tests.support import papers
from tests.support.papers import authorise, enrolment, hours, report, started
from tests.support.people import CANARY, DAY0, ST_ANNA

WANTED = Target(path=PATH, length=len(IMAGE), sha256=SHA256)
NOT_CLEAR = InterlockState(
    mode="checks",
    clear=False,
    checks=(CheckResult(name="bedside", passed=False), CheckResult(name="pump", passed=True)),
)


def order(**fields: Any) -> Opened[Order]:
    return papers.order(targets=(WANTED,), **fields)


def let_in(place: Place, device: str = "GW-0001", **fields: Any) -> Opened[Enrolment]:
    paper = place.server.fleet.add(enrolment(device, **fields))
    place.server.post(authorise(paper, "omar", role="operator"))
    return paper


def says(place: Place, paper: Opened[Enrolment], **fields: Any) -> Opened[Report]:
    said = report(paper, **fields)
    place.server.fleet.reports[paper.id] = said
    return said


def deferred(of: Opened[Order], since: timedelta = timedelta(0)) -> Attempt:
    return Attempt(
        order=of.id,
        target=SHA256,
        outcome="deferred",
        reason="interlock_not_clear",
        deferred_since=DAY0 + since,
    )


def show(place: Place, device: str = "GW-0001", code: int = 0) -> dict[str, Any]:
    return place.json("device", "show", device, code=code)


def devices(place: Place, *words: str) -> dict[str, Any]:
    return {one["device"]: one for one in place.json("device", "list", *words)["devices"]}


def lie(place: Place, device: str, change: Callable[[Device], Device]) -> None:
    """Have the server change what it shows of one device."""

    def alter(told: Device) -> Device:
        try:
            mine = open_as(told.enrolment, Enrolment).said.device == device
        except WireError:
            mine = False
        return change(told) if mine else told

    place.server.fleet.alter = alter


# What it does, and why


def test_the_permit_of_an_attempt(place: Place) -> None:
    paper, wanted = let_in(place), order()
    place.server.post(wanted, *started(wanted))
    says(place, paper, attempt=deferred(wanted), at=DAY0 + hours(1))
    assert show(place)["report"]["attempt"] == {
        "order": wanted.id,
        "target": SHA256,
        "outcome": "deferred",
        "reason": "interlock_not_clear",
        "permit": None,
    }
    assert "permit" not in place.run("device", "show", "GW-0001").stdout
    by_permit = msgspec.structs.replace(deferred(wanted), permit="ab" * 32)
    says(place, paper, attempt=by_permit, at=DAY0 + hours(1))
    assert show(place)["report"]["attempt"]["permit"] == "ab" * 32
    shown = place.run("device", "show", "GW-0001").stdout
    assert f"permit {'ab' * 32}, under order {wanted.id} (deferred)" in " ".join(shown.split())


def test_a_device_that_defers(place: Place) -> None:
    paper, wanted = let_in(place), order()
    place.server.post(wanted, *started(wanted))
    said = says(place, paper, attempt=deferred(wanted), interlock=NOT_CLEAR, at=DAY0 + hours(1))
    place.clock.now += hours(2)
    found = show(place)
    assert found["reason"] == "shown"
    assert found["state"] == "countersigned"
    assert found["countersigned"]["by"] == "omar"
    assert found["order"] == {"id": wanted.id, "seq": 1, "kind": "update"}
    assert found["why"] == {
        "outcome": "deferred",
        "reason": "interlock_not_clear",
        "detail": "interlock not clear",
        "since": "2027-03-01T08:00:00Z",
        "age_seconds": 7200,
        "failing": ["bedside"],
    }
    assert (found["report"]["id"], found["report"]["age_seconds"]) == (said.id, 3600)
    assert found["report"]["interlock"] == {
        "mode": "checks",
        "clear": False,
        "checks": {"bedside": False, "pump": True},
    }
    assert found["running"]["version"] == "1.0.0"
    shown = place.run("device", "show", "GW-0001").stdout
    for text in (
        "deferred since 2h: interlock_not_clear (bedside)",
        "omar as operator",
        paper.id,
        paper.said.key.keyid,
        "bedside FAILED",
        "1h ago",
        wanted.id,
    ):
        assert text in shown
    line = place.run("device", "list").stdout.splitlines()[1]
    assert "since 2h: interlock_not_clear (bedside)" in line


def test_each_reason(place: Place) -> None:
    wanted = order()
    place.server.post(wanted, *started(wanted))
    confirmed = let_in(place, "GW-0001")
    says(place, confirmed, about=wanted)
    runs = let_in(place, "GW-0002")
    says(place, runs, running=report(confirmed, about=wanted).said.running)
    silent = let_in(place, "GW-0003")
    unseen = let_in(place, "GW-0004")
    says(place, unseen)
    held = let_in(place, "GW-0005")
    decided = Decided(at=DAY0, order=wanted.id, reason="local_hold", detail="works on ward 7")
    says(place, held, decided=decided)
    stale = let_in(place, "GW-0006")
    says(place, stale, trouble=Trouble(reason="roster_stale", since=DAY0))
    back = let_in(place, "GW-0007")
    attempt = msgspec.structs.replace(
        deferred(wanted), outcome="rolled_back", reason="unhealthy", deferred_since=None
    )
    says(place, back, attempt=attempt)
    place.server.fleet.add(enrolment("GW-0008"))
    forked = let_in(place, "GW-0009")
    says(place, forked, about=wanted)
    place.server.fleet.quarantined["GW-0009"] = "report 7 came twice"
    idle = let_in(place, "GW-0010", cohort="st-bert", product="pump")
    says(place, idle)
    assert silent.said.device == "GW-0003"
    found = {
        id_: (one["why"]["outcome"], one["why"]["reason"]) for id_, one in devices(place).items()
    }
    assert found == {
        "GW-0001": ("confirmed", "confirmed"),
        "GW-0002": ("already_installed", "already_installed"),
        "GW-0003": ("scheduled", "no_report"),
        "GW-0004": ("scheduled", "not_seen"),
        "GW-0005": ("scheduled", "local_hold"),
        "GW-0006": ("rejected", "roster_stale"),
        "GW-0007": ("rolled_back", "unhealthy"),
        "GW-0008": ("waiting", "not_countersigned"),
        "GW-0009": ("quarantined", "quarantined"),
        "GW-0010": ("idle", "nothing_wanted"),
    }
    assert list(devices(place, "--reason", "local_hold")) == ["GW-0005"]
    assert list(devices(place, "--state", "waiting")) == ["GW-0008"]
    assert list(devices(place, "--state", "quarantined")) == ["GW-0009"]
    assert list(devices(place, "--cohort", "st-bert")) == ["GW-0010"]
    assert devices(place, "--site", "ward-9") == {}
    result = place.run("device", "list")
    assert result.stderr == ""
    for text in ("works on ward 7", "report 7 came twice", "since 0s: roster_stale"):
        assert text in result.stdout


def test_the_cohort_is_that_of_the_newest_report(place: Place) -> None:
    paper = let_in(place, cohort=ST_ANNA)
    says(place, paper, cohort=CANARY)
    found = show(place)
    assert (found["cohort"], found["enrolment"]["cohort"]) == (CANARY, ST_ANNA)
    assert list(devices(place, "--cohort", CANARY)) == ["GW-0001"]


def test_security_counters_are_shown(place: Place) -> None:
    let_in(place)
    place.server.fleet.refused["GW-0001"] = {"bad_signature": 3}
    assert show(place)["told"]["refused"] == {"bad_signature": 3}
    assert "bad_signature 3" in place.run("device", "show", "GW-0001").stdout


def test_many_pages_are_read_once_each(place: Place) -> None:
    for n in range(7):
        let_in(place, f"GW-{n:04}")
    assert len(devices(place)) == 7
    asked = [one for one in place.server.asked if "/v1/devices" in one]
    assert len(asked) == 4


def test_no_devices(place: Place) -> None:
    assert "no such devices" in place.run("device", "list").stdout


def test_text_of_a_device_cannot_move_the_cursor(place: Place) -> None:
    paper = let_in(place)
    decided = Decided(at=DAY0, order=None, reason="held", detail="\x1b[2Jgone")
    says(place, paper, decided=decided)
    assert "\\u{1b}[2Jgone" in place.run("device", "show", "GW-0001").stdout


# A server that lies


def test_a_report_by_another_key_is_not_believed(place: Place) -> None:
    paper, wanted = let_in(place), order()
    place.server.post(wanted, *started(wanted))
    says(place, paper, about=wanted, key="mallory")
    found = show(place)
    assert found["reason"] == "server_differs"
    assert found["report"] is None
    assert found["running"] is None
    assert (found["why"]["outcome"], found["why"]["reason"]) == ("scheduled", "forged_report")
    result = place.run("device", "list")
    assert result.exit_code == 0
    assert "GW-0001 (its report is not its own" in result.stderr
    assert "GW-0001" in result.stdout


def test_an_edited_report_is_not_believed(place: Place) -> None:
    paper, wanted = let_in(place), order()
    place.server.post(wanted, *started(wanted))
    true, other = says(place, paper), report(paper, about=wanted, reason="edited")
    edited = msgspec.structs.replace(other.envelope, signatures=true.envelope.signatures)
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, report=edited))
    assert show(place)["why"]["reason"] == "forged_report"


def test_a_report_of_another_enrolment_is_not_believed(place: Place) -> None:
    let_in(place)
    before = enrolment("GW-0001", reason="an older one")
    old = report(before)
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, report=old.envelope))
    found = show(place)
    assert before.id[:12] in found["faults"][0]["detail"]


def test_a_report_that_cannot_be_read_is_said(place: Place) -> None:
    paper = let_in(place)
    bad = msgspec.structs.replace(report(paper).envelope, payload="e30=")
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, report=bad))
    assert show(place)["why"]["reason"] == "unreadable_report"


@pytest.mark.parametrize("how", ["key", "fleet", "payload"])
def test_a_forged_enrolment_is_listed_and_not_shown(place: Place, how: str) -> None:
    paper = let_in(place)
    let_in(place, "GW-0002")
    if how == "key":
        other = enrolment("GW-0001", reason="x", key="mallory").envelope
        bad = msgspec.structs.replace(paper.envelope, signatures=other.signatures)
    elif how == "fleet":
        bad = enrolment("GW-0001", fleet="south").envelope
    else:
        bad = msgspec.structs.replace(paper.envelope, payload="e30=")
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, enrolment=bad))
    refused = show(place, code=20)
    assert refused["reason"] in {"forged_enrolment", "wrong_fleet", "malformed"}
    answer = place.json("device", "list")
    assert answer["reason"] == "server_differs"
    states = sorted(one["state"] for one in answer["devices"])
    assert states == ["countersigned", "forged"]
    [bad_one] = [one for one in answer["devices"] if one["state"] == "forged"]
    assert bad_one["why"]["outcome"] == "forged"
    assert bad_one["running"] is None
    assert len(devices(place, "--state", "forged")) == 1


def test_a_server_that_calls_a_stranger_countersigned(place: Place) -> None:
    place.server.fleet.add(enrolment("GW-0001"))
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, state="countersigned"))
    found = show(place)
    assert (found["reason"], found["state"]) == ("server_differs", "waiting")
    assert "nobody entitled signed it" in found["differences"][0]
    assert "nobody entitled signed it" in place.run("device", "list").stderr


def test_a_server_that_answers_with_another_device(place: Place) -> None:
    let_in(place)
    other = let_in(place, "GW-0002")
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, enrolment=other.envelope))
    assert show(place, code=20)["reason"] == "wrong_device"


def test_an_unknown_device(place: Place) -> None:
    assert show(place, "GW-0404", code=2)["reason"] == "not_found"


def test_a_foreign_assignment_is_said(place: Place) -> None:
    let_in(place)
    stray = papers.assignment("ab" * 32, device="GW-0001")
    lie(place, "GW-0001", lambda told: msgspec.structs.replace(told, assignments=(stray.envelope,)))
    found = show(place)
    assert found["faults"][0]["reason"] == "foreign_assignment"
    assert found["assignments"] == []


def test_an_order_that_nobody_signed_is_not_in_force(place: Place) -> None:
    paper = let_in(place)
    says(place, paper)
    fake = order(key="mallory")
    place.server.post(fake, authorise(fake))
    place.server.summaries = lambda item: msgspec.structs.replace(item, in_force=True)
    assert show(place)["order"] is None
