"""The whole way of an image: poll, decide, write, wait, last moment, reboot, confirm, roll back."""

from __future__ import annotations

from tests.client.bed import FACTORY, Bed
from tests.client.web import Web
from tests.client.world import World

OLD = b"release one " * 5000
NEW = b"release two " * 6000


def test_a_release_reaches_the_gateway(world: World, web: Web, bed: Bed) -> None:
    release = world.release("1.0.0", NEW)
    rollout = world.roll_out(release)

    outcome = bed.update()
    assert (outcome.outcome, outcome.exit_code) == ("rebooting", 0)
    assert bed.wants_reboot
    assert bed.slot("a") == FACTORY
    assert bed.slot("b") == NEW
    assert bed.memory.highest_confirmed_counter == 0, "nothing rises before it is confirmed"

    assert bed.power_on() == "b"
    confirmed = bed.confirm()
    assert (confirmed.outcome, confirmed.exit_code) == ("confirmed", 0)
    assert bed.memory.highest_confirmed_counter == 1
    assert bed.memory.slots["b"].order == rollout.order.id
    assert bed.power_on() == "b", "a committed slot boots by itself"
    assert bed.check().reason == "already_installed"
    assert bed.confirm().outcome == "nothing_to_do"
