"""Reports: the chain that is counted, what is refused by name, and that nothing else moves it."""

from __future__ import annotations

import logging
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from interlock_core import wire
from interlock_core.api import MAX_ANSWER, Device
from interlock_core.report import Enrolment, Report
from interlock_core.statement import Envelope, Opened, Signature, open_as, read_envelope
from interlock_server.db.fleet_tables import ForkRow, ReportRow
from interlock_server.online_keys import Signers
from tests.server.world import NOW, Bench, Fleet, both
from tests.support.papers import (
    DEVICE,
    claim,
    countersign,
    digest,
    enrolment,
    hours,
    report,
)
from tests.support.people import ST_BERT

ASKED = enrolment()
ABSENT = digest("nothing")


def shown(bench: Bench, device: str = DEVICE) -> Device:
    return bench.read(f"/v1/devices/{device}", Device)


def kept(bench: Bench) -> list[tuple[int, str]]:
    """Every report on file, of all devices, each opened as it was kept."""
    with bench.back.database.reading() as db:
        rows = db.scalars(select(ReportRow).order_by(ReportRow.enrolment, ReportRow.number))
        opened = [open_as(read_envelope(row.envelope), Report) for row in rows]
    return [(one.said.number, one.id) for one in opened]


def chain(of: Opened[Enrolment], length: int, **fields: Any) -> list[Opened[Report]]:
    made: list[Opened[Report]] = []
    for _ in range(length):
        made.append(report(of, made[-1] if made else None, **fields))
    return made


def refused(answer: Any, status: int, reason: str) -> None:
    assert (answer.status_code, answer.json["reason"]) == (status, reason), answer.text


def test_reports_are_taken_one_after_another(bench: Bench) -> None:
    bench.let_in(ASKED)
    first, second = chain(ASKED, 2)
    answer = bench.tell(first)
    assert (answer.status_code, answer.json) == (201, {"id": first.id, "number": 1, "next": 2})
    assert bench.tell(second).json["next"] == 3
    assert kept(bench) == [(1, first.id), (2, second.id)]
    device = shown(bench)
    assert (device.report, device.received_at) == (second.envelope, NOW)
    assert (device.state, device.quarantined, device.refused) == ("countersigned", None, {})


@both
def test_a_report_again_is_known_and_changes_nothing(bench: Bench) -> None:
    bench.let_in(ASKED)
    first, second = chain(ASKED, 2)
    bench.tell_all(first, second)
    bench.clock.now += hours(1)
    for one in (first, second):
        again = bench.tell(one)
        assert (again.status_code, again.json["next"]) == (200, 3)
    assert kept(bench) == [(1, first.id), (2, second.id)]
    assert shown(bench).received_at == NOW
    assert bench.refusals() == {}


def test_only_the_devices_signature_is_kept(bench: Bench) -> None:
    bench.let_in(ASKED)
    one = report(ASKED)
    padding = tuple(Signature(keyid=digest(str(n)), sig="AAAA") for n in range(15))
    padded = Envelope(
        payload=one.envelope.payload,
        payload_type=one.envelope.payload_type,
        signatures=(*padding, *one.envelope.signatures),
    )
    assert bench.post("/v1/reports", padded).status_code == 201
    assert shown(bench).report == one.envelope


# Refused by name, and counted in the name of the device


def _edited(one: Opened[Report], **fields: Any) -> Opened[Report]:
    """Other words under the old signature."""
    other = report(ASKED, **fields)
    envelope = Envelope(
        payload=other.envelope.payload,
        payload_type=one.envelope.payload_type,
        signatures=one.envelope.signatures,
    )
    return Opened(other.said, other.id, other.payload, envelope)


