"""Assignments: which are taken, and which stand in the directive that a device reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from interlock_core import wire
from interlock_core.api import Device
from interlock_core.directive import (
    MAX_DIRECTIVE,
    Directive,
    ProductDirective,
    read_directive,
)
from interlock_core.fleet import Place, move
from interlock_core.order import Assignment, Authorisation
from interlock_core.roster import Judge
from interlock_core.statement import Opened, open_as
from interlock_server.director import Directed, direct
from interlock_server.image import Released
from interlock_server.onfile import collect
from tests.server.world import NOW, V1, Bench, CutStore, PowerCut, both
from tests.support import people
from tests.support.papers import (
    DEVICE,
    PRODUCT,
    assignment,
    authorise,
    claim,
    days,
    digest,
    enrolment,
    hours,
    order,
    report,
    started,
)
from tests.support.people import CANARY, FLEET, ROSTER, ST_ANNA, ST_BERT

HERE = enrolment(cohort=ST_ANNA)
ABSENT = digest("nothing")


def moving(**fields: Any) -> Opened[Assignment]:
    """From ``st-anna`` to the canary cohort."""
    return assignment(HERE.id, **fields)


def shown(bench: Bench, cohort: str = ST_ANNA) -> ProductDirective | None:
    return bench.directive(cohort).products.get(PRODUCT)


def wanted(bench: Bench, cohort: str = ST_ANNA) -> Directive:
    """What ``check`` holds the published directive against."""
    with bench.back.database.reading() as db:
        return read_directive(bench.back.publisher.directed(db, cohort).directive)


def obeyed(bench: Bench, seq: int = 0) -> str | None:
    """Where a gateway in ``st-anna`` that reads its directive goes."""
    entry = shown(bench)
    if entry is None:
        return None
    judge = Judge(ROSTER, bench.clock())
    said = move(
        judge,
        [open_as(one, Assignment) for one in entry.assignments],
        [open_as(one, Authorisation) for one in entry.authorisations],
        Place(HERE.id, DEVICE, ST_ANNA, ("*",), seq),
    )
    return said.said.to_cohort if said is not None else None


@pytest.fixture
def moved(bench: Bench) -> Bench:
    """A server with a device in ``st-anna``."""
    bench.let_in(HERE)
    return bench


# What the directive holds


def test_an_assignment_reaches_the_device_when_enough_have_signed(moved: Bench) -> None:
    said = moving()
    assert moved.say(said).json == {"id": said.id, "type": "urn:interlock:assignment:v1"}
    assert shown(moved) is None
    word = authorise(said)
    assert moved.say(word).status_code == 201
    # There is an entry although there is no order, and only where the device is.
    assert shown(moved) == ProductDirective(
        order=None,
        authorisations=(word.envelope,),
        chain=(),
        stops=(),
        assignments=(said.envelope,),
    )
    assert shown(moved, CANARY) is None
    assert obeyed(moved) == CANARY


def test_it_stands_beside_the_order_and_after_its_words(moved: Bench) -> None:
    update = order(targets=(V1.target(),))
    moved.say_all(update, *started(update, consents=True))
    said = moving()
    word = authorise(said)
    moved.say_all(said, word)
    entry = shown(moved)
    assert entry is not None
    assert entry.order == update.envelope
    assert len(entry.authorisations) == 5
    assert entry.authorisations[-1] == word.envelope
    assert entry.assignments == (said.envelope,)


def test_it_leaves_when_the_device_says_that_it_has_gone(moved: Bench) -> None:
    said = moving()
    moved.say_all(said, authorise(said))
    before = report(HERE, cohort=ST_ANNA, at=NOW)
    # What it said before the assignment was signed proves nothing.
    stale = report(HERE, before, cohort=CANARY, at=said.said.at - hours(1))
    moved.tell_all(before, stale)
    moved.back.publisher.refresh()
    assert obeyed(moved) == CANARY
    moved.tell_all(report(HERE, stale, cohort=CANARY, at=NOW))
    # A report publishes nothing by itself; the next publication leaves it out.
    assert obeyed(moved) == CANARY
    assert wanted(moved) == moved.directive(ST_ANNA)
    moved.back.publisher.refresh()
    assert shown(moved) is None
    assert wanted(moved) == moved.directive(ST_ANNA)


def test_a_device_that_was_moved_back_is_not_moved_again_by_the_old_one(moved: Bench) -> None:
    away = moving()
    back = assignment(HERE.id, from_cohort=CANARY, to_cohort=ST_ANNA, seq=2, at=NOW)
    moved.say_all(away, authorise(away))
    there = report(HERE, cohort=CANARY, at=NOW)
    moved.tell_all(there)
    moved.say_all(back, authorise(back))
    assert shown(moved, CANARY) is not None
    home = report(HERE, there, cohort=ST_ANNA, at=NOW)
    moved.tell_all(home)
    moved.back.publisher.refresh()
    assert shown(moved, CANARY) is None
    assert shown(moved) is None


def test_it_leaves_when_it_expires(moved: Bench) -> None:
    said = moving(expires=NOW + hours(1))
    moved.say_all(said, authorise(said))
    assert obeyed(moved) == CANARY
    moved.clock.now = NOW + hours(1)
    moved.back.publisher.refresh()
    assert shown(moved) is None


def test_it_leaves_when_its_author_does(moved: Bench) -> None:
    said = moving()
    moved.say_all(said, authorise(said))
    made = people.roster(people.OMAR, people.ADA, seq=2, issued=NOW)
    moved.publish_roster(wire.encode(made), version=2)
    assert shown(moved) is None


def test_of_several_that_count_the_highest_stands_there(moved: Bench) -> None:
    first, second = moving(), moving(seq=2, to_cohort=ST_BERT)
    moved.say_all(first, authorise(first), second)
    # The second does not count yet.
    assert obeyed(moved) == CANARY
    moved.say_all(authorise(second))
    entry = shown(moved)
    assert entry is not None
    assert entry.assignments == (second.envelope,)
    assert obeyed(moved) == ST_BERT


@both
def test_a_superseded_enrolment_is_moved_no_more(moved: Bench) -> None:
    said = moving()
    moved.say_all(said, authorise(said))
    moved.let_in(enrolment(key="new-key", cohort=ST_ANNA, at=NOW))
    moved.back.publisher.refresh()
    assert shown(moved) is None


def test_a_replay_publishes_nothing(moved: Bench) -> None:
    """What is known and shown costs no turn: it is answered while somebody else publishes."""
    said = moving()
    word = authorise(said)
    moved.say_all(said, word)
    with moved.back.database.writing():
        for one in (said, word):
            assert moved.say(one).status_code == 200


@both
def test_a_crash_before_the_publication_is_mended_by_the_same_call(moved: Bench) -> None:
    said = moving()
    moved.say_all(said)
    word = authorise(said)
    moved.restart(CutStore(moved.store, 0))
    with pytest.raises(PowerCut):
        moved.say(word)
    moved.restart()
    assert shown(moved) is None
    assert moved.say(word).status_code == 200
    assert obeyed(moved) == CANARY


# Refused by name


REFUSED: dict[str, tuple[Opened[Any], int, str]] = {
    "of an unknown enrolment": (assignment(ABSENT), 403, "unknown_enrolment"),
    "of another device": (moving(device="GW-0002"), 403, "device_mismatch"),
    "by an approver": (moving(by="ada"), 403, "role_not_held"),
    "by the monitor": (moving(by="mona"), 403, "role_not_held"),
    "of another fleet": (moving(fleet="south"), 403, "wrong_fleet"),
    "with another's key": (moving(key="omar"), 403, "bad_signature"),
    "expired": (moving(expires=NOW), 403, "expired"),
    "dated in the future": (moving(at=NOW + timedelta(minutes=3)), 403, "dated_in_future"),
    "to a cohort without a director": (moving(to_cohort="ward-9"), 403, "cohort_not_served"),
    "from a cohort without a director": (moving(from_cohort="ward-9"), 403, "cohort_not_served"),
    "a number that was used": (moving(seq=3, reason="another"), 409, "seq_taken"),
    "a lower number": (moving(seq=2), 409, "seq_taken"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name_and_not_stored(moved: Bench, what: str) -> None:
    moved.say_all(moving(seq=3))
    said, status, reason = REFUSED[what]
    answer = moved.say(said)
    assert (answer.status_code, answer.json["reason"]) == (status, reason), answer.text
    assert moved.refusals() == {("statement", reason): 1}
    device = moved.read(f"/v1/devices/{DEVICE}", Device)
    assert device.assignments == (moving(seq=3).envelope,)


def test_an_operator_over_one_of_both_cohorts_moves_nobody(moved: Bench) -> None:
    half = people.person("olga", people.grant("operator", CANARY))
    made = people.roster(half, people.OMAR, people.ADA, seq=2, issued=NOW)
    moved.publish_roster(wire.encode(made), version=2)
    assert moved.say(moving()).json["reason"] == "role_not_held"


def test_a_device_that_waits_is_not_moved(bench: Bench) -> None:
    bench.say_all(claim(cohort=ST_ANNA))
    bench.enrol(HERE)
    assert bench.say(moving()).json["reason"] == "not_countersigned"


def test_a_superseded_enrolment_is_refused(moved: Bench) -> None:
    moved.let_in(enrolment(key="new-key", cohort=ST_ANNA, at=NOW))
    assert moved.say(moving()).json["reason"] == "superseded"


def test_where_the_device_is_said_to_be_is_not_judged(moved: Bench) -> None:
    """Reports may be late: the gateway itself knows where it is."""
    assert moved.say(moving(from_cohort=ST_BERT)).status_code == 201


def test_the_same_again_is_known_also_when_it_expired(moved: Bench) -> None:
    said = moving(expires=NOW + hours(1))
    assert moved.say(said).status_code == 201
    moved.clock.now = NOW + hours(2)
    assert moved.say(said).status_code == 200


WORDS: dict[str, tuple[Opened[Any], str]] = {
    "one's own": (authorise(moving(), "olga", role="operator"), "own_authorisation"),
    "a role that is not held": (authorise(moving(), "omar"), "role_not_held"),
    "of nothing": (authorise(moving(), id=ABSENT), "unknown_subject"),
    "as another kind": (authorise(moving(), authorises="go"), "unknown_subject"),
}


@pytest.mark.parametrize("what", WORDS)
def test_words_refused_by_name(moved: Bench, what: str) -> None:
    moved.say_all(moving())
    said, reason = WORDS[what]
    answer = moved.say(said)
    assert (answer.status_code, answer.json["reason"]) == (403, reason)


# The director alone: floods


def directed(*papers: Opened[Any], cohort: str = ST_ANNA) -> Directed:
    released = Released(ROSTER, {})
    return direct(Judge(ROSTER, NOW), collect(papers), released, FLEET, cohort)


def entry_of(found: Directed) -> ProductDirective:
    return read_directive(found.directive).products[PRODUCT]


def flood(number: int, **fields: Any) -> list[Opened[Any]]:
    papers: list[Opened[Any]] = []
    for one in range(number):
        device = enrolment(f"GW-{one:04}", cohort=ST_ANNA)
        said = assignment(device.id, device=device.said.device, **fields)
        papers += [device, said, authorise(said)]
    return papers


def test_the_newest_stand_there_when_there_are_too_many() -> None:
    papers = flood(300)
    entry = entry_of(directed(*papers))
    assert len(entry.assignments) == len(entry.authorisations) == 256
    wanted = [one.envelope for one in papers if isinstance(one.said, Assignment)]
    assert entry.assignments == tuple(reversed(wanted[-256:]))


def test_a_flood_of_assignments_takes_nothing_from_the_order() -> None:
    update = order()
    first = started(update, consents=True)
    entry = entry_of(directed(update, *first, *flood(300)))
    assert entry.order == update.envelope
    words = [one.envelope for one in first if isinstance(one.said, Authorisation)]
    assert set(words) <= set(entry.authorisations)
    assert len(entry.authorisations) == 256
    # Each that stands there has its word.
    assert len(entry.assignments) == 256 - len(words)


def test_bulky_assignments_are_cut_to_fit() -> None:
    found = directed(*flood(255, reason="x" * 1000, checkpoint="y" * 4096))
    whole = entry_of(found)
    assert found.cut == ()
    assert len(whole.assignments) == 255
    # A control character takes six bytes.
    full = directed(*flood(200, reason="\x01" * 1000, checkpoint="\x01" * 4096))
    assert len(full.directive) <= MAX_DIRECTIVE
    assert full.cut == (PRODUCT,)
    assert 0 < len(entry_of(full).assignments) < 200


def test_an_assignment_of_an_enrolment_that_is_not_on_file_is_left_out() -> None:
    said = moving()
    found = directed(said, authorise(said))
    assert read_directive(found.directive).products == {}


def test_the_statements_that_move_devices_take_effect_with_time() -> None:
    said = moving(at=NOW + days(1), expires=NOW + days(2))
    found = directed(HERE, said, authorise(said))
    assert read_directive(found.directive).products == {}
