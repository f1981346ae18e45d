"""Sending a signed event to the server (I/O).

Rules:

1. The threshold is verified here, by the same code as the server's, before anything is sent.
2. Every call is idempotent and the server's state decides what is left to do: after an
   interruption at any point, running it again finishes.
3. The server may only ask for bytes that the event carries under the signed digest.
4. New delegations and the renewals that their new holders signed are sent together: under either
   alone gateways would lose the role.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Ready:
    """An event with enough signatures.

    Attributes:
        data: the signed metadata, as ``assemble`` gave it.
    """

    event: Event
    data: bytes

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.event.file.role} {self.event.file.version}"


def check_together(first: Ready, others: Sequence[Ready]) -> None:
    """Check that events may be published at once (rule 4).

    Raises:
        RefusedError: ``wrong_kind``: the first delegates nothing, or another rests on something
            else; ``apart``: the first may not be published without a renewal, or one of these
            without its delegations.
    """
    for other in others:
        delegator = other.event.delegator
        same = (
            isinstance(delegator, Targets)
            and other.event.new_holders
            and Metadata(delegator).signed_bytes == first.event.metadata.signed_bytes
        )
        if not same:
            raise RefusedError(
                f"{other.event.directory} does not rest on {first.event.directory}: only new "
                "delegations and what their new holders signed are published at once.",
                reason="wrong_kind",
            )
    if first.event.new_holders:
        raise RefusedError(
            f"{first.event.directory} rests on delegations that are not published: publish both, "
            f"with 'interlock-repo publish DELEGATIONS --with {first.event.directory}'.",
            reason="apart",
        )


def publish(
    first: Ready, api: Api, progress: Progress = unobserved, others: Sequence[Ready] = ()
) -> Done:
    """Send what was signed and the bytes that the server lacks, and have it published (rule 2).

    Args:
        first: what is published.
        api: the server.
        progress: shows how far each upload is.
        others: what goes with it, as ``check_together`` found good.

    Raises:
        RefusedError, ConflictError: the server will not have it; its reason is passed on.
        NotFoundError: ``missing_target``: it asks for bytes that the events do not carry.
        TransientError: the network or the server failed; run it again.
    """
    every = (first, *others)
    request = PublicationRequest(metadata={one.event.file.role: one.data.decode() for one in every})
    answer = _checked(api.post("/v1/publications", request, Publication), every, request)
    if answer.state == "published":
        return Done(answer.id, (), was_published=True)
    uploaded: dict[str, str] = {}
    for missing in answer.missing:
        if missing.sha256 in uploaded.values():
            continue  # the same bytes under another name
        file = _bytes_of(every, missing.path, missing.length, missing.sha256)
        with durable.translated("read", file):
            opened = file.open("rb")
        with opened, progress(opened, missing.length, missing.path) as body:
            path = f"/v1/publications/{answer.id}/targets/{missing.sha256}"
            api.put(path, body, missing.length)
        uploaded[missing.path] = missing.sha256
    done = api.post(f"/v1/publications/{answer.id}/commit", {}, Publication)
    if _checked(done, every, request).state != "published":
        raise TransientError(
            f"The server took {first.name} and has not published it yet: run this again."
        )
    return Done(answer.id, tuple(uploaded), was_published=False)


def _checked(
    answer: Publication, every: Sequence[Ready], request: PublicationRequest
) -> Publication:
    versions = {one.event.file.role: one.event.file.version for one in every}
    if (answer.id, answer.versions) != (wire.sha256_hex(request.text), versions):
        raise TransientError(
            f"The server answered about {answer.role} {answer.version}, which nobody asked for: "
            "check its address."
        )
    return answer


def _bytes_of(every: Sequence[Ready], path: str, length: int, sha256: str) -> Path:
    found = ((one.event, one.event.metadata.signed.targets.get(path)) for one in every)
    event, known = next(((e, t) for e, t in found if t is not None), (None, None))
    if event is None or known is None or (known.length, sha256_of(path, known)) != (length, sha256):
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
