"""The header of a delta: how a new image is put together from an old one (pure; ADR 0015).

A delta is its header (a magic line, canonical JSON, a newline), and then its frames, one directly
after the other. Rules:

1. Nothing of it is believed before its SHA-256 was compared: that of the header is a signed fact
   (``release.Delta``), those of the frames stand in the header. No byte that nobody signed reaches
   a decompressor.
2. The new image is cut into segments of one size, the last one what is left. There is one frame
   for each, in order; so each output has one place, and no two overlap.
3. A frame is one Zstandard frame that is read with a prefix: ranges of the old image, rising, none
   over another, all of them inside it; eight bytes or more, or none.
4. Whoever applies a delta needs memory for one segment, one frame and one prefix, and all three
   are bounded here, whatever is signed.
5. Each frame names the digest of what comes out of it: an old image that is not what it should be
   is found before anything of it is written. The judge of the whole is the image's own digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Annotated, Final, Literal

from msgspec import Meta

from interlock_core.errors import WireError
from interlock_core.names import Digest
from interlock_core.release import MAX_HEADER, Delta, Length
from interlock_core.wire import Record, decode_canonical, encode, sha256_hex

MAGIC: Final = b"interlock delta v1\n"
MIN_SEGMENT: Final = 4 * 1024
MAX_SEGMENT: Final = 1024 * 1024
MAX_PREFIX: Final = 2 * 1024 * 1024
"""The most bytes of the old image that one frame is read with (rule 4)."""
MIN_PREFIX: Final = 8
"""The fewest, if it is read with any: libzstd takes no shorter prefix."""
MAX_RANGES: Final = 64
"""The most ranges that they come from."""
MAX_FRAMES: Final = 16 * 1024

Range = tuple[Annotated[int, Meta(ge=0, le=2**40)], Annotated[int, Meta(ge=1, le=MAX_PREFIX)]]
"""Where it begins in the old image, and its length; both in bytes."""


class Content(Record, frozen=True, kw_only=True):
    """An image, old or new, as it lies in a slot."""

    length: Length
    sha256: Digest


class Frame(Record, frozen=True, kw_only=True):
    """One frame.

    Attributes:
        length: of the frame, in bytes.
        sha256: of the frame.
        output_sha256: of the segment that comes out of it.
        prefix: the ranges of the old image that it is read with, put one after the other.
    """

    length: Annotated[int, Meta(ge=1, le=2 * MAX_SEGMENT)]
    sha256: Digest
    output_sha256: Digest
    prefix: Annotated[tuple[Range, ...], Meta(max_length=MAX_RANGES)]


class Header(Record, frozen=True, kw_only=True):
    """The header.

    Attributes:
        old: what the delta is applied to.
        new: what comes out of it.
        segment: bytes of the new image that one frame gives; a power of two.
        frames: one for each segment.
    """

    type: Literal["urn:interlock:delta:v1"] = "urn:interlock:delta:v1"
    old: Content
    new: Content
    segment: Annotated[int, Meta(ge=MIN_SEGMENT, le=MAX_SEGMENT)]
    frames: Annotated[tuple[Frame, ...], Meta(min_length=1, max_length=MAX_FRAMES)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment & (self.segment - 1):
            raise ValueError("`segment` must be a power of two")
        count = -(-self.new.length // self.segment)
        if len(self.frames) != count:
            raise ValueError(f"`frames` must hold {count}: one for each segment")
        for number, frame in enumerate(self.frames):
            if frame.length > max_frame(self.output_length(number)):
                raise ValueError(f"frame {number} is longer than its segment can need")
            _check_prefix(frame.prefix, self.old.length, number)

    def output_length(self, number: int) -> int:
        """How many bytes come out of a frame."""
        return min(self.segment, self.new.length - number * self.segment)


def max_frame(output: int) -> int:
    """The longest frame that gives ``output`` bytes, in bytes: what does not compress, and room."""
    return output + (output >> 8) + 1024


def _check_prefix(prefix: Iterable[Range], length: int, number: int) -> None:
    """Rules 3 and 4."""
    ranges = tuple(prefix)
    if ranges and not MIN_PREFIX <= sum(size for _, size in ranges) <= MAX_PREFIX:
        raise ValueError(f"the prefix of frame {number} is not {MIN_PREFIX} to {MAX_PREFIX} bytes")
    if any(start + size > length for start, size in ranges):
        raise ValueError(f"the prefix of frame {number} reaches beyond the old image")
    if any(start + size > after for (start, size), (after, _) in pairwise(ranges)):
        raise ValueError(f"ranges of frame {number} overlap or do not rise")


def encode_header(header: Header) -> bytes:
    """The bytes that a delta begins with.

    Raises:
        WireError: they would be more than ``release.MAX_HEADER``.
    """
    data = MAGIC + encode(header) + b"\n"
    if len(data) > MAX_HEADER:
        raise WireError(f"The header of the delta is {len(data)} bytes; at most {MAX_HEADER}.")
    return data


def read_header(data: bytes, facts: Delta) -> Header:
    """The header of a delta, which must be the one that was signed (rule 1).

    Args:
        data: the first ``facts.header_length`` bytes of the delta.
        facts: what the product's metadata says of it.

    Raises:
        WireError: other bytes were signed (``hash_mismatch``); or they are no header, or one of
            other images.
    """
    if len(data) != facts.header_length or sha256_hex(data) != facts.header_sha256:
        raise WireError("The header of the delta is not what was signed.", reason="hash_mismatch")
    if not data.startswith(MAGIC) or not data.endswith(b"\n"):
        raise WireError("This is no delta, or one of a version that is not known here.")
    header = decode_canonical(
        data[len(MAGIC) : -1], Header, limit=MAX_HEADER, what="header of the delta"
    )
    stated = (header.old.sha256, header.old.length, header.new.sha256)
    if stated != (facts.from_sha256, facts.from_length, facts.to_sha256):
        raise WireError("The header of the delta is about other images than was signed.")
    return header


def frame_starts(header: Header, header_length: int) -> tuple[int, ...]:
    """Where each frame begins in the delta, and last where the delta ends, in bytes.

    Args:
        header: of the delta.
        header_length: its bytes (``release.Delta.header_length``).
    """
    return tuple(accumulate((frame.length for frame in header.frames), initial=header_length))
