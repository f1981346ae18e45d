"""``rollout watch``: the server's counters as they change, and how it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from interlock_core.abort import Counts
from interlock_core.api import CohortStanding, RolloutStages, StageCounts
from interlock_core.order import Abort
from interlock_core.report import Decided
from interlock_core.rollout import State
from interlock_ops.watching import MAX_FAULTS, SLOWEST, Pace, table, too_bad
from tests.ops.world import Place, problem
from tests.support.papers import countersign, enrolment, order, report, started, stop
from tests.support.people import CANARY, DAY0

TEN_PERCENT = (Abort(failure_type="all", threshold_basis_points=1_000, min_executed=5),)
ORDER = order(abort=TEN_PERCENT)


def counters(state: State, counts: Counts | None = None, **more: Any) -> RolloutStages:
    """What the server tells of one stage."""
    stages = (
        (StageCounts(stage=0, cohort=CANARY, opened_at=DAY0, counts=counts, forgiven=None),)
        if counts is not None
        else ()
    )
    made: dict[str, Any] = {
        "order": ORDER.id,
        "state": state,
        "changed_at": DAY0,
        "held_since": None,
        "held_why": None,
        "cohorts": (),
        "stages": stages,
    }
    return RolloutStages(**made | more)


def told(place: Place, *answers: RolloutStages | int) -> None:
    """What the server answers, one after another; a number is a fault."""
    place.server.post(ORDER, *started(ORDER))
    place.server.stages = [
        (one, problem(one, "busy", "It is busy.")) if isinstance(one, int) else (200, one)
        for one in answers
    ]


GOING = Counts(started=40, votes={"confirmed": 10}, states={"downloading": 28, "deferred": 2})
DONE = Counts(started=40, votes={"confirmed": 40})
BAD = Counts(started=40, votes={"confirmed": 32, "failed": 5, "timed_out": 3})


def watch(place: Place, *words: str, code: int = 0) -> dict[str, Any]:
    return place.json("rollout", "watch", ORDER.id, *words, code=code)


def test_it_ends_when_the_rollout_is_finished(place: Place) -> None:
    told(place, counters("running", GOING), counters("finished", DONE))
    answer = watch(place)
    assert (answer["reason"], answer["state"]) == ("finished", "finished")
    [one] = answer["stages"]
    assert (one["started"], one["votes"], one["failures"]) == (40, {"confirmed": 40}, 0)
    assert place.slept == [5.0]


def test_it_ends_when_it_is_paused_and_says_why(place: Place) -> None:
    held = counters("paused", BAD, held_since=DAY0, held_why="8 of 40 started devices failed")
    told(place, counters("running", GOING), held)
    answer = watch(place, code=20)
    assert (answer["outcome"], answer["reason"]) == ("refused", "paused")
    assert "8 of 40" in answer["too_bad"]
    assert answer["held"] == "8 of 40 started devices failed"
    told(place, counters("stopped", BAD))
    assert watch(place, code=20)["reason"] == "stopped"


def test_it_gives_up_after_so_long(place: Place) -> None:
    told(place, counters("waiting_for_approval"))
    answer = watch(place, "--for", "10m", code=10)
    assert (answer["outcome"], answer["reason"]) == ("deferred", "still_running")
    assert sum(place.slept) == 600
    # Less and less often, up to a bound.
    assert place.slept == sorted(place.slept[:-1]) + place.slept[-1:]
    assert max(place.slept) <= SLOWEST


def test_a_line_for_each_change(place: Place) -> None:
    same = counters("running", GOING)
    told(place, same, same, same, counters("finished", DONE))
    shown = place.run("rollout", "watch", ORDER.id).stdout.splitlines()
    running = [line for line in shown if "  running  " in line]
    assert len(running) == 1
    assert "stage 0 canary: 40 started, 10 confirmed, 2 deferred, 28 on the way" in running[0]
    assert "finished  stage 0 canary: 40 started, 40 confirmed" in shown[-1]


def test_faults_are_ridden_out_and_bounded(place: Place) -> None:
    told(place, counters("running", GOING), 503, 503, counters("finished", DONE))
    assert watch(place)["reason"] == "finished"
    told(place, counters("running", GOING), 503)
    answer = watch(place, code=30)
    assert answer["outcome"] == "transient"
    told(place, 503)
    place.slept.clear()
    watch(place, code=30)
    assert place.slept == []


def test_a_token_that_ran_out_is_renewed(place: Place) -> None:
    told(place, counters("running", GOING), counters("finished", DONE))
    place.server.stages.insert(1, (401, problem(401, "bad_token", "It has expired.")))
    assert watch(place)["reason"] == "finished"
    assert len(place.server.tokens) == 2


def test_an_order_that_is_not_there(place: Place) -> None:
    assert watch(place, code=2)["reason"] == "not_found"


def test_too_bad_by_the_orders_own_settings() -> None:
    assert too_bad(ORDER.said, counters("running", GOING)) is None
    assert "stage 0" in (too_bad(ORDER.said, counters("running", BAD)) or "")
    lenient = order(
        abort=(Abort(failure_type="all", threshold_basis_points=5_000, min_executed=5),)
    )
    assert too_bad(lenient.said, counters("running", BAD)) is None


def test_the_table_of_a_terminal() -> None:
    console = Console(width=140, record=True)
    cohort = CohortStanding(
        cohort=CANARY, opened=1, held=True, still="held", still_since=DAY0, over=None
    )
    console.print(table(ORDER.said, counters("paused", BAD, cohorts=(cohort,))))
    shown = " ".join(console.export_text().split())
    assert "timed out" in shown
    assert "32" in shown
    assert "canary stands still: held" in shown
    assert "the limit is 10 % all of at least 5" in shown


def test_the_pace() -> None:
    pace = Pace(5.0)
    waits = [pace.same() for _ in range(12)]
    assert waits[0] == 7.5
    assert waits[-1] == SLOWEST
    assert pace.changed() == 5.0
    assert pace.same() == 7.5
    slow = Pace(300.0)
    assert slow.same() == 300.0
    for number in range(MAX_FAULTS):
        pace.fault()
        assert pace.faults == number + 1
    pace.same()
    assert pace.faults == 0


def test_the_status_shows_the_counters_and_the_limit(place: Place) -> None:
    told(place, counters("running", BAD))
    place.clock.now += timedelta(hours=1)
    answer = place.json("rollout", "status", ORDER.id)
    assert answer["counters"]["stages"][0]["failures"] == 8
    shown = place.run("rollout", "status", ORDER.id).stdout
    assert "By the server's counters: running" in shown
    assert "8 of 40 failed (20 %)" in shown
    assert "limit        10 % all of at least 5" in shown
    assert "too bad      stage 0: 8 of 40 started devices failed" in shown


@pytest.mark.parametrize("answer", [404, 503])
def test_the_status_without_counters(place: Place, answer: int) -> None:
    told(place, answer)
    found = place.json("rollout", "status", ORDER.id)
    assert (found["reason"], found["counters"]) == ("status", None)


def test_the_status_says_how_long_a_stop_took_to_arrive(place: Place) -> None:
    """Latency to stop, by the gateways' own words: who found it, and the slowest."""
    place.server.post(ORDER, *started(ORDER), stop(ORDER, at=DAY0))
    for device, minutes, reason in (
        ("GW-1", 2, "stopped"),
        ("GW-2", 7, "stopped"),
        ("GW-3", 9, "granted"),
    ):
        said = enrolment(device)
        decided = Decided(
            at=DAY0 + timedelta(minutes=minutes), order=ORDER.id, reason=reason, detail=""
        )
        place.server.fleet.add(said, report(said, decided=decided))
        place.server.post(countersign(said))
    place.clock.now += timedelta(hours=1)
    answer = place.json("rollout", "status", ORDER.id)
    found = answer["cohorts"][CANARY]["devices"]["stop_seen"]
    assert found == {"devices": 2, "slowest_seconds": 420}
    shown = place.run("rollout", "status", ORDER.id).stdout
    assert "stop         2 of 3 say that they found it, the slowest after 7m" in shown
