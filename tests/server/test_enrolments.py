"""Claims and enrolments: who is let in, who is refused by which name, and what a claim costs."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.api import ClaimPage, Device, DevicePage, EnrolmentRequest
from interlock_core.errors import InterlockError
from interlock_core.report import Enrolment
from interlock_core.roster import Grant, Person
from interlock_core.statement import Envelope, Opened, Signature
from interlock_server.online_keys import Signers
from tests.server.world import NOW, Bench, Fleet, both
from tests.support import people
from tests.support.papers import (
    DEVICE,
    SECRET,
    claim,
    countersign,
    days,
    digest,
    enrolment,
    report,
)
from tests.support.people import ST_ANNA, ST_BERT

ABSENT = digest("nothing")
OTHER_SECRET = 4 * "other-1-"
ENGINEER = Person(
    name="erik",
    keys=(people.public_key("erik"),),
    grants=(Grant(role="engineer", cohorts=("*",), expires=people.FAR, sites=("ward-7",)),),
)


def renewed(bench: Bench, *persons: Any, seq: int = 2, **fields: Any) -> None:
    made = people.roster(*persons, seq=seq, issued=NOW, **fields)
    bench.publish_roster(wire.encode(made), version=seq)


def with_engineer(bench: Bench) -> None:
    renewed(bench, *people.PEOPLE, ENGINEER)


def shown(bench: Bench, device: str = DEVICE) -> Device:
    return bench.read(f"/v1/devices/{device}", Device)


# From the claim to the countersignature


def test_a_device_is_let_in_step_by_step(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert bench.say(claim()).json["type"] == "urn:interlock:claim:v1"
    asked = enrolment()
    answer = bench.enrol(asked)
    assert (answer.status_code, answer.json) == (201, {"id": asked.id, "state": "waiting"})
    assert bench.client.get(f"/v1/enrolments/{asked.id}").json["state"] == "waiting"
    word = countersign(asked)
    assert bench.say(word).status_code == 201
    assert bench.client.get(f"/v1/enrolments/{asked.id}").json == {
        "id": asked.id,
        "state": "countersigned",
    }
    device = shown(bench)
    assert (device.enrolment, device.state) == (asked.envelope, "countersigned")
    assert device.words == (word.envelope,)
    assert f"device {DEVICE} asks to be enrolled at site ward-7" in caplog.text
    assert f"device {DEVICE} is countersigned" in caplog.text


def test_the_same_request_again_is_known_whatever_became_of_it(bench: Bench) -> None:
    bench.say_all(claim())
    asked = enrolment()
    assert bench.enrol(asked).status_code == 201
    again = bench.enrol(asked)
    assert (again.status_code, again.json) == (200, {"id": asked.id, "state": "waiting"})
    bench.say_all(countersign(asked))
    # Also when the claim has expired, and when its author has gone.
    bench.clock.now = NOW + days(8)
    assert bench.enrol(asked).json["state"] == "countersigned"
    assert bench.read("/v1/claims", ClaimPage).items[0].used_by == DEVICE


def test_an_engineer_of_the_site_makes_claims_and_countersigns(bench: Bench) -> None:
    with_engineer(bench)
    bench.say_all(claim(by="erik"))
    asked = enrolment()
    bench.enrol(asked)
    elsewhere = bench.say(claim(OTHER_SECRET, by="erik", site="ward-8"))
    assert (elsewhere.status_code, elsewhere.json["reason"]) == (403, "role_not_held")
    assert bench.say(countersign(asked, "erik", "engineer")).status_code == 201
    assert shown(bench).state == "countersigned"


def test_only_the_devices_signature_is_kept(bench: Bench) -> None:
    bench.say_all(claim())
    asked = enrolment()
    (mine,) = asked.envelope.signatures
    padded = Envelope(
        payload=asked.envelope.payload,
        payload_type=asked.envelope.payload_type,
        signatures=(Signature(keyid=digest("relay"), sig="AAAA"), mine),
    )
    body = EnrolmentRequest(claim=SECRET, enrolment=padded)
    assert bench.post("/v1/enrolments", body).status_code == 201
    assert shown(bench).enrolment == asked.envelope


def test_the_secret_is_neither_kept_nor_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bench.say_all(claim())
    for opened in (enrolment(site="ward-8"), enrolment(), enrolment(), enrolment(reason="again")):
        bench.enrol(opened)
    bench.enrol(enrolment(), OTHER_SECRET)
    bench.back.refusals.flush()
    bench.back.database.close()
    file = bench.settings.database_file
    assert file is not None
    for secret in (SECRET, OTHER_SECRET):
        assert secret not in caplog.text
        for path in file.parent.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path


# Refused by name


def _by_another_key(said: Opened[Enrolment]) -> Opened[Enrolment]:
    """The words of one device under the signature of another."""
    other = enrolment("GW-9999")
    envelope = Envelope(
        payload=said.envelope.payload,
        payload_type=said.envelope.payload_type,
        signatures=other.envelope.signatures,
    )
    return Opened(said.said, said.id, said.payload, envelope)


REFUSED: dict[str, tuple[Opened[Enrolment], int, str]] = {
    "another fleet": (enrolment(fleet="south"), 403, "wrong_fleet"),
    "another site": (enrolment(site="ward-8"), 403, "claim_mismatch"),
    "another cohort": (enrolment(cohort=ST_BERT), 403, "claim_mismatch"),
    "another product": (enrolment(product="pump"), 403, "claim_mismatch"),
    "another key's signature": (_by_another_key(enrolment()), 403, "bad_signature"),
    "dated in the future": (enrolment(at=NOW + timedelta(minutes=3)), 403, "dated_in_future"),
    "a key of a person": (enrolment(key="olga"), 409, "key_taken"),
    "a key of another device": (enrolment("GW-0002", key="GW-0007"), 409, "key_taken"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name_and_the_claim_is_not_spent(
    bench: Bench, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.let_in(enrolment("GW-0007"))
    bench.say_all(claim())
    said, status, reason = REFUSED[what]
    answer = bench.enrol(said)
    assert (answer.status_code, answer.json["reason"]) == (status, reason), answer.text
    assert reason in caplog.text
    assert bench.refusals() == {("enrolment", reason): 1}
    assert bench.client.get(f"/v1/enrolments/{said.id}").status_code == 404
    # The honest device comes afterwards.
    assert bench.enrol(enrolment()).status_code == 201


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"device": "GW-0001"}, enrolment("GW-0002")),
        ({"hardware": "cm4-r2"}, enrolment(hardware="cm5-r1")),
    ],
)
def test_a_claim_for_one_device_fits_no_other(
    bench: Bench, fields: dict[str, str], asked: Opened[Enrolment]
) -> None:
    bench.say_all(claim(**fields))
    assert bench.enrol(asked).json["reason"] == "claim_mismatch"
    assert bench.enrol(enrolment()).status_code == 201


def test_a_claim_is_used_once(bench: Bench) -> None:
    bench.say_all(claim())
    assert bench.enrol(enrolment()).status_code == 201
    late = bench.enrol(enrolment("GW-0002"))
    assert (late.status_code, late.json["reason"]) == (409, "claim_used")
    assert bench.client.get("/v1/devices/GW-0002", headers=bench.token()).status_code == 404


def test_a_stranger_learns_nothing_of_claims_that_do_not_count(bench: Bench) -> None:
    """Unknown, expired, or by somebody who has left: one name, one sentence."""
    unknown = bench.enrol(enrolment(), OTHER_SECRET)
    bench.say_all(claim(expires=NOW + timedelta(hours=1)), claim(OTHER_SECRET, by="omar"))
    bench.clock.now = NOW + timedelta(hours=2)
    expired = bench.enrol(enrolment())
    renewed(bench, people.OLGA)
    left = bench.enrol(enrolment(), OTHER_SECRET)
    for answer in (unknown, expired, left):
        assert (answer.status_code, answer.json["reason"]) == (403, "bad_claim")
    assert unknown.json == expired.json == left.json


def test_a_cohort_that_the_roster_ceased_to_cover_is_denied(bench: Bench) -> None:
    bench.say_all(claim())
    rules = (people.rules(ST_ANNA),)
    renewed(bench, rules=rules)
    answer = bench.enrol(enrolment())
    assert (answer.status_code, answer.json["reason"]) == (403, "cohort_denied")


def test_before_a_roster_nobody_is_let_in(empty: Fleet) -> None:
    bench = Bench(empty)
    bench.found()
    assert bench.enrol(enrolment()).json["reason"] == "no_roster"


def test_a_secret_stands_in_one_claim(bench: Bench) -> None:
    bench.say_all(claim())
    again = bench.say(claim())
    assert again.status_code == 200
    other = bench.say(claim(site="ward-8"))
    assert (other.status_code, other.json["reason"]) == (409, "secret_taken")


CLAIMS: dict[str, tuple[Opened[Any], str]] = {
    "by an approver": (claim(by="ada"), "role_not_held"),
    "by nobody known": (claim(by="mallory"), "unknown_author"),
    "of another fleet": (claim(fleet="south"), "wrong_fleet"),
    "expired": (claim(expires=NOW), "expired"),
    "for a cohort that is not served": (claim(cohort="ward-9"), "cohort_not_served"),
    "dated in the future": (
        claim(at=NOW + timedelta(minutes=3), expires=NOW + days(1)),
        "dated_in_future",
    ),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_claims_refused_by_name(bench: Bench, what: str) -> None:
    said, reason = CLAIMS[what]
    answer = bench.say(said)
    assert (answer.status_code, answer.json["reason"]) == (403, reason)
    assert bench.refusals() == {("statement", reason): 1}
    assert bench.read("/v1/claims", ClaimPage).items == ()


def test_a_claim_on_file_may_expire_and_be_sent_again(bench: Bench) -> None:
    said = claim(expires=NOW + timedelta(hours=1))
    bench.say_all(said)
    bench.clock.now = NOW + timedelta(hours=2)
    assert bench.say(said).status_code == 200
    (kept,) = bench.read("/v1/claims", ClaimPage).items
    assert (kept.claim, kept.used_by, kept.expired) == (said.envelope, None, True)


# Countersignatures


WORDS: dict[str, tuple[Opened[Any], str]] = {
    "by an approver": (countersign(enrolment(), "ada", "approver"), "role_not_held"),
    "in a role not held": (countersign(enrolment(), "olga", "engineer"), "role_not_held"),
    "of nothing": (countersign(enrolment(), id=ABSENT), "unknown_subject"),
    "of an assignment": (countersign(enrolment(), authorises="assignment"), "unknown_subject"),
    "of an order": (countersign(enrolment(), authorises="order"), "unknown_subject"),
    "with another's key": (countersign(enrolment(), key="ada"), "bad_signature"),
}


@pytest.mark.parametrize("what", WORDS)
def test_countersignatures_refused_by_name(bench: Bench, what: str) -> None:
    bench.say_all(claim())
    bench.enrol(enrolment())
    said, reason = WORDS[what]
    answer = bench.say(said)
    assert (answer.status_code, answer.json["reason"]) == (403, reason)
    assert shown(bench).state == "waiting"


def test_nobody_countersigns_what_he_signed(bench: Bench) -> None:
    """A device that is called like a person, whose word would then be its own."""
    bench.say_all(claim())
    asked = enrolment("olga", key="a key of the device")
    assert bench.enrol(asked).status_code == 201
    assert bench.say(countersign(asked)).json["reason"] == "own_authorisation"
    assert bench.say(countersign(asked, "omar")).status_code == 201


def test_a_review_lets_nobody_in(bench: Bench) -> None:
    bench.say_all(claim())
    asked = enrolment()
    bench.enrol(asked)
    bench.say_all(countersign(asked, meaning="reviewed"))
    assert shown(bench).state == "waiting"


def test_a_countersignature_counts_no_more_when_its_author_leaves(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    asked = bench.let_in(enrolment(), by="omar")
    other = bench.let_in(enrolment("GW-0002"))
    renewed(bench, people.OLGA, people.ADA)
    assert shown(bench).state == "waiting"
    assert shown(bench, "GW-0002").state == "countersigned"
    assert "counts no more" in caplog.text
    assert bench.tell(report(asked)).json["reason"] == "not_countersigned"
    assert bench.tell(report(other)).status_code == 201
    bench.say_all(countersign(asked))
    assert shown(bench).state == "countersigned"


def test_a_countersignature_counts_no_more_when_its_authors_grant_runs_out(bench: Bench) -> None:
    brief = people.person("omar", people.grant("operator", expires=NOW + days(1)))
    renewed(bench, people.OLGA, brief)
    bench.let_in(enrolment(), by="omar")
    bench.clock.now = NOW + days(2)
    bench.back.publisher.refresh()
    assert shown(bench).state == "waiting"
    longer = people.person("omar", people.grant("operator"))
    renewed(bench, people.OLGA, longer, seq=3)
    assert shown(bench).state == "countersigned"


def test_a_cohort_that_cannot_be_published_keeps_nobody_entitled(bench: Bench) -> None:
    brief = people.person("omar", people.grant("operator", expires=NOW + days(1)))
    renewed(bench, people.OLGA, brief)
    bench.let_in(enrolment(), by="omar")
    bench.clock.now = NOW + days(2)
    broken = bench.settings.store_directory / "director/st-bert/metadata"
    moved = broken.rename(broken.with_name("elsewhere"))
    with pytest.raises(InterlockError):
        bench.back.publisher.refresh()
    moved.rename(broken)
    assert shown(bench).state == "waiting"


# A device that asks anew


def test_of_two_enrolments_that_countersigned_last_is_in_force(bench: Bench) -> None:
    first = bench.let_in(enrolment())
    second = enrolment(key="new-key", reason="new mainboard")
    bench.say_all(claim())
    assert bench.enrol(second).status_code == 201
    # Until then the old one stands, and the new one is seen to wait.
    assert shown(bench).enrolment == first.envelope
    waiting = bench.read("/v1/devices?state=waiting", DevicePage).items
    assert [one.enrolment for one in waiting] == [second.envelope]
    assert len(bench.read("/v1/devices", DevicePage).items) == 1
    bench.say_all(countersign(second, at=NOW))
    assert shown(bench).enrolment == second.envelope
    assert bench.client.get(f"/v1/enrolments/{first.id}").json["state"] == "superseded"
    assert bench.tell(report(first)).json["reason"] == "superseded"
    assert bench.tell(report(second, key="new-key")).status_code == 201


def test_what_was_never_countersigned_is_superseded_too(bench: Bench) -> None:
    bench.say_all(claim())
    stale = enrolment(key="stale-key")
    bench.enrol(stale)
    bench.let_in(enrolment())
    assert bench.client.get(f"/v1/enrolments/{stale.id}").json["state"] == "superseded"
    assert bench.read("/v1/devices?state=waiting", DevicePage).items == ()


def test_a_device_may_keep_its_key(bench: Bench) -> None:
    bench.let_in(enrolment())
    bench.let_in(enrolment(reason="factory reset", at=NOW))
    (device,) = bench.read("/v1/devices", DevicePage).items
    assert device.state == "countersigned"


def test_an_enrolment_that_another_claim_let_in_spends_no_second_one(bench: Bench) -> None:
    asked = bench.let_in(enrolment())
    bench.say_all(claim())
    assert bench.enrol(asked).status_code == 200
    assert bench.enrol(enrolment("GW-0002")).status_code == 201


# At once


@both
def test_of_many_devices_with_one_claim_one_is_let_in(bench: Bench) -> None:
    bench.say_all(claim())
    asked = [enrolment(f"GW-{number:04}") for number in range(8)]
    application = bench.client.application

    def ask(one: Opened[Enrolment]) -> tuple[int, str]:
        body = EnrolmentRequest(claim=SECRET, enrolment=one.envelope)
        answer = application.test_client().post(
            "/v1/enrolments", data=wire.encode(body), content_type="application/json"
        )
        return answer.status_code, answer.get_json().get("reason", "")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, asked))
    assert sorted(answers) == [(201, "")] + [(409, "claim_used")] * 7
    (device,) = bench.read("/v1/devices", DevicePage).items
    winner = asked[answers.index((201, ""))]
    assert device.enrolment == winner.envelope
    assert bench.refusals() == {("enrolment", "claim_used"): 7}


def _ask_in_a_process(fleet: Fleet, device: str, gate: Any, answers: Any) -> None:
    bench = Bench(fleet)
    bench.restart()
    gate.wait()
    answers.put((bench.enrol(enrolment(device)).status_code, device))


def test_of_two_processes_with_one_claim_one_lets_in(fleet: Fleet, signers: Signers) -> None:
    bench = Bench(fleet, signers)
    bench.restart()
    bench.say_all(claim())
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_ask_in_a_process, args=(fleet, device, gate, answers))
        for device in ("GW-0001", "GW-0002")
    ]
    for process in processes:
        process.start()
    found = sorted(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(120)
    assert [status for status, _ in found] == [201, 409]
    (device,) = bench.read("/v1/devices", DevicePage).items
    assert device.enrolment == enrolment(found[0][1]).envelope
    bench.back.database.close()


def test_unknown_enrolments_are_not_found(bench: Bench) -> None:
    for id_ in (ABSENT, "nothing", "../x", DEVICE):
        answer = bench.client.get(f"/v1/enrolments/{id_}")
        assert answer.status_code == 404, id_
