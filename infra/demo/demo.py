"""``make demo``: one release of real firmware reaches two gateways, and an attacker is refused.

The story goes to standard output and ends with one JSON object; the exit code is 0 only if every
step held. ``OLD=path NEW=path`` gives images of one's own, ``KEEP=dir`` keeps everything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from infra.demo.firmware import Firmware, obtain
from infra.demo.stage import Stage, StoryError
from infra.demo.story import (
    APPROVERS,
    CANARY,
    KEY_HOLDERS,
    PRODUCT,
    PROPOSER,
    RELEASE_MANAGERS,
    ROSTER_HOLDERS,
    WARDS,
    Gateway,
    Story,
    together,
)
from interlock_core.errors import InterlockError

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass
class Tally:
    """What happened, counted from what the gateways themselves said."""

    confirmed: int = 0
    deferred: int = 0
    rolled_back: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def update(self, gateway: Gateway, *, expect: int, reason: str | None = None) -> str:
        """Let a gateway update, count how it ended, and hold it against what must happen.

        Raises:
            StoryError: it ended otherwise.
        """
        said = gateway.tell("update")
        first, last = said[0], said[-1]
        why = first["answer"].get("reason", "")
        if first["code"] != expect or (reason is not None and why != reason):
            raise StoryError(f"{gateway.name}: expected {expect} {reason or ''}, got {said}")
        if expect == 10:
            self.deferred += 1
        elif expect == 20:
            self.refused[why] += 1
        elif last["command"] == "confirm":
            if last["code"] != 0:
                raise StoryError(f"{gateway.name} did not confirm: {said}")
            self.confirmed += 1
        return str(why)


def main() -> int:
    """Play the story."""
    signal.signal(signal.SIGTERM, _interrupted)
    with ExitStack() as stack:
        place = _place(stack)
        stage = Stage(place, terminal=sys.stdout.isatty())
        stack.callback(stage.close)
        try:
            old, _ = obtain(ROOT / "build", _given("OLD"), _given("NEW"))
            tally = _play(stage, old)
        except (StoryError, InterlockError) as e:
            print(f"The demo failed: {e}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Interrupted: everything that was started has been ended.", file=sys.stderr)
            return 130
        print(json.dumps(_result(stage, tally)))
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


def _play(stage: Stage, firmware: Firmware) -> Tally:
    story, tally = Story(stage), Tally()
    say = stage.say

    stage.chapter("A fleet is founded")
    story.hold_ceremony()
    say(f"{', '.join(KEY_HOLDERS)} held a ceremony: two roots, 2 of 3 each, offline")
    story.start_server([CANARY, WARDS])
    say(f"the server runs at {story.url}; it holds online keys only")
    say(f"{PRODUCT} is delegated to {' and '.join(RELEASE_MANAGERS)}, both must sign")
    together(story.publish_roster, lambda: story.sign_release(firmware, counter=1))
    say(f"{' and '.join(ROSTER_HOLDERS)} signed the roster of those who run the fleet")
    say(f"{' and '.join(RELEASE_MANAGERS)} signed release 1, offline")

    stage.chapter("Two gateways are built in")
    canary, ward = together(
        lambda: story.build_in("gw-canary", CANARY), lambda: story.build_in("gw-ward", WARDS)
    )
    say("gw-canary (cohort canary) and gw-ward (cohort wards) run; nothing is wanted yet")
    together(
        lambda: tally.update(canary, expect=0, reason="nothing_wanted"),
        lambda: tally.update(ward, expect=0, reason="nothing_wanted"),
    )

    stage.chapter("A release")
    story.publish_release(firmware)
    say(f"{firmware.source_package}, {firmware.length:,} bytes: published")
    tally.update(canary, expect=0, reason="nothing_wanted")
    say("no gateway moves: it is released, but nobody has ordered it")

    stage.chapter("A rollout")
    order = story.propose(firmware)
    say(f"{PROPOSER} proposed order {order[:12]}: canary first, then the wards")
    _, go = together(lambda: story.authorise(order), lambda: story.start(order))
    story.authorise("--go", str(go))
    say(f"{' and '.join(APPROVERS)} authorised it, and the opening of stage 0")
    canary.use(by_patient=True)
    tally.update(canary, expect=10, reason="interlock_not_clear")
    say("gw-canary has the image, and waits: a patient depends on it")
    canary.use(by_patient=False)
    tally.update(canary, expect=0)
    say("now is safe: gw-canary installed it, rebooted, passed its health checks and confirmed")
    tally.update(ward, expect=10, reason="not_in_stage")
    say("gw-ward waits: nobody has opened stage 1")

    stage.chapter("An attacker owns the server, with every online key")
    story.attacker().opens_stage(1, product=PRODUCT, seen_by=CANARY, victim=WARDS)
    reason = tally.update(ward, expect=20, reason="stage_not_open")
    say(f"he opens stage 1 himself; gw-ward refuses: {reason}")
    story.refresh()
    tally.update(ward, expect=10, reason="not_in_stage")
    say("the server is cleaned up, and gw-ward's next honest check is as if nothing had been")

    stage.chapter("The rollout completes")
    story.authorise("--go", story.advance(order))
    tally.update(ward, expect=0)
    say("two people authorised stage 1: gw-ward installed and confirmed")
    together(
        lambda: tally.update(canary, expect=0, reason="already_installed"),
        lambda: tally.update(ward, expect=0, reason="already_installed"),
    )
    for gateway in (canary, ward):
        _must_run(gateway, firmware)
    return tally


def _must_run(gateway: Gateway, firmware: Firmware) -> None:
    slot = (gateway.home / "booted").read_text().strip()
    image = (gateway.home / "slots" / slot).read_bytes()[: firmware.length]
    if image != firmware.path.read_bytes():
        raise StoryError(f"{gateway.name} runs slot {slot}, which does not hold the release")


def _result(stage: Stage, tally: Tally) -> dict[str, Any]:
    return {
        "demo": "ok",
        "seconds": round(stage.seconds(), 1),
        "gateways": 2,
        "confirmed": tally.confirmed,
        "deferred": tally.deferred,
        "rolled_back": tally.rolled_back,
        "paused_by": None,
        "refused": dict(tally.refused),
    }


if __name__ == "__main__":
    sys.exit(main())
