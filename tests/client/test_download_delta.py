"""A delta brings an image as far as it can; what ends it is said, and the whole goes on there."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from interlock_client.config import Download
from interlock_client.download import keeper
from interlock_client.download.record import MAX_STALLS
from interlock_core.delta import MIN_SEGMENT
from interlock_core.errors import RefusedError, TransientError
from tests.client.bed import Bed
from tests.client.pretend import Desk, Pretend
from tests.client.test_cli import client
from tests.client.web import Web
from tests.client.world import World

CHANCE = random.Random(6)  # noqa: S311  # images of tests
OLD = CHANCE.randbytes(10 * MIN_SEGMENT)
NEW = b"".join(
    OLD[start : start + MIN_SEGMENT - 99] + CHANCE.randbytes(99)
    for start in range(0, len(OLD), MIN_SEGMENT)
)[:-1234]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.client.pretend.PIECE", 700)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, NEW, segment=MIN_SEGMENT)


def fails(desk: Desk, *servers: Pretend, reason: str = "network") -> str:
    with pytest.raises((TransientError, RefusedError)) as caught:
        desk.run(*servers)
    assert caught.value.reason == reason, str(caught.value)
    return str(caught.value)


def test_it_brings_the_image_for_less(desk: Desk) -> None:
    delta = desk.offer(OLD, NEW)
    server = Pretend("https://a", None, delta)
    came = desk.run(server)
    assert desk.place.read_bytes() == NEW
    assert came.received == len(delta) == server.sent < len(NEW) // 5
    assert came.from_delta == desk.patches[0].path
    assert came.fell_back is None


def test_it_goes_on_with_the_frame_where_it_stopped(desk: Desk) -> None:
    delta = desk.offer(OLD, NEW)
    server = Pretend("https://a", NEW, delta, cuts=[10**6, 500, 100])
    fails(desk, server)
    other = Pretend("https://b", NEW, delta)
    came = desk.run(other)
    assert came.resumed_from > 0
    assert came.resumed_from % MIN_SEGMENT == 0
    assert desk.place.read_bytes() == NEW
    assert came.received < 2 * len(delta)
    assert other.sent < len(delta)


def test_a_server_without_ranges_will_do(desk: Desk) -> None:
    delta = desk.offer(OLD, NEW)
    server = Pretend("https://a", NEW, delta, ranges=False)
    came = desk.run(server)
    assert (desk.place.read_bytes(), came.fell_back) == (NEW, None)
    assert came.received == server.sent


@pytest.mark.parametrize("at", [0, 300, -1, -2000])
def test_a_spoilt_one_is_had_from_the_next(desk: Desk, at: int) -> None:
    delta = desk.offer(OLD, NEW)
    spoilt = bytearray(delta)
    spoilt[at] ^= 1
    liar, honest = Pretend("https://a", NEW, bytes(spoilt)), Pretend("https://b", NEW, delta)
    came = desk.run(liar, honest)
    assert (desk.place.read_bytes(), came.fell_back) == (NEW, None)
    assert came.from_delta is not None


class TestOneServer:
    """What one server says or sends of a delta costs no more than it must."""

    def test_a_forged_404_does_not_make_it_fetch_the_whole(self, desk: Desk) -> None:
        """While the others are away; that may be the liar's work too, so it is bounded."""
        delta = desk.offer(OLD, NEW)
        liar, away = Pretend("https://a", NEW, 404), Pretend("https://b", NEW, 503)
        for _ in range(MAX_STALLS - 1):
            fails(desk, liar, away)
        assert liar.sent == 0
        away.delta = delta
        came = desk.run(liar, away)
        assert (came.fell_back, came.received) == (None, len(delta))

    def test_but_the_image_comes_whatever_it_says(self, desk: Desk) -> None:
        desk.offer(OLD, NEW)
        liar, away = Pretend("https://a", NEW, 404), Pretend("https://b", None, None)
        for _ in range(MAX_STALLS - 1):
            fails(desk, liar, away)
        assert desk.run(liar, away).fell_back is not None
        assert desk.place.read_bytes() == NEW

    @pytest.mark.parametrize("at", [300, -2000])
    def test_wrong_bytes_of_it_are_fetched_once_a_day(self, desk: Desk, at: int) -> None:
        delta = desk.offer(OLD, NEW)
        spoilt = bytearray(delta)
        spoilt[at] ^= 1
        liar, away = Pretend("https://a", NEW, bytes(spoilt)), Pretend("https://b", None, None)
        fails(desk, liar, away)
        asked, sent = len(liar.asked), liar.sent
        for _ in range(MAX_STALLS - 2):
            fails(desk, liar, away)
        assert (len(liar.asked), liar.sent) == (asked, sent)
        kept = keeper.load(desk.record)
        assert kept is not None
        assert kept.wrong_delta == ("https://a",)
        desk.clock.now += timedelta(days=1)
        liar.delta = delta
        assert desk.run(liar, away).fell_back is None

    def test_where_all_sent_wrong_bytes_of_it_the_whole_is_fetched(self, desk: Desk) -> None:
        delta = desk.offer(OLD, NEW)
        spoilt = bytes([delta[0] ^ 1]) + delta[1:]
        liar, away = Pretend("https://a", NEW, spoilt), Pretend("https://b", None, 503)
        fails(desk, liar, away)
        away.delta = spoilt
        assert "not what was signed" in (desk.run(liar, away).fell_back or "")

    def test_who_sent_wrong_bytes_is_named_where_they_used_the_budget_up(self, desk: Desk) -> None:
        delta = desk.offer(OLD, NEW)
        liar = Pretend("https://a", NEW, bytes([delta[0] ^ 1]) + delta[1:])
        desk.budget = len(NEW)
        assert "wrong bytes from https://a:" in fails(desk, liar, reason="over_budget")


