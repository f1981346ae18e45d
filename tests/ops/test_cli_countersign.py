"""Devices are let in by a signature for exactly the enrolment that was shown."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from interlock_core.api import Device
from interlock_core.order import Authorisation
from interlock_core.report import Enrolment
from interlock_core.statement import Opened, open_as, read_envelope, sign
from tests.ops.world import Place, problem
from tests.support.papers import authorise, claim, days, enrolment, hours, revocation, rotation
from tests.support.people import CANARY, DAY0, FLEET, ST_ANNA, signer

READ = "labels read"


def ask(place: Place, device: str = "GW-0001", **fields: str) -> Opened[Enrolment]:
    return place.server.fleet.add(enrolment(device, **fields))


def words(place: Place) -> list[Authorisation]:
    return [paper.said for paper in place.server.of(Authorisation)]


def test_one_by_name(place: Place) -> None:
    paper, other = ask(place), ask(place, "GW-0002")
    used = claim(device="GW-0001")
    place.server.post(used)
    place.server.fleet.used[used.id] = "GW-0001"
    answer = place.device("countersign", "GW-0001", "--role", "operator")
    [said] = words(place)
    assert (said.authorises, said.id, said.role) == ("enrolment", paper.id, "operator")
    assert (said.fleet, said.author, said.meaning) == (FLEET, "olga", "approved")
    assert answer["reason"] == "countersigned"
    assert answer["devices"] == [
        {
            "device": "GW-0001",
            "enrolment": paper.id,
            "key": paper.said.key.keyid,
            "hardware": "cm4-r2",
            "product": "gateway",
            "site": "ward-7",
            "cohort": CANARY,
            "claim": used.id,
            "replaces": None,
        }
    ]
    assert place.json("device", "show", "GW-0001")["countersigned"] == {
        "by": "olga",
        "role": "operator",
        "at": "2027-03-01T08:00:00Z",
    }
    assert place.json("device", "show", "GW-0002")["state"] == "waiting"
    assert other.id not in {said.id for said in words(place)}


def test_all_that_wait_in_one_act(place: Place) -> None:
    papers = [ask(place, f"GW-000{n}") for n in range(1, 6)]
    away = ask(place, "GW-0009", site="ward-9")
    place.server.post(authorise(papers[0], "omar", role="operator"))
    result = place.run(
        *("device", "countersign", "--waiting", "--site", "ward-7", "--role", "operator"),
        *("--meaning", "consented", "--reason", READ),
        answer="y\n",
    )
    assert result.exit_code == 0, result.output
    assert "Sign these 4 statements as olga?" in result.stderr
    for paper in papers[1:]:
        key = paper.said.key.keyid
        for said in (paper.id, key, f"{key[:4]} {key[4:8]}", paper.said.device):
            assert said in result.stdout
    signed = [said.id for said in words(place) if said.author == "olga"]
    assert signed == [paper.id for paper in papers[1:]]
    assert away.id not in signed
    again = place.device("countersign", "--waiting", "--site", "ward-7", "--role", "operator")
    assert (again["outcome"], again["reason"]) == ("nothing_to_do", "none_waiting")


def test_an_engineer_lets_in_what_stands_at_his_site(place: Place) -> None:
    mine, away = ask(place), ask(place, "GW-0002", site="ward-9")
    answer = place.device("countersign", "--waiting", "--role", "engineer", by="ellen")
    assert [said.id for said in words(place)] == [mine.id]
    [skipped] = answer["skipped"]
    assert (skipped["device"], skipped["reason"]) == ("GW-0002", "role_not_held")
    refused = place.device("countersign", "GW-0002", "--role", "engineer", by="ellen", code=20)
    assert refused["reason"] == "role_not_held"
    refused = place.device("countersign", "GW-0002", "--role", "operator", by="ellen", code=20)
    assert refused["reason"] == "role_not_held"
    assert away.id not in {said.id for said in words(place)}


@pytest.mark.parametrize("forge", ["key", "fleet", "payload", "no key"])
def test_a_forged_enrolment_is_never_signed_for(place: Place, forge: str) -> None:
    """Another key's signature, another fleet, no statement, or a key that is none."""
    good = ask(place, "GW-0002")
    bad = enrolment("GW-0001")
    envelope = bad.envelope
    if forge == "key":
        other = enrolment("GW-0001", reason="another", key="mallory")
        envelope = msgspec.structs.replace(bad.envelope, signatures=other.envelope.signatures)
    elif forge == "fleet":
        envelope = enrolment("GW-0001", fleet="south").envelope
    elif forge == "payload":
        envelope = msgspec.structs.replace(bad.envelope, payload="e30=")
    elif forge == "no key":
        key = msgspec.structs.replace(bad.said.key, keyid="0" * 64)
        envelope = sign(msgspec.structs.replace(bad.said, key=key), signer("mallory"))
    ask(place)

    def lie(device: Device) -> Device:
        mine = device.enrolment == bad.envelope
        return msgspec.structs.replace(device, enrolment=envelope) if mine else device

    place.server.fleet.alter = lie
    refused = place.device("countersign", "GW-0001", "--role", "operator", code=20)
    assert refused["reason"] in {"forged_enrolment", "wrong_fleet", "malformed"}
    assert words(place) == []
    answer = place.device("countersign", "--waiting", "--role", "operator")
    assert [said.id for said in words(place)] == [good.id]
    assert len(answer["skipped"]) == 1


