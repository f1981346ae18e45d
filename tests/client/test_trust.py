"""Whatever a server or the network does: what is foreign, old or forged is refused by its name,
nothing of it stays, and the next honest check succeeds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Snapshot, Timestamp
from tuf.ngclient import Updater

from interlock_client.poll import load_trouble
from interlock_client.state import StateDir
from interlock_core.errors import Exit
from interlock_core.names import ROSTER_PATH
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import CANARY, NOW, PRODUCT, WARDS, World, new_keys

NEW = b"release one " * 100


@pytest.fixture
def settled(world: World, bed: Bed) -> Bed:
    """A gateway that has checked once and found nothing to do."""
    assert bed.check().reason == "nothing_wanted"
    return bed


def refused(bed: Bed, reason: str) -> None:
    """A check is refused by this name, and nothing that counts has changed."""
    before, floors = bed.kept(), bed.memory
    outcome = bed.check()
    assert (outcome.reason, outcome.exit_code) == (reason, Exit.REFUSED), outcome.detail
    assert bed.kept() == before
    assert bed.memory == floors


def recovers(world: World, web: Web, bed: Bed) -> None:
    """With an honest server again, the next check finds what is wanted."""
    web.lies.clear()
    world.roll_out(world.release("9.0.0", b"the last release"))
    assert bed.check().outcome == "update_available"


def without_bundle(web: Web) -> None:
    web.answer("/poll/", b"", 404)


class TestForeign:
    def test_another_cohorts_genuine_director(self, world: World, web: Web, settled: Bed) -> None:
        """With higher versions: if it were kept, it would block this gateway for ever."""
        for _ in range(3):
            world.show(CANARY, world.roll_out(world.release(f"1.{_}.0", NEW)))
        world.show(WARDS)
        without_bundle(web)
        web.rewrite("/director/wards/", "/director/canary/")
        refused(settled, "wrong_cohort")
        recovers(world, web, settled)

    def test_another_cohorts_director_that_shows_a_directive_of_mine(
        self, world: World, web: Web, settled: Bed
    ) -> None:
        world.show(CANARY, cohort=WARDS)
        world.show(CANARY, cohort=WARDS)
        without_bundle(web)
        web.rewrite("/director/wards/", "/director/canary/")
        refused(settled, "wrong_cohort")
        recovers(world, web, settled)

    def test_another_cohorts_bundle(self, world: World, web: Web, settled: Bed) -> None:
        """It is no bundle for this gateway, so the ordinary URLs are read."""
        world.roll_out(world.release("1.0.0", NEW))
        web.rewrite("/poll/wards", "/poll/canary")
        assert settled.check().outcome == "update_available"

    def test_a_directive_of_another_cohort(self, world: World, web: Web, settled: Bed) -> None:
        world.show(WARDS, cohort=CANARY)
        refused(settled, "wrong_cohort")
        recovers(world, web, settled)

    def test_a_directive_of_another_fleet(self, world: World, web: Web, settled: Bed) -> None:
        world.show(WARDS, fleet="staging")
        refused(settled, "wrong_fleet")
        recovers(world, web, settled)

    def test_a_roster_of_another_fleet(self, world: World, web: Web, settled: Bed) -> None:
        world.put_roster(fleet="staging")
        world.image.publish()
        world.bundle(WARDS)
        refused(settled, "wrong_fleet")
        world.put_roster()
        world.image.publish()
        recovers(world, web, settled)

    def test_the_image_repository_in_place_of_the_director(
        self, world: World, web: Web, settled: Bed
    ) -> None:
        without_bundle(web)
        web.rewrite("/director/wards/", "/image/")
        refused(settled, "untrusted_metadata")
        recovers(world, web, settled)

    def test_another_fleet_altogether(self, tmp_path: Path, world: World) -> None:
        stranger = World(tmp_path / "stranger")
        with Web(stranger.store) as other:
            moved = Bed(tmp_path / "moved", world, other)
            moved.power_on()
            outcome = moved.check()
        assert outcome.reason == "untrusted_metadata"


class TestOld:
    def test_an_older_timestamp(self, world: World, web: Web, settled: Bed) -> None:
        old = world.store.get("image/metadata/timestamp.json")
        world.release("1.0.0", NEW)
        world.bundle(WARDS)
        assert settled.check().reason == "nothing_wanted"
        without_bundle(web)
        web.answer("/image/metadata/timestamp.json", old)
        refused(settled, "rollback")
        recovers(world, web, settled)

    def test_a_stale_source_is_passed_over(self, world: World, web: Web, settled: Bed) -> None:
        old = world.store.get("image/metadata/timestamp.json")
        world.roll_out(world.release("1.0.0", NEW))
        assert settled.check().outcome == "update_available"
        with Web(world.store) as stale:
            stale.answer("/poll/", b"", 404)
            stale.answer("/image/metadata/timestamp.json", old)
            settled.change(servers=(stale.url, web.url))
            assert settled.check().outcome == "update_available"
            assert any("timestamp" in path for path in stale.requests)

    @pytest.mark.parametrize("role", ["roster", "targets"])
    def test_what_an_attacker_with_every_online_key_rolls_back(
        self, world: World, web: Web, bed: Bed, role: str
    ) -> None:
        """TUF's own versions are forgotten when online keys change; the floors are not."""
        repository = world.image
        old = {
            name: repository.stored.newest_bytes(name)
            for name in ("targets", "interlock", "ward-gateway")
        }
        if role == "roster":
            world.put_roster()
        else:
            world.put_targets()
        repository.publish()
        world.bundle(WARDS)
        assert bed.check().exit_code is Exit.DONE
        name = "interlock" if role == "roster" else "targets"
        stored = old[name]
        assert stored is not None
        # The online keys are replaced, by a genuine root; the attacker has the new ones.
        world.rotate_root("image", image_online=new_keys(1))
        snapshot = repository.stored.snapshot()
        assert snapshot is not None
        older = Metadata.from_bytes(stored).signed.version
        forged = Metadata(Snapshot(snapshot.signed.version + 5, expires=snapshot.signed.expires))
        forged.signed.meta = dict(snapshot.signed.meta)
        forged.signed.meta[f"{name}.json"].version = older
        forged.signed.meta[f"{name}.json"].length = None
        forged.signed.meta[f"{name}.json"].hashes = None
        forged.sign(world.image_online[0])
        timestamp = Metadata(Timestamp(100, expires=snapshot.signed.expires))
        timestamp.signed.snapshot_meta.version = forged.signed.version
        timestamp.sign(world.image_online[0])
        without_bundle(web)
        web.answer("/image/metadata/timestamp.json", timestamp.to_bytes())
        web.answer(f"/image/metadata/{forged.signed.version}.snapshot.json", forged.to_bytes())
        trusted, floors = bed.kept(), bed.memory
        outcome = bed.check()
        assert (outcome.reason, outcome.exit_code) == ("rollback", Exit.REFUSED), outcome.detail
        # A genuine newer root may stay; nothing else has changed.
        changed = {key for key, data in bed.kept().items() if trusted.get(key) != data}
        assert changed == {"state/trusted/image/root_history/2.root.json"}
        assert bed.memory == floors
        recovers(world, web, bed)

    def test_an_older_roster_under_newer_metadata(
        self, world: World, web: Web, settled: Bed
    ) -> None:
        world.put_roster(seq=7)
        world.image.publish()
        world.bundle(WARDS)
        assert settled.check().exit_code is Exit.DONE
        world.put_roster(seq=6)
        world.image.publish()
        world.bundle(WARDS)
        refused(settled, "rollback")
        world.put_roster(seq=8)
        world.image.publish()
        recovers(world, web, settled)


