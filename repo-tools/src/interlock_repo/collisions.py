"""Two events on one version: what the second collides with (I/O).

Rules:

1. One version of a role is published once. An event is told of every other that makes the same
   one: those in directories beside it, those in directories that are named, and what others have
   sent to the server and is not published yet. It may be made all the same: which of them is
   published first is for people to say, and ``rebase`` makes the other anew.
2. What is only read and not verified is called so: people look at both events before they decide.
3. When another was published first, the one that comes too late is told who signed that and what
   it made installable, as verified by the same delegation that it rests on itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import DownloadError
from tuf.api.metadata import Metadata, Targets

from interlock_core import durable, wire
from interlock_core.api import PublicationList
from interlock_core.errors import InterlockError, RefusedError
from interlock_core.http import Api
from interlock_core.released import images
from interlock_core.tuf_metadata import MAX_LENGTH, check_signatures, parse_metadata
from interlock_repo.event import EVENT_FILE, MAX_EVENT, SIGNATURES, Event, EventFile
from interlock_repo.fetch import BASE, ServerFetcher
from interlock_repo.released import new_paths
from interlock_repo.signatures import MAX_SIGNATURE, parse_signature
from interlock_repo.trust import Role, role_of

MAX_BESIDE = 1024
"""How many directories beside an event are looked at."""


@dataclass(frozen=True)
class Collision:
    """Another event or publication of the same version.

    Attributes:
        where: a directory, or what the server calls it.
        what: what it would make installable, or its kind.
        signed_by: names, as far as they are known; of a directory not verified (rule 2).
    """

    where: str
    what: str
    signed_by: tuple[str, ...]

    @property
    def said(self) -> str:
        """On one line."""
        by = ", ".join(self.signed_by) or "nobody yet"
        return f"{self.where} ({self.what}; signed by {by})"


def beside(event: Event, more: Iterable[Path] = ()) -> list[Collision]:
    """Other events of the same version in directories (rules 1 and 2).

    Args:
        event: the one that is told.
        more: further directories of events, or events.

    Raises:
        TransientError: a directory cannot be read.
    """
    found = {}
    for folder in (event.directory.parent, *more):
        for directory in (folder, *_inside(folder)):
            one = _read_event(directory)
            if one is None or wire.sha256_hex(wire.encode(one)) == event.digest:
                continue
            if (one.role, one.version) == (event.file.role, event.file.version):
                found[directory.resolve()] = Collision(
                    str(directory), one.kind, tuple(_signers(directory))
                )
    return list(found.values())


def waiting(event: Event, api: Api) -> list[Collision]:
    """What others have sent to the server for the same version (rule 1).

    Raises:
        InterlockError: the server could not be asked, or has no such call.
    """
    file = event.file
    path = f"/v1/publications?role={file.role}&version={file.version}"
    role = role_of(event.delegator, file.role)
    return [
        Collision(
            f"a publication on the server, {one.state} since {wire.format_time(one.posted_at)}",
            f"installs {', '.join(one.installs)}" if one.installs else f"another {file.role}",
            tuple(_names(role, one.signed_by)),
        )
        for one in api.get(path, PublicationList).items
    ]


def published_instead(event: Event, server: str, *, ca_file: Path | None, proxy: str | None) -> str:
    """What stands on the server in the place of this event, in words (rule 3).

    Returns:
        A sentence; an empty text if it cannot be read.
    """
    name = event.file.metadata_name
    fetcher = ServerFetcher(server, ca_file=ca_file, proxy=proxy)
    try:
        data = fetcher.download_bytes(f"{BASE}image/metadata/{name}", MAX_LENGTH[Targets.type])
        metadata = parse_metadata(data, Targets, what=f"{name} of the server")
    except (DownloadError, InterlockError):
        return ""
    if metadata.signed_bytes == event.metadata.signed_bytes:
        return ""
    try:
        check_signatures(event.delegator, event.file.role, metadata)
    except RefusedError:
        return f"What {server} has for {name} is not signed by those who may, as far as is known."
    role = role_of(event.delegator, event.file.role)
    names = ", ".join(_names(role, metadata.signatures)) or "its holders"
    return f"Published instead, signed by {names}: {_account(metadata, event)}."


def _account(metadata: Metadata[Targets], event: Event) -> str:
    """What the other made installable, against the version before both."""
    with suppress(InterlockError):
        known = images(metadata.signed)
        new = [path for path in new_paths(metadata.signed, event.previous) if path in known]
        if new:
            return "; ".join(
                f"{known[path].product} {known[path].version} (release counter "
                f"{known[path].release_counter}), {path}"
                for path in new
            )
    return f"another {event.file.role} {event.file.version}, which installs nothing new"


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with durable.translated("read", folder):
        return sorted(path for path in folder.iterdir() if path.is_dir())[:MAX_BESIDE]


def _read_event(directory: Path) -> EventFile | None:
    with suppress(InterlockError):
        data = durable.read(directory / EVENT_FILE, limit=MAX_EVENT, what="event file")
        return wire.decode_canonical(data, EventFile, limit=MAX_EVENT, what="event file")
    return None


def _signers(directory: Path) -> Iterator[str]:
    """Who signed, as the files say; nothing is verified."""
    for path in sorted((directory / SIGNATURES).glob("*.json")):
        with suppress(InterlockError):
            data = durable.read(path, limit=MAX_SIGNATURE, what="signature")
            yield parse_signature(data, what=str(path)).person


def _names(role: Role, keyids: Iterable[str]) -> list[str]:
    wanted = set(keyids)
    return [holder.title for holder in role.holders if holder.key.keyid in wanted]
