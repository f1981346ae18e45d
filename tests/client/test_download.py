"""A download goes on where it stood, from whatever server there is, and believes nobody."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from interlock_client.download import fetch, keeper
from interlock_client.install.destination import Destination
from interlock_core import durable
from interlock_core.errors import Exit, InterlockError, RefusedError, TransientError
from tests.client.pretend import Desk, Pretend
from tests.support.people import DAY0

IMAGE = bytes(range(256)) * 4


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, IMAGE)


def fails(desk: Desk, *servers: Pretend, reason: str = "network") -> InterlockError:
    with pytest.raises((TransientError, RefusedError)) as caught:
        desk.run(*servers)
    assert caught.value.reason == reason, str(caught.value)
    code = Exit.REFUSED if reason == "hash_mismatch" else Exit.TRANSIENT
    assert caught.value.exit_code is code
    return caught.value


def ranges(server: Pretend) -> list[str]:
    return [headers.get("Range", "all") for headers in server.asked]


class TestGoingOn:
    """What is there is not fetched again."""

    def test_a_whole_one_is_one_request(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE)
        came = desk.run(server)
        assert (came.received, came.resumed_from) == (len(IMAGE), 0)
        assert desk.place.read_bytes() == IMAGE
        assert server.asked == [{}]
        assert desk.seen[-1] == (len(IMAGE), len(IMAGE))

    def test_it_goes_on_at_the_very_byte(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE, cuts=[333, 50])
        fails(desk, server)
        fails(desk, server)
        desk.seen.clear()
        came = desk.run(server)
        assert came.resumed_from == 383
        assert came.received == len(IMAGE) == server.sent
        assert server.asked[1:] == [
            {"Range": "bytes=333-1023", "If-Range": '"one"'},
            {"Range": "bytes=383-1023", "If-Range": '"one"'},
        ]
        assert desk.place.read_bytes() == IMAGE
        assert desk.seen[0] == (383, 1024), "hashing again is shown too"

    def test_the_next_server_goes_on_where_one_stopped(self, desk: Desk) -> None:
        one = Pretend("https://a", IMAGE, cuts=[500])
        two = Pretend("https://b", IMAGE, cuts=[100], etag='"another"')
        three = Pretend("https://c", IMAGE)
        desk.run(one, two, three)
        assert ranges(two) == ["bytes=500-1023"]
        assert ranges(three) == ["bytes=600-1023"]
        assert "If-Range" not in three.asked[0], "a validator is its own server's alone"

    def test_rounds_go_on_while_they_bring_something(self, tmp_path: Path) -> None:
        """A proxy that cuts every long connection costs connections, and nothing else."""
        image = os.urandom(3 * fetch.LEAST_PROGRESS)
        desk = Desk(tmp_path, image, segment=1 << 18)
        server = Pretend("https://a", image, cuts=[fetch.LEAST_PROGRESS] * 2)
        began = desk.clock.seconds
        assert desk.run(server).received == len(image)
        assert len(server.asked) == 3
        assert desk.clock.seconds - began == pytest.approx(2 * fetch.ROUND_SECONDS)

    def test_and_end_when_they_bring_next_to_nothing(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path, os.urandom(1 << 20))
        server = Pretend("https://a", desk.image, cuts=[fetch.LEAST_PROGRESS - 1] * 9)
        fails(desk, server)
        assert len(server.asked) == 1

    def test_and_when_they_mostly_repeat(self, tmp_path: Path) -> None:
        """A server that always begins anew, and breaks off a little later each time."""
        desk = Desk(tmp_path, os.urandom(12 * fetch.LEAST_PROGRESS), segment=1 << 20)
        cuts = [step * fetch.LEAST_PROGRESS for step in range(1, 12)]
        server = Pretend("https://a", desk.image, ranges=False, cuts=cuts)
        fails(desk, server)
        assert server.sent < len(desk.image)

    def test_another_target_begins_anew(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE, cuts=[333])
        fails(desk, server)
        desk.image = IMAGE[::-1]
        assert desk.run(Pretend("https://a", desk.image)).resumed_from == 0
        assert desk.place.read_bytes() == IMAGE[::-1]

    def test_the_same_target_by_a_newer_order_goes_on(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE, cuts=[333])
        fails(desk, server)
        desk.order = "b" * 64
        came = desk.run(server)
        assert (came.resumed_from, came.received) == (333, len(IMAGE) - 333)

    def test_at_another_place_nothing_is_kept(self, desk: Desk, tmp_path: Path) -> None:
        server = Pretend("https://a", IMAGE, cuts=[333])
        fails(desk, server)
        came = desk.run(server, place=tmp_path / "other")
        assert (came.resumed_from, came.received) == (0, 333 + len(IMAGE))
        assert (tmp_path / "other").read_bytes() == IMAGE

    @pytest.mark.parametrize("spoil", [b"", IMAGE[:332], IMAGE[:332] + b"?"])
    def test_what_is_not_there_any_more_is_fetched_again(self, desk: Desk, spoil: bytes) -> None:
        fails(desk, Pretend("https://a", IMAGE, cuts=[333]))
        desk.place.write_bytes(spoil)
        assert desk.run(Pretend("https://a", IMAGE)).resumed_from == 0
        assert desk.place.read_bytes() == IMAGE

    def test_a_damaged_record_costs_bytes_and_nothing_else(self, desk: Desk) -> None:
        fails(desk, Pretend("https://a", IMAGE, cuts=[333]))
        desk.record.write_bytes(desk.record.read_bytes()[:-20])
        assert desk.run(Pretend("https://a", IMAGE)).resumed_from == 0
        assert desk.place.read_bytes() == IMAGE

    def test_what_was_whole_before_it_was_noted_elsewhere_costs_no_request(
        self, desk: Desk
    ) -> None:
        desk.run(Pretend("https://a", IMAGE))
        away = Pretend("https://a", None)
        assert desk.run(away).resumed_from == len(IMAGE)
        assert away.asked == []

    def test_a_longer_file_is_cut(self, desk: Desk) -> None:
        desk.place.write_bytes(bytes(5000))
        desk.run(Pretend("https://a", IMAGE))
        assert desk.place.read_bytes() == IMAGE


class TestValidators:
    """If-Range helps where it can, and is never believed."""

    @pytest.mark.parametrize("etag", ['W/"weak"', None, "rubbish", '"' + "x" * 300 + '"'])
    def test_without_a_strong_one_the_digest_decides(self, desk: Desk, etag: str | None) -> None:
        server = Pretend("https://a", IMAGE, cuts=[333], etag=etag)
        fails(desk, server)
        desk.run(server)
        assert server.asked[1] == {"Range": "bytes=333-1023"}

    def test_a_changed_one_sends_all_again_and_what_is_right_stays(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE, cuts=[333])
        fails(desk, server)
        server.etag = '"two"'
        acts: list[tuple[str, str]] = []
        with durable.watching(lambda act, path: acts.append((act, path.name))):
            came = desk.run(server)
        assert came.received == 333 + len(IMAGE), "every byte is counted"
        assert desk.place.read_bytes() == IMAGE
        assert desk.place.stat().st_size == len(IMAGE)

    def test_what_is_right_is_not_written_again(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE, cuts=[1000], ranges=False)
        fails(desk, server)
        written = 0
        pwrite = os.pwrite

        def counted(descriptor: int, data: memoryview, offset: int) -> int:
            nonlocal written
            done = pwrite(descriptor, data, offset)
            written += done
            return done

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "pwrite", counted)
            desk.run(server)
        assert written == len(IMAGE) - 1000
        assert desk.place.read_bytes() == IMAGE

    def test_a_server_that_changed_its_mind_wins_from_the_first_difference(
        self, desk: Desk
    ) -> None:
        spoilt = IMAGE[:100] + b"?" + IMAGE[101:]
        liar = Pretend("https://a", spoilt, cuts=[600])
        fails(desk, liar)
        honest = Pretend("https://b", IMAGE, ranges=False)
        desk.run(honest)
        assert desk.place.read_bytes() == IMAGE
        assert len(honest.asked) == 1

    def test_one_that_breaks_off_while_it_repeats_takes_nothing_away(self, desk: Desk) -> None:
        server = Pretend("https://a", IMAGE, cuts=[600, 500], ranges=False)
        fails(desk, server)
        fails(desk, server)
        other = Pretend("https://b", IMAGE)
        assert desk.run(other).resumed_from == 600
        assert ranges(other) == ["bytes=600-1023"]


class TestLies:
    """Wrong bytes are found at the end, and laid at the right door."""

    def test_a_liar_is_followed_by_the_next_from_the_beginning(self, desk: Desk) -> None:
        liar = Pretend("https://a", IMAGE[:-1] + b"?")
        honest = Pretend("https://b", IMAGE)
        came = desk.run(liar, honest)
        assert came.received == 2 * len(IMAGE)
        assert desk.place.read_bytes() == IMAGE
        assert (ranges(liar), ranges(honest)) == (["all"], ["all"])

    def test_of_two_nobody_knows_who_lied_so_each_is_tried_alone(self, desk: Desk) -> None:
        liar = Pretend("https://a", b"?" + IMAGE[1:], cuts=[500])
        honest = Pretend("https://b", IMAGE)
        desk.run(liar, honest)
        assert ranges(liar) == ["all", "all"]
        assert ranges(honest) == ["bytes=500-1023", "all"]
        assert desk.place.read_bytes() == IMAGE

    def test_alone_means_that_no_bytes_are_mixed_whatever_breaks(self, desk: Desk) -> None:
        liar = Pretend("https://a", b"?" + IMAGE[1:], cuts=[500, 400])
        honest = Pretend("https://b", IMAGE, cuts=[600, 300])
        away = Pretend("https://c", None)
        fails(desk, liar, honest, away)
        assert ranges(honest) == ["bytes=500-1023", "all"]
        came = desk.run(liar, honest, away)
        assert ranges(honest)[2:] == ["bytes=300-1023"], "whose bytes are there is asked first"
        assert came.resumed_from == 300
        assert desk.place.read_bytes() == IMAGE

    def test_a_copy_that_was_mended_in_the_middle_is_had_whole(self, desk: Desk) -> None:
        """Bytes of one server, of before and after: that proves nothing."""
        server = Pretend("https://a", b"?" + IMAGE[1:], cuts=[500])
        fails(desk, server)
        server.data = IMAGE
        desk.run(server)
        assert ranges(server) == ["all", "bytes=500-1023", "all"]
        assert desk.place.read_bytes() == IMAGE

    def test_where_nobody_has_it_each_is_asked_once(self, desk: Desk) -> None:
        liars = [Pretend(f"https://{name}", bytes([name]) * 1024) for name in range(3)]
        error = fails(desk, *liars, reason="hash_mismatch")
        assert "ward-gateway/1.0.0/image.bin" in str(error)
        assert [len(liar.asked) for liar in liars] == [1, 1, 1]
        kept = keeper.load(desk.record)
        assert kept is not None
        assert kept.kept == 0

    def test_and_then_less_and_less_often(self, desk: Desk) -> None:
        liar = Pretend("https://a", bytes(1024))
        asked = []
        for _ in range(4 * 24 * 10):
            fails(desk, liar, reason="hash_mismatch")
            asked.append(len(liar.asked))
            desk.clock.now += timedelta(minutes=15)
        assert asked[0] == 1
        assert asked[1] == 2, "once more at the next poll: a cache may be healing"
        assert asked[2] == 2
        assert asked[24 * 4] < 10
        assert asked[-1] < 20, "at most once a day in the end"
        liar.data = IMAGE
        desk.clock.now += timedelta(days=1)
        desk.run(liar)

    def test_a_clock_that_went_back_ends_the_wait(self, desk: Desk) -> None:
        liar = Pretend("https://a", bytes(1024))
        for _ in range(3):
            fails(desk, liar, reason="hash_mismatch")
        assert len(liar.asked) == 2
        desk.clock.now -= timedelta(days=20 * 365)
        liar.data = IMAGE
        desk.run(liar)

    @pytest.mark.parametrize("end", ["order", "person", "server"])
    def test_what_ends_the_wait(self, desk: Desk, end: str) -> None:
        liar = Pretend("https://a", bytes(1024))
        for _ in range(3):
            fails(desk, liar, reason="hash_mismatch")
        honest = Pretend("https://a", IMAGE)
        if end == "order":
            desk.order = "b" * 64
        elif end == "person":
            assert keeper.lift(desk.record)
        else:
            honest = Pretend("https://b", IMAGE)
        desk.run(honest)
        assert len(liar.asked) == 2

    def test_a_liar_is_left_alone_while_another_is_away_and_asked_again_after_a_day(
        self, desk: Desk
    ) -> None:
        liar, away = Pretend("https://a", bytes(1024)), Pretend("https://b", None)
        for _ in range(3):
            fails(desk, liar, away)
        assert len(liar.asked) == 1
        liar.data = IMAGE
        desk.clock.now += timedelta(days=1)
        desk.run(liar, away)

    @pytest.mark.parametrize("data", [IMAGE[:-1], IMAGE + b"?", IMAGE[:300]])
    def test_another_length_is_refused_before_it_is_read(self, desk: Desk, data: bytes) -> None:
        liar = Pretend("https://a", data)
        fails(desk, liar, reason="hash_mismatch")
        fails(desk, Pretend("https://b", IMAGE, cuts=[500]), liar)
        fails(desk, liar, reason="hash_mismatch")
        assert liar.sent == 0
        assert desk.run(liar, Pretend("https://b", IMAGE)).resumed_from == 500

    def test_every_hash_that_was_signed_is_checked(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = desk.wanted(IMAGE)
        wanted.info.hashes["sha512"] = "0" * 128  # type: ignore[index]  # a dict here
        monkeypatch.setattr(desk, "wanted", lambda _: wanted)
        fails(desk, Pretend("https://a", IMAGE), reason="hash_mismatch")


class TestBudget:
    """What an order's image may cost, failed tries included."""

    def test_it_is_not_begun_where_it_cannot_be_afforded(self, desk: Desk) -> None:
        desk.budget = len(IMAGE) - 1
        server = Pretend("https://a", IMAGE)
        error = fails(desk, server, reason="over_budget")
        assert "1024 bytes are still to be fetched" in str(error)
        assert server.asked == []

    def test_what_fails_is_counted(self, desk: Desk) -> None:
        desk.budget = len(IMAGE) + 500
        server = Pretend("https://a", IMAGE, cuts=[333] * 9, ranges=False)
        for _ in range(2):
            fails(desk, server)
        assert server.sent == 666
        error = fails(desk, server, reason="over_budget")
        assert "666 of the 1524" in str(error)
        assert server.sent == 666

    def test_a_server_without_ranges_is_passed_over_for_one_with(self, desk: Desk) -> None:
        desk.budget = len(IMAGE)
        plain = Pretend("https://a", IMAGE, cuts=[333], ranges=False)
        fails(desk, plain, reason="network")
        fails(desk, plain, reason="over_budget")
        assert plain.sent == 333
        assert desk.run(plain, Pretend("https://b", IMAGE)).received == len(IMAGE)

    def test_wrong_bytes_are_paid_for(self, desk: Desk) -> None:
        desk.budget = len(IMAGE) + 1
        liar, honest = Pretend("https://a", bytes(1024)), Pretend("https://b", IMAGE)
        fails(desk, liar, honest, reason="over_budget")
        assert honest.asked == []

    @pytest.mark.parametrize("by", ["order", "person", "day"])
    def test_who_spent_it_on_wrong_bytes_does_not_do_so_again(self, desk: Desk, by: str) -> None:
        """It is asked, but after all others."""
        desk.budget = len(IMAGE) + 1 if by != "day" else 2 * len(IMAGE) + 1
        liar, honest = Pretend("https://a", bytes(1024)), Pretend("https://b", IMAGE)
        if by == "day":
            honest.data = None
            fails(desk, liar, honest)
            honest.data = IMAGE
            desk.clock.now += timedelta(days=1)
        else:
            fails(desk, liar, honest, reason="over_budget")
            assert by != "person" or keeper.lift(desk.record)
            desk.order = "b" * 64 if by == "order" else desk.order
        desk.run(liar, honest)
        assert len(liar.asked) == 1
        assert desk.place.read_bytes() == IMAGE

    @pytest.mark.parametrize("by", ["order", "person", "setting"])
    def test_what_lifts_it(self, desk: Desk, by: str) -> None:
        desk.budget = len(IMAGE)
        server = Pretend("https://a", IMAGE, cuts=[333, 100], ranges=False)
        fails(desk, server)
        fails(desk, server, reason="over_budget")
        if by == "order":
            desk.order = "b" * 64
        elif by == "person":
            assert keeper.lift(desk.record)
            assert not keeper.lift(desk.record)
        else:
            desk.budget *= 2
        server.cuts.clear()
        assert desk.run(server).resumed_from == 333


