"""A delta is made, and looked at again (I/O; ADR 0015).

Rules:

1. A delta is made in bounded memory, whatever the images are: a few segments at once, each with
   its prefix, on as many threads as there are processors.
2. Each frame is decompressed again as it is made: what does not give its segment is not written.
3. Where the new image lies beside the delta, header and frames are held against the signed facts
   and against the new image's own bytes: what a frame promises must be what is installed. Where
   the old image is at hand as well, every frame is applied to it.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_core import durable
from interlock_core.delta import (
    MAGIC,
    MAX_SEGMENT,
    Content,
    Frame,
    Header,
    Range,
    encode_header,
    frame_starts,
    read_header,
)
from interlock_core.errors import RefusedError, WireError
from interlock_core.release import MAX_HEADER, Delta
from interlock_core.wire import decode_canonical, sha256_hex
from interlock_repo.choosing import Chooser, Read
from interlock_repo.event import SourceFile, image_changed, open_source
from interlock_repo.frames import frame_of, output_of

SEGMENT: Final = MAX_SEGMENT

Told = Callable[[int, int], None]
"""How many bytes of the new image are done, and of how many."""


def silent(done: int, length: int) -> None:
    """Tell nobody."""
    del done, length


@contextmanager
def reading(path: Path) -> Iterator[Read]:
    """Reads parts of a file, from several threads.

    Raises:
        NotFoundError, TransientError: it is missing or cannot be read.
    """
    with open_source(path) as file:
        descriptor = file.fileno()

        def read(start: int, length: int) -> bytes:
            with durable.translated("read", path):
                return os.pread(descriptor, length, start)

        yield read


@dataclass(frozen=True)
class _Made:
    """A frame, and what is known about it."""

    frame: Frame
    data: bytes


def make_delta(old: SourceFile, new: SourceFile, to: Path, told: Told = silent) -> Header:
    """Write the delta that leads from one image to another.

    Args:
        old, new: both images, measured.
        to: the file to write; a scratch file, which nobody looks for.
        told: how far it is.

    Raises:
        RefusedError: ``image_changed``: a file is not what it was when it was measured.
        WireError: the new image is too large for the header of a delta.
        NotFoundError, TransientError: a file is missing, cannot be read or written.
    """
    frames: list[Frame] = []
    body = to.with_name(f"{to.name}.frames")
    digest = hashlib.sha256()
    with (
        reading(old.path) as read_old,
        reading(new.path) as read_new,
        durable.translated("write", to),
        body.open("w+b") as out,
    ):
        for made in _frames(read_old, old, read_new, new, digest.update):
            out.write(made.data)
            frames.append(made.frame)
            told(min(len(frames) * SEGMENT, new.length), new.length)
        if digest.hexdigest() != new.sha256:
            raise image_changed(new.path)
        header = Header(
            old=Content(length=old.length, sha256=old.sha256),
            new=Content(length=new.length, sha256=new.sha256),
            segment=SEGMENT,
            frames=tuple(frames),
        )
        out.seek(0)
        with to.open("wb") as whole:
            whole.write(encode_header(header))
            while chunk := out.read(durable.CHUNK):
                whole.write(chunk)
    body.unlink()
    return header


def _frames(
    read_old: Read, old: SourceFile, read_new: Read, new: SourceFile, seen: Callable[[bytes], None]
) -> Iterator[_Made]:
    """Every frame, in order (rule 1)."""
    chooser = Chooser(read_old, old.length)
    workers = os.cpu_count() or 1
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, new.length, SEGMENT):
            segment = read_new(start, min(SEGMENT, new.length - start))
            seen(segment)
            if not segment:
                raise image_changed(new.path)
            prefix = chooser.choose(segment, start)
            waiting.append(pool.submit(_frame, read_old, prefix, segment, old.path))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _frame(read_old: Read, prefix: tuple[Range, ...], segment: bytes, path: Path) -> _Made:
    source = b"".join(read_old(start, length) for start, length in prefix)
    if len(source) != sum(length for _, length in prefix):
        raise image_changed(path)
    data = frame_of(segment, source)
    if output_of(data, source, len(segment)) != segment:
        # libzstd gives what was put in, or the machine is broken: nothing is signed on its word.
        raise RefusedError(
            "A frame of the delta does not give what went into it: this machine's memory or its "
            "libzstd is broken.",
            reason="bad_delta",
        )
    stated = Frame(
        length=len(data),
        sha256=sha256_hex(data),
        output_sha256=sha256_hex(segment),
        prefix=prefix,
    )
    return _Made(stated, data)


def header_of(path: Path) -> tuple[Header, bytes]:
    """The header of a delta file, and its bytes; nobody has signed them yet.

    Raises:
        RefusedError: ``bad_delta``: it is no delta.
        NotFoundError, TransientError: it is missing or cannot be read.
    """
    with open_source(path) as file, durable.translated("read", path):
        data = file.read(MAX_HEADER)
    end = data.find(b"\n", len(MAGIC)) + 1
    if not data.startswith(MAGIC) or not end:
        raise RefusedError(f"{path} is no delta.", reason="bad_delta")
    try:
        text = data[len(MAGIC) : end - 1]
        header = decode_canonical(text, Header, limit=MAX_HEADER, what=f"header of {path}")
    except WireError as e:
        raise RefusedError(str(e), reason="bad_delta") from e
    return header, data[:end]


def check_delta(path: Path, facts: Delta, image: Path, old: Path | None = None) -> None:
    """See that a delta is what its facts say, and gives the image (rule 3).

    Args:
        path: the delta.
        facts: what the metadata says of it.
        image: the image that it leads to.
        old: what it is applied to, where that is at hand.

    Raises:
        RefusedError: ``bad_delta``.
        NotFoundError, TransientError: a file is missing or cannot be read.
    """
    with reading(path) as read, reading(image) as read_image:
        try:
            header = read_header(read(0, facts.header_length), facts)
        except WireError as e:
            raise RefusedError(f"{path}: {e}", reason="bad_delta") from e
        starts = frame_starts(header, facts.header_length)
        if path.stat().st_size != starts[-1] or image.stat().st_size != header.new.length:
            raise _bad(path, "is longer or shorter than its header says")
        for number, frame in enumerate(header.frames):
            data = read(starts[number], frame.length)
            wanted = read_image(number * header.segment, header.output_length(number))
            if (sha256_hex(data), sha256_hex(wanted)) != (frame.sha256, frame.output_sha256):
                raise _bad(path, f"does not lead to {image} (frame {number})")
        if old is not None:
            _check_applied(path, header, read, starts, old)


def _check_applied(
    path: Path, header: Header, read: Read, starts: tuple[int, ...], old: Path
) -> None:
    with reading(old) as read_old:
        for number, frame in enumerate(header.frames):
            prefix = b"".join(read_old(start, length) for start, length in frame.prefix)
            output = output_of(
                read(starts[number], frame.length), prefix, header.output_length(number)
            )
            if output is None or sha256_hex(output) != frame.output_sha256:
                raise _bad(path, f"does not give frame {number} from {old}")


def _bad(path: Path, why: str) -> RefusedError:
    return RefusedError(f"The delta {path} {why}: have it staged anew.", reason="bad_delta")
