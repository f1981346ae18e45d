"""What a power cut can leave of the disk, whatever was not flushed: explored for each command."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock_client.config import Checks
from interlock_client.installers import Command
from interlock_client.journal import State
from interlock_client.powercut.model import Model
from interlock_client.powercut.operations import Move, Sync
from interlock_client.powercut.wording import Words
from interlock_client.tables import SlotPaths
from interlock_core.store import FileStore
from tests.client.bed import Bed
from tests.client.power import RERUN, Gateway
from tests.client.test_power import NEW, OLD, cut, finally_new, finish
from tests.client.web import Handler, Web
from tests.client.world import WARDS, Clock, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    # The recorded commands are processes of their own, with the machine's own clock.
    return World(tmp_path, Clock(datetime.now(UTC).replace(microsecond=0)))


@pytest.fixture
def bed(tmp_path: Path, world: World, web: Web) -> Bed:
    made = Bed(tmp_path / "gateway", world, web, interlock="none", health="none")
    made.power_on()
    return made


@pytest.fixture
def waiting(bed: Bed, world: World, tmp_path: Path) -> Bed:
    """A gateway that runs ``OLD``, and knows that ``NEW`` is ordered."""
    world.roll_out(world.release("1.0.0", OLD))
    assert bed.install().outcome == "confirmed"
    shutil.copytree(world.store.root, tmp_path / "before")
    world.roll_out(world.release("2.0.0", NEW, raises_floor_to=2))
    assert bed.check().outcome == "update_available"
    return bed


@pytest.fixture
def attacker(tmp_path: Path, world: World, waiting: Bed) -> Iterator[Attacker]:
    """Who plays back what was in force before ``NEW`` was released."""
    with serving(tmp_path, world) as made:
        yield made


@contextmanager
def serving(tmp_path: Path, world: World) -> Iterator[Attacker]:
    """Who kept ``before``, and has a copy of what is there now."""
    shutil.copytree(world.store.root, tmp_path / "replayed")
    honest, world.store = world.store, FileStore(tmp_path / "replayed")
    # With the director's own online keys: newer metadata, and the order of before.
    world.show(WARDS, world.rollouts[0])
    world.store = honest
    stores = [FileStore(tmp_path / name) for name in ("before", "replayed")]
    with Web(stores[0]) as before, Web(stores[1]) as replayed:
        yield Attacker(before, replayed)


@dataclass
class Attacker:
    """Serves what is out of date.

    Attributes:
        before: all genuine, and older.
        replayed: metadata of today, made with stolen online keys, and the directive of before.
    """

    before: Web
    replayed: Web
    _refused: set[frozenset[tuple[str, bytes]]] = field(default_factory=set)

    def is_refused(self, bed: Bed) -> None:
        """Whatever state the power cut left; each that differs in what is read for it once."""
        read = {name: data for name, data in bed.kept().items() if not name.startswith("slots")}
        read["memory"] = (bed.home / "state" / "memory.json").read_bytes()
        seen = frozenset(read.items())
        if seen in self._refused and RERUN == "class":
            return
        self._refused.add(seen)
        honest, kept = bed.settings.servers, bed.memory
        # Some of it may be newer, and is kept then: what was there comes back.
        aside = bed.home.with_name("aside")
        shutil.copytree(bed.home, aside, symlinks=True)
        try:
            bed.change(servers=(self.before.url,))
            assert bed.check().reason == "rollback"
            assert bed.memory.versions == kept.versions
            bed.change(servers=(self.replayed.url,))
            outcome = bed.update()
            if outcome.reason == "confirm_pending":
                outcome = bed.check()
            assert outcome.reason == "superseded_order"
            assert bed.memory.orders == kept.orders
        finally:
            bed.change(servers=honest)
            shutil.rmtree(bed.home)
            aside.rename(bed.home)


def test_an_update(waiting: Bed, attacker: Attacker) -> None:
    gateway = Gateway(waiting)
    recording = gateway.record("update")

    def ends() -> None:
        waiting.power_on()
        attacker.is_refused(waiting)
        finish(waiting)
        finally_new(waiting)

    assert gateway.explore(recording, (OLD, NEW), ends).bad == []


def breaks_off(handler: Handler) -> None:
    """Half of the image, and then the connection is gone."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(NEW)))
    handler.send_header("ETag", '"a validator"')
    handler.end_headers()
    handler.wfile.write(NEW[: len(NEW) // 2])
    handler.close_connection = True


def test_a_download_that_breaks_off_and_one_that_goes_on(
    waiting: Bed, web: Web, attacker: Attacker
) -> None:
    def ends() -> None:
        waiting.power_on()
        attacker.is_refused(waiting)
        finish(waiting)
        finally_new(waiting)

    gateway = Gateway(waiting)
    web.lies["/image/targets/ward-gateway"] = breaks_off
    recording = gateway.record("update", codes=(30,))
    web.lies.clear()
    half = waiting.slot("a")
    assert half == NEW[: len(half)]
    assert 0 < len(half) < len(NEW)
    assert gateway.explore(recording, (OLD,), ends).bad == []
    gateway.put(recording)
    assert waiting.slot("a") == half
    recording = gateway.record("update")
    assert gateway.explore(recording, (OLD, NEW), ends).bad == []


def test_an_installer_that_leaves_flushing_to_others(waiting: Bed) -> None:
    """An executable that writes a new file and gives it the slot's name: the agent flushes both."""
    slots = waiting.home / "slots"
    waiting.script(
        "program",
        f"""case $1 in
install) cat /proc/self/fd/$3 > {slots}/new; mv {slots}/new {slots}/$2 ;;
room) echo '{{"slots":{{"rootfs":1000000}}}}' ;;
esac""",
    )
    waiting.change(
        installer=Command(
            program=waiting.home / "program",
            a=SlotPaths.one(slots / "a"),
            b=SlotPaths.one(slots / "b"),
            boot_environment=waiting.home / "boot",
            booted=waiting.home / "booted",
        )
    )
    gateway = Gateway(waiting)
    recording = gateway.record("update")
    assert waiting.slot("a") == NEW
    assert gateway.look(recording, (OLD, NEW)).bad == []
    gateway.put(recording)
    waiting.power_on()
    finish(waiting)
    finally_new(waiting)


@pytest.mark.parametrize("flushed", ["slots/a", "memory.json", "journal.json"])
def test_a_flush_that_is_left_out_is_found(waiting: Bed, flushed: str) -> None:
    """The newest of these in an update: without it, some states would be bad."""
    gateway = Gateway(waiting)
    recording = gateway.record("update")
    words = Words(Model(recording), waiting.home)

    def of(number: int) -> str:
        """The file that a flush is for: what it is renamed to, or itself."""
        after = recording.operations[number + 1 : number + 2]
        renamed = after and isinstance(after[0], Move)
        return words.said(number + 1 if renamed else number)

    flushes = [
        number
        for number, operation in enumerate(recording.operations)
        if isinstance(operation, Sync) and of(number).endswith(flushed)
    ]
    without = list(recording.operations)
    without[flushes[-1]] = Sync(frozenset(), 0)
    found = gateway.look(dataclasses.replace(recording, operations=without), (OLD, NEW))
    assert found.bad_states > 0


def test_a_confirmation(waiting: Bed, attacker: Attacker) -> None:
    assert waiting.update().outcome == "rebooting"
    waiting.power_on()
    gateway = Gateway(waiting)
    recording = gateway.record("confirm")

    def ends() -> None:
        waiting.power_on()
        attacker.is_refused(waiting)
        finish(waiting)
        finally_new(waiting)

    # The new firmware is tried: what boots while it is, is the new one.
    assert gateway.explore(recording, (NEW,), ends).bad == []


def given_up(bed: Bed, attacker: Attacker) -> None:
    """The old firmware runs, and what was given up is not tried again."""
    bed.power_on()
    attacker.is_refused(bed)
    for _ in range(3):
        bed.confirm()
        if bed.wants_reboot:
            bed.power_on()
    assert bed.running == OLD
    assert bed.journal.state is State.ROLLED_BACK
    assert bed.update().reason == "rolled_back_here"
    assert bed.memory.release_floor == 0


def sick(bed: Bed) -> None:
    """New firmware has booted, and is not healthy."""
    assert bed.update().outcome == "rebooting"
    bed.power_on()
    bed.script("health.d/10-up", "exit 1")
    bed.change(health=Checks(checks=bed.home / "health.d", timeout_seconds=10))


def test_an_automatic_rollback(waiting: Bed, attacker: Attacker) -> None:
    sick(waiting)
    gateway = Gateway(waiting)
    recording = gateway.record("confirm", codes=(40,))
    found = gateway.explore(recording, (OLD, NEW), lambda: given_up(waiting, attacker))
    assert found.bad == []


def test_a_rollback_that_was_interrupted(waiting: Bed, attacker: Attacker) -> None:
    """The process died when the slot was given up; the power goes while the next finishes it."""
    sick(waiting)
    waiting.save()
    step = 0
    while cut(waiting.confirm, step) and waiting.environment.load().armed is not None:
        waiting.restore()
        step += 1
    assert waiting.environment.load().armed is None
    assert waiting.journal.state is State.CONFIRMING
    waiting.script("health.d/10-up", "exit 0")
    gateway = Gateway(waiting)
    recording = gateway.record("confirm", codes=(40,))
    found = gateway.explore(recording, (OLD,), lambda: given_up(waiting, attacker))
    assert found.bad == []


def test_a_rollback_by_hand(tmp_path: Path, bed: Bed, world: World) -> None:
    world.roll_out(world.release("1.0.0", OLD))
    assert bed.install().outcome == "confirmed"
    shutil.copytree(world.store.root, tmp_path / "before")
    # It raises no floor, so that what was there before may run again.
    world.roll_out(world.release("2.0.0", NEW))
    assert bed.install().outcome == "confirmed"
    gateway = Gateway(bed)
    recording = gateway.record("rollback")

    def ends() -> None:
        bed.power_on()
        thief.is_refused(bed)
        if bed.running == NEW:
            bed.rollback()
            bed.power_on()
        assert bed.running == OLD
        assert bed.confirm().outcome == "nothing_to_do"
        assert bed.update().reason == "rolled_back_here"

    with serving(tmp_path, world) as thief:
        assert gateway.explore(recording, (OLD, NEW), ends).bad == []


def test_a_boot(waiting: Bed) -> None:
    assert waiting.update().outcome == "rebooting"
    gateway = Gateway(waiting)
    for _ in range(4):
        # Three tries, and the boot that falls back.
        recording = gateway.record("boot-select")

        def ends() -> None:
            left = waiting.environment.load().tries
            waiting.power_on()
            assert waiting.environment.load().tries <= left
            waiting.confirm()

        assert gateway.explore(recording, (OLD, NEW), ends).bad == []
        gateway.put(recording)


def test_a_check(tmp_path: Path, waiting: Bed, world: World) -> None:
    world.roll_out(world.release("3.0.0", b"release three"))
    gateway = Gateway(waiting)
    recording = gateway.record("check")

    def ends() -> None:
        waiting.power_on()
        thief.is_refused(waiting)
        assert waiting.check().outcome == "update_available"

    with serving(tmp_path, world) as thief:
        assert gateway.explore(recording, (OLD,), ends).bad == []
