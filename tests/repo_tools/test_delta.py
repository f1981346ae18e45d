"""Deltas are made at staging, travel and are signed with the release, and are looked at again."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core.delta import MAX_PREFIX, MAX_RANGES, Header
from interlock_core.release import Delta, Image
from interlock_core.released import read_facts
from interlock_core.wire import sha256_hex
from interlock_repo import staging
from interlock_repo.choosing import PAGE, Chooser
from interlock_repo.deltas import SEGMENT, check_delta, header_of, make_delta
from interlock_repo.event import EVENT_FILE
from interlock_repo.staging import measure
from tests.repo_tools.world import PRODUCT, Said, World, tool

MANAGERS = ("rosa", "raul")
MIB = 1024 * 1024
CHANCE = random.Random(6)  # noqa: S311  # bytes that do not compress, the same each time
BIG = CHANCE.randbytes(5 * MIB + 77_777)
MOVED = BIG[:MIB] + b"A file that grew." * 300 + BIG[MIB:]
PATH = f"{PRODUCT}/1.1.0/fw.img.from-1.0.0.delta"


def metadata(event: Path) -> Targets:
    [file] = (event / "metadata").iterdir()
    return Metadata[Targets].from_bytes(file.read_bytes()).signed


def image_of(world: World, version: str, data: bytes) -> Path:
    """Write over the image of a release that is not staged yet."""
    path = world.place / f"release-{version}" / "fw.img"
    path.write_bytes(data)
    return path


def released(world: World, data: bytes = BIG) -> Path:
    """Release 1.0.0; returns the file that was."""
    spec = world.release()
    image_of(world, "1.0.0", data)
    event = world.in_force("stage", spec, MANAGERS)
    return event / "targets" / PRODUCT / "1.0.0" / "fw.img"


def staged(
    world: World, *words: str | Path, data: bytes = MOVED, event: str = "next", **more: Any
) -> Said:
    spec = world.release("1.1.0", 2, **more)
    image_of(world, "1.1.0", data)
    return world.make("stage", world.place / event, spec, *words)


def test_a_delta_is_signed_as_a_target_and_named_by_the_image(
    delegated: World, tmp_path: Path
) -> None:
    old = released(delegated)
    made = staged(delegated, "--delta-from", old)
    assert made.code == 0, made.err
    targets = metadata(tmp_path / "next").targets
    image = read_facts(f"{PRODUCT}/1.1.0/fw.img", targets[f"{PRODUCT}/1.1.0/fw.img"])
    delta = read_facts(PATH, targets[PATH])
    assert isinstance(image, Image)
    assert isinstance(delta, Delta)
    assert [(r.path, r.sha256) for r in image.references if r.kind == "delta"] == [
        (PATH, targets[PATH].hashes["sha256"])
    ]
    assert (delta.from_slot, delta.from_sha256) == ("rootfs", sha256_hex(BIG))
    assert (delta.from_length, delta.to_sha256) == (len(BIG), sha256_hex(MOVED))
    assert targets[PATH].length < 20_000
    saved = f"+ {PATH}: {targets[PATH].length:,} bytes in place of {len(MOVED):,}"
    assert saved in made.out
    assert "where slot rootfs holds 1.0.0" in made.out
    for act in ("review", "status"):
        shown = tool(act, tmp_path / "next")
        assert f"{PATH}: {targets[PATH].length:,} bytes in place of" in shown.out
    assert not list(tmp_path.glob(".interlock-delta-*"))


def test_review_applies_it_to_the_old_image(delegated: World, tmp_path: Path) -> None:
    old = released(delegated)
    assert staged(delegated, "--delta-from", old).code == 0
    shown = tool("review", tmp_path / "next", "--delta-from", old, "--json")
    assert shown.code == 0, shown.err
    assert shown.answer["applied"] == [PATH]
    other = tmp_path / "other.img"
    other.write_bytes(BIG[:-1])
    refused = tool("review", tmp_path / "next", "--delta-from", other, "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "unknown_source")


def test_it_is_published_and_stays_through_releases_renewals_and_withdrawals(
    delegated: World, tmp_path: Path
) -> None:
    old = released(delegated)
    assert staged(delegated, "--delta-from", old).code == 0
    for person in MANAGERS:
        assert delegated.sign(tmp_path / "next", person).code == 0
    delegated.put_in_force(tmp_path / "next")
    listed = metadata(tmp_path / "next").targets
    stored = f"image/targets/{PRODUCT}/1.1.0/{listed[PATH].hashes['sha256']}.{Path(PATH).name}"
    assert delegated.store.get(stored) == (tmp_path / "next/targets" / PATH).read_bytes()
    delegated.in_force("stage", delegated.release("1.2.0", 3), MANAGERS)
    for act, words in (
        ("renew", (PRODUCT,)),
        ("withdraw", (PRODUCT, "1.1.0", "--reason", "it leaks")),
    ):
        named = ("--repository", delegated.store.root, "--root", delegated.root_file)
        said = tool(act, "--event", tmp_path / act, *named, *words)
        assert said.code == 0, said.err
        assert metadata(tmp_path / act).targets[PATH] == listed[PATH]


def test_it_travels_through_a_rebase(delegated: World, tmp_path: Path) -> None:
    old = released(delegated)
    assert staged(delegated, "--delta-from", old).code == 0
    other = delegated.release("1.0.5", 2)
    delegated.in_force("stage", other, MANAGERS)
    again = tool(
        "rebase", tmp_path / "next", "--event", tmp_path / "again", "--repository",
        delegated.store.root, "--root", delegated.root_file,
    )  # fmt: skip
    # The counter was taken meanwhile: refused as a release without a delta would be.
    assert (again.code, "not above 2" in again.err) == (20, True)
    assert staged(delegated, "--delta-from", old, event="third", release_counter="3").code == 0
    renewed = ("--repository", delegated.store.root, "--root", delegated.root_file, PRODUCT)
    assert tool("renew", "--event", tmp_path / "renewal", *renewed).code == 0
    for person in MANAGERS:
        assert delegated.sign(tmp_path / "renewal", person).code == 0
    delegated.put_in_force(tmp_path / "renewal")
    again = tool(
        "rebase", tmp_path / "third", "--event", tmp_path / "fourth", "--repository",
        delegated.store.root, "--root", delegated.root_file,
    )  # fmt: skip
    assert again.code == 0, again.err
    assert metadata(tmp_path / "fourth").targets[PATH] == metadata(tmp_path / "third").targets[PATH]


def test_what_would_not_pay_is_left_out_and_said(delegated: World, tmp_path: Path) -> None:
    old = released(delegated)
    other = CHANCE.randbytes(MIB)
    made = staged(delegated, "--delta-from", old, data=other)
    assert made.code == 0, made.err
    assert "- fw.img.from-1.0.0.delta:" in made.out
    assert "left out, it would not pay" in made.out
    assert not [path for path in metadata(tmp_path / "next").targets if path.endswith(".delta")]


def test_only_from_what_a_slot_holds_after_a_release(delegated: World, tmp_path: Path) -> None:
    released(delegated)
    never = tmp_path / "never.img"
    never.write_bytes(BIG[1:])
    refused = staged(delegated, "--delta-from", never, "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "unknown_source")
    assert "Name the file that was" in refused.answer["detail"] + refused.err
    assert not (tmp_path / "next").exists()
    assert not list(tmp_path.glob(".interlock-delta-*"))


@pytest.mark.parametrize(
    "other",
    [
        {"images": '[{ file = "fw.img", slot = "boot" }]'},
        {"hardware_ids": '["cg-300"]', "new_hardware": '["cg-300"]'},
    ],
)
def test_only_for_the_same_slot_and_hardware(
    other: dict[str, Any], delegated: World, tmp_path: Path
) -> None:
    old = released(delegated)
    refused = staged(delegated, "--delta-from", old, "--json", **other)
    assert (refused.code, refused.answer["reason"]) == (20, "wrong_source")
    assert not (tmp_path / "next").exists()


def test_nothing_changed_is_no_delta(delegated: World) -> None:
    old = released(delegated)
    refused = staged(delegated, "--delta-from", old, "--json", data=BIG)
    assert (refused.code, refused.answer["reason"]) == (20, "wrong_source")


def test_a_withdrawn_release_still_has_a_way_out(delegated: World, tmp_path: Path) -> None:
    old = released(delegated)
    kept = tmp_path / "kept.img"
    shutil.copy(old, kept)
    named = ("--repository", delegated.store.root, "--root", delegated.root_file)
    words = (PRODUCT, "1.0.0", "--reason", "it leaks", "--despite-stranding")
    assert tool("withdraw", "--event", tmp_path / "gone", *named, *words).code == 0
    for person in MANAGERS:
        assert delegated.sign(tmp_path / "gone", person).code == 0
    delegated.put_in_force(tmp_path / "gone")
    made = staged(delegated, "--delta-from", kept)
    assert made.code == 0, made.err
    assert "where slot rootfs holds 1.0.0 (withdrawn)" in made.out


def test_a_specification_may_name_them(delegated: World, tmp_path: Path) -> None:
    old = released(delegated)
    shutil.copy(old, delegated.place / "old.img")
    images = '[{ file = "fw.img", delta_from = ["../old.img"] }]'
    assert staged(delegated, images=images).code == 0
    made = tmp_path / "next/targets" / PATH
    assert PATH in metadata(tmp_path / "next").targets
    # One that was made elsewhere is taken as it is, if it leads to the image.
    shutil.copy(made, delegated.place / "release-1.1.0" / "mine.delta")
    images = '[{ file = "fw.img", deltas = ["mine.delta"] }]'
    assert staged(delegated, images=images, event="b").code == 0
    assert f"{PRODUCT}/1.1.0/mine.delta" in metadata(tmp_path / "b").targets
    other = staged(delegated, "--json", images=images, event="c", data=MOVED[1:])
    assert (other.code, other.answer["reason"]) == (20, "bad_delta")
    (delegated.place / "release-1.1.0" / "mine.delta").write_bytes(b"interlock delta v1\n{}\n")
    other = staged(delegated, "--json", images=images, event="d")
    assert (other.code, other.answer["reason"]) == (20, "bad_delta")


def test_an_event_whose_delta_leads_elsewhere_is_refused(
    delegated: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by other means: a frame that promises other bytes than the image has there."""
    old = released(delegated)
    spec = delegated.release("1.1.0", 2)
    image_of(delegated, "1.1.0", MOVED)
    good = tmp_path / "good.delta"
    make_delta(measure(old), measure(spec.parent / "fw.img"), good)
    data = good.read_bytes()
    header, text = header_of(good)
    lying = data[: len(text)].replace(
        header.frames[0].output_sha256.encode(), sha256_hex(b"poison").encode()
    )
    (spec.parent / "bad.delta").write_bytes(lying + data[len(text) :])
    images = '[{ file = "fw.img", deltas = ["bad.delta"] }]'
    refused = staged(delegated, "--json", images=images)
    assert (refused.code, refused.answer["reason"]) == (20, "bad_delta")
    assert not (tmp_path / "next").exists()
    monkeypatch.setattr(staging, "check_delta", lambda *_: None)
    assert staged(delegated, "--json", images=images).code == 20
    assert (tmp_path / "next").exists()
    for act in ("review", "status"):
        said = tool(act, tmp_path / "next", "--json")
        assert (said.code, said.answer["reason"]) == (20, "bad_delta")


