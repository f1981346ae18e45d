"""Whoever holds the network, a mirror, a cache or a CDN: all but the signed bytes is refused."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from interlock_client.servers import Limits
from tests.attacks.simulator import CANARY, IMAGE, Simulator
from tests.client.web import Handler, Web
from tests.client.world import PRODUCT, World


@pytest.mark.parametrize(
    "path",
    [
        "/image/metadata/timestamp.json",
        "/director/wards/metadata/timestamp.json",
        "/image/metadata/2.root.json",
    ],
)
def test_arbitrary_metadata(sim: Simulator, path: str) -> None:
    sim.world.roll_out(sim.release())
    sim.lie(path, b"anything at all")
    sim.refuses("untrusted_metadata")


@pytest.mark.parametrize("path", ["/director/wards/targets/", "/image/targets/ward-gateway/"])
def test_arbitrary_targets(sim: Simulator, path: str) -> None:
    sim.world.roll_out(sim.release())
    data = next(sim.world.store.get(k) for k in sim.world.store.list(path[1:]))
    sim.lie(path, bytes(len(data)))
    with sim.unchanged_but_for_the_slot():
        assert sim.bed.update().reason == "hash_mismatch"
    sim.recovers()


@pytest.mark.parametrize("prefix", ["image", "director/wards"])
def test_replays_older_metadata(sim: Simulator, prefix: str) -> None:
    old = sim.world.store.get(f"{prefix}/metadata/timestamp.json")
    sim.world.roll_out(sim.release())
    assert sim.bed.check().outcome == "update_available"
    sim.lie(f"/{prefix}/metadata/timestamp.json", old)
    sim.refuses("rollback")


def test_mixes_two_states(sim: Simulator) -> None:
    stored = sim.world.image.stored
    old = stored.get(stored.published_version("snapshot") or 0, "snapshot")
    sim.world.roll_out(sim.release())
    new = stored.published_version("snapshot")
    sim.lie(f"/image/metadata/{new}.snapshot.json", old)
    sim.refuses("inconsistent_metadata")


def test_keeps_serving_the_same(sim: Simulator) -> None:
    sim.web.lies["/"] = lambda handler: handler.say(304, b"")
    assert sim.bed.check().reason == "nothing_wanted", "still fresh"
    sim.web.lies.clear()
    sim.world.clock.pass_(days=11)
    sim.refuses("expired_metadata")


def test_says_for_ever_that_nothing_changed(sim: Simulator) -> None:
    """A 304 is as good as the bytes that are kept, judged now, and no better."""
    sim.web.lies["/poll/"] = lambda handler: handler.say(304, b"")
    sim.world.clock.pass_(days=9)
    assert sim.bed.check().reason == "nothing_wanted"
    sim.world.clock.pass_(days=2)
    sim.refuses("expired_metadata")


def test_endless_metadata(sim: Simulator) -> None:
    sim.lie("/image/metadata/timestamp.json", b" " * 1_000_000)
    sim.refuses("inconsistent_metadata")


def test_an_image_that_never_ends(sim: Simulator) -> None:
    """Reading stops at the signed length: what follows is never asked for."""
    sim.world.roll_out(sim.release())

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(IMAGE)
        while not sim.web.over.is_set():
            handler.wfile.write(bytes(1 << 16))

    sim.web.lies["/image/targets/ward-gateway/"] = endless
    assert sim.bed.update().outcome == "rebooting"
    assert sim.bed.slot("b") == IMAGE


@pytest.mark.parametrize("length", [len(IMAGE) - 1, len(IMAGE) + 1, 2**60])
def test_an_image_of_another_length(sim: Simulator, length: int) -> None:
    sim.world.roll_out(sim.release())

    def other(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()

    sim.web.lies["/image/targets/ward-gateway/"] = other
    with sim.unchanged_but_for_the_slot():
        assert sim.bed.update().reason == "hash_mismatch"
    sim.recovers()


def test_an_image_that_drips(sim: Simulator) -> None:
    sim.world.roll_out(sim.release())
    sim.bed.limits = Limits(image_seconds=0.3, image_bytes_per_second=10**9)

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not sim.web.over.wait(0.05):
            handler.wfile.write(b"x")

    sim.web.lies["/image/targets/ward-gateway/"] = drip
    with sim.unchanged_but_for_the_slot():
        assert sim.bed.update().reason == "network"
    sim.recovers()


def test_a_compressed_bomb(sim: Simulator) -> None:
    bomb = gzip.compress(bytes(10_000_000))

    def packed(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        handler.wfile.write(bomb)

    sim.without_bundle()
    sim.web.lies["/image/metadata/timestamp.json"] = packed
    sim.refuses("untrusted_metadata")


@pytest.mark.parametrize(
    ("path", "instead"),
    [("/director/wards/", "/image/"), ("/image/", "/director/wards/")],
)
def test_one_repository_in_place_of_the_other(sim: Simulator, path: str, instead: str) -> None:
    sim.without_bundle()
    sim.web.rewrite(path, instead)
    sim.refuses("untrusted_metadata")


def test_another_cohorts_genuine_director(sim: Simulator) -> None:
    """With higher versions: if anything of it stayed, it would block this gateway for ever."""
    for _ in range(5):
        sim.world.show(CANARY, sim.order(release=sim.release(f"1.{_}.0")))
    sim.without_bundle()
    sim.web.rewrite("/director/wards/", "/director/canary/")
    sim.refuses("wrong_cohort")


def test_another_fleets_repositories(sim: Simulator, tmp_path: Path) -> None:
    with Web(World(tmp_path / "stranger").store) as stranger:
        sim.bed.change(servers=(stranger.url,))
        with sim.unchanged():
            assert sim.bed.update().reason == "untrusted_metadata"
    sim.bed.change(servers=(sim.web.url,))
    sim.recovers()


def test_an_older_image_under_newer_metadata(sim: Simulator) -> None:
    older = sim.release("1.0.0", b"an older image")
    newer = sim.release("2.0.0", b"the newer one!")
    sim.world.roll_out(newer)
    sim.lie("/image/targets/ward-gateway/2.0.0/", older.data)
    with sim.unchanged_but_for_the_slot():
        assert sim.bed.update().reason == "hash_mismatch"
    sim.recovers()


class TestBundle:
    """It carries no authority: at worst it costs requests."""

    @pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"null", b"[" * 100_000], ids=repr)
    def test_rubbish(self, sim: Simulator, data: bytes) -> None:
        sim.world.roll_out(sim.release())
        sim.web.answer("/poll/", data[:50_000])
        assert sim.bed.check().outcome == "update_available"

    def test_truncated(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.web.answer("/poll/", sim.world.store.get("poll/wards")[:-20])
        assert sim.bed.check().outcome == "update_available"

    def test_stale(self, sim: Simulator) -> None:
        old = sim.world.store.get("poll/wards")
        sim.world.roll_out(sim.release())
        assert sim.bed.check().outcome == "update_available"
        sim.web.answer("/poll/", old)
        assert sim.bed.check().outcome == "update_available"

    def test_for_another_cohort(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.web.rewrite("/poll/wards", "/poll/canary")
        assert sim.bed.check().outcome == "update_available"

    def test_forged(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        bundle = sim.world.store.get("poll/wards")
        sim.web.answer("/poll/", bundle.replace(b'\\"version\\":', b'\\"version\\":9'))
        assert sim.bed.check().outcome == "update_available"

    def test_with_a_validator_that_means_nothing(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        data = sim.world.store.get("poll/wards")
        for etag in ("", "x" * 60_000, '"\x0b\xff"', "*"):
            sim.web.lies["/poll/"] = partial(Handler.say, status=200, data=data, etag=etag)
            assert sim.bed.check().outcome == "update_available"


def test_a_terminating_delegation_is_not_bypassed(sim: Simulator) -> None:
    """What another role lists under the product's paths is never looked at."""
    release = sim.release()
    sim.world.roll_out(release)
    stolen = Targets(version=2, expires=sim.world.clock.now.replace(year=2040))
    stolen.targets = {release.path: release.info}
    forged = sim.world.signed(stolen, sim.world.roster_keys)
    sim.sign_snapshot({PRODUCT: 2})
    sim.web.answer(f"/image/metadata/2.{PRODUCT}.json", forged)
    sim.refuses("untrusted_metadata")


def test_servers_in_turn_do_not_add_up(sim: Simulator, tmp_path: Path) -> None:
    """Half a lie from each of two servers is no truth."""
    old = sim.world.store.get("image/metadata/timestamp.json")
    sim.world.roll_out(sim.release())
    assert sim.bed.check().outcome == "update_available"
    with Web(sim.world.store) as mirror:
        mirror.answer("/poll/", b"", 404)
        mirror.answer("/director/", b"{}")
        sim.bed.change(servers=(sim.web.url, mirror.url))
        sim.lie("/image/metadata/timestamp.json", old)
        with sim.unchanged():
            assert sim.bed.update().reason == "rollback"
    sim.recovers()
