"""How far an order is open for a cohort, and for how long: openings, soaks, renewals, resumes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from interlock_core.chain import (
    Chain,
    Papers,
    accepted_at,
    cleared,
    first_stage,
    goes_in_force,
    read_chain,
)
from interlock_core.order import Authorisation, Go, Order
from interlock_core.roster import Judge, Roster
from interlock_core.statement import Opened, open_as
from tests.core.worlds import world
from tests.support.papers import (
    authorise,
    consent,
    days,
    hours,
    opening,
    order,
    renewal,
    resume,
    signed,
    stage,
    stop,
)
from tests.support.people import (
    CANARY,
    DAY0,
    MONA,
    PEOPLE,
    ROSTER,
    ST_ANNA,
    ST_BERT,
    grant,
    person,
    roster,
    rules,
)

SECOND = timedelta(seconds=1)
DAY2 = DAY0 + days(2)
ORDER = order()
FIRST = opening(ORDER)
SECOND_STAGE = opening(ORDER, 1, at=DAY0 + days(1))
STARTED = [authorise(ORDER), FIRST, authorise(FIRST)]
BOTH_OPEN = [*STARTED, SECOND_STAGE, authorise(SECOND_STAGE)]
ALONE = roster(rules=(rules(start={}, advance={}, resume={}),))
"""A roster by whose rules an operator acts alone."""


def read(
    papers: Sequence[Opened[Any]],
    *,
    of: Opened[Order] = ORDER,
    now: datetime = DAY2,
    cohort: str = CANARY,
    by: Roster = ROSTER,
) -> Chain:
    words = [paper for paper in papers if isinstance(paper.said, Authorisation)]
    goes = [paper for paper in papers if isinstance(paper.said, Go)]
    return read_chain(Judge(by, now), Papers(of, words, goes), cohort)


def stages_open(papers: Sequence[Opened[Any]], **how: Any) -> int:
    return len(read(papers, **how).stages)


def live_until(papers: Sequence[Opened[Any]], stage_: int = 0, **how: Any) -> datetime | None:
    return read(papers, **how).live_until(stage_)


# --- Orders -------------------------------------------------------------------------------------


def test_an_order_is_accepted_when_the_last_needed_word_was_said() -> None:
    late = authorise(ORDER, at=DAY0 + hours(5))
    papers = Papers(ORDER, [late, authorise(ORDER, "alan", at=DAY0 + hours(7))], [])
    assert accepted_at(Judge(ROSTER, DAY0 + days(1)), papers, CANARY) == DAY0 + hours(5)
    assert accepted_at(Judge(ROSTER, DAY0 + hours(4)), papers, CANARY) is None


@pytest.mark.parametrize("cohort", ["st-carl", "nowhere"])
def test_an_order_means_nothing_to_a_cohort_that_it_does_not_name(cohort: str) -> None:
    assert accepted_at(Judge(ROSTER, DAY0), Papers(ORDER, [authorise(ORDER)], []), cohort) is None


def test_no_monitor_and_no_approver_proposes() -> None:
    for by in ("mona", "ada", "eve"):
        of = order(by=by)
        papers = Papers(of, [authorise(of, "alan")], [])
        assert accepted_at(Judge(ROSTER, DAY0), papers, CANARY) is None


# --- Openings and soaks -------------------------------------------------------------------------


def test_stages_open_one_after_the_other() -> None:
    assert stages_open(STARTED) == 1
    chain = read(BOTH_OPEN)
    assert [opened.since for opened in chain.stages] == [DAY0, DAY0 + days(1)]
    assert (chain.objection, chain.claims) == (None, 1)


def test_a_soak_is_kept_to_the_second() -> None:
    early = opening(ORDER, 1, at=DAY0 + days(1) - SECOND)
    chain = read([*STARTED, early, authorise(early)])
    assert len(chain.stages) == 1
    assert chain.objection == "stage 1 was opened before 2027-03-02T08:00:00Z"


def test_a_soak_counts_from_the_newest_word_that_was_needed() -> None:
    """Not from ``opened_at``: an opening without its approval opens nothing."""
    papers = [authorise(ORDER), FIRST, authorise(FIRST, at=DAY0 + hours(6)), *BOTH_OPEN[3:]]
    assert stages_open(papers) == 1
    later = opening(ORDER, 1, at=DAY0 + hours(30))
    assert stages_open([*papers, later, authorise(later)]) == 2


def test_a_soak_counts_from_the_orders_own_approval_too() -> None:
    papers = [authorise(ORDER, at=DAY0 + hours(6)), FIRST, authorise(FIRST), *BOTH_OPEN[3:]]
    assert stages_open(papers) == 1


def test_no_stage_opens_before_the_order_begins() -> None:
    of = order(not_before=DAY0 + hours(2))
    early, right = opening(of), opening(of, at=DAY0 + hours(2))
    assert stages_open([authorise(of), early, authorise(early)], of=of) == 0
    assert stages_open([authorise(of), right, authorise(right)], of=of) == 1


def test_a_stage_needs_every_stage_below_it() -> None:
    chain = read([authorise(ORDER), *BOTH_OPEN[3:]])
    assert (len(chain.stages), chain.claims) == (0, 1)
    assert chain.objection == "no opening of stage 0 was shown"


def test_of_several_openings_the_earliest_that_counts_is_taken() -> None:
    again = opening(ORDER, at=DAY0 + hours(9))
    papers = [again, authorise(again), *BOTH_OPEN]
    assert read(papers).stages[0].since == DAY0
    assert read([paper for paper in papers if paper is not FIRST]).stages[0].since == again.said.at


def test_what_is_dated_in_the_future_does_not_count() -> None:
    now = DAY0 + hours(3)
    ahead = opening(ORDER, opened_at=now + SECOND)
    signed_ahead = opening(ORDER, at=now + SECOND, opened_at=DAY0)
    for go in (ahead, signed_ahead):
        papers = [authorise(ORDER), go, authorise(go, at=DAY0)]
        assert stages_open(papers, now=now) == 0
        assert stages_open(papers, now=now + SECOND) == 1
    unsaid = [authorise(ORDER), FIRST, authorise(FIRST, at=now + SECOND)]
    assert stages_open(unsaid, now=now) == 0
    assert stages_open(unsaid, now=now + SECOND) == 1


def test_an_opening_of_another_order_opens_nothing() -> None:
    other = order(seq=2)
    go = opening(other)
    assert stages_open([authorise(ORDER), go, authorise(go)]) == 0


# --- Gates --------------------------------------------------------------------------------------

AUTO = order(stages=(stage(CANARY), stage(CANARY, ST_ANNA, gate="auto")))
AUTO_FIRST = opening(AUTO)
AUTO_STARTED = [authorise(AUTO), AUTO_FIRST, authorise(AUTO_FIRST)]
BY_MONA = opening(AUTO, 1, by="mona", at=DAY0 + days(1))


def test_the_monitor_alone_opens_an_auto_stage() -> None:
    assert stages_open([*AUTO_STARTED, BY_MONA], of=AUTO) == 2
    by_olga = opening(AUTO, 1, at=DAY0 + days(1))
    assert stages_open([*AUTO_STARTED, by_olga, authorise(by_olga)], of=AUTO) == 1


def test_a_monitor_opens_no_other_stage() -> None:
    for number, shown in ((0, [authorise(ORDER)]), (1, STARTED)):
        go = opening(ORDER, number, by="mona", at=DAY0 + days(1))
        papers = [*shown, go, authorise(go), authorise(go, "alan"), authorise(go, "olga")]
        assert stages_open(papers) == number


def test_an_auto_stage_keeps_the_soak() -> None:
    early = opening(AUTO, 1, by="mona", at=DAY0 + days(1) - SECOND)
    assert stages_open([*AUTO_STARTED, early], of=AUTO) == 1


def test_start_and_advance_are_rules_of_their_own() -> None:
    by = roster(rules=(rules(start={}, advance={"approver": 1}),))
    assert stages_open([FIRST, SECOND_STAGE], by=by) == 1
    by = roster(rules=(rules(start={"approver": 1}, advance={}),))
    assert stages_open([FIRST, SECOND_STAGE], by=by) == 0
    assert stages_open([*STARTED, SECOND_STAGE], by=by) == 2


# --- Cohorts ------------------------------------------------------------------------------------


def test_a_link_that_names_my_cohort_is_judged_by_my_rule() -> None:
    assert stages_open(BOTH_OPEN) == 2
    # Stage 0 is the canaries'; stage 1 and the order lack the consent of the hospital.
    assert stages_open(BOTH_OPEN, cohort=ST_ANNA) == 1
    words = [*BOTH_OPEN, consent(ORDER)]
    assert stages_open(words, cohort=ST_ANNA) == 1
    assert stages_open([*words, consent(SECOND_STAGE)], cohort=ST_ANNA) == 2


def test_a_hospital_that_consents_late_starts_late() -> None:
    """And blocks nobody meanwhile."""
    when = DAY0 + days(3)
    again = opening(ORDER, 1, at=when + days(1))
    papers = [*BOTH_OPEN, consent(ORDER, at=when), consent(SECOND_STAGE, at=when)]
    now = DAY0 + days(5)
    chain = read(papers, cohort=ST_ANNA, now=now)
    # Stage 0 is the canaries' and was open before; stage 1 opened here when the hospital agreed.
    assert [opened.since for opened in chain.stages] == [DAY0, when]
    assert read(papers, now=now).stages[1].since == DAY0 + days(1)
    more = [*papers, again, authorise(again), consent(again)]
    assert read(more, cohort=ST_ANNA, now=now).stages[1].since == when


def test_an_opening_may_be_signed_again_for_those_who_consented_late() -> None:
    when = DAY0 + days(5)
    of = order(stages=(stage(CANARY, ST_ANNA),))
    first, again = opening(of), opening(of, at=when)
    papers = [authorise(of), first, authorise(first), consent(of, at=when), again]
    papers += [authorise(again), consent(again)]
    now = DAY0 + days(6)
    assert read(papers, of=of, cohort=ST_ANNA, now=now).stages[0].since == when
    assert read(papers, of=of, now=now).stages[0].since == DAY0
    # Here it is the first that counts, so it need not have been signed before a lapse.
    assert live_until(papers, of=of, cohort=ST_ANNA, now=now) == when + days(7)


def test_a_stage_of_others_is_judged_by_one_of_the_cohorts_that_it_names() -> None:
    """So an absent hospital blocks nobody, and nobody fakes a canary with one signature."""
    of = order(stages=(stage(CANARY, ST_ANNA), stage(ST_BERT)))
    first = opening(of)
    last = opening(of, 1, at=DAY0 + days(1))
    papers = [authorise(of), last, authorise(last)]
    assert stages_open([*papers, first, authorise(first)], of=of, cohort=ST_BERT) == 2
    assert stages_open([*papers, first], of=of, cohort=ST_BERT) == 0
    assert stages_open([*papers, first, consent(first)], of=of, cohort=ST_BERT) == 0


def test_an_operator_of_another_cohort_opens_nothing_here() -> None:
    others = [one for one in PEOPLE if one.name != "olga"]
    by = roster(person("olga", grant("operator", ST_BERT)), *others)
    assert stages_open(BOTH_OPEN, by=by) == 0
    by_omar = order(by="omar")
    go = opening(by_omar)
    assert stages_open([authorise(by_omar), go, authorise(go)], of=by_omar, by=by) == 0


def test_the_device_is_in_the_first_stage_that_has_it_inside() -> None:
    of = order(stages=(stage(ST_ANNA), stage(CANARY, share=100), stage(CANARY, share=5_000)))
    assert [first_stage(of.said, CANARY, point) for point in (99, 100, 4_999, 5_000)] == [
        1,
        2,
        2,
        None,
    ]
    assert first_stage(of.said, ST_BERT, 0) is None


# --- Revocation ---------------------------------------------------------------------------------


def test_links_of_somebody_who_left_die() -> None:
    without = roster(*(one for one in PEOPLE if one.name != "olga"))
    of = order(by="omar")
    mixed = [authorise(of), opening(of), *BOTH_OPEN]
    assert stages_open(mixed, of=of, by=without) == 0


def test_a_link_that_died_may_be_signed_again_with_its_original_time() -> None:
    """Under its original rule; here it asks for nobody else, and the monitor's for nobody ever."""
    of = order(by="omar", stages=(stage(CANARY), stage(CANARY, gate="auto"), stage(CANARY)))
    first = opening(of, by="omar")
    second = opening(of, 1, by="mona", at=DAY0 + days(1))
    third = opening(of, 2, by="omar", at=DAY0 + days(2))
    now = DAY0 + days(3)
    new = person("mia", grant("monitor"))
    replaced = roster(*(one for one in PEOPLE if one is not MONA), new, rules=ALONE.rules)
    assert stages_open([first, second, third], of=of, by=ALONE, now=now) == 3
    assert stages_open([first, second, third], of=of, by=replaced, now=now) == 1
    again = opening(of, 1, by="mia", at=now, opened_at=second.said.opened_at)
    chain = read([first, second, third, again], of=of, by=replaced, now=now)
    assert [opened.since for opened in chain.stages] == [DAY0, DAY0 + days(1), DAY0 + days(2)]


