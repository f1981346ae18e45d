"""``explain``: why a gateway is not updating, by the gateway's own decision."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from interlock_core.clock import system_clock
from interlock_core.decide import decide
from interlock_core.facts import Floors, Local, Phase
from interlock_core.order import Order, Window
from interlock_core.placement import point
from interlock_core.report import CheckResult, Decided, InterlockState
from interlock_core.statement import Opened
from interlock_ops.explaining import ASSUMED
from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.planted import NEW_TARGET, Fleet, attempt
from tests.ops.world import OLD_SHA, SHA256, Original, Place, at_work, build_with_older
from tests.support.papers import (
    authorise,
    countersign,
    enrolment,
    hold,
    order,
    release,
    report,
    site,
    stage,
    started,
    stop,
)
from tests.support.people import CANARY

NOW = system_clock().replace(microsecond=0)
"""The real repository's metadata is judged by the machine's clock, and so must all be here."""


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return build_with_older(tmp_path_factory.mktemp("explain"))


@pytest.fixture
def place(releases: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    with at_work(releases, tmp_path) as made:
        made.clock.now = NOW
        yield made


@pytest.fixture
def fleet(place: Place) -> Fleet:
    return Fleet(place)


def wanted(**fields: Any) -> Opened[Order]:
    made: dict[str, Any] = {"targets": (NEW_TARGET,), "at": NOW, "not_before": NOW}
    return order(**made | fields)


def run(place: Place, of: Opened[Order]) -> Opened[Order]:
    place.server.post(of, *started(of))
    return of


def explained(place: Place, device: str = "GW-1") -> dict[str, Any]:
    answer = place.json("explain", device)
    assert answer["reason"] == "explained"
    return answer


def because(place: Place, device: str = "GW-1") -> tuple[str, str]:
    found = explained(place, device)["because"]
    return found["reason"], found["source"]


def test_nothing_stands_in_the_way(place: Place, fleet: Fleet) -> None:
    of = run(place, wanted())
    fleet.add("GW-1", OLD_SHA)
    found = explained(place)
    assert found["decision"]["outcome"] == "granted"
    assert (found["point"], found["stage"]) == (point(SHA256, "GW-1"), 0)
    assert found["order"]["id"] == of.id
    # It has not said so itself: its last words are older than the order.
    assert found["because"]["source"] == "report"
    assert any("window" in one for one in found["unknown"])


def test_nobody_started_it(place: Place, fleet: Fleet) -> None:
    of = wanted()
    place.server.post(of, authorise(of))
    fleet.add("GW-1", OLD_SHA)
    found = explained(place)
    assert found["because"]["reason"] == "not_started"
    assert [step["act"] for step in found["next"]] == ["start"]


def test_not_in_a_stage_that_is_open(place: Place, fleet: Fleet) -> None:
    share = point(SHA256, "GW-1")
    run(place, wanted(stages=(stage(CANARY, share=max(share, 1)), stage(CANARY))))
    fleet.add("GW-1", OLD_SHA)
    found = explained(place)
    assert (found["because"]["reason"], found["stage"]) == ("not_in_stage", 1)
    shown = place.run("explain", "GW-1").stdout
    assert f"{share} of 10000: inside from stage 1 on" in shown
    assert "FAIL  this device's stage is open, and live" in shown


def test_a_stop_stands(place: Place, fleet: Fleet) -> None:
    of = run(place, wanted())
    place.server.post(stop(of, at=NOW))
    fleet.add("GW-1", OLD_SHA)
    assert because(place) == ("stopped", "decision")


def test_wrong_hardware(place: Place, fleet: Fleet) -> None:
    run(place, wanted())
    said = enrolment("GW-1", hardware="cm9", at=NOW)
    place.server.fleet.add(said)
    place.server.post(countersign(said))
    place.server.fleet.reports[said.id] = report(said, at=NOW)
    assert because(place) == ("wrong_hardware", "decision")


def test_its_hospital_holds_it(place: Place, fleet: Fleet) -> None:
    run(place, wanted())
    hold = Decided(at=place.clock.now, order=None, reason="local_hold", detail="a study runs")
    fleet.add("GW-1", OLD_SHA, decided=hold)
    found = explained(place)
    assert found["because"]["reason"] == "local_hold"
    assert "a study runs" in found["because"]["detail"]


def test_the_interlock_was_not_clear(place: Place, fleet: Fleet) -> None:
    run(place, wanted())
    blocked = InterlockState(
        mode="checks", clear=False, checks=(CheckResult(name="bedside", passed=False),)
    )
    fleet.add("GW-1", OLD_SHA, interlock=blocked)
    found = explained(place)
    assert found["because"]["reason"] == "interlock_not_clear"
    assert "bedside" in found["because"]["detail"]


def test_a_window_is_not_judged_without_its_clock(place: Place, fleet: Fleet) -> None:
    run(place, wanted(window=Window(opens="01:00", closes="02:00")))
    fleet.add("GW-1", OLD_SHA)
    found = explained(place)
    assert found["decision"]["outcome"] == "granted"
    assert any("local time" in one for one in found["unknown"])
    assert all("window is open" not in one["rule"] for one in found["decision"]["checks"])


def test_it_said_itself_why_after_all_that_was_signed(place: Place, fleet: Fleet) -> None:
    of = run(place, wanted())
    place.clock.now += timedelta(hours=1)
    said = Decided(
        at=place.clock.now, order=of.id, reason="outside_window", detail="the window is 01:00"
    )
    fleet.add("GW-1", OLD_SHA, decided=said)
    assert because(place) == ("outside_window", "report")


def test_its_words_are_older_than_the_stop(place: Place, fleet: Fleet) -> None:
    of = run(place, wanted())
    said = Decided(at=place.clock.now, order=of.id, reason="spread", detail="in 3h")
    fleet.add("GW-1", OLD_SHA, decided=said)
    place.clock.now += timedelta(hours=1)
    place.server.post(stop(of, at=place.clock.now))
    assert because(place) == ("stopped", "decision")


def test_it_is_silent(place: Place, fleet: Fleet) -> None:
    run(place, wanted(deadline_seconds=3600))
    fleet.add("GW-1", OLD_SHA)
    fleet.add("GW-2")
    place.clock.now += timedelta(hours=2)
    assert because(place) == ("silent", "silence")
    assert because(place, "GW-2") == ("no_report", "silence")


def test_it_is_done(place: Place, fleet: Fleet) -> None:
    of = run(place, wanted())
    fleet.add("GW-1", SHA256, attempt=attempt(of.id, SHA256, "confirmed"))
    found = explained(place)
    assert found["because"]["reason"] == "confirmed"
    assert found["next"] == []


def test_it_rolled_back_here(place: Place, fleet: Fleet) -> None:
    of = run(place, wanted())
    fleet.add("GW-1", OLD_SHA, attempt=attempt(of.id, SHA256, "rolled_back"))
    assert explained(place)["decision"]["reason"] == "rolled_back_here"


def test_its_papers_do_not_count(place: Place, fleet: Fleet) -> None:
    run(place, wanted())
    place.server.fleet.add(enrolment("GW-1", at=NOW))
    assert because(place) == ("not_countersigned", "papers")
    fleet.add("GW-2", OLD_SHA)
    place.server.fleet.quarantined["GW-2"] = "two reports 2"
    found = explained(place, "GW-2")["because"]
    assert (found["reason"], found["source"]) == ("quarantined", "papers")


def test_no_order_is_in_force(place: Place, fleet: Fleet) -> None:
    fleet.add("GW-1", OLD_SHA)
    found = explained(place)
    assert (found["because"]["reason"], found["decision"]) == ("nothing_wanted", None)


def test_a_device_that_is_not_there_and_one_that_is_forged(place: Place, fleet: Fleet) -> None:
    assert place.json("explain", "GW-9", code=2)["reason"] == "not_found"
    forged = enrolment("GW-1", key="mallory", author="GW-1", at=NOW)
    place.server.fleet.add(forged)
    place.server.fleet.enrolments[0] = enrolment("GW-1", fleet="south", at=NOW)
    assert place.json("explain", "GW-1", code=20)["reason"] == "wrong_fleet"


def test_the_same_question_has_the_same_answer(place: Place, fleet: Fleet) -> None:
    run(place, wanted())
    fleet.add("GW-1", OLD_SHA)
    assert place.run("explain", "GW-1").stdout == place.run("explain", "GW-1").stdout


def test_what_is_assumed_are_rules_of_the_decision(
    place: Place, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs ``decide`` itself, and every rule that it leaves out is one of its rules."""
    run(place, wanted())
    fleet.add("GW-1", OLD_SHA)
    ran: list[set[str]] = []

    def watched(phase: Phase, *given: Any) -> Any:
        found = decide(phase, *given)
        assert isinstance(given[2], Floors)
        assert isinstance(given[3], Local)
        ran.append({check.rule for check in found.checks})
        return found

    monkeypatch.setattr("interlock_ops.explaining.decide", watched)
    found = explained(place)
    assert ran
    assert ran[-1] >= ASSUMED
    assert {one["rule"] for one in found["decision"]["checks"]} == ran[-1] - ASSUMED


