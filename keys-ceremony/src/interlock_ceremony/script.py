"""The script of a ceremony: what it may say, and where it says it (pure).

Rules:

1. One TOML file, reviewed by people before anybody makes a key, says everything: nothing else
   steers a ceremony.
2. A field that is missing, unknown or of another type is an error. Every error names the line and
   the field, and says what to change.
3. What the fields are is ``forms``'s, and what they mean together ``quorum``'s and ``changes``'s;
   what they name on this machine is ``custody``'s and ``media``'s.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from interlock_ceremony.forms import Later, Script
from interlock_core.errors import ConfigurationError
from interlock_core.toml_lines import place_of

MAX_SCRIPT: Final = 64 * 1024
ACTS: Final = {"genesis": Script, "change": Later}

Path = tuple[str | int, ...]
"""A field of a script, outermost table first; a number counts the tables of a list from 0."""

_WHERE: Final = re.compile(
    r"(?P<what>.*?)(?: - at `(?:key` in `)?\$(?P<path>[^`]*)`)?\Z", re.DOTALL
)
_FIELD: Final = re.compile(
    r"Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`"
)
_PLACE: Final = re.compile(r"\(at line (\d+), column \d+\)\Z")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


@dataclass(frozen=True)
class Problem:
    """Something that keeps the ceremony from beginning.

    Attributes:
        path: the field.
        says: what is wrong and what to change, as a sentence.
    """

    path: Path
    says: str


class ScriptError(ConfigurationError):
    """The script cannot be carried out; no key was made.

    Attributes:
        problems: one line for each thing to mend, each naming its place.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems), reason="bad_script")
        self.problems = tuple(problems)


def parse(data: bytes, *, what: str) -> tuple[Script | Later, str]:
    """Read a script's form (rule 2), and return it with its text.

    Args:
        data: the file's bytes.
        what: names the script in errors.

    Raises:
        ScriptError: not UTF-8, not TOML, or a field is missing, unknown or of another type.
    """
    if len(data) > MAX_SCRIPT:
        raise ScriptError([f"{what}: it is larger than the {MAX_SCRIPT} bytes allowed."])
    try:
        text = data.decode()
        tree = tomllib.loads(text)
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ScriptError([f"{what}, line {line}: this is not UTF-8; save it as UTF-8."]) from e
    except RecursionError as e:
        raise ScriptError([f"{what}: it is nested too deeply; write it like the sample."]) from e
    except ValueError as e:
        place = _PLACE.search(str(e))
        where = f"{what}, line {place[1]}" if place else what
        raise ScriptError([f"{where}: this is not TOML: {e}."]) from e
    if "act" not in tree:
        raise error(text, [Problem(("act",), "this field is missing; add it.")], what=what)
    act = tree["act"]
    if not isinstance(act, str) or act not in ACTS:
        says = f"{str(act)[:40]!r} is no act of a script; use one of {', '.join(ACTS)}."
        raise error(text, [Problem(("act",), says)], what=what)
    try:
        return msgspec.convert(tree, ACTS[act]), text
    except msgspec.ValidationError as e:
        raise error(text, [_explain(str(e))], what=what) from e


def error(text: str, problems: Iterable[Problem], *, what: str) -> ScriptError:
    """The problems as an error that names the line of each.

    Args:
        text: a script that is TOML.
        problems: at least one.
        what: names the script.
    """
    return ScriptError([_located(text, problem, what) for problem in problems])


def _located(text: str, problem: Problem, what: str) -> str:
    where = f"{what}, {place_of(text, problem.path)}" if problem.path else what
    return f"{where}: {problem.says}"


def _explain(message: str) -> Problem:
    """Turn msgspec's message into a problem; its paths read ``$.image.root[0]``."""
    match = _WHERE.match(message)
    if match is None:
        return Problem((), f"{message}.")
    steps: list[str | int] = []
    for step in _STEP.finditer(match["path"] or ""):
        if step[1] is not None:
            steps.append(step[1])
        elif steps == ["changes"] and step[2].isdecimal():
            steps.append(int(step[2]))
        else:
            break  # a place in a list on one line
    field = _FIELD.match(match["what"])
    if field is None:
        return Problem(tuple(steps), f"{match['what']}; change it.")
    if field["how"] == "missing required":
        return Problem((*steps, field["name"]), "this field is missing; add it.")
    return Problem(
        (*steps, field["name"]), "there is no such field; remove it, or mend its spelling."
    )
