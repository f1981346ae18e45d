"""The simulator, small: the same scenarios, held to the same, as ``make bench`` runs large."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.packaging.tree import TOP
from tests.simulator.gateways import Faults, Gateways
from tests.simulator.run import ROUNDS_PER_POLL, Simulation
from tests.simulator.scenarios import SCENARIOS, failing, healthy, play

DEVICES = 2_000


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_to_come_of_it_does(name: str) -> None:
    outcome = play(name, DEVICES, seed=1)
    assert outcome.started <= DEVICES
    assert outcome.simulated_days > 1
    if name.startswith("30") and outcome.state == "paused":
        # The canaries alone, and not all of them.
        assert outcome.started == DEVICES // 20
        assert outcome.failed + outcome.timed_out < DEVICES // 40


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    runs = [play("30-percent-fail", DEVICES, seed) for seed in (1, 1, 2)]
    told = [(run.confirmed, run.failed, run.reports, run.log) for run in runs]
    assert told[0] == told[1]
    assert told[0] != told[2]


def _fleet(faults: Faults) -> Simulation:
    return Simulation(Gateways(DEVICES, 1, ROUNDS_PER_POLL), faults)


def test_what_it_expects_can_fail() -> None:
    with pytest.raises(AssertionError):
        failing(_fleet(Faults()))
    with pytest.raises(AssertionError):
        healthy(_fleet(Faults(failing=3_000)))


def test_the_command_says_what_it_left_out() -> None:
    words = ["--devices", "1000", "--only", "30-percent-silent", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulator", *words],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["outcome"], said["devices"]) == ("done", 1000)
    assert said["left_out"].startswith("left out: SQL")
    assert [one["state"] for one in said["scenarios"]] == ["paused"]
