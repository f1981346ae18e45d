"""A script is checked whole before anything is made (I/O).

Rules:

1. Form, sense, and what it names on this machine: all three are checked, and every problem that
   was found is said at once. Only a script without any is carried out.
2. Nothing is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from interlock_ceremony import custody, media, quorum, script
from interlock_ceremony.custody import PublicFile
from interlock_ceremony.script import MAX_SCRIPT, Script, ScriptError
from interlock_core import durable
from interlock_core.errors import WireError


@dataclass(frozen=True)
class Reviewed:
    """A script that can be carried out here and now.

    Attributes:
        script: what it says.
        text: how it says it.
        output: the directory to make.
        online: the online keys' files, by name.
    """

    script: Script
    text: str
    output: Path
    online: dict[str, PublicFile]


def review(path: Path, now: datetime) -> Reviewed:
    """Read and check the script at ``path``.

    Raises:
        ScriptError: what must be mended first, each with its place.
        NotFoundError: no file is there.
        TransientError: it cannot be read.
    """
    what = path.name
    try:
        data = durable.read(path, limit=MAX_SCRIPT, what="ceremony script")
    except WireError as e:
        raise ScriptError([f"{what}: it is larger than the {MAX_SCRIPT} bytes allowed."]) from e
    read, text = script.parse(data, what=what)
    problems = quorum.problems(read, now)
    base = path.parent.resolve()
    output = base / read.output
    online: dict[str, PublicFile] = {}
    # Paths with unprintable characters would name nothing that can be looked at.
    if not quorum.path_problems(read):
        online, wrong = custody.online_keys(read, base)
        problems += [*media.output_problems(output), *wrong]
    if problems:
        raise script.error(text, problems, what=what)
    return Reviewed(read, text, output, online)
