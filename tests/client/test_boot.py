"""The boot environment: something good always boots."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interlock_client import boot
from interlock_client.boot import BootEnvironment, BootState, Slot
from interlock_client.cli import boot_select
from interlock_client.sealed import seal
from interlock_core import durable
from interlock_core.errors import ConfigurationError, TransientError
from tests.packaging.tree import TOP

GUIDE = TOP / "docs/guides/integrator.md"
README = TOP / "client/README.md"


class Cut(BaseException):
    """The power goes."""


@pytest.fixture
def environment(tmp_path: Path) -> BootEnvironment:
    return BootEnvironment(tmp_path / "boot", tmp_path / "run" / "booted")


def test_a_new_machine_boots_its_first_slot(environment: BootEnvironment) -> None:
    assert environment.boot() == ("a", None)
    assert environment.booted.read_text() == "a\n"
    assert environment.load() == BootState(sequence=0, active="a", good=("a",))


def test_an_armed_slot_has_its_tries_and_no_more(environment: BootEnvironment) -> None:
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 2))
    assert [environment.boot()[0] for _ in range(4)] == ["b", "b", "a", "a"]
    state = environment.load()
    assert (state.armed, state.fell_back, state.active) == (None, "b", "a")


def test_a_slot_that_is_written_anew_did_not_fall_back(environment: BootEnvironment) -> None:
    """What fell back is not there any more, and tells nothing about what comes in its place."""
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 1))
    assert [environment.boot()[0] for _ in range(2)] == ["b", "a"]
    environment.change(lambda state: boot.invalidate(state, "b"))
    assert environment.load().fell_back is None


def test_a_committed_slot_boots_by_itself(environment: BootEnvironment) -> None:
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 1))
    environment.boot()
    environment.change(lambda state: boot.commit(state, "b"))
    assert [environment.boot()[0] for _ in range(3)] == ["b"] * 3
    assert environment.load().good == ("a", "b")


def test_no_change_writes_nothing(environment: BootEnvironment) -> None:
    environment.boot()
    environment.change(boot.disarm)
    acts: list[str] = []
    with durable.watching(lambda act, _: acts.append(act)):
        environment.change(boot.disarm)
    assert acts == []


@pytest.mark.parametrize("torn", [b"", b"{", b'{"body":{},"sha256":"00"}', b"\xff" * 10])
@pytest.mark.parametrize("number", [0, 1])
def test_a_copy_that_is_torn_or_goes_bad_loses_nothing(
    environment: BootEnvironment, torn: bytes, number: int
) -> None:
    """Also what it says last: the other says the same, and mends it at the next boot."""
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 3))
    after = environment.change(boot.disarm)
    copies = [environment.directory / f"boot-{n}.json" for n in (0, 1)]
    assert copies[0].read_bytes() == copies[1].read_bytes()
    copies[number].write_bytes(torn)
    assert environment.load() == after
    assert environment.boot() == ("a", None)
    assert copies[0].read_bytes() == copies[1].read_bytes()


@pytest.mark.parametrize("slot", ["a", "b"])
def test_with_both_copies_damaged_the_committed_slot_boots(
    environment: BootEnvironment, slot: Slot
) -> None:
    """Not what happened to boot, nor the first: another slot may hold half an image."""
    environment.boot()
    if slot == "b":
        environment.change(lambda state: boot.arm(state, "b", 3))
        environment.boot()
        environment.change(lambda state: boot.commit(state, "b"))
    other = boot.other(slot)
    environment.change(lambda state: boot.invalidate(state, other))
    environment.change(lambda state: boot.arm(state, other, 3))
    environment.boot()
    environment.booted.unlink()
    for number in (0, 1):
        (environment.directory / f"boot-{number}.json").write_bytes(b"rotten")
    assert environment.boot() == (slot, None)
    assert environment.load().active == slot


def test_what_cannot_be_mended_boots_all_the_same_and_is_said(
    environment: BootEnvironment,
) -> None:
    environment.boot()
    (environment.directory / "boot-0.json").write_bytes(b"rotten")

    def read_only(act: str, path: Path) -> None:
        if path.parent == environment.directory or act == "make":
            raise OSError(30, "Read-only file system")

    environment.booted.unlink()
    with durable.watching(read_only):
        slot, fault = environment.boot()
    assert slot == "a"
    assert isinstance(fault, TransientError)


def test_two_damaged_copies_boot_what_booted_last(environment: BootEnvironment) -> None:
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 3))
    environment.boot()
    environment.change(lambda state: boot.commit(state, "b"))
    for path in environment.directory.iterdir():
        path.write_bytes(b"rotten")
    assert environment.boot() == ("b", None)
    environment.booted.write_text("nonsense")
    for path in environment.directory.iterdir():
        path.write_bytes(b"rotten")
    assert environment.boot() == ("a", None)


def test_a_try_that_cannot_be_recorded_boots_the_committed_slot(
    environment: BootEnvironment,
) -> None:
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 3))

    def full(act: str, path: Path) -> None:
        raise OSError(28, "No space left on device")

    with durable.watching(full):
        slot, fault = environment.boot()
    assert slot == "a"
    assert isinstance(fault, TransientError)
    assert "disk is full" in str(fault)
    assert environment.boot() == ("b", None)


def test_an_unreadable_copy_is_not_taken_for_a_new_machine(environment: BootEnvironment) -> None:
    environment.directory.mkdir()
    for number in (0, 1):
        (environment.directory / f"boot-{number}.json").symlink_to("/proc/self/mem")
    with pytest.raises(TransientError):
        environment.load()
    assert environment.boot()[0] == "a"


def test_a_third_file_that_cannot_be_read_does_not_outweigh_whole_copies(
    environment: BootEnvironment,
) -> None:
    environment.boot()
    environment.change(lambda state: boot.arm(state, "b", 3))
    environment.boot()
    environment.change(lambda state: boot.commit(state, "b"))
    environment.change(lambda state: boot.invalidate(state, "a"))
    witness = environment.directory / "committed"
    witness.unlink()
    witness.symlink_to("/proc/self/mem")
    assert environment.boot() == ("b", None), "slot a is being written"
    assert witness.read_text() == "b\n", "it is mended"


@pytest.mark.parametrize("slot", ["a", "b"])
def test_the_script_of_the_guide_boots_what_is_committed_where_the_client_cannot_start(
    environment: BootEnvironment, slot: Slot
) -> None:
    script = re.search(r"```sh\n(slot=.*?)```", GUIDE.read_text(), re.DOTALL)
    assert script is not None
    for line in script[1].splitlines():
        for other in (README, Path(boot.__file__), Path(boot_select.__file__)):
            assert line in other.read_text()
    text = f"{script[1]}echo $slot".replace("/boot/interlock", str(environment.directory))

    def boots() -> str:
        done = subprocess.run(
            ["sh", "-euc", text],
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert boots() == "a", "a machine that is new"
    environment.boot()
    if slot == "b":
        environment.change(lambda state: boot.arm(state, "b", 1))
        environment.change(lambda state: boot.commit(state, "b"))
        environment.change(lambda state: boot.invalidate(state, "a"))
    assert boots() == slot


def test_which_slot_runs_must_be_known(environment: BootEnvironment) -> None:
    with pytest.raises(ConfigurationError, match="boot-select") as caught:
        environment.require_booted()
    assert caught.value.reason == "booted_unknown"


def test_the_previous_agent_can_read_what_a_newer_one_wrote(
    environment: BootEnvironment,
) -> None:
    class Newer(BootState, frozen=True, kw_only=True):
        added: str = "later"

    environment.directory.mkdir()
    (environment.directory / "boot-1.json").write_bytes(seal(Newer(sequence=1, active="b")))
    assert environment.load().active == "b"


@given(st.integers(0, 3), st.sampled_from(["a", "b"]), st.booleans())
def test_a_cut_in_any_write_leaves_one_state_or_the_other(
    tmp_path_factory: pytest.TempPathFactory, step: int, slot: Slot, armed: bool
) -> None:
    directory = tmp_path_factory.mktemp("boot")
    environment = BootEnvironment(directory / "boot", directory / "booted")
    environment.change(lambda _: boot.new(slot))
    before = environment.load()

    def change(state: BootState) -> BootState:
        return boot.arm(state, boot.other(slot), 3) if armed else boot.commit(state, slot)

    steps = 0

    def cut(act: str, path: Path) -> None:
        nonlocal steps
        if steps == step:
            raise Cut
        steps += 1

    after = change(before)
    try:
        with durable.watching(cut):
            environment.change(change)
    except Cut:
        assert environment.load() in (before, after)
    else:
        assert environment.load() in (before, after)


class Machine(RuleBasedStateMachine):
    """Whatever is done in whatever order, the slot that boots is good or was armed on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.state = boot.new("a")
        self.content: dict[Slot, str] = {"a": "good", "b": "nothing"}
        self.running: Slot = "a"

    @property
    def spare(self) -> Slot:
        return boot.other(self.state.active)

    @precondition(lambda self: self.running == self.state.active)
    @rule()
    def write(self) -> None:
        self.state = boot.invalidate(self.state, self.spare)
        self.content[self.spare] = "garbage"

    @precondition(
        lambda self: self.running == self.state.active and self.content[self.spare] == "garbage"
    )
    @rule()
    def finish_and_arm(self) -> None:
        self.content[self.spare] = "verified"
        self.state = boot.arm(self.state, self.spare, 2)

    @rule()
    def disarm(self) -> None:
        self.state = boot.disarm(self.state)

    @rule()
    def power_cycle(self) -> None:
        self.running, self.state = boot.select(self.state)

    @precondition(lambda self: self.state.armed == self.running)
    @rule()
    def confirm(self) -> None:
        self.content[self.running] = "good"
        self.state = boot.commit(self.state, self.running)

    @precondition(lambda self: self.running == self.state.active and self.spare in self.state.good)
    @rule()
    def go_back(self) -> None:
        self.state = boot.abandon(self.state, self.running)

    @invariant()
    def something_good_boots(self) -> None:
        slot, _ = boot.select(self.state)
        assert self.content[slot] == "good" or slot == self.state.armed
        assert self.content[slot] != "garbage"
        assert self.state.active in self.state.good
        assert all(self.content[slot] == "good" for slot in self.state.good)

    @invariant()
    def tries_run_out(self) -> None:
        state = self.state
        for _ in range(3):
            _, state = boot.select(state)
        assert boot.select(state)[0] == state.active


