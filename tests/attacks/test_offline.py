"""Whoever holds keys that people keep offline: below the threshold nothing, at it their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from securesystemslib.signer import Signer
from tuf.api.metadata import DelegatedRole, Delegations, Root, Targets

from interlock_core.errors import Exit
from interlock_core.names import ROSTER_PATH
from interlock_core.tuf_metadata import set_issued
from tests.attacks.simulator import IMAGE, WARDS, Simulator
from tests.client.world import PRODUCT, new_keys


def serve(sim: Simulator, role: str, signed: Targets, keys: list[Any]) -> None:
    """Show metadata of an offline role; the attacker has the online keys too."""
    data = sim.world.signed(signed, keys)
    sim.sign_snapshot({role: signed.version})
    sim.web.answer(f"/image/metadata/{signed.version}.{role}.json", data)


def role(sim: Simulator, version: int = 9) -> Targets:
    return Targets(version=version, expires=sim.world.clock() + timedelta(days=90))


class TestProduct:
    @pytest.mark.parametrize("keys", [0, 1])
    def test_below_the_threshold(self, sim: Simulator, keys: int) -> None:
        sim.world.roll_out(sim.release())
        serve(sim, PRODUCT, role(sim), sim.world.product_keys[PRODUCT][:keys])
        sim.refuses("untrusted_metadata")

    def test_one_key_twice(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        one = sim.world.product_keys[PRODUCT][0]
        serve(sim, PRODUCT, role(sim), [one, one])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("other", ["targets", "interlock"])
    def test_at_the_threshold_no_other_role(self, sim: Simulator, other: str) -> None:
        serve(sim, other, role(sim), sim.world.product_keys[PRODUCT])
        sim.refuses("untrusted_metadata")

    def test_nor_the_roster_by_its_path(self, sim: Simulator) -> None:
        """The product's role lists a roster of its own: nobody looks for it there."""
        rollout = sim.world.roll_out(sim.release())
        targets = {one.path: one.info for one in sim.world.releases}
        roster = sim.world.image.stored.published_targets("interlock")
        assert roster is not None
        sim.world.put_role(PRODUCT, {**targets, ROSTER_PATH: sim.world.releases[0].info})
        sim.world.image.publish()
        sim.show(rollout)
        assert sim.bed.check().outcome == "update_available"
        assert sim.bed.memory.roster_seq == 1

    def test_nor_a_further_delegation(self, sim: Simulator) -> None:
        """A diamond: two roles for one path, or one below another."""
        rollout = sim.world.roll_out(sim.release())
        further = role(sim)
        evil = DelegatedRole("evil", [], 1, True, [f"{PRODUCT}/*/*"])
        further.delegations = Delegations({}, {"evil": evil})
        further.add_key(sim.world.product_keys[PRODUCT][0].public_key, "evil")
        further.targets = {one.path: one.info for one in rollout.releases}
        serve(sim, PRODUCT, further, sim.world.product_keys[PRODUCT])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("custom", ["text", 5, True, ["a"], [["a", "b"]], {"a": 1}, None])
    def test_facts_that_are_none(self, sim: Simulator, custom: object) -> None:
        release = sim.release()
        release.info.unrecognized_fields["custom"] = custom
        sim.world.put_role(PRODUCT, {release.path: release.info})
        sim.world.image.publish()
        sim.world.roll_out(release)
        outcome = sim.bed.update()
        assert (outcome.reason, outcome.exit_code) == ("order_mismatch", Exit.REFUSED)

    def test_an_issue_time_after_its_own_expiry(self, sim: Simulator) -> None:
        """It would push the clock's floor so far that nothing is ever fresh again."""
        release = sim.release()
        sim.world.roll_out(release)
        late = role(sim)
        late.targets = {release.path: release.info}
        set_issued(late, datetime(9000, 1, 1, tzinfo=UTC))
        serve(sim, PRODUCT, late, sim.world.product_keys[PRODUCT])
        sim.refuses("malformed")


