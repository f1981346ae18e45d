"""A status says why: which devices are not done, what would have to happen next, and by whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from interlock_core.api import Device
from interlock_core.order import Order, Stop, Target
from interlock_core.report import Attempt, CheckResult, Enrolment, InterlockState
from interlock_core.statement import Opened
from tests.ops.world import IMAGE, PATH, SHA256, Place, problem
from tests.support import papers
from tests.support.papers import (
    authorise,
    consent,
    days,
    enrolment,
    hours,
    opening,
    report,
    resume,
    stage,
    started,
    stop,
)
from tests.support.people import CANARY, DAY0, ST_ANNA, ST_BERT

WANTED = Target(path=PATH, length=len(IMAGE), sha256=SHA256)
NOT_CLEAR = InterlockState(
    mode="checks", clear=False, checks=(CheckResult(name="bedside", passed=False),)
)


def order(**fields: Any) -> Opened[Order]:
    return papers.order(targets=(WANTED,), **fields)


def let_in(place: Place, device: str, **fields: Any) -> Opened[Enrolment]:
    paper = place.server.fleet.add(enrolment(device, **fields))
    place.server.post(authorise(paper, "omar", role="operator"))
    return paper


def says(place: Place, paper: Opened[Enrolment], **fields: Any) -> None:
    place.server.fleet.reports[paper.id] = report(paper, **fields)


def attempt(of: Opened[Order], outcome: Any, reason: str, since: Any = None) -> Attempt:
    return Attempt(order=of.id, target=SHA256, outcome=outcome, reason=reason, deferred_since=since)


def running(place: Place, **fields: Any) -> Opened[Order]:
    """An order whose stage 0 is open, and six devices of which two are not done."""
    wanted = order(**fields)
    place.server.post(wanted, *started(wanted))
    says(place, let_in(place, "GW-0001"), about=wanted)
    says(place, let_in(place, "GW-0002"), about=wanted)
    deferred = attempt(wanted, "deferred", "interlock_not_clear", DAY0)
    says(place, let_in(place, "GW-0003"), attempt=deferred, interlock=NOT_CLEAR)
    back = attempt(wanted, "rolled_back", "unhealthy")
    says(place, let_in(place, "GW-0004"), attempt=back)
    place.server.fleet.add(enrolment("GW-0005"))
    says(place, let_in(place, "GW-0006"), about=wanted)
    place.server.fleet.quarantined["GW-0006"] = "report 7 came twice"
    says(place, let_in(place, "GW-0007", cohort=ST_BERT))
    says(place, let_in(place, "PU-0001", product="pump"))
    return wanted


def status(place: Place, wanted: Opened[Order], *words: str) -> dict[str, Any]:
    return place.json("rollout", "status", wanted.id, *words)


def canary(place: Place, wanted: Opened[Order]) -> dict[str, Any]:
    found: dict[str, Any] = status(place, wanted)["cohorts"][CANARY]
    return found


# Devices


def test_devices_are_counted_and_named(place: Place) -> None:
    wanted = running(place)
    place.clock.now += hours(2)
    answer = status(place, wanted)
    assert answer["reason"] == "status"
    found = answer["cohorts"][CANARY]["devices"]
    assert (found["total"], found["done"], found["inside"]) == (4, 2, 4)
    assert found["by_action"] == {"confirmed": 2, "deferred": 1, "rolled_back": 1}
    assert found["by_reason"] == {"interlock_not_clear": 1, "unhealthy": 1}
    assert found["not_done"][0] == {
        "device": "GW-0003",
        "site": "ward-7",
        "outcome": "deferred",
        "reason": "interlock_not_clear",
        "detail": "interlock not clear",
        "since": "2027-03-01T08:00:00Z",
        "age_seconds": 7200,
        "failing": ["bedside"],
    }
    assert [one["device"] for one in found["not_done"]] == ["GW-0003", "GW-0004"]
    assert found["quarantined"] == [{"device": "GW-0006", "detail": "report 7 came twice"}]
    assert found["waiting"] == ["GW-0005"]
    assert (found["silent"], found["faulty"]) == ([], [])
    bert = answer["cohorts"][ST_BERT]["devices"]
    assert (bert["total"], bert["inside"], bert["by_reason"]) == (1, 0, {"not_seen": 1})

    shown = place.run("rollout", "status", wanted.id).stdout
    for text in (
        "devices      4 (4 inside the open stages): 2 confirmed, 1 deferred, 1 rolled back",
        "deferred     1 interlock_not_clear: GW-0003 since 2h (bedside)",
        "rolled back  1 unhealthy: GW-0004 since 2h",
        "quarantined  1, not counted: GW-0006 (report 7 came twice)",
        "not let in   1 wait for a countersignature: GW-0005",
    ):
        assert text in shown


def test_silence_beyond_the_deadline_is_named(place: Place) -> None:
    wanted = running(place, deadline_seconds=3600)
    place.clock.now += hours(1)
    assert canary(place, wanted)["devices"]["silent"] == []
    place.clock.now += timedelta(seconds=1)
    silent = canary(place, wanted)["devices"]["silent"]
    assert {one["device"] for one in silent} == {"GW-0001", "GW-0002", "GW-0003", "GW-0004"}
    assert silent[0]["age_seconds"] == 3601
    assert "4 beyond the deadline: GW-0001 for 1h1s" in (
        place.run("rollout", "status", wanted.id).stdout
    )


def test_one_that_never_reported_is_silent_since_it_was_let_in(place: Place) -> None:
    wanted = order(deadline_seconds=60)
    place.server.post(wanted, *started(wanted))
    let_in(place, "GW-0001")
    place.clock.now += hours(1)
    found = canary(place, wanted)["devices"]
    assert found["by_reason"] == {"no_report": 1}
    assert found["silent"][0]["age_seconds"] == 3600


def test_many_of_one_reason_are_not_all_named(place: Place) -> None:
    wanted = order()
    place.server.post(wanted, *started(wanted))
    for n in range(8):
        says(place, let_in(place, f"GW-{n:04}"))
    shown = place.run("rollout", "status", wanted.id).stdout
    assert "scheduled    8 not_seen: GW-0000 since 0s, GW-0001 since 0s" in shown
    assert "GW-0004 since 0s and 3 more" in shown
    assert "GW-0005" not in shown
    assert len(canary(place, wanted)["devices"]["not_done"]) == 8


def test_a_share_says_who_is_inside(place: Place) -> None:
    stages = (stage(CANARY, share=5_000), stage(CANARY))
    wanted = order(stages=stages)
    place.server.post(wanted, *started(wanted))
    for n in range(12):
        says(place, let_in(place, f"GW-{n:04}"))
    found = canary(place, wanted)["devices"]
    assert 0 < found["inside"] < found["total"] == 12


def test_devices_are_read_by_cohort_and_can_be_left_out(place: Place) -> None:
    wanted = running(place)
    status(place, wanted)
    asked = [one for one in place.server.asked if "/v1/devices" in one]
    assert all("cohort=" in one for one in asked)
    place.server.asked.clear()
    answer = status(place, wanted, "--no-devices")
    assert answer["cohorts"][CANARY]["devices"] is None
    assert not [one for one in place.server.asked if "/v1/devices" in one]


def test_a_moved_device_is_counted_where_it_is(place: Place) -> None:
    wanted = running(place)
    paper = let_in(place, "GW-0009", cohort=ST_BERT)
    says(place, paper, cohort=CANARY, about=wanted)
    answer = status(place, wanted)["cohorts"]
    assert answer[CANARY]["devices"]["total"] == 5
    assert answer[ST_BERT]["devices"]["total"] == 1


def test_forged_reports_count_for_nothing(place: Place) -> None:
    wanted = order()
    place.server.post(wanted, *started(wanted))
    says(place, let_in(place, "GW-0001"), about=wanted, key="mallory")
    answer = status(place, wanted)
    assert answer["reason"] == "server_differs"
    found = answer["cohorts"][CANARY]["devices"]
    assert (found["done"], found["by_reason"]) == (0, {"forged_report": 1})
    assert found["faulty"][0]["device"] == "GW-0001"
    result = place.run("rollout", "status", wanted.id)
    assert "not believed 1: GW-0001" in result.stdout
    assert "not believed" in result.stderr


def test_a_stranger_counts_for_nothing(place: Place) -> None:
    """A device that the server calls countersigned, by a signature of somebody not entitled."""
    wanted = order()
    place.server.post(wanted, *started(wanted))
    paper = place.server.fleet.add(enrolment("GW-0666"))
    place.server.post(authorise(paper, "ada", role="operator"))
    says(place, paper, about=wanted)

    def claim(told: Device) -> Device:
        return msgspec.structs.replace(told, state="countersigned")

    place.server.fleet.alter = claim
    found = canary(place, wanted)["devices"]
    assert (found["total"], found["waiting"]) == (0, ["GW-0666"])


def test_a_superseded_order_counts_no_devices(place: Place) -> None:
    wanted, later = running(place), order(seq=2)
    place.server.post(later, authorise(later))
    found = canary(place, wanted)
    assert (found["state"], found["devices"]) == ("superseded", None)
    assert found["next"][0]["act"] == "propose"


def test_the_status_does_not_wait_for_the_devices(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = running(place)
    place.server._fleet = lambda *_: (503, problem(503, "busy", "Later."))  # type: ignore[method-assign]
    result = place.run("rollout", "status", wanted.id)
    assert result.exit_code == 0
    assert "could not be read, and are left out: Later." in result.stderr
    assert canary(place, wanted)["devices"] is None


# What would have to happen next


def steps(place: Place, wanted: Opened[Order], cohort: str = CANARY) -> list[Any]:
    found = status(place, wanted)["cohorts"][cohort]["next"]
    return [(one["act"], one["role"], one["people"]) for one in found]


def test_who_is_missing_is_named(place: Place) -> None:
    wanted = order()
    place.server.post(wanted)
    assert steps(place, wanted) == [("authorise", "approver", ["ada", "alan"])]
    assert steps(place, wanted, ST_ANNA) == [
        ("authorise", "approver", ["ada", "alan"]),
        ("authorise", "hospital", ["hanna"]),
    ]
    place.server.post(consent(wanted))
    assert steps(place, wanted, ST_ANNA) == [("authorise", "approver", ["ada", "alan"])]
    place.server.post(authorise(wanted))
    assert steps(place, wanted) == [("start", "operator", ["olga", "omar"])]
    shown = place.run("rollout", "status", wanted.id).stdout
    assert "next         operator (olga, omar): open stage 0; then others authorise it" in shown
    assert f"interlock-ops rollout start {wanted.id}" in shown


def test_an_opening_that_waits_and_then_the_soak(place: Place) -> None:
    wanted = order()
    first = opening(wanted)
    place.server.post(wanted, authorise(wanted), first)
    [step] = canary(place, wanted)["next"]
    assert (step["act"], step["role"]) == ("authorise", "approver")
    assert f"--go {first.id}" in step["command"]
    place.server.post(authorise(first))
    advance, renew = canary(place, wanted)["next"]
    assert (advance["act"], advance["not_before"]) == ("advance", "2027-03-02T08:00:00Z")
    assert (renew["act"], renew["not_before"]) == ("renew", "2027-03-08T08:00:00Z")
    place.clock.now += days(1)
    advance, _ = canary(place, wanted)["next"]
    assert advance["not_before"] is None
    second = opening(wanted, 1, at=place.clock.now)
    place.server.post(second, authorise(second))
    assert [step["act"] for step in canary(place, wanted)["next"]] == ["renew", "wait"]


def test_an_opening_for_later(place: Place) -> None:
    wanted = order()
    first = opening(wanted, opened_at=DAY0 + hours(5))
    place.server.post(wanted, authorise(wanted), first, authorise(first))
    assert steps(place, wanted) == [("wait", None, [])]


def test_an_auto_stage_is_the_monitors(place: Place) -> None:
    wanted = order(stages=(stage(CANARY), stage(CANARY, gate="auto")))
    place.server.post(wanted, *started(wanted))
    assert steps(place, wanted)[0] == ("advance", "monitor", ["mona"])


def test_a_cohort_that_is_done_waits_for_no_further_stage(place: Place) -> None:
    wanted = order(stages=(stage(CANARY), stage(ST_BERT)))
    place.server.post(wanted, *started(wanted))
    assert [step[0] for step in steps(place, wanted)] == ["renew", "wait"]


def test_a_stop_is_ended_by_a_resume(place: Place) -> None:
    wanted = order()
    halt = stop(wanted)
    place.server.post(wanted, *started(wanted), halt)
    assert steps(place, wanted) == [("resume", "operator", ["olga", "omar"])]
    again = resume(wanted, at=DAY0, clears=[halt])
    place.server.post(again)
    [step] = canary(place, wanted)["next"]
    assert (step["act"], step["people"]) == ("authorise", ["ada", "alan"])
    assert f"--go {again.id}" in step["command"]
    # One that nobody entitled signed is no reason to wait.
    other = order(seq=2)
    later = stop(other)
    forged = resume(other, at=DAY0, clears=[later], key="mallory")
    place.server.post(other, *started(other), later, forged)
    assert steps(place, other) == [("resume", "operator", ["olga", "omar"])]


def test_a_lapsed_one_is_resumed(place: Place) -> None:
    wanted = order()
    place.server.post(wanted, *started(wanted))
    place.clock.now += days(8)
    [step] = canary(place, wanted)["next"]
    assert (step["act"], step["text"].startswith("revive it")) == ("resume", True)


def test_those_who_wait_are_to_be_countersigned(place: Place) -> None:
    wanted = running(place)
    assert steps(place, wanted)[-1] == ("countersign", "operator", ["olga", "omar"])


def test_an_order_whose_author_left(place: Place) -> None:
    wanted = order(by="ada")
    place.server.post(wanted)
    assert steps(place, wanted) == [("propose", "operator", ["olga", "omar"])]


# Cohorts


def test_cohorts_and_their_rules(place: Place) -> None:
    running(place)
    found = {one["name"]: one for one in place.json("cohort", "list")["cohorts"]}
    assert found[CANARY] == {
        "name": CANARY,
        "pattern": CANARY,
        "served": True,
        "countersigned": 6,
        "waiting": 1,
        "quarantined": 1,
    }
    assert found[ST_BERT]["pattern"] == "*"
    assert "st-anna" in place.run("cohort", "list").stdout


def test_a_cohort_whole(place: Place) -> None:
    wanted = running(place)
    place.clock.now += hours(2)
    answer = place.json("cohort", "show", CANARY)
    assert answer["rule"] == {
        "pattern": CANARY,
        "start": {"approver": 1},
        "advance": {"approver": 1},
        "resume": {"approver": 1},
        "assign": {"approver": 1},
        "stop": ["operator", "monitor", "hospital", "engineer"],
    }
    grants = {(one["person"], one["role"]): one for one in answer["grants"]}
    assert grants["ellen", "engineer"]["sites"] == ["ward-7"]
    assert grants["olga", "operator"]["sites"] is None
    assert ("hanna", "hospital") not in grants
    gateway = answer["products"]["gateway"]
    assert gateway["order"] == {"id": wanted.id, "seq": 1, "kind": "update"}
    assert gateway["status"]["state"] == "running"
    assert gateway["devices"]["by_action"] == {"confirmed": 2, "deferred": 1, "rolled_back": 1}
    assert [step["act"] for step in gateway["next"]] == ["advance", "renew", "countersign"]
    pump = answer["products"]["pump"]
    assert (pump["order"], pump["devices"]["by_action"]) == (None, {"idle": 1})
    shown = place.run("cohort", "show", CANARY).stdout
    for text in (
        "start        an operator, authorised by approver x 1",
        "stop         one signature of operator or monitor or hospital or engineer",
        "engineer     ellen until",
        "at ward-7 alone",
        "deferred     1 interlock_not_clear: GW-0003 since 2h (bedside)",
        "pump: no order is in force",
    ):
        assert text in shown


def test_a_cohort_with_nothing(place: Place) -> None:
    answer = place.json("cohort", "show", "elsewhere")
    assert (answer["products"], answer["rule"]["pattern"]) == ({}, "*")


# Sites


def test_sites_and_their_people(place: Place) -> None:
    running(place)
    [found] = place.json("site", "list")["sites"]
    assert (found["name"], found["waiting"]) == ("ward-7", 1)
    assert [one["person"] for one in found["people"]] == ["ellen"]
    assert "ellen (engineer)" in place.run("site", "list").stdout


def test_a_site_whole(place: Place) -> None:
    wanted = running(place)
    here = stop(wanted, by="ellen", site="ward-7", reason="power works")
    wide = stop(wanted, by="omar", at=DAY0 + hours(1))
    there = stop(wanted, by="omar", site="ward-9")
    idle = stop(wanted, by="ada", site="ward-7", reason="not entitled")
    place.server.post(here, wide, there, idle)
    place.clock.now += hours(2)
    answer = place.json("site", "show", "ward-7")
    assert {one["id"]: one["counts"] for one in answer["stops"]} == {
        here.id: True,
        wide.id: True,
        idle.id: False,
    }
    assert answer["waiting"] == ["GW-0005"]
    assert [one["person"] for one in answer["people"]] == ["ellen"]
    why = {one["device"]: one["why"]["reason"] for one in answer["devices"]}
    assert why["GW-0003"] == "interlock_not_clear"
    assert len(why) == 8
    shown = place.run("site", "show", "ward-7").stdout
    for text in (here.id, "power works", "site ward-7", "may not stop here", "--site ward-7"):
        assert text in shown
    assert there.id not in shown


def test_a_site_without_anybody(place: Place) -> None:
    answer = place.json("site", "show", "ward-9")
    assert (answer["devices"], answer["people"], answer["stops"]) == ([], [], [])
    assert "no grant of the roster names this site" in place.run("site", "show", "ward-9").stdout


def test_a_device_of_another_site_is_not_shown(place: Place) -> None:
    """A server that lists a device where it never asked to be."""
    let_in(place, "GW-0001")
    away = let_in(place, "GW-0002", site="ward-9")

    def lie(told: Device) -> Device:
        return msgspec.structs.replace(told, enrolment=away.envelope)

    place.server.fleet.alter = lie
    assert place.json("site", "show", "ward-7")["devices"] == []


# An engineer of a site


def pause(place: Place, wanted: Opened[Order], *words: str, by: str = "ellen") -> Any:
    return place.run("rollout", "pause", wanted.id, *words, "--reason", "works", "--yes", by=by)


def test_an_engineer_stops_at_his_site(place: Place) -> None:
    wanted = running(place)
    result = pause(place, wanted, "--cohort", CANARY, "--site", "ward-7")
    assert (result.exit_code, result.stderr) == (0, "")
    said = place.server.of(Stop)[-1].said
    assert (said.author, said.site) == ("ellen", "ward-7")
    assert place.json("site", "show", "ward-7")["stops"][0]["counts"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cohort", CANARY), "counts for nothing at canary: pass --site ward-7, or ask"),
        (
            ("--cohort", CANARY, "--site", "ward-9"),
            "for the site ward-9 counts for nothing at canary: pass --site ward-7",
        ),
        (("--site", "ward-7"), "counts for nothing at st-anna, st-bert: ask an operator"),
    ],
)
def test_a_stop_beyond_his_site_is_said(place: Place, words: tuple[str, ...], said: str) -> None:
    wanted = running(place)
    result = pause(place, wanted, *words)
    assert result.exit_code == 0
    assert said in result.stderr


def test_an_operators_stop_at_a_site_counts(place: Place) -> None:
    wanted = running(place)
    assert pause(place, wanted, "--site", "ward-9", by="omar").stderr == ""
