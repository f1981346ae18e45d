"""Whoever holds keys that people keep offline: below the threshold nothing, at it their own.

The attacker has the online keys too: without them nothing that he signs is ever looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile

from interlock_core.errors import Exit
from interlock_core.names import ROSTER_PATH
from interlock_core.tuf_metadata import REHEARSAL, set_issued
from tests.attacks.online import HIGHEST
from tests.attacks.simulator import IMAGE, Simulator
from tests.client.world import PRODUCT, World, new_keys

OTHER = "pump"


class TestHybrid:
    """The product's role has three classical and three post-quantum keys, and asks for five."""

    @pytest.mark.parametrize("broken", ["classical", "post-quantum"])
    def test_one_family_alone(self, sim: Simulator, broken: str) -> None:
        """Whoever can forge every signature of one family lacks two people's."""
        classical, quantum = sim.hybrid(PRODUCT)
        sim.world.roll_out(sim.release())
        forged = classical if broken == "classical" else quantum
        sim.serve_role(PRODUCT, sim.role(), forged)
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("broken", ["classical", "post-quantum"])
    def test_one_family_and_one_person(self, sim: Simulator, broken: str) -> None:
        classical, quantum = sim.hybrid(PRODUCT)
        sim.world.roll_out(sim.release())
        keys = [*classical, quantum[0]] if broken == "classical" else [*quantum, classical[0]]
        sim.serve_role(PRODUCT, sim.role(), keys)
        sim.refuses("untrusted_metadata")

    def test_a_root_signed_by_one_family(self, sim: Simulator) -> None:
        classical, quantum = sim.hybrid_root()
        sim.says("nothing_wanted", Exit.DONE)
        for forged in (classical, quantum, [*classical, quantum[0]]):
            sim.web.lies.clear()
            sim.sign_root("image", sim.root("image", 3), forged)
            sim.says("untrusted_metadata")
        sim.refuses("untrusted_metadata")


class TestFastForward:
    """Whoever has every key of an offline role, and the online ones, drives it to the last version.

    People replace its keys, and ``image-online`` with them, since the snapshot names that version.
    """

    @pytest.mark.parametrize("role", ["targets", "interlock", PRODUCT])
    def test_it_is_recovered_from_by_other_keys(self, sim: Simulator, role: str) -> None:
        sim.world.roll_out(sim.release())
        sim.fast_forward_role(role)
        sim.grants()
        sim.web.lies.clear()
        sim.show(sim.world.roll_out(sim.release("2.0.0")))
        sim.says("rollback")
        sim.replace_holders(role)
        sim.grants()

    @pytest.mark.parametrize("role", ["targets", "interlock", PRODUCT])
    def test_the_version_that_recovers_is_the_next_one(self, sim: Simulator, role: str) -> None:
        """No version is left out for it, here or at any publisher (ADR 0007)."""
        sim.world.roll_out(sim.release())
        sim.fast_forward_role(role)
        sim.grants()
        sim.web.lies.clear()
        assert sim.bed.memory.versions[f"image/{role}"] == HIGHEST
        before = sim.published(role).version
        sim.replace_holders(role)
        sim.grants()
        assert sim.bed.memory.versions[f"image/{role}"] == before + 1

    @pytest.mark.parametrize("role", ["targets", "interlock"])
    def test_other_online_keys_alone_do_not_help(self, sim: Simulator, role: str) -> None:
        """The floor stands while those who were robbed may still sign."""
        sim.fast_forward_role(role)
        sim.says("nothing_wanted", Exit.DONE)
        sim.web.lies.clear()
        sim.rotate_online("image")
        sim.refuses("rollback", mend=lambda: sim.replace_holders(role))

    @pytest.mark.parametrize("role", ["targets", "interlock"])
    def test_what_the_old_keys_sign_then(self, sim: Simulator, role: str) -> None:
        keys = {"targets": sim.world.targets_keys, "interlock": sim.world.roster_keys}[role]
        sim.replace_holders(role)
        sim.says("nothing_wanted", Exit.DONE)
        stolen = sim.published(role)
        stolen.version = HIGHEST
        sim.serve_role(role, stolen, keys)
        sim.refuses("untrusted_metadata")

    def test_a_roster_whose_number_was_driven_up(self, sim: Simulator) -> None:
        sim.world.put_roster(seq=HIGHEST)
        sim.world.roll_out(sim.release())
        sim.grants()
        sim.world.put_roster()
        sim.world.roll_out(sim.release("2.0.0"))
        sim.says("rollback")
        sim.replace_holders("interlock")
        sim.grants()


