"""Attacks on operators by a server that lies, and by devices that say what they like."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from interlock_core.api import Device
from interlock_core.order import Assignment, Authorisation, Order, Target
from interlock_core.report import Decided, Enrolment
from interlock_core.statement import Opened
from interlock_core.wire import MAX_INTEGER
from tests.ops.world import IMAGE, PATH, SHA256, Place
from tests.support import papers
from tests.support.papers import authorise, days, enrolment, report, started
from tests.support.people import CANARY, DAY0, ST_ANNA, ST_BERT, public_key

WANTED = Target(path=PATH, length=len(IMAGE), sha256=SHA256)
NASTY = "\x1b[2J\x1b[31m[red]all well[/red]\r\n\u202e[link=https://evil.example]x[/link]\u2028"


def let_in(place: Place, device: str = "GW-0001", **fields: Any) -> Opened[Enrolment]:
    paper = place.server.fleet.add(enrolment(device, **fields))
    place.server.post(authorise(paper, "omar", role="operator"))
    return paper


def running(place: Place, **said: Any) -> Opened[Order]:
    wanted = papers.order(targets=(WANTED,))
    place.server.post(wanted, *started(wanted))
    paper = let_in(place)
    place.server.fleet.reports[paper.id] = report(paper, **{"about": wanted} | said)
    return wanted


def received(place: Place, at: datetime | None) -> None:
    def alter(told: Device) -> Device:
        return msgspec.structs.replace(told, received_at=at)

    place.server.fleet.alter = alter


class TestSilence:
    """A report from the future must not make a device that is gone look alive for ever."""

    def silent(self, place: Place, wanted: Opened[Order]) -> list[str]:
        answer = place.json("rollout", "status", wanted.id)
        found = answer["cohorts"][CANARY]["devices"]
        return [one["device"] for one in found["silent"]]

    @pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=36_500)])
    def test_a_clock_that_was_ahead(self, place: Place, ahead: timedelta) -> None:
        wanted = running(place, at=DAY0 + ahead)
        received(place, DAY0)
        assert self.silent(place, wanted) == []
        place.clock.now += timedelta(seconds=wanted.said.deadline_seconds + 60)
        assert self.silent(place, wanted) == ["GW-0001"]

    def test_and_a_server_that_says_it_came_just_now(self, place: Place) -> None:
        wanted = running(place, at=DAY0 + days(36_500))
        place.clock.now += timedelta(seconds=wanted.said.deadline_seconds + 60)
        received(place, place.clock.now)
        assert self.silent(place, wanted) == ["GW-0001"]


class TestText:
    """What devices and the server say reaches the terminal as text."""

    @pytest.mark.parametrize(
        "words",
        [
            ("device", "show", "GW-0001"),
            ("device", "list"),
            ("cohort", "show", CANARY),
            ("site", "show", "ward-7"),
        ],
        ids=" ".join,
    )
    def test_no_escape_and_no_markup_gets_through(
        self, place: Place, words: tuple[str, ...]
    ) -> None:
        wanted = papers.order(targets=(WANTED,))
        place.server.post(wanted, *started(wanted))
        paper = let_in(place)
        decided = Decided(at=DAY0, order=wanted.id, reason="no_space", detail=NASTY)
        place.server.fleet.reports[paper.id] = report(paper, decided=decided, reason=NASTY)
        waits = place.server.fleet.add(enrolment("GW-0002", reason=NASTY))
        place.server.fleet.quarantined["GW-0001"] = ""

        def alter(told: Device) -> Device:
            if told.enrolment == waits.envelope:
                return told
            return msgspec.structs.replace(told, quarantined=NASTY)

        place.server.fleet.alter = alter
        shown = place.run(*words)
        text = shown.stdout + shown.stderr
        assert "GW-0001" in text
        for bad in ("\x1b", "\r", "\u202e", "\u2028"):
            assert bad not in text
        if "all well" in text:
            assert "[red]all well[/red]" in text


class TestCountersigning:
    """Exactly the key that is shown is signed for."""

    def test_a_key_under_the_id_of_another_is_never_signed_for(self, place: Place) -> None:
        genuine, mine = public_key("GW-0001"), public_key("eves-key")
        posing = msgspec.structs.replace(mine, keyid=genuine.keyid)
        said = msgspec.structs.replace(enrolment().said, key=posing)
        place.server.fleet.add(papers.signed(said, "eves-key"))
        refused = place.device(
            *("countersign", "GW-0001", "--role", "operator", "--fingerprint", genuine.keyid),
            code=20,
        )
        assert refused["reason"] == "forged_enrolment"
        assert place.server.of(Authorisation) == []

    @pytest.mark.parametrize("where", [("--site", "ward-7"), ("--cohort", CANARY)])
    def test_those_of_one_place_are_of_that_place(
        self, place: Place, where: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that lists others among them gets no signature for those."""
        mine = place.server.fleet.add(enrolment())
        place.server.fleet.add(enrolment("GW-0666", site="ward-9", cohort=ST_ANNA))
        honest = place.server.fleet.devices

        def everything(judge: Any, papers_: Any, query: dict[str, list[str]]) -> Any:
            asked = {name: given for name, given in query.items() if name in {"state", "page"}}
            return honest(judge, papers_, asked)

        monkeypatch.setattr(place.server.fleet, "devices", everything)
        answer = place.device("countersign", "--waiting", *where, "--role", "operator")
        assert [one["device"] for one in answer["devices"]] == ["GW-0001"]
        assert [word.said.id for word in place.server.of(Authorisation)] == [mine.id]


def test_numbers_that_somebody_used_up_are_said(place: Place) -> None:
    paper = let_in(place, cohort=ST_ANNA)
    last = papers.assignment(paper.id, by="omar", seq=MAX_INTEGER)
    place.server.post(last, authorise(last))
    refused = place.device("assign", "GW-0001", "--to", ST_BERT, code=20)
    assert refused["reason"] == "seq_too_high"
    assert len(place.server.of(Assignment)) == 1


def test_a_device_that_is_called_superseded_is_named(place: Place) -> None:
    """Or else a server could take whoever is not done out of the count without a word."""
    wanted = running(place, about=None)

    def alter(told: Device) -> Device:
        return msgspec.structs.replace(told, state="superseded")

    place.server.fleet.alter = alter
    answer = place.json("rollout", "status", wanted.id)
    found = answer["cohorts"][CANARY]["devices"]
    assert (found["total"], found["not_done"]) == (0, [])
    assert [(one["device"], one["reason"]) for one in found["faulty"]] == [
        ("GW-0001", "superseded")
    ]
    assert "GW-0001" in place.run("rollout", "status", wanted.id).stdout
