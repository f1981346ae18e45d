"""Deltas for tests of those who apply them; ``interlock-repo stage`` makes better ones."""

from __future__ import annotations

import hashlib

from backports import zstd

from interlock_core.delta import MIN_PREFIX, MIN_SEGMENT, Content, Frame, Header, encode_header
from interlock_core.release import Delta


def delta_of(old: bytes, new: bytes, *, said: bytes | None = None) -> tuple[bytes, Delta]:
    """A delta, each segment with what stood at its place before, and its facts.

    Args:
        old, new: what it is made from, and what comes out of it.
        said: what its signers say that comes out of it; ``new``, if they are right.
    """
    frames, described = [], []
    for start in range(0, len(new), MIN_SEGMENT):
        piece, known = new[start : start + MIN_SEGMENT], old[start : start + MIN_SEGMENT]
        useful = len(known) >= MIN_PREFIX
        prefix = zstd.ZstdDict(known, is_raw=True).as_prefix if useful else None
        compressor = zstd.ZstdCompressor(zstd_dict=prefix)
        compressor.set_pledged_input_size(len(piece))
        frame = compressor.compress(piece) + compressor.flush()
        frames.append(frame)
        described.append(
            Frame(
                length=len(frame),
                sha256=hashlib.sha256(frame).hexdigest(),
                output_sha256=hashlib.sha256(piece).hexdigest(),
                prefix=((start, len(known)),) if useful else (),
            )
        )
    of_old = Content(length=len(old), sha256=hashlib.sha256(old).hexdigest())
    of_new = Content(length=len(new), sha256=hashlib.sha256(said or new).hexdigest())
    header = encode_header(
        Header(old=of_old, new=of_new, segment=MIN_SEGMENT, frames=tuple(described))
    )
    facts = Delta(
        product="ward-gateway",
        version="1.0.0",
        from_slot="rootfs",
        from_sha256=of_old.sha256,
        from_length=of_old.length,
        to_sha256=of_new.sha256,
        header_length=len(header),
        header_sha256=hashlib.sha256(header).hexdigest(),
    )
    return header + b"".join(frames), facts
