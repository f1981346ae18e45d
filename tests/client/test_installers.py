"""The contract that every installer keeps, whatever it is (``interlock_client.install``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interlock_client import boot
from interlock_client.boot import Slot
from interlock_client.contents import SlotContent, differing
from interlock_client.install import Installer, Wanted
from interlock_client.install.sides import same
from interlock_client.installers import Rauc, SWUpdate
from interlock_client.tables import SlotPaths
from interlock_core.errors import ConfigurationError, InterlockError, RefusedError, TransientError
from tests.client.rigs import RIGS, DeviceRig, Rig, in_use, rigged
from tests.client.test_power import cut


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with rigged(request.param, tmp_path / "rig") as made:
        yield made


def deliver(rig: Rig, contents: dict[str, bytes], target: bytes | None = None) -> Wanted:
    """What the agent does until the slots hold something: fetch, verify, install."""
    wanted, packed = rig.wanted(contents)
    installer = rig.installer()
    installer.check(wanted)
    assert installer.room() >= wanted.length
    write(installer, packed if target is None else target)
    installer.install(wanted)
    return wanted


def write(installer: Installer, data: bytes) -> None:
    with installer.destination().open() as writer:
        for start in range(0, len(data), 10_000):
            writer.write(data[start : start + 10_000])
        writer.finish()


def is_right(rig: Rig, side: Slot, contents: tuple[SlotContent, ...]) -> bool:
    return differing(contents, rig.installer().read_back(side, contents)) is None


class TestWriting:
    def test_it_fills_the_side_that_does_not_run_and_that_alone(self, rig: Rig) -> None:
        before, contents = rig.holds("a"), rig.contents("new")
        wanted = deliver(rig, contents)
        assert rig.holds("a") == before
        for name, data in rig.holds("b").items():
            assert data[: len(contents[name])] == contents[name]
        assert is_right(rig, "b", wanted.contents)

    def test_the_other_side_is_next(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer().arm()
        assert rig.boot() == "b"
        rig.installer().commit("b")
        assert rig.boot() == "b"
        before = rig.holds("b")
        wanted = deliver(rig, rig.contents("newer"))
        assert rig.holds("b") == before
        assert is_right(rig, "a", wanted.contents)

    def test_what_was_longer_leaves_nothing_that_is_asked_for(self, rig: Rig) -> None:
        deliver(rig, {name: data * 2 for name, data in rig.contents("old").items()})
        wanted = deliver(rig, rig.contents("new"))
        assert is_right(rig, "b", wanted.contents)
        if not isinstance(rig, DeviceRig):
            assert rig.holds("b") == rig.contents("new")

    def test_it_may_be_done_again(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        wanted = deliver(rig, rig.contents("new"))
        assert is_right(rig, "b", wanted.contents)
        assert rig.installer().standing().good == ("a",)

    def test_the_copy_is_private_and_goes(self, rig: Rig) -> None:
        if not rig.installer().unpacks:
            assert rig.installer().destination().path in rig.paths("b")
            return
        deliver(rig, rig.contents("new"))
        copy = rig.installer().destination().path
        assert copy.stat().st_mode & 0o777 == 0o600
        assert copy.parent.stat().st_mode & 0o777 == 0o700
        rig.installer().discard()
        assert not copy.exists()
        rig.installer().discard()

    def test_a_directory_that_others_may_enter_is_no_private_place(self, rig: Rig) -> None:
        installer = rig.installer()
        if installer.unpacks:
            installer.destination().path.parent.chmod(0o755)
            with pytest.raises(ConfigurationError, match="not private"):
                installer.destination()

    def test_a_copy_that_was_changed_is_not_unpacked(self, rig: Rig) -> None:
        if not rig.installer().unpacks:
            return
        before = rig.holds("b")
        with pytest.raises(RefusedError) as caught:
            deliver(rig, rig.contents("new"), rig.wanted(rig.contents("evil"))[1])
        assert caught.value.reason == "hash_mismatch"
        assert rig.holds("b") == before


class TestWhatFits:
    def test_a_slot_that_is_not_there(self, rig: Rig) -> None:
        contents = {f"other-{name}": data for name, data in rig.contents("new").items()}
        wanted, _ = rig.wanted(contents)
        with pytest.raises(RefusedError) as caught:
            rig.installer().check(wanted)
        assert caught.value.reason == "installer_refused"

    def test_a_slot_that_is_left_out(self, rig: Rig) -> None:
        """Nothing runs beside what an older release, or half an installation, left there."""
        contents = rig.contents("new")
        for name in rig.names if len(rig.names) > 1 else ():
            some = {other: data for other, data in contents.items() if other != name}
            before = rig.holds("b")
            with pytest.raises(RefusedError, match=f"nothing of the slot {name}") as caught:
                deliver(rig, some)
            assert caught.value.reason == "installer_refused"
            assert rig.holds("b") == before

    def test_a_bundle_that_was_signed_as_the_content_of_a_slot(self, rig: Rig) -> None:
        """Where `contents` was forgotten in the release: said before it costs the other side."""
        if not isinstance(rig.settings(), Rauc | SWUpdate):
            return
        wanted, _ = rig.wanted(rig.contents("new"))
        itself = SlotContent(name="rootfs", length=wanted.length, sha256=wanted.sha256)
        with pytest.raises(RefusedError, match="release it with `contents`") as caught:
            rig.installer().check(Wanted(wanted.path, wanted.length, wanted.sha256, (itself,)))
        assert caught.value.reason == "installer_refused"

    def test_a_device_that_is_in_use(self, rig: Rig) -> None:
        """Settings that name the side that runs by mistake are found before they do harm."""
        if not isinstance(rig, DeviceRig):
            return
        before, good = rig.holds("b"), rig.installer().standing().good
        wanted, packed = rig.wanted(rig.contents("new"))
        with in_use(rig.path("b", "rootfs")):
            with pytest.raises(ConfigurationError, match="in use"):
                rig.installer().check(wanted)
            with pytest.raises(ConfigurationError, match="in use"):
                write(rig.installer(), packed)
        assert rig.holds("b") == before
        assert rig.installer().standing().good == good
        assert deliver(rig, rig.contents("new")) == wanted

    def test_a_slot_that_is_too_small(self, rig: Rig) -> None:
        wanted, _ = rig.wanted(rig.contents("new"))
        (first, *rest) = wanted.contents
        huge = SlotContent(name=first.name, length=2**45, sha256=first.sha256)
        whole = Wanted(wanted.path, wanted.length, wanted.sha256, (huge, *rest))
        if not rig.installer().unpacks:
            whole = Wanted(wanted.path, huge.length, wanted.sha256, (huge,))
        with pytest.raises(TransientError) as caught:
            rig.installer().check(whole)
        assert caught.value.reason == "no_space"


class TestReadingBack:
    def test_a_flipped_byte_is_seen(self, rig: Rig) -> None:
        """Whatever whoever wrote it said of it."""
        wanted = deliver(rig, rig.contents("new"))
        for content in wanted.contents:
            data = bytearray(rig.holds("b")[content.name])
            data[content.length - 1] ^= 1
            rig.fill("b", content.name, bytes(data))
            found = rig.installer().read_back("b", wanted.contents)
            assert differing(wanted.contents, found) == content.name
            data[content.length - 1] ^= 1
            rig.fill("b", content.name, bytes(data))
        assert is_right(rig, "b", wanted.contents)

    def test_a_slot_that_is_too_short_or_not_there_is_seen(self, rig: Rig) -> None:
        wanted, _ = rig.wanted(rig.contents("new"))
        assert not is_right(rig, "b", wanted.contents)
        assert not is_right(rig, "a", wanted.contents)

    def test_a_slot_that_nobody_knows_has_no_digest(self, rig: Rig) -> None:
        wanted = deliver(rig, rig.contents("new"))
        strange = SlotContent(name="strange", length=1, sha256="0" * 64)
        found = rig.installer().read_back("b", (*wanted.contents, strange))
        assert "strange" not in found
        assert differing((strange,), found) == "strange"

    def test_what_is_measured_is_what_is_read_back(self, rig: Rig) -> None:
        measured = rig.installer().measure("a")
        assert {content.name for content in measured} == set(rig.names)
        assert is_right(rig, "a", measured)


class TestBooting:
    def test_what_is_written_is_not_booted_until_it_is_armed(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        assert rig.installer().standing().armed is None
        assert rig.boot() == "a"
        rig.installer().arm()
        rig.installer().arm()
        standing = rig.installer().standing()
        assert (standing.booted, standing.active, standing.armed) == ("a", "a", "b")
        assert rig.boot() == "b"

    def test_it_falls_back_when_its_tries_are_used_up_and_says_so(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer(tries=2).arm()
        assert [rig.boot() for _ in range(4)] == ["b", "b", "a", "a"]
        standing = rig.installer().standing()
        assert (standing.fell_back, standing.armed, standing.good) == ("b", None, ("a",))
        deliver(rig, rig.contents("newer"))
        assert rig.installer().standing().fell_back is None, "what fell back is not there any more"

    def test_what_is_disarmed_is_not_booted(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer().arm()
        rig.installer().disarm()
        rig.installer().disarm()
        assert rig.boot() == "a"
        assert rig.installer().standing().fell_back is None

    def test_what_is_committed_boots_from_then_on(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer().arm()
        assert rig.boot() == "b"
        with pytest.raises(RefusedError) as caught:
            rig.installer().inactive()
        assert caught.value.reason == "unexpected_slot"
        rig.installer().commit("b")
        rig.installer().commit("b")
        assert [rig.boot() for _ in range(4)] == ["b"] * 4
        standing = rig.installer().standing()
        assert (standing.active, set(standing.good)) == ("b", {"a", "b"})
        assert rig.installer().inactive() == "a"

    def test_what_is_abandoned_is_good_no_more(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer().arm()
        rig.boot()
        rig.installer().commit("b")
        rig.installer().abandon("b")
        assert rig.boot() == "a"
        assert rig.installer().standing().good == ("a",)

    def test_writing_disarms(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer().arm()
        deliver(rig, rig.contents("newer"))
        assert rig.installer().standing().armed is None
        assert rig.boot() == "a"

    def test_nothing_is_written_where_nobody_knows_what_runs(self, rig: Rig) -> None:
        rig.forget_booted()
        before = rig.holds("a"), rig.holds("b")
        with pytest.raises(ConfigurationError) as caught:
            deliver(rig, rig.contents("new"))
        assert caught.value.reason == "booted_unknown"
        assert (rig.holds("a"), rig.holds("b")) == before

    def test_nothing_is_written_while_unconfirmed_firmware_runs(self, rig: Rig) -> None:
        deliver(rig, rig.contents("new"))
        rig.installer().arm()
        rig.boot()
        before = rig.holds("a"), rig.holds("b")
        with pytest.raises(RefusedError) as caught:
            deliver(rig, rig.contents("newer"))
        assert caught.value.reason == "unexpected_slot"
        assert (rig.holds("a"), rig.holds("b")) == before


class TestOneSlotUnderTwoNames:
    """Whichever side runs, and however the second name came to be."""

    @pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
    @pytest.mark.parametrize("linked", ["a", "b"])
    def test_a_link(self, rig: Rig, link: str, linked: Slot) -> None:
        name = rig.names[-1]
        mine, other = rig.home / "mine", rig.path(boot.other(linked), name)
        if isinstance(rig, DeviceRig) and link == "hardlink_to":
            pytest.skip("a device is in a file system of its own")
        if not other.exists():
            rig.fill(boot.other(linked), name, b"something")
        getattr(mine, link)(other)
        self.refuses(rig, linked, mine)

    @pytest.mark.parametrize("linked", ["a", "b"])
    def test_a_device_by_another_node(self, rig: Rig, linked: Slot) -> None:
        if not isinstance(rig, DeviceRig):
            return
        node = rig.home / "node"
        device = rig.path(boot.other(linked), "rootfs").stat()
        os.mknod(node, device.st_mode, device.st_rdev)
        self.refuses(rig, linked, node)

    @staticmethod
    def refuses(rig: Rig, linked: Slot, path: Path) -> None:
        slots = {**rig.paths(linked).by_name, rig.names[-1]: path}
        installer = rig.installer(**{linked: SlotPaths(slots)})
        before = rig.holds("a"), rig.holds("b")
        wanted, packed = rig.wanted(rig.contents("new"))
        acts: list[Callable[[], object]] = [
            lambda: installer.check(wanted),
            lambda: write(installer, packed),
            lambda: installer.install(wanted),
            installer.arm,
        ]
        for act in acts:
            with suppress(ConfigurationError):
                act()
        with pytest.raises(ConfigurationError, match="one and the same"):
            installer.inactive()
        assert (rig.holds("a"), rig.holds("b")) == before
        assert rig.installer().standing().armed is None


class TestPowerCuts:
    """The power goes before any change of ours: nothing boots that was not armed."""

    def test_while_it_is_written(self, rig: Rig) -> None:
        """A re-run ends in the same state."""
        before, contents = rig.holds("a"), rig.contents("new")
        wanted, _ = rig.wanted(contents)
        step = 0
        while cut(lambda: deliver(rig, contents), step):
            assert rig.boot() == "a"
            assert rig.holds("a") == before
            assert rig.installer().standing().armed is None
            rig.installer().discard()
            step += 1 if step < 12 else 5
        assert step > 5
        assert is_right(rig, "b", wanted.contents)
        assert not (set("b") & set(rig.installer().standing().good))

    def test_while_it_is_armed_and_committed(self, rig: Rig) -> None:
        """Each is one switch: before or after, and nothing else."""
        deliver(rig, rig.contents("new"))
        step = 0
        while cut(rig.installer().arm, step):
            standing = rig.installer().standing()
            assert standing.active == "a"
            assert standing.armed in {None, "b"}
            rig.installer().disarm()
            step += 1
        assert rig.boot() == "b"
        step = 0
        while cut(lambda: rig.installer().commit("b"), step):
            assert rig.installer().standing().active in {"a", "b"}
            step += 1
        assert rig.boot() == "b"


def test_no_two_slots_are_the_same_by_chance(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert not same(one, other)
    one.write_bytes(b"x")
    other.write_bytes(b"x")
    assert not same(one, other)
    assert same(one, tmp_path / "." / "one")


def test_every_refusal_names_what_to_do(rig: Rig) -> None:
    """A message that ends in a name and a reason is what a person at the hospital reads."""
    wanted, _ = rig.wanted({f"x-{name}": b"x" for name in rig.names})
    with pytest.raises(InterlockError) as caught:
        rig.installer().check(wanted)
    assert wanted.path in str(caught.value)
