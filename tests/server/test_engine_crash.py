"""A round that is cut off before any commit and any write: the next one finishes it, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from interlock_core.order import Order
from interlock_core.statement import Opened
from interlock_server.online_keys import Signers
from tests.server.ward import Ward, actions, goes_shown, only, ordered, stages, start
from tests.server.world import Bench, CutStore, Fleet, PowerCut
from tests.support.papers import authorise, resume

NAMES = [f"GW-{number}" for number in range(6)]
HOLDER = 32 * "a"


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power goes between two writes, and each of those is whole."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@contextmanager
def cut_at_commit(bench: Bench, number: int) -> Iterator[None]:
    """Power goes before the commit of a given number, counted from 0."""
    left = number

    def count(_connection: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut

    engine = bench.back.database.engine
    event.listen(engine, "commit", count)
    try:
        yield
    finally:
        event.remove(engine, "commit", count)


def again(fleet: Fleet, signers: Signers, after: timedelta, number: int | None = None) -> Bench:
    """A process that was started anew, with the lease of the one before."""
    bench = Bench(fleet, signers)
    bench.restart(CutStore(bench.store, number) if number is not None else None)
    bench.back.engine.holder = HOLDER
    bench.clock.now += after
    return bench


def told(bench: Bench, of: Opened[Order]) -> tuple[object, ...]:
    """All that a round brought about, but for when."""
    found = stages(bench, of)
    each = {
        name: (one.state, one.vote, one.counted, one.excluded, one.deadline)
        for name, one in actions(bench, of).items()
    }
    return found.state, found.cohorts[0].still, only(bench, of).counts, each, goes_shown(bench)


def _dies(order_id: str) -> None:
    """Whoever took a statement died when it was out."""


Before = Callable[[Bench, Ward, Opened[Order]], timedelta]


def opens(bench: Bench, ward: Ward, said: Opened[Order]) -> timedelta:
    """The go is out, and two devices are quicker than the engine."""
    bench.back.engine.attend = _dies  # type: ignore[method-assign]
    start(bench, said)
    ward.tell("GW-1", said, "confirmed")
    ward.tell("GW-2", said, "failed", "bad_health")
    return timedelta(seconds=1)


def holds(bench: Bench, ward: Ward, said: Opened[Order]) -> timedelta:
    start(bench, said)
    for name in NAMES[:5]:
        ward.tell(name, said, "rolled_back", "bad_health")
    return timedelta(seconds=1)


def goes_on(bench: Bench, ward: Ward, said: Opened[Order]) -> timedelta:
    """A resume ends the hold, and the time of the hold is no silence."""
    holds(bench, ward, said)
    bench.back.engine.round()
    bench.clock.now += timedelta(minutes=8)
    bench.back.engine.attend = _dies  # type: ignore[method-assign]
    go = resume(said, at=bench.clock())
    bench.say_all(go, authorise(go))
    return timedelta(minutes=8, seconds=1)


def times_out(bench: Bench, ward: Ward, said: Opened[Order]) -> timedelta:
    """Everybody is silent, and it was the last stage: held, with nothing open."""
    start(bench, said)
    bench.back.engine.round()
    return timedelta(minutes=9)


def was_away(bench: Bench, ward: Ward, said: Opened[Order]) -> timedelta:
    start(bench, said)
    bench.back.engine.round()
    return timedelta(minutes=30)


@pytest.mark.parametrize("before", [opens, holds, goes_on, times_out, was_away])
def test_a_round_that_is_cut_off_is_finished_once(
    fleet: Fleet, signers: Signers, tmp_path: Path, before: Before
) -> None:
    began = Bench(fleet, signers)
    began.restart()
    began.back.engine.holder = HOLDER
    ward = Ward(began)
    ward.let_in(*NAMES)
    said = ordered(deadline_seconds=300 if before is times_out else 3600)
    began.say_all(said)
    after = before(began, ward, said)
    began.back.database.close()

    def ends(bench: Bench) -> tuple[object, ...]:
        bench.back.engine.round()
        found = told(bench, said)
        # And no further round does any of it again.
        bench.back.engine.round()
        assert told(bench, said) == found
        bench.back.database.close()
        return found

    wanted = ends(again(fleet.copy(tmp_path / "whole"), signers, after))
    cuts = 0
    for number in range(60):
        copy = fleet.copy(tmp_path / f"commit-{number}")
        bench = again(copy, signers, after)
        try:
            with cut_at_commit(bench, number):
                bench.back.engine.round()
            whole = True
        except PowerCut:
            whole = False
        bench.back.database.close()
        assert ends(again(copy, signers, after)) == wanted
        if whole:
            break
        cuts += 1
    assert 3 <= cuts < 60
    for number in range(60):
        copy = fleet.copy(tmp_path / f"write-{number}")
        bench = again(copy, signers, after, number)
        try:
            bench.back.engine.round()
            whole = True
        except PowerCut:
            whole = False
        bench.back.database.close()
        assert ends(again(copy, signers, after)) == wanted
        if whole:
            break
