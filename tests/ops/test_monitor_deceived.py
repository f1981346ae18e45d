"""What a server does to deceive the monitor, and what people deliver past it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from interlock_core import wire
from interlock_core.api import LogRecord, LogRecordPage
from interlock_core.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from interlock_core.errors import (
    ConflictError,
    InterlockError,
    NotFoundError,
    RefusedError,
    WireError,
)
from interlock_core.log import BUNDLE, CHECKPOINT_KEY, TAIL_KEY, bundle_key
from interlock_core.order import Order, Stop
from interlock_core.report import Report
from interlock_core.statement import Envelope, Opened, open_as, open_statement
from interlock_ops.monitor.feed import CURSOR, Feed
from interlock_ops.monitor.intake import KEPT
from interlock_ops.monitor.spool import AT_ONCE
from interlock_ops.session import Session
from interlock_server.log_records import page_of_records
from tests.ops.monitored import Watched, Watcher, away
from tests.support.papers import authorise, report, resume, started, stop
from tests.support.people import CANARY


def about_to_open(watched: Watched) -> Opened[Order]:
    """Everything that the monitor asks for is there."""
    order = watched.rollout()
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=1)
    return order


Change = Callable[[LogRecord], LogRecord | None]


def lying(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """The server shows other records than it holds."""

    def lie(*words: Any) -> LogRecordPage:
        page = page_of_records(*words)
        items = tuple(one for record in page.items if (one := change(record)) is not None)
        return msgspec.structs.replace(page, items=items)

    monkeypatch.setattr("interlock_server.web.log_api.page_of_records", lie)


def holds(record: LogRecord, type_: type[Any]) -> bool:
    try:
        return isinstance(open_statement(record.envelope, KEPT).said, type_)
    except WireError:
        return False


def test_a_log_with_two_faces(watched: Watched, mona: Watcher) -> None:
    mona.round()
    order = about_to_open(watched)
    watched.published()
    store, signer = watched.real.bench.store, watched.real.bench.signers["log"][0]
    honest = store.get(CHECKPOINT_KEY)
    now = read_checkpoint(honest.decode()).said
    other = Checkpoint(now.origin, now.size + 1, b"\x07" * 32)
    store.replace(CHECKPOINT_KEY, sign_checkpoint(other, signer).encode())
    result = mona.monitor.round()
    assert result.error is not None
    assert result.error.reason == "log_fork"
    assert result.sent == []
    assert "log_fork" in mona.names()
    store.replace(CHECKPOINT_KEY, honest)
    assert mona.sent() == ["open"]
    assert watched.open_stages(order) == 2
    assert {one["over"] for one in mona.alerts() if one["alert"] == "log_fork"} == {False, True}


def test_a_log_that_became_shorter_or_other(watched: Watched, mona: Watcher) -> None:
    watched.published()
    store = watched.real.bench.store
    old = store.get(CHECKPOINT_KEY)
    order = watched.rollout()
    mona.round()
    store.replace(CHECKPOINT_KEY, old)
    shorter = mona.monitor.round().error
    assert shorter is not None
    assert shorter.reason == "log_behind"
    watched.published()
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=1)
    watched.published()
    tail = store.get(TAIL_KEY)
    at = tail.index(order.id.encode()[:8])
    other = b"1" if tail[at : at + 1] == b"0" else b"0"
    store.replace(TAIL_KEY, tail[:at] + other + tail[at + 1 :])
    error = mona.monitor.round().error
    assert error is not None
    assert error.reason == "log_mismatch"
    assert {"log_behind", "log_mismatch"} <= set(mona.names())


def test_a_stop_that_the_server_keeps_back(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = about_to_open(watched)
    watched.real.bench.say_all(stop(order, at=watched.now))
    with monkeypatch.context() as patch:
        lying(patch, lambda record: None if holds(record, Stop) else record)
        result = mona.attempt()
        assert result.error is not None
        assert result.error.reason == "record_withheld"
        assert "record_withheld" in mona.names()
    assert mona.sent() == []
    assert "stopped" in mona.waits()


def test_another_statement_than_the_log_names(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = about_to_open(watched)
    made_up = stop(order, at=watched.now)
    watched.real.bench.say_all(made_up)

    def other(record: LogRecord) -> LogRecord:
        if not holds(record, Stop):
            return record
        return msgspec.structs.replace(record, envelope=stop("0" * 64).envelope)

    lying(monkeypatch, other)
    result = mona.attempt()
    assert result.error is not None
    assert result.error.reason == "record_mismatch"


def test_reports_that_no_device_signed(
    watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes devices confirm: the ids are right, and the signatures are not."""
    about_to_open(watched)

    def forged(record: LogRecord) -> LogRecord:
        if not holds(record, Report):
            return record
        [one] = record.envelope.signatures
        bad = msgspec.structs.replace(one, sig="A" * 86 + "==")
        return LogRecord(
            number=record.number,
            envelope=msgspec.structs.replace(record.envelope, signatures=(bad,)),
        )

    lying(monkeypatch, forged)
    assert mona.sent() == ["stop"]  # by silence: the deadline is past, and nothing was signed
    assert "forged_records" in mona.names()


