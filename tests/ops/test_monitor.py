"""The monitor against the real server: what it signs, what it does not, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.monitored import Watched, Watcher, made
from tests.support.papers import stage
from tests.support.people import CANARY, ST_BERT


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    fleet = made(tmp_path)
    yield fleet
    fleet.real.close()


@pytest.fixture
def mona(watched: Watched) -> Iterator[Watcher]:
    watcher = Watcher(watched)
    yield watcher
    watcher.stop()


def test_it_opens_the_auto_stage_after_the_soak_and_once(watched: Watched, mona: Watcher) -> None:
    order = watched.rollout()
    assert mona.sent() == []
    watched.confirm(order, *watched.of(CANARY))
    watched.later(hours=23)
    assert mona.sent() == []
    assert "soak" in mona.waits()
    watched.later(hours=1)
    assert mona.sent() == ["open"]
    assert watched.open_stages(order) == 2
    [_, opened] = watched.goes(order)
    assert (opened.author, opened.stage, opened.act) == ("mona", 1, "open")
    assert opened.checkpoint is not None
    assert "6 of 6 devices confirmed" in opened.reason
    watched.later(minutes=1)
    assert mona.sent() == []
    assert mona.names() == ["stage_opened"]


def test_it_stops_what_fails_and_renews_nothing_then(watched: Watched, mona: Watcher) -> None:
    order = watched.rollout()
    canary = watched.of(CANARY)
    watched.fail(order, *canary[:4])
    watched.confirm(order, *canary[4:])
    assert mona.sent() == ["stop"]
    [stop] = watched.stops(order)
    assert (stop.author, stop.cohort, stop.site) == ("mona", None, None)
    assert "4 of 6 started devices failed" in stop.reason
    assert "stop_signed" in mona.names()
    watched.later(days=5)
    assert mona.sent() == []
    assert [go.act for go in watched.goes(order)] == ["open"]


def test_one_of_two_failures_stops_nothing(watched: Watched, mona: Watcher) -> None:
    order = watched.rollout()
    canary = watched.of(CANARY)
    watched.fail(order, canary[0])
    watched.confirm(order, *canary[1:])
    watched.later(days=1)
    assert mona.sent() == ["open"]


def test_silence_is_failure_by_its_own_clock(watched: Watched, mona: Watcher) -> None:
    """A server that hides every report, or a fleet that went dark, is stopped at the deadline."""
    order = watched.rollout()
    assert mona.sent() == []
    watched.later(hours=5)
    assert mona.sent() == []
    watched.later(hours=2)
    assert mona.sent() == ["stop"]
    assert watched.stops(order)[0].reason.startswith("stage 0: 6 of 6 started devices failed")


def test_a_gate_stays_shut_while_devices_are_silent(watched: Watched, mona: Watcher) -> None:
    """The deadline is far off, and the soak is over: silence opens no gate."""
    watched.rollout(deadline_seconds=20 * 86_400)
    watched.later(days=1, minutes=1)
    assert mona.sent() == []
    assert "failures_at_gate" in mona.waits()
    assert "failures_at_gate" in mona.names()


def test_no_evidence_opens_no_gate(watched: Watched, mona: Watcher) -> None:
    """Everybody waits for a clinical reason, which is no failure, and no success either."""
    order = watched.rollout(deadline_seconds=20 * 86_400)
    for device in watched.of(CANARY):
        watched.tell(device)
    watched.later(days=1)
    assert mona.sent() == []
    assert "no_evidence" in mona.waits()
    watched.confirm(order, *watched.of(CANARY)[:3])
    assert mona.sent() == ["open"]


def test_a_manual_gate_is_never_its_business(watched: Watched, mona: Watcher) -> None:
    order = watched.rollout(stages=(stage(CANARY), stage(CANARY, ST_BERT)))
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=2)
    assert mona.sent() == []
    assert watched.open_stages(order) == 1


def test_it_renews_until_an_operator_is_needed(watched: Watched, mona: Watcher) -> None:
    """What it signs lasts at most thirty days after the newest go of an operator."""
    order = watched.rollout(stages=(stage(CANARY, share=9_999), stage(CANARY, ST_BERT)))
    first = watched.now
    watched.confirm(order, *watched.of(CANARY))
    for _ in range(20):
        mona.round()
        watched.later(days=1.7)
    renewals = [go for go in watched.goes(order) if go.act == "renew"]
    assert {go.author for go in renewals} == {"mona"}
    assert max(go.valid_until for go in renewals) == first + timedelta(days=30)
    assert "operator_needed" in mona.names()
    assert "go_lapsed" in mona.names()