FIRST = report(ASKED)
FORGED: dict[str, tuple[Opened[Report], str]] = {
    "by another device": (report(ASKED, key="GW-0002"), "bad_signature"),
    "by an operator": (report(ASKED, key="olga"), "bad_signature"),
    "in the name of another device": (report(ASKED, author="GW-0002", key=DEVICE), "bad_signature"),
    "edited after signing": (_edited(FIRST, running=None), "bad_signature"),
    "of another fleet": (report(ASKED, fleet="south"), "wrong_fleet"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_report_changes_a_security_counter_and_nothing_else(
    bench: Bench, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.let_in(ASKED)
    before = shown(bench)
    forged, reason = FORGED[what]
    for _ in range(2):
        refused(bench.tell(forged), 403, reason)
    assert f"report refused ({reason})" in caplog.text
    assert bench.refusals() == {("report", reason): 2}
    after = shown(bench)
    assert after.refused == {reason: 2}
    assert (kept(bench), after.report, after.state) == ([], before.report, before.state)
    bench.tell_all(FIRST)


def test_what_is_said_under_no_enrolment_is_refused(bench: Bench) -> None:
    refused(bench.tell(report(ASKED)), 403, "unknown_enrolment")
    assert bench.refusals() == {("report", "unknown_enrolment"): 1}


def test_before_the_countersignature_a_report_waits(bench: Bench) -> None:
    bench.say_all(claim())
    bench.enrol(ASKED)
    refused(bench.tell(FIRST), 403, "not_countersigned")
    assert kept(bench) == []
    bench.say_all(countersign(ASKED))
    assert bench.tell(FIRST).status_code == 201
    assert shown(bench).refused == {"not_countersigned": 1}


def test_what_lies_beyond_a_gap_is_not_taken(bench: Bench) -> None:
    bench.let_in(ASKED)
    first, second, third = chain(ASKED, 3)
    bench.tell_all(first)
    answer = bench.tell(third)
    refused(answer, 409, "report_gap")
    assert "2 is expected" in answer.json["detail"]
    assert kept(bench) == [(1, first.id)]
    assert shown(bench).state == "countersigned"
    bench.tell_all(second, third)
    assert shown(bench).refused == {"report_gap": 1}


@both
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_fork_quarantines_and_is_kept_once(
    bench: Bench, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    bench.let_in(ASKED)
    first, second = chain(ASKED, 2)
    bench.tell_all(first, second)
    other = report(ASKED, reason="said elsewhere")
    forks = {
        1: other,
        2: report(ASKED, other),
        # The next number, after a report that was never taken.
        3: report(ASKED, report(ASKED, other)),
    }
    fork = forks[number]
    for _ in range(2):
        refused(bench.tell(fork), 409, "report_fork")
    assert f"device {DEVICE} is quarantined" in caplog.text
    assert bench.client.get(f"/v1/enrolments/{ASKED.id}").json["state"] == "quarantined"
    device = shown(bench)
    assert (device.state, device.report) == ("quarantined", second.envelope)
    assert device.quarantined is not None
    assert device.quarantined.startswith("since 2027-03-01T09:00:00Z: ")
    # Whatever it says now is not counted; what was taken stays taken.
    refused(bench.tell(report(ASKED, second)), 403, "quarantined")
    refused(bench.tell(report(ASKED, other, reason="a third")), 409, "report_fork")
    assert bench.tell(second).status_code == 200
    assert kept(bench) == [(1, first.id), (2, second.id)]
    with bench.back.database.reading() as db:
        (evidence,) = db.scalars(select(ForkRow))
        assert open_as(read_envelope(evidence.envelope), Report).id == fork.id
    assert shown(bench).refused == {"report_fork": 3, "quarantined": 1}


def test_a_device_leaves_quarantine_by_a_new_countersigned_enrolment(bench: Bench) -> None:
    bench.let_in(ASKED)
    bench.tell_all(FIRST)
    bench.tell(report(ASKED, reason="said elsewhere"))
    anew = enrolment(key="new-key", at=NOW)
    bench.say_all(claim())
    bench.enrol(anew)
    assert shown(bench).state == "quarantined"
    # Countersigning the old one again is no way out.
    bench.say_all(countersign(ASKED, "omar", at=NOW))
    assert shown(bench).state == "quarantined"
    bench.say_all(countersign(anew, at=NOW + hours(0)))
    device = shown(bench)
    assert (device.enrolment, device.state) == (anew.envelope, "countersigned")
    assert (device.quarantined, device.report) == (None, None)
    # Numbering starts again.
    bench.tell_all(report(anew, key="new-key"))
    refused(bench.tell(report(ASKED, FIRST)), 403, "superseded")


def test_reports_of_two_devices_have_nothing_to_do_with_one_another(bench: Bench) -> None:
    other = enrolment("GW-0002")
    bench.let_in(ASKED)
    bench.let_in(other)
    bench.tell_all(*chain(ASKED, 3), report(other))
    bench.tell(report(ASKED, reason="a fork"))
    assert shown(bench, "GW-0002").state == "countersigned"
    assert bench.tell(report(other, report(other))).status_code == 201


def test_a_report_moves_the_device_to_the_cohort_that_it_polls(bench: Bench) -> None:
    bench.let_in(ASKED)
    bench.tell_all(report(ASKED, cohort=ST_BERT))
    answer = bench.client.get(f"/v1/devices?cohort={ST_BERT}", headers=bench.token())
    assert len(answer.json["items"]) == 1
    answer = bench.client.get("/v1/devices?cohort=canary", headers=bench.token())
    assert answer.json["items"] == []


def test_reports_need_no_roster(bench: Bench) -> None:
    """They are judged by what was noted: a store that cannot be read keeps none waiting."""
    bench.let_in(ASKED)
    store = bench.settings.store_directory
    moved = store.rename(store.with_name("elsewhere"))
    assert bench.tell(FIRST).status_code == 201
    moved.rename(store)


# At once


def _tell(bench: Bench, one: Opened[Report]) -> int:
    answer = bench.client.application.test_client().post(
        "/v1/reports", data=wire.encode(one.envelope), content_type="application/json"
    )
    return int(answer.status_code)


@both
def test_the_same_report_by_many_threads_is_taken_once(bench: Bench) -> None:
    bench.let_in(ASKED)
    assert bench.client is not None
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _tell(bench, FIRST), range(8)))
    assert sorted(answers) == [200] * 7 + [201]
    assert kept(bench) == [(1, FIRST.id)]


@both
def test_two_different_next_reports_at_once_are_a_fork(bench: Bench) -> None:
    bench.let_in(ASKED)
    rivals = [report(ASKED, reason=f"copy {number}") for number in range(6)]
    assert bench.client is not None
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: _tell(bench, one), rivals))
    assert sorted(answers) == [201] + [409] * 5
    winner = rivals[answers.index(201)]
    assert kept(bench) == [(1, winner.id)]
    assert shown(bench).refused == {"report_fork": 5}


