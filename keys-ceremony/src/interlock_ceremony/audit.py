"""What a ceremony's output proves, to somebody who was not there (pure: bytes in).

Rules:

1. The transcript's script, its public keys, the time of its first entry and what the ceremonies
   before left in force determine every act and every metadata file. All of them are made again
   here and compared: what differs is named.
2. Public keys are read from the roots. Fingerprints, proofs of possession and signatures are
   computed and verified anew; nothing is believed because it is written.
3. Metadata is judged at the time of the ceremony: that a root has expired since does not make its
   ceremony untrue.
4. A later ceremony is proved from the genesis on: each transcript names the last entry of the one
   before.
5. A file that no transcript names is refused: whoever reads "proved" must not find it there.
6. What cannot be proved from these bytes is said, not hidden: that they are the originals. Whoever
   was there wrote the digests of the roots down; compare those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony import abandonment, acts, metadata, preflight, transcript
from interlock_ceremony.acts import (
    AnyAct,
    Confirmed,
    Deviated,
    PossessionProven,
    Preflighted,
    Resumed,
    TokenChecked,
)
from interlock_ceremony.evidence import Evidence, extra_file, wrong_acts, wrong_metadata
from interlock_ceremony.plan import Signing
from interlock_ceremony.proved import Aside, Audited, Proved, ProvedFile, ProvedKey
from interlock_ceremony.standing import Standing
from interlock_ceremony.steps import Step, steps
from interlock_ceremony.transcript import Entry, Transcript
from interlock_core import keys as core_keys
from interlock_core import tuf_metadata
from interlock_core.errors import NotFoundError, RefusedError
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.wire import sha256_hex


def audit(data: bytes, files: Mapping[str, bytes], *, rehearsal: bool = False) -> Audited:
    """Prove a transcript against the files beside it, or say what does not hold.

    Args:
        data: the transcript.
        files: ``media.collect``: metadata, ``fleet.json``, earlier transcripts, and public key
            files if there.
        rehearsal: whether a rehearsal's output is wanted; otherwise one is refused.

    Raises:
        RefusedError: ``broken_chain``, ``bad_signature``, ``bad_script``, ``wrong_acts``,
            ``wrong_metadata``, ``wrong_key_file``, ``extra_file``, ``shared_key``, ``bad_key``,
            ``rehearsal``, ``abandoned``, or as ``tuf_metadata.verify_root`` and ``taken.take``.
        NotFoundError: a file is missing.
        WireError: malformed, ``bad_key`` or ``bad_proof``.
    """
    newest = transcript.read(data)
    if abandonment.of(newest.entries) is not None:
        raise abandonment.refusal(newest, files)
    began = newest.entries[0].act
    last = began.number if isinstance(began, acts.Began) else 1
    standing: Standing | None = None
    earlier: list[Proved] = []
    used: set[str] = set()
    for number in range(1, last):
        file = f"{metadata.TRANSCRIPTS}/{number}.json"
        if file not in files:
            raise NotFoundError(
                f"There is no {file}: ceremony {last} rests on it; copy the directory whole."
            )
        told = transcript.read(files[file])
        evidence = Evidence(told, files, standing, number, rehearsal=rehearsal)
        earlier.append(_prove(evidence))
        used |= {file, *evidence.used}
        standing = evidence.standing()
    evidence = Evidence(newest, files, standing, last, rehearsal=rehearsal)
    proved = _prove(evidence)
    used |= evidence.used | _check_key_files(evidence)
    if extra := sorted(set(files) - used):
        raise extra_file(extra)
    return Audited(proved, tuple(earlier), evidence.standing())


def _prove(evidence: Evidence) -> Proved:
    told, plan = evidence.told, evidence.plan
    transcript.check_signatures(told, [(key, evidence.keys[key]) for key in plan.attesters()])
    fleet = evidence.fleet()
    _compare_acts(told, _expected(evidence, fleet))
    _check_asides(evidence)
    files = tuple(_check_metadata(evidence))
    for act in _proven(told):
        proof = acts.public_key_file(act, evidence.keys[act.key])
        core_keys.parse_public_key(proof, what=f"transcript's proof of {act.key}")
    return Proved(
        fleet=plan.script.fleet,
        number=plan.number,
        held=evidence.held,
        ended=told.entries[-1].at,
        entries=len(told.entries),
        head=told.head,
        script_sha256=evidence.began.script_sha256,
        persons=plan.script.persons,
        keys=tuple(_proved_keys(told)),
        retired=dict(plan.retires),
        files=files,
        asides=tuple(_asides(told)),
        unconfirmed=sum(
            isinstance(entry.act, Confirmed) and entry.act.by is None for entry in told.entries
        ),
        switch_without_gap=all(_without_gap(evidence, signing) for signing in plan.signings),
    )


def _expected(evidence: Evidence, fleet: acts.FleetNamed | None) -> Iterator[AnyAct]:
    """Every act of a ceremony that follows the plan (rule 1), but asides.

    Proofs, the software's name and who confirmed are the transcript's own; ``_prove`` verifies
    the proofs.
    """
    began, plan = evidence.began, evidence.plan
    yield acts.began(plan, began.script, began.software, rehearsal=began.rehearsal)
    by = {
        entry.act.step: entry.act.by
        for entry in evidence.told.entries
        if isinstance(entry.act, Confirmed)
    }
    for step in steps(plan):
        yield from _acts_of(step, evidence, fleet)
        person = by.get(step.number)
        if person is not None and person not in plan.script.persons:
            raise wrong_acts(f"{person} confirmed step {step.number} and was not there")
        yield acts.confirmed(step, person)


def _acts_of(step: Step, evidence: Evidence, fleet: acts.FleetNamed | None) -> Iterator[AnyAct]:
    plan, keys, name = evidence.plan, evidence.keys, step.subject
    match step.verb:
        case "present":
            yield acts.present(plan, name)
        case "targets":
            assert evidence.taken is not None
            yield acts.targets_taken(evidence.taken.version, evidence.taken.data)
        case "open":
            yield acts.key_opened(next(d for d in plan.opens if d.key == name), keys[name])
        case "make":
            yield acts.key_made(next(d for d in plan.makes if d.key == name), keys[name])
            yield evidence.possession(name)
        case "attend":
            yield acts.key_attends(next(a for a in plan.attends if a.key == name), keys[name])
            yield evidence.possession(name)
        case "import":
            yield acts.key_imported(name, keys[name])
            yield evidence.possession(name)
        case "retire":
            assert plan.before is not None
            yield acts.key_retired(name, plan.before.keys[name], plan.retires[name])
        case "metadata":
            signing = next(one for one in plan.signings if one.file == name)
            yield acts.metadata_signed(signing, evidence.file(name))
        case "fleet":
            assert fleet is not None
            yield fleet
        case "offline" | "clock" | "script" | "previous" | "reserves" | "transcript":
            pass


def _compare_acts(told: Transcript, expected: Iterator[AnyAct]) -> None:
    entries = (
        entry
        for number, entry in enumerate(told.entries)
        if number == 0 or not isinstance(entry.act, acts.ASIDES)
    )
    last: Entry | None = None
    for entry, act in zip_longest(entries, expected):
        if entry is None:
            number = last.number + 1 if last else 1
            raise wrong_acts(f"entry {number}, {_kind(act)}, is missing")
        if act is None:
            raise wrong_acts(f"entry {entry.number}, {_kind(entry.act)}, is one too many")
        if entry.act != act:
            raise wrong_acts(
                f"entry {entry.number} must be {_kind(act)}, as script and keys have it"
            )
        last = entry


def _check_asides(evidence: Evidence) -> None:
    """Check what has no place of its own in the plan.

    Whoever makes roots of a new kind looked before who could not read them; a rehearsal's strand
    nobody.
    """
    told, plan = evidence.told, evidence.plan
    in_tokens = {duty.key: duty.token for duty in plan.makes if duty.token is not None}
    imported = {name: evidence.keys[name] for name in plan.imports}
    schemes = preflight.new_schemes(plan, imported)
    looked = False
    for entry in told.entries:
        match entry.act:
            case Deviated(by=by) if by not in _people(told):
                raise wrong_acts(f"{by} speaks in entry {entry.number} and was not there")
            case TokenChecked(key=key, token=token) if in_tokens.get(key) != token:
                raise wrong_acts(f"entry {entry.number} is of {key} in another token")
            case Preflighted() as act:
                if act.schemes != schemes or act.stranded > act.gateways:
                    raise wrong_acts(f"entry {entry.number} looked at other roots than these")
                looked = True
    if schemes and not looked and not evidence.began.rehearsal:
        raise wrong_acts(
            f"no entry tells who could not read keys of a new kind ({', '.join(schemes)})"
        )


def _check_metadata(evidence: Evidence) -> Iterator[ProvedFile]:
    taken = evidence.taken.targets if evidence.taken else None
    built = metadata.build(
        evidence.plan, evidence.all_keys, evidence.held, taken, rehearsal=evidence.began.rehearsal
    )
    for signing, again in built.items():
        document, root = _verified(evidence, signing)
        # A later library writes a later patch of the same specification.
        again.signed.spec_version = document.signed.spec_version
        wanted, has = again.signed.to_dict(), document.signed.to_dict()
        wrong = sorted(name for name in wanted | has if wanted.get(name) != has.get(name))
        if wrong:
            raise wrong_metadata(
                signing.file, f"the script and the keys give another {', '.join(wrong)}"
            )
        for name in signing.signers:
            if not _signed_by(evidence, document, name):
                raise RefusedError(
                    f"{signing.file} does not carry the signature of {name} that the transcript "
                    "tells of.",
                    reason="bad_signature",
                )
        result = root.get_verification_result(
            signing.role, document.signed_bytes, document.signatures
        )
        yield ProvedFile(
            signing.file,
            sha256_hex(evidence.file(signing.file)),
            len(result.signed),
            result.threshold,
            document.signed.expires,
        )


def _verified(evidence: Evidence, signing: Signing) -> tuple[Metadata[Any], Root]:
    """A signed file, verified as whoever trusts it does, and the root to count by."""
    root = evidence.roots[signing.repository]
    if signing.role == Root.type:
        return root, root.signed
    document = tuf_metadata.verify_new_offline(
        evidence.file(signing.file),
        Targets.type,
        root=root.signed,
        targets=None,
        current=evidence.taken.data if evidence.taken else None,
        now=evidence.held,
        rehearsal=evidence.began.rehearsal,
    )
    return document, root.signed


def _signed_by(evidence: Evidence, document: Metadata[Any], name: str) -> bool:
    key = evidence.keys[name]
    signature = document.signatures.get(key.keyid)
    if signature is None:
        return False
    try:
        key.verify_signature(signature, document.signed_bytes)
    except UnverifiedSignatureError:
        return False
    return True


def _without_gap(evidence: Evidence, signing: Signing) -> bool:
    before = evidence.plan.before
    if signing.role == Root.type or before is None:
        return True
    return len(signing.old) >= before.roles[signing.place].threshold


def _check_key_files(evidence: Evidence) -> set[str]:
    """Check that public key files, where they are there, are those that the proofs came from.

    Returns:
        the names that such files may have.
    """
    again: dict[str, bytes] = {}
    for act in _proven(evidence.told):
        folder = metadata.ONLINE if act.key in ONLINE_ROLES else metadata.KEYS
        data = acts.public_key_file(act, evidence.keys[act.key])
        again[f"{folder}/{act.key}{core_keys.PUBLIC_SUFFIX}"] = data
    for file, data in evidence.files.items():
        if file.endswith(core_keys.PUBLIC_SUFFIX) and again.get(file) != data:
            raise RefusedError(
                f"{file} is not a public key file of this ceremony: remove it.",
                reason="wrong_key_file",
            )
    return set(again)


def _proved_keys(told: Transcript) -> Iterator[ProvedKey]:
    for entry in told.entries:
        match entry.act:
            case acts.KeyMade() as act:
                yield ProvedKey(act.key, act.holder, act.scheme, act.fingerprint, "made")
            case acts.KeyOpened() as act:
                yield ProvedKey(act.key, act.holder, "", act.fingerprint, "opened")
            case acts.KeyAttends() as act:
                scheme = act.public.scheme
                yield ProvedKey(act.key, act.person, scheme, act.fingerprint, "attends")
            case acts.KeyImported() as act:
                yield ProvedKey(act.key, None, act.scheme, act.fingerprint, "imported")


def _asides(told: Transcript) -> Iterator[Aside]:
    for entry in told.entries:
        match entry.act:
            case Resumed():
                yield Aside(entry.number, entry.at, None, "")
            case Deviated(by=by, says=says):
                yield Aside(entry.number, entry.at, by, says)
            case Preflighted() as act:
                says = (
                    f"{act.stranded} of {act.gateways} gateways could not read the next roots, "
                    f"which have keys of the kinds {', '.join(act.schemes)}"
                )
                yield Aside(entry.number, entry.at, None, says)


def _proven(told: Transcript) -> list[PossessionProven]:
    return [entry.act for entry in told.entries if isinstance(entry.act, PossessionProven)]


def _people(told: Transcript) -> set[str]:
    return {entry.act.person for entry in told.entries if isinstance(entry.act, acts.Present)}


def _kind(act: AnyAct) -> str:
    tag = str(act.__struct_config__.tag)
    names = ("key", "person", "file", "what")
    of = next((value for name in names if (value := getattr(act, name, None))), None)
    return f"{tag} of {of}" if of else tag
