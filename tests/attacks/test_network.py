"""Whoever holds the network, a mirror, a cache or a CDN: all but the signed bytes is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock_core.errors import Exit
from tests.attacks import lies
from tests.attacks.lies import TAKEN_AT_MOST, Endless
from tests.attacks.simulator import CANARY, IMAGE, WARDS, Simulator
from tests.client.web import Answer, Web
from tests.client.world import PRODUCT, World

HEADS = ("image", "director/wards")
SIGNED = (
    "/image/metadata/timestamp.json",
    "/image/metadata/2.root.json",
    "/director/wards/metadata/timestamp.json",
    "/director/wards/metadata/2.root.json",
)
"""What is believed for its signatures alone."""
PINNED = (
    "/image/metadata/{image/snapshot}.snapshot.json",
    "/image/metadata/{image/targets}.targets.json",
    "/image/metadata/{image/interlock}.interlock.json",
    f"/image/metadata/{{image/{PRODUCT}}}.{PRODUCT}.json",
    "/director/wards/metadata/{director/wards/snapshot}.snapshot.json",
    "/director/wards/metadata/{director/wards/targets}.targets.json",
)
"""What other metadata names by length and digest too."""


def everything_new(sim: Simulator) -> None:
    """Every role has a version that this gateway has not seen."""
    sim.world.put_targets()
    sim.world.put_roster()
    sim.world.roll_out(sim.release())


def numbered(sim: Simulator, path: str) -> str:
    """The URL path with the versions that are published now."""
    for prefix, stored in (
        ("image", sim.world.image.stored),
        ("director/wards", sim.world.director(WARDS).stored),
    ):
        for role in ("snapshot", "targets", "interlock", PRODUCT):
            path = path.replace(f"{{{prefix}/{role}}}", f"{stored.published_version(role)}")
    return path


def newest(sim: Simulator, prefix: str, role: str) -> bytes:
    """The newest metadata of a role of one repository."""
    stored = sim.repository(prefix).stored
    if role == "timestamp":
        return sim.world.store.get(f"{prefix}/metadata/timestamp.json")
    data = stored.newest_bytes(role)
    assert data is not None
    return data


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


class TestBytes:
    """Nothing is read without end, waited for without end, or unpacked."""

    @pytest.mark.parametrize("path", [*SIGNED, *PINNED])
    def test_metadata_without_end(self, sim: Simulator, path: str) -> None:
        everything_new(sim)
        endless = Endless()
        sim.tell(numbered(sim, path), endless)
        sim.refuses("inconsistent_metadata")
        assert endless.sent < TAKEN_AT_MOST

    @pytest.mark.parametrize("path", ["/director/wards/targets/", "/image/targets/interlock/"])
    def test_a_small_target_without_end(self, sim: Simulator, path: str) -> None:
        sim.roster()
        sim.show(sim.order())
        endless = Endless()
        sim.tell(path, endless)
        sim.refuses("hash_mismatch", online=True)
        assert endless.sent < TAKEN_AT_MOST

    def test_a_bundle_without_end(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.web.lies["/poll/"] = endless = Endless()
        sim.grants()
        assert endless.sent < TAKEN_AT_MOST

    def test_an_image_that_never_ends(self, sim: Simulator) -> None:
        """Reading stops at the signed length: what follows is never asked for."""
        sim.world.roll_out(sim.release())
        sim.web.lies["/image/targets/ward-gateway/"] = endless = Endless(IMAGE)
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.running == IMAGE
        assert endless.sent < TAKEN_AT_MOST

    @pytest.mark.parametrize("length", [len(IMAGE) - 1, len(IMAGE) + 1, 2**60])
    def test_an_image_of_another_length(self, sim: Simulator, length: int) -> None:
        sim.world.roll_out(sim.release())
        sim.web.lies["/image/targets/ward-gateway/"] = lies.announced(length)
        sim.refuses("hash_mismatch", slot=True)

    @pytest.mark.parametrize("slow", [lies.drip, lies.drip_headers, lies.silent])
    @pytest.mark.parametrize("path", ["/image/metadata/timestamp.json", "/image/targets/ward"])
    def test_what_comes_too_slowly(self, sim: Simulator, path: str, slow: Answer) -> None:
        sim.world.roll_out(sim.release())
        sim.hurry()
        sim.tell(path, slow)
        sim.refuses("network", slot=True, exit_code=Exit.TRANSIENT)

    @pytest.mark.parametrize("slow", [lies.drip, lies.drip_headers, lies.silent])
    def test_a_poll_that_comes_too_slowly(self, sim: Simulator, slow: Answer) -> None:
        sim.hurry()
        sim.web.lies["/poll/"] = slow
        sim.refuses("network", exit_code=Exit.TRANSIENT)

    @pytest.mark.parametrize(
        ("path", "reason"),
        [
            ("/image/metadata/timestamp.json", "untrusted_metadata"),
            ("/director/wards/targets/", "hash_mismatch"),
            ("/image/targets/ward-gateway/", "hash_mismatch"),
        ],
    )
    def test_a_compressed_bomb(self, sim: Simulator, path: str, reason: str) -> None:
        """What comes packed is taken for what it is: other bytes."""
        sim.world.roll_out(sim.release())
        sim.tell(path, lies.packed(bytes(10_000_000)))
        sim.refuses(reason, slot=True)

    def test_a_bundle_that_is_a_bomb(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.web.lies["/poll/"] = lies.packed(sim.world.store.get("poll/wards") + b" " * 10_000_000)
        sim.grants()


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


class TestBundle:
    """It carries no authority: at worst it costs requests."""

    @pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"null", b"[" * 100_000], ids=repr)
    def test_rubbish(self, sim: Simulator, data: bytes) -> None:
        sim.world.roll_out(sim.release())
        sim.web.answer("/poll/", data[:50_000])
        sim.grants()

    def test_truncated(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.web.answer("/poll/", sim.world.store.get("poll/wards")[:-20])
        sim.grants()

    def test_stale(self, sim: Simulator) -> None:
        old = sim.world.store.get("poll/wards")
        sim.world.roll_out(sim.release())
        sim.grants()
        sim.web.answer("/poll/", old)
        sim.grants()

    def test_for_another_cohort(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.web.rewrite("/poll/wards", "/poll/canary")
        sim.grants()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'\\"version\\":', b'\\"version\\":9'),
            (
                b'"roots":{"director":1,"image":1}',
                b'"roots":{"director":9,"image":9007199254740991}',
            ),
            (b"/image/metadata/", b"/../../metadata/"),
            (b'\\"sig\\":\\"', b'\\"sig\\":\\"00'),
        ],
        ids=["versions", "roots", "paths", "signatures"],
    )
    def test_forged(self, sim: Simulator, old: bytes, new: bytes) -> None:
        sim.world.roll_out(sim.release())
        bundle = sim.world.store.get("poll/wards")
        assert old in bundle
        sim.web.answer("/poll/", bundle.replace(old, new))
        sim.grants()

    @pytest.mark.parametrize("etag", ["", "x" * 60_000, '"\x0b\xff"', "*"], ids=len)
    def test_with_a_validator_that_means_nothing(self, sim: Simulator, etag: str) -> None:
        sim.world.roll_out(sim.release())
        data = sim.world.store.get("poll/wards")
        sim.web.lies["/poll/"] = lies.validated(data, etag)
        sim.grants()
        sim.grants()
