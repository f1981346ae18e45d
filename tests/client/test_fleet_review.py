"""Attacks and accidents around a gateway's enrolment, its reports and its assignments."""

from __future__ import annotations

import pytest

from interlock_client import identity
from interlock_client.state import StateDir
from interlock_core.wire import encode
from tests.client.bed import Bed
from tests.client.fleet import SECRET, Fleet, problem
from tests.client.web import Handler, Web
from tests.client.world import World


class TestClock:
    def test_an_enrolment_that_was_dated_ahead_is_made_again_when_the_clock_is_right(
        self, world: World, bed: Bed, web: Web, fleet: Fleet
    ) -> None:
        right = world.clock.now

        def answer(handler: Handler) -> None:
            if handler.command == "POST":
                handler.say(*_refused("dated_in_future"))
            else:
                fleet.answer(handler)

        web.lies["/v1/"] = answer
        world.clock.now = right.replace(year=right.year + 3)
        assert bed.enrol().reason == "dated_in_future"
        world.clock.now = right
        fleet.answers(web)
        bed.power_on()
        assert bed.enrol().reason == "countersigned"
        (opened,) = fleet.enrolments.values()
        assert opened.said.at <= right

    def test_but_not_if_a_server_took_it(self, world: World, bed: Bed, fleet: Fleet) -> None:
        """Its clock was a little ahead: what was taken costs no second claim."""
        right = world.clock.now
        world.clock.pass_(hours=0.02)
        fleet.lose = 1
        assert bed.enrol().reason == "network"
        world.clock.now = right
        bed.power_on()
        assert bed.enrol().reason == "countersigned"
        assert len(fleet.enrolments) == 1


def _refused(reason: str) -> tuple[int, bytes]:
    status, said = problem(403, reason, "Mend the clock.")
    return status, encode(said)


class TestRotten:
    """What was begun and never taken must not stand in the way of the next attempt."""

    @pytest.mark.parametrize("name", ["identity.json", "device.key.pem"])
    def test_a_renewal_that_was_begun(self, bed: Bed, fleet: Fleet, name: str) -> None:
        bed.enrol()
        before = _home(bed)
        assert bed.enrol("A" * 40, renew=True).reason == "bad_claim"
        begun = identity.unfinished(StateDir(bed.home / "state"))
        assert begun is not None
        if name == "device.key.pem":
            begun.record.unlink()
        (begun.directory / name).write_bytes(b"rot")
        fleet.claims.add(SECRET)
        assert bed.enrol(renew=True).reason == "countersigned"
        assert _home(bed) not in {before, begun.directory.name}
        assert bed.report().reason == "acknowledged"


def _home(bed: Bed) -> str:
    return StateDir(bed.home / "state").identity.readlink().name
