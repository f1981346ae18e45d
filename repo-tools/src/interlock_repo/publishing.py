"""Sending a signed event to the server (I/O).

Rules:

1. The threshold is verified here, by the same code as the server's, before anything is sent.
2. Every call is idempotent and the server's state decides what is left to do: after an
   interruption at any point, running it again finishes.
3. The server may only ask for bytes that the event carries under the signed digest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from securesystemslib.signer import Signature
from tuf.api.metadata import Metadata, Targets

from interlock_core import durable, wire
from interlock_core.api import Publication, PublicationRequest
from interlock_core.errors import NotFoundError, RefusedError, TransientError
from interlock_core.http import Api
from interlock_core.released import sha256_of
from interlock_core.tuf_metadata import serialise, verify_new_offline
from interlock_repo.event import Event
from interlock_repo.signatures import Tally

Progress = Callable[[IO[bytes], int, str], AbstractContextManager[IO[bytes]]]
"""Wraps a file of so many bytes under a name, to show how far it was read."""


@dataclass(frozen=True)
class Done:
    """What a publication came to.

    Attributes:
        id: SHA-256 of the signed metadata's text.
        uploaded: target paths whose bytes were sent this time; the same bytes go once.
        was_published: whether there was nothing left to do.
    """

    id: str
    uploaded: tuple[str, ...]
    was_published: bool


def assemble(event: Event, tally: Tally, now: datetime) -> bytes:
    """The signed metadata, verified as the server will (rule 1).

    Raises:
        RefusedError: ``untrusted_metadata`` below the threshold; ``expired_metadata`` and the like.
    """
    if tally.needed:
        raise RefusedError(
            f"{event.file.role} {event.file.version} cannot be published yet: {tally.next_step()}",
            reason="untrusted_metadata",
        )
    signatures = {s.file.keyid: Signature(s.file.keyid, s.file.sig) for s in tally.signed}
    data = serialise(Metadata(event.metadata.signed, signatures))
    previous = event.file.previous_name
    verify_new_offline(
        data,
        event.file.role,
        root=event.roots[-1].signed,
        targets=event.delegator if isinstance(event.delegator, Targets) else None,
        current=event.base[previous] if previous is not None else None,
        now=now,
    )
    return data


def unobserved(file: IO[bytes], length: int, name: str) -> AbstractContextManager[IO[bytes]]:
    """A ``Progress`` that shows nothing."""
    del length, name
    return nullcontext(file)


def publish(event: Event, data: bytes, api: Api, progress: Progress = unobserved) -> Done:
    """Send ``data`` and the bytes that the server lacks, and have it published (rule 2).

    Args:
        event: whose targets are sent.
        data: as ``assemble`` gave it.
        api: the server.
        progress: shows how far each upload is.

    Raises:
        RefusedError, ConflictError: the server will not have it; its reason is passed on.
        NotFoundError: ``missing_target``: it asks for bytes that the event does not carry.
        TransientError: the network or the server failed; run it again.
    """
    request = PublicationRequest(metadata={event.file.role: data.decode()})
    answer = _checked(api.post("/v1/publications", request, Publication), event, data)
    if answer.state == "published":
        return Done(answer.id, (), was_published=True)
    uploaded: dict[str, str] = {}
    for missing in answer.missing:
        if missing.sha256 in uploaded.values():
            continue  # the same bytes under another name
        file = _bytes_of(event, missing.path, missing.length, missing.sha256)
        with durable.translated("read", file):
            opened = file.open("rb")
        with opened, progress(opened, missing.length, missing.path) as body:
            path = f"/v1/publications/{answer.id}/targets/{missing.sha256}"
            api.put(path, body, missing.length)
        uploaded[missing.path] = missing.sha256
    done = api.post(f"/v1/publications/{answer.id}/commit", {}, Publication)
    if _checked(done, event, data).state != "published":
        raise TransientError(
            f"The server took {event.file.role} {event.file.version} and has not published it "
            "yet: run this again."
        )
    return Done(answer.id, tuple(uploaded), was_published=False)


def _checked(answer: Publication, event: Event, data: bytes) -> Publication:
    named = (answer.id, answer.role, answer.version)
    if named != (wire.sha256_hex(data), event.file.role, event.file.version):
        raise TransientError(
            f"The server answered about {answer.role} {answer.version}, which nobody asked for: "
            "check its address."
        )
    return answer


def _bytes_of(event: Event, path: str, length: int, sha256: str) -> Path:
    known = event.metadata.signed.targets.get(path)
    if known is None or (known.length, sha256_of(path, known)) != (length, sha256):
        raise RefusedError(
            f"The server asks for {path}, {length} bytes, which this event does not name.",
            reason="unexpected_target",
        )
    file = event.target_path(path)
    if not file.is_file():
        raise NotFoundError(
            f"The server lacks {path} of an earlier release, which this event does not carry: "
            "publish that release's event again.",
            reason="missing_target",
        )
    return file
