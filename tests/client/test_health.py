"""Whether new firmware is well: a bad image and a site network that is down are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_client import local_acts, probes, retry
from interlock_client.boot import arm
from interlock_client.config import Checks, Health
from interlock_client.context import Context
from interlock_client.daemon import _round
from interlock_client.journal import State
from interlock_client.outcome import Outcome, of_error
from interlock_client.probes import Verdict
from interlock_client.rounds import Waits
from interlock_core import durable
from interlock_core.errors import ConfigurationError, Exit, InterlockError
from interlock_core.wire import sha256_hex
from tests.client.bed import FACTORY, Bed
from tests.client.fleet import Fleet
from tests.client.world import World

IMAGE = b"release one " * 100
DOWN = "echo no answer from the PACS; exit 75"


@pytest.fixture
def fresh(world: World, bed: Bed) -> Bed:
    """New firmware has booted, and the network check says that it cannot tell."""
    world.roll_out(world.release("1.0.0", IMAGE))
    assert bed.update().outcome == "rebooting"
    bed.power_on()
    bed.script("health.d/20-network", DOWN)
    return bed


def patience(bed: Bed, seconds: int) -> None:
    health = bed.settings.health
    assert health != "none"
    bed.change(health=msgspec.structs.replace(health, patience_seconds=seconds))


def unknown(bed: Bed) -> Outcome:
    outcome = bed.confirm()
    assert (outcome.outcome, outcome.reason) == ("transient", "health_unknown")
    assert outcome.exit_code is Exit.TRANSIENT
    return outcome


def again(bed: Bed, reason: str = "ticket 4711", order: str | None = None) -> Outcome:
    with bed.context() as made:
        try:
            return retry.retry(made, reason, order)
        except InterlockError as e:
            return of_error(e)


class TestNo:
    @pytest.mark.parametrize("trouble", ["damaged_state", "disk"])
    def test_what_is_bad_does_not_run_on_because_that_cannot_be_recorded(
        self, fresh: Bed, trouble: str
    ) -> None:
        fresh.script("health.d/20-network", "exit 1")
        memory = fresh.home / "state" / "memory.json"
        whole = memory.read_bytes()

        def full(act: str, path: Path) -> None:
            if path == memory:
                raise OSError(28, "No space left on device")

        if trouble == "disk":
            with durable.watching(full):
                outcome = fresh.confirm()
        else:
            memory.write_bytes(b"rotten")
            outcome = fresh.confirm()
        assert (outcome.outcome, outcome.reason) == ("rolled_back", "health_check_failed")
        assert "not recorded yet" in outcome.detail
        assert fresh.wants_reboot
        assert fresh.power_on() == "a"
        if trouble == "damaged_state":
            assert fresh.confirm().reason == trouble
            memory.write_bytes(whole)
        assert fresh.confirm().outcome == "rolled_back"
        assert [pair.sha256 for pair in fresh.memory.rolled_back] == [sha256_hex(IMAGE)]
        assert fresh.update().reason == "rolled_back_here"

    @pytest.mark.parametrize("well", [True, False])
    def test_what_is_bad_does_not_run_on_where_nothing_can_be_kept_at_all(
        self, fresh: Bed, well: bool
    ) -> None:
        """And what is well is not confirmed there, nor given up."""
        fresh.script("health.d/20-network", f"exit {0 if well else 1}")

        def full(act: str, path: Path) -> None:
            if path.is_relative_to(fresh.home / "state"):
                raise OSError(28, "No space left on device")

        with durable.watching(full):
            outcome = fresh.confirm()
        if well:
            assert outcome.reason == "disk"
            assert not fresh.wants_reboot
            assert fresh.confirm().outcome == "confirmed"
            return
        assert (outcome.outcome, outcome.reason) == ("rolled_back", "health_check_failed")
        assert fresh.wants_reboot
        assert fresh.power_on() == "a"


class TestCannotTell:
    def test_it_is_neither_kept_nor_given_up_and_no_try_is_used(self, fresh: Bed) -> None:
        tries = fresh.environment.load().tries
        outcome = unknown(fresh)
        assert "no answer from the PACS" in outcome.detail
        assert outcome.more["seconds_left"] == 3600
        for _ in range(20):
            fresh.seconds += 60
            unknown(fresh)
        assert fresh.environment.load().tries == tries
        assert not fresh.wants_reboot
        assert fresh.memory.rolled_back == ()
        assert fresh.memory.highest_confirmed_counter == 0, "floors rise with a confirmation"
        assert "nobody can tell whether it is well" in fresh.status()["why"]
        assert fresh.update().reason == "confirm_pending", "nothing else is installed meanwhile"

    def test_asking_again_wears_nothing(self, fresh: Bed) -> None:
        """Every minute, for as long as a ward does not let it go back."""
        patience(fresh, 0)
        fresh.script("interlock.d/10-idle", "exit 1")
        fresh.confirm()
        fresh.confirm()
        acts: list[tuple[str, Path]] = []
        with durable.watching(lambda act, path: acts.append((act, path))):
            unknown(fresh)
        assert acts == []

    def test_once_it_can_be_told_it_is_confirmed(self, fresh: Bed) -> None:
        unknown(fresh)
        fresh.seconds += 600
        fresh.script("health.d/20-network", "exit 0")
        assert fresh.confirm().outcome == "confirmed"
        assert fresh.journal.undecided is None
        assert fresh.environment.load().active == "b"

    def test_a_check_that_says_no_wins_over_one_that_cannot_tell(self, fresh: Bed) -> None:
        fresh.script("health.d/30-driver", "exit 1")
        outcome = fresh.confirm()
        assert (outcome.outcome, outcome.reason) == ("rolled_back", "health_check_failed")
        assert "30-driver" in outcome.detail

    def test_when_patience_ends_what_is_known_to_be_good_boots(self, fresh: Bed) -> None:
        unknown(fresh)
        fresh.seconds += 3600
        outcome = fresh.confirm()
        assert (outcome.outcome, outcome.reason) == ("rolled_back", "health_unknown")
        assert outcome.exit_code is Exit.ROLLED_BACK
        assert fresh.power_on() == "a"
        assert fresh.running == FACTORY
        assert fresh.check().reason == "rolled_back_here"

    def test_without_patience_it_goes_back_at_once(self, fresh: Bed) -> None:
        patience(fresh, 0)
        assert fresh.confirm().outcome == "rolled_back"

    def test_a_reboot_that_comes_late_is_not_forced_on_a_patient(self, fresh: Bed) -> None:
        unknown(fresh)
        fresh.seconds += 3600
        fresh.script("interlock.d/10-idle", "exit 1")
        outcome = unknown(fresh)
        assert "as soon as now is safe" in outcome.detail
        assert not fresh.wants_reboot
        # Nor where a check says no after all, an hour after the boot.
        fresh.script("health.d/20-network", "exit 1")
        unknown(fresh)
        assert not fresh.wants_reboot
        # Whatever passes meanwhile keeps it.
        fresh.script("health.d/20-network", "exit 0")
        assert fresh.confirm().outcome == "confirmed"

    def test_it_goes_back_once_the_patient_has_left(self, fresh: Bed) -> None:
        unknown(fresh)
        fresh.seconds += 3600
        fresh.script("interlock.d/10-idle", "exit 1")
        unknown(fresh)
        fresh.script("interlock.d/10-idle", "exit 0")
        assert fresh.confirm().outcome == "rolled_back"
        assert fresh.power_on() == "a"

    def test_each_boot_has_its_own_patience_and_tries_bound_it(self, fresh: Bed) -> None:
        boots = 0
        while fresh.environment.require_booted() == "b":
            unknown(fresh)
            fresh.seconds += 3500
            unknown(fresh)
            fresh.power_on()
            boots += 1
        assert boots == fresh.settings.installer.tries
        outcome = fresh.confirm()
        assert (outcome.outcome, outcome.reason) == ("rolled_back", "health_unknown")
        assert "no answer from the PACS" in outcome.detail
        assert fresh.running == FACTORY

    @pytest.mark.parametrize("answers", ["unknown", "never"])
    def test_boots_are_bounded_where_the_boot_loader_does_not_count(
        self, fresh: Bed, answers: str
    ) -> None:
        tries = fresh.settings.installer.tries
        for _ in range(tries):
            if answers == "unknown":
                unknown(fresh)
            else:
                self.reboots_amid_the_checks(fresh)
            fresh.environment.change(lambda state: arm(state, "b", tries))
            assert fresh.power_on() == "b"
        outcome = fresh.confirm()
        reason = {"unknown": "health_unknown", "never": "tries_used_up"}[answers]
        assert (outcome.outcome, outcome.reason) == ("rolled_back", reason)
        assert fresh.wants_reboot
        assert fresh.power_on() == "a"
        assert fresh.check().reason == "rolled_back_here"

    def reboots_amid_the_checks(self, bed: Bed) -> None:
        """What a watchdog does."""

        def watchdog(_: object) -> Verdict:
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Context, "ask_health", watchdog)
            with pytest.raises(KeyboardInterrupt):
                bed.confirm()

    def test_only_what_nobody_could_tell_in_any_boot_is_no_bad_image(self, fresh: Bed) -> None:
        unknown(fresh)
        for _ in range(fresh.settings.installer.tries - 1):
            assert fresh.power_on() == "b"
            self.reboots_amid_the_checks(fresh)
        assert fresh.power_on() == "a"
        assert fresh.confirm().reason == "tries_used_up"

    def test_boots_before_the_agent_runs_are_no_answer(self, fresh: Bed) -> None:
        unknown(fresh)
        while fresh.power_on() == "b":
            pass
        assert fresh.confirm().reason == "tries_used_up"

    def test_what_is_tried_again_has_all_its_boots(self, fresh: Bed) -> None:
        fresh.script("health.d/20-network", "exit 1")
        assert fresh.confirm().outcome == "rolled_back"
        fresh.power_on()
        fresh.script("health.d/20-network", DOWN)
        again(fresh)
        assert fresh.update().outcome == "rebooting"
        for _ in range(fresh.settings.installer.tries):
            assert fresh.power_on() == "b"
            unknown(fresh)
        fresh.script("health.d/20-network", "exit 0")
        assert fresh.confirm().outcome == "confirmed"

    def test_what_the_slot_holds_is_read_back_in_each_boot(self, fresh: Bed) -> None:
        unknown(fresh)
        fresh.power_on()
        (fresh.home / "slots/b").write_bytes(b"something else")
        assert fresh.confirm().reason == "slot_mismatch"

    def test_run_asks_again_soon_and_tells_the_fleet(self, fresh: Bed, fleet: Fleet) -> None:
        fresh.enrol()
        with fresh.context() as made:
            found = _round(made, 1, patient=True)
        assert (found.outcome.reason, found.going_down) == ("health_unknown", False)
        assert found.reported is not None
        waits = Waits(fresh.settings, lambda low, _high: low)
        assert waits.after(found.outcome) == fresh.settings.deferral_retry_seconds
        told = fleet.reports[-1].said
        assert told.attempt is not None
        assert (told.attempt.outcome, told.attempt.reason) == ("rebooting", "health_unknown")

    def test_for_the_clinical_interlock_it_is_a_no(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", IMAGE))
        bed.script("interlock.d/10-idle", "exit 75")
        assert bed.update().reason == "interlock_not_clear"


class TestAdvisory:
    def advised(self, bed: Bed) -> Bed:
        health = bed.settings.health
        assert health != "none"
        (bed.home / "advisory.d").mkdir()
        advisory = bed.home / "advisory.d"
        bed.change(health=msgspec.structs.replace(health, advisory=advisory))
        bed.script("advisory.d/10-server", "exit 1")
        bed.script("advisory.d/20-time", "exit 0")
        return bed

    def test_it_is_told_and_decides_nothing(self, world: World, bed: Bed, fleet: Fleet) -> None:
        self.advised(bed).enrol()
        world.roll_out(world.release("1.0.0", IMAGE))
        assert bed.install().outcome == "confirmed"
        ended = bed.status()["ended"]
        assert [one["passed"] for one in ended["advisory"]] == [False, True]
        assert [one["passed"] for one in ended["health"]] == [True]
        assert bed.report().exit_code is Exit.DONE
        told = fleet.reports[-1].said
        assert told.advisory
        assert [check.passed for check in told.advisory] == [False, True]
        assert [check.passed for check in told.health] == [True]

    def test_a_directory_that_cannot_be_read_is_told_too(self, world: World, bed: Bed) -> None:
        self.advised(bed)
        (bed.home / "advisory.d").rename(bed.home / "away")
        world.roll_out(world.release("1.0.0", IMAGE))
        assert bed.install().outcome == "confirmed"
        (told,) = bed.status()["ended"]["advisory"]
        assert told == {"name": "advisory.d", "passed": False}

    def test_all_are_asked(self, tmp_path: Path) -> None:
        for name, code in (("a", 1), ("b", 75), ("c", 0)):
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\nexit {code}\n")
            path.chmod(0o755)
        found = probes.advise(Checks(checks=tmp_path))
        assert [(one.passed, one.unknown) for one in found] == [
            (False, False),
            (False, True),
            (True, False),
        ]


class TestRetry:
    def rolled_back(self, world: World, bed: Bed) -> Any:
        rollout = world.roll_out(world.release("1.0.0", IMAGE))
        bed.script("health.d/10-up", "exit 1")
        assert bed.install().outcome == "rolled_back"
        bed.power_on()
        bed.script("health.d/10-up", "exit 0")
        assert bed.check().reason == "rolled_back_here"
        return rollout

    def test_a_person_lets_it_be_tried_again(self, world: World, bed: Bed) -> None:
        rollout = self.rolled_back(world, bed)
        outcome = again(bed)
        assert (outcome.outcome, outcome.exit_code) == ("retry", Exit.DONE)
        assert bed.memory.rolled_back == ()
        newest = max((bed.home / "state/decisions").iterdir())
        act = json.loads(newest.read_bytes())
        assert (act["act"], act["reason"]) == ("retry", "ticket 4711")
        assert act["changed"]["forgiven"][0]["order"] == rollout.order.id
        assert bed.status()["last_decision"]["verdict"]["reason"] == "rolled_back_here"
        assert bed.install().outcome == "confirmed"
        assert bed.running == IMAGE

    def test_once_and_not_for_good(self, world: World, bed: Bed) -> None:
        self.rolled_back(world, bed)
        again(bed)
        bed.script("health.d/10-up", "exit 1")
        assert bed.install().outcome == "rolled_back"
        bed.power_on()
        assert bed.check().reason == "rolled_back_here"

    def test_by_the_order(self, world: World, bed: Bed) -> None:
        rollout = self.rolled_back(world, bed)
        assert again(bed, order="0" * 64).reason == "nothing_to_retry"
        assert again(bed, order=rollout.order.id[:7]).exit_code is Exit.USAGE
        assert again(bed, order=rollout.order.id[:8]).outcome == "retry"

    def test_a_new_order_needs_nobody(self, world: World, bed: Bed) -> None:
        self.rolled_back(world, bed)
        world.roll_out(world.releases[0])
        assert bed.install().outcome == "confirmed"

    def test_where_nothing_rolled_back_there_is_nothing_to_do(self, bed: Bed) -> None:
        assert again(bed).reason == "nothing_to_retry"
        bed.check()
        assert again(bed).exit_code is Exit.DONE
        assert all(b"local-act" not in p.read_bytes() for p in _records(bed))

    def test_nothing_else_is_skipped(self, world: World, bed: Bed) -> None:
        self.rolled_back(world, bed)
        again(bed)
        bed.script("interlock.d/10-idle", "exit 1")
        assert bed.update().reason == "interlock_not_clear"
        assert bed.journal.state is State.WAITING

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
    def test_it_takes_a_reason(self, reason: str) -> None:
        with pytest.raises(ConfigurationError):
            local_acts.check_reason(reason)

    def test_a_reason_is_one_printable_line(self) -> None:
        assert local_acts.check_reason(" a\x1b[31m\nb ") == "a [31m b"


def _records(bed: Bed) -> list[Path]:
    return sorted((bed.home / "state/decisions").iterdir())


def test_patience_has_bounds() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(
            {"checks": "d", "patience_seconds": -1}, Health, dec_hook=lambda _, value: Path(value)
        )
