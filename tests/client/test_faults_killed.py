"""The process is killed in the middle of what it does, and the next one goes on.

Real commands in processes of their own, killed (SIGKILL) by what they speak with at that moment:
the server, the clinical interlock, the reboot command, a health check. The machine runs on, so that
what was armed is armed, and every lock is free again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock_client.download import keeper
from interlock_client.download.sink import SEGMENT
from interlock_client.journal import State
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import PRODUCT, Clock, World
from tests.support.faults import Exchange, FaultProxy

CLIENT = Path(sys.executable).with_name("interlock-client")
OLD = b"release one " * 100
NEW = os.urandom(SEGMENT + SEGMENT // 2)
IMAGE = f"/image/targets/{PRODUCT}/"
METADATA = "/image/metadata/"
POLL = "/poll/"


@dataclass
class Scene:
    """A gateway that runs ``OLD`` and is ordered ``NEW``, and what stands before its server."""

    bed: Bed
    proxy: FaultProxy
    process: subprocess.Popen[str] | None = None

    def begin(self, *words: str) -> None:
        """Run a command that is going to be killed."""
        command = [str(CLIENT), *words, "--config", str(self.bed.home / "gateway.toml")]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == -signal.SIGKILL, said

    def kill(self) -> None:
        """Kill it, from wherever it is waited for."""
        while self.process is None:
            self.proxy.over.wait(0.001)
        self.process.kill()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    place = tmp_path_factory.mktemp("killed")
    with ExitStack() as stack:
        world = World(place, Clock(datetime.now(UTC).replace(microsecond=0)))
        web = stack.enter_context(Web(world.store))
        proxy = stack.enter_context(FaultProxy(web.url))
        world.roll_out(world.release("1.0.0", OLD))
        bed = Bed(place / "gateway", world, web)
        bed.power_on()
        assert bed.install().outcome == "confirmed"
        world.roll_out(world.release("2.0.0", NEW))
        bed.change(servers=(proxy.url,))
        bed.write_config()
        bed.save()
        yield Scene(bed, proxy)


@pytest.fixture
def scene(made: Scene) -> Scene:
    made.proxy.heal()
    made.proxy.seen.clear()
    made.process = None
    made.bed.restore()
    made.bed.power_on()
    return made


def finishes(scene: Scene) -> list[str | None]:
    """The next command in the same boot, and so on; returns what was asked of the image."""
    bed = scene.bed
    scene.proxy.heal()
    scene.proxy.seen.clear()
    assert bed.running == OLD
    assert bed.update().outcome == "rebooting"
    bed.power_on()
    assert bed.confirm().outcome == "confirmed"
    assert bed.running == NEW
    assert not list(bed.home.rglob(".interlock-*.partial")), "what was left is swept"
    return scene.proxy.ranges(IMAGE)


def killing(scene: Scene, count: int) -> Callable[[Exchange], None]:
    """Send so many bytes of the answer, and kill who asked."""

    def fault(exchange: Exchange) -> None:
        if count:
            exchange.send(exchange.head + exchange.body[:count])
        scene.kill()

    return fault


def kept(bed: Bed) -> int:
    """How much of ``NEW`` is durably there."""
    with bed.context() as context:
        record = keeper.load(context.state.transfer)
    return record.kept if record is not None and record.length == len(NEW) else 0


@pytest.mark.parametrize("where", [POLL, METADATA, IMAGE])
def test_while_it_asks(scene: Scene, where: str) -> None:
    scene.proxy.breaks(where, killing(scene, 0))
    scene.begin("update")
    assert finishes(scene) == [None]


def test_in_the_middle_of_a_download(scene: Scene) -> None:
    """What was flushed is not fetched again: at most one segment is."""

    def fault(exchange: Exchange) -> None:
        exchange.send(exchange.head + exchange.body[:-1])
        while kept(scene.bed) == 0:
            exchange.wait(0.005)
        scene.kill()

    scene.proxy.breaks(IMAGE, fault)
    scene.begin("update")
    assert scene.bed.journal.state is State.DOWNLOADING
    there = kept(scene.bed)
    assert there >= SEGMENT
    assert finishes(scene) == [f"bytes={there}-{len(NEW) - 1}"]


def test_at_the_last_byte_of_a_download(scene: Scene) -> None:
    scene.proxy.breaks(IMAGE, killing(scene, len(NEW) - 1))
    scene.begin("update")
    assert len(finishes(scene)) == 1


def test_when_it_asks_at_the_last_moment(scene: Scene) -> None:
    scene.proxy.breaks(POLL, killing(scene, 0), after=1)
    scene.begin("update")
    assert scene.bed.journal.state is State.LAST_MOMENT
    assert finishes(scene) == [], "not a byte of the image is fetched again"


@pytest.mark.parametrize(
    ("call", "state", "armed"),
    [(1, State.WRITTEN, False), (2, State.LAST_MOMENT, False), (3, State.REBOOTING, True)],
)
def test_while_it_asks_the_clinical_interlock(
    scene: Scene, call: int, state: State, armed: bool
) -> None:
    bed, calls = scene.bed, scene.bed.home / "calls"
    body = f'echo >> "{calls}"; [ $(wc -l < "{calls}") = {call} ] && kill -9 $PPID; exit 0'
    bed.script("interlock.d/10-idle", body)
    scene.begin("update")
    assert bed.journal.state is state
    assert (bed.environment.load().armed is not None) == armed
    assert finishes(scene) == [], "not a byte of the image is fetched again"


def test_while_it_commands_the_reboot(scene: Scene) -> None:
    """Nobody reboots: the next command takes the armed slot back, and decides anew."""
    bed = scene.bed
    reboot = (bed.home / "reboot.sh").read_text()
    bed.script("reboot.sh", "kill -9 $PPID")
    scene.begin("update")
    assert bed.environment.load().armed is not None
    (bed.home / "reboot.sh").write_text(reboot)
    assert finishes(scene) == []


def test_while_new_firmware_is_judged(scene: Scene) -> None:
    bed = scene.bed
    assert bed.update().outcome == "rebooting"
    bed.power_on()
    bed.script("health.d/10-up", "kill -9 $PPID")
    scene.begin("confirm")
    assert bed.memory.highest_confirmed_counter == 1, "nothing is confirmed yet"
    bed.script("health.d/10-up", "exit 0")
    assert bed.confirm().outcome == "confirmed"
    assert bed.running == NEW
