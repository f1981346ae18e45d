"""Whoever holds the network, a mirror, a cache or a CDN: all but the signed bytes is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock_core.errors import Exit
from tests.attacks import lies
from tests.attacks.files import HEADS, PINNED, SIGNED, everything_new, newest, numbered
from tests.attacks.simulator import CANARY, WARDS, Simulator
from tests.client.web import Web
from tests.client.world import PRODUCT, World


class TestForged:
    @pytest.mark.parametrize("path", [*SIGNED, *PINNED])
    def test_arbitrary_metadata(self, sim: Simulator, path: str) -> None:
        everything_new(sim)
        sim.lie(numbered(sim, path), b"anything at all")
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize("path", [*SIGNED, *PINNED])
    def test_metadata_that_was_edited(self, sim: Simulator, path: str) -> None:
        """It would live ten years longer."""
        everything_new(sim)
        honest = sim.world.store.get(numbered(sim, path).replace("/2.root", "/1.root")[1:])
        longer = honest.replace(b'"expires":"203', b'"expires":"204')
        assert longer != honest
        sim.lie(numbered(sim, path), longer)
        sim.refuses("inconsistent_metadata" if path in PINNED else "untrusted_metadata")

    @pytest.mark.parametrize(
        "path", ["/director/wards/targets/", "/image/targets/ward-gateway/", "/image/targets/inter"]
    )
    def test_arbitrary_targets(self, sim: Simulator, path: str) -> None:
        """A directive, an image, a roster of the right length."""
        sim.roster()
        sim.world.roll_out(sim.release())
        key = next(k for k in reversed(sim.world.store.list("")) if k.startswith(path[1:]))
        sim.lie(path, bytes(len(sim.world.store.get(key))))
        sim.refuses("hash_mismatch", slot=True)

    def test_a_page_that_asks_to_log_in(self, sim: Simulator) -> None:
        """A captive portal answers everything, and says that all is well."""
        sim.web.answer("/", b"<html>Welcome to the guest network</html>")
        sim.refuses("untrusted_metadata")

    def test_a_redirect(self, sim: Simulator, tmp_path: Path) -> None:
        """Nobody is asked whom the configuration does not name."""
        with Web(World(tmp_path / "stranger").store) as stranger:
            sim.tell("/image/metadata/timestamp.json", lies.elsewhere(stranger.url))
            sim.refuses("network", exit_code=Exit.TRANSIENT)
            assert stranger.requests == []


class TestOld:
    @pytest.mark.parametrize("prefix", HEADS)
    def test_replays_older_metadata(self, sim: Simulator, prefix: str) -> None:
        old = sim.world.store.get(f"{prefix}/metadata/timestamp.json")
        sim.world.roll_out(sim.release())
        sim.grants()
        sim.lie(f"/{prefix}/metadata/timestamp.json", old)
        sim.refuses("rollback")

    @pytest.mark.parametrize(
        ("prefix", "role"),
        [
            ("image", "snapshot"),
            ("image", "interlock"),
            ("image", PRODUCT),
            ("image", "targets"),
            ("director/wards", "snapshot"),
            ("director/wards", "targets"),
        ],
    )
    def test_mixes_two_states(self, sim: Simulator, prefix: str, role: str) -> None:
        sim.world.release("0.9.0", b"so that every role has an older version")
        stored = sim.repository(prefix).stored
        old = stored.get(stored.published_version(role) or 0, role)
        everything_new(sim)
        sim.lie(f"/{prefix}/metadata/{stored.published_version(role)}.{role}.json", old)
        sim.refuses("inconsistent_metadata")

    @pytest.mark.parametrize("prefix", HEADS)
    def test_freezes_one_repository(self, sim: Simulator, prefix: str) -> None:
        """The other goes on: what is old is found where it is."""
        sim.lie(
            f"/{prefix}/metadata/timestamp.json",
            sim.world.store.get(f"{prefix}/metadata/timestamp.json"),
        )
        sim.world.clock.pass_(days=11)
        sim.world.refresh()
        sim.refuses("expired_metadata")

    def test_keeps_serving_the_same(self, sim: Simulator) -> None:
        sim.says("nothing_wanted", Exit.DONE)
        sim.world.clock.pass_(days=11)
        sim.refuses("expired_metadata")

    def test_says_for_ever_that_nothing_changed(self, sim: Simulator) -> None:
        """A 304 is as good as the bytes that are kept, judged now, and no better."""
        sim.web.lies["/poll/"] = lies.unchanged
        sim.world.clock.pass_(days=9)
        sim.says("nothing_wanted", Exit.DONE)
        sim.world.clock.pass_(days=2)
        sim.refuses("expired_metadata")

    def test_says_of_an_update_that_nothing_changed(self, sim: Simulator) -> None:
        """What was granted once is decided anew: here the rollout lapses before the metadata."""
        sim.world.roll_out(sim.release())
        sim.grants()
        sim.web.lies["/poll/"] = lies.unchanged
        sim.world.clock.pass_(days=8)
        sim.refuses("go_lapsed")

    def test_an_older_image_under_newer_metadata(self, sim: Simulator) -> None:
        older = sim.release("1.0.0", b"an older image")
        sim.world.roll_out(sim.release("2.0.0", b"the newer one!"))
        sim.lie("/image/targets/ward-gateway/2.0.0/", older.data)
        sim.refuses("hash_mismatch", slot=True)


class TestForeign:
    """Genuine bytes from elsewhere: nothing of them stays, or they would block it for ever."""

    @pytest.mark.parametrize(("here", "there"), [HEADS, HEADS[::-1]])
    @pytest.mark.parametrize("rotated", [False, True])
    def test_one_repository_in_place_of_the_other(
        self, sim: Simulator, here: str, there: str, rotated: bool
    ) -> None:
        """Also with a root of higher version, and heads of higher versions."""
        everything_new(sim)
        if rotated:
            sim.rotate_online(there)
        sim.without_bundle()
        sim.web.rewrite(f"/{here}/", f"/{there}/")
        sim.refuses("untrusted_metadata")

    @pytest.mark.parametrize(("here", "there"), [HEADS, HEADS[::-1]])
    @pytest.mark.parametrize("role", ["timestamp", "root", "snapshot", "targets"])
    def test_a_file_of_the_other_repository(
        self, sim: Simulator, here: str, there: str, role: str
    ) -> None:
        everything_new(sim)
        sim.rotate_online(there)
        path = {"timestamp": "timestamp", "root": "2.root"}.get(role, f"{{{here}/{role}}}.{role}")
        sim.lie(numbered(sim, f"/{here}/metadata/{path}.json"), newest(sim, there, role))
        pinned = role in {"snapshot", "targets"}
        sim.refuses("inconsistent_metadata" if pinned else "untrusted_metadata")

    def test_another_cohorts_genuine_director(self, sim: Simulator) -> None:
        for number in range(5):
            sim.world.show(CANARY, sim.order(release=sim.release(f"1.{number}.0")))
        sim.without_bundle()
        sim.web.rewrite("/director/wards/", "/director/canary/")
        sim.refuses("wrong_cohort")

    def test_another_cohorts_genuine_director_in_a_bundle(self, sim: Simulator) -> None:
        """The bundle accuses nobody: the ordinary URLs say what is so."""
        sim.world.roll_out(sim.release())
        for _ in range(5):
            sim.world.show(CANARY, sim.world.rollouts[0], cohort=WARDS)
        bundle = sim.world.store.get("poll/canary").replace(b"/canary/", b"/wards/")
        sim.web.answer("/poll/", bundle.replace(b'"cohort":"canary"', b'"cohort":"wards"', 1))
        sim.grants()

    def test_another_fleets_repositories(self, sim: Simulator, tmp_path: Path) -> None:
        with Web(World(tmp_path / "stranger").store) as stranger:
            sim.bed.change(servers=(stranger.url,))
            sim.refuses("untrusted_metadata", mend=lambda: sim.bed.change(servers=(sim.web.url,)))

    def test_servers_in_turn_do_not_add_up(self, sim: Simulator) -> None:
        """Half a lie from each of two servers is no truth."""
        old = sim.world.store.get("image/metadata/timestamp.json")
        sim.world.roll_out(sim.release())
        sim.grants()
        with Web(sim.world.store) as mirror:
            mirror.answer("/", b"{}")
            sim.bed.change(servers=(sim.web.url, mirror.url))
            sim.lie("/image/metadata/timestamp.json", old)
            sim.refuses("rollback")
