"""The same script with keys that are thrown away (I/O).

Rules:

1. Nobody's real key is needed or touched. Where a later ceremony is rehearsed, all those before it
   are first held again in the same temporary place, by their own scripts, with stand-ins for every
   key and for the top-level targets that were taken over.
2. Everything that is made says under its signatures that it is of a rehearsal, and is removed.
3. Passphrases are random, and nobody knows them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony import custody, media, script, sense, transcript
from interlock_ceremony.acts import Began, TargetsTaken
from interlock_ceremony.ceremony import Room, Secrets, perform
from interlock_ceremony.custody import PublicFile
from interlock_ceremony.forms import DEFAULT_SCHEME, Later, Script
from interlock_ceremony.guide import Say
from interlock_ceremony.metadata import KEYS, OLDER_TARGETS, TRANSCRIPTS
from interlock_ceremony.plan import Plan, metadata_file
from interlock_ceremony.proved import Audited
from interlock_ceremony.review import Before, Reviewed
from interlock_ceremony.standing import Standing
from interlock_ceremony.taken import take
from interlock_core import keys, tuf_metadata
from interlock_core.ceremony_output import TRANSCRIPT
from interlock_core.clock import fixed_clock
from interlock_core.errors import NotFoundError
from interlock_core.genesis import IMAGE
from interlock_core.keys import MIN_SCRYPT_N, PRIVATE_SUFFIX, PUBLIC_SUFFIX


def rehearse(reviewed: Reviewed, room: Room, say: Say) -> Audited:
    """Rehearse a script, and remove everything again.

    Args:
        reviewed: the real one; nothing of it is touched.
        room: clock, and whom to ask.
        say: hears each step.

    Raises:
        RefusedError, WireError, TransientError: as ``ceremony.perform``.
    """
    cheap = replace(room, scrypt_n=MIN_SCRYPT_N)
    with TemporaryDirectory(prefix="interlock-rehearsal-") as directory:
        stage = _Stage(Path(directory))
        if reviewed.before is not None:
            for held in _earlier(reviewed.before):
                quiet = replace(cheap, clock=fixed_clock(held.at), ask=None)
                stage.hold(held.text, held.targets, quiet, _nobody)
        taken = reviewed.before.taken.targets if reviewed.before else None
        return stage.hold(reviewed.text, taken, cheap, say)


@dataclass(frozen=True)
class _Held:
    """An earlier ceremony, as far as it is rehearsed."""

    text: str
    at: datetime
    targets: Targets | None


class _Stage:
    """A temporary place where a chain of ceremonies is held."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._passphrases: dict[str, str] = {}
        self._brought: list[Path] = []
        self._last: Audited | None = None

    def hold(self, text: str, targets: Targets | None, room: Room, say: Say) -> Audited:
        """Hold one ceremony after those that were held here.

        Args:
            text: its script.
            targets: the real top-level targets that it takes over, or None at a genesis.
            room: clock, and whom to ask.
            say: hears each step.
        """
        read, _ = script.parse(text.encode(), what="script")
        number = self._last.standing.number + 1 if self._last else 1
        before = self._before(targets) if self._last and targets else None
        if isinstance(read, Script):
            plan, _ = sense.genesis(read, room.clock())
        else:
            assert isinstance(read, Later)
            assert before is not None
            plan, _ = sense.later(read, room.clock(), before.standing, before.taken)
        plan = plan.rehearsed()
        public = self._stand_ins(plan, number)
        reserves = sense.reserves(plan, before.taken if before else None)
        output = self._output(number)
        reviewed = Reviewed(plan, text, output, public, reserves, before)
        self._last = perform(reviewed, self._secrets(reviewed), room, say, rehearsal=True)
        self._brought.append(output / KEYS)
        return self._last

    def _output(self, number: int) -> Path:
        return self._place / str(number)

    def _before(self, real: Targets) -> Before:
        assert self._last is not None
        standing = self._last.standing
        directory = self._output(standing.number)
        files = media.collect(directory)
        file = metadata_file(IMAGE, "root", standing.roots[IMAGE])
        root = tuf_metadata.parse_metadata(files[file], Root, what="image root").signed
        version, _ = standing.targets
        if real.version == version:
            data = files[metadata_file(IMAGE, "targets", version)]
        else:
            document = Metadata(deepcopy(real))
            document.signed.unrecognized_fields[tuf_metadata.REHEARSAL] = True
            for duty in standing.roles[IMAGE, "targets"].holders:
                tuf_metadata.add_signature(document, self._open(duty.key, duty.holder, standing))
            data = tuf_metadata.serialise(document)
        return Before(
            directory,
            media.read_transcript(directory / TRANSCRIPT),
            files,
            standing,
            take(data, root, standing.targets, rehearsal=True),
        )

    def _stand_ins(self, plan: Plan, number: int) -> dict[str, PublicFile]:
        """Public key files for those that the real script names."""
        directory = self._place / f"brought-{number}"
        names = {name: name for name in plan.imports}
        names |= {one.key: one.person for one in plan.attends if one.path is not None}
        for name, person in names.items():
            passphrase = self._passphrase(person)
            keys.new_key(directory, name, DEFAULT_SCHEME, passphrase, scrypt_n=MIN_SCRYPT_N)
        self._brought.append(directory)
        return {name: custody.read_public(directory / (name + PUBLIC_SUFFIX))[1] for name in names}

    def _secrets(self, reviewed: Reviewed) -> Secrets:
        plan = reviewed.plan
        standing = plan.before
        opened: dict[str, Signer] = {}
        for duty in plan.opens:
            assert standing is not None
            opened[duty.key] = self._open(duty.key, duty.holder, standing)
        for one in plan.attends:
            if one.path is not None:
                opened[one.key] = self._load(one.key, one.person, reviewed.public)
        people = {duty.holder for duty in plan.makes} | {one.person for one in plan.attends}
        return Secrets({person: self._passphrase(person) for person in people}, opened)

    def _open(self, key: str, holder: str, standing: Standing) -> Signer:
        passphrase = self._passphrase(holder)
        return keys.load_signer(self._find(key), lambda _: passphrase, standing.keys[key])

    def _load(self, key: str, person: str, public: Mapping[str, PublicFile]) -> Signer:
        passphrase = self._passphrase(person)
        return keys.load_signer(self._find(key), lambda _: passphrase, public[key].key)

    def _find(self, key: str) -> Path:
        """The newest private key file of that name: attending ones keep theirs."""
        name = key + PRIVATE_SUFFIX
        return next(path / name for path in reversed(self._brought) if (path / name).exists())

    def _passphrase(self, person: str) -> str:
        return self._passphrases.setdefault(person, secrets.token_urlsafe())


def _earlier(before: Before) -> list[_Held]:
    """The ceremonies before, from the genesis on."""
    number = before.standing.number
    held = []
    for one in range(1, number + 1):
        file = f"{TRANSCRIPTS}/{one}.json"
        told = transcript.read(before.transcript if one == number else before.files[file])
        began = told.entries[0].act
        assert isinstance(began, Began)
        targets = None
        for entry in told.entries:
            if isinstance(entry.act, TargetsTaken):
                targets = _real_targets(before.files, entry.act.version)
        held.append(_Held(began.script, told.entries[0].at, targets))
    return held


def _real_targets(files: Mapping[str, bytes], version: int) -> Targets:
    name = metadata_file(IMAGE, "targets", version)
    older = f"{OLDER_TARGETS}/{version}.targets.json"
    data = files.get(name) or files.get(older)
    if data is None:
        raise NotFoundError(f"There is no {name} beside the transcript: copy it there.")
    return tuf_metadata.parse_metadata(data, Targets, what=name).signed


def _nobody(_: str) -> None:
    pass
