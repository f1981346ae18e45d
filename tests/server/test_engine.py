"""The engine: stages open, devices are counted, and what follows is done once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import ValidationError
from sqlalchemy import update

from interlock_core import wire
from interlock_core.log import read_entry
from interlock_core.order import Order
from interlock_core.statement import Opened
from interlock_server import acceptance, sweeps
from interlock_server.db.rollout_tables import RolloutRow
from interlock_server.heads import fleet_of
from interlock_server.log_facts import missing, unfounded
from interlock_server.logbook import every_entry
from tests.server.ward import OLD, Ward, actions, goes_shown, later, only, ordered, stages, start
from tests.server.world import NOW, V1, V2, Bench, Fleet, both
from tests.support import people
from tests.support.papers import (
    authorise,
    days,
    decommission,
    enrolment,
    exclusion,
    hours,
    order,
    report,
    resume,
    revocation,
    stage,
    stop,
)
from tests.support.people import CANARY, ST_BERT


@pytest.fixture
def ward(bench: Bench) -> Ward:
    return Ward(bench)


@both
def test_a_rollout_from_the_order_to_the_last_device(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1", "GW-2", "GW-3")
    said = ordered()
    bench.say_all(said)
    assert stages(bench, said).state == "waiting_for_approval"
    start(bench, said)
    found = stages(bench, said)
    assert found.state == "running"
    assert [one.cohort for one in found.cohorts] == [CANARY]
    assert only(bench, said).counts.started == 3
    assert only(bench, said).opened_at == bench.clock()
    ward.tell("GW-1", said, "downloading")
    ward.tell("GW-1", said, "confirmed")
    ward.tell("GW-2", said, "already_installed")
    counts = only(bench, said).counts
    assert counts.states == {"confirmed": 1, "already_installed": 1, "scheduled": 1}
    assert counts.votes == {"confirmed": 1, "already_installed": 1}
    assert actions(bench, said, "?state=scheduled").keys() == {"GW-3"}
    bench.back.engine.round()
    assert stages(bench, said).state == "running"
    ward.tell("GW-3", said, "confirmed")
    bench.back.engine.round()
    assert stages(bench, said).state == "finished"
    # Gateways read "nothing to do" from it, as before.
    assert goes_shown(bench) == ["open"]


def test_a_stage_with_nobody_in_it_keeps_nothing_waiting(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1", cohort=ST_BERT)
    said = ordered(stages=(stage(CANARY, soak=hours(1)), stage(ST_BERT, soak=hours(1))))
    start(bench, said)
    bench.back.engine.round()
    assert (only(bench, said).cohort, only(bench, said).counts.started) == (CANARY, 0)
    bench.clock.now += hours(1)
    start(bench, said, 1)
    bench.back.engine.round()
    assert [one.counts.started for one in stages(bench, said).stages] == [0, 1]
    ward.tell("GW-1", said, "confirmed")
    bench.back.engine.round()
    assert stages(bench, said).state == "finished"


def test_stages_open_when_they_are_opened_and_hold_whom_placement_says(
    bench: Bench, ward: Ward
) -> None:
    names = [f"GW-{number}" for number in range(8)]
    ward.let_in(*names)
    said = ordered(3_000, 10_000)
    start(bench, said)
    bench.back.engine.round()
    first = set(actions(bench, said))
    assert 0 < len(first) < 8
    bench.clock.now += hours(1)
    bench.back.engine.round()
    assert set(actions(bench, said)) == first
    start(bench, said, 1)
    bench.back.engine.round()
    found = actions(bench, said)
    assert set(found) == set(names)
    assert {name for name, one in found.items() if one.stage == 0} == first
    assert [one.counts.started for one in stages(bench, said).stages] == [
        len(first),
        8 - len(first),
    ]


@both
def test_too_many_failures_hold_it_and_people_resume_it(bench: Bench, ward: Ward) -> None:
    names = [f"GW-{number}" for number in range(6)]
    ward.let_in(*names)
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    for name in names[:5]:
        ward.tell(name, said, "rolled_back", "bad_health")
    assert goes_shown(bench) == ["open"]
    bench.back.engine.round()
    found = stages(bench, said)
    assert (found.state, found.cohorts[0].still) == ("paused", "too_many_failures")
    assert found.held_why is not None
    assert "5 of " in found.held_why
    # Nobody begins now: what people signed stays, and no gateway is shown a go.
    assert goes_shown(bench) == []
    later(bench, days(1), hours(1))
    assert stages(bench, said).state == "paused"
    again = resume(said, at=bench.clock())
    bench.say_all(again, authorise(again))
    bench.back.engine.round()
    assert stages(bench, said).state == "running"
    assert sorted(goes_shown(bench)) == ["open", "resume"]
    # What they knew then pauses nothing again.
    bench.back.engine.round()
    assert stages(bench, said).state == "running"
    assert only(bench, said).forgiven == only(bench, said).counts


def test_a_resume_that_was_signed_before_is_none(bench: Bench, ward: Ward) -> None:
    names = [f"GW-{number}" for number in range(5)]
    ward.let_in(*names)
    said = ordered()
    start(bench, said)
    before = resume(said, at=bench.clock())
    bench.say_all(before, authorise(before))
    bench.clock.now += hours(0.1)
    bench.back.engine.round()
    for name in names:
        ward.tell(name, said, "failed", "bad_health")
    later(bench, hours(1))
    assert stages(bench, said).state == "paused"
    assert goes_shown(bench) == ["resume"]


def test_silent_devices_time_out_and_deferring_ones_do_not(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1", "GW-2", "GW-3")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    ward.tell("GW-1", said, "rebooting")
    ward.tell("GW-2", said, "deferred", "interlock_not_clear")
    later(bench, hours(0.9))
    assert only(bench, said).counts.votes == {}
    later(bench, hours(0.2))
    found = actions(bench, said)
    assert found["GW-1"].vote == found["GW-3"].vote == "timed_out"
    assert found["GW-2"].vote is None
    assert only(bench, said).counts.votes == {"timed_out": 2}
    # It comes late: shown, and no vote is taken back.
    ward.tell("GW-1", said, "confirmed")
    counts = only(bench, said).counts
    assert (counts.votes, counts.recovered) == ({"timed_out": 2}, 1)


def test_while_the_server_was_down_nobody_was_silent(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    bench.clock.now += days(2)
    bench.back.engine.round()
    assert actions(bench, said)["GW-1"].vote is None
    later(bench, hours(0.9))
    assert actions(bench, said)["GW-1"].vote is None
    later(bench, hours(0.2))
    assert actions(bench, said)["GW-1"].vote == "timed_out"


def test_one_that_cannot_be_looked_at_keeps_nobody_waiting(bench: Bench, ward: Ward) -> None:
    """The others are still held, published and timed out: it is no time in which nobody looked."""
    ward.let_in("GW-1", "GW-2")
    ward.let_in("GW-9", cohort=ST_BERT)
    broken = order(stages=(stage(ST_BERT),), targets=(V1.target(),))
    bench.say_all(broken)
    said = ordered(seq=2)
    start(bench, said)
    bench.back.engine.round()
    with bench.back.database.storing() as session:
        hit = update(RolloutRow).where(RolloutRow.order_id == broken.id)
        session.execute(hit.values(state="no such state"))
    until = bench.clock.now + hours(1.5)
    while bench.clock.now < until:
        bench.clock.now += timedelta(minutes=9)
        with pytest.raises(ValidationError):
            bench.back.engine.round()
    assert {one.vote for one in actions(bench, said).values()} == {"timed_out"}
    assert stages(bench, said).state == "paused"
    assert goes_shown(bench) == []


def test_a_stop_pauses_and_its_time_is_no_silence(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    end = stop(said, at=bench.clock())
    bench.say_all(end)
    later(bench, hours(1.5))
    assert stages(bench, said).state == "paused"
    assert actions(bench, said)["GW-1"].vote is None
    again = resume(said, at=bench.clock(), clears=(end,))
    bench.say_all(again, authorise(again))
    later(bench, hours(0.9))
    assert stages(bench, said).state == "running"
    assert actions(bench, said)["GW-1"].vote is None
    later(bench, hours(0.3))
    assert actions(bench, said)["GW-1"].vote == "timed_out"


# What reports count, and what they do not


def test_what_is_refused_or_known_counts_nothing(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    first = ward.tell("GW-1", said, "failed", "bad_health")
    before = only(bench, said)
    # The same again; forged; out of order; of a gap.
    assert bench.tell(first).status_code == 200
    mine = ward.names["GW-2"]
    about = first.said.attempt
    assert bench.tell(report(mine, attempt=about, key="GW-1")).status_code == 403
    assert bench.tell(report(mine, number=2, previous=64 * "0", attempt=about)).status_code == 409
    assert only(bench, said) == before
    assert bench.refusals()["report", "bad_signature"] == 1
    # A success that is none: it runs something else.
    ward.tell("GW-2", said, "confirmed", running=OLD)
    assert only(bench, said).counts.votes == {"failed": 1}


@both
def test_a_clone_is_left_out(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    first = ward.tell("GW-1", said, "failed", "bad_health")
    other = report(
        ward.names["GW-1"], at=bench.clock(), reason="another", attempt=first.said.attempt
    )
    assert bench.tell(other).json["reason"] == "report_fork"
    counts = only(bench, said).counts
    assert (counts.started, counts.excluded, counts.votes) == (2, 1, {})
    assert actions(bench, said)["GW-1"].excluded == "quarantined"


@pytest.mark.parametrize("end", [revocation, decommission])
def test_what_was_revoked_or_taken_out_of_service_is_no_failure(
    bench: Bench, ward: Ward, end: Callable[..., Opened[Any]]
) -> None:
    """Its silence from then on says nothing of the rollout."""
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    bench.say_all(end(ward.names["GW-1"], by="olga", at=bench.clock()))
    counts = only(bench, said).counts
    assert (counts.started, counts.excluded, counts.votes) == (2, 1, {})
    left = actions(bench, said)["GW-1"].excluded
    assert left == ("revoked" if end is revocation else "decommissioned")


def _report_in_a_process(fleet: Fleet, about: Opened[Order], names: list[str], gate: Any) -> None:
    bench = Bench(fleet)
    bench.restart()
    ward = Ward(bench, {name: enrolment(name) for name in names})
    gate.wait()
    for name in names:
        ward.tell(name, about, "downloading")
        ward.tell(name, about, "failed" if name.endswith("0") else "confirmed")
    bench.back.engine.round()


@both
def test_counts_of_several_processes_lose_nothing(bench: Bench, ward: Ward) -> None:
    """Each reports for devices of its own, while the engine of each looks: all count at once."""
    names = [f"GW-{number}" for number in range(10, 34)]
    ward.let_in(*names)
    said = ordered(abort=())
    start(bench, said)
    bench.back.engine.round()
    assert only(bench, said).counts.started == 24
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(2)
    processes = [
        spawn.Process(target=_report_in_a_process, args=(bench.fleet, said, part, gate))
        for part in (names[::2], names[1::2])
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    counts = only(bench, said).counts
    assert counts.states == {"confirmed": 21, "failed": 3}
    assert counts.votes == {"confirmed": 21, "failed": 3}


@both
def test_a_device_that_is_quicker_than_the_engine_is_counted(
    bench: Bench, ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    bench.say_all(said)
    # The go is out, and whoever took it died then.
    monkeypatch.setattr(bench.back.engine, "attend", lambda _: None)
    start(bench, said)
    ward.tell("GW-1", said, "confirmed")
    assert stages(bench, said).stages == ()
    assert not actions(bench, said)["GW-1"].counted
    bench.back.engine.round()
    counts = only(bench, said).counts
    assert (counts.started, counts.joined) == (2, 0)
    assert counts.votes == {"confirmed": 1}


def test_a_device_that_comes_later_is_shown_and_has_no_vote(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    ward.let_in("GW-2")
    ward.tell("GW-2", said, "failed", "bad_health")
    counts = only(bench, said).counts
    assert (counts.started, counts.joined, counts.votes) == (1, 1, {})
    assert not actions(bench, said)["GW-2"].counted


def test_who_has_other_hardware_or_another_product_is_not_started(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    ward.let_in("GW-2", hardware="x86-r1")
    ward.let_in("GW-3", product="pump")
    ward.let_in("GW-4", cohort=ST_BERT)
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    assert actions(bench, said).keys() == {"GW-1"}


# Known issues


def test_a_known_issue_is_left_out_by_two_people(bench: Bench, ward: Ward) -> None:
    names = [f"GW-{number}" for number in range(6)]
    ward.let_in(*names)
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    known = exclusion(said, failure="old_fan", at=bench.clock())
    bench.say_all(known)
    ward.tell(names[0], said, "failed", "old_fan")
    bench.back.engine.round()
    # One person alone excludes nothing, and not by authorising himself.
    own = authorise(known, by="olga", role="operator")
    assert bench.say(own).json["reason"] == "own_authorisation"
    assert only(bench, said).counts.excluded == 0
    bench.say_all(authorise(known))
    for name in names[1:]:
        ward.tell(name, said, "failed", "old_fan")
    bench.back.engine.round()
    counts = only(bench, said).counts
    assert (counts.started, counts.excluded, counts.votes) == (6, 6, {})
    assert stages(bench, said).state == "finished"
    shown = bench.client.get(f"/v1/rollouts/{said.id}", headers=bench.token()).json
    assert len(shown["exclusions"]) == 2


@both
def test_many_exclusions_at_many_cohorts_are_looked_at(bench: Bench, ward: Ward) -> None:
    """One more that is signed must not end all looks at a rollout."""
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    ward.tell("GW-1", said, "failed", "bad_fan")
    ward.tell("GW-2", said, "failed", "bad_health")
    known = [exclusion(said, failure=why).said for why in ("bad_fan", "old_fan", "no_fan", "fan")]
    known += [exclusion(said, device=f"GX-{number}").said for number in range(20)]
    cohorts = [f"ward-{number}" for number in range(255)]
    counting = [(cohort, one) for one in known for cohort in (CANARY, *cohorts)]
    counting += [(CANARY, exclusion(said, failure="late_fan").said)]
    database = bench.back.database
    assert sweeps.exclude(database, 1, said.said, counting) == 1
    assert only(bench, said).counts.excluded == 1
    assert sweeps.exclude(database, 1, said.said, counting) == 0
    assert sweeps.exclude(database, 1, said.said, counting[-1:]) == 1
    assert only(bench, said).counts.excluded == 0


@both
def test_an_exclusion_ends_with_those_who_signed_it(bench: Bench, ward: Ward) -> None:
    """It counts by the roster of the moment: when it dies, what it left out is a failure again."""
    ward.let_in("GW-1", "GW-2", "GW-3")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    ward.tell("GW-1", said, "failed", "old_fan")
    ward.tell("GW-2", said, "failed", "bad_health")
    by_reason = exclusion(said, failure="old_fan", by="omar", at=bench.clock())
    by_name = exclusion(said, device="GW-2", by="olga", at=bench.clock())
    for one in (by_reason, by_name):
        bench.say_all(one, authorise(one))
    counts = only(bench, said).counts
    assert (counts.excluded, counts.votes) == (2, {})
    left = [one for one in people.PEOPLE if one != people.OMAR]
    without = people.roster(*left, seq=2, issued=bench.clock())
    bench.publish_roster(wire.encode(without), version=2)
    bench.back.engine.round()
    counts = only(bench, said).counts
    assert (counts.excluded, counts.votes) == (1, {"failed": 1})
    assert (counts.started, counts.failures()) == (3, 1)
    assert actions(bench, said, "?vote=failed").keys() == {"GW-1", "GW-2"}
    assert actions(bench, said, "?vote=confirmed") == {}
    found = actions(bench, said)
    assert (found["GW-1"].excluded, found["GW-2"].excluded) == (None, "known_issue")
    assert not bench.back.engine.round().changed


def test_a_clone_stays_out_when_its_exclusion_ends(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    first = ward.tell("GW-1", said, "failed", "old_fan")
    known = exclusion(said, failure="old_fan", by="omar", at=bench.clock())
    bench.say_all(known, authorise(known))
    assert actions(bench, said)["GW-1"].excluded == "known_issue"
    other = report(
        ward.names["GW-1"], at=bench.clock(), reason="another", attempt=first.said.attempt
    )
    assert bench.tell(other).json["reason"] == "report_fork"
    left = [one for one in people.PEOPLE if one != people.OMAR]
    without = people.roster(*left, seq=2, issued=bench.clock())
    bench.publish_roster(wire.encode(without), version=2)
    bench.back.engine.round()
    assert actions(bench, said)["GW-1"].excluded == "quarantined"
    assert only(bench, said).counts.excluded == 1


def test_who_may_exclude(bench: Bench) -> None:
    said = ordered()
    known = exclusion(said, device="GW-1", by="ada")
    assert bench.say(known).json["reason"] == "unknown_order"
    bench.say_all(said)
    assert bench.say(known).json["reason"] == "role_not_held"
    loose = authorise(exclusion(said, device="GW-1"))
    assert bench.say(loose).json["reason"] == "unknown_subject"


# One order after another


def test_when_the_last_device_has_confirmed_the_next_order_may_come(
    bench: Bench, ward: Ward
) -> None:
    ward.let_in("GW-1")
    said = ordered()
    start(bench, said)
    next_ = newer(bench)
    assert bench.say(next_).json["reason"] == "order_running"
    ward.tell("GW-1", said, "confirmed")
    assert bench.say(next_).status_code == 201


def newer(bench: Bench, **fields: Any) -> Opened[Order]:
    bench.release(2, V1, V2)
    return ordered(**{"seq": 2, "targets": (V2.target(),), "at": bench.clock()} | fields)


def test_drafts_without_end_are_refused_and_keep_no_recall_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "MAX_WAITING", 3)
    for seq in (1, 2, 3):
        bench.say_all(ordered(seq=seq, at=bench.clock()))
    answer = bench.say(ordered(seq=4, at=bench.clock()))
    assert (answer.status_code, answer.json["reason"]) == (409, "too_many_orders")
    recalls = [ordered(seq=seq, kind="recall", at=bench.clock()) for seq in (5, 6, 7)]
    bench.say_all(*recalls)
    assert bench.say(recalls[0]).status_code == 200
    bench.say_all(authorise(recalls[0]))
    bench.back.engine.round()
    bench.say_all(ordered(seq=8, at=bench.clock()))


def test_an_update_does_not_take_the_place_of_one_that_runs(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered()
    next_ = newer(bench)
    # It may be proposed before, and authorised after.
    early = ordered(seq=3, at=bench.clock())
    bench.say_all(early)
    start(bench, said)
    bench.back.engine.round()
    for refused in (next_, authorise(early)):
        answer = bench.say(refused)
        assert (answer.status_code, answer.json["reason"]) == (409, "order_running")
    bench.say_all(stop(said, at=bench.clock()))
    bench.back.engine.round()
    assert bench.say(next_).json["reason"] == "order_running"


@pytest.mark.parametrize("kind", ["update", "recall"])
def test_what_takes_its_place_on_purpose_cancels_what_is_open(
    bench: Bench, ward: Ward, kind: str
) -> None:
    ward.let_in("GW-1", "GW-2")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    ward.tell("GW-1", said, "failed", "bad_health")
    more = {"supersedes": said.id} if kind == "update" else {}
    next_ = newer(bench, kind=kind, **more)
    start(bench, next_)
    bench.back.engine.round()
    found = stages(bench, said)
    assert found.state == "stopped"
    assert found.cohorts[0].over == "superseded_order"
    old = actions(bench, said)
    assert (old["GW-2"].state, old["GW-2"].vote) == ("canceled", None)
    assert (old["GW-1"].state, old["GW-1"].vote) == ("failed", "failed")
    assert stages(bench, next_).state == "running"
    assert actions(bench, next_).keys() == {"GW-1", "GW-2"}


def test_a_critical_security_update_is_not_kept_waiting(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered()
    start(bench, said)
    bench.back.engine.round()
    V2.facts["update_class"] = {"type": "security", "urgency": "critical"}
    try:
        start(bench, newer(bench))
    finally:
        V2.facts.clear()
    bench.back.engine.round()
    assert stages(bench, said).state == "stopped"


def test_an_order_that_expired_is_over(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered(expires=NOW + hours(1))
    start(bench, said)
    bench.back.engine.round()
    later(bench, hours(1.1), of=hours(0.1))
    assert stages(bench, said).state == "stopped"
    assert actions(bench, said)["GW-1"].reason == "expired_order"


# What people may read


def test_reading_needs_a_token_and_an_order(bench: Bench) -> None:
    said = ordered()
    bench.say_all(said)
    for what in ("stages", "actions"):
        path = f"/v1/rollouts/{said.id}/{what}"
        assert bench.client.get(path).status_code == 401
        headers = bench.token()
        for unknown in (64 * "0", "x", authorise(said).id):
            answer = bench.client.get(f"/v1/rollouts/{unknown}/{what}", headers=headers)
            assert (answer.status_code, answer.json["reason"]) == (404, "unknown_order")
    path = f"/v1/rollouts/{said.id}/actions?state=happy"
    assert bench.client.get(path, headers=bench.token()).json["reason"] == "bad_state"
    path = f"/v1/rollouts/{said.id}/actions?vote=happy"
    assert bench.client.get(path, headers=bench.token()).json["reason"] == "bad_vote"


@both
def test_one_engine_at_a_time(bench: Bench) -> None:
    other = Bench(bench.fleet, bench.signers)
    other.restart()
    assert bench.back.engine.round().elected
    assert not other.back.engine.round().elected
    bench.back.engine.leave()
    assert other.back.engine.round().elected
    # Whoever is killed keeps nobody waiting for long.
    bench.clock.now = other.clock.now + timedelta(minutes=2)
    assert bench.back.engine.round().elected
    other.back.database.close()


def test_a_lease_from_the_far_future_keeps_nobody_waiting(bench: Bench) -> None:
    other = Bench(bench.fleet, bench.signers)
    other.restart()
    other.clock.now = bench.clock.now + days(10_000)
    assert other.back.engine.round().elected
    assert bench.back.engine.round().elected
    other.back.database.close()


def test_every_change_of_state_and_every_time_out_is_in_the_log(bench: Bench, ward: Ward) -> None:
    ward.let_in("GW-1")
    said = ordered(deadline_seconds=300)
    start(bench, said)
    later(bench, timedelta(minutes=9))
    found = stages(bench, said).transitions
    assert [one.after for one in found] == [
        "waiting_for_approval",
        "ready",
        "running",
        "paused",
    ]
    assert [one.nth for one in found] == [1, 2, 3, 4]
    assert found[-1].why == "too_many_failures"
    assert found[-1].evidence is not None
    with bench.back.database.reading() as session:
        entries = [read_entry(entry) for entry in every_entry(session)]
        assert missing(session, fleet_of(session)) == []
        assert unfounded(session, fleet_of(session), entries) == []
    logged = [one.fact for one in entries if one.fact.kind == "transition"]
    of = {one.sha256: one.name for one in logged}
    for one in found:
        assert of[wire.sha256_hex(wire.encode(one))] == f"rollout/{one.after}"
    assert of[ward.names["GW-1"].id] == "action/timed_out"
    assert {one.id for one in logged} == {said.id}