def test_its_site_is_held(place: Place, fleet: Fleet) -> None:
    run(place, wanted())
    fleet.add("GW-1", OLD_SHA)
    said = hold(by="olga", at=NOW)
    place.server.post(said)
    place.clock.now += timedelta(minutes=1)
    fleet.tell("GW-1", OLD_SHA)
    assert because(place) == ("site_hold", "decision")
    place.server.post(release(said, by="omar"))
    assert because(place)[0] != "site_hold"


def test_the_order_s_window_is_judged_by_the_time_zone_of_its_site(
    place: Place, fleet: Fleet
) -> None:
    """Two hours that are open there now, and closed in London."""
    there = NOW.astimezone(ZoneInfo("Asia/Tokyo"))
    opens, closes = (f"{(there.hour + n) % 24:02}:00" for n in (-1, 2))
    run(place, wanted(window=Window(opens=opens, closes=closes)))
    fleet.add("GW-1", OLD_SHA)
    place.clock.now += timedelta(seconds=1)
    fleet.tell("GW-1", OLD_SHA)
    assert any("local time" in one for one in explained(place)["unknown"])
    place.server.post(site(by="olga", at=NOW, time_zone="Asia/Tokyo"))
    assert not any("local time" in one for one in explained(place)["unknown"])
    assert because(place)[0] != "outside_window"
    place.server.post(site(by="olga", at=NOW, seq=2, time_zone="Europe/London"))
    assert because(place) == ("outside_window", "decision")