@both
def test_counters_lose_nothing_among_threads(bench: Bench) -> None:
    bench.let_in(ASKED)
    forged = report(ASKED, key="GW-0002")
    assert bench.client is not None
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: _tell(bench, forged), range(40))) == {403}
    assert bench.refusals() == {("report", "bad_signature"): 40}
    assert shown(bench).refused == {"bad_signature": 40}


def _report_in_a_process(fleet: Fleet, device: str, gate: Any, answers: Any) -> None:
    bench = Bench(fleet)
    bench.restart()
    mine = chain(enrolment(device), 5)
    forged = report(ASKED, key="GW-0002")
    gate.wait()
    found = Counter[int]()
    for one in mine:
        found[bench.tell(one).status_code] += 1
        found[bench.tell(forged).status_code] += 1
        found[bench.tell(FIRST).status_code] += 1
    bench.back.refusals.flush()
    answers.put(dict(found))


@both
def test_reports_and_counters_of_several_processes(fleet: Fleet, signers: Signers) -> None:
    """Each process has a device of its own, and all send one device's first report."""
    bench = Bench(fleet, signers)
    bench.restart()
    devices = ["GW-0011", "GW-0012", "GW-0013"]
    for device in (DEVICE, *devices):
        bench.let_in(enrolment(device))
    context = multiprocessing.get_context("spawn")
    gate, queue = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_report_in_a_process, args=(fleet, device, gate, queue))
        for device in devices
    ]
    for process in processes:
        process.start()
    answers = sum((Counter(queue.get(timeout=120)) for _ in processes), Counter[int]())
    for process in processes:
        process.join(120)
    assert answers == {201: 3 * 5 + 1, 200: 3 * 5 - 1, 403: 3 * 5}
    assert bench.refusals() == {("report", "bad_signature"): 15}
    assert shown(bench).refused == {"bad_signature": 15}
    for device in devices:
        assert shown(bench, device).report == chain(enrolment(device), 5)[-1].envelope
    bench.back.database.close()


