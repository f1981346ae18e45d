"""Attacks on the fleet's side of the server, by those who hold something of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import MAX_ANSWER, PAGE, Device, DevicePage
from interlock_core.order import Assignment
from interlock_core.roster import Grant, Person
from interlock_core.statement import Opened
from tests.server.world import NOW, Bench
from tests.support import people
from tests.support.papers import (
    DEVICE,
    assignment,
    authorise,
    claim,
    countersign,
    enrolment,
    hours,
    report,
)
from tests.support.people import CANARY, ST_ANNA, ST_BERT

EVIL_SECRET = 4 * "another-"


def engineer(name: str, site: str) -> Person:
    return Person(
        name=name,
        keys=(people.public_key(name),),
        grants=(Grant(role="engineer", cohorts=("*",), expires=people.FAR, sites=(site,)),),
    )


ERIK = engineer("erik", "ward-7")
EVA = engineer("eva", "ward-8")


def renewed(bench: Bench, *persons: Any, seq: int = 2) -> None:
    made = people.roster(*persons, seq=seq, issued=NOW)
    bench.publish_roster(wire.encode(made), version=seq)


def shown(bench: Bench, device: str = DEVICE) -> Device:
    return bench.read(f"/v1/devices/{device}", Device)


class TestOneEngineerOfAnotherSite:
    """He may let devices of his own hospital in, and that is all."""

    @pytest.fixture
    def taken(self, bench: Bench) -> Opened[Any]:
        """His own enrolment, with a key of his own, of a device that stands elsewhere."""
        renewed(bench, *people.PEOPLE, ERIK, EVA)
        bench.let_in(enrolment(), by="erik", role="engineer")
        mine = enrolment(key="evas-key", site="ward-8", at=NOW)
        bench.say_all(claim(EVIL_SECRET, by="eva", site="ward-8"))
        assert bench.enrol(mine, EVIL_SECRET).status_code == 201
        return mine

    def test_takes_no_device_away(self, bench: Bench, taken: Opened[Any]) -> None:
        answer = bench.say(countersign(taken, "eva", role="engineer", at=NOW))
        assert (answer.status_code, answer.json["reason"]) == (403, "role_not_held")
        assert "ward-7" in answer.json["detail"]
        assert shown(bench).enrolment == enrolment().envelope
        assert bench.tell(report(enrolment())).status_code == 201
        assert bench.tell(report(taken, key="evas-key")).json["reason"] == "not_countersigned"

    def test_an_operator_over_both_may_move_it_there(
        self, bench: Bench, taken: Opened[Any]
    ) -> None:
        bench.say_all(countersign(taken, at=NOW))
        assert shown(bench).enrolment == taken.envelope
        # And said again it is known, whatever was countersigned since.
        assert bench.say(countersign(taken, at=NOW)).status_code == 200

    def test_what_counts_nothing_is_kept(self, bench: Bench, taken: Opened[Any]) -> None:
        word = countersign(taken, "eva", role="engineer", meaning="reviewed", at=NOW)
        assert bench.say(word).status_code == 201
        assert shown(bench).enrolment == enrolment().envelope


class TestRosterInBetween:
    """Somebody is dropped while what he signed waits for its turn."""

    def publishing_first(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, *left: Any) -> None:
        database = bench.back.database
        ordinary = database.writing

        @contextmanager
        def later() -> Iterator[Session]:
            monkeypatch.setattr(database, "writing", ordinary)
            renewed(bench, *left)
            with ordinary() as session:
                yield session

        monkeypatch.setattr(database, "writing", later)

    def test_a_countersignature(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.say_all(claim())
        asked = enrolment()
        bench.enrol(asked)
        self.publishing_first(bench, monkeypatch, people.OLGA, people.ADA)
        answer = bench.say(countersign(asked, "omar"))
        assert (answer.status_code, answer.json["reason"]) == (403, "unknown_author")
        assert shown(bench).state == "waiting"

    def test_an_enrolment_of_a_device_that_he_let_in(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.let_in(enrolment(), by="omar")
        bench.say_all(claim())
        self.publishing_first(bench, monkeypatch, people.OLGA, people.ADA)
        assert bench.enrol(enrolment(key="new-key", at=NOW)).status_code == 201
        assert {one.state for one in _all(bench)} == {"waiting"}


def _all(bench: Bench) -> tuple[Device, ...]:
    return bench.read("/v1/devices?state=waiting", DevicePage).items + tuple(
        one for one in bench.read("/v1/devices?state=countersigned", DevicePage).items
    )


class TestOneOperatorOfOtherCohorts:
    """He may move devices between his own cohorts, and hinders nobody else's."""

    HERE = enrolment(cohort=ST_ANNA)

    @pytest.fixture
    def moved(self, bench: Bench) -> Bench:
        omar = people.person("omar", people.grant("operator", CANARY, ST_BERT))
        made = people.roster(
            people.OLGA, omar, people.ADA, seq=2, issued=NOW, rules=(people.rules(assign={}),)
        )
        bench.publish_roster(wire.encode(made), version=2)
        bench.let_in(self.HERE)
        return bench

    def foreign(self, **fields: Any) -> Opened[Assignment]:
        places = {"from_cohort": ST_BERT, "to_cohort": CANARY}
        return assignment(self.HERE.id, by="omar", **places | fields)

    def mine(self, **fields: Any) -> Opened[Assignment]:
        return assignment(self.HERE.id, **fields)

    def test_does_not_hide_a_move_from_where_the_device_is(self, moved: Bench) -> None:
        moved.say_all(self.mine(), self.foreign(seq=2))
        moved.back.publisher.refresh()
        entry = moved.directive(ST_ANNA).products["gateway"]
        assert entry.assignments == (self.mine().envelope,)

    def test_does_not_use_up_the_numbers(self, moved: Bench) -> None:
        answer = moved.say(self.foreign(seq=wire.MAX_INTEGER))
        assert (answer.status_code, answer.json["reason"]) == (409, "seq_too_high")
        assert moved.say(self.foreign(seq=1000)).status_code == 201
        assert moved.say(self.mine(seq=2000)).status_code == 201
        assert moved.say(self.mine(seq=3001)).json["reason"] == "seq_too_high"

    def test_does_not_crowd_a_move_out_of_what_is_shown(self, moved: Bench) -> None:
        moved.say_all(self.mine())
        moved.say_all(*(self.foreign(seq=seq) for seq in range(2, 42)))
        found = shown(moved).assignments
        assert self.mine().envelope in found
        # The newest too: the next number follows from it.
        assert self.foreign(seq=41).envelope in found


