"""The form of a transcript, and whether what was said fits it (pure).

The form is described in ``tests.cli``. Reading and rendering are inverse: a transcript that fits is
written back byte for byte.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

ANYTHING = "[..]"
ANY_LINES = "..."
NAME = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_HOLE = re.compile(r"\[\.\.\]|\{[A-Z][A-Z0-9_]*\}")
_DIGEST = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")
_GROUPS = re.compile(r"\b(?:[0-9a-f]{4,8} ){3,}[0-9a-f]{4,8}\b")
_WORDS = re.compile(r"(?<=in words: )(?:[a-z]{3,8} ){11}[a-z]{3,8}\b")


class FormError(Exception):
    """A transcript that is none."""


@dataclass(frozen=True)
class Prose:
    """Lines that nothing follows from."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """What stands in the directory at first."""

    name: str


@dataclass(frozen=True)
class File:
    """A file that is written."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A command, and what it must answer.

    Attributes:
        command: its lines as they stand, without the ``$``.
        typed: at the terminal.
        out: patterns of standard output's lines.
        err: patterns of standard error's lines.
        code: the exit code.
        line: where the step begins, from 1.
    """

    command: tuple[str, ...]
    typed: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    code: int = 0
    line: int = field(default=0, compare=False)

    def words(self) -> list[str]:
        """The command's words."""
        text = " ".join(line.removesuffix("\\") for line in self.command)
        return shlex.split(text)

    @property
    def asserts(self) -> bool:
        """Whether anything but silent success is asked for."""
        said = (*self.out, *self.err)
        return self.code != 0 or any(_HOLE.sub("", one).strip(" .") for one in said)


Item = Prose | Given | File | Step


def read(text: str) -> tuple[Item, ...]:
    """Read a transcript.

    Raises:
        FormError: it is none, or nothing in it could fail.
    """
    items = tuple(_items(text.splitlines()))
    given = [number for number, item in enumerate(items) if isinstance(item, Given)]
    if len(given) > 1 or any(isinstance(one, File | Step) for one in items[: sum(given)]):
        raise FormError("'given' stands once, above everything but prose")
    if not any(isinstance(item, Step) and item.asserts for item in items):
        raise FormError("nothing in it could fail: say what a command answers")
    return items


def begin(text: str) -> tuple[Item, ...]:
    """Read a transcript whose answers are still to be written."""
    return tuple(_items(text.splitlines()))


def _items(lines: Sequence[str]) -> Iterator[Item]:
    number = 0
    while number < len(lines):
        line = lines[number]
        if line.startswith("$ "):
            step, number = _step(lines, number)
            yield step
        elif line.startswith("given "):
            yield Given(line.removeprefix("given ").strip())
            number += 1
        elif line.startswith("-- ") and line.endswith(" --"):
            if "--" not in lines[number + 1 :]:
                raise FormError(f"line {number + 1}: the file has no end ('--')")
            end = lines.index("--", number + 1)
            yield File(line[3:-3], tuple(lines[number + 1 : end]))
            number = end + 1
        elif not line or line.startswith("#"):
            yield Prose((line,))
            number += 1
        else:
            raise FormError(f"line {number + 1}: {line!r} stands in no step")


def _step(lines: Sequence[str], start: int) -> tuple[Step, int]:
    number = start
    command = [lines[number].removeprefix("$ ")]
    while command[-1].endswith("\\"):
        number += 1
        if number == len(lines):
            raise FormError(f"line {start + 1}: the command does not end")
        command.append(lines[number])
    number += 1
    typed, number = _block(lines, number, "<")
    out, number = _output(lines, number)
    err, number = _block(lines, number, "!")
    code = 0
    if number < len(lines) and lines[number].startswith("exit "):
        code = int(lines[number].removeprefix("exit "))
        number += 1
    return Step(tuple(command), typed, out, err, code, start + 1), number


def _block(lines: Sequence[str], number: int, mark: str) -> tuple[tuple[str, ...], int]:
    found = []
    while number < len(lines) and (lines[number] == mark or lines[number].startswith(f"{mark} ")):
        found.append(lines[number][2:])
        number += 1
    return tuple(found), number


def _output(lines: Sequence[str], number: int) -> tuple[tuple[str, ...], int]:
    found: list[str] = []
    ahead = number
    while ahead < len(lines) and (not lines[ahead] or lines[ahead].startswith("  ")):
        if lines[ahead]:  # an empty line belongs to what follows it, if that is output
            found += [""] * (ahead - number) + [lines[ahead][2:]]
            number = ahead + 1
        ahead += 1
    return tuple(found), number


