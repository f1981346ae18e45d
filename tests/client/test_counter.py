"""The memory and a counter that only rises: an older copy is refused, and a cut is not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from interlock_client import memory as kept
from interlock_client import rollback
from interlock_client.config import Checks
from interlock_client.memory import Memory
from interlock_client.outcome import Outcome, of_error
from interlock_core import disk
from interlock_core.errors import Exit, InterlockError, TransientError
from tests.client.bed import Bed
from tests.client.test_power import NEW, OLD, cut, finally_new, finish
from tests.client.web import Web
from tests.client.world import World


class Fake:
    """A counter beside the machine: a power cut and a restored disk leave it as it is."""

    def __init__(self) -> None:
        self.value = 41
        self.away = False
        self.raised = 0

    def read(self) -> int:
        self._reached()
        return self.value

    def increment(self) -> int:
        self._reached()
        disk.step("increment", Path("tpm"))
        self.value += 1
        self.raised += 1
        disk.step("said", Path("tpm"))
        return self.value

    def _reached(self) -> None:
        if self.away:
            raise TransientError("The TPM does not answer.", reason="tpm")


@pytest.fixture
def counter() -> Fake:
    return Fake()


@pytest.fixture
def tied(tmp_path: Path, world: World, web: Web, counter: Fake) -> Bed:
    """A gateway that runs ``OLD``, tied to the counter; ``NEW`` is ordered."""
    bed = Bed(tmp_path / "tied", world, web, interlock="none", health="none")
    bed.power_on()
    path = bed.home / "state/memory.json"
    path.parent.mkdir()
    kept.save(path, Memory(counter=counter.value))
    bed.counter = counter
    world.roll_out(world.release("1.0.0", OLD))
    assert bed.install().outcome == "confirmed"
    world.roll_out(world.release("2.0.0", NEW, raises_floor_to=2))
    return bed


def belongs(bed: Bed, counter: Fake) -> bool:
    # As it stands: who reads it through the agent makes good what is owed.
    memory = kept.load(bed.home / "state/memory.json")
    return memory.counter == counter.value and not memory.owes_count


def test_it_follows_whatever_must_not_be_replayed(tied: Bed, counter: Fake) -> None:
    before = counter.raised
    assert tied.install().outcome == "confirmed"
    assert belongs(tied, counter)
    # The order with what was published beside it, and the confirmation.
    assert counter.raised == before + 2
    for _ in range(3):
        assert tied.check().reason == "already_installed"
    tied.world.clock.pass_(days=4)
    tied.world.refresh()
    tied.check()
    assert counter.raised == before + 2, "no poll and no renewal of heads wears it out"


def test_an_older_copy_is_refused_by_every_command_that_installs(tied: Bed, counter: Fake) -> None:
    older = (tied.home / "state/memory.json").read_bytes()
    assert tied.install().outcome == "confirmed"
    newest = (tied.home / "state/memory.json").read_bytes()
    (tied.home / "state/memory.json").write_bytes(older)
    for command in (tied.check, tied.update, tied.explain, tied.rollback):
        outcome = command()
        assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED)
        assert "older copy" in outcome.detail
    assert tied.running == NEW
    (tied.home / "state/memory.json").write_bytes(newest)
    assert tied.check().reason == "already_installed"


def test_a_lost_state_is_no_new_gateway(tied: Bed, counter: Fake) -> None:
    """Also where the marker beside the boot state was lost with it."""
    (tied.home / "state").rename(tied.home / "away")
    (tied.home / "boot/state-began").unlink()
    outcome = tied.update()
    assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED)
    assert "does not belong" in outcome.detail


def test_another_tpm_is_noticed(tied: Bed, counter: Fake) -> None:
    counter.value -= 2
    assert tied.check().reason == "damaged_state"


def test_without_the_tpm_what_runs_goes_on_and_nothing_is_installed(
    tied: Bed, counter: Fake
) -> None:
    assert tied.update().outcome == "rebooting"
    tied.power_on()
    counter.away = True
    outcome = tied.confirm()
    assert outcome.outcome == "confirmed", outcome.detail
    assert tied.running == NEW
    for command in (tied.check, tied.update, tied.explain):
        outcome = command()
        assert (outcome.reason, outcome.exit_code) == ("tpm", Exit.TRANSIENT)
    assert tied.status()["running"]["version"] == "2.0.0"
    assert "does not answer" in tied.status()["tpm"]["trouble"]
    counter.away = False
    assert tied.check().reason == "already_installed", "the step that was owed is made good"
    assert belongs(tied, counter)
    assert not tied.memory.owes_count
    assert tied.status()["tpm"] == {"belongs_to": counter.value, "trouble": None}
    assert tied.memory.release_floor == 2


def test_what_was_kept_without_the_tpm_is_guarded_afterwards(tied: Bed, counter: Fake) -> None:
    before = (tied.home / "state/memory.json").read_bytes()
    assert tied.update().outcome == "rebooting"
    tied.power_on()
    counter.away = True
    tied.confirm()
    counter.away = False
    tied.check()
    (tied.home / "state/memory.json").write_bytes(before)
    assert tied.check().reason == "damaged_state"


class TestRollbackWithoutTheTpm:
    """A patient's gateway whose TPM died can still be taken back to what is known to be good."""

    @pytest.fixture
    def newer(self, tied: Bed) -> Bed:
        """It runs ``NEW``; beside it stands ``OLD``, which may run again."""
        tied.world.roll_out(tied.world.release("3.0.0", NEW * 2))
        assert tied.install().outcome == "confirmed"
        tied.world.roll_out(tied.world.release("4.0.0", OLD * 2))
        assert tied.install().outcome == "confirmed"
        return tied

    def back(self, bed: Bed, reason: str | None) -> Outcome:
        with bed.context() as made:
            try:
                return rollback.rollback(made, without_tpm=reason)
            except InterlockError as e:
                return of_error(e)

    def test_a_person_says_why_and_that_is_kept(self, newer: Bed, counter: Fake) -> None:
        counter.away = True
        outcome = self.back(newer, None)
        assert (outcome.reason, outcome.exit_code) == ("tpm", Exit.TRANSIENT)
        assert "--without-tpm" in outcome.detail
        assert not newer.wants_reboot
        outcome = self.back(newer, "the TPM is dead, ticket 4711")
        assert outcome.outcome == "rolling_back", outcome.detail
        act = json.loads(max((newer.home / "state/decisions").iterdir()).read_bytes())
        assert (act["act"], act["reason"]) == (
            "rollback_without_tpm",
            "the TPM is dead, ticket 4711",
        )
        assert act["changed"]["goes_back_to"]["version"] == "3.0.0"
        newer.power_on()
        assert newer.running == NEW * 2
        assert newer.update().reason == "tpm", "and nothing is installed without it"
        counter.away = False
        assert newer.check().reason == "rolled_back_here"
        assert belongs(newer, counter)

    def test_the_floor_holds(self, tied: Bed, counter: Fake) -> None:
        assert tied.install().outcome == "confirmed"
        counter.away = True
        assert self.back(tied, "ticket 4711").reason == "below_floor"
        assert not tied.wants_reboot

    def test_the_clinical_interlock_is_asked(self, newer: Bed, counter: Fake) -> None:
        counter.away = True
        newer.change(interlock=Checks(checks=newer.home / "interlock.d", timeout_seconds=10))
        newer.script("interlock.d/10-idle", "exit 1")
        assert self.back(newer, "ticket 4711").reason == "interlock_not_clear"

    def test_one_that_answers_is_believed(self, newer: Bed, counter: Fake) -> None:
        """Who brings an older copy back does not get past it by saying so."""
        counter.value += 1
        assert self.back(newer, "ticket 4711").reason == "damaged_state"
        counter.value -= 1
        acts = len(list((newer.home / "state/decisions").iterdir()))
        assert self.back(newer, "ticket 4711").outcome == "rolling_back"
        assert len(list((newer.home / "state/decisions").iterdir())) == acts, "nothing was left out"

    def test_without_a_memory_there_is_nothing_to_go_back_to(
        self, newer: Bed, counter: Fake
    ) -> None:
        counter.away = True
        (newer.home / "state/memory.json").unlink()
        assert self.back(newer, "ticket 4711").reason == "damaged_state"


