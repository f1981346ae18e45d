"""The script of a ceremony: what it may say, and where it says it (pure).

Rules:

1. One TOML file, reviewed by people before anybody makes a key, says everything: nothing else
   steers a ceremony, and nothing in it has a default but lifetimes and the kind of a key.
2. A field that is missing, unknown or of another type is an error. Every error names the line and
   the field, and says what to change.
3. What the fields mean together is ``quorum``'s; what they name on this machine is ``custody``'s
   and ``media``'s.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from interlock_core import genesis
from interlock_core.errors import ConfigurationError
from interlock_core.wire import Record

MAX_SCRIPT: Final = 64 * 1024
MAX_HOLDERS: Final = 16
"""How many may hold keys of one role: a statement's limit on signatures, kept here too."""
DEFAULT_SCHEME: Final = "ed25519"
DEFAULT_LIFETIME_DAYS: Final = 365

_WHERE: Final = re.compile(
    r"(?P<what>.*?)(?: - at `(?:key` in `)?\$(?P<path>[^`]*)`)?\Z", re.DOTALL
)
_FIELD: Final = re.compile(
    r"Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`"
)
_PLACE: Final = re.compile(r"\(at line (\d+), column \d+\)\Z")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[")

Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class RoleScript(Record, frozen=True, kw_only=True):
    """Who holds an offline role.

    Attributes:
        holders: persons, each with a key of their own for this role.
        threshold: how many of them must sign.
        lifetime_days: from the ceremony to the expiry of what they sign here.
        schemes: the kind of a person's key, where it is not the default.
    """

    holders: Annotated[tuple[str, ...], Meta(max_length=MAX_HOLDERS)]
    threshold: int
    lifetime_days: int = DEFAULT_LIFETIME_DAYS
    schemes: dict[str, str] = msgspec.field(default_factory=dict)


class ImageScript(Record, frozen=True, kw_only=True):
    """The image repository's offline roles."""

    root: RoleScript
    targets: RoleScript


class DirectorScript(Record, frozen=True, kw_only=True):
    """The directors' one offline role."""

    root: RoleScript


class OnlineScript(
    Record,
    frozen=True,
    kw_only=True,
    rename={
        "image_online": genesis.IMAGE_ONLINE,
        "director_targets": genesis.DIRECTOR_TARGETS,
        "director_online": genesis.DIRECTOR_ONLINE,
    },
):
    """Paths of the public key files of the online keys, from the script's own directory."""

    image_online: Text
    director_targets: Text
    director_online: Text

    def paths(self) -> dict[str, str]:
        """The paths by the name of the key."""
        return {
            genesis.IMAGE_ONLINE: self.image_online,
            genesis.DIRECTOR_TARGETS: self.director_targets,
            genesis.DIRECTOR_ONLINE: self.director_online,
        }


class Script(Record, frozen=True, kw_only=True):
    """A whole script.

    Attributes:
        act: what the ceremony is for; ``genesis`` makes the first roots.
        fleet: the fleet id, for ever.
        output: the directory to make, from the script's own directory.
        administrator: the person who leads through the ceremony.
        persons: full names of everybody with a part in it, by the short name used below.
        image: the image repository's offline roles.
        director: the directors' offline role.
        online: the public keys that the server signs with.
        date: the day of the ceremony (UTC), to be held against the machine's clock.
    """

    act: Literal["genesis"]
    fleet: str
    output: Text
    administrator: str
    persons: Annotated[dict[str, str], Meta(max_length=64)]
    image: ImageScript
    director: DirectorScript
    online: OnlineScript
    date: date | None = None


@dataclass(frozen=True)
class Problem:
    """Something that keeps the ceremony from beginning.

    Attributes:
        path: the field, outermost table first.
        says: what is wrong and what to change, as a sentence.
    """

    path: tuple[str, ...]
    says: str


class ScriptError(ConfigurationError):
    """The script cannot be carried out; no key was made.

    Attributes:
        problems: one line for each thing to mend, each naming its place.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems), reason="bad_script")
        self.problems = tuple(problems)


def parse(data: bytes, *, what: str) -> tuple[Script, str]:
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
    try:
        return msgspec.convert(tree, Script), text
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


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line on which the statement that makes ``path`` begins, or None if none does.

    TOML's own reader answers: the beginnings of the text that are TOML hold the path from the end
    of that statement on.
    """
    lines = text.replace("\r\n", "\n").split("\n")

    def holds(count: int) -> bool:
        for end in range(count, len(lines) + 1):
            try:
                tree = tomllib.loads("\n".join(lines[:end]))
            except ValueError:
                continue  # cut within a value of several lines
            return _holds(tree, path)
        return False

    found = bisect_left(range(1, len(lines) + 1), True, key=holds) + 1
    return found if found <= len(lines) else None


def _located(text: str, problem: Problem, what: str) -> str:
    place = [what]
    for length in range(len(problem.path), 0, -1):
        line = line_of(text, problem.path[:length])
        if line is not None:
            place.append(f"line {line}")
            break
    if problem.path:
        place.append(".".join(map(_shown, problem.path)))
    return f"{', '.join(place)}: {problem.says}"


def _explain(message: str) -> Problem:
    """Turn msgspec's message into a problem; its paths read ``$.image.root[0]``."""
    match = _WHERE.match(message)
    if match is None:
        return Problem((), f"{message}.")
    steps = []
    for step in _STEP.finditer(match["path"] or ""):
        if step[1] is None:
            break
        steps.append(step[1])
    field = _FIELD.match(match["what"])
    if field is None:
        return Problem(tuple(steps), f"{match['what']}; change it.")
    if field["how"] == "missing required":
        return Problem((*steps, field["name"]), "this field is missing; add it.")
    return Problem(
        (*steps, field["name"]), "there is no such field; remove it, or mend its spelling."
    )


def _holds(tree: Any, path: Sequence[str]) -> bool:
    for step in path:
        if not isinstance(tree, dict) or step not in tree:
            return False
        tree = tree[step]
    return True


def _shown(step: str) -> str:
    return step if step.isprintable() and len(step) <= 64 else repr(step[:64])
