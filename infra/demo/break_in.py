"""The chapter in which an attacker owns the server: everything he might try, and its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from infra.demo.attacker import Attacker
from infra.demo.cast import APPROVERS, CANARY, PROPOSER, WARDS
from infra.demo.firmware import Firmware
from infra.demo.fleet import Fleet
from infra.demo.gateways import PRODUCT, Gateway
from infra.demo.stage import together
from infra.demo.story import Story
from interlock_core.order import Target

EVIL: Final = b"evil"


def break_in(story: Story, fleet: Fleet, old: Firmware) -> None:
    """Five attempts with every online key, five refusals; then the server is cleaned up.

    Args:
        story: whose server.
        fleet: its gateways: the first canary waits for a patient, the wards' stage is not open.
        old: the release that he wants back.

    Raises:
        StoryError: a gateway did not refuse by that name.
    """
    say = story.stage.say
    attacker, canary, ward = story.attacker(), fleet.of(CANARY)[0], fleet.of(WARDS)[0]
    attempts: tuple[tuple[str, Callable[[], None], Gateway, str], ...] = (
        (
            "he opens stage 1 himself",
            partial(attacker.opens_stage, 1, seen_by=CANARY, victim=WARDS),
            ward,
            "stage_not_open",
        ),
        (
            "he orders release 1 back, with everybody's name under it",
            partial(_orders_back, attacker, old),
            ward,
            "unauthorised_rollout",
        ),
        (
            "he shows the wards the canaries' director",
            partial(attacker.shows_director_of, CANARY, victim=WARDS),
            ward,
            "wrong_cohort",
        ),
        (
            "he puts other bytes under the path that was ordered",
            partial(attacker.swaps_image, EVIL, victim=CANARY),
            canary,
            "repositories_disagree",
        ),
        (
            "he takes release 2 back",
            partial(attacker.takes_back_release, to_version=1),
            ward,
            "rollback",
        ),
    )
    for what, act, victim, reason in attempts:
        act()
        victim.looks("refused", reason)
        fleet.tally.refused[reason] += 1
        say(f"{what}; {victim.name} refuses: {reason}")
    story.refresh()
    together(
        lambda: canary.looks("deferred", "interlock_not_clear"),
        lambda: ward.looks("deferred", "not_in_stage"),
    )
    say("the server is cleaned up, and the next honest checks are as if nothing had been")


def _orders_back(attacker: Attacker, old: Firmware) -> None:
    path = f"{PRODUCT}/{old.version}/firmware.img"
    target = Target(path=path, length=old.length, sha256=old.sha256)
    attacker.orders(target, by=PROPOSER, words=APPROVERS, victim=WARDS)