class TestTargets:
    @pytest.mark.parametrize(
        "delegate",
        [
            DelegatedRole("evil", [], 1, False, ["evil/*/*"]),
            DelegatedRole("evil", [], 1, True, ["*/*/*"]),
            DelegatedRole("evil", [], 1, True, ["interlock/*"]),
            DelegatedRole("Evil", [], 1, True, ["Evil/*/*"]),
            DelegatedRole("snapshot-2", [], 2, True, ["snapshot-2/*/*"]),
        ],
        ids=["not-terminating", "everything", "the-roster", "name", "impossible"],
    )
    def test_another_shape_of_delegations(self, sim: Simulator, delegate: DelegatedRole) -> None:
        """Even signed by the threshold: then somebody was talked into it."""
        current = sim.world.image.stored.published_targets()
        assert current is not None
        current.signed.version += 1
        assert current.signed.delegations is not None
        assert current.signed.delegations.roles is not None
        current.signed.delegations.roles = {delegate.name: delegate} | dict(
            current.signed.delegations.roles
        )
        current.signed.add_key(new_keys(1)[0].public_key, delegate.name)
        serve(sim, "targets", current.signed, sim.world.targets_keys)
        sim.refuses("untrusted_metadata")

    def test_a_target_of_its_own(self, sim: Simulator) -> None:
        current = sim.world.image.stored.published_targets()
        assert current is not None
        current.signed.version += 1
        release = sim.release()
        current.signed.targets = {release.path: release.info}
        serve(sim, "targets", current.signed, sim.world.targets_keys)
        sim.refuses("untrusted_metadata")


class TestRoots:
    def serve(self, sim: Simulator, root: Root, keys: list[Signer], version: int = 2) -> None:
        sim.lie(f"/image/metadata/{version}.root.json", sim.world.signed(root, keys))

    def test_below_the_threshold(self, sim: Simulator) -> None:
        self.serve(sim, sim.world.image_root_role(2), [*sim.world.root_keys[:1]])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("side", ["old", "new"])
    def test_one_of_the_two_thresholds(self, sim: Simulator, side: str) -> None:
        old, new = sim.world.root_keys, new_keys(2)
        sim.world.root_keys = new
        root = sim.world.image_root_role(2)
        sim.world.root_keys = old
        self.serve(sim, root, [*(old if side == "old" else new)])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("version", [1, 3])
    def test_a_version_skipped_or_again(self, sim: Simulator, version: int) -> None:
        root = sim.world.image_root_role(version)
        self.serve(sim, root, [*sim.world.root_keys])
        # A version that does not follow is no successor of the one that is trusted.
        sim.refuses("rollback")

    def test_one_key_under_two_ids(self, sim: Simulator) -> None:
        root = sim.world.image_root_role(2)
        key = sim.world.targets_keys[0].public_key
        twin = type(key).from_dict("ab" * 32, key.to_dict())
        root.keys[twin.keyid] = twin
        root.roles["targets"].keyids.append(twin.keyid)
        self.serve(sim, root, [*sim.world.root_keys])
        # It was signed by the threshold, so nothing that only trusts the root can undo it.
        with sim.unchanged():
            assert sim.bed.update().reason == "untrusted_metadata"
        sim.recovers()

    def test_another_repositorys_root(self, sim: Simulator) -> None:
        self.serve(sim, sim.world.director_root_role(2), [*sim.world.root_keys])
        sim.web.rewrite("/image/metadata/timestamp", "/director/wards/metadata/timestamp")
        with sim.unchanged():
            assert sim.bed.update().exit_code is Exit.REFUSED


def test_the_threshold_of_rosters_signs_no_image(sim: Simulator) -> None:
    release = sim.release()
    sim.world.roll_out(release)
    forged = role(sim)
    forged.targets = {release.path: release.info}
    serve(sim, PRODUCT, forged, sim.world.roster_keys)
    sim.refuses("untrusted_metadata")
    assert sim.bed.slot("b") != IMAGE
    assert sim.bed.settings.cohort == WARDS
