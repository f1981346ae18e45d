"""Statements: what is stored, what is refused by name, and that directives follow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from interlock_core import wire
from interlock_core.order import Order
from interlock_core.statement import Envelope, Opened, Signature
from interlock_server.db.tables import RefusalRow, StatementRow
from interlock_server.director import direct
from tests.server.world import NOW, V1, V2, Bench, CutStore, PowerCut
from tests.support import people
from tests.support.papers import (
    authorise,
    consent,
    days,
    digest,
    enrolment,
    opening,
    order,
    renewal,
    resume,
    session,
    stage,
    stop,
)
from tests.support.people import CANARY, ST_ANNA, ST_BERT


def paper(**fields: Any) -> Opened[Order]:
    """An order for what is released."""
    return order(**{"targets": (V1.target(),)} | fields)


def stored(bench: Bench) -> int:
    with bench.back.database.reading() as db:
        return db.scalar(select(func.count()).select_from(StatementRow)) or 0


def refusals(bench: Bench) -> dict[tuple[str, str], int]:
    with bench.back.database.reading() as db:
        return {(row.kind, row.reason): row.times for row in db.scalars(select(RefusalRow))}


def test_a_rollout_reaches_the_directives_step_by_step(bench: Bench) -> None:
    said = paper()
    answer = bench.say(said)
    assert (answer.status_code, answer.json) == (
        201,
        {"id": said.id, "type": "urn:interlock:order:v1"},
    )
    assert bench.directive().products == {}
    bench.say_all(authorise(said))
    assert bench.directive(CANARY).products["gateway"].order == said.envelope
    # St. Anna has not consented.
    assert bench.directive(ST_ANNA).products == {}
    first = opening(said)
    bench.say_all(first)
    assert bench.directive(CANARY).products["gateway"].chain == ()
    bench.say_all(authorise(first), consent(said))
    assert bench.directive(CANARY).products["gateway"].chain == (first.envelope,)
    assert bench.directive(ST_ANNA).products["gateway"].order == said.envelope
    halt = stop(said)
    bench.say_all(halt)
    for cohort in (CANARY, ST_ANNA, ST_BERT):
        assert bench.directive(cohort).products["gateway"].stops == (halt.envelope,)


def test_the_same_statement_again_is_known(bench: Bench) -> None:
    said = paper()
    assert bench.say(said).status_code == 201
    again = bench.say(said)
    assert (again.status_code, again.json["id"]) == (200, said.id)
    assert stored(bench) == 1


def _edited(said: Opened[Any], **fields: Any) -> Opened[Any]:
    """Other words under the old signature."""
    other = paper(**fields)
    envelope = Envelope(
        payload=other.envelope.payload,
        payload_type=said.envelope.payload_type,
        signatures=said.envelope.signatures,
    )
    return Opened(other.said, other.id, other.payload, envelope)


ON_FILE = paper()
FIRST = opening(ON_FILE)
ABSENT = digest("nothing")

REFUSED: dict[str, tuple[Opened[Any], str]] = {
    "another fleet": (paper(fleet="south"), "wrong_fleet"),
    "an unknown author": (paper(by="mallory"), "unknown_author"),
    "another's signature": (paper(by="olga", key="omar"), "bad_signature"),
    "an unknown key": (paper(by="olga", key="mallory"), "bad_signature"),
    "edited after signing": (_edited(ON_FILE, seq=2), "bad_signature"),
    "dated in the future": (paper(at=NOW + timedelta(minutes=3)), "dated_in_future"),
    "an order by an approver": (paper(by="ada"), "role_not_held"),
    "an order by the monitor": (paper(by="mona"), "role_not_held"),
    "an order for an unknown cohort": (paper(stages=(stage("ward-9"),)), "unknown_cohort"),
    "an order for an unreleased image": (
        order(seq=2, targets=(V1.target(), V2.target())),
        "unknown_target",
    ),
    "an order for an SBOM": (
        paper(targets=(msgspec.structs.replace(V1.target(), path=V1.sbom_path),)),
        "unknown_target",
    ),
    "an order with another length": (
        paper(targets=(msgspec.structs.replace(V1.target(), length=7),)),
        "target_mismatch",
    ),
    "an order with another digest": (
        paper(targets=(msgspec.structs.replace(V1.target(), sha256=ABSENT),)),
        "target_mismatch",
    ),
    "authorising oneself": (authorise(ON_FILE, "olga", role="operator"), "own_authorisation"),
    "authorising what is not there": (authorise(ON_FILE, id=ABSENT), "unknown_subject"),
    "authorising an order as a go": (authorise(ON_FILE, authorises="go"), "unknown_subject"),
    "authorising an assignment": (authorise(ON_FILE, authorises="assignment"), "unknown_subject"),
    "a role that is not held": (authorise(ON_FILE, "omar"), "role_not_held"),
    "a role that nobody knows": (authorise(ON_FILE, role="janitor"), "role_not_held"),
    "a go of an unknown order": (opening(ON_FILE, order=ABSENT), "unknown_order"),
    "a go of an unknown stage": (opening(ON_FILE, 2), "unknown_stage"),
    "a manual stage by the monitor": (opening(ON_FILE, by="mona"), "role_not_held"),
    "a resume by the monitor": (resume(ON_FILE, at=NOW, by="mona"), "role_not_held"),
    "a renewal by an approver": (renewal(FIRST, at=NOW, by="ada"), "role_not_held"),
    "a renewal of nothing": (renewal(FIRST, at=NOW, renews=ABSENT), "unknown_opening"),
    "a renewal with another time": (renewal(FIRST, at=NOW, opened_at=NOW), "unknown_opening"),
    "a stop of an unknown order": (stop(ABSENT), "unknown_order"),
    "a stop by an approver": (stop(ON_FILE, by="ada"), "role_not_held"),
    "a stop where one may not": (stop(ON_FILE, by="hanna", cohort=CANARY), "role_not_held"),
    "a stop at a cohort not named": (stop(ON_FILE, cohort="ward-9"), "unknown_cohort"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name_logged_and_not_stored(
    bench: Bench, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.say_all(ON_FILE, FIRST)
    before = bench.directive()
    said, reason = REFUSED[what]
    answer = bench.say(said)
    assert (answer.status_code, answer.json["reason"]) == (403, reason), answer.text
    assert reason in caplog.text
    assert refusals(bench) == {("statement", reason): 1}
    assert stored(bench) == 2
    assert bench.directive() == before


def test_refusals_are_counted_by_name(bench: Bench) -> None:
    for _ in range(3):
        bench.say(REFUSED["an unknown author"][0])
    bench.say(REFUSED["another fleet"][0])
    assert refusals(bench) == {
        ("statement", "unknown_author"): 3,
        ("statement", "wrong_fleet"): 1,
    }


def test_one_number_one_order(bench: Bench) -> None:
    bench.say_all(paper())
    other = bench.say(paper(reason="another order with the same number"))
    assert (other.status_code, other.json["reason"]) == (409, "seq_taken")
    assert stored(bench) == 1


def test_what_is_not_a_statement_for_here_is_malformed(bench: Bench) -> None:
    for said in (enrolment(), session("0" * 32)):
        answer = bench.say(said)
        assert (answer.status_code, answer.json["reason"]) == (400, "malformed")
    assert refusals(bench) == {}


def test_those_who_may_do(bench: Bench) -> None:
    """Well signed by somebody entitled is stored, whether or not it counts yet."""
    said = paper(stages=(stage(CANARY), stage(CANARY, ST_ANNA, gate="auto")))
    first = opening(said)
    second = opening(said, 1, by="mona", at=NOW)
    halt = stop(said, by="hanna", cohort=ST_ANNA)
    bench.say_all(said, first, second, halt, stop(said, by="mona", at=NOW))
    bench.say_all(renewal(first, at=NOW, by="mona"), resume(said, at=NOW, clears=(halt,)))
    bench.say_all(authorise(said, "hanna", role="hospital", meaning="reviewed"))
    assert stored(bench) == 8


# The roster of the moment


def renewed(bench: Bench, *persons: Any, **fields: Any) -> None:
    made = people.roster(*persons, seq=2, issued=NOW, **fields)
    bench.publish_roster(wire.encode(made), version=2)


def test_a_person_who_left_is_unknown(bench: Bench) -> None:
    renewed(bench, people.OMAR, people.ADA)
    assert bench.say(paper()).json["reason"] == "unknown_author"


def test_a_grant_that_expired_is_not_held(bench: Bench) -> None:
    brief = people.person("olga", people.grant("operator", expires=NOW))
    renewed(bench, brief, people.ADA)
    assert bench.say(paper()).json["reason"] == "role_not_held"


def test_revoking_takes_effect_in_flight_and_another_signs_again(bench: Bench) -> None:
    said = paper()
    first = opening(said)
    bench.say_all(said, authorise(said), first, authorise(first))
    assert bench.directive().products["gateway"].chain == (first.envelope,)
    renewed(bench, people.OLGA, people.OMAR, people.ALAN)
    # Ada's word counts for nothing now: the order is served nowhere.
    assert bench.directive().products == {}
    bench.say_all(authorise(said, "alan"), authorise(first, "alan"))
    entry = bench.directive().products["gateway"]
    assert (entry.order, entry.chain) == (said.envelope, (first.envelope,))


def test_the_same_words_under_a_new_key_replace_a_dead_signature(bench: Bench) -> None:
    said = paper()
    bench.say_all(said, authorise(said))
    moved = people.person("olga", people.grant("operator"), keys=("olga-2",))
    renewed(bench, moved, people.ADA)
    assert bench.directive().products == {}
    again = paper(key="olga-2")
    assert again.id == said.id
    assert bench.say(again).status_code == 200
    assert bench.directive().products["gateway"].order == again.envelope
    # And a relayed copy of the dead one does not bring it back.
    assert bench.say(said).json["reason"] == "bad_signature"
    assert bench.directive().products["gateway"].order == again.envelope


def test_the_roster_ends_orders_for_ever(bench: Bench) -> None:
    said = paper(seq=4)
    bench.say_all(said, authorise(said))
    renewed(bench, min_order_seq={"gateway": 5})
    assert bench.directive().products == {}
    assert bench.say(paper(seq=3)).json["reason"] == "superseded_order"
    assert bench.say(paper(seq=5)).status_code == 201


def test_others_signatures_are_not_kept(bench: Bench) -> None:
    said = paper()
    (mine,) = said.envelope.signatures
    padding = tuple(Signature(keyid=digest(str(n)), sig="AAAA") for n in range(15))
    padded = Envelope(
        payload=said.envelope.payload,
        payload_type=said.envelope.payload_type,
        signatures=(*padding, mine),
    )
    assert bench.post("/v1/statements", padded).status_code == 201
    bench.say_all(authorise(said))
    assert bench.directive().products["gateway"].order == said.envelope


def test_a_clock_that_is_a_little_ahead_counts_at_once(bench: Bench) -> None:
    ahead = NOW + timedelta(seconds=30)
    said = paper(at=ahead)
    bench.say_all(said, authorise(said, at=ahead))
    assert bench.directive().products["gateway"].order == said.envelope


def test_before_a_roster_nobody_is_entitled(fleet_without_roster: Bench) -> None:
    answer = fleet_without_roster.say(paper())
    assert (answer.status_code, answer.json["reason"]) == (403, "no_roster")


@pytest.fixture
def fleet_without_roster(empty: Any) -> Bench:
    bench = Bench(empty)
    bench.found()
    return bench


# Failures after the statement was stored


def test_a_statement_survives_a_publication_that_fails(bench: Bench) -> None:
    said = paper()
    bench.say_all(said)
    broken = bench.settings.store_directory / "director/canary/metadata"
    moved = broken.rename(broken.with_name("elsewhere"))
    word = authorise(said)
    answer = bench.say(word)
    assert (answer.status_code, answer.json["reason"]) == (503, "not_published")
    assert "Send it again" in answer.json["detail"]
    assert answer.headers["Retry-After"]
    assert stored(bench) == 2
    # One cohort that cannot be published keeps no other waiting.
    assert bench.directive(ST_BERT).products["gateway"].order == said.envelope
    moved.rename(broken)
    again = bench.say(word)
    assert again.status_code == 200
    assert bench.directive(CANARY).products["gateway"].order == said.envelope


def test_whatever_is_wrong_with_one_cohort_the_others_are_published(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = paper()
    bench.say_all(said)

    def wrong(judge: Any, on_file: Any, released: Any, fleet: str, cohort: str, held: Any) -> Any:
        if cohort == CANARY:
            raise KeyError(cohort)
        return direct(judge, on_file, released, fleet, cohort, held)

    with monkeypatch.context() as patch:
        patch.setattr("interlock_server.heads.direct", wrong)
        answer = bench.say(authorise(said))
    assert (answer.status_code, answer.json["reason"]) == (503, "not_published")
    assert bench.directive(ST_BERT).products["gateway"].order == said.envelope
    assert bench.directive(CANARY).products == {}
    bench.back.engine.round()
    assert bench.directive(CANARY).products["gateway"].order == said.envelope


def test_refresh_repairs_what_a_crash_left(bench: Bench) -> None:
    said = paper()
    bench.say_all(said)
    bench.restart(CutStore(bench.store, 2))
    with pytest.raises(PowerCut):
        bench.say(authorise(said))
    bench.restart()
    assert bench.directive(CANARY).products == {}
    bench.back.publisher.refresh()
    for cohort in (CANARY, ST_BERT):
        assert bench.directive(cohort).products["gateway"].order == said.envelope


def test_an_expired_order_stays_until_it_is_replaced(bench: Bench) -> None:
    said = paper(expires=NOW + timedelta(hours=1))
    bench.say_all(said, authorise(said))
    bench.clock.now = NOW + days(2)
    bench.back.publisher.refresh()
    assert bench.directive().products["gateway"].order == said.envelope
    newer = paper(seq=2, at=NOW + days(2))
    bench.say_all(newer, authorise(newer))
    assert bench.directive().products["gateway"].order == newer.envelope
