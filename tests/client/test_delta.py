"""A frame of a delta gives its segment, or a refusal by name."""

from __future__ import annotations

import hashlib
import random
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock_client.delta import apply_frame
from interlock_core import wire
from interlock_core.delta import MAX_PREFIX, MAX_SEGMENT, Content, Frame, Header
from interlock_core.errors import RefusedError
from tests.vectors.delta import FRAMES, HEADER, NEW, OLD, SEGMENT

P = zstd.CompressionParameter
MIB = 1024 * 1024


def reader(old: bytes) -> Callable[[int, int], bytes]:
    return lambda start, length: old[start : start + length]


def header_of(old: bytes, new: bytes, frame: bytes, *prefix: tuple[int, int]) -> Header:
    """A signed header of one frame, whatever the frame is."""
    segment = 1 << max(12, (len(new) - 1).bit_length())
    return Header(
        old=Content(length=len(old), sha256=hashlib.sha256(old).hexdigest()),
        new=Content(length=len(new), sha256=hashlib.sha256(new).hexdigest()),
        segment=segment,
        frames=(
            Frame(
                length=len(frame),
                sha256=hashlib.sha256(frame).hexdigest(),
                output_sha256=hashlib.sha256(new).hexdigest(),
                prefix=prefix,
            ),
        ),
    )


def frame_of(new: bytes, prefix: bytes = b"", *, sized: bool = True, **options: int) -> bytes:
    compressor = zstd.ZstdCompressor(
        options={P.compression_level: 3} | {getattr(P, k): v for k, v in options.items()},
        zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None,
    )
    if sized:
        compressor.set_pledged_input_size(len(new))
    return compressor.compress(new) + compressor.flush()


def refused(header: Header, frame: bytes, old: bytes = b"") -> str:
    with pytest.raises(RefusedError) as caught:
        apply_frame(header, 0, frame, reader(old))
    return caught.value.reason


def test_the_frames_of_the_vector_give_the_new_image() -> None:
    made = [apply_frame(HEADER, n, frame, reader(OLD)) for n, frame in enumerate(FRAMES)]
    assert b"".join(made) == NEW
    assert len(made[0]) == SEGMENT


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(FRAMES[0]) - 1), st.integers(1, 255))
def test_a_frame_with_another_byte_never_reaches_libzstd(at: int, change: int) -> None:
    frame = bytearray(FRAMES[0])
    frame[at] ^= change

    def never(start: int, length: int) -> bytes:
        raise AssertionError("the source is not even read")

    with pytest.raises(RefusedError) as caught:
        apply_frame(HEADER, 0, bytes(frame), never)
    assert caught.value.reason == "hash_mismatch"


def test_frames_that_changed_places_are_refused() -> None:
    for number in (0, 1):
        with pytest.raises(RefusedError) as caught:
            apply_frame(HEADER, number, FRAMES[1 - number], reader(OLD))
        assert caught.value.reason == "hash_mismatch"


@settings(max_examples=40, deadline=None)
@given(st.integers(1000, 6199), st.integers(1, 255))
@example(at=2000, change=1)
def test_a_source_that_changed_is_found_before_anything_is_written(at: int, change: int) -> None:
    old = bytearray(OLD)
    old[at] ^= change
    try:
        made = apply_frame(HEADER, 0, FRAMES[0], reader(bytes(old)))
    except RefusedError as e:
        assert e.reason == "bad_delta"  # noqa: PT017  # else the byte was not needed
        assert "old image" in str(e)  # noqa: PT017
    else:
        assert made == NEW[:SEGMENT]
        assert at != 2000


def test_a_source_that_ended_is_refused() -> None:
    with pytest.raises(RefusedError, match="more of the old image") as caught:
        apply_frame(HEADER, 0, FRAMES[0], reader(OLD[:4500]))
    assert caught.value.reason == "bad_delta"


def test_a_signed_bomb_is_stopped_at_the_size_that_is_stated() -> None:
    bomb = frame_of(bytes(64 * MIB))
    assert len(bomb) < 8192
    stated = header_of(b"", bytes(8192), bomb)
    assert refused(stated, bomb) == "bad_delta"
    # It lies about its size as well: RFC 8878, 3.1.1.1.1, the field is 4 bytes at this length.
    lying = frame_of(bytes(4 * MIB), window_log=12)
    at = lying.index((4 * MIB).to_bytes(4, "little"))
    lying = lying[:at] + (8192).to_bytes(4, "little") + lying[at + 4 :]
    assert zstd.get_frame_info(lying).decompressed_size == 8192
    assert refused(header_of(b"", bytes(8192), lying), lying) == "bad_delta"


