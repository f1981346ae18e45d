"""Sending what a later ceremony signed to the server (I/O).

Rules:

1. Everything is verified here before anything is sent, by the same code as the server's, and from a
   root of the caller's own: an output that was exchanged on the way is refused.
2. What is sent is every root, or as many of the newest as one request holds: the older ones were
   sent by the ceremonies before. The server refuses a chain that does not reach what it has.
3. The call is idempotent: after an interruption, running it again finishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root

from interlock_core import durable, wire
from interlock_core.api import (
    MAX_BODY,
    MAX_ROOTS,
    CeremonyInForce,
    CeremonyRequest,
    MetadataInForce,
)
from interlock_core.ceremony_output import Ceremony, read_ceremony
from interlock_core.errors import RefusedError, TransientError
from interlock_core.http import Api
from interlock_core.tuf_metadata import MAX_LENGTH, parse_metadata, refuse_rehearsal


def open_ceremony(directory: Path, trusted_root: Path, now: datetime) -> Ceremony:
    """Read a ceremony's output and verify it from an image root of one's own (rule 1).

    Raises:
        RefusedError: as ``read_ceremony``; ``untrusted_metadata``: it does not hold that root.
        NotFoundError, WireError, TransientError: a file is missing, malformed, unreadable.
    """
    what = f"root file {trusted_root}"
    trusted = durable.read(trusted_root, limit=MAX_LENGTH[Root.type], what=what)
    root = parse_metadata(trusted, Root, what=what).signed
    refuse_rehearsal(root)
    ceremony = read_ceremony(directory, now)
    if trusted not in ceremony.image_roots:
        raise RefusedError(
            f"{directory} does not hold the root {root.version} in {trusted_root}: it is the "
            "output of another fleet's ceremony, or that is no image root.",
            reason="untrusted_metadata",
        )
    return ceremony


def send_ceremony(ceremony: Ceremony, api: Api) -> CeremonyInForce:
    """Have a ceremony put in force (rules 2 and 3); says what is in force then.

    Raises:
        RefusedError, ConflictError: the server will not have it; its reason is passed on.
        TransientError: the network or the server failed; run it again.
    """
    answer = api.post("/v1/ceremonies", request_of(ceremony), CeremonyInForce)
    said = answer.image_root
    same = _covers(said, ceremony.image_roots) and _covers(
        answer.director_root, ceremony.director_roots
    )
    if answer.fleet != ceremony.fleet.fleet or not same:
        raise TransientError(
            f"The server answered about image root {said.version} of {answer.fleet}, which nobody "
            "asked for: check its address."
        )
    return answer


def _covers(said: MetadataInForce, roots: Sequence[bytes]) -> bool:
    """Whether what a server says is in force is the newest of these roots, or a later one."""
    if said.version == len(roots):
        return said.sha256 == wire.sha256_hex(roots[-1])
    return said.version > len(roots)


def request_of(ceremony: Ceremony, limit: int = MAX_BODY) -> CeremonyRequest:
    """What is sent, in at most ``limit`` bytes (rule 2).

    Raises:
        RefusedError: ``too_large``: even the newest roots alone are longer.
    """
    image = [text.decode() for text in ceremony.image_roots[-MAX_ROOTS:]]
    director = [text.decode() for text in ceremony.director_roots[-MAX_ROOTS:]]
    while True:
        request = CeremonyRequest(
            image=tuple(image), director=tuple(director), targets=ceremony.targets.decode()
        )
        if len(wire.encode(request)) <= limit:
            return request
        longer = max(image, director, key=len)
        if len(longer) == 1:
            raise RefusedError(
                f"This ceremony is longer than the {limit} bytes that a server reads.",
                reason="too_large",
            )
        del longer[0]
