"""How bytes are sent: too many, too slowly, packed, or in a bundle that is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock_client.config import Download
from interlock_client.servers import Limits
from interlock_core.errors import Exit
from tests.attacks import lies
from tests.attacks.files import PINNED, SIGNED, everything_new, numbered
from tests.attacks.lies import TAKEN_AT_MOST, Endless
from tests.attacks.simulator import IMAGE, Simulator
from tests.client.web import Answer, Web


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

    @pytest.mark.parametrize("length", [len(IMAGE), None])
    def test_an_image_that_breaks_off(self, sim: Simulator, length: int | None) -> None:
        """Nobody lied, as far as can be told: it is worth another try."""
        sim.world.roll_out(sim.release())
        sim.web.lies["/image/targets/ward-gateway/"] = lies.broken_off(IMAGE[:99], length=length)
        sim.refuses("network", slot=True, exit_code=Exit.TRANSIENT)

    @pytest.mark.parametrize("slow", [lies.drip, lies.drip_headers, lies.silent])
    @pytest.mark.parametrize("path", ["/image/metadata/timestamp.json", "/image/targets/ward"])
    def test_what_comes_too_slowly(self, sim: Simulator, path: str, slow: Answer) -> None:
        sim.world.roll_out(sim.release())
        sim.hurry()
        sim.tell(path, slow)
        sim.refuses("network", slot=True, exit_code=Exit.TRANSIENT)

    def test_an_image_that_drips_within_an_honest_average(self, sim: Simulator) -> None:
        """What came fast before buys no time: the window has moved on."""
        sim.world.roll_out(sim.release())
        sim.bed.limits = Limits(image_window_seconds=0.3, image_bytes_per_second=1000)
        sim.web.lies["/image/targets/ward"] = lies.begun_and_dripping(IMAGE)
        outcome = sim.refuses("network", slot=True, exit_code=Exit.TRANSIENT)
        assert "less than 1000 bytes a second" in outcome.detail

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


class TestMirrors:
    """A mirror or a cache between the gateway and the server is as good as any attacker."""

    @pytest.fixture
    def mirror(self, sim: Simulator) -> Iterator[Web]:
        """A mirror is asked first, and the real server after it."""
        with Web(sim.world.store) as mirror:
            sim.world.roll_out(sim.release())
            sim.bed.change(servers=(mirror.url, sim.web.url))
            yield mirror

    @pytest.mark.parametrize("data", [IMAGE[::-1], bytes(len(IMAGE)), IMAGE[:-1] + b"?", IMAGE[1:]])
    def test_other_bytes(self, sim: Simulator, mirror: Web, data: bytes) -> None:
        mirror.lies["/image/targets/"] = lambda handler: handler.say_part(data, '"mine"')
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.running == IMAGE

    @pytest.mark.parametrize("spoilt", [False, True])
    def test_a_beginning_and_then_nothing(self, sim: Simulator, mirror: Web, spoilt: bool) -> None:
        begins = b"?" * 99 if spoilt else IMAGE[:99]
        mirror.lies["/image/targets/"] = lies.broken_off(begins, length=len(IMAGE))
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.running == IMAGE

    @pytest.mark.parametrize("part", ["bytes 0-98/{}", "bytes 99-{}/*", "bytes 98-99/7", "?", None])
    def test_another_part_than_was_asked_for(
        self, sim: Simulator, mirror: Web, part: str | None
    ) -> None:
        """It sends a beginning, and answers whoever goes on with whatever it likes."""
        asked: list[str | None] = []
        mirror.lies["/image/targets/"] = lies.begun(IMAGE, part, asked)
        sim.web.answer("/image/targets/ward-gateway/", b"", 503)
        assert sim.bed.update().reason == "network"
        assert sim.bed.update().reason in {"network", "hash_mismatch"}
        assert asked[1] == f"bytes=99-{len(IMAGE) - 1}"
        sim.web.lies.clear()
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.running == IMAGE

    def test_wrong_bytes_at_every_poll(self, sim: Simulator) -> None:
        """A cache that keeps them costs the gateway's link next to nothing in the end."""
        sim.world.roll_out(sim.release())
        sim.web.lies["/image/targets/ward"] = lambda h: h.say_part(bytes(len(IMAGE)), '"bad"')
        outcomes = {sim.bed.update().reason for _ in range(5)}
        assert outcomes == {"hash_mismatch"}
        taken = sum(path.startswith("/image/targets/ward") for path in sim.web.requests)
        assert taken == 2
        sim.refuses("hash_mismatch", slot=True)

    def test_and_a_budget_bounds_what_lies_cost(self, sim: Simulator, mirror: Web) -> None:
        mirror.lies["/image/targets/"] = lambda handler: handler.say_part(bytes(len(IMAGE)))
        sim.bed.change(download=Download(budget_bytes=len(IMAGE) + 1))
        sim.refuses("over_budget", slot=True, exit_code=Exit.TRANSIENT)


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

    def test_forged_where_the_urls_lie_too(self, sim: Simulator) -> None:
        """It has not even the authority of an accuser: what the URLs did is said."""
        old = sim.world.store.get("image/metadata/timestamp.json")
        sim.world.roll_out(sim.release())
        sim.grants()
        bundle = sim.world.store.get("poll/wards")
        sim.web.answer("/poll/", bundle.replace(b'\\"sig\\":\\"', b'\\"sig\\":\\"00'))
        sim.web.answer("/image/metadata/timestamp.json", old)
        sim.refuses("rollback")

    @pytest.mark.parametrize("etag", ["", "x" * 60_000, '"\x0b\xff"', "*"], ids=len)
    def test_with_a_validator_that_means_nothing(self, sim: Simulator, etag: str) -> None:
        sim.world.roll_out(sim.release())
        data = sim.world.store.get("poll/wards")
        sim.web.lies["/poll/"] = lies.validated(data, etag)
        sim.grants()
        sim.grants()
