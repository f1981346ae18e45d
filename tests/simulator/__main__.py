"""``python -m tests.simulator``: a fleet of virtual gateways under the real engine.

Examples:
    python -m tests.simulator
    python -m tests.simulator --devices 2000 --seed 7 --json
    python -m tests.simulator --only 30-percent-fail
"""

from __future__ import annotations

import argparse
import gc
import sys
from time import perf_counter, process_time

import msgspec

from tests.simulator.scenarios import LEFT_OUT, SCENARIOS, Outcome, play


def main() -> int:
    """Play the scenarios; exits 0 only if each came to what it is to."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator",
        description="Leads virtual gateways through rollouts, under the real engine.",
        epilog=LEFT_OUT,
    )
    parser.add_argument("--devices", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same run")
    parser.add_argument("--only", choices=list(SCENARIOS), help="one scenario instead of all")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    asked = parser.parse_args()
    if asked.devices < 1_000:
        parser.error("--devices: at least 1000, so that shares mean something")
    # What a run makes lives until it ends: looking for what could go costs a third of it.
    gc.disable()
    began, cpu_began = perf_counter(), process_time()
    outcomes: list[Outcome] = []
    for name in [asked.only] if asked.only else SCENARIOS:
        try:
            outcomes.append(play(name, asked.devices, asked.seed))
        except AssertionError as e:
            sys.stderr.write(f"{name}: it came to something else: {e}\n")
            return 1
        if not asked.json:
            _tell(outcomes[-1])
    seconds, cpu = round(perf_counter() - began, 2), round(process_time() - cpu_began, 2)
    if asked.json:
        said = {
            "outcome": "done",
            "reason": None,
            "devices": asked.devices,
            "seed": asked.seed,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "left_out": LEFT_OUT,
            "scenarios": outcomes,
        }
        sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    else:
        sys.stdout.write(
            f"{asked.devices} gateways, seed {asked.seed}: {seconds} s, of it {cpu} s of CPU; "
            f"{LEFT_OUT}\n"
        )
    return 0


def _tell(one: Outcome) -> None:
    why = f" ({one.why})" if one.why else ""
    sys.stdout.write(
        f"{one.name}: {one.state}{why} in stage {one.stages} of 4, after {one.simulated_days} days:"
        f" {one.started} started, {one.confirmed} confirmed, {one.failed} failed, {one.timed_out}"
        f" timed out; {one.reports} reports, {one.cpu_seconds} s of CPU\n"
    )


if __name__ == "__main__":
    sys.exit(main())
