"""The last chapters: a release is taken back until everybody is accounted for; an audit."""

from __future__ import annotations

import shutil
from typing import Final

from infra.demo.cast import APPROVERS, CANARY, PROPOSER, WARDS
from infra.demo.firmware import Firmware
from infra.demo.fleet import Fleet
from infra.demo.stage import StoryError
from infra.demo.story import Story

ENTRIES: Final = "entries.jsonl"


def recall(story: Story, fleet: Fleet, *, bad: Firmware, safe: Firmware) -> None:
    """A release is recalled, and the recall stays open until each gateway has a disposition.

    Args:
        story: whose people.
        fleet: its gateways: all but the second canary run ``bad``.
        bad: the release that is taken back.
        safe: the one to return to.

    Raises:
        StoryError: a gateway does not come back, or the recall is not closed.
    """
    say, people = story.stage.say, story.operators
    rolled_back, (*wards, gone) = fleet.of(CANARY)[1], fleet.of(WARDS)
    gone.switch_off()
    say(f"{gone.name} was taken out of its ward, and is off")
    order, affected = people.recall(bad, safe)
    say(f"{PROPOSER} recalled release 2: one signature stopped what installs it; by their own")
    say(f"signed reports {affected['open_by']['runs']} gateways run it")
    people.authorise(order)
    people.authorise("--go", people.start(order))
    say(f"{' and '.join(APPROVERS)} authorised the way back")
    fleet.install([fleet.of(CANARY)[0], *wards], safe)
    rolled_back.looks("nothing_to_do")
    left = people.recall_stands(order, closed=False)["gateways"]
    names = [one["device"] for one in left if one["standing"] == "open"]
    if names != [gone.name]:
        raise StoryError(f"the recall should be open for {gone.name} alone: {left}")
    say(f"all that are on returned to release 1; the recall stays open for {gone.name}")
    people.returned(order, gone)
    counts = people.recall_stands(order, closed=True)["counts"]
    fleet.tally.recall = "closed"
    told = ", ".join(f"{number} {standing}" for standing, number in counts.items())
    say(f"{PROPOSER} signed that it came back to the depot: closed ({told})")


def audit(story: Story, fleet: Fleet, order: str) -> None:
    """The log verifies offline, and one changed byte is found and named.

    Args:
        story: whose log.
        fleet: whose tally notes how long the log is.
        order: the order of a rollout, in whose entry the byte is changed.

    Raises:
        StoryError: a verdict is another one.
    """
    say, people = story.stage.say, story.operators
    exported = people.export_log()
    fleet.tally.log_entries = people.verify_log(exported)["size"]
    say(
        f"{fleet.tally.log_entries} entries: everything that anybody signed, and what became of it;"
    )
    say("they verify offline, against a checkpoint, with the log's key and nothing else")
    forged = exported.with_name("audit-forged")
    shutil.copytree(exported, forged)
    entries = (forged / ENTRIES).read_text()
    (forged / ENTRIES).write_text(entries.replace(order, order[::-1], 1))
    found = people.verify_log(forged, expect=20)["findings"][0]
    if found["reason"] != "edited_entry":
        raise StoryError(f"the log was edited, and the verdict is {found}")
    say(f"somebody edits one: {found['reason']}, entry {found['number']}")
