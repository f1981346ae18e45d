"""Rosters that an attacker freezes, rolls back or replays, and people whom one has dropped."""

from __future__ import annotations

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner

from interlock_core.keybytes import PublicKey
from interlock_core.names import ROSTER_PATH
from interlock_core.roster import Person
from tests.attacks.simulator import OPERATOR, WARDS, Simulator
from tests.client.world import APPROVERS, NOW


class TestRosters:
    def test_frozen(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.world.clock.pass_(days=36)
        sim.world.refresh()
        sim.refuses("roster_stale", online=True, mend=sim.roster)

    @pytest.mark.parametrize("rotated", [False, True])
    def test_rolled_back(self, sim: Simulator, rotated: bool) -> None:
        """Also after a rotation of online keys, at which TUF clients forget versions."""
        sim.roster()
        sim.world.roll_out(sim.release())
        sim.grants()
        if rotated:
            sim.rotate_online("image")
        sim.sign_snapshot({"interlock": 1})
        sim.refuses("rollback")

    def test_an_older_one_under_a_newer_number(self, sim: Simulator) -> None:
        """Its holders signed the role anew, and were given an old list to sign."""
        sim.world.roll_out(sim.release())
        old = sim.published("interlock").targets[ROSTER_PATH]
        sim.roster()
        sim.grants()
        sim.world.put_role("interlock", {ROSTER_PATH: old})
        sim.world.image.publish()
        sim.world.bundle(WARDS)
        sim.refuses("rollback", mend=sim.roster)

    @pytest.mark.parametrize("who", [OPERATOR, *APPROVERS])
    def test_somebody_who_was_revoked(self, sim: Simulator, who: str) -> None:
        """Orders in flight die with those who signed them."""
        rollout = sim.world.roll_out(sim.release())
        sim.roster_without(who)
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True, mend=sim.roster)

    @pytest.mark.parametrize("who", [OPERATOR, *APPROVERS])
    def test_somebody_whose_grant_ended(self, sim: Simulator, who: str) -> None:
        rollout = sim.world.roll_out(sim.release())
        sim.roster_with(ended(sim.person(who)))
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True, mend=sim.roster)

    @pytest.mark.parametrize("who", [OPERATOR, *APPROVERS])
    def test_somebody_whose_grant_is_for_elsewhere(self, sim: Simulator, who: str) -> None:
        rollout = sim.world.roll_out(sim.release())
        sim.roster_with(elsewhere(sim.person(who)))
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True, mend=sim.roster)

    def test_somebody_whose_key_was_replaced(self, sim: Simulator) -> None:
        """What the stolen key signs after that is nobody's."""
        rollout = sim.world.roll_out(sim.release())
        new = PublicKey.of(CryptoSigner.generate_ed25519().public_key)
        sim.roster_with(msgspec.structs.replace(sim.person(OPERATOR), keys=(new,)))
        sim.show(rollout)
        sim.refuses("unauthorised_rollout", online=True, mend=sim.roster)


def ended(person: Person) -> Person:
    """With grants that expire now."""
    grants = (msgspec.structs.replace(grant, expires=NOW) for grant in person.grants)
    return msgspec.structs.replace(person, grants=tuple(grants))


def elsewhere(person: Person) -> Person:
    """With grants over another cohort."""
    grants = (msgspec.structs.replace(grant, cohorts=("other",)) for grant in person.grants)
    return msgspec.structs.replace(person, grants=tuple(grants))
