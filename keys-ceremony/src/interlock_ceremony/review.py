"""A script is checked whole before anything is made (I/O).

Rules:

1. Form, sense, and what it names on this machine: all three are checked, and every problem that
   was found is said at once. Only a script without any is carried out.
2. A later ceremony rests on those before it: they are proved again from the genesis on, and the
   directory that was carried is held against its manifest.
3. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Root

from interlock_ceremony import custody, manifest, media, quorum, script, sense
from interlock_ceremony.audit import audit
from interlock_ceremony.custody import PublicFile
from interlock_ceremony.forms import Compromised, Later, Rotate, Script
from interlock_ceremony.plan import Plan, metadata_file
from interlock_ceremony.recovery import Reserve
from interlock_ceremony.script import MAX_SCRIPT, Problem, ScriptError
from interlock_ceremony.script import Path as Field
from interlock_ceremony.standing import Standing
from interlock_ceremony.taken import Taken, take
from interlock_core import durable, tuf_metadata
from interlock_core.ceremony_output import TRANSCRIPT
from interlock_core.errors import InterlockError, WireError
from interlock_core.genesis import IMAGE
from interlock_core.tuf_metadata import MAX_LENGTH


@dataclass(frozen=True)
class Before:
    """What a later ceremony begins with.

    Attributes:
        directory: the output of the ceremony before.
        transcript: its transcript.
        files: what stands beside it.
        standing: what it left in force.
        taken: the top-level targets in force.
    """

    directory: Path
    transcript: bytes
    files: Mapping[str, bytes]
    standing: Standing
    taken: Taken


@dataclass(frozen=True)
class Reviewed:
    """A script that can be carried out here and now.

    Attributes:
        plan: what it asks for.
        text: how it says it.
        output: the directory to make.
        public: public key files that were brought, by the name of the key.
        reserves: what happens, role by role, if one more key is lost.
        before: what it begins with, or None at a genesis.
    """

    plan: Plan
    text: str
    output: Path
    public: Mapping[str, PublicFile]
    reserves: list[Reserve]
    before: Before | None


def review(path: Path, now: datetime) -> Reviewed:
    """Read and check the script at ``path``.

    Raises:
        ScriptError: what must be mended first, each with its place.
        NotFoundError: no file is there.
        TransientError: it cannot be read.
    """
    what = path.name
    read, text = read_script(path)
    base = path.parent.resolve()
    # Paths with unprintable characters would name nothing that can be looked at.
    if problems := quorum.path_problems(read):
        rest = sense.genesis(read, now)[1] if isinstance(read, Script) else problems
        raise script.error(text, rest, what=what)
    before: Before | None = None
    if isinstance(read, Script):
        plan, problems = sense.genesis(read, now)
    else:
        before = _before(read, text, base, what)
        plan, problems = sense.later(read, now, before.standing, before.taken)
    output = base / read.output
    standing = before.standing if before else None
    public, wrong = custody.public_files(custody.wanted(plan, _fields(read), base), standing)
    problems += [*media.output_problems(output), *wrong]
    if problems:
        raise script.error(text, problems, what=what)
    reserves = sense.reserves(plan, before.taken if before else None)
    return Reviewed(plan, text, output, public, reserves, before)


def read_script(path: Path) -> tuple[Script | Later, str]:
    """Read a script's form, and return it with its text.

    Raises:
        ScriptError, NotFoundError, TransientError: as ``review``.
    """
    try:
        data = durable.read(path, limit=MAX_SCRIPT, what="ceremony script")
    except WireError as e:
        raise ScriptError(
            [f"{path.name}: it is larger than the {MAX_SCRIPT} bytes allowed."]
        ) from e
    return script.parse(data, what=path.name)


def read_output(directory: Path) -> tuple[bytes, dict[str, bytes]]:
    """Read a ceremony's output: its transcript, and what stands beside it.

    Raises:
        RefusedError: ``wrong_media`` or ``extra_file``.
        NotFoundError, WireError, TransientError: as ``manifest.check`` and ``media.collect``.
    """
    manifest.check(directory)
    media.check_others(directory)
    return media.read_transcript(directory / TRANSCRIPT), media.collect(directory)


def _before(read: Later, text: str, base: Path, what: str) -> Before:
    directory = base / read.previous
    try:
        told, files = read_output(directory)
        standing = audit(told, files).standing
        newest = tuf_metadata.parse_metadata(
            files[metadata_file(IMAGE, "root", standing.roots[IMAGE])], Root, what="image root"
        ).signed
    except InterlockError as e:
        says = [Problem(("previous",), line) for line in str(e).split("\n")]
        raise script.error(text, says, what=what) from e
    version, _ = standing.targets
    try:
        data = files.get(metadata_file(IMAGE, "targets", version), b"")
        if read.targets is not None:
            limit = MAX_LENGTH["targets"]
            data = durable.read(base / read.targets, limit=limit, what="top-level targets")
        taken = take(data, newest, standing.targets)
    except InterlockError as e:
        raise script.error(text, [Problem(("targets",), str(e))], what=what) from e
    return Before(directory, told, files, standing, taken)


def _fields(read: Script | Later) -> dict[str, Field]:
    """Where the script names the file of each online key."""
    if isinstance(read, Script):
        return {name: ("online", name) for name in read.online.paths()}
    return {
        change.key: ("changes", index, "file")
        for index, change in enumerate(read.changes)
        if isinstance(change, Rotate | Compromised) and change.key is not None
    }