class TestExpired:
    def test_a_freeze_is_refused_once_the_timestamp_lapses(
        self, world: World, web: Web, settled: Bed
    ) -> None:
        world.clock.pass_(days=9)
        assert settled.check().exit_code is Exit.DONE
        world.clock.pass_(days=2)
        refused(settled, "expired_metadata")
        world.refresh()
        recovers(world, web, settled)

    def test_a_roster_that_is_not_renewed(self, world: World, web: Web, settled: Bed) -> None:
        world.clock.pass_(days=36)
        world.refresh()
        outcome = settled.check()
        assert (outcome.reason, outcome.exit_code) == ("roster_stale", Exit.REFUSED)
        world.put_roster()
        world.image.publish()
        recovers(world, web, settled)

    def test_a_clock_that_is_set_back_gains_nothing(self, world: World, settled: Bed) -> None:
        """The floor comes from what was signed offline, and the last decision's time."""
        world.clock.pass_(days=30)
        world.put_roster()
        world.image.publish()
        world.refresh()
        assert settled.check().exit_code is Exit.DONE
        assert settled.memory.clock_floor == world.clock()
        world.clock.now = NOW.replace(year=1970)
        settled.power_on()
        assert settled.check().exit_code is Exit.DONE, "1970 at boot: the floor holds"
        settled.seconds += 11 * 86_400
        assert settled.check().reason == "expired_metadata", "time goes on within one boot"

    def test_a_clock_that_is_far_ahead_recovers_by_itself(self, world: World, settled: Bed) -> None:
        world.clock.pass_(days=4000)
        refused(settled, "expired_metadata")
        world.clock.now = NOW
        assert settled.check().exit_code is Exit.DONE

    def test_no_online_time_raises_the_floor(self, world: World, settled: Bed) -> None:
        world.clock.pass_(days=5)
        world.refresh()
        settled.check()
        assert settled.memory.clock_floor == NOW

    def test_ngclient_judges_at_the_time_it_is_given(self, tmp_path: Path, world: World) -> None:
        """Guards the private attribute that ``trust`` sets: ngclient has no public way."""
        updater = Updater(str(tmp_path), "http://gateway.invalid/", bootstrap=world.image_root)
        trusted = updater._trusted_set
        assert hasattr(trusted, "reference_time")
        trusted.reference_time = NOW.replace(year=2040)
        root = trusted.root
        assert root.is_expired(trusted.reference_time)
        assert not root.is_expired(NOW)


