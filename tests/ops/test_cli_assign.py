"""A device is moved by an operator over both cohorts, and by others whom both rules ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interlock_core.order import Assignment, Authorisation
from interlock_core.report import Enrolment
from interlock_core.statement import Opened
from tests.ops.world import Place
from tests.support.papers import assignment, authorise, days, enrolment, report
from tests.support.people import CANARY, DAY0, FLEET, ST_ANNA, ST_BERT

DEVICE = "GW-0001"


@pytest.fixture
def paper(place: Place) -> Opened[Enrolment]:
    """A device of the canary cohort that is let in."""
    made = place.server.fleet.add(enrolment(DEVICE))
    place.server.post(authorise(made, "omar", role="operator"))
    return made


def assignments(place: Place) -> list[Assignment]:
    return [one.said for one in place.server.of(Assignment)]


def pending(place: Place) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.json("device", "show", DEVICE)["assignments"]
    return found


def test_from_assignment_to_effect(place: Place, paper: Opened[Enrolment]) -> None:
    answer = place.device("assign", DEVICE, "--to", ST_BERT)
    assert answer["reason"] == "assigned"
    assert answer["needed"] == {CANARY: {"approver": 1}, ST_BERT: {"approver": 1}}
    [said] = assignments(place)
    assert (said.enrolment, said.device, said.fleet) == (paper.id, DEVICE, FLEET)
    assert (said.from_cohort, said.to_cohort, said.seq) == (CANARY, ST_BERT, 1)
    assert said.expires == DAY0 + days(30)
    [move] = pending(place)
    assert move["lacking"] == ["1 more approver over canary", "1 more approver over st-bert"]
    assert "lacks 1 more approver" in place.run("device", "show", DEVICE).stdout

    done = place.device("authorise", answer["id"], "--role", "approver", by="ada")
    assert (done["reason"], done["to"]) == ("authorised", ST_BERT)
    word = place.server.of(Authorisation)[-1].said
    assert (word.authorises, word.id, word.role) == ("assignment", answer["id"], "approver")
    [move] = pending(place)
    assert (move["lacking"], move["done"]) == ([], False)
    assert "counts; until" in place.run("device", "show", DEVICE).stdout

    place.server.fleet.reports[paper.id] = report(paper, cohort=ST_BERT)
    [move] = pending(place)
    assert move["done"] is True
    nothing = place.device("assign", DEVICE, "--to", ST_BERT)
    assert (nothing["outcome"], nothing["reason"]) == ("nothing_to_do", "already_there")
    place.clock.now += days(1)
    back = place.device("assign", DEVICE, "--to", CANARY, "--expires", "7d")
    assert (back["from"], back["to"], back["seq"]) == (ST_BERT, CANARY, 2)
    assert assignments(place)[-1].expires == DAY0 + days(8)


def test_what_is_not_known_is_said(place: Place, paper: Opened[Enrolment]) -> None:
    place.server.fleet.served = (CANARY,)
    result = place.run(
        *("device", "assign", DEVICE, "--to", ST_ANNA, "--reason", "x"), answer="n\n"
    )
    assert result.exit_code == 2
    assert "its own configuration, which is not known here" in result.stderr
    assert "publishes nothing for the cohort st-anna" in result.stderr
    assert "Assignment 1 by olga: moves GW-0001" in result.stdout
    assert assignments(place) == []


def test_a_hospital_that_must_consent(place: Place, paper: Opened[Enrolment]) -> None:
    answer = place.device("assign", DEVICE, "--to", ST_ANNA)
    place.device("authorise", answer["id"], "--role", "approver", by="ada")
    [move] = pending(place)
    assert move["lacking"] == []


def test_an_assignment_that_waits_is_named(place: Place, paper: Opened[Enrolment]) -> None:
    first = place.device("assign", DEVICE, "--to", ST_BERT)
    refused = place.device("assign", DEVICE, "--to", ST_BERT, by="omar", code=20)
    assert refused["reason"] == "waiting_for_approval"
    assert first["id"] in refused["detail"]
    place.clock.now += days(1)
    again = place.device("assign", DEVICE, "--to", ST_BERT, "--seq", "7", by="omar")
    assert again["seq"] == 7
    other = place.device("assign", DEVICE, "--to", ST_ANNA)
    assert other["seq"] == 8


def test_numbers_that_nobody_signed_do_not_count(place: Place, paper: Opened[Enrolment]) -> None:
    place.server.post(assignment(paper.id, device=DEVICE, seq=2**53 - 1, key="mallory"))
    assert place.device("assign", DEVICE, "--to", ST_BERT)["seq"] == 1


def test_who_may_not_assign(place: Place, paper: Opened[Enrolment]) -> None:
    refused = place.device("assign", DEVICE, "--to", ST_BERT, by="ada", code=20)
    assert refused["reason"] == "role_not_held"


def test_what_waits_is_not_moved(place: Place) -> None:
    place.server.fleet.add(enrolment(DEVICE))
    refused = place.device("assign", DEVICE, "--to", ST_BERT, code=20)
    assert refused["reason"] == "not_countersigned"


def test_a_forged_device_is_not_moved(place: Place) -> None:
    place.server.fleet.add(enrolment(DEVICE, fleet="south"))
    assert place.device("assign", DEVICE, "--to", ST_BERT, code=20)["reason"] == "wrong_fleet"


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "St-Bert"),
        (),
        ("--to", ST_BERT, "--expires", "soon"),
        ("--to", ST_BERT, "--seq", "0"),
    ],
)
def test_slips(place: Place, paper: Opened[Enrolment], words: tuple[str, ...]) -> None:
    assert place.device("assign", DEVICE, *words, code=2)["reason"] == "usage"
    assert assignments(place) == []


def test_an_assignment_in_the_past(place: Place, paper: Opened[Enrolment]) -> None:
    words = ("assign", DEVICE, "--to", ST_BERT, "--expires", "2027-03-01T08:00:00Z")
    assert place.device(*words, code=20)["reason"] == "expired_assignment"


def test_assignments_cross_the_air_gap(
    place: Place, paper: Opened[Enrolment], tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    place.device("assign", DEVICE, "--to", ST_BERT, "--output", file)
    assert assignments(place) == []
    shown = place.run("rollout", "post", file)
    assert shown.exit_code == 0
    assert "moves GW-0001" in shown.stdout
    assert len(assignments(place)) == 1


# Authorising


def test_what_would_not_count_is_not_signed(place: Place, paper: Opened[Enrolment]) -> None:
    id_ = place.device("assign", DEVICE, "--to", ST_BERT)["id"]
    own = place.device("authorise", id_, "--role", "approver", code=20)
    assert own["reason"] == "own_approval"
    for role, reason in (("operator", "role_not_asked"), ("approver", "role_not_held")):
        refused = place.device("authorise", id_, "--role", role, by="omar", code=20)
        assert refused["reason"] == reason
    place.device("authorise", id_, "--role", "approver", by="ada")
    again = place.device("authorise", id_, "--role", "approver", by="ada")
    assert (again["outcome"], again["reason"]) == ("nothing_to_do", "already_authorised")
    place.clock.now += days(31)
    late = place.device("authorise", id_, "--role", "approver", by="ada", code=20)
    assert late["reason"] == "expired_assignment"


def test_a_forged_assignment_is_not_authorised(place: Place, paper: Opened[Enrolment]) -> None:
    forged = assignment(
        paper.id, device=DEVICE, from_cohort=CANARY, to_cohort=ST_BERT, key="mallory"
    )
    place.server.post(forged)
    refused = place.device("authorise", forged.id, "--role", "approver", by="ada", code=20)
    assert refused["reason"] == "unauthorised_assignment"
    assert len(place.server.of(Authorisation)) == 1


def test_one_from_where_it_is_not(place: Place, paper: Opened[Enrolment]) -> None:
    stale = assignment(paper.id, device=DEVICE, from_cohort=ST_ANNA, to_cohort=ST_BERT)
    place.server.post(stale)
    refused = place.device("authorise", stale.id, "--role", "approver", by="ada", code=20)
    assert refused["reason"] == "moved_already"
    assert "does not apply: it is in canary" in place.run("device", "show", DEVICE).stdout


def test_it_is_found_among_all_devices(place: Place, paper: Opened[Enrolment]) -> None:
    for n in range(2, 6):
        made = place.server.fleet.add(enrolment(f"GW-000{n}"))
        place.server.post(authorise(made, "omar", role="operator"))
    id_ = place.device("assign", "GW-0005", "--to", ST_BERT)["id"]
    assert place.device("authorise", id_, "--role", "approver", by="ada")["device"] == "GW-0005"
    other = ("authorise", id_, "--device", DEVICE, "--role", "approver")
    assert place.device(*other, by="ada", code=2)["reason"] == "no_such_assignment"
    absent = ("authorise", "ab" * 32, "--role", "approver")
    assert place.device(*absent, by="ada", code=2)["reason"] == "no_such_assignment"
