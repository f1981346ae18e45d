"""Runs a command in this process, as its program does, and judges how it ended.

Rules, which every command of every program keeps with bad input:

1. The exit code is one of the contract, and one that its table allows: never 1, which means a
   fault of ours, and never a traceback.
2. Standard error has one line that says what is wrong, and that line names the thing. (A usage
   error may show the usage before it, a warning stands on a line of its own, and a ceremony has a
   line for each thing to mend.)
3. With ``--json``, standard output is one JSON object with ``outcome`` and ``reason``.
4. Nothing is left behind: the tree has the same paths, bytes and permission bits as before, but
   for evidence that the table declares.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final
from unittest import mock

import click

from tests.sweep.damage import DENIED, Kind, damaged, damages_of
from tests.sweep.prepare import Step, nothing
from tests.sweep.tree import Kept, Snapshot, bound_by_permissions, changes, remove

Codes = frozenset[int]

USAGE: Final[Codes] = frozenset({2})
REFUSED: Final[Codes] = frozenset({20})
TRANSIENT: Final[Codes] = frozenset({30})
BAD: Final[Codes] = USAGE | REFUSED | TRANSIENT

Rule = Mapping[str, Codes]
"""The exit codes that are right, by group or by the name of a damage, which wins.

What may not be read is a usage error where click looks first, and the disk's fault elsewhere.
"""

WRITTEN: Final[Rule] = {"absent": USAGE, "content": USAGE, "access": USAGE | TRANSIENT}
"""What the caller wrote: settings, a script, an order. Change it and call again."""
SECRET: Final[Rule] = WRITTEN
"""A passphrase."""
GIVEN: Final[Rule] = {"absent": USAGE, "content": REFUSED, "access": USAGE | TRANSIENT}
"""What somebody else made and the caller names: a key, a root, an envelope."""


@dataclass(frozen=True)
class Input:
    """One thing that a command reads.

    Attributes:
        path: from the place's home.
        kind: what can be wrong with it.
        rule: which exit codes are right.
        limit: the most bytes that are read of it.
        says: one of these stands in the message; by default the thing's own name.
        leaves: patterns of paths that may have changed afterwards, and nothing else may.
        without: damages that are none here, each with the reason.
    """

    path: str
    kind: Kind
    rule: Rule
    limit: int = 64 * 1024
    says: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    without: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slip:
    """Something wrong with the words themselves, or with where the output goes.

    Attributes:
        name: what is wrong.
        codes: that are right.
        says: one of these stands in the message.
        words: in place of the entry's own; None leaves them.
        prepare: changes the tree before the call.
        bound: run with permission bits that bind.
        leaves: as ``Input.leaves``.
    """

    name: str
    codes: Codes
    says: tuple[str, ...]
    words: tuple[str, ...] | None = None
    prepare: Step = nothing
    bound: bool = False
    leaves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """How one command is called, and all that it reads.

    Attributes:
        words: after the command's own; ``{home}`` and the place's other values are filled in.
        good: the exit code where nothing is wrong.
        makes: patterns of what it changes then.
    """

    words: tuple[str, ...] = ()
    good: int = 0
    makes: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    slips: tuple[Slip, ...] = ()


@dataclass(frozen=True)
class Program:
    """One executable.

    Attributes:
        name: as it is called.
        group: its click group, where its commands are found.
        start: runs it to its end, as its entry point does.
        line: how its error line begins.
        many: whether there may be several such lines.
    """

    name: str
    group: click.Group
    start: Callable[[list[str], Any], None]
    line: tuple[str, ...]
    many: bool = False

    def commands(self) -> dict[str, click.Command]:
        """Every command by its words, however deep."""
        return dict(_walk(self.group, ()))


def _walk(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _walk(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


@dataclass
class Place:
    """Where a program's commands are run: everything good.

    Attributes:
        home: what is looked at.
        kept: what it was at first.
        aside: a free path on its file system.
        values: for words.
        given: what click hands on as the context's object.
        close: ends whatever runs beside.
    """

    home: Path
    kept: Kept
    aside: Path
    values: Mapping[str, str]
    given: Any = None
    close: Callable[[], None] = lambda: None

    def keep(self) -> None:
        """What stands here now is what it was at first."""
        remove(self.kept.copy)
        self.kept = Kept(self.home, self.kept.copy)


def prepared(
    home: Path,
    values: Mapping[str, str],
    given: Any = None,
    close: Callable[[], None] = lambda: None,
) -> Place:
    """The place at ``home``, once it holds everything."""
    (home / "tmp").mkdir()
    beside = home.parent
    kept = Kept(home, beside / f"{home.name}-kept")
    return Place(
        home, kept, beside / f"{home.name}-aside", {"home": str(home), **values}, given, close
    )


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


class _Stream(io.TextIOWrapper):
    def __init__(self, errors: str) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def _environment(place: Place) -> dict[str, str]:
    """What a command may see of this process's environment, and homes within the place."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": str(place.home / "tmp"), "TMPDIR": str(place.home / "tmp")}


def run(program: Program, words: Sequence[str], place: Place, *, bound: bool = False) -> Said:
    """Run ``program`` with these words, in the place, without a terminal.

    The streams are as Python makes them in a UTF-8 locale: what standard output cannot spell is an
    error.
    """
    out, err = _Stream("strict"), _Stream("backslashreplace")
    code: object = None
    with (
        contextlib.chdir(place.home),
        mock.patch.dict(os.environ, _environment(place), clear=True),
        mock.patch.object(tempfile, "tempdir", str(place.home / "tmp")),
        mock.patch.object(sys, "stdin", _Stream("strict")),
        redirect_stdout(out),
        redirect_stderr(err),
        bound_by_permissions() if bound else contextlib.nullcontext(),
    ):
        try:
            program.start(list(words), place.given)
        except SystemExit as e:
            code = e.code
        except Exception:  # noqa: BLE001  # a real process would show it, and end with 1
            code = 1
            traceback.print_exc()
    return Said(code if isinstance(code, int) else 0, out.text(), err.text())


