"""Applies a delta as a gateway does: ``python delta_apply.py OLD DELTA NEW``.

All that the gateway's agent loads is loaded, so that the peak of this process's memory is that of
a gateway. Each segment is verified, hashed as a part of the whole, and written.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import interlock_client.agent
import interlock_client.trust  # noqa: F401  # loaded, as a gateway has it
from interlock_client.delta import apply_frame
from interlock_core.delta import MAGIC, Header, frame_starts
from interlock_core.release import MAX_HEADER
from interlock_core.wire import decode_canonical

old, delta = (os.open(path, os.O_RDONLY) for path in sys.argv[1:3])
start = os.pread(delta, MAX_HEADER, 0)
end = start.index(b"\n", len(MAGIC)) + 1
header = decode_canonical(start[len(MAGIC) : end - 1], Header, limit=MAX_HEADER, what="header")
del start
starts = frame_starts(header, end)
whole = hashlib.sha256()
with Path(sys.argv[3]).open("wb") as out:
    for number, frame in enumerate(header.frames):
        segment = apply_frame(
            header,
            number,
            os.pread(delta, frame.length, starts[number]),
            lambda at, length: os.pread(old, length, at),
        )
        whole.update(segment)
        out.write(segment)
    out.flush()
    os.fsync(out.fileno())
sys.exit(whole.hexdigest() != header.new.sha256)