def test_a_key_that_signs_in_two_places_counts_for_nothing(watched: Watched, mona: Watcher) -> None:
    order = watched.rollout()
    canary = watched.of(CANARY)
    first = watched.tell(canary[0])
    clone = report(watched.devices[canary[0]], at=watched.now, about=order, reason="a clone")
    assert clone.id != first.id
    assert watched.real.bench.tell(clone).status_code == 409
    watched.confirm(order, *canary[1:])
    result = mona.round()
    assert "report_fork" in mona.names()
    memory = mona.monitor.memory
    assert memory.row("SELECT excluded FROM action WHERE device = ?", canary[0]) == ("quarantined",)
    assert result.sent == []
    watched.later(days=1)
    assert mona.sent() == ["open"]
    assert "5 of 5 devices confirmed" in watched.goes(order)[1].reason


class TestPastTheServer:
    def deliver(self, mona: Watcher, envelope: Envelope, name: str = "stop.json") -> None:
        (mona.spool / name).write_bytes(wire.encode(envelope) + b"\n")

    @pytest.mark.parametrize(
        "answer",
        [
            RefusedError("Not here.", reason="whatever"),
            NotFoundError("The server answered 404 without saying why."),
            ConflictError("There is another."),
            WireError("The answer is a page for people."),
        ],
        ids=lambda one: type(one).__name__,
    )
    def test_a_stop_that_the_server_refuses_holds_and_is_sent_again(
        self,
        watched: Watched,
        mona: Watcher,
        monkeypatch: pytest.MonkeyPatch,
        answer: InterlockError,
    ) -> None:
        order = about_to_open(watched)
        self.deliver(mona, stop(order, at=watched.now).envelope)

        def refuse(*_: Any) -> None:
            raise answer

        with monkeypatch.context() as patch:
            patch.setattr(Session, "post", refuse)
            assert mona.sent() == []
            mona.restart()
            watched.later(days=4, hours=1)
            assert mona.sent() == []
            assert "stopped" in mona.waits()
        assert mona.names().count("refused_by_server") == 1
        assert list(mona.spool.iterdir()) == []
        assert watched.stops(order) == []
        assert mona.sent() == ["stop"]
        assert [one.author for one in watched.stops(order)] == ["omar"]
        assert mona.sent() == []

    def test_somebody_is_told_of_a_stop_that_does_not_arrive(
        self, watched: Watched, mona: Watcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = about_to_open(watched)
        self.deliver(mona, stop(order, at=watched.now).envelope)
        with monkeypatch.context() as patch:
            patch.setattr(Session, "post", away)
            mona.round()
            assert "not_sent" not in mona.names()
            watched.later(minutes=6)
            mona.round()
            assert mona.names().count("not_sent") == 1
        assert mona.sent() == ["stop"]
        assert [one["over"] for one in mona.alerts() if one["alert"] == "not_sent"] == [False, True]

    def test_a_stop_reaches_the_server_through_it_and_a_resume_ends_it(
        self, watched: Watched, mona: Watcher
    ) -> None:
        order = about_to_open(watched)
        said = stop(order, at=watched.now)
        self.deliver(mona, said.envelope)
        assert mona.sent() == ["stop"]
        assert [one.author for one in watched.stops(order)] == ["omar"]
        assert "stop_delivered" in mona.names()
        again = resume(order, at=watched.now, clears=(said,))
        watched.real.bench.say_all(again, authorise(again))
        assert mona.sent() == ["open"]

    def test_an_operator_delivers_while_the_server_is_away(
        self, watched: Watched, mona: Watcher
    ) -> None:
        order = about_to_open(watched)
        place = watched.real.place
        config = place.config("olga", person="olga", server="http://127.0.0.1:9")
        words = ("rollout", "pause", order.id, "--monitor", mona.spool, "--reason", "alarms")
        shown = place.run(*words, "--yes", config=config)
        assert shown.exit_code == 30
        assert "The monitor has it" in shown.stderr
        assert mona.sent() == ["stop"]
        assert [one.author for one in watched.stops(order)] == ["olga"]
        missing = place.run(*words[:4], "/nowhere", *words[5:], "--yes")
        assert (missing.exit_code, "/nowhere" in missing.stderr) == (2, True)
        again = place.act("pause", order.id, "--monitor", mona.spool)
        assert again["delivered"] == str(mona.spool)
        mona.round()
        assert len(watched.stops(order)) == 2

    def test_what_is_no_stop_is_put_aside(self, watched: Watched, mona: Watcher) -> None:
        order = about_to_open(watched)
        self.deliver(mona, stop(order, by="olga", key="a-stranger").envelope, "stranger.json")
        (mona.spool / "noise.json").write_bytes(b"{")
        (mona.spool / "large.json").write_bytes(b"x" * 100_000)
        (mona.spool / "link.json").symlink_to("/dev/zero")
        (mona.spool / "notes.txt").write_text("not looked at")
        os.mkfifo(mona.spool / "fifo.json")
        for number in range(AT_ONCE):
            (mona.spool / f"0{number}.json").mkdir()
        assert mona.sent() == ["open"]
        left = {path.name for path in mona.spool.iterdir()}
        assert {"stranger.json.refused", "noise.json.refused", "large.json.refused"} <= left
        assert mona.names().count("bad_delivery") == 3


def test_stops_of_people_and_resumes(watched: Watched, mona: Watcher) -> None:
    """One signature stops; failures that people resumed in spite of are not held up again."""
    order = watched.rollout()
    canary = watched.of(CANARY)
    watched.fail(order, *canary[:4])
    watched.confirm(order, *canary[4:])
    assert mona.sent() == ["stop"]
    watched.later(hours=1)
    mine = watched.dossier(order).stops[0]
    again = resume(order, at=watched.now, clears=(open_as(mine, Stop),))
    watched.real.bench.say_all(again, authorise(again))
    watched.later(minutes=1)
    assert mona.sent() == []
    assert "abort_threshold" not in mona.waits()
    assert len(watched.stops(order)) == 1


def test_superseded_lapsed_and_expired(watched: Watched, mona: Watcher) -> None:
    order = watched.rollout(expires=watched.now + timedelta(days=60))
    watched.confirm(order, *watched.of(CANARY))
    mona.round()
    watched.later(days=8)
    assert mona.sent() == []
    assert "go_lapsed" in mona.waits()
    newer = watched.order(seq=2, kind="recall")
    watched.real.bench.say_all(newer, *started(newer))
    assert mona.sent() == []
    orders = {verdict.order.id for verdict in mona.round().verdicts if verdict.acts}
    assert orders == set()
    rows = mona.monitor.memory.row("SELECT count(*) FROM action WHERE order_id = ?", order.id)
    assert rows == (0,)


def test_devices_that_the_log_does_not_show(watched: Watched) -> None:
    mona = Watcher(watched, least_devices={CANARY: 7})
    about_to_open(watched)
    assert mona.sent() == []
    assert "devices_missing" in mona.waits()
    assert "devices_missing" in mona.names()
    watched.let_in("GW-0100", CANARY)
    assert mona.sent() == ["open"]
    mona.stop()


def test_the_clock_goes_back(watched: Watched, mona: Watcher) -> None:
    about_to_open(watched)
    watched.later(hours=1)
    mona.round()
    watched.later(hours=-2)
    result = mona.attempt()
    assert result.error is not None
    assert result.error.reason == "clock_went_back"
    assert "clock_went_back" in mona.names()


def test_a_clock_that_was_ahead_for_one_round(watched: Watched, mona: Watcher) -> None:
    order = about_to_open(watched)
    watched.later(days=36_500)
    result = mona.attempt()
    assert result.error is not None
    assert result.sent == []
    watched.later(days=-36_500)
    assert mona.sent() == ["open"]
    assert watched.open_stages(order) == 2


def test_a_log_of_several_bundles(watched: Watched, mona: Watcher) -> None:
    """Full bundles are verified by their roots, which are remembered, and are read again."""
    for _ in range(BUNDLE):
        watched.tell("GW-0001")
    watched.published()
    store = watched.real.bench.store
    honest = store.get(bundle_key(0))
    at = honest.index(b"report")
    store.replace(bundle_key(0), honest[:at] + b"repart" + honest[at + 6 :])
    error = mona.monitor.round().error
    assert error is not None
    assert error.reason == "log_mismatch"
    assert mona.monitor.memory.row("SELECT count(*) FROM enrolment") == (0,)
    store.replace(bundle_key(0), honest)
    assert mona.round().read > BUNDLE
    memory = mona.monitor.memory
    assert memory.row("SELECT count(*) FROM bundle") == (1,)
    tip = memory.row("SELECT tip_number FROM enrolment WHERE device = 'GW-0001'")
    assert tip == (BUNDLE,)
    watched.tell("GW-0001")
    mona.restart()
    assert mona.round().read == 1


def test_a_token_that_expires_while_a_large_log_is_read(watched: Watched, mona: Watcher) -> None:
    mona.round()
    session = Session(mona.settings.ops, watched.real.place.clock)
    assert session.token
    watched.later(minutes=16)
    watched.rollout()
    watched.published()
    memory = mona.monitor.memory
    ends = []
    for end, _ in Feed(session, memory).pages():
        with memory.writing():
            memory.put(CURSOR, str(end))
        ends.append(end)
    assert len(ends) == 1


def test_nobody_of_the_roster_and_no_monitor(watched: Watched) -> None:
    olga = Watcher(watched, "olga")
    result = olga.attempt()
    assert result.error is not None
    assert result.error.reason == "unknown_key"
    assert olga.names() == ["role_not_held"]
    olga.stop()