@dataclass(frozen=True)
class Call:
    """One call with something bad in it, and how it must end.

    Attributes:
        words: the whole command line.
        codes: the exit codes that are right.
        says: one of these is named, unless the command found that nothing is wrong.
        leaves: patterns of paths that may have changed afterwards.
        bound: permission bits bind.
        as_json: a machine asks.
    """

    words: Sequence[str]
    codes: Codes
    says: Sequence[str]
    leaves: Sequence[str] = ()
    bound: bool = False
    as_json: bool = False


def faults(program: Program, place: Place, call: Call) -> Iterator[str]:
    """What is wrong with how a call ends, as a person or as a machine meets it."""
    words = [*call.words, "--json"] if call.as_json else call.words
    said = run(program, words, place, bound=call.bound)
    if said.code not in call.codes:
        shown = (said.err or said.out).strip()[-400:]
        yield f"exit code {said.code}, not {sorted(call.codes)}: {shown!r}"
    elif "Traceback" in said.out + said.err:
        yield f"a traceback: {said.err[-400:]!r}"
    else:
        wrong = _wrong_object if call.as_json else _wrong_line
        yield from wrong(program, said, call.says if said.code in BAD else ())


def _wrong_line(program: Program, said: Said, says: Sequence[str]) -> Iterator[str]:
    if not said.code:
        return
    lines = [line for line in said.err.splitlines() if line.startswith(program.line)]
    if not lines or (len(lines) > 1 and not program.many):
        yield f"{len(lines)} error lines: {said.err[-600:]!r}"
    elif not all(line.isprintable() for line in said.err.splitlines()):
        yield f"a line that is not printable: {said.err!r}"
    elif says and not any(name in line for name in says for line in lines):
        yield f"none of {list(says)} is named: {lines!r}"


def _wrong_object(_program: Program, said: Said, says: Sequence[str]) -> Iterator[str]:
    try:
        answer = json.loads(said.out)
    except ValueError:
        yield f"standard output is {said.out[:200]!r}, not one JSON object"
        return
    if not isinstance(answer, dict) or not {"outcome", "reason"} <= answer.keys():
        yield f"the JSON object is {said.out[:200]!r}"
    elif answer["reason"] in {"internal", "unexpected"} or (said.code and not answer["reason"]):
        yield f"the reason is {answer['reason']!r}"
    elif says and not any(name in said.out for name in says):
        yield f"none of {list(says)} is named: {said.out!r}"


def sweep_input(program: Program, words: Sequence[str], place: Place, one: Input) -> list[str]:
    """Do everything to one input that can be wrong with it; return what the command got wrong.

    People and machines take turns: what they are told is made in one place in each program.
    """
    wrong: list[str] = []
    kept = place.kept
    for number, damage in enumerate(damages_of(one.kind)):
        if damage.name in one.without:
            continue
        codes = one.rule[damage.name if damage.name in one.rule else damage.group]
        call = Call(
            words,
            codes,
            one.says or (Path(one.path).name,),
            one.leaves,
            bound=damage is DENIED,
            as_json=number % 2 == 1,
        )
        with damaged(place.home / one.path, damage, limit=one.limit, aside=place.aside):
            before = kept.eye.look_again(place.home, kept.first, one.path)
            found, changed = _observed(program, place, call, before)
        wrong += [f"{one.path} {damage.name}: {fault}" for fault in found]
        if changed:
            kept.put_back()
    return wrong


def sweep_slips(program: Program, command: str, place: Place, entry: Entry) -> list[str]:
    """Make every slip of an entry, each as a person or as a machine; return what went wrong."""
    wrong: list[str] = []
    kept = place.kept
    for number, slip in enumerate(entry.slips):
        words = entry.words if slip.words is None else slip.words
        call = Call(
            filled(command, words, place),
            slip.codes,
            slip.says,
            slip.leaves,
            bound=slip.bound,
            as_json=number % 2 == 1,
        )
        slip.prepare(place.home)
        before = kept.first if slip.prepare is nothing else kept.eye.look(place.home)
        found, changed = _observed(program, place, call, before)
        wrong += [f"{slip.name}: {fault}" for fault in found]
        if changed or before is not kept.first:
            kept.put_back()
    return wrong


def _observed(
    program: Program, place: Place, call: Call, before: Snapshot
) -> tuple[list[str], bool]:
    """What was wrong with a call, and whether the tree changed."""
    found = list(faults(program, place, call))
    after = place.kept.eye.look(place.home)
    changed = changes(before, after)
    left = [name for name in changed if not _declared(name, call.leaves)]
    if left:
        found.append(f"left behind: {left[:10]}")
    return found, bool(changed)


def _declared(name: str, leaves: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in leaves)


def left_behind(place: Place, leaves: Sequence[str] = ()) -> list[str]:
    """What is not as it was at first, but for what was declared."""
    changed = changes(place.kept.first, place.kept.eye.look(place.home))
    return [name for name in changed if not _declared(name, leaves)]


def filled(command: str, words: Sequence[str], place: Place) -> list[str]:
    """A whole command line, with the place's values in it."""
    return [*command.split(), *(word.format(**place.values) for word in words)]
