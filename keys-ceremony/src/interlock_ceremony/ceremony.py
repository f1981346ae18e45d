"""The ceremony itself: from a reviewed script to its output (I/O).

Rules:

1. Everything is done in one directory that gets its name at the very end (``media``); every file
   in it is create-only and durable.
2. Every act is recorded when it has been done, and said aloud with its fingerprint.
3. Nobody is given what ``audit`` would refuse: the finished output passes it before it gets its
   name.
4. A rehearsal does the same with keys that are thrown away, and everything that it makes or says
   is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata

from interlock_ceremony import __version__, acts, audit, custody, media, metadata
from interlock_ceremony.fingerprint import grouped
from interlock_ceremony.proved import Proved
from interlock_ceremony.quorum import duties
from interlock_ceremony.review import Reviewed
from interlock_ceremony.script import Script
from interlock_ceremony.transcript import Recorder
from interlock_core import durable, keys, tuf_metadata, wire
from interlock_core.clock import Clock, system_clock
from interlock_core.credentials import Prompt
from interlock_core.genesis import FleetFile

SOFTWARE = f"interlock-ceremony {__version__}"

Say = Callable[[str], None]
"""Tells the people in the room; one line, without its end."""


@dataclass(frozen=True)
class Room:
    """Where a ceremony is held.

    Attributes:
        clock: the machine's.
        prompt: asks a person for a passphrase; None for the terminal.
        scrypt_n: cost of opening a key file.
    """

    clock: Clock = system_clock
    prompt: Prompt | None = None
    scrypt_n: int = keys.SCRYPT_N


def perform(
    reviewed: Reviewed,
    passphrases: Mapping[str, str],
    room: Room,
    say: Say,
    *,
    rehearsal: bool = False,
) -> Proved:
    """Hold the ceremony, and return what its output proves.

    Args:
        reviewed: from ``review.review``.
        passphrases: from ``custody.passphrases``.
        room: clock and cost.
        say: hears each step.
        rehearsal: whether to mark everything (rule 4).

    Raises:
        ConflictError: something appeared at the output meanwhile; nothing was written there.
        TransientError: the disk did not do it; there is no output.
        RefusedError, WireError: what was made does not pass the audit (rule 3): the machine or
            the software is at fault; there is no output.
    """
    with media.assembled(reviewed.output) as directory:
        work = _Work(reviewed, directory, room, say, rehearsal=rehearsal)
        work.open()
        work.make_keys(passphrases)
        work.import_keys()
        work.sign_metadata()
        work.name_fleet()
        work.close()
        transcript = media.read_transcript(directory / metadata.TRANSCRIPT)
        files = media.collect(directory)
        return audit.audit(transcript, files, rehearsal=rehearsal)


class _Work:
    """A ceremony under way, in ``directory``."""

    def __init__(
        self, reviewed: Reviewed, directory: Path, room: Room, say: Say, *, rehearsal: bool
    ) -> None:
        self._script: Script = reviewed.script
        self._reviewed = reviewed
        self._directory = directory
        self._room = room
        self._say = say
        self._rehearsal = rehearsal
        self._recorder = Recorder(room.clock)
        self._keys: dict[str, Key] = {}
        self._signers: dict[str, Signer] = {}
        self._digests: dict[str, str] = {}
        self._began: datetime

    def open(self) -> None:
        opening = acts.began(self._script, self._reviewed.text, SOFTWARE, rehearsal=self._rehearsal)
        self._began = self._recorder.record(opening).at
        self._say(f"Fleet {self._script.fleet}, at {wire.format_time(self._began)}.")
        self._say(f"Script SHA-256:\n  {grouped(opening.script_sha256)}")
        for person in self._script.persons:
            act = acts.present(self._script, person)
            self._recorder.record(act)
            self._say(f"Present: {act.name} ({person}), {' and '.join(act.parts)}.")

    def make_keys(self, passphrases: Mapping[str, str]) -> None:
        directory = self._directory / metadata.KEYS
        durable.mkdir(directory, mode=0o700)
        cost = self._room.scrypt_n
        with ThreadPoolExecutor() as pool:
            opening = {
                duty: pool.submit(custody.make(directory, duty, passphrases[duty.holder], cost))
                for duty in duties(self._script)
            }
        for duty, opened in opening.items():
            made = opened.result()
            act = acts.key_made(duty, made.public.key)
            self._recorder.record(act)
            self._keys[duty.key], self._signers[duty.key] = made.public.key, made.signer
            self._prove(duty.key, made.public)
            self._say(f"Made {duty.key} ({duty.scheme}):\n  {grouped(act.fingerprint)}")

    def import_keys(self) -> None:
        directory = self._directory / metadata.ONLINE
        durable.mkdir(directory)
        for name, file in self._reviewed.online.items():
            durable.create(directory / (name + keys.PUBLIC_SUFFIX), file.data)
            act = acts.key_imported(name, file.key)
            self._recorder.record(act)
            self._keys[name] = file.key
            self._prove(name, file)
            self._say(f"Imported {name} ({file.key.scheme}):\n  {grouped(act.fingerprint)}")

    def sign_metadata(self) -> None:
        unsigned = metadata.build(self._script, self._keys, self._began, rehearsal=self._rehearsal)
        for file, document in unsigned.items():
            data = self._signed(file, document)
            path = self._directory / file
            durable.mkdir(path.parent)
            durable.create(path, data)
            act = acts.metadata_signed(self._script, file, data)
            self._recorder.record(act)
            self._digests[file] = act.sha256
            self._say(
                f"Signed {file} by {len(act.signers)} keys, expires "
                f"{wire.format_time(document.signed.expires)}:\n  {grouped(act.sha256)}"
            )

    def name_fleet(self) -> None:
        fleet = FleetFile(
            fleet=self._script.fleet,
            image_root=self._digests[metadata.IMAGE_ROOT],
            director_root=self._digests[metadata.DIRECTOR_ROOT],
        )
        data = wire.encode(fleet)
        durable.create(self._directory / metadata.FLEET, data)
        self._recorder.record(acts.fleet_named(fleet, data))

    def close(self) -> None:
        durable.create(self._directory / metadata.TRANSCRIPT, self._recorder.signed(self._signers))

    def _prove(self, name: str, file: custody.PublicFile) -> None:
        self._recorder.record(acts.possession_proven(name, file.key, file.proof))

    def _signed(self, file: metadata.File, document: Metadata[Any]) -> bytes:
        for name in metadata.signers_of(self._script, file):
            document.sign(self._signers[name], append=True)
        return tuf_metadata.serialise(document)