@pytest.mark.parametrize("act", ["update", "confirm"])
def test_no_cut_is_taken_for_an_older_copy(tied: Bed, counter: Fake, act: str) -> None:
    """Before and after every change of the memory, of the counter, and between the two."""
    if act == "confirm":
        tied.update()
        tied.power_on()
    began = counter.value
    command: Callable[[], Outcome] = getattr(tied, act)
    tied.save()
    changes: list[Path] = []
    with disk.watching(lambda _, path: changes.append(path)):
        command()
    near = [path.name in {"memory.json", "tpm"} for path in changes]
    steps = [step for step in range(1, len(near)) if near[step] or near[step - 1]]
    assert sum(path.name == "tpm" for path in changes) >= 2
    for step in steps:
        tied.restore()
        counter.value = began
        assert cut(command, step)
        tied.power_on()
        finish(tied)
        finally_new(tied)
        assert belongs(tied, counter)


def test_whoever_read_the_memory_before_does_not_write_an_older_value(
    tied: Bed, counter: Fake
) -> None:
    with tied.context() as made:
        stale = made.memory()
        made.remember(msgspec.structs.replace(stale, release_floor=1))
        made.remember(
            msgspec.structs.replace(stale, release_floor=1, clock_floor=stale.clock_floor)
        )
    assert belongs(tied, counter)
    assert tied.check().exit_code is Exit.DONE
