"""Counting refusals: it keeps nobody waiting, and loses nothing while the database is held."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from interlock_core.errors import TransientError
from interlock_server import refusals
from interlock_server.db import session as db_session
from tests.server.world import V1, Bench, both
from tests.support.papers import order


@both
def test_a_held_turn_keeps_no_refusal_waiting(bench: Bench) -> None:
    """The answer comes while somebody publishes; the counts follow when that has ended."""
    forged = order(targets=(V1.target(),), by="mallory")
    with bench.back.database.writing():
        for _ in range(5):
            assert bench.say(forged).json["reason"] == "unknown_author"
            bench.clock.now += timedelta(seconds=1)
    assert bench.refusals() == {("statement", "unknown_author"): 5}


def test_what_waited_is_written_without_anybody_asking(bench: Bench) -> None:
    with bench.back.database.writing():
        bench.say(order(targets=(V1.target(),), by="mallory"))
        (writer,) = [one for one in threading.enumerate() if one.name == "refusals"]
    writer.join(60)
    assert not writer.is_alive()
    assert bench.refusals() == {("statement", "unknown_author"): 1}


def test_a_count_that_the_database_did_not_take_waits_for_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "BUSY_SECONDS", 0)
    forged = order(targets=(V1.target(),), by="mallory")
    with bench.back.database.writing():
        bench.say(forged)
        for one in threading.enumerate():
            if one.name == "refusals":
                one.join(60)
        assert "could not be counted yet" in caplog.text
        with pytest.raises(TransientError):
            bench.back.refusals.flush()
    bench.say(forged)
    assert bench.refusals() == {("statement", "unknown_author"): 2}


def test_what_waits_is_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "MAX_WAITING", 1)
    monkeypatch.setattr(refusals, "BUSY_SECONDS", 0)
    with bench.back.database.writing():
        bench.say(order(targets=(V1.target(),), by="mallory"))
        bench.say(order(targets=(V1.target(),), fleet="south"))
    assert "too many refusals wait" in caplog.text
    assert bench.refusals() == {("statement", "unknown_author"): 1}


def test_a_short_write_waits_for_the_turn_as_long_as_it_says(bench: Bench) -> None:
    with (
        bench.back.database.writing(),
        pytest.raises(TransientError, match="locked"),
        bench.back.database.storing(wait_seconds=0),
    ):
        raise AssertionError("two writers at once")
    with bench.back.database.storing() as session:
        assert session.in_transaction()
    assert db_session.BUSY_SECONDS > 0