class TestWithdrawn:
    def test_a_release_that_was_taken_back(self, sim: Simulator) -> None:
        """It was ordered, and is shown still; the image repository does not list it any more."""
        rollout = sim.world.roll_out(sim.release())
        sim.grants()
        sim.world.withdraw(rollout.releases[0])
        sim.show(rollout)
        sim.refuses("order_mismatch", online=True)

    def test_one_that_runs_goes_on_running(self, sim: Simulator) -> None:
        rollout = sim.installs(sim.release())
        sim.world.withdraw(rollout.releases[0])
        sim.says("already_installed", Exit.DONE)

    def test_one_that_is_shown_as_it_was_before(self, sim: Simulator) -> None:
        """The metadata that listed it, again."""
        rollout = sim.world.roll_out(sim.release())
        before = sim.published(PRODUCT).version
        sim.world.withdraw(rollout.releases[0])
        sim.says("order_mismatch")
        sim.sign_snapshot({PRODUCT: before})
        sim.refuses("rollback", online=True)


class TestProduct:
    @pytest.mark.parametrize("keys", [0, 1])
    def test_below_the_threshold(self, sim: Simulator, keys: int) -> None:
        sim.world.roll_out(sim.release())
        sim.serve_role(PRODUCT, sim.role(), sim.world.product_keys[PRODUCT][:keys])
        sim.refuses("untrusted_metadata")

    def test_one_key_twice(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        one = sim.world.product_keys[PRODUCT][0]
        sim.serve_role(PRODUCT, sim.role(), [one, one])
        sim.refuses("untrusted_metadata")

    def test_one_key_and_a_strangers(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        keys = [sim.world.product_keys[PRODUCT][0], *new_keys(1)]
        sim.serve_role(PRODUCT, sim.role(), keys)
        sim.refuses("untrusted_metadata")

    def test_one_key_and_one_of_another_role(self, sim: Simulator) -> None:
        """Signatures of two roles never add up."""
        sim.world.roll_out(sim.release())
        keys = [sim.world.product_keys[PRODUCT][0], *sim.world.roster_keys]
        sim.serve_role(PRODUCT, sim.role(), keys)
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("other", ["targets", "interlock"])
    def test_at_the_threshold_no_other_role(self, sim: Simulator, other: str) -> None:
        sim.serve_role(other, sim.role(), sim.world.product_keys[PRODUCT])
        sim.refuses("untrusted_metadata")

    def test_at_the_threshold_no_root(self, sim: Simulator) -> None:
        root = sim.world.signed(sim.world.image_root_role(2), sim.world.product_keys[PRODUCT])
        sim.lie("/image/metadata/2.root.json", root)
        sim.refuses("untrusted_metadata")

    def test_nor_another_product(self, sim: Simulator) -> None:
        """Of two products in one fleet, the keys of one sign nothing of the other."""
        sim.world.product_keys[OTHER] = new_keys(2)
        sim.world.put_targets()
        sim.world.roll_out(sim.release())
        stolen = sim.world.product_keys[OTHER]
        sim.serve_role(PRODUCT, sim.role(image=sim.world.releases[0].info), stolen)
        sim.refuses("untrusted_metadata")

    def test_nor_another_product_by_its_path(self, sim: Simulator) -> None:
        """A supplier's role lists an image of another product: nobody looks for it there."""
        sim.world.product_keys[OTHER] = new_keys(2)
        sim.world.put_targets()
        rollout = sim.started()
        release = rollout.releases[0]
        sim.world.put_role(OTHER, {release.path: release.info})
        sim.world.put_role(PRODUCT, {})
        sim.world.image.publish()
        sim.show(rollout)
        sim.refuses("order_mismatch", online=True)

    def test_nor_another_product_by_its_facts(self, sim: Simulator) -> None:
        """A supplier's own image that calls itself the other product's is neither's."""
        sim.another_product(OTHER)
        rollout = sim.started()
        honest = rollout.releases[0]
        path = honest.path.replace(f"{PRODUCT}/", f"{OTHER}/", 1)
        posing = TargetFile(honest.info.length, honest.info.hashes, path)
        posing.unrecognized_fields["custom"] = honest.info.custom
        sim.put_roles({OTHER: {path: posing}, PRODUCT: {}})
        sim.show(rollout)
        sim.refuses("order_mismatch", online=True)

    def test_nor_by_a_role_of_ones_own_that_shares_a_key(self, sim: Simulator) -> None:
        """One person works for both: the other's threshold still asks for the other's people."""
        sim.world.product_keys[OTHER] = [sim.world.product_keys[PRODUCT][0], *new_keys(1)]
        sim.world.put_targets()
        sim.world.roll_out(sim.release())
        stolen = sim.world.product_keys[OTHER]
        sim.serve_role(PRODUCT, sim.role(image=sim.world.releases[0].info), stolen)
        sim.refuses("untrusted_metadata")

    def test_nor_the_roster_by_its_path(self, sim: Simulator) -> None:
        """The product's role lists a roster of its own: nobody looks for it there."""
        rollout = sim.world.roll_out(sim.release())
        targets = {one.path: one.info for one in sim.world.releases}
        sim.world.put_role(PRODUCT, {**targets, ROSTER_PATH: sim.world.releases[0].info})
        sim.world.image.publish()
        sim.show(rollout)
        sim.grants()
        assert sim.bed.memory.roster_seq == 1

    def test_nor_a_further_delegation(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        further = sim.role(image=rollout.releases[0].info)
        evil = DelegatedRole("evil", [], 1, True, [f"{PRODUCT}/*/*"])
        further.delegations = Delegations({}, {"evil": evil})
        further.add_key(sim.world.product_keys[PRODUCT][0].public_key, "evil")
        sim.serve_role(PRODUCT, further, sim.world.product_keys[PRODUCT])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("role", [PRODUCT, "targets", "interlock"])
    @pytest.mark.parametrize("rotated", [False, True])
    def test_an_older_version_of_it(self, sim: Simulator, role: str, rotated: bool) -> None:
        """Signed once by its threshold; the online keys show it again, also after a rotation."""
        sim.world.roll_out(sim.release())
        old = sim.newer(role)
        sim.grants()
        if rotated:
            sim.rotate_online("image")
        sim.sign_snapshot({role: old})
        sim.refuses("rollback")

    def test_holders_whose_eviction_is_withheld(self, sim: Simulator) -> None:
        """They are believed as long as the delegation that names them: the exposure, its end."""
        old = sim.published("targets").version
        sim.world.product_keys[PRODUCT] = new_keys(2)
        for days, reason in ((300, "nothing_wanted"), (66, "expired_metadata")):
            sim.world.clock.pass_(days=days)
            sim.renew_everything()
            sim.world.refresh()
            sim.sign_snapshot({"targets": old})
            assert sim.bed.check().reason == reason
        sim.refuses("expired_metadata", mend=lambda: sim.rotate_online("image"))

    @pytest.mark.parametrize("custom", ["text", 5, True, ["a"], [["a", "b"]], {"a": 1}, None])
    def test_facts_that_are_none(self, sim: Simulator, custom: object) -> None:
        release = sim.release()
        release.info.unrecognized_fields["custom"] = custom
        sim.world.put_role(PRODUCT, {release.path: release.info})
        sim.world.image.publish()
        sim.world.roll_out(release)
        mend = release.info.unrecognized_fields.clear
        sim.refuses("order_mismatch", online=True, mend=mend)

    def test_an_issue_time_after_its_own_expiry(self, sim: Simulator) -> None:
        """It would push the clock's floor so far that nothing is ever fresh again."""
        rollout = sim.world.roll_out(sim.release())
        late = sim.role(image=rollout.releases[0].info)
        set_issued(late, datetime(9000, 1, 1, tzinfo=UTC))
        sim.serve_role(PRODUCT, late, sim.world.product_keys[PRODUCT])
        sim.refuses("malformed")


class TestRosterHolders:
    def test_the_threshold_of_rosters_signs_no_image(self, sim: Simulator) -> None:
        """A terminating delegation is not bypassed, whatever role lists the path."""
        release = sim.release()
        sim.world.roll_out(release)
        sim.serve_role(PRODUCT, sim.role(image=release.info), sim.world.roster_keys)
        sim.refuses("untrusted_metadata")
        assert sim.bed.slot("b") != IMAGE

    def test_nor_by_a_path_of_their_own(self, sim: Simulator) -> None:
        """Their role lists an image of the product: nobody looks for it there."""
        rollout = sim.started()
        roster = sim.published("interlock").targets[ROSTER_PATH]
        release = rollout.releases[0]
        sim.world.put_role("interlock", {ROSTER_PATH: roster, release.path: release.info})
        sim.world.put_role(PRODUCT, {})
        sim.world.image.publish()
        sim.show(rollout)
        sim.refuses("order_mismatch", online=True)

    @pytest.mark.parametrize("keys", [0, 1])
    def test_a_roster_below_the_threshold(self, sim: Simulator, keys: int) -> None:
        sim.serve_role("interlock", sim.role(), sim.world.roster_keys[:keys])
        sim.refuses("untrusted_metadata")


class TestTargets:
    @pytest.mark.parametrize(
        "delegate",
        [
            DelegatedRole("evil", [], 1, False, ["evil/*/*"]),
            DelegatedRole("evil", [], 1, True, ["*/*/*"]),
            DelegatedRole("evil", [], 1, True, [f"{PRODUCT}/*/*"]),
            DelegatedRole("evil", [], 1, True, ["interlock/*"]),
            DelegatedRole("Evil", [], 1, True, ["Evil/*/*"]),
            DelegatedRole("..", [], 1, True, ["../*/*"]),
            DelegatedRole("a/../../evil", [], 1, True, ["a/../../evil/*/*"]),
            DelegatedRole("snapshot-2", [], 2, True, ["snapshot-2/*/*"]),
        ],
        ids=[
            *("not-terminating", "everything", "diamond", "the-roster"),
            *("name", "dots", "path", "impossible"),
        ],
    )
    def test_another_shape_of_delegations(self, sim: Simulator, delegate: DelegatedRole) -> None:
        """Even signed by the threshold: then somebody was talked into it."""
        targets = sim.top_level()
        assert targets.delegations is not None
        assert targets.delegations.roles is not None
        targets.delegations.roles = {delegate.name: delegate, **targets.delegations.roles}
        targets.add_key(new_keys(1)[0].public_key, delegate.name)
        sim.serve_role("targets", targets, sim.world.targets_keys)
        sim.refuses("untrusted_metadata")

    def test_a_target_of_its_own(self, sim: Simulator) -> None:
        targets, release = sim.top_level(), sim.release()
        targets.targets = {release.path: release.info}
        sim.serve_role("targets", targets, sim.world.targets_keys)
        sim.refuses("untrusted_metadata")

    def test_one_key_of_a_product_under_two_ids(self, sim: Simulator) -> None:
        """Libraries would count it twice."""
        targets = sim.top_level()
        key = sim.world.product_keys[PRODUCT][0].public_key
        targets.add_key(type(key).from_dict("ab" * 32, key.to_dict()), PRODUCT)
        sim.serve_role("targets", targets, sim.world.targets_keys)
        sim.refuses("untrusted_metadata")

    def test_that_a_rehearsal_made(self, sim: Simulator) -> None:
        targets = sim.top_level()
        targets.unrecognized_fields[REHEARSAL] = True
        sim.serve_role("targets", targets, sim.world.targets_keys)
        sim.refuses("rehearsal")

    @pytest.mark.parametrize("keys", [0, 1])
    def test_below_the_threshold(self, sim: Simulator, keys: int) -> None:
        sim.serve_role("targets", sim.top_level(), sim.world.targets_keys[:keys])
        sim.refuses("untrusted_metadata")


class TestRoots:
    """Of either repository."""

    @pytest.fixture(params=["image", "director/wards"])
    def prefix(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_below_the_threshold(self, sim: Simulator, prefix: str) -> None:
        sim.sign_root(prefix, sim.root(prefix), sim.root_keys(prefix)[:1])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("side", ["old", "new"])
    def test_one_of_the_two_thresholds(self, sim: Simulator, prefix: str, side: str) -> None:
        old, new = sim.root_keys(prefix), new_keys(2)
        root = sim.root(prefix, root_keys=new)
        sim.sign_root(prefix, root, old if side == "old" else new)
        sim.refuses("untrusted_metadata")

    def test_one_of_each(self, sim: Simulator, prefix: str) -> None:
        """Two signatures, and no threshold of either root."""
        old, new = sim.root_keys(prefix), new_keys(2)
        sim.sign_root(prefix, sim.root(prefix, root_keys=new), [old[0], new[0]])
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("version", [1, 3])
    def test_a_version_skipped_or_again(self, sim: Simulator, prefix: str, version: int) -> None:
        """What does not follow is no successor of the one that is trusted."""
        sim.sign_root(prefix, sim.root(prefix, version), sim.root_keys(prefix), 2)
        sim.refuses("rollback")

    def test_one_key_under_two_ids(self, sim: Simulator, prefix: str) -> None:
        """It was signed by the threshold, so whoever only trusts the root cannot undo it."""
        root = sim.root(prefix)
        key = root.keys[root.roles["targets"].keyids[0]]
        root.add_key(type(key).from_dict("ab" * 32, key.to_dict()), "targets")
        sim.sign_root(prefix, root, sim.root_keys(prefix))
        sim.refuses("untrusted_metadata")

    def test_one_of_a_rehearsal(self, sim: Simulator, prefix: str) -> None:
        """Even if its keys were not thrown away, and the threshold signed it."""
        root = sim.root(prefix)
        root.unrecognized_fields[REHEARSAL] = True
        sim.sign_root(prefix, root, sim.root_keys(prefix))
        sim.refuses("rehearsal")

    def test_the_other_repositorys(self, sim: Simulator, prefix: str) -> None:
        """The two share no key: a genuine root of the one is nothing to the other."""
        other = "director/wards" if prefix == "image" else "image"
        root = sim.world.signed(sim.root(other), sim.root_keys(other))
        sim.lie(f"/{prefix}/metadata/2.root.json", root)
        sim.refuses("untrusted_metadata")


@pytest.mark.parametrize("repository", ["image", "director"])
def test_a_rehearsals_root_in_the_firmware(sim: Simulator, repository: str) -> None:
    path = sim.bed.home / f"{repository}.root.json"
    honest = path.read_bytes()
    sim.world.roll_out(sim.release())
    root = sim.root("image" if repository == "image" else "director/wards", version=1)
    root.unrecognized_fields[REHEARSAL] = True
    path.write_bytes(sim.world.signed(root, new_keys(2)))
    sim.refuses("rehearsal", mend=lambda: path.write_bytes(honest))


def test_another_fleets_root_in_the_firmware(sim: Simulator, tmp_path: Path) -> None:
    """Trust begins at the embedded roots at every check, whatever was trusted before."""
    path = sim.bed.home / "image.root.json"
    honest = path.read_bytes()
    sim.world.roll_out(sim.release())
    path.write_bytes(World(tmp_path / "stranger").image_root)
    sim.refuses("untrusted_metadata", mend=lambda: path.write_bytes(honest))
