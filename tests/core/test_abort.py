"""When failures stop a rollout."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.abort import (
    DEFAULT_ABORT,
    Z_95,
    Z_999,
    Counts,
    first_pause,
    pause_reason,
    wilson_lower,
)
from interlock_core.order import Abort

TEN = (Abort(failure_type="all", threshold_basis_points=1_000, min_executed=5),)


def counts(started: int, excluded: int = 0, **votes: int) -> Counts:
    """A stage of ``started`` devices, of which so many voted so; the others still wait."""
    rest = started - excluded - sum(votes.values())
    made = {"started": started, "excluded": excluded, "states": {"scheduled": rest} | votes}
    return msgspec.convert(made | {"votes": votes}, Counts)


@pytest.mark.parametrize(
    ("failures", "trials", "z", "bound"),
    # From the closed form, worked out by hand; NIST's handbook gives the same form (7.2.4.1).
    [(8, 40, Z_95, 0.1165), (1, 2, Z_95, 0.1209), (5, 5, Z_999, 0.3437), (0, 40, Z_95, 0.0)],
)
def test_wilsons_lower_bound(failures: int, trials: int, z: float, bound: float) -> None:
    assert wilson_lower(failures, trials, z) == pytest.approx(bound, abs=5e-4)


@pytest.mark.parametrize(
    ("setting", "stage"),
    [
        (TEN, counts(40, failed=8)),
        (TEN, counts(40, confirmed=32, failed=3, rolled_back=3, timed_out=2)),
        (TEN, counts(40, timed_out=8)),
        # Everybody who tried failed, of very many who were started.
        (TEN, counts(100_000, rolled_back=5)),
        # Smaller than the minimum sample, and over.
        (TEN, counts(1, failed=1)),
        (TEN, counts(3, confirmed=1, failed=2)),
        ((Abort(failure_type="all", threshold_basis_points=10_000, min_executed=5),),
         counts(7, timed_out=7)),
        ((), counts(40, failed=8)),
    ],
)  # fmt: skip
def test_too_many_failures_pause(setting: Sequence[Abort], stage: Counts) -> None:
    reason = pause_reason(setting, stage)
    assert reason is not None
    assert reason.failures == stage.failures()


@pytest.mark.parametrize(
    "stage",
    [
        counts(2, confirmed=1, failed=1),
        counts(2, failed=1),
        counts(4, confirmed=2, failed=2),
        counts(40, failed=4),
        counts(40, confirmed=36, failed=4),
        counts(100_000, confirmed=99_500, failed=500),
        counts(1_000, confirmed=5, failed=2),
        counts(40),
        # What tried nothing has not failed.
        counts(40, rejected=40),
        counts(40, already_installed=40),
    ],
)
def test_few_failures_do_not(stage: Counts) -> None:
    assert pause_reason(TEN, stage) is None


def test_only_failures_of_its_type_count_for_a_setting() -> None:
    silent = (Abort(failure_type="timed_out", threshold_basis_points=1_000, min_executed=5),)
    assert pause_reason(silent, counts(40, confirmed=20, failed=20)) is None
    assert pause_reason(silent, counts(40, confirmed=20, timed_out=20)) is not None
    assert pause_reason((*silent, *TEN), counts(40, confirmed=20, failed=20)) is not None


def test_what_is_excluded_counts_on_neither_side() -> None:
    assert pause_reason(TEN, counts(40, failed=8)) is not None
    assert pause_reason(TEN, counts(40, excluded=8)) is None
    assert pause_reason(TEN, counts(40, excluded=30, failed=4, confirmed=6)) is not None


def test_evidence_is_used_once() -> None:
    paused = counts(100, confirmed=20, failed=20)
    assert pause_reason(TEN, paused) is not None
    assert pause_reason(TEN, paused, paused) is None
    assert pause_reason(TEN, counts(100, confirmed=70, failed=22), paused) is None
    assert pause_reason(TEN, counts(100, confirmed=20, failed=40), paused) is not None


def test_a_hospital_where_everything_fails_is_not_lost_among_others() -> None:
    places = {(1, "all"): counts(10_000, confirmed=9_000), (1, "st-anna"): counts(20, failed=20)}
    found = first_pause(TEN, places)
    assert found is not None
    assert found[:2] == (1, "st-anna")
    places[1, "st-anna"] = counts(20, failed=1, confirmed=19)
    assert first_pause(TEN, places) is None
    places[0, "canary"] = counts(40, timed_out=20)
    assert first_pause(TEN, places) == (0, None, pause_reason(TEN, places[0, "canary"]))


VOTES = st.fixed_dictionaries(
    {name: st.integers(0, 300) for name in ("confirmed", "failed", "rolled_back", "timed_out")}
)


@given(VOTES, st.integers(0, 300))
def test_one_more_failure_never_makes_it_better(votes: dict[str, int], rest: int) -> None:
    rest += 1
    started = sum(votes.values()) + rest
    if pause_reason(DEFAULT_ABORT, counts(started, **votes)) is not None:
        votes["failed"] += 1
        assert pause_reason(DEFAULT_ABORT, counts(started, **votes)) is not None


@given(VOTES, VOTES, st.integers(0, 300))
def test_counts_add_up(one: dict[str, int], other: dict[str, int], rest: int) -> None:
    a, b = counts(sum(one.values()) + rest, **one), counts(sum(other.values()), **other)
    total = a + b
    assert total.votes == (b + a).votes
    assert total.open == a.open + b.open == rest
    assert total.failures() == a.failures() + b.failures()
    assert total.executed <= total.eligible