def test_a_frame_that_does_not_say_its_size_is_refused() -> None:
    new = secrets.token_bytes(5000)
    frame = frame_of(new, sized=False, content_size_flag=0)
    assert refused(header_of(b"", new, frame), frame) == "bad_delta"


def test_a_window_of_two_gigabytes_is_refused() -> None:
    new = secrets.token_bytes(100_000)
    block = (len(new) << 3 | 1).to_bytes(3, "little") + new

    def framed(log: int) -> bytes:
        """RFC 8878, 3.1.1.1: a window descriptor, the content's size in 4 bytes, one raw block."""
        start = (0xFD2FB528).to_bytes(4, "little") + bytes([0x80, (log - 10) << 3])
        return start + len(new).to_bytes(4, "little") + block

    for log in (31, 20, 18):
        assert zstd.get_frame_info(framed(log)).decompressed_size == len(new)
        assert refused(header_of(b"", new, framed(log)), framed(log)) == "bad_delta"
    assert apply_frame(header_of(b"", new, framed(17)), 0, framed(17), reader(b"")) == new


@pytest.mark.parametrize("extra", [b"x", frame_of(b""), FRAMES[1]])
def test_more_than_one_frame_is_refused(extra: bytes) -> None:
    new = secrets.token_bytes(5000)
    frame = frame_of(new) + extra
    assert refused(header_of(b"", new, frame), frame) == "bad_delta"


def test_a_frame_that_was_made_over_another_prefix_is_refused() -> None:
    old = secrets.token_bytes(8192)
    frame = frame_of(old, old)
    assert len(frame) < 100
    good = header_of(old, old, frame, (0, 8192))
    assert apply_frame(good, 0, frame, reader(old)) == old
    assert refused(header_of(old, old, frame, (1, 8191)), frame, old) == "bad_delta"
    assert refused(header_of(old, old, frame), frame, old) == "bad_delta"


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.binary(max_size=40))
def test_any_signed_bytes_give_a_refusal_or_what_was_signed(frame: bytes, new: bytes) -> None:
    new = new or b"x"
    try:
        assert apply_frame(header_of(b"", new, frame), 0, frame, reader(b"")) == new
    except RefusedError as e:
        assert e.reason == "bad_delta"  # noqa: PT017  # either is right


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_of_a_good_frame_that_was_signed_is_found(data: st.DataObject) -> None:
    frame = bytearray(FRAMES[0])
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    stated: dict[str, Any] = {
        "length": len(frame),
        "sha256": hashlib.sha256(frame).hexdigest(),
        "output_sha256": HEADER.frames[0].output_sha256,
        "prefix": HEADER.frames[0].prefix,
    }
    header = Header(
        old=HEADER.old,
        new=HEADER.new,
        segment=SEGMENT,
        frames=(Frame(**stated), HEADER.frames[1]),
    )
    try:
        assert apply_frame(header, 0, bytes(frame), reader(OLD)) == NEW[:SEGMENT]
    except RefusedError as e:
        assert e.reason == "bad_delta"  # noqa: PT017  # either is right


APPLY = """
import os, sys
import msgspec
from interlock_client.delta import apply_frame
from interlock_core.delta import Header

def peak():
    # VmHWM: ru_maxrss would count the process that this one was started by.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

with open("header", "rb") as file:
    header = msgspec.json.decode(file.read(), type=Header)
old = os.open("old", os.O_RDONLY)
before = peak()
with open("frame", "rb") as file:
    frame = file.read()
for _ in range(3):
    apply_frame(header, 0, frame, lambda start, length: os.pread(old, length, start))
print((peak() - before) // 1024)
"""


def test_memory_is_bounded_for_the_worst_delta_that_may_be_signed(tmp_path: Path) -> None:
    """A whole prefix, and a segment that does not compress: at most 10 MiB more."""
    chance = random.Random(6)  # noqa: S311  # bytes that do not compress, the same each time
    old, new = chance.randbytes(MAX_PREFIX), chance.randbytes(MAX_SEGMENT)
    frame = frame_of(new, old, window_log=20)
    header = header_of(old, new, frame, (0, MAX_PREFIX))
    for name, data in (("old", old), ("frame", frame), ("header", wire.encode(header))):
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", APPLY], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert 2 <= int(done.stdout) <= 10