class TestFalling:
    """From the delta to the whole image: at the segment reached, said, and within the budget."""

    def reasons(self, desk: Desk, kind: str) -> tuple[Pretend, str]:
        """A server that ends the delta, and the words for it."""
        delta = desk.offer(OLD, NEW)
        server = Pretend("https://a", NEW, delta)
        source = desk.patches[0].source.path
        match kind:
            case "not there":
                server.delta = 404
                return server, "it is not there (404)"
            case "spoilt":
                spoilt = bytearray(delta)
                spoilt[-1500] ^= 1
                server.delta = bytes(spoilt)
                return server, "not what was signed"
            case "header":
                server.delta = bytes([delta[0] ^ 1]) + delta[1:]
                return server, "not what was signed"
            case "length":
                server.delta = delta[:-1]
                return server, "were signed"
            case "source gone":
                source.unlink()
                return server, "it cannot be applied"
            case "source short":
                source.write_bytes(OLD[: 5 * MIN_SEGMENT + 9])
                return server, "more of the old image than there is"
            case _:
                source.write_bytes(OLD[: 5 * MIN_SEGMENT] + bytes(5 * MIN_SEGMENT))
                return server, "the old image is not what it was made from"

    KINDS = ("not there", "spoilt", "header", "length", "source gone", "source short", "other")

    @pytest.mark.parametrize("kind", KINDS)
    def test_whatever_ends_it_the_whole_goes_on(self, desk: Desk, kind: str) -> None:
        server, why = self.reasons(desk, kind)
        came = desk.run(server)
        assert desk.place.read_bytes() == NEW
        assert came.fell_back is not None
        assert why in came.fell_back
        assert "image.bin.from-0.9.0.delta" in came.fell_back
        assert came.received == server.sent
        if kind in {"source short", "other"}:
            assert server.asked[-1]["Range"].startswith(f"bytes={5 * MIN_SEGMENT}-")
        desk.place.unlink()
        asked = len(server.asked)
        assert desk.run(server).fell_back == came.fell_back
        assert len(server.asked) == asked + 1, "under this order it is not tried again"

    @pytest.mark.parametrize("kind", KINDS)
    def test_but_not_beyond_the_budget(self, desk: Desk, kind: str) -> None:
        server, why = self.reasons(desk, kind)
        desk.budget = len(NEW) // 3
        said = fails(desk, server, reason="over_budget")
        assert why in said
        assert f"of the {desk.budget}" in said
        sent = server.sent
        assert sent <= desk.budget
        fails(desk, server, reason="over_budget")
        assert server.sent == sent
        kept = keeper.load(desk.record)
        assert kept is not None
        assert kept.fell_back is not None
        desk.order = "b" * 64
        desk.budget = None
        desk.run(server)
        assert desk.place.read_bytes() == NEW

    @pytest.mark.parametrize("status", [406, 451])
    def test_what_a_filter_on_the_way_withholds_is_had_whole(self, desk: Desk, status: int) -> None:
        desk.offer(OLD, NEW)
        came = desk.run(Pretend("https://a", NEW, status))
        assert desk.place.read_bytes() == NEW
        assert f"it is not there ({status})" in (came.fell_back or "")

    @pytest.mark.parametrize("status", [500, 503, None])
    def test_a_network_that_is_away_is_no_reason(self, desk: Desk, status: int | None) -> None:
        delta = desk.offer(OLD, NEW)
        server = Pretend("https://a", NEW, status)
        fails(desk, server)
        assert server.sent == 0
        server.delta = delta
        assert desk.run(server).from_delta is not None

    def test_but_not_for_ever_where_all_else_is_answered(self, desk: Desk) -> None:
        """One file that a server cannot read keeps no gateway from its image."""
        desk.offer(OLD, NEW)
        server = Pretend("https://a", NEW, 500)
        for _ in range(MAX_STALLS - 1):
            fails(desk, server)
        came = desk.run(server)
        assert desk.place.read_bytes() == NEW
        assert f"in {MAX_STALLS} runs in a row no server could send it" in (came.fell_back or "")
        assert "500" in (came.fell_back or "")

    @pytest.mark.parametrize("by", ["order", "person"])
    def test_what_was_given_up_is_tried_again_when_people_say_so(self, desk: Desk, by: str) -> None:
        delta = desk.offer(OLD, NEW)
        server = Pretend("https://a", NEW, 500)
        for _ in range(MAX_STALLS - 1):
            fails(desk, server)
        server.cuts = [10]
        fails(desk, server)
        server.delta = delta
        if by == "order":
            desk.order = "b" * 64
        else:
            assert keeper.lift(desk.record)
        came = desk.run(server)
        assert (came.fell_back, came.resumed_from) == (None, 10)
        assert came.from_delta is not None

    def test_and_what_came_of_it_counts(self, desk: Desk) -> None:
        """Runs that get a little each never give it up."""
        delta = desk.offer(OLD, NEW)
        for _ in range(2):
            for _ in range(MAX_STALLS - 1):
                fails(desk, Pretend("https://a", NEW, 500))
            fails(desk, Pretend("https://a", NEW, delta, cuts=[10**6, 500, 100]))
        assert desk.run(Pretend("https://a", NEW, delta)).fell_back is None

    def test_a_delta_that_costs_more_than_the_rest_is_left(self, desk: Desk) -> None:
        server = Pretend("https://a", NEW, cuts=[len(NEW) - 1500])
        fails(desk, server)
        server.delta = desk.offer(OLD, NEW)
        came = desk.run(server)
        assert (came.from_delta, came.fell_back) == (None, None)
        assert desk.place.read_bytes() == NEW

    def test_what_came_whole_may_go_on_by_a_delta(self, desk: Desk) -> None:
        server = Pretend("https://a", NEW, cuts=[2 * MIN_SEGMENT + 77])
        fails(desk, server)
        server.delta = desk.offer(OLD, NEW)
        came = desk.run(server)
        assert came.resumed_from == 2 * MIN_SEGMENT + 77
        assert came.from_delta is not None
        assert desk.place.read_bytes() == NEW

    def test_lies_before_the_delta_are_laid_at_their_own_door(self, desk: Desk) -> None:
        liar = Pretend("https://a", b"?" + NEW[1:], cuts=[MIN_SEGMENT])
        fails(desk, liar)
        honest = Pretend("https://b", NEW, desk.offer(OLD, NEW))
        came = desk.run(liar, honest)
        assert desk.place.read_bytes() == NEW
        assert came.from_delta is not None
        kept = keeper.load(desk.record)
        assert kept is not None
        assert kept.wrong == ("https://a",)

    def test_what_one_server_is_too_dear_for_another_may_send(self, desk: Desk) -> None:
        """The first knows of no ranges: it would send all that is there once more."""
        delta = desk.offer(OLD, NEW)
        header = desk.patches[0].facts.header_length
        half = (header + len(delta)) // 2
        dear = Pretend("https://a", NEW, delta, ranges=False, cuts=[10**6, half])
        desk.budget = header + half + len(delta) - 1
        fails(desk, dear, reason="over_budget")
        came = desk.run(dear, Pretend("https://b", NEW, delta))
        assert desk.place.read_bytes() == NEW
        assert came.from_delta is not None
        assert came.received <= desk.budget

    def test_a_delta_to_something_else_is_applied_once(self, desk: Desk) -> None:
        """Its signers were wrong: the same frames give the same bytes, whoever sends them."""
        other = bytes([NEW[0] ^ 1]) + NEW[1:]
        delta = desk.offer(OLD, other, said=NEW)
        server = Pretend("https://a", NEW, delta, cuts=[10**6] * 9 + [0] * 99)
        came = desk.run(server)
        assert desk.place.read_bytes() == NEW
        assert came.from_delta is None
        assert came.fell_back is not None
        assert "does not give what was signed" in came.fell_back
        assert server.sent == len(delta) + len(NEW)


