"""One segment of a new image as a frame of a delta (pure but for libzstd; ADR 0015).

Rules:

1. The window is the segment: whoever decompresses the frame needs no larger one. The prefix is
   beyond it, and libzstd reaches all of it while the output is not longer than the window.
2. The tables are as large as prefix and segment ask for: by its level alone libzstd would look at
   a part of the prefix.
3. The same segment over the same prefix gives the same frame, with the same libzstd.
"""

from __future__ import annotations

import sys
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 3
TABLE_LOG: Final = 20


def frame_of(segment: bytes, prefix: bytes) -> bytes:
    """The frame that gives ``segment`` when it is read with ``prefix``.

    Args:
        segment: a part of the new image, at least a byte.
        prefix: parts of the old one, ``delta.MIN_PREFIX`` bytes or more; empty for none.
    """
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(
        options={
            parameter.compression_level: LEVEL,
            parameter.window_log: max(10, (len(segment) - 1).bit_length()),
            parameter.hash_log: TABLE_LOG,
            parameter.chain_log: TABLE_LOG,
            parameter.enable_long_distance_matching: 1,
        },
        zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None,
    )
    # Without it, the frame would not say how much comes out of it.
    compressor.set_pledged_input_size(len(segment))
    return compressor.compress(segment) + compressor.flush()


def output_of(frame: bytes, prefix: bytes, length: int) -> bytes | None:
    """What comes out of a frame, at most ``length`` bytes; None if it is no such frame.

    Args:
        frame: one frame.
        prefix: as for ``frame_of``.
        length: how much should come out.
    """
    decompressor = zstd.ZstdDecompressor(
        zstd_dict=zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None,
        options={zstd.DecompressionParameter.window_log_max: TABLE_LOG},
    )
    try:
        output = decompressor.decompress(frame, max_length=length)
    except zstd.ZstdError:
        return None
    return output if decompressor.eof and not decompressor.unused_data else None
