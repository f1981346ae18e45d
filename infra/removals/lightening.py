"""Removals of what guards deltas: the rules of ``delta``, ``offers`` and of those who sign them."""

from __future__ import annotations

from typing import Final

from infra.removals.removal import CLIENT, CORE, Removal

APPLYING: Final = "tests/client/test_delta.py"
HEADER: Final = "tests/core/test_delta.py"
OFFERS: Final = "tests/client/test_offers.py"

LIGHTENING: Final = (
    Removal(
        "delta: a frame is decompressed only as it was signed",
        f"{CLIENT}delta.py",
        "apply_frame",
        "hashlib.sha256(frame).hexdigest() != stated.sha256",
        "False",
        (APPLYING,),
    ),
    Removal(
        "delta: what comes out of a frame is what was signed",
        f"{CLIENT}delta.py",
        "apply_frame",
        "hashlib.sha256(output).hexdigest() != stated.output_sha256",
        "False",
        (APPLYING,),
    ),
    Removal(
        "delta: libzstd's window is bounded",
        f"{CLIENT}delta.py",
        "_decompressed",
        "(header.segment - 1).bit_length()",
        "31",
        (APPLYING,),
    ),
    Removal(
        "delta: one frame, and nothing behind it",
        f"{CLIENT}delta.py",
        "_decompressed",
        "zstd.get_frame_size(frame) != len(frame)",
        "False",
        (APPLYING,),
    ),
    Removal(
        "delta: the header is the one that was signed",
        f"{CORE}delta.py",
        "read_header",
        "len(data) != facts.header_length or sha256_hex(data) != facts.header_sha256",
        "False",
        (HEADER,),
    ),
    Removal(
        "delta: the header is about the images that the facts name",
        f"{CORE}delta.py",
        "read_header",
        "stated != (facts.from_sha256, facts.from_length, facts.to_sha256)",
        "False",
        ("tests/core/test_vectors.py",),
    ),
    Removal(
        "delta: the prefix of a frame is bounded",
        f"{CORE}delta.py",
        "_check_prefix",
        "<= MAX_PREFIX:",
        "<= 2**40:",
        (HEADER,),
    ),
    Removal(
        "delta: the prefix lies inside the old image",
        f"{CORE}delta.py",
        "_check_prefix",
        "start + size > length",
        "False",
        ("tests/core/test_vectors.py",),
    ),
    Removal(
        "delta: only what the image names by its digest is offered",
        f"{CLIENT}offers.py",
        "_offered",
        'listed.hashes.get("sha256") == reference.sha256',
        "True",
        (OFFERS,),
    ),
    Removal(
        "delta: only what leads to the wanted image is offered",
        f"{CLIENT}offers.py",
        "_offered",
        'facts.to_sha256 == target.hashes.get("sha256")',
        "True",
        (OFFERS,),
    ),
    Removal(
        "delta: only what is of the image's release is offered",
        f"{CLIENT}offers.py",
        "_offered",
        "(facts.product, facts.version) == (image.product, image.version)",
        "True",
        (OFFERS,),
    ),
    Removal(
        "delta: the metadata lists none that leads elsewhere",
        f"{CORE}released.py",
        "_is_of",
        "facts.to_sha256 == sha256",
        "True",
        (HEADER,),
    ),
    Removal(
        "delta: the metadata lists none without its image",
        f"{CORE}released.py",
        "check_release",
        "    _check_deltas(old, facts)\n",
        "",
        (HEADER,),
    ),
    Removal(
        "delta: whoever opens an event holds each frame against the image",
        "repo-tools/src/interlock_repo/deltas.py",
        "check_delta",
        "(sha256_hex(data), sha256_hex(wanted)) != (frame.sha256, frame.output_sha256)",
        "False",
        ("tests/repo_tools/test_delta.py",),
    ),
)
