"""Strategies that make bad bytes of good ones: torn, spliced, and with parts that do not belong."""

from __future__ import annotations

import copy
import json
import re
from typing import Any, Final

from hypothesis import strategies as st

from tests.sweep.endpoints import at, encoded, places

WORDS: Final = (
    b"", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"\\", b"\\u0000",
    b"\\ud800", b"{", b"}", b"[", b"]", b"[" * 1200, b'{"a":' * 1200, b":", b",", b"-", b"1e400",
    b"1.5", b"-0", b"NaN", b"Infinity", b"9" * 30, b"9" * 5000, b"null", b"true", b'""', b"[]",
    b"{}", b"../../x", b"\n", b"\r\n", b"# x", b"=", b"a=1\n", b"[a]\n", b"[[a]]\n", b"a.b=1\n",
    b"1979-05-27T07:32:00Z", b"0x", b"'''", b'"""', b"nan", b"0000-00-00", b"\x1b[2J",
)  # fmt: skip
"""What may be spliced into a text."""

SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 2**53 - 1, 2**53, 2**63, 2**64]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "\0", "../x", "x" * 300, "0" * 64, "A" * 64, "ed25519", "2027-03-01T08:00:00",
         "2027-03-01T08:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
         "24:00", "*", "ab*"]
    ),
)  # fmt: skip
VALUES: Final[st.SearchStrategy[Any]] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def torn(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes, cut, doubled, overwritten or with a word spliced in, at a few places."""
    data = good
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        match draw(st.integers(0, 4)):
            case 0:
                data = data[:start]
            case 1:
                data = data[:end] + data[start:]
            case 2:
                data = data[:start] + data[end:]
            case 3:
                data = data[:start] + draw(st.binary(max_size=6)) + data[end:]
            case _:
                data = data[:start] + draw(st.sampled_from(WORDS)) + data[end:]
    return data


@st.composite
def changed_json(draw: st.DrawFn, good: bytes) -> bytes:
    """A good document with a few parts replaced, left out or added, spelled canonically."""
    tree = json.loads(good)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(places(tree)) or [()]))
        if not place:
            return encoded(draw(VALUES))
        tree = copy.deepcopy(tree)
        owner = at(tree, place[:-1])
        match draw(st.integers(0, 4)):
            case 0:
                del owner[place[-1]]
            case 1 if isinstance(owner, dict):
                owner[draw(st.text(max_size=4))] = draw(VALUES)
            case 2 if isinstance(owner, list):
                owner.append(owner[place[-1]])
            case _:
                owner[place[-1]] = draw(VALUES)
    return encoded(tree)


_LINE: Final = re.compile(rb"^(\s*[\w.\"-]+\s*=\s*).*$")


@st.composite
def changed_toml(draw: st.DrawFn, good: bytes) -> bytes:
    """A good file with a few lines left out, doubled, moved, or with another value."""
    lines = good.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                lines[number] = b""
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), lines[number])
            case _:
                word = draw(st.sampled_from(WORDS) | st.sampled_from(TOML_VALUES))
                lines[number] = _LINE.sub(lambda found: found[1] + word, lines[number])  # noqa: B023
    return b"\n".join(lines) + b"\n"


TOML_VALUES: Final = (
    b"[]", b"{}", b"[[]]", b"-1", b"0", b"1e400", b"inf", b"0xffffffffffffffffffff", b'"\\u0000"',
    b'"../../x"', b"[1, 2]", b'["a", "a"]', b"{ a = 1 }", b"1979-05-27", b"07:32:00", b"0.1",
    b"1979-05-27T07:32:00", b"9999-12-31T23:59:59-23:59", b'"none"', b'"~nobody-here/x"', b'"http://"',
)  # fmt: skip
