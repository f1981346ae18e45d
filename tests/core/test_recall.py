"""Who is affected by a recall, whose word counts, and when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.recall import Affected, Exposure, Recall, account, recall_of, stand
from interlock_core.recall_papers import Disposition, disposition_counts, notice_counts
from interlock_core.report import Attempt, Decided, Outcome
from interlock_core.roster import Grant, Judge
from interlock_core.safe_version import safe_version
from interlock_core.seen import Seen
from interlock_core.statement import Opened
from tests.support.papers import disposition, hours, notice, order, target
from tests.support.people import CANARY, DAY0, FAR, PEOPLE, ROSTER, ST_ANNA, person, roster
from tests.support.released import catalogue, gone, listed, seen

BAD = order(seq=1, targets=(target("2.0.0"),))
RECALL = order(seq=2, kind="recall", targets=(target("1.0.0"),), at=DAY0 + hours(1))
SINCE = DAY0 + hours(2)
NOTICE = notice(RECALL, "2.0.0", at=SINCE)
LATER = SINCE + hours(1)
JUDGE = Judge(ROSTER, LATER)


def recall(stages_open: int = 1, **more: Any) -> Recall:
    found = recall_of(JUDGE, RECALL, [NOTICE], [Exposure(BAD, {CANARY: stages_open})], **more)
    assert found is not None
    return found


def attempt(of: Opened[Any], version: str, outcome: Outcome) -> Attempt:
    return Attempt(
        order=of.id,
        target=target(version).sha256,
        outcome=outcome,
        reason=None,
        deferred_since=None,
    )


def decided(of: Opened[Any] | None, reason: str, at: datetime = LATER) -> Decided:
    return Decided(at=at, order=of.id if of is not None else None, reason=reason, detail="")


def where(one: Seen, *words: Opened[Disposition], of: Recall | None = None) -> tuple[str, str]:
    found = stand(JUDGE, of or recall(), one, words)
    return found.why, found.standing


# Whose word counts


def test_a_notice_is_an_operators() -> None:
    assert notice_counts(JUDGE, NOTICE, RECALL)
    assert not notice_counts(JUDGE, notice(RECALL, "2.0.0", by="ada", at=SINCE), RECALL)
    assert not notice_counts(JUDGE, notice(RECALL, "2.0.0", key="mallory", at=SINCE), RECALL)
    assert not notice_counts(Judge(ROSTER, DAY0), NOTICE, RECALL)


def test_a_notice_is_about_its_own_order_which_is_a_recall() -> None:
    other = order(seq=3, kind="recall", targets=(target("1.0.0"),))
    assert not notice_counts(JUDGE, NOTICE, other)
    update = order(seq=2, targets=(target("1.0.0"),))
    assert not notice_counts(JUDGE, notice(update, "2.0.0", at=SINCE), update)


def test_what_the_order_wants_is_not_recalled() -> None:
    assert not notice_counts(JUDGE, notice(RECALL, "2.0.0", "1.0.0", at=SINCE), RECALL)
    assert recall_of(JUDGE, RECALL, [notice(RECALL, "1.0.0", at=SINCE)]) is None


def test_of_several_notices_all_images_count_and_the_first_time() -> None:
    again = notice(RECALL, "3.0.0", at=SINCE + hours(1))
    found = recall_of(JUDGE, RECALL, [again, NOTICE])
    assert found is not None
    assert found.recalled == {target("2.0.0").sha256, target("3.0.0").sha256}
    assert found.since == SINCE


def test_a_disposition_is_an_operators_or_of_the_sites_own_engineer() -> None:
    ellen = person("ellen", Grant(role="engineer", cohorts=("*",), expires=FAR, sites=("ward-7",)))
    judge = Judge(roster(*PEOPLE, ellen), LATER)
    one = seen("GW-1", 2)

    def counts(by: str, site: str = "ward-7", **more: Any) -> bool:
        word = disposition(RECALL, one, by=by, at=LATER, **more)
        return disposition_counts(judge, word, RECALL.id, CANARY, site)

    assert counts("olga")
    assert counts("ellen")
    assert not counts("ellen", site="ward-8")
    assert not counts("ada")
    assert not counts("olga", key="mallory")
    word = disposition(RECALL, one, at=LATER)
    assert not disposition_counts(judge, word, BAD.id, CANARY, "ward-7")
    assert not disposition_counts(Judge(ROSTER, DAY0), word, RECALL.id, CANARY, "ward-7")


def test_since_is_not_in_the_future() -> None:
    with pytest.raises(ValueError, match="since"):
        disposition(RECALL, seen("GW-1", 2), at=LATER, since=LATER + hours(1))


# Who is affected


def test_what_runs_and_what_is_held() -> None:
    assert where(seen("GW-1", 2, heard_at=LATER)) == ("runs", "open")
    fetching = attempt(BAD, "2.0.0", "downloading")
    assert where(seen("GW-1", 1, heard_at=LATER, attempt=fetching)) == ("holds", "open")
    over = attempt(BAD, "2.0.0", "rolled_back")
    stopped = decided(BAD, "stopped")
    assert where(seen("GW-1", 1, heard_at=LATER, attempt=over, decided=stopped))[1] == "clear"


def test_nothing_known_is_open() -> None:
    assert where(seen("GW-1")) == ("unknown", "open")
    assert where(seen("GW-1", 1, heard_at=LATER, excluded="quarantined")) == ("unknown", "open")
    assert where(seen("GW-1", 1, heard_at=LATER, running=None)) == ("unknown", "open")


def test_who_was_let_near_it_is_open_until_it_says_that_it_was_stopped() -> None:
    assert where(seen("GW-1", 1)) == ("unheard", "open")
    assert where(seen("GW-1", 1, heard_at=LATER)) == ("unheard", "open")
    for said, standing in (
        (decided(BAD, "stopped"), "clear"),
        (decided(BAD, "stopped", at=SINCE), "open"),
        (decided(BAD, "granted"), "open"),
        (decided(None, "nothing_wanted"), "open"),
        (decided(RECALL, "not_started"), "clear"),
        (decided(RECALL, "unauthorised_rollout"), "open"),
    ):
        assert where(seen("GW-1", 1, heard_at=LATER, decided=said))[1] == standing, said


def test_an_old_report_with_a_late_decision_is_not_believed() -> None:
    said = decided(BAD, "stopped", at=LATER)
    assert where(seen("GW-1", 1, heard_at=SINCE, decided=said)) == ("unheard", "open")


def test_an_order_after_the_recall_supersedes_too() -> None:
    newer = order(seq=3, targets=(target("4.0.0"),))
    one = seen("GW-1", 1, heard_at=LATER, decided=decided(newer, "granted"))
    assert where(one)[1] == "open"
    assert where(one, of=recall(later=[newer.id]))[1] == "clear"


def test_who_was_never_let_near_it_is_clear() -> None:
    assert where(seen("GW-1", 1), of=recall(stages_open=0)) == ("clear", "clear")
    assert where(seen("GW-1", 1, cohort=ST_ANNA)) == ("clear", "clear")


def test_updated_by_this_order() -> None:
    done = attempt(RECALL, "1.0.0", "confirmed")
    assert where(seen("GW-1", 1, heard_at=LATER, attempt=done)) == ("updated", "updated")
    # A recall that went wrong half-way is no update.
    failed = attempt(RECALL, "1.0.0", "failed")
    assert where(seen("GW-1", 2, heard_at=LATER, attempt=failed)) == ("runs", "open")


# What people say


def test_a_word_stands_until_the_gateway_speaks() -> None:
    silent = seen("GW-1", 2, heard_at=SINCE)
    away = disposition(RECALL, silent, "unreachable", at=LATER, since=SINCE)
    assert where(silent, away) == ("runs", "unreachable")
    assert where(seen("GW-1", 2, heard_at=LATER), away) == ("runs", "unreachable")
    assert where(seen("GW-1", 2, heard_at=LATER + timedelta(seconds=1)), away) == ("runs", "open")


def test_the_newest_word_counts_and_only_of_this_gateway() -> None:
    one = seen("GW-1", 2, heard_at=SINCE)
    away = disposition(RECALL, one, "unreachable", at=LATER - hours(0.5))
    back = disposition(RECALL, one, "returned", at=LATER)
    assert where(one, back, away)[1] == "returned"
    other = disposition(RECALL, seen("GW-2", 2), "decommissioned", at=LATER)
    assert where(one, other)[1] == "open"
    nobody = disposition(RECALL, one, "decommissioned", by="ada", at=LATER)
    assert where(one, nobody)[1] == "open"


def test_a_word_about_a_gateway_that_never_reported() -> None:
    one = seen("GW-1")
    assert where(one, disposition(RECALL, one, "decommissioned", at=LATER)) == (
        "unknown",
        "decommissioned",
    )


def test_what_was_decommissioned_needs_no_further_word() -> None:
    gone = replace(seen("GW-1", 2, excluded="decommissioned"), out_of_service=True)
    assert where(gone) == ("unknown", "decommissioned")
    assert where(replace(gone, out_of_service=False)) == ("unknown", "open")


def test_a_recall_is_closed_when_nobody_is_open() -> None:
    fleet = [seen(f"GW-{n}", 2, heard_at=SINCE) for n in range(3)]
    words = [disposition(RECALL, one, "returned", at=LATER) for one in fleet[:2]]

    def counted(words: Sequence[Opened[Disposition]]) -> Any:
        return account(stand(JUDGE, recall(), one, words) for one in fleet)

    found = counted(words)
    assert (found.closed, found.counts, found.open_by) == (
        False,
        {"open": 1, "returned": 2},
        {"runs": 1},
    )
    assert [one.seen.device for one in found.affected] == ["GW-2", "GW-0", "GW-1"]
    words.append(disposition(RECALL, fleet[2], "decommissioned", at=LATER))
    assert counted(words).closed
    assert account([]).closed


@given(
    heard=st.integers(-3, 3),
    runs=st.sampled_from([None, 1, 2]),
    excluded=st.sampled_from([None, "quarantined"]),
    said=st.integers(-3, 3),
)
def test_no_word_covers_what_the_gateway_signed_later(
    heard: int, runs: int | None, excluded: str | None, said: int
) -> None:
    one = seen("GW-1", runs, heard_at=LATER + hours(heard), excluded=excluded)
    judge = Judge(ROSTER, LATER + hours(9))
    word = disposition(RECALL, one, "returned", at=LATER + hours(said))
    found: Affected = stand(judge, recall(), one, [word])
    speaks = runs is not None and excluded is None
    if found.standing == "returned":
        assert not speaks or heard <= said
    if speaks and runs == 2 and heard > said:
        assert found.standing == "open"


# To what


def past(counter: int, **changes: Any) -> Any:
    return catalogue(listed(counter, **changes)).every


def test_the_newest_that_is_not_recalled() -> None:
    found = safe_version(catalogue(listed(1), listed(2), listed(3)), past(3))
    assert found is not None
    assert (found.version, found.below_floor, found.lacks) == ("2.0.0", False, ())
    found = safe_version(catalogue(listed(1), listed(2), listed(3)), past(2))
    assert found is not None
    assert found.version == "3.0.0"


def test_nothing_below_a_floor_unless_somebody_names_it() -> None:
    bad = listed(3, raises_floor_to=3)
    releases = catalogue(listed(1), listed(2), bad)
    assert safe_version(releases, past(3, raises_floor_to=3)) is None
    named = safe_version(releases, past(3, raises_floor_to=3), to="2.0.0")
    assert named is not None
    assert (named.below_floor, named.floor) == (True, 3)
    assert safe_version(releases, past(3), to="9.0.0") is None
    assert safe_version(releases, past(3), to="3.0.0") is None


def test_a_floor_that_a_withdrawn_release_raised_holds() -> None:
    releases = catalogue(listed(1), listed(3), gone=(gone(2, raises_floor_to=2),))
    assert safe_version(releases, past(3)) is None


def test_a_floor_that_only_a_later_release_raised_does_not() -> None:
    releases = catalogue(listed(1), listed(2), listed(4, raises_floor_to=4, hardware_ids=("x",)))
    found = safe_version(releases, past(2))
    assert found is not None
    assert found.version == "1.0.0"


def test_it_is_for_every_hardware_and_market() -> None:
    bad = past(3, hardware_ids=("cm4-r2", "cm4-r3"), markets=("DE", "FR"))
    part = listed(2, hardware_ids=("cm4-r2",), markets=("DE", "FR"))
    abroad = listed(2, file="b.img", hardware_ids=("cm4-r3",), markets=("DE",))
    assert safe_version(catalogue(part, abroad), bad) is None
    named = safe_version(catalogue(part, abroad), bad, to="2.0.0")
    assert named is not None
    assert named.lacks == ("cm4-r3",)
    both = listed(2, file="b.img", hardware_ids=("cm4-r3",), markets=("DE", "FR"))
    found = safe_version(catalogue(part, both), bad)
    assert found is not None
    assert [one.path for one in found.targets] == [both.path, part.path]