class TestForged:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda data: data[:0],
            lambda data: data[: len(data) // 2],
            lambda data: b"[" * 10_000 + data,
            lambda data: data.replace(b'"version":', b'"version":1,"version":'),
            lambda data: data.replace(b'"expires":"20', b'"expires":"30'),
            lambda data: b"\xff" + data,
        ],
        ids=["empty", "truncated", "deep", "duplicate-key", "edited", "no-utf-8"],
    )
    @pytest.mark.parametrize(
        "path", ["/image/metadata/timestamp.json", "/director/wards/metadata/timestamp.json"]
    )
    def test_metadata(
        self,
        world: World,
        web: Web,
        settled: Bed,
        path: str,
        spoil: Callable[[bytes], bytes],
    ) -> None:
        without_bundle(web)
        web.answer(path, spoil(world.store.get(path[1:])))
        refused(settled, "untrusted_metadata")
        recovers(world, web, settled)

    def test_endless_metadata(self, world: World, web: Web, settled: Bed) -> None:
        without_bundle(web)
        web.answer("/image/metadata/timestamp.json", b" " * 20_000)
        refused(settled, "inconsistent_metadata")
        recovers(world, web, settled)

    def test_two_states_mixed(self, world: World, web: Web, settled: Bed) -> None:
        snapshot = world.image.stored.snapshot()
        assert snapshot is not None
        key = f"image/metadata/{snapshot.signed.version}.snapshot.json"
        old = world.store.get(key)
        world.release("1.0.0", NEW)
        new = world.image.stored.snapshot()
        assert new is not None
        without_bundle(web)
        web.answer(f"/image/metadata/{new.signed.version}.snapshot.json", old)
        refused(settled, "inconsistent_metadata")
        recovers(world, web, settled)

    def test_a_roster_that_was_not_signed(self, world: World, web: Web, bed: Bed) -> None:
        """The very first one: later ones are compared with what is kept as well."""
        web.answer("/image/targets/interlock/", b"{}")
        outcome = bed.check()
        assert (outcome.reason, outcome.exit_code) == ("hash_mismatch", Exit.REFUSED)
        recovers(world, web, bed)

    def test_an_image_that_was_not_signed(self, world: World, web: Web, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        web.answer("/image/targets/ward-gateway/", NEW[:-1] + b"?")
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("hash_mismatch", Exit.REFUSED)
        assert bed.environment.load().armed is None
        web.lies.clear()
        assert bed.install().outcome == "confirmed"

    def test_one_key_listed_twice(self, tmp_path: Path, world: World, web: Web) -> None:
        """A second id for one key would let one person count as two."""
        root = world.image_root_role()
        key = world.targets_keys[0].public_key
        twin = type(key).from_dict("ab" * 32, key.to_dict())
        root.keys[twin.keyid] = twin
        root.roles["targets"].keyids.append(twin.keyid)
        bed = Bed(tmp_path / "gateway", world, web)
        (bed.home / "image.root.json").write_bytes(world.signed(root, world.root_keys))
        bed.power_on()
        assert bed.check().reason == "untrusted_metadata"


class TestRoots:
    def test_rotated_roots_are_followed_and_kept(self, world: World, bed: Bed) -> None:
        world.rotate_root("image", image_online=new_keys(1))
        world.rotate_root("image")
        world.rotate_root("director", director_targets=new_keys(1), director_online=new_keys(1))
        assert bed.check().exit_code is Exit.DONE
        assert bed.memory.versions["image/root"] == 3
        assert bed.memory.versions["director/root"] == 2
        history = bed.home / "state/trusted/image/root_history"
        assert sorted(path.name for path in history.iterdir()) == [
            "1.root.json",
            "2.root.json",
            "3.root.json",
        ]

    @pytest.mark.parametrize("bundled", [True, False], ids=["by the bundle", "by the URLs"])
    def test_a_gateway_that_slept_walks_every_root(
        self, world: World, web: Web, settled: Bed, *, bundled: bool
    ) -> None:
        """Other holders each time, twenty roots of one repository and seven of the other."""
        world.sleep(image=20, director=7)
        if not bundled:
            without_bundle(web)
        assert settled.check().reason == "nothing_wanted"
        assert settled.memory.versions["image/root"] == 21
        assert settled.memory.versions["director/root"] == 8
        assert load_trouble(StateDir(settled.home / "state")) is None
        recovers(world, web, settled)

    def test_a_changed_embedded_root_is_noticed_behind_a_304(
        self, world: World, web: Web, settled: Bed, tmp_path: Path
    ) -> None:
        assert settled.check().reason == "nothing_wanted"
        path = settled.home / "image.root.json"
        honest = path.read_bytes()
        path.write_bytes(World(tmp_path / "stranger").image_root)
        refused(settled, "untrusted_metadata")
        path.write_bytes(honest)
        recovers(world, web, settled)

    def test_firmware_may_embed_a_newer_root_or_an_older_one_again(
        self, world: World, settled: Bed
    ) -> None:
        world.rotate_root("image")
        embedded = settled.home / "image.root.json"
        embedded.write_bytes(world.store.get("image/metadata/2.root.json"))
        history = settled.home / "state/trusted/image/root_history"
        (history / "1.root.json").write_bytes(b"rotten, and needed by nobody")
        world.show(WARDS)
        assert settled.check().reason == "nothing_wanted"
        assert settled.memory.versions["image/root"] == 2
        # After a fall back the old firmware's root is the beginning again.
        embedded.write_bytes(world.image_root)
        world.show(WARDS)
        world.clock.pass_(days=8)
        world.refresh()
        assert settled.check().reason == "nothing_wanted"
        assert settled.memory.versions["image/root"] == 2

    def test_an_evicted_online_key_signs_nothing_more(
        self, world: World, web: Web, settled: Bed
    ) -> None:
        stolen = world.image_online
        world.rotate_root("image", image_online=new_keys(1))
        settled.check()
        timestamp = world.image.stored.timestamp()
        assert timestamp is not None
        timestamp.signed.version += 10
        timestamp.signatures.clear()
        timestamp.sign(stolen[0])
        without_bundle(web)
        web.answer("/image/metadata/timestamp.json", timestamp.to_bytes())
        refused(settled, "untrusted_metadata")
        recovers(world, web, settled)

    def test_a_root_below_the_threshold(self, world: World, web: Web, settled: Bed) -> None:
        root = world.signed(world.image_root_role(2), world.root_keys[:1])
        without_bundle(web)
        web.answer("/image/metadata/2.root.json", root)
        refused(settled, "untrusted_metadata")
        recovers(world, web, settled)

    def test_an_embedded_root_that_is_none(self, world: World, settled: Bed) -> None:
        (settled.home / "image.root.json").write_bytes(b"{}")
        world.release("1.0.0", NEW)
        world.bundle(WARDS)
        outcome = settled.check()
        assert (outcome.reason, outcome.exit_code) == ("configuration", Exit.USAGE)
        assert "ceremony" in outcome.detail
        (settled.home / "image.root.json").unlink()
        outcome = settled.check()
        assert (outcome.reason, outcome.exit_code) == ("not_found", Exit.USAGE)


def test_a_product_role_may_not_delegate_further(world: World, web: Web, settled: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    role = world.image.stored.newest_targets(PRODUCT).signed
    keys = new_keys(1)
    role.version += 1
    role.delegations = Delegations(
        {keys[0].public_key.keyid: keys[0].public_key},
        {"more": DelegatedRole("more", [keys[0].public_key.keyid], 1, True, [f"{PRODUCT}/*/*"])},
    )
    world.image.put_offline(PRODUCT, world.signed(role, world.product_keys[PRODUCT]))
    world.image.publish()
    world.bundle(WARDS)
    refused(settled, "untrusted_metadata")
    world.skip_version(PRODUCT)
    recovers(world, web, settled)


def test_a_director_may_hold_nothing_but_the_orders_images(
    world: World, web: Web, settled: Bed
) -> None:
    rollout = world.roll_out(world.release("1.0.0", NEW))
    other = world.release("2.0.0", b"not ordered")
    rollout.releases = [*rollout.releases, other]
    world.show(WARDS, rollout)
    outcome = settled.check()
    assert (outcome.reason, outcome.exit_code) == ("order_mismatch", Exit.REFUSED)
    recovers(world, web, settled)


def test_leftovers_of_a_refresh_that_was_cut_off_are_swept(world: World, settled: Bed) -> None:
    left = settled.home / "state" / "trusted-0123456789abcdef"
    left.mkdir()
    (left / "x").write_text("x")
    world.release("1.0.0", NEW)
    world.bundle(WARDS)
    settled.check()
    assert not left.exists()
    assert len(list((settled.home / "state").glob("trusted-*"))) == 1


def test_the_roster_is_fetched_once(world: World, web: Web, settled: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    settled.check()
    assert sum(ROSTER_PATH.split("/")[1] in path for path in web.requests) == 1
    # Damaged, it is fetched again.
    (settled.home / "state" / "roster.json").write_bytes(b"{}")
    world.show(WARDS)
    assert settled.check().reason == "nothing_wanted"
    assert sum(ROSTER_PATH.split("/")[1] in path for path in web.requests) == 2