# --- Renewals -----------------------------------------------------------------------------------


def test_an_opening_lives_until_it_says() -> None:
    assert live_until(STARTED) == DAY0 + days(7)
    assert live_until(STARTED, 1) is None


@pytest.mark.parametrize("by", ["olga", "omar", "mona"])
def test_one_operator_or_monitor_renews(by: str) -> None:
    more = renewal(FIRST, by=by, at=DAY0 + days(6))
    assert live_until([*STARTED, more], now=DAY0 + days(8)) == DAY0 + days(13)


@pytest.mark.parametrize(
    "bad",
    [
        renewal(FIRST, by="ada", at=DAY0 + days(1)),
        renewal(FIRST, by="eve", at=DAY0 + days(1)),
        renewal(FIRST, key="eve", at=DAY0 + days(1)),
        renewal(FIRST, at=DAY0 + days(1), fleet="south"),
        renewal(FIRST, at=DAY0 + days(1), opened_at=DAY0 + SECOND),
        renewal(FIRST, at=DAY0 + days(1), stage=1),
        renewal(FIRST, at=DAY0 + days(1), order=order(seq=2).id),
        renewal(SECOND_STAGE, at=DAY0 + days(1)),
        renewal(FIRST, at=DAY0 + days(1), renews=SECOND_STAGE.id),
        renewal(FIRST, at=DAY0 + days(3)),
    ],
    ids=[
        "an approver",
        "a stranger",
        "a forger",
        "another fleet",
        "another time of opening",
        "another stage",
        "another order",
        "an opening that was not shown",
        "another opening's id",
        "dated in the future",
    ],
)
def test_other_renewals_count_for_nothing(bad: Opened[Go]) -> None:
    chain = read([*STARTED, bad])
    assert (chain.live_until(0), chain.renewals) == (DAY0 + days(7), ())


