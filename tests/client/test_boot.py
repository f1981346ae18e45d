"""The boot environment: something good always boots."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from interlock_client import boot
from interlock_client.boot import BootEnvironment, BootState, Slot
from interlock_client.sealed import seal
from interlock_core import durable
from interlock_core.errors import ConfigurationError, TransientError


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
def test_a_torn_write_leaves_the_state_before_it(environment: BootEnvironment, torn: bytes) -> None:
    environment.boot()
    before = environment.change(lambda state: boot.arm(state, "b", 3))
    after = environment.change(boot.disarm)
    (environment.directory / f"boot-{after.sequence % 2}.json").write_bytes(torn)
    assert environment.load() == before


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


def test_records_are_immutable() -> None:
    with pytest.raises(AttributeError):
        boot.new("a").active = "b"  # type: ignore[misc]
    assert msgspec.structs.replace(boot.new("a")) == boot.new("a")
