"""A frame gives its segment, and is small where the prefix holds most of it."""

from __future__ import annotations

import secrets

from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock_core.delta import MAX_PREFIX, MAX_SEGMENT, MIN_PREFIX, max_frame
from interlock_repo.frames import frame_of


def read(frame: bytes, prefix: bytes, window_log: int) -> bytes:
    """As a gateway would, and no window beyond."""
    decompressor = zstd.ZstdDecompressor(
        zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None,
        options={zstd.DecompressionParameter.window_log_max: window_log},
    )
    return decompressor.decompress(frame)


@settings(max_examples=40, deadline=None)
@given(
    st.binary(min_size=1, max_size=5000),
    st.just(b"") | st.binary(min_size=MIN_PREFIX, max_size=5000),
)
def test_a_frame_gives_its_segment_and_says_its_size(segment: bytes, prefix: bytes) -> None:
    frame = frame_of(segment, prefix)
    assert read(frame, prefix, 13) == segment
    assert zstd.get_frame_info(frame).decompressed_size == len(segment)
    assert len(frame) <= max_frame(len(segment))


def test_every_part_of_the_longest_prefix_is_found() -> None:
    prefix = secrets.token_bytes(MAX_PREFIX)
    for at in (0, MAX_PREFIX // 2, MAX_PREFIX - MAX_SEGMENT):
        segment = prefix[at : at + MAX_SEGMENT]
        frame = frame_of(segment, prefix)
        assert len(frame) < 1000
        assert read(frame, prefix, 20) == segment


def test_what_does_not_compress_fits() -> None:
    segment = secrets.token_bytes(MAX_SEGMENT)
    assert len(frame_of(segment, b"")) <= max_frame(MAX_SEGMENT)