def test_a_renewal_must_be_signed_while_its_stage_lives() -> None:
    now, end = DAY0 + days(9), DAY0 + days(7)
    for at, until in ((end - SECOND, end - SECOND + days(7)), (end, end), (end + days(1), end)):
        assert live_until([*STARTED, renewal(FIRST, at=at)], now=now) == until


def test_renewals_prolong_one_another_in_whatever_order_they_are_shown() -> None:
    weekly = [renewal(FIRST, at=DAY0 + days(6 * n), seq=n) for n in range(1, 6)]
    now = DAY0 + days(31)
    for shown in (weekly, weekly[::-1]):
        chain = read([*shown, *STARTED], now=now)
        assert chain.live_until(0) == DAY0 + days(37)
        assert chain.renewals == tuple(weekly)
    # One that is withheld shows a lapse, and what was signed after it counts for nothing.
    assert live_until([*STARTED, *weekly[:2], *weekly[3:]], now=now) == DAY0 + days(19)


def test_no_link_is_refused_for_its_number() -> None:
    one = renewal(FIRST, at=DAY0 + days(5), seq=9)
    two = renewal(FIRST, at=DAY0 + days(11), seq=3)
    assert live_until([*STARTED, one, two], now=DAY0 + days(12)) == DAY0 + days(18)


