"""A signing event: a directory that travels between people (I/O).

Rules:

1. ``docs/interfaces.md``, section 2, fixes the layout. ``event.json`` pins, directly or through
   the metadata, every byte that people look at; anything missing, changed or extra is named.
2. An event is assembled in a directory beside, ``.<name>.partial``, flushed, and named by one
   rename: it is there whole or not at all. It is create-only.
3. Signatures are detached and create-only. They are made over the metadata's canonical signed
   bytes and nothing else, so that copies of one event can be signed apart and put together. Before
   the first, a copy of what is signed is kept in ``signed/``, so that a later change is explained.
4. An ``Event`` comes from ``reading.open_event`` alone, which checks all of it, each time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta
from tuf.api.metadata import Metadata, Root, Targets

from interlock_core import disk, durable, wire
from interlock_core.errors import ConflictError, NotFoundError, RefusedError
from interlock_core.names import RESERVED, ROSTER_ROLE, Digest, Name
from interlock_core.release import Permit
from interlock_core.roster import Roster
from interlock_core.tuf_metadata import serialise
from interlock_core.words import words_of
from interlock_repo.intent import Intent
from interlock_repo.signatures import SignatureFile, Signed
from interlock_repo.trust import spoken

EVENT_FILE: Final = "event.json"
SPEC_FILE: Final = "spec.json"
METADATA: Final = "metadata"
BASE: Final = "base"
TARGETS: Final = "targets"
SIGNATURES: Final = "signatures"
SIGNED: Final = "signed"
BASE_ROSTER: Final = "roster.json"
MAX_EVENT: Final = 256 * 1024

Kind = Literal["delegations", "release", "roster", "withdrawal", "permit", "renewal"]
LIFETIME_DAYS: Final[Mapping[Kind, int]] = {
    "delegations": 365,
    "release": 365,
    "roster": 35,
    "withdrawal": 365,
    "permit": 365,
    "renewal": 365,
}
"""How long each kind of metadata is valid, in days."""

BaseName = Annotated[
    str, Meta(pattern=r"^(?:[1-9][0-9]{0,14}\.[a-z0-9][a-z0-9-]{0,62}|roster)\.json\Z")
]


class EventFile(wire.Record, frozen=True, kw_only=True):
    """``event.json``.

    Attributes:
        kind: what the event is for.
        role: whose metadata it makes.
        version: of that metadata.
        metadata_sha256: digest of the canonical signed bytes.
        spec_sha256: digest of ``spec.json``: what people wrote (``intent``).
        base: digest of each file in ``base/``: roots from the trusted one to the newest, targets
            metadata, and the version that this one follows, if there is one.
    """

    type: Literal["urn:interlock:event:v1"] = "urn:interlock:event:v1"
    kind: Kind
    role: Name
    version: Annotated[int, Meta(ge=1, le=10**15 - 1)]
    metadata_sha256: Digest
    spec_sha256: Digest
    base: Annotated[dict[BaseName, Digest], Meta(min_length=1, max_length=1024)]

    def __post_init__(self) -> None:
        super().__post_init__()
        fixed = {"delegations": Targets.type, "roster": ROSTER_ROLE}.get(self.kind)
        if self.role in RESERVED if fixed is None else self.role != fixed:
            raise ValueError(f"an event of kind {self.kind} is not for the role {self.role}")

    @property
    def metadata_name(self) -> str:
        """The name of the metadata file."""
        return f"{self.version}.{self.role}.json"

    @property
    def previous_name(self) -> str | None:
        """The base file that this version follows, or None for the first."""
        name = f"{self.version - 1}.{self.role}.json"
        return name if name in self.base else None


@dataclass(frozen=True)
class SourceFile:
    """Bytes of a target that are copied when the event is assembled."""

    path: Path
    length: int
    sha256: str


@dataclass(frozen=True)
class Draft:
    """An event to be.

    Attributes:
        kind: what it is for.
        role: whose metadata it makes.
        metadata: that metadata, without signatures.
        base: files by name, as in ``EventFile.base``.
        targets: the bytes that come with it, by target path.
        intent: what people wrote, to make the event again from.
    """

    kind: Kind
    role: str
    metadata: Metadata[Targets]
    base: Mapping[str, bytes]
    targets: Mapping[str, bytes | SourceFile]
    intent: Intent


@dataclass(frozen=True)
class Event:
    """A signing event that was checked whole (rule 4).

    Attributes:
        directory: where it lies.
        file: its ``event.json``.
        digest: SHA-256 of ``event.json``: pins everything but the signatures.
        metadata: what people sign.
        intent: what they wrote.
        roots: from the one that staging trusted to the newest.
        base: the bytes of each base file.
        delegator: the metadata that says who may sign.
        previous: the version that this one follows.
        roster, previous_roster: of a roster event.
        permits: of a permit event, those that are new, by target path.
        signatures: those found, each verified.
    """

    directory: Path
    file: EventFile
    digest: str
    metadata: Metadata[Targets]
    intent: Intent
    roots: tuple[Metadata[Root], ...]
    base: Mapping[str, bytes]
    delegator: Root | Targets
    previous: Targets | None
    roster: Roster | None
    previous_roster: Roster | None
    permits: Mapping[str, Permit]
    signatures: tuple[Signed, ...]

    @property
    def spoken_digest(self) -> str:
        """What people read to one another to know that they look at the same event."""
        return spoken(self.digest)

    @property
    def words(self) -> str:
        """The same as words: what people say where digits are easily misheard."""
        return words_of(self.digest)

    @property
    def new_holders(self) -> bool:
        """Whether it rests on delegations that are to be published with it."""
        return sum(name.endswith(f".{Targets.type}.json") for name in self.base) > 1

    def target_path(self, path: str) -> Path:
        """Where the bytes of a target lie."""
        return self.directory / TARGETS / path


def event_file(draft: Draft) -> EventFile:
    """The ``event.json`` of a draft."""
    return EventFile(
        kind=draft.kind,
        role=draft.role,
        version=draft.metadata.signed.version,
        metadata_sha256=wire.sha256_hex(draft.metadata.signed_bytes),
        spec_sha256=wire.sha256_hex(wire.encode(draft.intent)),
        base={name: wire.sha256_hex(data) for name, data in draft.base.items()},
    )


def create(directory: Path, draft: Draft) -> None:
    """Make an event (rules 1 and 2).

    Raises:
        ConflictError: something stands there, or another process makes this event now.
        RefusedError: ``image_changed``: a file is not what it was when it was measured.
        NotFoundError: a file is gone.
        TransientError: the disk did not do it; nothing stands there.
    """
    if directory.exists() or directory.is_symlink():
        raise ConflictError(
            f"{directory} exists: an event is never overwritten, choose another name.",
            reason="event_exists",
        )
    file = event_file(draft)
    small: dict[str, bytes] = {
        EVENT_FILE: wire.encode(file),
        SPEC_FILE: wire.encode(draft.intent),
        f"{METADATA}/{file.metadata_name}": serialise(draft.metadata),
    } | {f"{BASE}/{name}": data for name, data in draft.base.items()}
    with _assembled(directory) as partial:
        for name, data in small.items():
            durable.mkdir((partial / name).parent)
            durable.create(partial / name, data)
        for path, content in draft.targets.items():
            _put(partial / TARGETS / path, content)
        durable.mkdir(partial / SIGNATURES)


def put_signature(directory: Path, file: SignatureFile, as_signed: bytes) -> Path:
    """Add a signature to an event; return its path (rule 3).

    Args:
        directory: of the event.
        file: the signature.
        as_signed: the copy of what it was made for (``as_signed``).

    Raises:
        ConflictError: ``already_signed``: another signature by this key is there.
        TransientError: the disk did not do it.
    """
    copy = directory / SIGNED / f"{file.event_sha256}.json"
    durable.mkdir(copy.parent)
    durable.create(copy, as_signed)
    path = directory / SIGNATURES / f"{file.keyid}.json"
    durable.mkdir(path.parent)
    try:
        durable.create(path, wire.encode(file))
    except ConflictError as e:
        raise ConflictError(
            f"{file.person} has signed this event already ({path}).", reason="already_signed"
        ) from e
    return path


def event_files(directory: Path) -> set[str]:
    """Every file of an event, relative, without what a crash left of an unfinished write.

    Raises:
        NotFoundError: there is no such directory.
        RefusedError: ``event_damaged``: something is neither a file nor a directory.
        TransientError: a directory cannot be read; it must not look like an empty one.
    """
    if not directory.is_dir():
        raise NotFoundError(f"There is no signing event at {directory}.")
    found: set[str] = set()
    with durable.translated("read", directory):
        walked = list(os.walk(directory, onerror=_raise))
    for parent, directories, files in walked:
        for name in (*directories, *files):
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise RefusedError(
                    f"{path} is neither a file nor a directory: an event holds nothing else.",
                    reason="event_damaged",
                )
        found |= {
            Path(parent, name).relative_to(directory).as_posix()
            for name in files
            if not disk.is_temporary(name)
        }
    return found


def _raise(error: OSError) -> None:
    raise error


def _put(path: Path, content: bytes | SourceFile) -> None:
    durable.mkdir(path.parent)
    if isinstance(content, bytes):
        durable.create(path, content)
        return
    try:
        with open_source(content.path) as source:
            durable.create_from(path, source, length=content.length, sha256=content.sha256)
    except RefusedError as e:
        raise image_changed(content.path) from e


@contextmanager
def open_source(path: Path) -> Iterator[Any]:
    """A file to read, whose faults are named.

    Raises:
        NotFoundError: there is none.
        TransientError: it cannot be read.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.")
    with durable.translated("read", path):
        file = path.open("rb")
    with file:
        yield file


def image_changed(path: Path) -> RefusedError:
    """The refusal of a file that is not what it was a moment ago."""
    return RefusedError(
        f"{path} changed while it was read: wait until it is finished, and stage again.",
        reason="image_changed",
    )


@contextmanager
def _assembled(directory: Path) -> Iterator[Path]:
    """A private directory that gets its name at the end (rule 2).

    What an interrupted call left there is cleared; the lock tells it from a call at work.
    """
    durable.mkdir(directory.parent)
    partial = directory.with_name(f".{directory.name}.partial")
    durable.mkdir(partial)
    with durable.translated("lock", partial):
        lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise ConflictError(f"Another process is making {directory} now.") from e
        with durable.translated("clear", partial):
            for left in partial.iterdir():
                disk.step("unlink", left)
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            yield partial
            with durable.translated("name", directory):
                disk.step("rename", directory)
                partial.rename(directory)
                disk.sync_directory(directory.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)