class TestFloods:
    """What one person may say without end makes no list unreadable."""

    def test_words_about_one_enrolment(self, bench: Bench) -> None:
        asked = bench.let_in(enrolment())
        for number in range(12):
            word = countersign(asked, meaning="reviewed", at=NOW, reason=f"{number} " + "ü" * 900)
            bench.say_all(word)
        bench.say_all(countersign(asked, "omar", at=NOW))
        words = shown(bench).words
        assert len(words) == 5
        assert countersign(asked).envelope in words
        assert countersign(asked, "omar", at=NOW).envelope in words

    def test_a_page_of_devices_can_always_be_read(self, bench: Bench) -> None:
        asked = bench.let_in(enrolment(cohort=ST_ANNA))
        long = "ü" * 1000
        for seq in range(1, 33):
            said = assignment(asked.id, seq=seq, reason=f"{seq} {long}"[:1000])
            bench.say_all(said, authorise(said, reason=long), authorise(said, "alan", reason=long))
        page = bench.client.get("/v1/devices", headers=bench.token()).data
        assert len(page) * PAGE < MAX_ANSWER
        (found,) = bench.read("/v1/devices", DevicePage).items
        assert countersign(asked).envelope in found.words
        assert found.assignments
        # Asked for alone it is shown whole.
        assert len(shown(bench).assignments) == 32


def test_a_countersignature_from_the_past_takes_no_device_away(bench: Bench) -> None:
    """Rule c goes by the times that people sign: they say what they like."""
    renewed(bench, *people.PEOPLE, ERIK, EVA)
    bench.let_in(enrolment(), by="erik", role="engineer", at=NOW)
    mine = enrolment(key="evas-key", site="ward-8", at=NOW - hours(3))
    bench.say_all(claim(EVIL_SECRET, by="eva", site="ward-8"))
    bench.enrol(mine, EVIL_SECRET)
    early = countersign(mine, "eva", role="engineer", at=NOW - hours(2))
    assert bench.say(early).json["reason"] == "role_not_held"
    assert shown(bench).enrolment == enrolment().envelope


def test_an_old_key_counts_again_only_when_somebody_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Who countersigned the newer one has left: that brings no older key back."""
    old = bench.let_in(enrolment())
    new = bench.let_in(enrolment(key="new-key", at=NOW - hours(1)), by="omar", at=NOW - hours(1))
    renewed(bench, people.OLGA, people.ADA)
    assert (shown(bench).enrolment, shown(bench).state) == (new.envelope, "waiting")
    assert bench.tell(report(old)).json["reason"] == "superseded"
    assert "in force again" not in caplog.text
    bench.say_all(countersign(old, at=NOW))
    assert (shown(bench).enrolment, shown(bench).state) == (old.envelope, "countersigned")
    assert f"an older enrolment of device {DEVICE} is in force again ({old.id})" in caplog.text


def test_a_fork_stays_quarantined_although_its_successor_counts_no_more(bench: Bench) -> None:
    old = bench.let_in(enrolment())
    bench.tell_all(report(old))
    assert bench.tell(report(old, reason="the thief")).json["reason"] == "report_fork"
    bench.let_in(enrolment(key="new-key", at=NOW - hours(1)), by="omar", at=NOW - hours(1))
    renewed(bench, people.OLGA, people.ADA)
    bench.say_all(countersign(old, at=NOW))
    assert shown(bench).state == "quarantined"
    assert bench.tell(report(old, report(old))).json["reason"] == "quarantined"