def test_a_stage_lives_by_those_above_it_and_not_by_those_below() -> None:
    more = renewal(SECOND_STAGE, at=DAY0 + days(7))
    chain = read([*BOTH_OPEN, more], now=DAY0 + days(8))
    assert (chain.live_until(0), chain.live_until(1)) == (DAY0 + days(14), DAY0 + days(14))
    more = renewal(FIRST, at=DAY0 + days(6))
    chain = read([*BOTH_OPEN, more], now=DAY0 + days(7))
    assert (chain.live_until(0), chain.live_until(1)) == (DAY0 + days(13), DAY0 + days(8))


# --- The monitor's bound ------------------------------------------------------------------------


def test_a_monitor_renews_for_30_days_after_an_operators_newest_go() -> None:
    weekly = [renewal(FIRST, by="mona", at=DAY0 + days(6 * n)) for n in range(1, 6)]
    now = DAY0 + days(31)
    assert live_until([*STARTED, *weekly], now=now) == DAY0 + days(25)
    by_olga = renewal(FIRST, at=DAY0 + days(20))
    assert live_until([*STARTED, *weekly, by_olga], now=now) == DAY0 + days(37)
    to_the_day = renewal(FIRST, by="mona", at=DAY0 + days(24), valid_until=DAY0 + days(30))
    assert live_until([*STARTED, *weekly, to_the_day], now=now) == DAY0 + days(30)


