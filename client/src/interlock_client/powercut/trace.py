"""Reads what ``strace`` wrote (pure).

The form is that of ``strace -f -y -xx -e raw=read,readv``: a process id, a call with its arguments
and its result on each line; all strings in hexadecimal; descriptors followed by the path that they
lead to; a call during which another process made one is split in two. Rules:

1. A call counts where it ended. ``Call.began`` is the number of calls that had ended when it began.
2. A line of another form, and a string that was cut off, are errors: what is not understood is
   never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from interlock_core.errors import WireError

_LINE: Final = re.compile(r"(\d+) +(.*)\Z", re.DOTALL)
_CALL: Final = re.compile(r"([a-z_0-9]+)\((.*)\)\s+= (.*)\Z", re.DOTALL)
_UNFINISHED: Final = re.compile(r"([a-z_0-9]+)\((.*?)\s*<unfinished \.\.\.>\Z", re.DOTALL)
_RESUMED: Final = re.compile(r"<\.\.\. ([a-z_0-9]+) resumed>(.*)\Z", re.DOTALL)
_HEX: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"\Z')
_DESCRIPTOR: Final = re.compile(r"(-?\d+|AT_FDCWD)(?:<([^<>]*)(?:<[^<>]*>)?>)?(\(deleted\))?\Z")
_RESULT: Final = re.compile(
    r"(0x[0-9a-f]+|-?\d+|\?)(<(?:\\x[0-9a-f]{2})*(?:<[^<>]*>)?>(?:\(deleted\))?)?(.*)\Z"
)


@dataclass(frozen=True)
class Call:
    """One system call that ended.

    Attributes:
        process: who made it.
        name: of the call; ``exited`` for the end of a process.
        arguments: as they were written, one string for each.
        result: what it returned; None if it failed or was cut off.
        path: what a returned descriptor leads to.
        began: how many calls had ended when it began.
    """

    process: int
    name: str
    arguments: tuple[str, ...]
    result: int | None
    path: str | None
    began: int


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace, in the order in which they ended.

    Raises:
        WireError: it is no trace of this form (rule 2).
    """
    unfinished: dict[int, tuple[str, str, int]] = {}
    ended = 0
    for number, line in enumerate(lines, 1):
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            raise _malformed(number, line)
        process, text = int(match[1]), match[2]
        if text.startswith("---"):
            continue
        if text.startswith("+++"):
            unfinished.pop(process, None)
            yield Call(process, "exited", (), None, None, ended)
            continue
        if part := _UNFINISHED.match(text):
            unfinished[process] = (part[1], part[2], ended)
            continue
        began = ended
        if part := _RESUMED.match(text):
            known = unfinished.pop(process, None)
            if known is None or known[0] != part[1]:
                raise _malformed(number, line)
            text, began = f"{known[0]}({known[1]}{part[2]}", known[2]
        whole = _CALL.match(text)
        if whole is None:
            raise _malformed(number, line)
        result, path = _result(whole[3], number, line)
        ended += 1
        yield Call(process, whole[1], tuple(_split(whole[2])), result, path, began)


def string(argument: str) -> bytes:
    """The bytes of a string argument.

    Raises:
        WireError: it is none, or it was cut off.
    """
    match = _HEX.match(argument)
    if match is None:
        cut = ": it was cut off" if argument.endswith("...") else ""
        raise WireError(f"{argument[:60]} is no string of a trace{cut}.")
    return bytes.fromhex(match[1].replace("\\x", ""))


def path(argument: str) -> str:
    """The path that a string argument names.

    Raises:
        WireError: it is none.
    """
    return string(argument).decode(errors="surrogateescape")


def descriptor(argument: str) -> tuple[int | None, str | None]:
    """A descriptor's number (None for the working directory) and the path that it leads to.

    Raises:
        WireError: it is none.
    """
    match = _DESCRIPTOR.match(argument)
    if match is None:
        raise WireError(f"{argument[:60]} is no descriptor of a trace.")
    number = None if match[1] == "AT_FDCWD" else int(match[1])
    return number, _annotated(match[2])


def integer(argument: str) -> int:
    """A number.

    Raises:
        WireError: it is none.
    """
    try:
        if re.match(r"0[0-7]+\Z", argument):
            return int(argument, 8)
        return int(argument, 0)
    except ValueError as e:
        raise WireError(f"{argument[:60]} is no number of a trace.") from e


def buffers(argument: str) -> bytes:
    """The bytes of a vector of buffers, one after the other.

    Raises:
        WireError: it is none, or something of it was cut off.
    """
    if not (argument.startswith("[") and argument.endswith("]")):
        raise WireError(f"{argument[:60]} is no vector of a trace.")
    pieces = []
    for piece in _split(argument[1:-1]):
        match = re.match(r"\{iov_base=(\".*\"), iov_len=\d+\}\Z", piece, re.DOTALL)
        if match is None:
            raise WireError(f"{piece[:60]} is no buffer of a trace, or it was cut off.")
        pieces.append(string(match[1]))
    return b"".join(pieces)


def _result(text: str, number: int, line: str) -> tuple[int | None, str | None]:
    match = _RESULT.match(text)
    if match is None:
        raise _malformed(number, line)
    if match[1] == "?" or match[1].startswith("-"):
        return None, None
    annotation = (match[2] or "").removesuffix("(deleted)")
    return integer(match[1]), _annotated(annotation[1:-1]) if annotation else None


def _annotated(text: str | None) -> str | None:
    """The path of an annotation; None for a socket, a pipe and the like."""
    if text is None or not text.startswith("\\x"):
        return None
    spelled = text.partition("<")[0]
    if not re.fullmatch(r"(?:\\x[0-9a-f]{2})+", spelled):
        return None
    return bytes.fromhex(spelled.replace("\\x", "")).decode(errors="surrogateescape")


def _split(text: str) -> Iterator[str]:
    """Arguments, split where a comma stands outside of every bracket.

    No quote or bracket occurs inside a string: strings are hexadecimal.
    """
    depth, began = 0, 0
    for match in re.finditer(r"[][(){},]", text):
        char = match[0]
        if char in "[({":
            depth += 1
        elif char in "])}":
            depth -= 1
        elif depth == 0:
            yield text[began : match.start()].strip()
            began = match.end()
    if text[began:].strip():
        yield text[began:].strip()


def _malformed(number: int, line: str) -> WireError:
    return WireError(f"Line {number} of the trace cannot be read: {line[:80]!r}.")