class TestGateway:
    """From the signed metadata to the slot, over real HTTP."""

    @pytest.fixture(params=["confirmed", "factory"])
    def running(self, request: pytest.FixtureRequest, bed: Bed, world: World) -> Bed:
        """A gateway that runs ``OLD``."""
        if request.param == "factory":
            (bed.home / "slots" / "a").write_bytes(OLD)
        else:
            world.roll_out(world.release("1.0.0", OLD))
            assert bed.install().outcome == "confirmed"
        return bed

    def test_it_comes_by_the_delta(self, running: Bed, world: World, web: Web) -> None:
        world.roll_out(world.release("2.0.0", NEW, delta_from=OLD))
        web.requests.clear()
        outcome = running.update()
        assert outcome.outcome == "rebooting", outcome
        came = outcome.more["download"]
        assert came["from_delta"].endswith(".delta")
        assert came["received"] < len(NEW) // 5
        images = [path for path in web.requests if path.startswith("/image/targets/ward")]
        assert {path.endswith(".delta") for path in images} == {True}
        running.power_on()
        assert running.confirm().outcome == "confirmed"
        assert running.running == NEW

    def test_where_it_does_not_fit_nobody_asks_for_it(
        self, running: Bed, world: World, web: Web
    ) -> None:
        world.roll_out(world.release("2.0.0", NEW, delta_from=OLD[::-1]))
        web.requests.clear()
        outcome = running.update()
        assert outcome.more["download"]["from_delta"] is None
        assert outcome.more["download"]["fell_back"] is None
        assert not any(path.endswith(".delta") for path in web.requests)

    def test_what_is_waited_for_is_shown(self, running: Bed, world: World, web: Web) -> None:
        release = world.release("2.0.0", NEW, delta_from=OLD)
        delta = next(key for key in world.store.list("image/targets/") if key.endswith(".delta"))
        web.answer(f"/{delta}", b"broken", 500)
        world.roll_out(release)
        for _ in range(2):
            outcome = running.update()
            assert (outcome.reason, outcome.exit_code) == ("network", 30)
        assert running.status()["download"]["delta_stalls"] == 2
        said = client("status", "--config", running.write_config()).out
        assert f"2 runs in a row got nothing of it; after {MAX_STALLS} the image is" in said

    def test_the_fall_is_said_and_shown(self, running: Bed, world: World, web: Web) -> None:
        release = world.release("2.0.0", NEW, delta_from=OLD)
        delta = next(key for key in world.store.list("image/targets/") if key.endswith(".delta"))
        web.answer(f"/{delta}", b"gone", 404)
        world.roll_out(release)
        running.change(download=Download(budget_bytes=len(NEW) - 1))
        outcome = running.update()
        assert (outcome.reason, outcome.exit_code) == ("over_budget", 30)
        assert "it is not there (404)" in outcome.detail
        shown = running.status()["download"]
        assert "it is not there (404)" in shown["fell_back"]
        assert shown["budget_bytes"] == len(NEW) - 1
        assert (shown["kept"], shown["length"]) == (0, len(NEW))
        running.change(download=Download())
        outcome = running.update()
        assert outcome.outcome == "rebooting"
        assert "it is not there (404)" in outcome.more["download"]["fell_back"]
        came = running.journal.came
        assert came is not None
        assert came.fell_back == outcome.more["download"]["fell_back"]