def render(items: Sequence[Item]) -> str:
    """A transcript's text."""
    return "".join(f"{line}\n" for item in items for line in _rendered(item))


def _rendered(item: Item) -> Iterator[str]:
    match item:
        case Prose(lines):
            yield from lines
        case Given(name):
            yield f"given {name}"
        case File(name, lines):
            yield from (f"-- {name} --", *lines, "--")
        case Step():
            yield f"$ {item.command[0]}"
            yield from item.command[1:]
            yield from (f"< {line}".rstrip() for line in item.typed)
            yield from (f"  {line}" if line else "" for line in item.out)
            yield from (f"! {line}".rstrip() for line in item.err)
            if item.code:
                yield f"exit {item.code}"


def filled(text: str, known: Mapping[str, str]) -> str:
    """``text`` with the names that are known replaced."""
    return NAME.sub(lambda found: known.get(found[1], found[0]), text)


def lines_of(said: str) -> tuple[str, ...]:
    """What was said as lines, without spaces at their ends and empty lines at the end."""
    return tuple(line.rstrip() for line in said.rstrip().split("\n")) if said.strip() else ()


def fits(patterns: Sequence[str], lines: Sequence[str], known: MutableMapping[str, str]) -> bool:
    """Whether these lines were expected; if so, ``known`` has learnt the names in them."""
    found = _fits(patterns, lines, dict(known))
    if found is not None:
        known.update(found)
    return found is not None


def _fits(
    patterns: Sequence[str], lines: Sequence[str], known: dict[str, str]
) -> dict[str, str] | None:
    for number, pattern in enumerate(patterns):
        if pattern.strip() == ANY_LINES:
            rest = patterns[number + 1 :]
            for skipped in range(len(lines) - number + 1):
                found = _fits(rest, lines[number + skipped :], dict(known))
                if found is not None:
                    return found
            return None
        if number >= len(lines):
            return None
        learnt = _line_fits(pattern, lines[number], known)
        if learnt is None:
            return None
        known |= learnt
    return known if len(patterns) == len(lines) else None


def _line_fits(pattern: str, line: str, known: Mapping[str, str]) -> dict[str, str] | None:
    expression, last, names = "", 0, set[str]()
    for hole in _HOLE.finditer(pattern):
        expression += re.escape(pattern[last : hole.start()])
        last = hole.end()
        name = hole[0][1:-1]
        if hole[0] == ANYTHING:
            expression += ".*?"
        elif name in known:
            expression += re.escape(known[name])
        elif name in names:
            expression += f"(?P={name})"
        else:
            names.add(name)
            expression += rf"(?P<{name}>[^\s\"']+?)"
    found = re.fullmatch(expression + re.escape(pattern[last:]), line)
    return found.groupdict() if found else None


def rewritten(step: Step, out: str, err: str, code: int, known: MutableMapping[str, str]) -> Step:
    """The step with what was said now; lines whose pattern fits keep it."""
    return replace(
        step,
        out=_rewritten(step.out, lines_of(out), known),
        err=_rewritten(step.err, lines_of(err), known),
        code=code,
    )


def _rewritten(
    patterns: Sequence[str], lines: Sequence[str], known: MutableMapping[str, str]
) -> tuple[str, ...]:
    if fits(patterns, lines, known):
        return tuple(patterns)
    written: list[str] = []
    place, skipping, lost = 0, False, False
    for pattern in patterns:
        if pattern.strip() == ANY_LINES:
            skipping = True
            continue
        learnt = [_line_fits(pattern, line, known) for line in lines[place:]]
        ahead = next((n for n, one in enumerate(learnt) if one is not None), None)
        if ahead is None or pattern.strip() == ANYTHING:
            lost = lost or skipping  # what was to stand behind "..." is to be seen
            continue
        skip = skipping and not lost and ahead > 0
        written += [ANY_LINES] if skip else _veiled(lines[place : place + ahead], known)
        written.append(pattern)
        known.update(learnt[ahead] or {})
        place, skipping, lost = place + ahead + 1, False, False
    rest = lines[place:]
    written += [ANY_LINES] if skipping and not lost and rest else _veiled(rest, known)
    return tuple(written)


def _veiled(lines: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Lines without what differs from run to run."""
    veiled = []
    for line in lines:
        for name, value in known.items():
            line = line.replace(value, f"{{{name}}}")  # noqa: PLW2901  # piece by piece
        for pattern in (_DIGEST, _GROUPS, _WORDS):
            line = pattern.sub(ANYTHING, line)  # noqa: PLW2901  # as above
        veiled.append(line)
    return veiled
