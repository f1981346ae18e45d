"""Whatever servers, networks and the power do, in whatever order: what is believed was signed."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from interlock_client.download import keeper
from interlock_core import durable
from interlock_core.delta import MIN_SEGMENT
from interlock_core.errors import RefusedError, TransientError
from tests.client import pretend
from tests.client.pretend import Desk, Pretend

SEGMENT = 64


class PowerCut(BaseException):
    """The power goes."""


@contextmanager
def cut(desk: Desk, step: int, *, loses: bool) -> Iterator[None]:
    """The power goes before the change of this number; what was not flushed may be lost."""
    flushed, steps, asked = _content(desk.place), 0, False

    def watch(act: str, path: Path) -> None:
        nonlocal flushed, steps, asked
        if asked:
            # The flush that was announced before has returned.
            flushed, asked = _content(desk.place), False
        if steps >= step:
            raise PowerCut
        steps += 1
        asked = act == "sync" and path == desk.place

    try:
        with durable.watching(watch):
            yield
    except PowerCut:
        if loses and desk.place.exists():
            desk.place.write_bytes(flushed)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


class Downloads(RuleBasedStateMachine):
    """One target, up to three servers, and a desk."""

    old = b""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.faithful = True
        self.orders = 0

    @initialize(
        seed=st.integers(0, 50),
        length=st.integers(1, 600) | st.integers(2 * MIN_SEGMENT, 3 * MIN_SEGMENT),
        servers=st.integers(1, 3),
        ranges=st.lists(st.booleans(), min_size=3, max_size=3),
    )
    def begin(self, seed: int, length: int, servers: int, ranges: list[bool]) -> None:
        image = random.Random(seed).randbytes(length)  # noqa: S311  # an image of tests
        self.desk = Desk(self.home, image, segment=max(SEGMENT, length // 16))
        self.old, self.delta = b"", b""
        if length >= MIN_SEGMENT:
            self.old = image[: length // 2] + b"old" + image[length // 2 + 3 :]
            self.delta = self.desk.offer(self.old, image)
        self.servers = [
            Pretend(f"https://{n}", image, etag=f'"{n}"', ranges=ranges[n]) for n in range(servers)
        ]

    @rule(at=st.integers(0, 2), lie=st.integers(0, 600), byte=st.binary(min_size=1, max_size=1))
    def lie(self, at: int, lie: int, byte: bytes) -> None:
        """A server changes a byte."""
        image = self.desk.image
        lie %= len(image)
        self._server(at).data = image[:lie] + byte + image[lie + 1 :]

    @rule(at=st.integers(0, 2), data=st.binary(max_size=700) | st.none())
    def serve(self, at: int, data: bytes | None) -> None:
        """A server has something else, or is away."""
        self._server(at).data = data

    @precondition(lambda self: self.old)
    @rule(
        at=st.integers(0, 2),
        delta=st.sampled_from(["good", "good", "spoilt", "short", 404, 503, None]),
        byte=st.integers(0, 10**6),
    )
    def serve_delta(self, at: int, delta: str | int | None, byte: int) -> None:
        """A server has the delta, or something else."""
        data = bytearray(self.delta)
        if delta == "spoilt":
            data[byte % len(data)] ^= 1
        found = bytes(data)[: -1 if delta == "short" else None]
        self._server(at).delta = found if isinstance(delta, str) else delta

    @precondition(lambda self: self.old)
    @rule(byte=st.integers(0, 10**6))
    def change_what_runs(self, byte: int) -> None:
        data = bytearray(self.old)
        data[byte % len(data)] ^= 1
        self.desk.patches[0].source.path.write_bytes(data)

    @rule(at=st.integers(0, 2))
    def repent(self, at: int) -> None:
        self._server(at).data = self.desk.image

    @rule(at=st.integers(0, 2), cuts=st.lists(st.integers(0, 600), max_size=3))
    def break_off(self, at: int, cuts: list[int]) -> None:
        self._server(at).cuts = cuts

    @rule(at=st.integers(0, 2), etag=st.sampled_from(['"x"', '"y"', 'W/"x"', None, "?"]))
    def validate(self, at: int, etag: str | None) -> None:
        self._server(at).etag = etag

    @rule(hours=st.integers(-48, 48))
    def pass_time(self, hours: int) -> None:
        self.desk.clock.now += timedelta(hours=hours)

    @rule()
    def order_again(self) -> None:
        self.orders += 1
        self.desk.order = f"{self.orders:064x}"
        for server in self.servers:
            server.sent = 0

    @rule(budget=st.none() | st.integers(1, 2000))
    def allow(self, budget: int | None) -> None:
        self.desk.budget = budget

    @rule(data=st.binary(max_size=600))
    def spoil(self, data: bytes) -> None:
        """Somebody writes into the slot."""
        self.desk.place.write_bytes(data)

    @rule()
    def run(self) -> None:
        spent, budget = self._spent(), self.desk.budget
        try:
            came = self.desk.run(*self.servers)
        except (TransientError, RefusedError) as e:
            assert e.reason in {"network", "hash_mismatch", "over_budget"}  # noqa: PT017
        else:
            self._right()
            assert 0 <= came.resumed_from <= len(self.desk.image)
        if budget is not None:
            assert self._spent() <= max(spent, budget)

    @rule(step=st.integers(0, 60), loses=st.booleans())
    def run_until_the_power_goes(self, step: int, loses: bool) -> None:
        self.faithful = False
        with cut(self.desk, step, loses=loses):
            self.run()

    @invariant()
    def what_arrived_was_counted(self) -> None:
        if hasattr(self, "desk") and self.faithful:
            assert self._spent() == sum(server.sent for server in self.servers)

    def _spent(self) -> int:
        """What the present order has cost."""
        record = keeper.load(self.desk.record)
        return record.received if record and record.order == self.desk.order else 0

    def teardown(self) -> None:
        """Honest servers, and time: it always ends well."""
        if hasattr(self, "desk"):
            for server in self.servers:
                server.data, server.delta, server.cuts = self.desk.image, 404, []
            self.desk.budget = None
            self.desk.clock.now += timedelta(days=3)
            try:
                self.desk.run(*self.servers)
            except RefusedError:
                # What a server sent before it repented stood with what it sent after it.
                self.desk.run(*self.servers)
            self._right()
        shutil.rmtree(self.home)

    def _server(self, at: int) -> Pretend:
        return self.servers[at % len(self.servers)]

    def _right(self) -> None:
        assert self.desk.place.read_bytes() == self.desk.image


@pytest.fixture(autouse=True)
def _small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretend, "PIECE", 50 if "Cuts" in request.node.nodeid else 500)


def test_whatever_happens() -> None:
    run_state_machine_as_test(
        Downloads,
        settings=settings(
            max_examples=100,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class TestPowerCuts:
    """Before every change of the disk, in a download and in the one that goes on with it."""

    IMAGE = bytes(range(250)) * 2

    @pytest.mark.parametrize("loses", [False, True])
    def test_each_loses_at_most_a_segment(self, tmp_path: Path, loses: bool) -> None:
        tried = second = 0
        while True:
            lost = self._explored(tmp_path, [tried], loses=loses)
            if lost is None:
                break
            # The segment that is written, and the one that the disk may still be busy with.
            assert lost <= 2 * SEGMENT + 50
            for again in range(0, 60, 13):
                second += self._explored(tmp_path, [tried, again], loses=loses) is not None
            tried += 1
        assert tried > 40
        assert second > 80

    def _explored(self, home: Path, steps: list[int], *, loses: bool) -> int | None:
        """Bytes that were fetched twice; None if the power never went."""
        shutil.rmtree(home / "run", ignore_errors=True)
        (home / "run").mkdir()
        desk = Desk(home / "run", self.IMAGE, segment=SEGMENT)
        server = Pretend("https://a", self.IMAGE)
        ended = False
        for step in steps:
            ended = False
            with cut(desk, step, loses=loses):
                desk.run(server)
                ended = True
            if ended:
                assert desk.place.read_bytes() == self.IMAGE
        if ended:
            return None
        desk.run(server)
        assert desk.place.read_bytes() == self.IMAGE
        return server.sent - len(self.IMAGE)
