"""Are these references (URLs), at a price that is known before? (changes a library's checker)

Rules:

1. A reference of the common form, as RFC 3986 has it in ASCII and without an address in brackets,
   is seen to be one by a pattern: it is an IRI reference too (RFC 3987, 2.2).
2. Of any other the library's own grammar is asked, once for each, as long as there is room: it
   takes about a millisecond for each character.
3. None is longer than what browsers and servers bear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jsonschema.validators import Draft7Validator

FORMAT: Final = "iri-reference"
MAX_LENGTH: Final = 2_048
"""The most characters of one reference."""
MAX_ASKED: Final = 4 * 1024
"""The most characters of references together that the grammar is asked about."""

_UNRESERVED: Final = r"A-Za-z0-9\-._~!$&'()*+,;="
_ENCODED: Final = "%[0-9A-Fa-f]{2}"
_CHAR: Final = rf"(?:[{_UNRESERVED}:@]|{_ENCODED})"
_NO_COLON: Final = rf"(?:[{_UNRESERVED}@]|{_ENCODED})"
_NAME: Final = rf"(?:[{_UNRESERVED}]|{_ENCODED})*"
_USER: Final = rf"(?:[{_UNRESERVED}:]|{_ENCODED})*@"
_PLACE: Final = rf"//(?:{_USER})?{_NAME}(?::[0-9]*)?(?:/{_CHAR}*)*"
_REST: Final = rf"(?:\?(?:{_CHAR}|[/?])*)?(?:#(?:{_CHAR}|[/?])*)?"
COMMON: Final = re.compile(
    rf"(?:[A-Za-z][A-Za-z0-9+.\-]*:(?:{_PLACE}|/?{_CHAR}+(?:/{_CHAR}*)*)"
    rf"|{_PLACE}|/?(?:{_NO_COLON}+(?:/{_CHAR}*)*)?){_REST}"
)
"""References of the common form (rule 1)."""


class TooLongError(Exception):
    """A reference, or all that are not of the common form, are too long to be checked."""


@contextmanager
def bounded() -> Iterator[None]:
    """Inside, JSON Schema's references are checked by these rules, and each once.

    The errors of the validator are as before; but it raises ``TooLongError``.
    """
    checkers = Draft7Validator.FORMAT_CHECKER.checkers
    grammar, raises = checkers[FORMAT]
    known: dict[str, bool] = {}
    room = MAX_ASKED

    def check(value: object) -> bool:
        nonlocal room
        if not isinstance(value, str):
            return True
        if len(value) > MAX_LENGTH:
            raise TooLongError(
                f"the URL {value[:60]}… has {len(value)} characters, and at most {MAX_LENGTH} are "
                "read"
            )
        if COMMON.fullmatch(value):
            return True
        if value not in known:
            room -= len(value)
            if room < 0:
                raise TooLongError(
                    f"{value[:60]!r} is one URL too many of an uncommon form: more than "
                    f"{MAX_ASKED} characters of such are not checked; write them with %XX"
                )
            known[value] = bool(grammar(value))
        return known[value]

    checkers[FORMAT] = (check, raises)
    try:
        yield
    finally:
        checkers[FORMAT] = (grammar, raises)
