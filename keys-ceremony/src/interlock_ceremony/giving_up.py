"""Gives a ceremony up that was interrupted and must not be finished (I/O).

Rules:

1. Everybody whose key took part, and who is not said to be absent, opens their keys first: until
   then nothing is written.
2. The word goes into the journal, which ends every other way on; then the signed record is put
   beside it, create-only; then the directory gets a name of its own. Whatever cuts this off, the
   same command finishes it.
3. Nothing is deleted: it is evidence, and people destroy keys in each other's sight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock_ceremony import abandonment, custody, media, script, transcript
from interlock_ceremony.abandonment import Left
from interlock_ceremony.acts import Abandoned, Began
from interlock_ceremony.ceremony import Room
from interlock_ceremony.journal import Journal, read_entries
from interlock_ceremony.metadata import KEYS
from interlock_ceremony.transcript import Entry
from interlock_ceremony.work import JOURNAL
from interlock_core import durable
from interlock_core.ceremony_output import ABANDONED, TRANSCRIPT
from interlock_core.errors import ConfigurationError, ConflictError, NotFoundError
from interlock_core.keys import PRIVATE_SUFFIX


@dataclass(frozen=True)
class GivenUp:
    """A ceremony that was given up.

    Attributes:
        directory: where everything of it is kept.
        number: of the ceremony.
        fleet: whose it was.
        word: who gave it up, and why.
        signed_by: the names of the keys that signed that.
        files: private key files in ``directory``, to be destroyed.
        left: keys in tokens, to be destroyed, and metadata that nobody may publish.
    """

    directory: Path
    number: int
    fleet: str
    word: Abandoned
    signed_by: tuple[str, ...]
    files: tuple[str, ...]
    left: Left


def give_up(
    output: Path,
    word: Abandoned,
    room: Room,
    *,
    files: Mapping[str, Path],
    brought: Sequence[Path],
) -> GivenUp:
    """Give up the ceremony that is under way for ``output``.

    Args:
        output: the directory that it was to make.
        word: who says so, why, and who is absent.
        room: clock, and whom to ask for passphrases.
        files: passphrase files by person.
        brought: older keys, or directories that hold them.

    Raises:
        NotFoundError: ``nothing_under_way``.
        ConfigurationError: somebody is nobody in the script, or a key was not brought.
        ConflictError: the ceremony is complete but for its name, or its journal was changed.
        SecretError: a passphrase is missing or wrong.
        TransientError: the disk did not do it; run it again.
    """
    partial = media.partial_of(output)
    if not (partial / JOURNAL).exists():
        if (partial / TRANSCRIPT).exists():
            raise ConflictError(
                f"The ceremony in {partial} is complete but for its name: finish it with 'run', "
                "and undo it by another.",
                reason="complete",
            )
        raise _nothing(partial)
    with media.under_way(output) as directory:
        durable.sweep(directory, before=math.inf)
        entries = read_entries(directory / JOURNAL)
        if not entries:
            raise _nothing(partial)
        collected = media.collect(directory)
        if (directory / ABANDONED).exists():
            told = transcript.read(media.read_transcript(directory / ABANDONED))
        else:
            data = _record(directory, entries, collected, word, room, files, brought)
            durable.create(directory / ABANDONED, data)
            told = transcript.read(data)
        aside = media.set_aside(directory, output)
    began, last = told.entries[0].act, told.entries[-1].act
    assert isinstance(began, Began)
    assert isinstance(last, Abandoned)
    left = abandonment.left(told.entries, collected)
    return GivenUp(
        aside,
        began.number,
        began.fleet,
        last,
        tuple(signature.key for signature in told.signatures),
        tuple(_files(aside, left)),
        left,
    )


def _record(
    directory: Path,
    entries: Sequence[Entry],
    collected: Mapping[str, bytes],
    word: Abandoned,
    room: Room,
    files: Mapping[str, Path],
    brought: Sequence[Path],
) -> bytes:
    """The signed record, once the journal has the word (rules 1 and 2)."""
    began = entries[0].act
    assert isinstance(began, Began)
    persons = script.parse(began.script.encode(), what="the script")[0].persons
    for person in (word.by, *word.absent, *files):
        if person not in persons:
            raise ConfigurationError(
                f"{person[:80]!r} is nobody in the script of this ceremony: there are "
                f"{', '.join(persons)}."
            )
    if word.by in word.absent:
        raise ConfigurationError(f"{word.by} cannot give it up and be absent: name somebody else.")
    parties = abandonment.parties(entries, word.absent)
    public = abandonment.public_keys(entries, collected)
    for party in parties:
        if party.fingerprint not in public:
            raise ConfigurationError(
                f"The public key of {party.key} is not in {directory} any more, and it cannot "
                f"sign: pass --absent {party.person}.",
                reason="key_missing",
            )
    signers = custody.open_all(
        {party.key: party.person for party in parties},
        {party.key: public[party.fingerprint] for party in parties},
        (directory / KEYS, *brought),
        files,
        room.prompt,
    )
    journal = Journal(directory / JOURNAL, room.clock)
    journal.abandon(word)
    return transcript.signed(journal.entries, signers)


def _files(directory: Path, left: Left) -> list[str]:
    """Private key files; a handle of a key in a token is none."""
    paths = sorted((directory / KEYS).glob(f"*{PRIVATE_SUFFIX}"))
    return [
        f"{KEYS}/{path.name}"
        for path in paths
        if path.name.removesuffix(PRIVATE_SUFFIX) not in left.tokens
    ]


def _nothing(partial: Path) -> NotFoundError:
    return NotFoundError(
        f"No ceremony was begun in {partial}: there is nothing to give up.",
        reason="nothing_under_way",
    )