TestMachine = Machine.TestCase


class Disk(RuleBasedStateMachine):
    """As ``Machine``, on a disk: cut off anywhere, damaged, full, read-only; no clock is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.environment = BootEnvironment(self.home / "boot", self.home / "run" / "booted")
        self.content: dict[Slot, str] = {"a": "good", "b": "nothing"}
        self.environment.boot()
        self.running: Slot = "a"
        self.cut_at: int | None = None
        self.fault: int | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def at_rest(self) -> bool:
        return self.running == self.environment.load().active

    def disk(self, act: str, path: Path) -> None:
        if self.fault is not None and path.is_relative_to(self.home / "boot"):
            raise OSError(self.fault, os.strerror(self.fault))
        if self.cut_at is not None:
            if self.cut_at == 0:
                # Dead stays dead until the next power cycle.
                raise Cut
            self.cut_at -= 1

    def change(self, change: Callable[[BootState], BootState]) -> bool:
        """Whether it was done."""
        try:
            with durable.watching(self.disk):
                self.environment.change(change)
        except Cut:
            self.power_cycle()
            return False
        except TransientError:
            return False
        return True

    @rule(step=st.none() | st.integers(0, 12))
    def power_goes_soon(self, step: int | None) -> None:
        self.cut_at = step

    @rule(fault=st.sampled_from([None, None, errno.ENOSPC, errno.EROFS, errno.EIO]))
    def the_disk_is(self, fault: int | None) -> None:
        self.fault = fault

    @rule(number=st.sampled_from([(0,), (1,), (0, 1)]), data=st.binary(max_size=8))
    def copies_go_bad(self, number: tuple[int, ...], data: bytes) -> None:
        for one in number:
            (self.environment.directory / f"boot-{one}.json").write_bytes(data)

    @rule()
    def the_witness_is_lost(self) -> None:
        """While the copies are whole, nobody needs it."""
        copies = [self.environment.directory / f"boot-{n}.json" for n in (0, 1)]
        if self.fault is not None or self.cut_at is not None:
            return
        if copies[0].read_bytes() == copies[1].read_bytes() == seal(self.environment.load()):
            (self.environment.directory / "committed").unlink(missing_ok=True)
            self.change(lambda state: state)

    @precondition(at_rest)
    @rule()
    def write(self) -> None:
        spare = boot.other(self.running)
        if self.change(lambda state: boot.invalidate(state, spare)):
            self.content[spare] = "garbage"

    @precondition(lambda self: self.at_rest() and "garbage" in self.content.values())
    @rule(tries=st.integers(1, 3))
    def finish_and_arm(self, tries: int) -> None:
        spare = boot.other(self.running)
        self.content[spare] = "verified"
        self.change(lambda state: boot.arm(state, spare, tries))

    @rule()
    def disarm(self) -> None:
        self.change(boot.disarm)

    @precondition(lambda self: self.environment.load().armed == self.running)
    @rule()
    def confirm(self) -> None:
        self.content[self.running] = "good"
        self.change(lambda state: boot.commit(state, self.running))

    @precondition(
        lambda self: self.at_rest() and boot.other(self.running) in self.environment.load().good
    )
    @rule()
    def go_back(self) -> None:
        self.change(lambda state: boot.abandon(state, self.running))

    @rule()
    def power_cycle(self) -> None:
        self.cut_at = None
        before = self.environment.load()
        with durable.watching(self.disk):
            self.running, fault = self.environment.boot()
        armed = before.armed if before.tries > 0 else None
        assert self.content[self.running] in {"good", "verified"}
        if self.running != before.active:
            assert self.running == armed, "nothing boots that was neither committed nor armed"
            assert fault is None
            after = self.environment.load()
            assert after.tries == before.tries - 1, "a try is used up before the boot"
            assert self.environment.booted.read_text().strip() == self.running

    @invariant()
    def what_is_committed_is_good(self) -> None:
        state = self.environment.load()
        assert self.content[state.active] == "good"
        assert all(self.content[slot] == "good" for slot in state.good)


TestDisk = Disk.TestCase
TestDisk.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_records_are_immutable() -> None:
    with pytest.raises(AttributeError):
        boot.new("a").active = "b"  # type: ignore[misc]
    assert msgspec.structs.replace(boot.new("a")) == boot.new("a")
