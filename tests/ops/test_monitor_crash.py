"""Killed before any write, and killed as a process: a monitor goes on, and signs nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from interlock_core import disk, wire
from interlock_core.api import MonitorList
from interlock_core.clock import system_clock
from interlock_core.statement import Envelope
from interlock_ops.session import Session
from tests.ops.monitored import Watched, Watcher
from tests.ops.world import Ticking
from tests.support.papers import stage, stop
from tests.support.people import CANARY, ST_BERT


class PowerCutError(BaseException):
    """Nothing of the process is left."""


class Cut:
    """Cuts the power before the act of that number on the monitor's own files."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, act: str, path: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise PowerCutError


def test_killed_before_any_write_it_signs_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty memory to a signed opening, cut before each write; every time it goes on."""
    order = watched.rollout()
    watched.confirm(order, *watched.of(CANARY))
    watched.later(days=1)
    posted: list[str] = []

    def post(_self: Session, envelope: Envelope, id_: str) -> None:
        posted.append(id_)

    monkeypatch.setattr(Session, "post", post)
    home = watched.real.place.home
    spool = stop("0" * 64, at=watched.now)
    number = 0
    while True:
        mona = Watcher(watched)
        shutil.rmtree(home / "state-mona", ignore_errors=True)
        posted.clear()
        (mona.spool / "another.json").write_bytes(wire.encode(spool.envelope))
        watched.published()
        cut = Cut(number)
        try:
            with disk.watching(cut):
                mona.monitor.round()
        except PowerCutError:
            pass
        else:
            break
        mona.restart()
        mona.round()
        mona.stop()
        assert len(set(posted)) == 2, (number, posted)
        number += 1
    mona.stop()
    assert number > 10


class Live(Ticking):
    """The machine's clock."""

    def __call__(self) -> datetime:
        return system_clock()


def test_two_processes_of_which_one_is_killed(watched: Watched, tmp_path: Path) -> None:
    """Each thing is signed once; when the first is killed, the second does what is to be done.

    Who signs first of two that run is for ``test_monitor.py``, where no clock is real.
    """
    real = watched.real
    real.bench.clock.__class__ = Live  # type: ignore[assignment]  # from now on it goes by itself
    real.now = system_clock()
    watchers = [Watcher(watched, who, interval="1s", stagger="3s") for who in ("mona", "zoe")]
    order = watched.rollout(
        stages=(
            stage(CANARY, soak=timedelta(seconds=1)),
            stage(CANARY, ST_BERT, soak=timedelta(0), gate="auto"),
        )
    )
    real.now = system_clock()
    watched.confirm(order, *watched.of(CANARY))
    running = [_process(watchers[0], tmp_path)]
    try:
        _until(lambda: len(watched.goes(order)) == 2)
        assert watched.goes(order)[1].author == "mona"
        running.append(_process(watchers[1], tmp_path))
        _until(lambda: _heard(watched, "zoe"))
        os.kill(running[0].pid, signal.SIGKILL)
        running[0].wait()
        real.now = system_clock()
        watched.fail(order, *watched.of(CANARY)[:5])
        second = watched.rollout(seq=2, kind="recall", at=system_clock(), not_before=system_clock())
        watched.fail(second, *watched.of(CANARY)[:5])
        _until(lambda: len(watched.stops(second)) == 1)
        assert watched.stops(second)[0].author == "zoe"
        assert [go.act for go in watched.goes(order)] == ["open", "open"]
        running[1].send_signal(signal.SIGTERM)
        assert running[1].wait(timeout=60) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()


def _heard(watched: Watched, who: str) -> bool:
    monitors = watched.real.bench.read("/v1/monitors", MonitorList).items
    return any(one.name == who and one.seen_at is not None for one in monitors)


def _process(watcher: Watcher, home: Path) -> subprocess.Popen[bytes]:
    words = ["-c", "from interlock_ops.cli import main; main()", "monitor"]
    with (home / f"{watcher.who}.log").open("wb") as told:
        return subprocess.Popen(
            [sys.executable, *words, "--config", str(watcher.config)], stdout=told, stderr=told
        )


def _until(holds: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)