# Any order of genuine, replayed, forged and re-ordered reports


class Chain(RuleBasedStateMachine):
    """Against a model of three lines: what was taken, what was refused, and whether it forked."""

    bench: Bench
    count = 0

    @initialize()
    def enrol(self) -> None:
        type(self).count += 1
        self.token = self.bench.token()
        self.asked = enrolment(f"GW-1{self.count:03}")
        self.bench.let_in(self.asked)
        self.taken: list[Opened[Report]] = []
        self.refused = Counter[str]()
        self.forked: str | None = None

    def tell(self, one: Opened[Report], expected: str) -> None:
        answer = self.bench.tell(one)
        said = {201: "new", 200: "known"}.get(answer.status_code) or answer.json["reason"]
        assert said == expected
        if expected not in {"new", "known"}:
            self.refused[expected] += 1

    def _next(self, **fields: Any) -> Opened[Report]:
        return report(self.asked, self.taken[-1] if self.taken else None, **fields)

    @rule(reason=st.sampled_from(["poll", "boot", "confirm"]))
    def genuine(self, reason: str) -> None:
        one = self._next(reason=reason)
        self.tell(one, "quarantined" if self.forked else "new")
        if self.forked is None:
            self.taken.append(one)

    @rule(back=st.integers(0, 5))
    def replayed(self, back: int) -> None:
        if self.taken:
            self.tell(self.taken[-1 - back % len(self.taken)], "known")

    @rule(ahead=st.integers(1, 3))
    def ahead_of_its_time(self, ahead: int) -> None:
        one = self._next()
        for _ in range(ahead):
            one = report(self.asked, one)
        self.tell(one, "quarantined" if self.forked else "report_gap")

    @rule(key=st.sampled_from(["GW-0002", "olga"]), fleet=st.sampled_from(["north", "south"]))
    def forged(self, key: str, fleet: str) -> None:
        one = self._next(key=key, fleet=fleet)
        self.tell(one, "wrong_fleet" if fleet == "south" else "bad_signature")

    @rule(back=st.integers(0, 5), seldom=st.integers(0, 9))
    def forking(self, back: int, seldom: int) -> None:
        if not self.taken or seldom:
            return
        place = back % len(self.taken)
        one = report(
            self.asked,
            self.taken[place - 1] if place else None,
            reason=f"elsewhere {len(self.taken)}",
        )
        self.tell(one, "report_fork")
        self.forked = self.forked or one.id

    @invariant()
    def the_server_agrees(self) -> None:
        if not hasattr(self, "taken"):
            return
        self.bench.back.refusals.flush()
        path = f"/v1/devices/{self.asked.said.device}"
        answer = self.bench.client.get(path, headers=self.token)
        device = wire.decode(answer.data, Device, limit=MAX_ANSWER, what="device")
        assert device.report == (self.taken[-1].envelope if self.taken else None)
        assert device.state == ("quarantined" if self.forked else "countersigned")
        assert device.refused == dict(self.refused)

    def teardown(self) -> None:
        if not hasattr(self, "taken"):
            return
        with self.bench.back.database.reading() as db:
            newest = select(ReportRow).order_by(ReportRow.enrolment.desc(), ReportRow.number)
            envelopes = [row.envelope for row in db.scalars(newest)]
        mine = [
            one.id
            for one in (open_as(read_envelope(envelope), Report) for envelope in envelopes)
            if one.said.enrolment == self.asked.id
        ]
        assert mine == [one.id for one in self.taken]


@pytest.fixture(scope="module")
def shared(
    template: Fleet, signers: Signers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    bench = Bench(template.copy(tmp_path_factory.mktemp("reports") / "fleet"), signers)
    bench.restart()
    yield bench
    bench.back.database.close()


def test_any_order_of_reports_leads_where_the_model_leads(
    shared: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    class Here(Chain):
        bench = shared

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
