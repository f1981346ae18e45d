"""What a ceremony's output proves, to somebody who was not there (pure: bytes in).

Rules:

1. The transcript's script, its public keys and the time of its first entry determine every act and
   every metadata file. All of them are made again here and compared: what differs is named.
2. Public keys are read from the roots. Fingerprints, proofs of possession and signatures are
   computed and verified anew; nothing is believed because it is written.
3. Metadata is judged at the time of the ceremony: that a root has expired since does not make its
   ceremony untrue.
4. What cannot be proved from these bytes is said, not hidden: that they are the originals. Whoever
   was there wrote the digests of the roots down; compare those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import zip_longest
from typing import Any

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony import acts, metadata, quorum, script, transcript
from interlock_ceremony.acts import (
    AnyAct,
    Began,
    KeyImported,
    KeyMade,
    MetadataSigned,
    PossessionProven,
)
from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.metadata import DIRECTOR_ROOT, FLEET, IMAGE_ROOT, SIGNED_BY
from interlock_ceremony.proved import Proved, ProvedFile, ProvedKey
from interlock_ceremony.quorum import Repository
from interlock_ceremony.script import Script, ScriptError
from interlock_ceremony.transcript import Transcript
from interlock_core import keys as core_keys
from interlock_core import tuf_metadata
from interlock_core.errors import RefusedError
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES, FleetFile, read_fleet
from interlock_core.keybytes import check_key
from interlock_core.wire import sha256_hex


def audit(data: bytes, files: Mapping[str, bytes], *, rehearsal: bool = False) -> Proved:
    """Prove a transcript against the files beside it, or say what does not hold.

    Args:
        data: the transcript.
        files: ``media.collect``: metadata and ``fleet.json``, and public key files if there.
        rehearsal: whether a rehearsal's output is wanted; otherwise one is refused.

    Raises:
        RefusedError: ``broken_chain``, ``bad_signature``, ``bad_script``, ``wrong_acts``,
            ``wrong_metadata``, ``wrong_key_file``, ``shared_key``, ``bad_key``, ``rehearsal``, or
            as ``tuf_metadata.verify_root``.
        WireError: malformed, ``bad_key`` or ``bad_proof``.
    """
    told = transcript.read(data)
    began = told.entries[0].act
    if not isinstance(began, Began):
        raise _wrong_acts("entry 1 must be the opening of the script")
    if began.rehearsal != rehearsal:
        raise RefusedError(
            "This transcript is of a rehearsal, whose keys were thrown away: verify the ceremony's."
            if began.rehearsal
            else "This transcript is not of a rehearsal.",
            reason="rehearsal",
        )
    held = told.entries[0].at
    plan = _script(began, held)
    _check_digests(told, files)
    roots: dict[Repository, Metadata[Root]] = {
        IMAGE: _root(files, IMAGE_ROOT, held, rehearsal=rehearsal),
        DIRECTOR: _root(files, DIRECTOR_ROOT, held, rehearsal=rehearsal),
    }
    keys = _keys(plan, told, roots)
    transcript.check_signatures(told, [(duty.key, keys[duty.key]) for duty in quorum.duties(plan)])
    fleet = _fleet(plan, files)
    _compare_acts(told, _expected(plan, began, keys, told, fleet, files))
    proved_files = tuple(_check_metadata(plan, keys, roots, files, held, rehearsal=rehearsal))
    _check_proofs(told, keys, files)
    return Proved(
        fleet=plan.fleet,
        held=held,
        entries=len(told.entries),
        head=told.head,
        script_sha256=began.script_sha256,
        persons=plan.persons,
        keys=tuple(_proved_keys(told)),
        files=proved_files,
    )


def _script(began: Began, held: datetime) -> Script:
    """The script that the transcript holds, checked as the ceremony checked it."""
    try:
        plan, text = script.parse(began.script.encode(), what="the transcript's script")
        if problems := quorum.problems(plan, held):
            raise script.error(text, problems, what="the transcript's script")
    except ScriptError as e:
        raise RefusedError(
            f"No ceremony follows such a script: {e.problems[0]}", reason="bad_script"
        ) from e
    return plan


def _check_digests(told: Transcript, files: Mapping[str, bytes]) -> None:
    for entry in told.entries:
        act = entry.act
        if isinstance(act, MetadataSigned) and sha256_hex(files.get(act.file, b"")) != act.sha256:
            raise _wrong_metadata(act.file, "it is not the file that the transcript names")


def _root(
    files: Mapping[str, bytes], file: str, held: datetime, *, rehearsal: bool
) -> Metadata[Root]:
    return tuf_metadata.verify_root(files[file], None, held, rehearsal=rehearsal)


def _keys(
    plan: Script, told: Transcript, roots: Mapping[Repository, Metadata[Root]]
) -> dict[str, SSlibKey]:
    """Every key of the ceremony, by name, as the roots spell it (rule 2)."""
    keyids = {
        entry.act.key: entry.act.keyid
        for entry in told.entries
        if isinstance(entry.act, KeyMade | KeyImported)
    }
    places: list[tuple[str, Repository]] = [
        (duty.key, duty.repository) for duty in quorum.duties(plan)
    ]
    places += [
        (name, IMAGE if place[0][0] == IMAGE else DIRECTOR) for name, place in ONLINE_ROLES.items()
    ]
    keys: dict[str, SSlibKey] = {}
    seen: dict[str, str] = {}
    for name, repository in places:
        if name not in keyids:
            raise _wrong_acts(f"no entry tells of the key {name}")
        root = roots[repository].signed
        if keyids[name] not in root.keys:
            raise _wrong_metadata(f"{repository}/1.root.json", f"it does not name the key {name}")
        keys[name] = check_key(root.keys[keyids[name]])
        public = fingerprint(keys[name])
        if public in seen:
            raise RefusedError(
                f"{seen[public]} and {name} are one key: whoever has it is two.",
                reason="shared_key",
            )
        seen[public] = name
    return keys


def _fleet(plan: Script, files: Mapping[str, bytes]) -> FleetFile:
    fleet = read_fleet(files[FLEET])
    named = FleetFile(
        fleet=plan.fleet,
        image_root=sha256_hex(files[IMAGE_ROOT]),
        director_root=sha256_hex(files[DIRECTOR_ROOT]),
    )
    if fleet != named:
        raise _wrong_metadata(FLEET, "it names another fleet or other roots")
    return fleet


def _expected(
    plan: Script,
    began: Began,
    keys: Mapping[str, SSlibKey],
    told: Transcript,
    fleet: FleetFile,
    files: Mapping[str, bytes],
) -> Iterator[AnyAct]:
    """Every act of a ceremony that follows ``plan`` (rule 1).

    Proofs and the software's name are the transcript's own; ``_check_proofs`` verifies the proofs.
    """
    proofs = {act.key: act.proof for act in _proven(told)}
    yield acts.began(plan, began.script, began.software, rehearsal=began.rehearsal)
    for person in plan.persons:
        yield acts.present(plan, person)
    for duty in quorum.duties(plan):
        key = keys[duty.key]
        yield acts.key_made(duty, key)
        yield acts.possession_proven(duty.key, key, proofs.get(duty.key, ""))
    for name in ONLINE_ROLES:
        if not quorum.may_sign_online(name, keys[name].scheme):
            raise RefusedError(
                f"{name} is a key of a kind that cannot sign a timestamp.", reason="bad_key"
            )
        yield acts.key_imported(name, keys[name])
        yield acts.possession_proven(name, keys[name], proofs.get(name, ""))
    for file in SIGNED_BY:
        yield acts.metadata_signed(plan, file, files[file])
    yield acts.fleet_named(fleet, files[FLEET])


def _compare_acts(told: Transcript, expected: Iterator[AnyAct]) -> None:
    for number, (entry, act) in enumerate(zip_longest(told.entries, expected), 1):
        if entry is None:
            raise _wrong_acts(f"entry {number}, {_kind(act)}, is missing")
        if act is None:
            raise _wrong_acts(f"entry {number}, {_kind(entry.act)}, is one too many")
        if entry.act != act:
            raise _wrong_acts(f"entry {number} must be {_kind(act)}, as script and keys have it")


def _check_metadata(
    plan: Script,
    keys: Mapping[str, SSlibKey],
    roots: Mapping[Repository, Metadata[Root]],
    files: Mapping[str, bytes],
    held: datetime,
    *,
    rehearsal: bool,
) -> Iterator[ProvedFile]:
    for file, again in metadata.build(plan, keys, held, rehearsal=rehearsal).items():
        repository, role = SIGNED_BY[file]
        root = roots[repository].signed
        document: Metadata[Any] = (
            roots[repository]
            if role == Root.type
            else tuf_metadata.verify_new_offline(
                files[file],
                Targets.type,
                root=root,
                targets=None,
                current=None,
                now=held,
                rehearsal=rehearsal,
            )
        )
        # A later library writes a later patch of the same specification.
        again.signed.spec_version = document.signed.spec_version
        wanted, has = again.signed.to_dict(), document.signed.to_dict()
        wrong = sorted(name for name in wanted | has if wanted.get(name) != has.get(name))
        if wrong:
            raise _wrong_metadata(file, f"the script and the keys give another {', '.join(wrong)}")
        result = root.get_verification_result(role, document.signed_bytes, document.signatures)
        if result.unsigned:
            missing = next(name for name, key in keys.items() if key.keyid in result.unsigned)
            raise RefusedError(
                f"{file} does not carry the signature of {missing} that the transcript tells of.",
                reason="bad_signature",
            )
        yield ProvedFile(
            file,
            sha256_hex(files[file]),
            len(result.signed),
            result.threshold,
            document.signed.expires,
        )


def _check_proofs(
    told: Transcript, keys: Mapping[str, SSlibKey], files: Mapping[str, bytes]
) -> None:
    """Verify each proof, and that public key files, where they are there, are the same."""
    again: dict[str, bytes] = {}
    for act in _proven(told):
        folder = metadata.ONLINE if act.key in ONLINE_ROLES else metadata.KEYS
        data = acts.public_key_file(act, keys[act.key])
        core_keys.parse_public_key(data, what=f"transcript's proof of {act.key}")
        again[f"{folder}/{act.key}{core_keys.PUBLIC_SUFFIX}"] = data
    for file, data in files.items():
        if file.endswith(core_keys.PUBLIC_SUFFIX) and again.get(file) != data:
            raise RefusedError(
                f"{file} is not a public key file of this ceremony: remove it.",
                reason="wrong_key_file",
            )


def _proved_keys(told: Transcript) -> Iterator[ProvedKey]:
    for entry in told.entries:
        match entry.act:
            case KeyMade() as act:
                yield ProvedKey(act.key, act.holder, act.scheme, act.fingerprint)
            case KeyImported() as act:
                yield ProvedKey(act.key, None, act.scheme, act.fingerprint)


def _proven(told: Transcript) -> list[PossessionProven]:
    return [entry.act for entry in told.entries if isinstance(entry.act, PossessionProven)]


def _kind(act: AnyAct) -> str:
    tag = str(act.__struct_config__.tag)
    key = getattr(act, "key", None) or getattr(act, "person", None) or getattr(act, "file", None)
    return f"{tag} of {key}" if key else tag


def _wrong_acts(why: str) -> RefusedError:
    return RefusedError(f"The transcript does not follow its script: {why}.", reason="wrong_acts")


def _wrong_metadata(file: str, why: str) -> RefusedError:
    return RefusedError(
        f"{file} does not belong to this ceremony: {why}. Get the original.",
        reason="wrong_metadata",
    )
