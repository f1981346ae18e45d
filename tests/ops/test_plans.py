"""What is signed next, and what is not signed because it would count for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from interlock_core.chain import cleared, read_chain
from interlock_core.errors import Exit
from interlock_core.order import Go, Meaning, Order
from interlock_core.roster import Judge, Roster
from interlock_core.statement import Opened
from interlock_ops.authorising import object_to_authorisation
from interlock_ops.dossier import Dossier, open_rollout
from interlock_ops.objection import Objection
from interlock_ops.opening import Opening, plan_opening
from interlock_ops.order_file import Facts, OrderPlan, Wanted
from interlock_ops.proposing import object_to_facts, object_to_order, object_to_targets, warnings
from interlock_ops.reviving import Renewal, Resume, plan_renewals, plan_resumes
from tests.ops.world import told
from tests.support.papers import (
    authorise,
    consent,
    days,
    digest,
    hours,
    opening,
    order,
    renewal,
    resume,
    stage,
    started,
    stop,
    target,
)
from tests.support.people import (
    CANARY,
    DAY0,
    PEOPLE,
    ROSTER,
    ST_ANNA,
    ST_BERT,
    grant,
    person,
    roster,
    rules,
)

ORDER = order()


def dossier(
    papers: Iterable[Opened[Any]], now: datetime = DAY0, of: Opened[Order] = ORDER
) -> Dossier:
    return open_rollout(told(of, papers, now), of.id)


def objection(found: object) -> Objection:
    assert isinstance(found, Objection)
    return found


# Opening


def plan(
    papers: Sequence[Opened[Any]] = (),
    *,
    now: datetime = DAY0,
    me: str = "olga",
    stage: int | None = None,
    of: Opened[Order] = ORDER,
    by: Roster = ROSTER,
    **more: Any,
) -> Opening | Objection:
    return plan_opening(Judge(by, now), dossier(papers, now, of), me, stage=stage, **more)


def opened(found: Opening | Objection) -> Opening:
    assert isinstance(found, Opening), found
    return found


def test_start_opens_stage_0_now() -> None:
    made = opened(plan([authorise(ORDER)], stage=0))
    assert (made.stage, made.opened_at, made.opens_for) == (0, DAY0, (CANARY,))
    assert made.asks == {CANARY: {"approver": 1}}


def test_start_does_not_wait_for_the_order_to_be_authorised() -> None:
    assert opened(plan(stage=0)).opens_for == (CANARY,)


def test_start_waits_for_the_order_to_begin() -> None:
    later = order(not_before=DAY0 + days(1))
    assert opened(plan(stage=0, of=later)).opened_at == DAY0 + days(1)


def test_a_planned_opening_counts_once_it_is_authorised() -> None:
    """What is planned is what the chain accepts."""
    papers = started(ORDER)
    now = DAY0 + days(1)
    made = opened(plan(papers, now=now))
    go = opening(ORDER, made.stage, at=now, opened_at=made.opened_at, seq=made.seq)
    whole = dossier([*papers, go, authorise(go, at=now)], now)
    chain = read_chain(Judge(ROSTER, now), whole.papers, CANARY)
    assert [one.number for one in chain.stages] == [0, 1]


def test_the_soak_is_kept() -> None:
    early = objection(plan(started(ORDER), now=DAY0 + days(1) - timedelta(seconds=1)))
    assert (early.reason, early.exit) == ("too_early", Exit.DEFERRED)
    assert "2027-03-02T08:00:00Z" in early.detail
    assert opened(plan(started(ORDER), now=DAY0 + days(1))).stage == 1


def test_an_opening_can_be_dated_to_the_end_of_the_soak() -> None:
    made = opened(plan(started(ORDER), now=DAY0 + hours(1), opened_at=DAY0 + days(1)))
    assert made.opened_at == DAY0 + days(1)


def test_advance_before_start() -> None:
    assert objection(plan([authorise(ORDER)])).reason == "not_started"
    assert objection(plan([authorise(ORDER)], stage=1)).reason == "stage_not_open"


def test_a_waiting_opening_is_not_signed_twice_by_mistake() -> None:
    first = opening(ORDER)
    found = objection(plan([authorise(ORDER), first], stage=0))
    assert found.reason == "waiting_for_approval"
    assert first.id in found.detail
    made = opened(plan([authorise(ORDER), first], stage=0, again=True))
    assert made.seq == 2


def test_an_opening_signed_by_nobody_entitled_blocks_nothing() -> None:
    forged = [opening(ORDER, by="ada"), opening(ORDER, key="mallory", seq=2**53 - 1)]
    assert opened(plan([authorise(ORDER), *forged], stage=0)).seq == 2


def test_an_open_stage_is_nothing_to_do() -> None:
    found = objection(plan(started(ORDER), stage=0))
    assert (found.reason, found.exit) == ("already_open", Exit.DONE)


def test_all_open_is_nothing_to_do() -> None:
    now = DAY0 + days(1)
    last = opening(ORDER, 1, at=now)
    papers = [*started(ORDER, consents=True), last, authorise(last), consent(last)]
    found = objection(plan(papers, now=now))
    assert (found.reason, found.exit) == ("already_open", Exit.DONE)


def test_a_stage_is_opened_again_for_a_cohort_that_consented_late() -> None:
    now = DAY0 + days(2)
    first = opening(ORDER, 1, at=DAY0 + days(1))
    papers = [*started(ORDER), first, authorise(first, at=now)]
    made = opened(plan(papers, now=now, stage=1, again=True))
    assert made.opens_for == (ST_ANNA,)
    assert set(made.not_for) == {CANARY, ST_BERT}


def test_auto_stages_are_the_monitors() -> None:
    auto = order(stages=(stage(CANARY), stage(ST_BERT, gate="auto")))
    assert objection(plan(started(auto), now=DAY0 + days(2), of=auto)).reason == "auto_stage"


def test_no_such_stage() -> None:
    found = objection(plan(started(ORDER), stage=7))
    assert (found.reason, found.exit) == ("no_such_stage", Exit.USAGE)


def test_who_is_no_operator_opens_nothing() -> None:
    found = objection(plan([authorise(ORDER)], stage=0, me="ada"))
    assert (found.reason, found.exit) == ("stage_not_open", Exit.REFUSED)
    assert "ada is no operator" in found.detail


def test_over_is_over() -> None:
    assert objection(plan(stage=0, now=DAY0 + days(90))).reason == "expired_order"
    ended = roster(min_order_seq={"gateway": 2})
    assert objection(plan(stage=0, by=ended)).reason == "superseded_order"


# Renewing


def renewals(
    papers: Sequence[Opened[Any]], now: datetime, me: str = "olga", stage: int | None = None
) -> tuple[Renewal, ...] | Objection:
    return plan_renewals(Judge(ROSTER, now), dossier(papers, now), me, stage=stage)


def test_the_highest_open_stage_is_renewed() -> None:
    now = DAY0 + days(3)
    last = opening(ORDER, 1, at=DAY0 + days(1))
    papers = [*started(ORDER, consents=True), last, authorise(last), consent(last)]
    found = renewals(papers, now)
    assert isinstance(found, tuple)
    [one] = found
    assert (one.stage, one.renews, one.opened_at) == (1, last.id, DAY0 + days(1))
    assert set(one.cohorts) == {CANARY, ST_ANNA, ST_BERT}


def test_a_planned_renewal_counts() -> None:
    papers, now = started(ORDER), DAY0 + days(6)
    found = renewals(papers, now)
    assert isinstance(found, tuple)
    go = renewal(papers[1], at=now, renews=found[0].renews, opened_at=found[0].opened_at)
    chain = read_chain(Judge(ROSTER, now), dossier([*papers, go], now).papers, CANARY)
    assert chain.live_until(0) == now + days(7)


@pytest.mark.parametrize("now", [DAY0 + days(7), DAY0 + days(8)])
def test_what_lapsed_is_not_renewed(now: datetime) -> None:
    found = objection(renewals(started(ORDER), now))
    assert found.reason == "go_lapsed"
    assert "rollout resume" in found.detail


def test_what_never_opened_is_not_renewed() -> None:
    assert objection(renewals([authorise(ORDER)], DAY0)).reason == "not_started"
    assert objection(renewals(started(ORDER), DAY0, stage=1)).reason == "not_started"


def test_an_approver_does_not_renew() -> None:
    assert objection(renewals(started(ORDER), DAY0, me="ada")).reason == "role_not_held"


# Resuming


def resumes(
    papers: Sequence[Opened[Any]], now: datetime = DAY0, me: str = "olga", **more: Any
) -> tuple[Resume, ...] | Objection:
    return plan_resumes(Judge(ROSTER, now), dossier(papers, now), me, **more)


def resumed(found: tuple[Resume, ...] | Objection) -> Resume:
    assert isinstance(found, tuple), found
    [one] = found
    return one


def test_every_standing_stop_is_ended() -> None:
    halts = [stop(ORDER), stop(ORDER, by="hanna", cohort=ST_ANNA), stop(ORDER, site="ward-7")]
    papers = [*started(ORDER), *halts]
    made = resumed(resumes(papers))
    assert set(made.clears) == {halt.id for halt in halts}
    assert made.asks[CANARY] == {"approver": 1}
    go = resume(ORDER, made.stage, at=DAY0, clears=made.clears)
    whole = dossier([*papers, go, authorise(go)])
    chain = read_chain(Judge(ROSTER, DAY0), whole.papers, CANARY)
    assert cleared(chain) == {halt.id for halt in halts}


def test_a_stop_that_was_ended_is_not_ended_again() -> None:
    halt = stop(ORDER)
    go = resume(ORDER, at=DAY0, clears=[halt])
    papers = [*started(ORDER, consents=True), halt, go, authorise(go), consent(go)]
    found = objection(resumes(papers))
    assert (found.reason, found.exit) == ("not_stopped", Exit.DONE)


def test_only_the_named_stops_are_ended() -> None:
    halts = [stop(ORDER), stop(ORDER, site="ward-7")]
    made = resumed(resumes([*started(ORDER), *halts], clears=(halts[1].id,)))
    assert made.clears == (halts[1].id,)


def test_a_stop_before_the_start_is_ended_at_stage_0() -> None:
    assert resumed(resumes([authorise(ORDER), stop(ORDER)])).stage == 0


def test_what_lapsed_is_revived() -> None:
    now = DAY0 + days(8)
    made = resumed(resumes(started(ORDER), now))
    assert (made.stage, made.clears) == (0, ())
    go = resume(ORDER, made.stage, at=now)
    whole = dossier([*started(ORDER), go, authorise(go)], now)
    chain = read_chain(Judge(ROSTER, now), whole.papers, CANARY)
    assert chain.live_until(0) == now + days(7)


def test_cohorts_at_different_stages_are_resumed_each_at_its_own() -> None:
    now = DAY0 + days(9)
    last = opening(ORDER, 1, at=DAY0 + days(1))
    found = resumes([*started(ORDER), last, authorise(last)], now)
    assert isinstance(found, tuple)
    assert {one.stage: set(one.asks) for one in found} == {
        0: {ST_ANNA},
        1: {CANARY, ST_BERT},
    }


def test_a_waiting_resume_is_not_signed_twice_by_mistake() -> None:
    halt = stop(ORDER)
    go = resume(ORDER, at=DAY0, clears=[halt])
    papers = [*started(ORDER), halt, go]
    found = objection(resumes(papers))
    assert found.reason == "waiting_for_approval"
    assert go.id in found.detail
    assert resumed(resumes(papers, again=True)).clears == (halt.id,)


def test_an_approver_does_not_resume() -> None:
    found = objection(resumes([*started(ORDER), stop(ORDER)], me="ada"))
    assert found.reason == "role_not_held"


# Authorising


def object_to(
    papers: Sequence[Opened[Any]] = (),
    go: Opened[Go] | None = None,
    me: str = "ada",
    role: str = "approver",
    meaning: Meaning = "approved",
    *,
    now: datetime = DAY0,
    of: Opened[Order] = ORDER,
    by: Roster = ROSTER,
) -> Objection | None:
    whole = dossier([*papers, *([go] if go else [])], now, of)
    return object_to_authorisation(Judge(by, now), whole, go, me, role, meaning)


def test_an_approver_may_authorise() -> None:
    assert object_to() is None
    assert object_to(go=opening(ORDER)) is None
    assert object_to(go=resume(ORDER, at=DAY0, clears=[digest("stop")])) is None


def test_a_hospital_may_consent() -> None:
    assert object_to(me="hanna", role="hospital", meaning="consented") is None


def test_your_own_approval_does_not_count() -> None:
    both = roster(*[p for p in PEOPLE if p.name != "olga"], OLGA_APPROVES)
    mine = object_to(me="olga", by=both)
    assert objection(mine).reason == "own_approval"
    assert objection(object_to(go=opening(ORDER), me="olga", by=both)).reason == "own_approval"
    # Her opening of his order is another matter.
    his = order(by="omar")
    assert object_to(me="olga", of=his, by=both) is None


OLGA_APPROVES = person("olga", grant("operator"), grant("approver"))


@pytest.mark.parametrize(
    "forged", [order(key="mallory"), order(by="ada"), order(by="mallory", key="mallory")]
)
def test_an_order_that_no_operator_signed_is_not_authorised(forged: Opened[Order]) -> None:
    me = "alan"
    assert objection(object_to(of=forged, me=me)).reason == "unauthorised_rollout"


def test_a_go_that_no_operator_signed_is_not_authorised() -> None:
    forged = opening(ORDER, by="alan")
    assert objection(object_to(go=forged)).reason == "unauthorised_rollout"


@pytest.mark.parametrize(
    ("me", "role", "reason"),
    [
        ("ada", "hospital", "role_not_held"),
        ("hanna", "approver", "role_not_held"),
        ("ada", "operator", "role_not_asked"),
        ("mallory", "approver", "role_not_held"),
    ],
)
def test_a_role_must_be_asked_for_and_held(me: str, role: str, reason: str) -> None:
    assert objection(object_to(me=me, role=role)).reason == reason


def test_reviewed_needs_a_role_that_is_held_and_no_rule() -> None:
    assert object_to(me="omar", role="operator", meaning="reviewed") is None
    found = object_to(me="omar", role="approver", meaning="reviewed")
    assert objection(found).reason == "role_not_held"


def test_what_asks_for_nobody_is_not_authorised() -> None:
    papers = started(ORDER)
    found = object_to(papers, renewal(papers[1], at=DAY0))
    assert objection(found).reason == "role_not_asked"
    auto = order(stages=(stage(CANARY), stage(ST_BERT, gate="auto")))
    by_monitor = opening(auto, 1, by="mona")
    assert objection(object_to(go=by_monitor, of=auto)).reason == "role_not_asked"


def test_a_persons_first_word_is_the_one_that_counts() -> None:
    said = authorise(ORDER)
    again = objection(object_to([said]))
    assert (again.reason, again.exit) == ("already_authorised", Exit.DONE)
    two = (rules(start={"approver": 1, "reviewer": 1}),)
    both = roster(
        *[p for p in PEOPLE if p.name != "ada"],
        person("ada", grant("approver"), grant("reviewer")),
        rules=two,
    )
    other = objection(object_to([said], role="reviewer", by=both))
    assert (other.reason, other.exit) == ("already_authorised", Exit.REFUSED)


def test_anothers_word_in_my_name_is_not_mine() -> None:
    assert object_to([authorise(ORDER, key="mallory")]) is None


def test_an_expired_order_is_not_authorised() -> None:
    assert objection(object_to(now=DAY0 + days(90))).reason == "expired_order"


# Proposing


def test_an_order_over_my_cohorts_is_signed() -> None:
    assert object_to_order(Judge(ROSTER, DAY0), ORDER.said, "olga") is None


def test_an_order_that_would_never_count_is_not_signed() -> None:
    judge = Judge(ROSTER, DAY0)
    assert objection(object_to_order(judge, ORDER.said, "ada")).reason == "role_not_held"
    here = roster(person("olga", grant("operator", CANARY)))
    found = objection(object_to_order(Judge(here, DAY0), ORDER.said, "olga"))
    assert (found.reason, ST_ANNA in found.detail) == ("role_not_held", True)
    only = roster(rules=(rules(CANARY),))
    assert objection(object_to_order(Judge(only, DAY0), ORDER.said, "olga")).reason == (
        "cohort_denied"
    )
    ended = roster(min_order_seq={"gateway": 5})
    found = objection(object_to_order(Judge(ended, DAY0), ORDER.said, "olga"))
    assert (found.reason, "--seq 5" in found.detail) == ("superseded_order", True)
    late = Judge(ROSTER, DAY0 + days(90))
    assert objection(object_to_order(late, ORDER.said, "olga")).reason == "expired_order"


def test_a_digest_in_the_file_must_be_that_of_the_repository() -> None:
    wanted = target()
    said = OrderPlan("gateway", (Wanted(wanted.path, digest("other")),), {})
    facts = [Facts(wanted.path, wanted.length, wanted.sha256)]
    assert objection(object_to_facts(said, facts)).reason == "order_mismatch"
    same = OrderPlan("gateway", (Wanted(wanted.path, wanted.sha256),), {})
    assert object_to_facts(same, facts) is None


@pytest.mark.parametrize(("length", "sha256"), [(1024, digest("other")), (1025, target().sha256)])
def test_an_order_must_name_what_the_repository_holds(length: int, sha256: str) -> None:
    found = object_to_targets([target()], [Facts(target().path, length, sha256)])
    assert objection(found).reason == "order_mismatch"
    honest = Facts(target().path, target().length, target().sha256)
    assert object_to_targets([target()], [honest]) is None


def test_auto_gates_warn_of_a_stolen_monitor_key() -> None:
    auto = order(stages=(stage(CANARY), stage(ST_BERT, gate="auto"), stage(ST_ANNA, gate="auto")))
    [said] = warnings(auto.said)
    assert "Stages 1, 2 open" in said
    assert "monitor's key" in said
    assert list(warnings(ORDER.said)) == []


def test_shares_warn_that_they_are_probabilities() -> None:
    part = order(stages=(stage(CANARY, share=1_000), stage(CANARY)))
    [said] = warnings(part.said)
    # Nobody of ten with a chance of a tenth each: 0.9 ** 10.
    assert "10 % holds nobody 35% of the time" in said
