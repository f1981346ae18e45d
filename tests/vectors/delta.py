"""The vector of a delta: two small images, and the delta that leads from one to the other.

The frames were made once, by libzstd 1.5.7, and stand here as they are: how a compressor spells a
frame is its own affair, and what comes out of it is not.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from interlock_core import wire
from interlock_core.delta import Content, Frame, Header, encode_header
from interlock_core.release import Delta
from tests.support.papers import PRODUCT, VERSION

OLD: Final = b"".join(
    b"%05d of the old image, which is a line of text\n" % n**2 for n in range(150)
)
NEW: Final = OLD[1000:4000] + b"What is new stands here.\n" + OLD[5000:6500] + b"The end.\n"
SEGMENT: Final = 4096
FRAMES: Final = (
    base64.b64decode("KLUv/WAAD2UBAKhXaGF0bmV3IHN0YW5kcyBoZXJlLgoFAAMQwvlBBISwtActYt0aHA/LaBkI"),
    base64.b64decode(
        "KLUv/WC2ACUDAOLEERiAqW0AYbLG2UUU/JoEDUso3Nj9BJ00dB0kkNZ+mWDuThrVk3hoaYNS1DDxCAB7QIh+UsaX"
        "9SyNHIs9bjC+q9XRE30uNCseCgCgIwFzCMwhMIfAJAFzCMwhMIepwjeE6QQ="
    ),
)
PREFIXES: Final = (((1000, 3000), (5000, 1200)), ())

HEADER: Final = Header(
    old=Content(length=len(OLD), sha256=wire.sha256_hex(OLD)),
    new=Content(length=len(NEW), sha256=wire.sha256_hex(NEW)),
    segment=SEGMENT,
    frames=tuple(
        Frame(
            length=len(frame),
            sha256=wire.sha256_hex(frame),
            output_sha256=wire.sha256_hex(NEW[n * SEGMENT : (n + 1) * SEGMENT]),
            prefix=prefix,
        )
        for n, (frame, prefix) in enumerate(zip(FRAMES, PREFIXES, strict=True))
    ),
)


def facts_of(header: bytes, **fields: Any) -> Delta:
    """The facts under which a delta with this header would be signed.

    Args:
        header: its bytes, good or bad.
        fields: facts that differ from the vector's.
    """
    made: dict[str, Any] = {
        "product": PRODUCT,
        "version": VERSION,
        "from_slot": "rootfs",
        "from_sha256": HEADER.old.sha256,
        "from_length": HEADER.old.length,
        "to_sha256": HEADER.new.sha256,
        "header_length": len(header),
        "header_sha256": wire.sha256_hex(header),
    }
    return Delta(**made | fields)


BYTES: Final = encode_header(HEADER)
FACTS: Final = facts_of(BYTES)


def vectors() -> dict[str, Any]:
    """The content of ``delta.json``."""
    return {
        "old": OLD.decode(),
        "new": NEW.decode(),
        "facts": msgspec.to_builtins(FACTS),
        "header": BYTES.decode(),
        "frames": [base64.b64encode(frame).decode() for frame in FRAMES],
    }