def test_what_is_signed_is_what_was_shown(place: Place) -> None:
    """A server that swaps the enrolment afterwards gains nothing: the id is the one computed."""
    paper = ask(place)
    answer = place.device("countersign", "GW-0001", "--role", "operator", "--dry-run")
    [statement] = answer["statements"]
    assert statement["predicate"]["id"] == paper.id == answer["devices"][0]["enrolment"]
    assert words(place) == []


def test_the_key_can_be_pinned(place: Place) -> None:
    paper = ask(place)
    key = paper.said.key.keyid
    wrong = place.device(
        *("countersign", "GW-0001", "--role", "operator", "--fingerprint", "0" * 20), code=20
    )
    assert wrong["reason"] == "wrong_key"
    short = ("countersign", "GW-0001", "--role", "operator", "--fingerprint", key[:8])
    assert place.device(*short, code=2)["reason"] == "usage"
    spaced = " ".join(key[start : start + 4] for start in range(0, 20, 4))
    place.device("countersign", "GW-0001", "--role", "operator", "--fingerprint", spaced)
    assert len(words(place)) == 1


def test_signing_again_is_nothing_to_do(place: Place) -> None:
    paper = ask(place)
    place.server.post(authorise(paper, "omar", role="operator"))
    answer = place.device("countersign", "GW-0001", "--role", "operator")
    assert (answer["outcome"], answer["reason"]) == ("nothing_to_do", "already_countersigned")
    assert len(words(place)) == 1


def test_a_countersignature_by_somebody_not_entitled_lets_nobody_in(place: Place) -> None:
    paper = ask(place)
    place.server.post(
        authorise(paper, "ada", role="approver"),
        authorise(paper, "ada", role="operator"),
        authorise(paper, "omar", role="operator", key="mallory"),
        authorise(paper, "omar", role="operator", meaning="reviewed"),
    )
    assert place.json("device", "show", "GW-0001")["state"] == "waiting"
    place.device("countersign", "GW-0001", "--role", "operator")
    assert place.json("device", "show", "GW-0001")["countersigned"]["by"] == "olga"


def test_a_new_key_for_a_device_that_is_enrolled_is_said(place: Place) -> None:
    old = ask(place)
    place.server.post(authorise(old, "omar", role="operator"))
    new = place.server.fleet.add(enrolment("GW-0001", at=DAY0 + hours(1), key="a-new-key"))
    place.clock.now += days(1)
    result = place.run(
        *("device", "countersign", "GW-0001", "--role", "operator", "--reason", READ, "--yes")
    )
    assert result.exit_code == 0, result.output
    assert f"enrolled already, with the key {old.said.key.keyid}" in result.stderr
    assert words(place)[-1].id == new.id
    assert place.json("device", "show", "GW-0001")["enrolment"]["id"] == new.id


