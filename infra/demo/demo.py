"""``make demo``: two releases of real firmware, eight gateways, a monitor, an attacker, a recall.

The story goes to standard output and ends with one JSON object; the exit code is 0 only if every
step held. ``OLD=path NEW=path`` gives images of one's own, ``KEEP=dir`` keeps everything. So that
it can be told in order, each gateway's daemon looks for updates when the story nudges it (SIGUSR1),
where others look every quarter of an hour.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from infra.demo.break_in import break_in
from infra.demo.cast import (
    APPROVERS,
    CANARY,
    ENGINEER,
    KEY_HOLDERS,
    MONITOR,
    PLACES,
    PROPOSER,
    RELEASE_MANAGERS,
    ROSTER_HOLDERS,
    WARDS,
)
from infra.demo.ending import audit, recall
from infra.demo.firmware import Firmware, obtain
from infra.demo.fleet import Fleet
from infra.demo.gateways import PRODUCT
from infra.demo.monitor import Alert
from infra.demo.stage import Stage, StoryError, background, together
from infra.demo.story import Story
from interlock_core.errors import InterlockError

ROOT: Final = Path(__file__).resolve().parents[2]


def main() -> int:
    """Play the story."""
    signal.signal(signal.SIGTERM, _interrupted)
    with ExitStack() as stack:
        place = _place(stack)
        try:
            images = obtain(ROOT / "build", _given("OLD"), _given("NEW"))
            stage = Stage(place, terminal=sys.stdout.isatty())
            stack.callback(stage.close)
            result = Demo(stage, *images).play()
        except (StoryError, InterlockError) as e:
            print(f"The demo failed: {e}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Interrupted: everything that was started has been ended.", file=sys.stderr)
            return 130
        print(json.dumps(result))
    return 0


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _given(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


def _place(stack: ExitStack) -> Path:
    keep = _given("KEEP")
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-demo-")))
    if keep.exists() and any(keep.iterdir()):
        print(f"KEEP={keep} is not empty: name a new directory.", file=sys.stderr)
        raise SystemExit(2)
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()


class Demo:
    """The chapters, in order.

    Args:
        stage: where it is played.
        old: the first release.
        new: the second.
    """

    def __init__(self, stage: Stage, old: Firmware, new: Firmware) -> None:
        self.stage, self.say = stage, stage.say
        self.old, self.new = old, new
        self.story, self.fleet = Story(stage), Fleet(stage)
        self.people = self.story.operators

    def play(self) -> dict[str, Any]:
        """All of it; returns the last line.

        Raises:
            StoryError: a step did not go as it must.
        """
        self.found()
        self.enrol()
        with background(self.release_2):
            self.rollout_1()
        order = self.rollout_2_begins()
        self.stage.chapter("An attacker owns the server, with every online key")
        break_in(self.story, self.fleet, self.old)
        self.rollout_2_completes(order)
        self.stage.chapter("Release 2 is recalled")
        recall(self.story, self.fleet, bad=self.new, safe=self.old)
        self.stage.chapter("An auditor reads the log")
        audit(self.story, self.fleet, order)
        tally = self.fleet.tally
        return {
            "demo": "ok",
            "seconds": round(self.stage.seconds(), 1),
            "gateways": len(self.fleet.gateways),
            "confirmed": tally.confirmed,
            "deferred": tally.deferred,
            "rolled_back": tally.rolled_back,
            "paused_by": tally.paused_by,
            "refused": dict(tally.refused),
            "recall": tally.recall,
            "log_entries": tally.log_entries,
        }

    def found(self) -> None:
        """Keys, a ceremony, a server, delegations, the roster, the first release, the monitor."""
        self.stage.chapter("A fleet is founded")
        story, say = self.story, self.say
        story.hold_ceremony()
        say(f"{', '.join(KEY_HOLDERS)} held a ceremony: two roots, 2 of 3 each, offline")
        story.start_server([CANARY, WARDS])
        say(f"the server runs at {story.url}; it holds online keys only")
        say(f"{PRODUCT} is delegated to {' and '.join(RELEASE_MANAGERS)}, both must sign")
        together(story.publish_roster, lambda: story.sign_release(self.old, counter=1))
        say(f"{' and '.join(ROSTER_HOLDERS)} signed the roster of those who run the fleet")
        self.monitor = story.start_monitor()
        say(f"{MONITOR} is no person: the monitor runs, apart from the server, with its own key")
        say(f"{' and '.join(RELEASE_MANAGERS)} signed release 1, {self.old.version}, offline")

    def enrol(self) -> None:
        """Eight gateways ask to be let in, and two people let them."""
        self.stage.chapter("Eight gateways are built in")
        story, say = self.story, self.say
        built = [story.build_in(name, place) for name, place in PLACES.items()]
        self.fleet.gateways = {gateway.name: gateway for gateway in built}
        together(
            lambda: self.people.claim(PLACES),
            lambda: story.publish_release(self.old),
        )
        say(f"release 1, {self.old.source_package}, {self.old.length:,} bytes: published")
        together(*(partial(story.enrol, gateway) for gateway in built))
        self.people.countersign()
        say(f"each asked once, with a key of its own; {ENGINEER} let in his hospital's gateways,")
        say(f"and {PROPOSER} the others")
        for gateway in built:
            gateway.switch_on(self.stage)
        self.fleet.each(built, "nothing_to_do", "nothing_wanted", look=False)
        say("all eight run; release 1 is published, nobody ordered it, and nobody installs it")

    def rollout_1(self) -> None:
        """Release 1 reaches everybody, cohort by cohort; the monitor opens the wards' stage."""
        self.stage.chapter("Rollout 1")
        fleet, order = self.fleet, self._start(self.old, gate="auto")
        fleet.of(WARDS)[0].looks("deferred", "not_in_stage")
        fleet.install(fleet.of(CANARY), self.old)
        opened = self.monitor.until("stage_opened", order)
        self.say(f"the monitor opened the wards' stage: {_said(opened)}")
        fleet.install(fleet.of(WARDS), self.old)
        self.people.watch(order)
        self.say("the wards followed: all eight confirmed, and the rollout is finished")

    def release_2(self) -> None:
        """Meanwhile, elsewhere."""
        self.story.sign_release(self.new, counter=2)
        self.story.publish_release(self.new)

    def rollout_2_begins(self) -> str:
        """One canary waits for a patient, the other rolls back, and the monitor pulls the brake."""
        self.stage.chapter("Rollout 2")
        say, tally, (waiting, failing) = self.say, self.fleet.tally, self.fleet.of(CANARY)
        say(f"release 2, {self.new.source_package}, {self.new.length:,} bytes: signed, published")
        waiting.use(by_patient=True)
        failing.suffers_from(self.new)
        order = self._start(self.new, gate="manual")
        together(
            lambda: waiting.looks("deferred", "interlock_not_clear"),
            lambda: failing.looks("rolled_back", "health_check_failed"),
        )
        tally.deferred += 1
        tally.rolled_back += 1
        failing.until("refused", "rolled_back_here")
        failing.must_run(self.old)
        say(f"{waiting.name} has the image, and waits: a patient depends on it")
        say(f"{failing.name} installed it, its ward's application failed, and it rolled back")
        self._paused(order)
        waiting.use(by_patient=False)
        waiting.looks("refused", "stopped")
        say(f"{waiting.name} is free now, and does not install")
        waiting.use(by_patient=True)
        self.people.authorise("--go", self.people.resume(order))
        waiting.looks("deferred", "interlock_not_clear")
        say(f"the fault was {failing.name}'s own: {' and '.join(APPROVERS)} resumed it")
        say(f"with {PROPOSER}, which no monitor could")
        return order

    def _paused(self, order: str) -> None:
        stopped = self.monitor.until("stop_signed", order)
        stoppers = self.people.stopped_by(order)
        if stoppers != {MONITOR}:
            raise StoryError(f"the stops that stand are by {stoppers}, not by {MONITOR}")
        self.fleet.tally.paused_by = "monitor"
        self.say(f"the monitor stopped the rollout by itself: {_said(stopped)}")

    def rollout_2_completes(self, order: str) -> None:
        """The patient leaves; the wards follow; the reports agree."""
        self.stage.chapter("Rollout 2 completes")
        fleet, (waiting, failing) = self.fleet, self.fleet.of(CANARY)
        waiting.use(by_patient=False)
        together(
            lambda: self.people.authorise("--go", self.people.advance(order)),
            lambda: fleet.install([waiting], self.new),
        )
        self.say(f"no patient depends on {waiting.name} any more: it installed and confirmed")
        fleet.install(fleet.of(WARDS), self.new)
        failing.looks("refused", "rolled_back_here")
        self.say(f"people opened the wards' stage, and the wards followed; {failing.name} keeps")
        self.say("what works there")
        self._check_reports()
        self.people.watch(order)
        self.say("the server counted the same: the rollout is finished")

    def _start(self, firmware: Firmware, *, gate: str) -> str:
        people = self.people
        order = people.propose(firmware, gate=gate)
        _, go = together(lambda: people.authorise(order), lambda: people.start(order))
        people.authorise("--go", str(go))
        self.say(f"{PROPOSER} proposed order {order[:12]}: canaries first, then the wards;")
        self.say(f"{' and '.join(APPROVERS)} authorised it, and the opening of stage 0")
        return order

    def _check_reports(self) -> None:
        listed = {device["device"]: device for device in self.people.devices()}
        for gateway in self.fleet.gateways.values():
            wanted = self.old if gateway is self.fleet.of(CANARY)[1] else self.new
            found = listed.get(gateway.name, {})
            running = found.get("running") or {}
            if running.get("sha256") != wanted.sha256 or found["faults"]:
                raise StoryError(f"{gateway.name} reports otherwise than it runs: {found}")
        self.say("the reports that the devices signed say the same: 7 of 8 run release 2")


def _said(alert: Alert) -> str:
    """What the monitor signed as its reason."""
    _, _, reason = str(alert["detail"]).partition(": ")
    return reason


if __name__ == "__main__":
    sys.exit(main())
