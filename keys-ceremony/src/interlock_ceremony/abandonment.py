"""A ceremony that is given up: who says so, and what must be destroyed (pure).

Rules:

1. Anybody in the script may give a ceremony up, and says why. Everybody whose key took part by
   then signs that, with every such key, or is named as absent.
2. The record has the form of a transcript: what was told so far, and ``abandoned`` as the last act.
   It proves no ceremony, whoever signed it, and none goes on from it.
3. Every private key that was made is to be destroyed, in files and in tokens: also one that a token
   was asked for and that nobody saw. Metadata that was signed by then may be believed by gateways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Root

from interlock_ceremony import transcript
from interlock_ceremony.acts import (
    Abandoned,
    Began,
    KeyAttends,
    KeyMade,
    KeyOpened,
    MetadataSigned,
    Present,
    TargetsTaken,
    TokenChecked,
)
from interlock_ceremony.fingerprint import fingerprint
from interlock_ceremony.metadata import KEYS, OLDER_TARGETS, TRANSCRIPTS
from interlock_ceremony.transcript import Entry, Transcript
from interlock_core import keys, tuf_metadata
from interlock_core.errors import InterlockError, RefusedError
from interlock_core.genesis import DIRECTOR, IMAGE
from interlock_core.keybytes import check_key
from interlock_core.wire import format_time, sha256_hex


@dataclass(frozen=True)
class Party:
    """A key that took part, and whose it is."""

    key: str
    person: str
    fingerprint: str


@dataclass(frozen=True)
class Left:
    """What a ceremony left that was given up (rule 3).

    Attributes:
        tokens: the URI of the token by the name of the key that is, or may be, in it.
        signed: metadata files.
    """

    tokens: Mapping[str, str]
    signed: tuple[str, ...]


def of(entries: Iterable[Entry]) -> Abandoned | None:
    """The word that gave a ceremony up, the last one; None if nobody did."""
    words = [entry.act for entry in entries if isinstance(entry.act, Abandoned)]
    return words[-1] if words else None


def parties(entries: Iterable[Entry], absent: Iterable[str] = ()) -> list[Party]:
    """The keys that took part, without those of people who are absent (rule 1)."""
    found = []
    for entry in entries:
        match entry.act:
            case KeyMade() | KeyOpened() as act:
                found.append(Party(act.key, act.holder, act.fingerprint))
            case KeyAttends() as act:
                found.append(Party(act.key, act.person, act.fingerprint))
    gone = set(absent)
    return [party for party in found if party.person not in gone]


def public_keys(entries: Iterable[Entry], files: Mapping[str, bytes]) -> dict[str, SSlibKey]:
    """Every public key that the entries or the files spell, by fingerprint.

    Args:
        entries: of the ceremony.
        files: ``media.collect``; one that is damaged spells none.
    """
    found = [entry.act.public.sslib() for entry in entries if isinstance(entry.act, KeyAttends)]
    for file, data in files.items():
        with suppress(InterlockError):
            if file.startswith(f"{KEYS}/"):
                found.append(keys.parse_public_key(data, what=file).key)
            elif file.endswith(".root.json"):
                root = tuf_metadata.parse_metadata(data, Root, what=file).signed
                found += [check_key(key) for key in root.keys.values()]
    return {fingerprint(key): key for key in found}


def left(entries: Sequence[Entry], files: Mapping[str, bytes]) -> Left:
    """What must be destroyed, or never be published (rule 3).

    Args:
        entries: of the ceremony.
        files: ``media.collect``; what a damaged transcript tells of counts as signed here.
    """
    older: set[str] = set()
    for file, data in files.items():
        if file.startswith(f"{TRANSCRIPTS}/"):
            with suppress(InterlockError):
                before = transcript.read(data).entries
                older |= {
                    e.act.sha256 for e in before if isinstance(e.act, MetadataSigned | TargetsTaken)
                }
    older |= {e.act.sha256 for e in entries if isinstance(e.act, TargetsTaken)}
    folders = (f"{IMAGE}/", f"{DIRECTOR}/", f"{OLDER_TARGETS}/")
    return Left(
        tokens={e.act.key: e.act.token for e in entries if isinstance(e.act, TokenChecked)},
        signed=tuple(
            file
            for file, data in files.items()
            if file.startswith(folders) and sha256_hex(data) not in older
        ),
    )


def refusal(told: Transcript, files: Mapping[str, bytes]) -> RefusedError:
    """Why nothing is proved by a record (rule 2), once its signatures hold.

    Args:
        told: a transcript that holds ``abandoned``.
        files: ``media.collect``.

    Raises:
        RefusedError: ``bad_signature``.
    """
    last, began = told.entries[-1], told.entries[0].act
    word = last.act
    if not isinstance(word, Abandoned) or not isinstance(began, Began):
        return RefusedError(
            "The transcript goes on after it was given up: ask for the original.",
            reason="broken_chain",
        )
    public = public_keys(told.entries, files)
    signing = parties(told.entries, word.absent)
    for party in signing:
        if party.fingerprint not in public:
            raise RefusedError(
                f"The public key of {party.key} is not here, and its signature cannot be verified: "
                "copy the directory whole.",
                reason="bad_signature",
            )
    transcript.check_signatures(told, [(p.key, public[p.fingerprint]) for p in signing])
    names = {e.act.person: e.act.name for e in told.entries if isinstance(e.act, Present)}
    return RefusedError(
        f"Ceremony {began.number} of fleet {began.fleet} was given up at {format_time(last.at)} by "
        f"{names.get(word.by, word.by)}: {word.says!r}. {len(signing)} keys signed that, and "
        "nothing of it may be trusted.",
        reason="abandoned",
    )