@pytest.mark.parametrize("how", ["honest", "forged", "of another", "revoked"])
def test_a_rotation_is_by_the_key_in_force_or_none(place: Place, how: str) -> None:
    old = ask(place)
    used = claim(device="GW-0001")
    place.server.post(used, authorise(old, "omar", role="operator"))
    place.server.fleet.used[used.id] = "GW-0001"
    keys = ("a new key", "mallory" if how == "forged" else "GW-0001")
    of = enrolment("GW-0001", key="older") if how == "of another" else old
    new = place.server.fleet.add(rotation(of, at=DAY0 + hours(1), keys=keys))
    if how == "revoked":
        place.server.post(revocation(old))
    place.clock.now += days(1)
    result = place.run(
        *("device", "countersign", "--waiting", "--role", "operator", "--reason", READ, "--yes"),
        "--json",
    )
    if how == "honest":
        assert words(place)[-1].id == new.id
        # The claim that let the old key in did not let this one ask.
        assert json.loads(result.stdout)["devices"][0]["claim"] is None
        assert "by no claim" in result.stderr
        return
    assert new.id not in {said.id for said in words(place)}
    [skipped] = json.loads(result.stdout)["skipped"]
    assert skipped["reason"] == ("revoked" if how == "revoked" else "bad_rotation")


@pytest.mark.parametrize("how", ["none", "another", "void"])
def test_a_claim_that_does_not_fit_is_said(place: Place, how: str) -> None:
    ask(place)
    shown = {
        "none": [],
        "another": [claim(site="ward-9")],
        "void": [claim(by="ada")],
    }[how]
    place.server.post(*shown)
    for one in shown:
        place.server.fleet.used[one.id] = "GW-0001"
    result = place.run(
        *("device", "countersign", "GW-0001", "--role", "operator", "--reason", READ, "--yes")
    )
    assert result.exit_code == 0
    says = {"none": "shows no claim", "another": "site ward-9, not", "void": "nobody entitled"}
    assert says[how] in result.stderr
    assert len(words(place)) == 1


def test_an_engineer_of_the_site_over_another_cohort(place: Place) -> None:
    ask(place, cohort=ST_ANNA)
    refused = place.device("countersign", "GW-0001", "--role", "engineer", by="ellen", code=20)
    assert refused["reason"] == "role_not_held"


def test_countersignatures_cross_the_air_gap(place: Place, tmp_path: Path) -> None:
    paper = ask(place)
    file = tmp_path / "word.json"
    place.device("countersign", "GW-0001", "--role", "operator", "--output", file)
    assert words(place) == []
    assert open_as(read_envelope(file.read_bytes()), Authorisation).said.id == paper.id
    place.json("rollout", "post", file)
    assert place.json("device", "show", "GW-0001")["state"] == "countersigned"


def test_a_server_that_breaks_off_is_asked_again(place: Place) -> None:
    for n in range(1, 4):
        ask(place, f"GW-000{n}")
    place.server.room = 1
    answer = place.device("countersign", "--waiting", "--role", "operator", code=30)
    assert "1 of 3 were sent before" in answer["detail"]
    place.server.room = -1
    again = place.device("countersign", "--waiting", "--role", "operator")
    assert len(again["ids"]) == 2
    assert len({said.id for said in words(place)}) == 3


def test_a_server_that_refuses(place: Place) -> None:
    ask(place)
    place.server.refuse = problem(403, "role_not_held", "No.")
    assert place.device("countersign", "GW-0001", "--role", "operator", code=20)["reason"] == (
        "role_not_held"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("GW-0001", "--waiting"),
        ("GW-0001", "--site", "ward-7"),
        ("GW 1",),
        ("--waiting", "--site", "Ward"),
    ],
)
def test_slips(place: Place, wrong: tuple[str, ...]) -> None:
    assert place.device("countersign", *wrong, "--role", "operator", code=2)["reason"] == "usage"
    assert place.server.asked == []


def test_an_unknown_device(place: Place) -> None:
    refused = place.device("countersign", "GW-0001", "--role", "operator", code=2)
    assert refused["reason"] == "not_found"
