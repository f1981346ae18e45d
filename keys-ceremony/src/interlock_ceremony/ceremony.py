"""The ceremony itself: from a reviewed script to its output (I/O).

Rules:

1. Everything is done in one directory that gets its name at the very end (``media``); every file
   in it is create-only and durable.
2. Every act is recorded when it has been done (``journal``), and said aloud with its fingerprint.
   Whoever runs an interrupted ceremony again goes on where it stopped: what stands on the disk is
   used, and no key is made twice for one duty.
3. Nobody is given what ``audit`` would refuse: the finished output passes it before it gets its
   name.
4. A rehearsal does the same with keys that are thrown away, and everything that it makes or says
   is marked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from securesystemslib.signer import Signer

from interlock_ceremony import abandonment, manifest, media
from interlock_ceremony.acts import Preflighted
from interlock_ceremony.audit import audit
from interlock_ceremony.guide import Ask, Guide, Say
from interlock_ceremony.journal import Journal, read_entries
from interlock_ceremony.metadata import KEYS
from interlock_ceremony.proved import Audited
from interlock_ceremony.review import Reviewed
from interlock_ceremony.steps import steps
from interlock_ceremony.work import JOURNAL, Work
from interlock_core import durable, keys, wire
from interlock_core.ceremony_output import TRANSCRIPT
from interlock_core.clock import Clock, system_clock
from interlock_core.credentials import Prompt
from interlock_core.errors import ConflictError


@dataclass(frozen=True)
class Room:
    """Where a ceremony is held.

    Attributes:
        clock: the machine's.
        prompt: asks a person for a passphrase; None for the terminal.
        scrypt_n: cost of opening a key file.
        ask: asks people to confirm a step; None where there is nobody to ask.
        qr_codes: whether digests are shown for cameras, too.
    """

    clock: Clock = system_clock
    prompt: Prompt | None = None
    scrypt_n: int = keys.SCRYPT_N
    ask: Ask | None = None
    qr_codes: bool = False


@dataclass(frozen=True)
class Secrets:
    """What people brought and typed before the first key is made.

    Attributes:
        passphrases: for the keys that are made, by person.
        opened: the older keys, by name.
        pin: answers for the tokens in which keys are made.
    """

    passphrases: Mapping[str, str] = field(default_factory=dict)
    opened: Mapping[str, Signer] = field(default_factory=dict)
    pin: Callable[[str], str] | None = None


def is_signed(reviewed: Reviewed) -> bool:
    """Whether an interrupted ceremony has its transcript: then nobody needs to type anything."""
    return (media.partial_of(reviewed.output) / TRANSCRIPT).exists()


def keys_under_way(reviewed: Reviewed) -> Path:
    """Where a ceremony makes its keys."""
    return media.partial_of(reviewed.output) / KEYS


def perform(
    reviewed: Reviewed,
    secrets: Secrets,
    room: Room,
    say: Say,
    *,
    preflighted: Preflighted | None = None,
    rehearsal: bool = False,
) -> Audited:
    """Hold the ceremony, or go on with it, and return what its output proves.

    Args:
        reviewed: from ``review.review``.
        secrets: everything that the plan needs, or nothing if ``is_signed``.
        room: clock, cost, and whom to ask.
        say: hears each step.
        preflighted: what was found about gateways, to be told in the transcript.
        rehearsal: whether to mark everything (rule 4).

    Raises:
        ConflictError: something appeared at the output meanwhile, or the ceremony under way there
            is another one, or was given up (``abandoned``); nothing was written.
        TransientError: the disk did not do it; run it again.
        RefusedError, WireError: what was made does not pass the audit (rule 3): the machine or
            the software is at fault; there is no output.
    """
    with media.under_way(reviewed.output) as directory:
        durable.sweep(directory, before=math.inf)  # nobody else writes here
        if abandonment.of(read_entries(directory / JOURNAL)) is not None:
            raise ConflictError(
                f"The ceremony in {directory} was given up, and nobody finishes it: run 'abandon' "
                "again, which puts it aside, and begin anew.",
                reason="abandoned",
            )
        if not (directory / TRANSCRIPT).exists():
            journal = Journal(directory / JOURNAL, room.clock)
            if journal.was_cut_off:
                say("This ceremony was interrupted. It goes on where it stopped.")
            guide = Guide(reviewed.plan.script.persons, journal, room.clock, say, room.ask)
            work = Work(
                reviewed,
                directory,
                journal,
                say,
                passphrases=secrets.passphrases,
                opened=secrets.opened,
                pin=secrets.pin,
                scrypt_n=room.scrypt_n,
                one_by_one=room.ask is not None,
                qr_codes=room.qr_codes,
                rehearsal=rehearsal,
            )
            work.begin()
            if preflighted is not None and not journal.has(preflighted):
                journal.aside(preflighted)
            for step in steps(reviewed.plan):
                guide.show(step)
                work.do(step)
                guide.confirm(step)
            work.sign_transcript()
        transcript = media.read_transcript(directory / TRANSCRIPT)
        audited = audit(transcript, media.collect(directory), rehearsal=rehearsal)
        if audited.proved.script_sha256 != wire.sha256_hex(reviewed.text.encode()):
            raise ConflictError(
                f"What was signed in {directory} follows another script: finish it with that one, "
                "or remove that directory, with all keys made in it.",
                reason="other_ceremony",
            )
        durable.remove(directory / JOURNAL)
        media.check_others(directory)
        manifest.write(directory)
        media.finish(directory, reviewed.output)
        return audited