class TestPlace:
    """Space, and disks that fail."""

    def test_space_is_looked_at_before_anything_is_asked(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Destination, "room", lambda _: len(IMAGE) - 1)
        server = Pretend("https://a", IMAGE)
        fails(desk, server, reason="no_space")
        assert server.asked == []
        assert not desk.place.exists()

    @pytest.mark.parametrize("aside", [False, True])
    def test_a_disk_that_fails_is_said_and_gone_on_with(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, aside: bool
    ) -> None:
        server = Pretend("https://a", IMAGE)
        calls = 0

        def failing(_: int) -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise OSError(5, "Input/output error")

        monkeypatch.setattr("tests.client.pretend.PIECE", 100)
        monkeypatch.setattr(os, "fdatasync", failing)
        with pytest.raises(TransientError) as caught:
            desk.run(server, aside=aside)
        assert caught.value.reason == "disk"
        sent = server.sent
        kept = keeper.load(desk.record)
        assert kept is not None
        assert kept.kept == 200, "what that flush was for does not count as kept"
        assert kept.received == sent
        assert desk.run(server).resumed_from == 200
        assert desk.place.read_bytes() == IMAGE

    def test_both_hands_at_once_end_the_same(self, desk: Desk, tmp_path: Path) -> None:
        image = os.urandom(1 << 20)
        other = Desk(tmp_path, image, segment=1 << 16)
        server = Pretend("https://a", image)
        assert other.run(server, aside=True).received == len(image)
        assert other.place.read_bytes() == image


def test_the_time_of_a_run_ends_and_the_next_goes_on(desk: Desk) -> None:
    server = Pretend("https://a", IMAGE, cuts=[400])
    slow = Pretend("https://b", IMAGE)
    opened = server.opened

    def long(*args: object) -> object:
        desk.clock.seconds += 4000
        return opened(*args)  # type: ignore[arg-type]

    server.opened = long  # type: ignore[method-assign,assignment]
    error = fails(desk, server, slow)
    assert "400 of 1024" in str(error)
    assert slow.asked == []
    assert desk.run(slow).resumed_from == 400
    assert desk.clock.now == DAY0
