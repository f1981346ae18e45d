"""An image that an executable of the integrator's unpacks: the whole way, and what goes wrong."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock_client import boot, retry
from interlock_client.installing import announced, require
from interlock_client.journal import Failures, Journal, State, save
from interlock_client.lease import taken
from interlock_client.state import StateDir
from interlock_core.errors import Exit, RefusedError, TransientError
from interlock_core.release import Slot
from interlock_core.wire import format_time, sha256_hex
from tests.attacks import lies
from tests.client.bed import Bed
from tests.client.unpacking import UnpackingBed
from tests.client.web import Web
from tests.client.world import World


@pytest.fixture
def unpacking(tmp_path: Path, world: World, web: Web) -> UnpackingBed:
    made = UnpackingBed(tmp_path / "gateway", world, web)
    made.power_on()
    return made


def downloads(web: Web) -> int:
    return sum(path.endswith("image.bin") for path in web.requests)


def breaks(bed: UnpackingBed, line: str) -> None:
    """The executable does this instead of unpacking the second slot."""
    old = '        tar -xOf "/proc/self/fd/$3" "$slot.img" > "$store/$2/$slot"\n'

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, f'        if [ "$slot" = appfs ]; then {line}; fi\n{old}')

    bed.rig.write_program(edit)


class TestTheWholeWay:
    def test_a_release_of_two_slots(self, unpacking: UnpackingBed) -> None:
        bed = unpacking
        before = bed.rig.holds("a")
        rollout = bed.order("1.0.0", "one")
        assert bed.update().outcome == "rebooting"
        assert bed.holds("b", "one")
        assert bed.rig.holds("a") == before
        assert not bed.copy.exists(), "it is of no use any more"
        assert bed.power_on() == "b"
        assert bed.confirm().outcome == "confirmed"
        content = bed.memory.slots["b"]
        assert [slot.name for slot in content.slots] == ["rootfs", "appfs"]
        assert content.order == rollout.order.id
        bed.order("2.0.0", "two")
        assert bed.install().outcome == "confirmed"
        assert (bed.holds("a", "two"), bed.holds("b", "one")) == (True, True)
        assert bed.rollback().outcome == "rolling_back"
        assert bed.power_on() == "b"

    def test_it_waits_without_its_copy(self, unpacking: UnpackingBed, web: Web) -> None:
        unpacking.order("1.0.0", "one")
        unpacking.script("interlock.d/10-idle", "exit 1")
        assert unpacking.update().exit_code is Exit.DEFERRED
        assert not unpacking.copy.exists()
        unpacking.script("interlock.d/10-idle", "exit 0")
        assert unpacking.install().outcome == "confirmed"
        assert downloads(web) == 1

    @pytest.mark.parametrize("slot", ["rootfs", "appfs"])
    def test_any_slot_that_was_swapped_is_seen(self, unpacking: UnpackingBed, slot: str) -> None:
        """At the last moment, and after the boot."""
        unpacking.order("1.0.0", "one")
        unpacking.script("interlock.d/10-idle", "exit 1")
        unpacking.update()
        good = unpacking.rig.holds("b")[slot]
        unpacking.rig.fill("b", slot, b"evil" + good[4:])
        unpacking.script("interlock.d/10-idle", "exit 0")
        assert unpacking.update().reason == "slot_mismatch"
        assert unpacking.update().outcome == "rebooting"
        unpacking.power_on()
        unpacking.rig.fill("b", slot, b"evil" + good[4:])
        assert unpacking.confirm().reason == "slot_mismatch"

    def test_a_copy_that_nobody_wants_any_more_goes(
        self, unpacking: UnpackingBed, world: World
    ) -> None:
        breaks(unpacking, "exit 1")
        unpacking.order("1.0.0", "one")
        unpacking.update()
        assert unpacking.copy.exists()
        world.show("wards")
        assert unpacking.update().reason == "nothing_wanted"
        assert not unpacking.copy.exists()


class TestWhatGoesWrong:
    def test_an_installer_that_lies(self, unpacking: UnpackingBed, web: Web) -> None:
        """It exits with 0, and a slot holds something else: tried less and less often."""
        bed = unpacking
        breaks(bed, 'echo evil > "$store/$2/$slot"; continue')
        bed.order("1.0.0", "one")
        for _ in range(2):
            outcome = bed.update()
            assert (outcome.reason, outcome.exit_code) == ("slot_mismatch", Exit.REFUSED)
            assert "slot appfs of side b" in outcome.detail
            assert bed.environment.load().armed is None
            assert bed.journal.written is None
        found = bed.journal.failures
        assert found is not None
        assert (found.times, found.reason) == (2, "slot_mismatch")
        asked = bed.home / "rig" / "calls"
        breaks(bed, f'echo x >> "{asked}"')
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("slot_mismatch", Exit.REFUSED)
        assert "tried again from" in outcome.detail
        failing = bed.status()["failing"]
        assert (failing["reason"], failing["times"]) == ("slot_mismatch", 2)
        assert format_time(failing["tried_again_from"]) in outcome.detail
        assert not asked.exists(), "it is not called again at every poll"
        bed.world.clock.pass_(minutes=31)
        assert bed.update().outcome == "rebooting"
        assert bed.journal.failures is None
        assert bed.status()["failing"] is None

    def test_a_new_order_is_tried_at_once(self, unpacking: UnpackingBed) -> None:
        breaks(unpacking, "exit 1")
        unpacking.order("1.0.0", "one")
        assert [unpacking.update().reason for _ in range(3)] == ["installer_failed"] * 3
        unpacking.rig.write_program(lambda text: text)
        unpacking.order("1.0.1", "another")
        assert unpacking.update().outcome == "rebooting"

    def test_a_person_may_have_it_tried_at_once(self, unpacking: UnpackingBed) -> None:
        breaks(unpacking, "exit 1")
        unpacking.order("1.0.0", "one")
        for _ in range(2):
            unpacking.update()
        unpacking.rig.write_program(lambda text: text)
        assert "tried 2 times" in unpacking.update().detail
        with unpacking.context() as made:
            assert retry.retry(made, "the installer was mended").outcome == "retry"
        assert unpacking.update().outcome == "rebooting"

    def test_what_is_not_wanted_any_more_is_not_what_a_person_means(
        self, unpacking: UnpackingBed
    ) -> None:
        """One order failed here; then another rolled back, and that is refused now."""
        bed = unpacking
        breaks(bed, "exit 1")
        failed = bed.order("1.0.0", "one")
        assert bed.update().reason == "installer_failed"
        bed.rig.write_program(lambda text: text)
        wanted = bed.order("1.0.1", "another")
        bed.script("health.d/10-works", "exit 1")
        assert bed.update().outcome == "rebooting"
        bed.power_on()
        assert bed.confirm().outcome == "rolled_back"
        bed.power_on()
        assert bed.update().reason == "rolled_back_here"
        known = Failures(
            order=failed.order.id,
            sha256="0" * 64,
            reason="installer_failed",
            refused=False,
            times=1,
            at=bed.world.clock.now,
        )
        save(bed.home / "state" / "journal.json", replace(bed.journal, failures=known))
        assert bed.status()["failing"] is None
        with bed.context() as made:
            outcome = retry.retry(made, "the sensor was mended")
        assert (outcome.outcome, outcome.more["order"]) == ("retry", wanted.order.id)

    def test_one_that_fails_keeps_its_copy(self, unpacking: UnpackingBed, web: Web) -> None:
        breaks(unpacking, "echo the disk is odd >&2; exit 7")
        unpacking.order("1.0.0", "one")
        outcome = unpacking.update()
        assert (outcome.reason, outcome.exit_code) == ("installer_failed", Exit.TRANSIENT)
        assert "exited with 7: the disk is odd" in outcome.detail
        assert unpacking.environment.load().good == ("a",)
        unpacking.rig.write_program(lambda text: text)
        assert unpacking.install().outcome == "confirmed"

    def test_one_that_refuses(self, unpacking: UnpackingBed) -> None:
        breaks(unpacking, "exit 20")
        unpacking.order("1.0.0", "one")
        outcome = unpacking.update()
        assert (outcome.reason, outcome.exit_code) == ("installer_refused", Exit.REFUSED)

    def test_one_that_hangs(self, unpacking: UnpackingBed) -> None:
        settings = unpacking.rig.settings(
            boot_environment=unpacking.home / "boot",
            booted=unpacking.home / "booted",
            install_timeout_seconds=1,
        )
        unpacking.change(installer=settings)
        breaks(unpacking, "sleep 100")
        unpacking.order("1.0.0", "one")
        outcome = unpacking.update()
        assert (outcome.reason, outcome.exit_code) == ("installer_failed", Exit.TRANSIENT)
        assert "did not end within 1 s" in outcome.detail

    def test_an_image_for_another_kind_of_installer(self, bed: Bed, world: World) -> None:
        """The built-in slots take what is the content of one slot, and nothing is fetched."""
        slots = (Slot(name="rootfs", length=3, sha256="0" * 64),)
        world.roll_out(world.release("1.0.0", b"a bundle", slots=slots))
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("installer_refused", Exit.REFUSED)
        assert bed.slot("b") == b""


class TestTheGuard:
    """Nobody but the agent calls an installer."""

    DIGEST = "0123456789abcdef" * 4

    def asked(self, state: Path, digest: str) -> int:
        """As another process finds it, whatever this one holds."""
        script = (
            "import pathlib, sys; from interlock_client import installing, state\n"
            "from interlock_core.errors import RefusedError\n"
            "try: installing.require(state.StateDir(pathlib.Path(sys.argv[1])), sys.argv[2])\n"
            "except RefusedError as e: sys.exit(20 if e.reason == 'not_installing' else 1)\n"
        )
        return subprocess.run([sys.executable, "-c", script, state, digest], check=False).returncode

    @staticmethod
    def journal(state: Path, unpacking: str | None) -> None:
        state.mkdir(exist_ok=True)
        save(state / "journal.json", Journal(state=State.DOWNLOADING, unpacking=unpacking))

    def test_while_it_unpacks_and_only_then(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        self.journal(state, self.DIGEST)
        assert self.asked(state, self.DIGEST) == 20, "what a killed agent left says nothing"
        with announced(state, self.DIGEST):
            assert self.asked(state, self.DIGEST) == 0
            assert self.asked(state, "f" * 64) == 20
            self.journal(state, None)
            assert self.asked(state, self.DIGEST) == 20, "the journal knows nothing of it"
            self.journal(state, self.DIGEST)
        assert self.asked(state, self.DIGEST) == 20

    def test_a_file_that_a_killed_agent_left_is_no_lock(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        self.journal(state, self.DIGEST)
        (state / "installing").mkdir()
        (state / "installing" / self.DIGEST).touch()
        with pytest.raises(RefusedError) as caught:
            require(StateDir(state), self.DIGEST)
        assert caught.value.reason == "not_installing"
        with announced(state, self.DIGEST):
            pass

    def test_the_sample_asks_the_agent(self, unpacking: UnpackingBed) -> None:
        """In earnest: by the command line, from within the executable."""
        unpacking.ask_the_agent()
        release = unpacking.publish("1.0.0", "one")
        unpacking.world.roll_out(release)
        assert unpacking.install().outcome == "confirmed"
        (unpacking.home / "bundle").write_bytes(release.data)
        given = json.dumps(
            {"length": len(release.data), "sha256": sha256_hex(release.data), "slots": []},
            separators=(",", ":"),
        )
        before = unpacking.rig.holds("a")
        with (unpacking.home / "bundle").open("rb") as file:
            done = subprocess.run(
                [unpacking.home / "rig" / "program", "install", "a", str(file.fileno())],
                input=given,
                pass_fds=[file.fileno()],
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 20
        assert "the agent did not call this" in done.stderr
        assert unpacking.rig.holds("a") == before


class TestABootLoaderThatDoesNotBootIt:
    """A gateway beside a patient does not reboot at every poll."""

    @pytest.mark.parametrize("confirms", [False, True])
    def test_it_reboots_less_and_less_often(
        self, bed: Bed, world: World, *, confirms: bool
    ) -> None:
        """What is armed cannot be counted down at boot, say: the old side boots, and only that."""
        world.roll_out(world.release("1.0.0", b"release one " * 100))
        for _ in range(2):
            assert bed.update().outcome == "rebooting"
            assert bed.journal.fault is None, "the power may have gone before it was armed"
            if confirms:
                assert bed.confirm().reason == "reboot_pending"
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("not_booted", Exit.TRANSIENT)
        assert bed.environment.load().armed is None
        assert bed.status()["failing"]["times"] == 2
        assert "cannot go on with ward-gateway/1.0.0/image.bin: not_booted" in bed.status()["why"]
        world.clock.pass_(minutes=31)
        assert bed.update().outcome == "rebooting"
        assert bed.update().reason == "not_booted"
        world.clock.pass_(minutes=59)
        assert bed.update().reason == "not_booted"
        world.clock.pass_(minutes=2)
        assert bed.install().outcome == "confirmed"
        assert bed.journal.failures is None

    def test_one_that_forgets_that_it_fell_back(self, bed: Bed, world: World) -> None:
        world.roll_out(world.release("1.0.0", b"release one " * 100))
        for _ in range(2):
            assert bed.update().outcome == "rebooting"
            bed.environment.change(boot.disarm)
            assert bed.confirm().reason == "nothing_to_confirm"
        assert bed.update().reason == "not_booted"


class TestTheLastMoment:
    """It ends within its time, and so does the lease."""

    def test_a_line_that_is_too_slow(self, bed: Bed, world: World, web: Web) -> None:
        world.roll_out(world.release("1.0.0", b"release one " * 100))
        web.lies["/poll/"] = lies.doing(self.dawdler(bed), at=1)
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("last_moment_overran", Exit.TRANSIENT)
        assert bed.journal.state is State.WAITING
        assert bed.environment.load().armed is None
        web.lies.clear()
        assert bed.install().outcome == "confirmed"

    def test_it_is_not_tried_at_full_speed(self, bed: Bed, world: World, web: Web) -> None:
        world.roll_out(world.release("1.0.0", b"release one " * 100))
        for _ in range(2):
            web.lies["/poll/"] = lies.doing(self.dawdler(bed), at=1)
            assert bed.update().reason == "last_moment_overran"
        web.lies.clear()
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("last_moment_overran", Exit.TRANSIENT)
        assert "tried 2 times" in outcome.detail
        assert not bed.wants_reboot
        world.clock.pass_(hours=2)
        assert bed.install().outcome == "confirmed"

    @staticmethod
    def dawdler(bed: Bed) -> Callable[[], None]:
        def dawdle() -> None:
            bed.seconds += bed.settings.last_moment_timeout_seconds + 1

        return dawdle

    def test_the_outcome_says_how_long_it_took(self, bed: Bed, world: World) -> None:
        world.roll_out(world.release("1.0.0", b"release one " * 100))
        assert bed.update().more["last_moment_seconds"] == 0

    @pytest.mark.timeout(60)
    def test_the_lease_is_given_back_whatever_hangs(self, tmp_path: Path) -> None:
        path = tmp_path / "updating"
        with taken(path, 0.05, lambda: 0.0) as lease, path.open() as clinical:
            # Waits as long as it takes: the one who holds it does nothing at all.
            fcntl.flock(clinical, fcntl.LOCK_EX)
            for ask in (lease.check, lease.keep):
                with pytest.raises(TransientError) as caught:
                    ask()
                assert caught.value.reason == "last_moment_overran"

    def test_a_lease_that_was_kept_is_not_given_back(self, tmp_path: Path) -> None:
        path = tmp_path / "updating"
        with taken(path, 60, lambda: 0.0) as lease, path.open() as clinical:
            lease.keep()
            with pytest.raises(BlockingIOError):
                fcntl.flock(clinical, fcntl.LOCK_EX | fcntl.LOCK_NB)
