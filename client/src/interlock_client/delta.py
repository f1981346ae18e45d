"""A segment of a new image, from a frame of a delta and the slot that runs (pure but for libzstd).

Rules:

1. A frame is decompressed only when it is, byte for byte, the one that the signed header names.
2. It must be one frame that says how much comes out of it, and says what the header says. libzstd
   is given a bound for its window and for its output, and stops there.
3. What comes out is returned only if its digest is the one that the header names. A slot that
   changed meanwhile, or that is not what it should be, is found here.
4. Memory: the prefix (twice, while libzstd takes its copy), a frame, and two or three segments;
   ``interlock_core.delta`` bounds each.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import NoReturn

from interlock_core.delta import Header
from interlock_core.errors import RefusedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ReadSource = Callable[[int, int], bytes]
"""Bytes of the old image: from where, how many. Fewer mean that it ends there."""


def apply_frame(header: Header, number: int, frame: bytes, read_source: ReadSource) -> bytes:
    """The segment ``number`` of the new image, verified.

    Args:
        header: of the delta, from ``interlock_core.delta.read_header``.
        number: of the frame, from 0; its segment belongs at ``number * header.segment``.
        frame: its bytes, as they arrived.
        read_source: reads the old image.

    Raises:
        RefusedError: ``hash_mismatch``: these are not the bytes that were signed (ask another
            server); ``bad_delta``: they are, and they do not give the segment from this old image
            (no other server can help).
        TransientError: as ``read_source``.
    """
    stated = header.frames[number]
    if len(frame) != stated.length or hashlib.sha256(frame).hexdigest() != stated.sha256:
        raise RefusedError(
            f"Frame {number} of the delta is not what was signed.", reason="hash_mismatch"
        )
    output = _decompressed(header, number, frame, read_source)
    if hashlib.sha256(output).hexdigest() != stated.output_sha256:
        _refuse(number, "does not give what it should: the old image is not what it was made from")
    return output


def _decompressed(header: Header, number: int, frame: bytes, read_source: ReadSource) -> bytes:
    """Rule 2."""
    length = header.output_length(number)
    try:
        if zstd.get_frame_size(frame) != len(frame):
            _refuse(number, "is more than one frame")
        if zstd.get_frame_info(frame).decompressed_size != length:
            _refuse(number, "does not say what comes out of it, or something else")
        decompressor = zstd.ZstdDecompressor(
            zstd_dict=_prefix(header, number, read_source),
            options={zstd.DecompressionParameter.window_log_max: (header.segment - 1).bit_length()},
        )
        output = decompressor.decompress(frame, max_length=length)
        if not decompressor.eof:
            output += decompressor.decompress(b"", max_length=1)
    except zstd.ZstdError as e:
        raise RefusedError(
            f"Frame {number} of the delta cannot be decompressed ({e}).", reason="bad_delta"
        ) from e
    if len(output) != length or not decompressor.eof:
        _refuse(number, f"does not give the {length} bytes that it should")
    return output


def _prefix(
    header: Header, number: int, read_source: ReadSource
) -> tuple[zstd.ZstdDict, int] | None:
    ranges = header.frames[number].prefix
    if not ranges:
        return None
    source = b"".join(read_source(start, length) for start, length in ranges)
    if len(source) != sum(length for _, length in ranges):
        _refuse(number, "needs more of the old image than there is")
    return zstd.ZstdDict(source, is_raw=True).as_prefix


def _refuse(number: int, why: str) -> NoReturn:
    raise RefusedError(f"Frame {number} of the delta {why}.", reason="bad_delta")
