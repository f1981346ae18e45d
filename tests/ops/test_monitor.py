"""The monitor against the real server: what it signs, what it does not, and what it says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from interlock_core.order import Go
from interlock_core.statement import Envelope, open_as
from interlock_ops.session import Session
from tests.ops.monitored import Watched, Watcher, away
from tests.support.papers import stage, stop
from tests.support.people import CANARY, ST_BERT


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


def test_two_that_sign_at_once_do_no_harm(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits its turn; if both sign all the same, the earliest opening is taken."""
    zoe = Watcher(watched, "zoe")
    order = watched.rollout()
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=1)
    assert zoe.sent() == []
    assert zoe.sent() == []
    signed: list[Envelope] = []
    with monkeypatch.context() as patch:
        patch.setattr(Session, "post", lambda _session, envelope, _id: signed.append(envelope))
        assert mona.sent() == ["open"]
        watched.later(minutes=2)
        assert zoe.sent() == ["open"]
    assert watched.open_stages(order) == 1
    for envelope in reversed(signed):
        watched.real.bench.say_all(open_as(envelope, Go))
    assert watched.open_stages(order) == 2
    assert sorted(go.author for go in watched.goes(order)) == ["mona", "olga", "zoe"]
    watched.later(minutes=5)
    assert (mona.sent(), zoe.sent()) == ([], [])
    zoe.stop()


def test_what_the_server_cannot_take_now_is_sent_again(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = watched.rollout()
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=1)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "post", away)
        [kept] = mona.round().sent
    assert kept.state == "kept"
    mona.restart()
    watched.later(minutes=1)
    [sent] = mona.round().sent
    assert (sent.id, sent.state) == (kept.id, "sent")
    assert len(watched.goes(order)) == 2


def test_a_stop_overtakes_what_was_not_sent(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = watched.rollout()
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=1)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "post", away)
        mona.round()
    watched.real.bench.say_all(stop(order, at=watched.now))
    watched.later(minutes=1)
    [one] = mona.round().sent
    assert one.state == "dropped"
    assert len(watched.goes(order)) == 1


def test_the_server_is_away_for_long(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It stands still; after three rounds somebody is told, by a command that may fail."""
    told = tmp_path / "told"
    mona = Watcher(watched, alert_command=["sh", "-c", f"cat >> {told}; exit 3"])

    with monkeypatch.context() as patch:
        patch.setattr("interlock_ops.image.ImageRepository.roster", away)
        for _ in range(2):
            assert mona.attempt().error is not None
        assert mona.names() == []
        mona.attempt()
        assert mona.names() == ["server_unreachable", "alert_command"]
        mona.attempt()
        assert mona.names() == ["server_unreachable", "alert_command"]
    mona.round()
    assert [one["over"] for one in mona.alerts() if "over" in one] == [False, True]
    assert told.read_text().count("server_unreachable") == 2
    mona.stop()