def test_a_monitors_openings_reach_no_further_than_its_renewals() -> None:
    """Or else it could open an auto stage again and again, for ever."""
    first = opening(AUTO, 1, by="mona", at=DAY0 + days(6))
    again = [
        opening(AUTO, 1, by="mona", at=DAY0 + days(6 * n), opened_at=DAY0 + days(6))
        for n in range(2, 7)
    ]
    chain = read([*AUTO_STARTED, first, *again], of=AUTO, now=DAY0 + days(37))
    assert len(chain.stages) == 2
    assert chain.live_until(0) == DAY0 + days(30)
    by_olga = renewal(AUTO_FIRST, at=DAY0 + days(5))
    longer = read([*AUTO_STARTED, by_olga, first, *again], of=AUTO, now=DAY0 + days(37))
    assert longer.live_until(0) == DAY0 + days(35)


# --- Lapse and resume ---------------------------------------------------------------------------

LATE = DAY0 + days(10)
RESUMED = resume(ORDER, at=LATE)


def test_only_a_resume_by_rule_revives() -> None:
    now = LATE + hours(1)
    assert live_until([*STARTED, RESUMED, authorise(RESUMED)], now=now) == LATE + days(7)
    for bad in (
        [RESUMED],
        [resume(ORDER, at=LATE, by="mona"), authorise(resume(ORDER, at=LATE, by="mona"))],
        [RESUMED, authorise(RESUMED, "olga")],
        [RESUMED, authorise(RESUMED, at=now + SECOND)],
        [resume(ORDER, 1, at=LATE), authorise(resume(ORDER, 1, at=LATE))],
    ):
        assert live_until([*STARTED, *bad], now=now) == DAY0 + days(7)


def test_an_opening_shown_again_after_the_lapse_does_not_revive() -> None:
    again = opening(ORDER, at=LATE, opened_at=DAY0)
    papers = [*STARTED, again, authorise(again)]
    assert live_until(papers, now=LATE + hours(1)) == DAY0 + days(7)
    # In time it prolongs.
    again = opening(ORDER, at=DAY0 + days(5), opened_at=DAY0)
    papers = [*STARTED, again, authorise(again)]
    assert live_until(papers, now=LATE) == DAY0 + days(12)


def test_the_opening_of_a_further_stage_after_the_lapse_does_not_revive() -> None:
    """A dead-man's switch that the monitor, which works unattended, could push is none."""
    late = opening(AUTO, 1, by="mona", at=LATE)
    papers = [*AUTO_STARTED, late]
    chain = read(papers, of=AUTO, now=LATE + hours(1))
    assert len(chain.stages) == 2
    assert chain.live_until(0) == DAY0 + days(7)
    resumed = resume(AUTO, 1, at=LATE + hours(1))
    revived = [*papers, resumed, authorise(resumed)]
    chain = read(revived, of=AUTO, now=LATE + hours(2))
    assert chain.live_until(1) == resumed.said.valid_until


