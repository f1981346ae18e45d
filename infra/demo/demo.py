"""``make demo``: two releases of real firmware, eight gateways, and an attacker who is refused.

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
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from infra.demo.attacker import Attacker
from infra.demo.firmware import Firmware, obtain
from infra.demo.gateways import PRODUCT, Gateway
from infra.demo.stage import Stage, StoryError
from infra.demo.story import (
    APPROVERS,
    CANARY,
    ENGINEER,
    KEY_HOLDERS,
    PLACES,
    PROPOSER,
    RELEASE_MANAGERS,
    ROSTER_HOLDERS,
    WARDS,
    Story,
    background,
    together,
)
from interlock_core.errors import InterlockError
from interlock_core.order import Target

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass
class Tally:
    """What happened, counted from what the gateways themselves said.

    Attributes:
        confirmed: installations that passed their health checks.
        deferred: installations that waited for a patient.
        rolled_back: installations that did not stay.
        paused_by: in which role somebody paused a rollout.
        refused: what the attacker tried, by the name of the refusal.
    """

    confirmed: int = 0
    deferred: int = 0
    rolled_back: int = 0
    paused_by: str | None = None
    refused: Counter[str] = field(default_factory=Counter)


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
        self.story, self.tally = Story(stage), Tally()
        self.gateways: dict[str, Gateway] = {}

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
        self.break_in()
        self.rollout_2_completes(order)
        return {
            "demo": "ok",
            "seconds": round(self.stage.seconds(), 1),
            "gateways": len(self.gateways),
            "confirmed": self.tally.confirmed,
            "deferred": self.tally.deferred,
            "rolled_back": self.tally.rolled_back,
            "paused_by": self.tally.paused_by,
            "refused": dict(self.tally.refused),
        }

    def of(self, cohort: str) -> list[Gateway]:
        """The gateways of a cohort."""
        return [gateway for gateway in self.gateways.values() if gateway.place.cohort == cohort]

    def found(self) -> None:
        """Keys, a ceremony, a server, delegations, the roster, the first release."""
        self.stage.chapter("A fleet is founded")
        story, say = self.story, self.say
        story.hold_ceremony()
        say(f"{', '.join(KEY_HOLDERS)} held a ceremony: two roots, 2 of 3 each, offline")
        story.start_server([CANARY, WARDS])
        say(f"the server runs at {story.url}; it holds online keys only")
        say(f"{PRODUCT} is delegated to {' and '.join(RELEASE_MANAGERS)}, both must sign")
        together(story.publish_roster, lambda: story.sign_release(self.old, counter=1))
        say(f"{' and '.join(ROSTER_HOLDERS)} signed the roster of those who run the fleet")
        say(f"{' and '.join(RELEASE_MANAGERS)} signed release 1, {self.old.version}, offline")

    def enrol(self) -> None:
        """Eight gateways ask to be let in, and two people let them."""
        self.stage.chapter("Eight gateways are built in")
        story, say = self.story, self.say
        built = [story.build_in(name, place) for name, place in PLACES.items()]
        self.gateways = {gateway.name: gateway for gateway in built}
        together(
            lambda: story.claim(PLACES),
            lambda: story.publish_release(self.old),
        )
        say(f"release 1, {self.old.source_package}, {self.old.length:,} bytes: published")
        together(*(partial(story.enrol, gateway) for gateway in built))
        story.countersign()
        say(f"each asked once, with a key of its own; {ENGINEER} let in his hospital's gateways,")
        say(f"and {PROPOSER} the others")
        for gateway in built:
            gateway.switch_on(self.stage)
        self._each(built, "nothing_to_do", "nothing_wanted", look=False)
        say("all eight run; release 1 is published, nobody ordered it, and nobody installs it")

    def rollout_1(self) -> None:
        """Release 1 reaches everybody, cohort by cohort."""
        self.stage.chapter("Rollout 1")
        order = self._start(self.old)
        self._install(self.of(CANARY), self.old)
        self._each(self.of(WARDS)[:1], "deferred", "not_in_stage")
        self._advance(order)
        self._install(self.of(WARDS), self.old)
        self.say("the wards followed when two more signatures opened stage 1: all eight confirmed")

    def release_2(self) -> None:
        """Meanwhile, elsewhere."""
        self.story.sign_release(self.new, counter=2)
        self.story.publish_release(self.new)

    def rollout_2_begins(self) -> str:
        """One canary waits for a patient, the other rolls back, and somebody pulls the brake."""
        self.stage.chapter("Rollout 2")
        say, tally, (waiting, failing) = self.say, self.tally, self.of(CANARY)
        say(f"release 2, {self.new.source_package}, {self.new.length:,} bytes: signed, published")
        waiting.use(by_patient=True)
        failing.suffers_from(self.new)
        order = self._start(self.new)
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
        self.story.pause(order)
        tally.paused_by = "operator"
        waiting.use(by_patient=False)
        waiting.looks("refused", "stopped")
        say(f"{PROPOSER} paused the rollout with one signature: {waiting.name} is free now,")
        say("and does not install")
        waiting.use(by_patient=True)
        self.story.authorise("--go", self.story.resume(order))
        waiting.looks("deferred", "interlock_not_clear")
        say(f"the fault was {failing.name}'s own: {' and '.join(APPROVERS)} resumed it with her")
        return order

    def break_in(self) -> None:
        """Everything that whoever holds the server might try, and its name."""
        self.stage.chapter("An attacker owns the server, with every online key")
        attacker, canary, ward = self.story.attacker(), self.of(CANARY)[0], self.of(WARDS)[0]
        self._tries(
            "he opens stage 1 himself",
            lambda: attacker.opens_stage(1, seen_by=CANARY, victim=WARDS),
            ward,
            "stage_not_open",
        )
        self._tries(
            "he orders release 1 back, with everybody's name under it",
            lambda: self._orders_back(attacker),
            ward,
            "unauthorised_rollout",
        )
        self._tries(
            "he shows the wards the canaries' director",
            lambda: attacker.shows_director_of(CANARY, victim=WARDS),
            ward,
            "wrong_cohort",
        )
        self._tries(
            "he puts other bytes under the path that was ordered",
            lambda: attacker.swaps_image(b"evil", victim=CANARY),
            canary,
            "repositories_disagree",
        )
        self._tries(
            "he takes release 2 back",
            lambda: attacker.takes_back_release(to_version=1),
            ward,
            "rollback",
        )
        self.story.refresh()
        together(
            lambda: canary.looks("deferred", "interlock_not_clear"),
            lambda: ward.looks("deferred", "not_in_stage"),
        )
        self.say("the server is cleaned up, and the next honest checks are as if nothing had been")

    def _orders_back(self, attacker: Attacker) -> None:
        path = f"{PRODUCT}/{self.old.version}/firmware.img"
        target = Target(path=path, length=self.old.length, sha256=self.old.sha256)
        attacker.orders(target, by=PROPOSER, words=APPROVERS, victim=WARDS)

    def _tries(self, what: str, act: Any, victim: Gateway, reason: str) -> None:
        act()
        victim.looks("refused", reason)
        self.tally.refused[reason] += 1
        self.say(f"{what}; {victim.name} refuses: {reason}")

    def rollout_2_completes(self, order: str) -> None:
        """The patient leaves; the wards follow; the reports agree."""
        self.stage.chapter("Rollout 2 completes")
        waiting, failing = self.of(CANARY)
        waiting.use(by_patient=False)
        together(lambda: self._advance(order), lambda: self._install([waiting], self.new))
        self.say(f"no patient depends on {waiting.name} any more: it installed and confirmed")
        wards = self.of(WARDS)
        self._install(wards, self.new)
        failing.looks("refused", "rolled_back_here")
        self.say(f"the wards followed; {failing.name} keeps what works there")
        self._check_reports()

    def _start(self, firmware: Firmware) -> str:
        story = self.story
        order = story.propose(firmware)
        _, go = together(lambda: story.authorise(order), lambda: story.start(order))
        story.authorise("--go", str(go))
        self.say(f"{PROPOSER} proposed order {order[:12]}: canaries first, then the wards;")
        self.say(f"{' and '.join(APPROVERS)} authorised it, and the opening of stage 0")
        return order

    def _advance(self, order: str) -> None:
        self.story.authorise("--go", self.story.advance(order))

    def _install(self, gateways: Iterable[Gateway], firmware: Firmware) -> None:
        chosen = list(gateways)
        self._each(chosen, "confirmed")
        for gateway in chosen:
            gateway.must_run(firmware)
        self.tally.confirmed += len(chosen)

    def _each(
        self,
        gateways: Iterable[Gateway],
        outcome: str,
        reason: str | None = None,
        *,
        look: bool = True,
    ) -> None:
        """Let all of them look at once, and listen to each."""
        chosen = list(gateways)
        for gateway in chosen if look else ():
            gateway.look()
        for gateway in self.stage.watched(chosen, f"{outcome}?"):
            gateway.until(outcome, reason)

    def _check_reports(self) -> None:
        listed = {device["device"]: device for device in self.story.devices()}
        for gateway in self.gateways.values():
            wanted = self.old if gateway is self.of(CANARY)[1] else self.new
            found = listed.get(gateway.name, {})
            running = found.get("running") or {}
            if running.get("sha256") != wanted.sha256 or found["faults"]:
                raise StoryError(f"{gateway.name} reports otherwise than it runs: {found}")
        self.say("the reports that the devices signed say the same: 7 of 8 run release 2")


if __name__ == "__main__":
    sys.exit(main())
