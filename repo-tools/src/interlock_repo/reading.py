"""Opening a signing event: every byte is checked before anybody looks at it (I/O).

Rules (what ``event.Event`` promises):

1. The files are those that ``event.json`` and the metadata call for, each with its digest; a
   missing, changed or extra one is named.
2. The roots form a chain; the newest signs the targets metadata; what is followed carries its
   delegator's threshold. Where new holders sign again what the former ones signed, there are two
   targets metadata, one after the other: the newer says who may sign, the older who could. With a
   root file of the reader's own, the chain must hold it.
3. The metadata keeps the rules of its kind, as if it were being staged now.
4. Every signature verifies, and was made for this very ``event.json``. If the event changed after
   it was signed, that is said first, with what changed and whose signatures are void.
5. Each delta that comes with it promises, frame by frame, the bytes of the image that it leads to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata, Root, Targets

from interlock_core import durable, wire
from interlock_core.errors import InterlockError, NotFoundError, RefusedError
from interlock_core.names import ROSTER_PATH
from interlock_core.release import MAX_PERMIT, Delta, Permit, PermitFacts, read_permit
from interlock_core.released import read_facts, sha256_of
from interlock_core.root_chain import link_roots
from interlock_core.roster import MAX_ROSTER, Roster, read_roster
from interlock_core.tuf_metadata import (
    MAX_LENGTH,
    check_signatures,
    delegated_roles,
    parse_metadata,
    refuse_rehearsal,
    serialise,
)
from interlock_repo.as_signed import MAX_AS_SIGNED, SHOWN_KINDS, State, changed, parse_as_signed
from interlock_repo.delegations import check_delegations
from interlock_repo.deltas import check_delta
from interlock_repo.event import (
    BASE,
    BASE_ROSTER,
    EVENT_FILE,
    MAX_EVENT,
    METADATA,
    SIGNATURES,
    SIGNED,
    SPEC_FILE,
    TARGETS,
    Event,
    EventFile,
    event_files,
)
from interlock_repo.intent import MAX_INTENT, Intent, parse_intent
from interlock_repo.released import check_kind, check_release, new_paths
from interlock_repo.rosters import check_roster
from interlock_repo.signatures import (
    MAX_SIGNATURE,
    SignatureFile,
    Signed,
    parse_signature,
    verify,
)
from interlock_repo.trust import Role, role_of

_ROOT: Final = re.compile(r"([1-9][0-9]{0,14})\.root\.json\Z")
_SIGNATURE: Final = re.compile(rf"{SIGNATURES}/[^/]*\.json\Z")
_AS_SIGNED: Final = re.compile(rf"{SIGNED}/([0-9a-f]{{64}})\.json\Z")
_TARGETS: Final = re.compile(r"([1-9][0-9]{0,14})\.targets\.json\Z")


def open_event(directory: Path, trusted_root: Path | None = None) -> Event:
    """Read an event and check all of it.

    Args:
        directory: the event.
        trusted_root: a root file that the reader trusts (rule 2).

    Raises:
        NotFoundError: there is no event.
        EventChangedError: ``event_changed``.
        RefusedError: ``event_damaged``, ``untrusted_metadata``, ``bad_signature``, ``wrong_key``,
            ``bad_delta``, ``rehearsal``, or as the checks of its kind.
        WireError: a file does not have its form; the message names it.
        TransientError: it cannot be read.
    """
    files = event_files(directory)
    if EVENT_FILE not in files:
        raise NotFoundError(f"There is no signing event at {directory}: it has no {EVENT_FILE}.")
    data = _read(directory, EVENT_FILE, MAX_EVENT)
    file = wire.decode_canonical(
        data, EventFile, limit=MAX_EVENT, what=f"event file {directory / EVENT_FILE}"
    )
    digest = wire.sha256_hex(data)
    reader = _Reader(directory, file, digest, files)
    event = Event(
        directory=directory,
        file=file,
        digest=digest,
        metadata=reader.metadata,
        intent=reader.intent,
        roots=tuple(reader.roots),
        base=reader.base,
        delegator=reader.delegator,
        previous=reader.previous,
        roster=reader.roster,
        previous_roster=reader.previous_roster,
        permits=reader.permits(),
        signatures=tuple(reader.signatures()),
    )
    reader.check_targets()
    _check_extra(directory, files, reader.expected())
    if trusted_root is not None:
        _check_trusted(event, trusted_root)
    return event


def apply_from(event: Event, old: Path) -> tuple[str, ...]:
    """Apply the deltas of an event that are made from a file; return their paths.

    Raises:
        RefusedError: ``bad_delta``: one does not give its image; ``unknown_source``: none is made
            from this file.
        NotFoundError, TransientError: a file is missing or cannot be read.
    """
    listed = event.metadata.signed.targets
    digest = _digest_of(old)
    images = {sha256_of(path, target): path for path, target in listed.items()}
    applied = []
    for path in new_paths(event.metadata.signed, event.previous):
        facts = read_facts(path, listed[path])
        if isinstance(facts, Delta) and facts.from_sha256 == digest:
            image = event.target_path(images[facts.to_sha256])
            check_delta(event.target_path(path), facts, image, old)
            applied.append(path)
    if not applied:
        raise RefusedError(
            f"No delta of {event.directory} is made from {old} (sha256 {digest[:12]}…).",
            reason="unknown_source",
        )
    return tuple(applied)


class _Reader:
    """One event while it is checked, in the order of trust."""

    def __init__(self, directory: Path, file: EventFile, digest: str, files: set[str]) -> None:
        self._directory = directory
        self._file = file
        self._digest = digest
        # As they were when the reading began: others may be signing meanwhile.
        self._files = files
        self.metadata = self._metadata()
        # What people signed is compared with what stands there before anything else is said.
        self._detached = self._signature_files()
        self._copies = self._as_signed()
        self._check_unchanged()
        self._check_metadata()
        self.intent = self._intent()
        self.base = self._base()
        self.roots = self._roots()
        self.former, self.delegator = self._delegators()
        self.role: Role = role_of(self.delegator, file.role)
        self.previous = self._previous()
        self.previous_roster, self.roster = self._rosters()
        self._check_base()
        self._check_kind()

    def _path(self, name: str) -> Path:
        return self._directory / name

    def _metadata(self) -> Metadata[Targets]:
        name = f"{METADATA}/{self._file.metadata_name}"
        data = _read(self._directory, name, MAX_LENGTH[Targets.type])
        metadata = parse_metadata(data, Targets, what=f"metadata {self._path(name)}")
        if metadata.signatures or serialise(metadata) != data:
            raise _damaged(self._path(name), "is not as it was staged")
        return metadata

    def _signature_files(self) -> dict[str, SignatureFile]:
        return {
            name: parse_signature(
                _read(self._directory, name, MAX_SIGNATURE), what=f"signature {self._path(name)}"
            )
            for name in sorted(self._files)
            if _SIGNATURE.match(name)
        }

    def _as_signed(self) -> dict[str, State]:
        """The copies of what was signed, by digest."""
        copies = {}
        for name in sorted(self._files):
            match = _AS_SIGNED.match(name)
            if match is None:
                continue
            what = f"copy {self._path(name)}"
            data = _read(self._directory, name, MAX_AS_SIGNED)
            copies[match[1]] = parse_as_signed(data, match[1], what=what)
        return copies

    def _check_unchanged(self) -> None:
        """See that what people signed is what stands there now (rule 4)."""
        edited = wire.sha256_hex(self.metadata.signed_bytes) != self._file.metadata_sha256
        void = [f for f in self._detached.values() if edited or f.event_sha256 != self._digest]
        if void:
            raise changed(void, self._copies, self._state())
        copy = self._path(f"{SIGNED}/{self._digest}.json")
        # Somebody may be signing meanwhile: the copy comes first, and may have come after the list.
        if self._detached and self._digest not in self._copies and not copy.is_file():
            raise _damaged(
                copy,
                "is missing: bring the signatures together with 'interlock-repo status --merge', "
                "or copy it from where they were made",
            )

    def _state(self) -> State:
        """The event as it stands there, before anything of it is believed."""
        small = self._file.kind in SHOWN_KINDS
        shown = {
            name.removeprefix(f"{TARGETS}/"): _read(self._directory, name, MAX_ROSTER)
            for name in sorted(self._files)
            if small and name.startswith(f"{TARGETS}/")
        }
        return State(self._file, self._digest, self.metadata, shown)

    def _intent(self) -> Intent:
        path = self._path(SPEC_FILE)
        data = _read(self._directory, SPEC_FILE, MAX_INTENT)
        if wire.sha256_hex(data) != self._file.spec_sha256:
            raise _damaged(path, f"is not what {EVENT_FILE} pins")
        return parse_intent(data, what=f"specification {path}")

    def _check_metadata(self) -> None:
        path = self._path(f"{METADATA}/{self._file.metadata_name}")
        digest = wire.sha256_hex(self.metadata.signed_bytes)
        if digest != self._file.metadata_sha256:
            raise _damaged(path, f"is not what {EVENT_FILE} pins")
        if self.metadata.signed.version != self._file.version:
            raise _damaged(path, f"has version {self.metadata.signed.version}")

    def _base(self) -> dict[str, bytes]:
        base = {}
        for name, digest in self._file.base.items():
            limit = MAX_ROSTER if name == BASE_ROSTER else MAX_LENGTH[Targets.type]
            data = _read(self._directory, f"{BASE}/{name}", limit)
            if wire.sha256_hex(data) != digest:
                raise _damaged(self._path(f"{BASE}/{name}"), f"is not what {EVENT_FILE} pins")
            base[name] = data
        return base

    def _roots(self) -> list[Metadata[Root]]:
        versions = sorted(int(m[1]) for m in map(_ROOT.match, self.base) if m)
        if not versions:
            raise _damaged(self._path(EVENT_FILE), "names no root")
        with self._about(f"{BASE}/{versions[-1]}.root.json"):
            return link_roots([self.base[f"{version}.root.json"] for version in versions])

    def _delegators(self) -> tuple[Root | Targets, Root | Targets]:
        """Who said who could sign what is followed, and who says who may sign now (rule 2)."""
        root = self.roots[-1].signed
        if self._file.role == Targets.type:
            return root, root
        versions = sorted(int(m[1]) for m in map(_TARGETS.match, self.base) if m)
        if len(versions) not in {1, 2} or versions[-1] - versions[0] != len(versions) - 1:
            raise _damaged(
                self._path(EVENT_FILE), "must name one targets metadata, or two that follow"
            )
        signed = []
        for version in versions:
            metadata = self._parse_base(f"{version}.targets.json")
            with self._about(f"{BASE}/{version}.targets.json"):
                check_signatures(root, Targets.type, metadata)
                if metadata.signed.version != version:
                    raise _damaged(
                        self._path(f"{BASE}/{version}.targets.json"),
                        "has another version than its name",
                    )
            signed.append(metadata.signed)
        return signed[0], signed[-1]

    def _parse_base(self, name: str) -> Metadata[Targets]:
        what = f"metadata {self._path(f'{BASE}/{name}')}"
        metadata = parse_metadata(self.base[name], Targets, what=what)
        refuse_rehearsal(metadata.signed)
        return metadata

    def _previous(self) -> Targets | None:
        name = self._file.previous_name
        if name is None:
            if self._file.version != 1:
                raise _damaged(self._path(EVENT_FILE), "names no version that it follows")
            return None
        metadata = self._parse_base(name)
        with self._about(f"{BASE}/{name}"):
            check_signatures(self.former, self._file.role, metadata)
        if metadata.signed.version != self._file.version - 1:
            raise _damaged(self._path(f"{BASE}/{name}"), "has another version than its name")
        return metadata.signed

    def _rosters(self) -> tuple[Roster | None, Roster | None]:
        if self._file.kind != "roster":
            return None, None
        before = None
        if self.previous is not None:
            data = self.base.get(BASE_ROSTER)
            info = self.previous.targets.get(ROSTER_PATH)
            listed = sha256_of(ROSTER_PATH, info) if info is not None else None
            if data is None or wire.sha256_hex(data) != listed:
                raise _damaged(
                    self._path(f"{BASE}/{BASE_ROSTER}"), "is not the roster that was in force"
                )
            with self._about(f"{BASE}/{BASE_ROSTER}"):
                before = read_roster(data)
        name = f"{TARGETS}/{ROSTER_PATH}"
        data = _read(self._directory, name, MAX_ROSTER)
        with self._about(name):
            roster = read_roster(data)
            check_roster(self.metadata.signed, roster, data, before)
        return before, roster

    def _check_base(self) -> None:
        needed = {name for name in self.base if _ROOT.match(name)} | {self._file.previous_name}
        if self._file.role != Targets.type:
            needed |= {name for name in self.base if _TARGETS.match(name)}
        if self.previous_roster is not None:
            needed.add(BASE_ROSTER)
        for name in sorted(self.base.keys() - needed):
            raise _damaged(self._path(f"{BASE}/{name}"), "is nothing that the event rests on")

    def _check_kind(self) -> None:
        targets = self.metadata.signed
        with self._about(f"{METADATA}/{self._file.metadata_name}"):
            if self._file.kind == "delegations":
                check_delegations(targets)
            elif self._file.kind != "roster" and isinstance(self.delegator, Targets):
                if targets.delegations is not None:
                    raise RefusedError(
                        f"{self._file.role} may not delegate further.", reason="bad_delegation"
                    )
                role = delegated_roles(self.delegator)[self._file.role]
                check_release(targets, self.previous, role)
                check_kind(self._file.kind, targets, self.previous)

    def permits(self) -> dict[str, Permit]:
        """The permits that come with the event, each what its facts say (rule 3)."""
        found = {}
        for path in self._target_paths():
            facts = None
            if self._file.kind == "permit":
                facts = read_facts(path, self.metadata.signed.targets[path])
            if isinstance(facts, PermitFacts):
                data = _read(self._directory, f"{TARGETS}/{path}", MAX_PERMIT)
                with self._about(f"{TARGETS}/{path}"):
                    found[path] = read_permit(data, facts)
        return found

    def signatures(self) -> Iterator[Signed]:
        """Every signature, verified (rule 4)."""
        for name, file in self._detached.items():
            path = self._path(name)
            if path.stem != file.keyid:
                raise _damaged(path, "does not have the name of the key that made it")
            yield verify(file, self.role, self.metadata.signed_bytes, what=str(path))

    def _target_paths(self) -> list[str]:
        if self._file.kind == "roster":
            return [ROSTER_PATH]
        return new_paths(self.metadata.signed, self.previous)

    def check_targets(self) -> None:
        """Check the bytes that come with the event (rule 1)."""
        for path in self._target_paths():
            info = self.metadata.signed.targets[path]
            file = self._path(f"{TARGETS}/{path}")
            if not file.is_file():
                raise _damaged(file, "is missing")
            if file.stat().st_size != info.length:
                raise _damaged(file, f"is not the {info.length} bytes that the metadata names")
            if _digest_of(file) != sha256_of(path, info):
                raise _damaged(file, "does not have the SHA-256 that the metadata names")
        self._check_deltas()

    def _check_deltas(self) -> None:
        """That each delta of the event leads to its image (rule 5)."""
        if self._file.kind != "release":
            return
        listed = self.metadata.signed.targets
        known = {sha256_of(path, listed[path]): path for path in self._target_paths()}
        for path in self._target_paths():
            facts = read_facts(path, listed[path])
            if isinstance(facts, Delta):
                image = self._path(f"{TARGETS}/{known[facts.to_sha256]}")
                check_delta(self._path(f"{TARGETS}/{path}"), facts, image)

    def expected(self) -> set[str]:
        """Every file that the event may hold."""
        return {
            EVENT_FILE,
            SPEC_FILE,
            f"{METADATA}/{self._file.metadata_name}",
            *(f"{BASE}/{name}" for name in self.base),
            *(f"{TARGETS}/{path}" for path in self._target_paths()),
            *self._detached,
            *(f"{SIGNED}/{digest}.json" for digest in self._copies),
        }

    @contextmanager
    def _about(self, name: str) -> Iterator[None]:
        """Name the file in whatever is wrong with it."""
        try:
            yield
        except InterlockError as e:
            raise RefusedError(f"{self._path(name)}: {e}", reason=e.reason) from e


def _digest_of(file: Path) -> str:
    with durable.translated("read", file), file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _check_extra(directory: Path, files: set[str], expected: set[str]) -> None:
    for name in sorted(files - expected):
        raise _damaged(directory / name, "does not belong to the event: remove it")


def _check_trusted(event: Event, trusted_root: Path) -> None:
    data = durable.read(trusted_root, limit=MAX_LENGTH[Root.type], what="root file")
    version = parse_metadata(data, Root, what=f"root file {trusted_root}").signed.version
    if event.base.get(f"{version}.root.json") != data:
        raise RefusedError(
            f"The event does not rest on the root {version} in {trusted_root}: somebody staged "
            "it from another. Do not sign it; have it staged from the right root.",
            reason="untrusted_metadata",
        )


def _read(directory: Path, name: str, limit: int) -> bytes:
    try:
        return durable.read(directory / name, limit=limit, what="file of the event")
    except NotFoundError as e:
        raise _damaged(directory / name, f"is missing, and {EVENT_FILE} calls for it") from e


def _damaged(path: Path, why: str) -> RefusedError:
    return RefusedError(f"{path} {why}.", reason="event_damaged")