def test_a_delta_that_was_changed_in_the_event_is_damage(delegated: World, tmp_path: Path) -> None:
    old = released(delegated)
    assert staged(delegated, "--delta-from", old).code == 0
    file = tmp_path / "next/targets" / PATH
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    refused = tool("review", tmp_path / "next", "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "event_damaged")
    assert json.loads((tmp_path / "next" / EVENT_FILE).read_text())["kind"] == "release"


class TestMaking:
    """What is made, whatever the images are."""

    def made(self, place: Path, old: bytes, new: bytes) -> tuple[Header, int]:
        (place / "old").write_bytes(old)
        (place / "new").write_bytes(new)
        told: list[tuple[int, int]] = []
        header = make_delta(
            measure(place / "old"),
            measure(place / "new"),
            place / "d",
            lambda *at: told.append(at),
        )
        assert told[-1] == (len(new), len(new))
        written, text = header_of(place / "d")
        assert written == header
        facts = Delta(
            product="gateway", version="1", from_slot="rootfs",
            from_sha256=sha256_hex(old), from_length=len(old), to_sha256=sha256_hex(new),
            header_length=len(text), header_sha256=sha256_hex(text),
        )  # fmt: skip
        check_delta(place / "d", facts, place / "new", place / "old")
        return header, (place / "d").stat().st_size

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"x", b"y"),
            (b"", b"a new one"),
            (BIG[:1000], BIG[:1001]),
            (BIG[: SEGMENT + 1], BIG[: SEGMENT + 1][::-1]),
            (BIG[:SEGMENT], bytes(2 * SEGMENT)),
            (bytes(3 * SEGMENT), BIG[:9]),
        ],
        ids=("a byte", "empty", "small", "nothing alike", "zeros", "shorter"),
    )
    def test_any_pair_of_images(self, old: bytes, new: bytes, tmp_path: Path) -> None:
        if not old:
            old = b"\0"
        self.made(tmp_path, old, new)

    def test_what_moved_is_found_wherever_it_went(self, tmp_path: Path) -> None:
        """Both halves change places, by no multiple of a block: nothing need be sent."""
        half = len(BIG) // 2 + 13
        header, length = self.made(tmp_path, BIG, BIG[half:] + BIG[:half])
        assert length < len(BIG) // 50
        for frame in header.frames:
            assert len(frame.prefix) <= MAX_RANGES
            assert sum(size for _, size in frame.prefix) <= MAX_PREFIX

    def test_what_did_not_change_needs_no_more_than_itself(self, tmp_path: Path) -> None:
        new = BIG[:-1] + b"x"
        header, _ = self.made(tmp_path, BIG, new)
        for frame in header.frames[:-1]:
            assert sum(size for _, size in frame.prefix) <= SEGMENT + 2 * PAGE

    def test_the_same_images_give_the_same_choice(self) -> None:
        def read(start: int, length: int) -> bytes:
            return BIG[start : start + length]

        first, second = (Chooser(read, len(BIG)) for _ in range(2))
        for start in range(0, len(MOVED), SEGMENT):
            segment = MOVED[start : start + SEGMENT]
            assert first.choose(segment, start) == second.choose(segment, start)

    def test_an_image_that_changes_meanwhile_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_bytes(BIG)
        (tmp_path / "new").write_bytes(MOVED)
        before = measure(tmp_path / "new")
        (tmp_path / "new").write_bytes(MOVED[:-1] + b"x")
        with pytest.raises(Exception, match="changed while it was read"):
            make_delta(measure(tmp_path / "old"), before, tmp_path / "d")
