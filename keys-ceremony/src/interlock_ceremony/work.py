"""The acts of a ceremony under way (I/O).

Rules:

1. An act is done, then told. Both may be repeated after an interruption: what stands on the disk
   is taken as it is, and must be what this act would make.
2. A file that was signed is not signed again: its bytes may differ, and its digest has been told.
3. Everything of the ceremonies before that an audit needs is taken along first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Root

from interlock_ceremony import __version__, acts, custody, metadata, transcript
from interlock_ceremony.custody import MadeKey, PublicFile
from interlock_ceremony.fingerprint import qr, spoken
from interlock_ceremony.forms import DEFAULT_SCHEME
from interlock_ceremony.guide import Say
from interlock_ceremony.journal import Journal
from interlock_ceremony.plan import Signing, metadata_file
from interlock_ceremony.review import Reviewed
from interlock_ceremony.standing import Duty
from interlock_ceremony.steps import Step
from interlock_core import durable, keys, tuf_metadata, wire
from interlock_core.ceremony_output import FLEET, TRANSCRIPT
from interlock_core.genesis import DIRECTOR, IMAGE, FleetFile

SOFTWARE: Final = f"interlock-ceremony {__version__}"
JOURNAL: Final = "journal"


class Work:
    """A ceremony under way, in ``directory``."""

    def __init__(
        self,
        reviewed: Reviewed,
        directory: Path,
        journal: Journal,
        say: Say,
        *,
        passphrases: Mapping[str, str],
        opened: Mapping[str, Signer],
        pin: Callable[[str], str] | None,
        scrypt_n: int,
        one_by_one: bool,
        qr_codes: bool,
        rehearsal: bool,
    ) -> None:
        self._reviewed = reviewed
        self._plan = reviewed.plan
        self._directory = directory
        self._journal = journal
        self._say = say
        self._passphrases = passphrases
        self._pin = pin
        self._scrypt_n = scrypt_n
        self._one_by_one = one_by_one
        self._qr_codes = qr_codes
        self._rehearsal = rehearsal
        self._signers: dict[str, Signer] = dict(opened)
        self._keys: dict[str, Key] = dict(reviewed.before.standing.keys if reviewed.before else {})
        self._opening: dict[str, Callable[[], MadeKey]] = {}
        self._unsigned: dict[str, tuple[Signing, Metadata[Any]]] = {}
        self._began: datetime

    def begin(self) -> None:
        """Open the script, and take along what the ceremonies before left."""
        opening = acts.began(self._plan, self._reviewed.text, SOFTWARE, rehearsal=self._rehearsal)
        before = self._journal.told_next()
        if before is not None and isinstance(before.act, acts.Began):
            # Another release of this software may go on with what an older one began.
            opening = acts.began(
                self._plan,
                self._reviewed.text,
                before.act.software,
                rehearsal=self._rehearsal,
            )
        self._began = self._journal.tell(opening).at
        self._take_along()
        script = self._plan.script
        self._say(f"Fleet {script.fleet}, at {wire.format_time(self._began)}.")
        self._say(f"Script SHA-256:\n{self._read(opening.script_sha256)}")

    def do(self, step: Step) -> None:
        """Take one step."""
        acts_of: dict[str, Callable[[str], None]] = {
            "present": self._present,
            "previous": self._previous,
            "reserves": self._reserves,
            "targets": self._take_targets,
            "open": self._open,
            "make": self._make,
            "attend": self._attend,
            "import": self._import,
            "retire": self._retire,
            "metadata": self._sign,
            "fleet": self._name_fleet,
        }
        if step.verb in acts_of:  # the others are people's alone
            acts_of[step.verb](step.subject)

    def sign_transcript(self) -> None:
        """Write the transcript, signed by everybody."""
        signers = {key: self._signers[key] for key in self._plan.attesters()}
        data = transcript.signed(self._journal.entries, signers)
        durable.create(self._directory / TRANSCRIPT, data)

    def _read(self, digest: str) -> str:
        """A digest as people and cameras read it."""
        return f"{spoken(digest)}\n{qr(digest)}" if self._qr_codes else spoken(digest)

    def _take_along(self) -> None:
        before = self._reviewed.before
        if before is None:
            return
        newest = self._newest_targets()
        for file, data in before.files.items():
            folder, _, name = file.rpartition("/")
            if folder in {metadata.KEYS, metadata.ONLINE}:
                continue
            older = folder == IMAGE and name.endswith(".targets.json") and name != newest
            self._put(f"{metadata.OLDER_TARGETS}/{name}" if older else file, data)
        number = before.standing.number
        self._put(f"{metadata.TRANSCRIPTS}/{number}.json", before.transcript)

    def _present(self, person: str) -> None:
        act = acts.present(self._plan, person)
        self._journal.tell(act)
        self._say(f"Present: {act.name} ({person}), {' and '.join(act.parts)}.")

    def _previous(self, _: str) -> None:
        assert self._plan.before is not None
        self._say(f"Last entry:\n{self._read(self._plan.before.head)}")

    def _reserves(self, _: str) -> None:
        for reserve in self._reviewed.reserves:
            self._say(f"  {reserve.says()}")

    def _take_targets(self, _: str) -> None:
        before = self._reviewed.before
        assert before is not None
        act = acts.targets_taken(before.taken.version, before.taken.data)
        self._journal.tell(act)
        name = f"{before.taken.version}.targets.json"
        folder = IMAGE if name == self._newest_targets() else metadata.OLDER_TARGETS
        self._put(f"{folder}/{name}", before.taken.data)
        self._say(f"Top-level targets {act.version}:\n{self._read(act.sha256)}")

    def _newest_targets(self) -> str:
        """The file of the top-level targets that this ceremony leaves in force."""
        before = self._reviewed.before
        signed = [s.version for s in self._plan.signings if s.role == "targets"]
        version = signed[0] if signed or before is None else before.taken.version
        return f"{version}.targets.json"

    def _open(self, name: str) -> None:
        duty = next(duty for duty in self._plan.opens if duty.key == name)
        act = acts.key_opened(duty, self._keys[duty.key])
        self._journal.tell(act)
        self._say(f"Opened {duty.key}:\n{self._read(act.fingerprint)}")

    def _make(self, name: str) -> None:
        duty = next(duty for duty in self._plan.makes if duty.key == name)
        made = self._made_in_token(duty) if duty.token else self._made(duty.key)
        act = acts.key_made(duty, made.public.key)
        self._journal.tell(act)
        self._enter(duty.key, made.public, made.signer)
        where = ", in a token" if duty.token else ""
        self._say(f"Made {duty.key} ({duty.scheme}{where}):\n{self._read(act.fingerprint)}")

    def _attend(self, name: str) -> None:
        one = next(one for one in self._plan.attends if one.key == name)
        if one.path is None:
            made = self._made(one.key)
            public, signer = made.public, made.signer
        else:
            public, signer = self._reviewed.public[one.key], self._signers[one.key]
            self._put(f"{metadata.KEYS}/{one.key}{keys.PUBLIC_SUFFIX}", public.data)
        act = acts.key_attends(one, public.key)
        self._journal.tell(act)
        self._enter(one.key, public, signer)
        verb = "Made" if one.path is None else "Brought"
        self._say(f"{verb} {one.key} ({public.key.scheme}):\n{self._read(act.fingerprint)}")

    def _import(self, name: str) -> None:
        file = self._reviewed.public[name]
        self._put(f"{metadata.ONLINE}/{name}{keys.PUBLIC_SUFFIX}", file.data)
        act = acts.key_imported(name, file.key)
        self._journal.tell(act)
        self._enter(name, file, None)
        self._say(f"Imported {name} ({file.key.scheme}):\n{self._read(act.fingerprint)}")

    def _retire(self, name: str) -> None:
        assert self._plan.before is not None
        key = self._plan.before.keys[name]
        self._journal.tell(acts.key_retired(name, key, self._plan.retires[name]))

    def _enter(self, name: str, file: PublicFile, signer: Signer | None) -> None:
        self._keys[name] = file.key
        if signer is not None:
            self._signers[name] = signer
        self._journal.tell(acts.possession_proven(name, file.key, file.proof))

    def _made(self, name: str) -> MadeKey:
        """The key of this name: made now, or together with all others where nobody waits."""
        wanted = {
            duty.key: (duty.holder, duty.scheme) for duty in self._plan.makes if not duty.token
        }
        wanted |= {
            one.key: (one.person, DEFAULT_SCHEME) for one in self._plan.attends if not one.path
        }
        if self._one_by_one:
            return self._start(name, *wanted[name])()
        if not self._opening:
            with ThreadPoolExecutor() as pool:
                for key, (person, scheme) in wanted.items():
                    if key not in self._signers:
                        opening = self._start(key, person, scheme)
                        self._opening[key] = pool.submit(opening).result
        return self._opening[name]()

    def _start(self, name: str, person: str, scheme: str) -> Callable[[], MadeKey]:
        passphrase = self._passphrases[person]
        return custody.make(self._keys_directory(), name, scheme, passphrase, self._scrypt_n)

    def _made_in_token(self, duty: Duty) -> MadeKey:
        assert self._pin is not None
        asked = acts.TokenChecked(key=duty.key, token=duty.token or "")
        begin = None if self._journal.has(asked) else lambda: self._journal.aside(asked)
        return custody.make_in_token(self._keys_directory(), duty, self._pin, begin)()

    def _keys_directory(self) -> Path:
        directory = self._directory / metadata.KEYS
        durable.mkdir(directory, mode=0o700)
        return directory

    def _sign(self, file: str) -> None:
        if not self._unsigned:
            taken = self._reviewed.before.taken.targets if self._reviewed.before else None
            built = metadata.build(
                self._plan, self._keys, self._began, taken, rehearsal=self._rehearsal
            )
            self._unsigned = {signing.file: (signing, made) for signing, made in built.items()}
        signing, document = self._unsigned[file]
        path = self._directory / file
        if path.exists():  # rule 2; the audit finds whether it is the right one
            data = durable.read(path, limit=tuf_metadata.MAX_LENGTH["targets"], what=file)
        else:
            for name in signing.signers:
                tuf_metadata.add_signature(document, self._signers[name])
            data = tuf_metadata.serialise(document)
            self._put(file, data)
        act = acts.metadata_signed(signing, data)
        self._journal.tell(act)
        self._say(
            f"Signed {file} by {len(act.signers)} keys, expires "
            f"{wire.format_time(document.signed.expires)}:\n{self._read(act.sha256)}"
        )

    def _name_fleet(self, _: str) -> None:
        def digest(repository: str) -> str:
            path = self._directory / metadata_file(repository, Root.type, 1)
            limit = tuf_metadata.MAX_LENGTH[Root.type]
            return wire.sha256_hex(durable.read(path, limit=limit, what=path.name))

        fleet = FleetFile(
            fleet=self._plan.script.fleet,
            image_root=digest(IMAGE),
            director_root=digest(DIRECTOR),
        )
        data = wire.encode(fleet)
        self._put(FLEET, data)
        self._journal.tell(acts.fleet_named(fleet, data))

    def _put(self, file: str, data: bytes) -> None:
        path = self._directory / file
        durable.mkdir(path.parent)
        durable.create(path, data)