def test_an_opening_that_was_approved_after_its_end_neither_lives_nor_hinders() -> None:
    slow = [authorise(ORDER), FIRST, authorise(FIRST, at=LATE)]
    assert live_until(slow, now=LATE + hours(1)) == DAY0 + days(7)
    again = opening(ORDER, at=LATE)
    papers = [*slow, again, authorise(again)]
    assert live_until(papers, now=LATE + hours(1)) == LATE + days(7)


def test_a_resumed_stage_is_renewed_like_any() -> None:
    more = renewal(FIRST, at=LATE + days(6))
    papers = [*STARTED, RESUMED, authorise(RESUMED), more]
    assert live_until(papers, now=LATE + days(8)) == LATE + days(13)
    early = renewal(FIRST, at=LATE - SECOND)
    papers = [*STARTED, RESUMED, authorise(RESUMED), early]
    assert read(papers, now=LATE + days(1)).renewals == ()


def test_of_one_second_a_resume_is_read_before_what_only_counts_after_it() -> None:
    """Times are whole seconds, and a script resumes and renews, or opens, within one."""
    until = LATE + days(9)
    for number in range(8):
        resumed = resume(ORDER, at=LATE, reason=f"looked into {number}")
        again = [*STARTED, resumed, authorise(resumed)]
        more = renewal(FIRST, at=LATE, valid_until=until)
        chain = read([*again, more], now=LATE)
        assert (chain.live_until(0), chain.renewals) == (until, (more,))
        further = opening(ORDER, 1, at=LATE, valid_until=until)
        chain = read([*again, further, authorise(further, at=LATE)], now=LATE)
        assert (len(chain.stages), chain.live_until(1)) == (2, until)
        # One that nobody authorised revives nothing for them.
        chain = read([*STARTED, resumed, more, further, authorise(further, at=LATE)], now=LATE)
        assert (chain.live_until(1), chain.renewals) == (DAY0 + days(7), ())


def test_a_resume_opens_no_stage() -> None:
    go = resume(ORDER, 1, at=DAY0 + days(1))
    chain = read([*STARTED, go, authorise(go)])
    assert len(chain.stages) == 1
    assert chain.live_until(1) is None
    nothing = resume(ORDER, at=DAY0)
    assert stages_open([authorise(ORDER), nothing, authorise(nothing)]) == 0


def test_a_resume_clears_by_my_cohorts_rule() -> None:
    """Even when its stage does not name my cohort."""
    of = order(stages=(stage(CANARY), stage(ST_ANNA)))
    stopped = stop(of)
    go = resume(of, at=DAY0 + hours(1), clears=(stopped,))
    papers = [authorise(of), consent(of), go, authorise(go)]
    assert cleared(read(papers, of=of)) == {stopped.id}
    assert cleared(read(papers, of=of, cohort=ST_ANNA)) == frozenset()
    assert cleared(read([*papers, consent(go)], of=of, cohort=ST_ANNA)) == {stopped.id}


# --- What a server keeps ------------------------------------------------------------------------


def test_what_is_in_force_reads_like_everything_that_was_shown() -> None:
    """A directive of the goes in force opens and lives exactly as all of them did."""
    for seed in range(250):
        drawn = world(random.Random(seed))  # noqa: S311  a reproducible choice, no secret
        shown = drawn.trusted.directive.products["gateway"]
        assert shown.order is not None
        judge = Judge(drawn.trusted.roster, drawn.now)
        words = [open_as(envelope, Authorisation) for envelope in shown.authorisations]
        papers = Papers(
            open_as(shown.order, Order), words, [open_as(one, Go) for one in shown.chain]
        )
        chain = read_chain(judge, papers, drawn.gateway.cohort)
        kept = Papers(papers.order, words, goes_in_force(chain))
        again = read_chain(judge, kept, drawn.gateway.cohort)
        assert (again.stages, again.valid_until) == (chain.stages, chain.valid_until), seed
        assert goes_in_force(again) == goes_in_force(chain), seed


def test_a_statement_that_is_shown_twice_is_one() -> None:
    again = signed(FIRST.said)
    chain = read([*STARTED, again, *STARTED])
    assert len(chain.stages) == 1
    assert chain.live_until(0) == DAY0 + days(7)
