"""Bounded bytes in, canonical bytes out.

Rules:

1. Bytes from outside pass one bounded check before any typed decoding: size, UTF-8, nesting,
   duplicate keys, numbers that are not integers of at most 53 bits. msgspec and python-tuf accept
   duplicate keys silently, and two readers that disagree about them are two different rules.
2. Typed decoding is strict: an unknown or missing field is an error that names it.
3. What Interlock signs is canonical: keys sorted, no white space, UTF-8, times as
   ``YYYY-MM-DDTHH:MM:SSZ``. ``decode_canonical`` refuses any other spelling of the same value, so
   a signed thing has exactly one form. (The sorting and escaping are msgspec's; TUF metadata keeps
   to TUF's own canonical JSON, by python-tuf.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from interlock_core.errors import WireError

MAX_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 32

_SURROGATE: Final = re.compile("[\ud800-\udfff]")

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every type on the wire: immutable, named fields, unknown fields refused.

    Every time must be in UTC and whole seconds, and lie in the years 1970 to 9998: then no rule
    that adds days to it can leave the calendar.
    """

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, datetime):
                if value.tzinfo is not UTC or value.microsecond != 0:
                    raise ValueError(f"`{field}` must be in UTC and whole seconds")
                if not 1970 <= value.year <= 9998:
                    raise ValueError(f"`{field}` must lie in the years 1970 to 9998")


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise WireError(f"The key {key[:60]!r} stands twice in one object.")
            seen.add(key)
    return result


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise WireError("An integer is larger than 53 bits.")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise WireError(f"The number {text[:20]} is not an integer.")


def _check_tree(tree: object, *, has_escapes: bool) -> None:
    """Check depth and texts, level by level: metadata of a thousand releases has many nodes."""
    level: list[Any] = [tree]
    for room in range(MAX_DEPTH, -1, -1):
        if has_escapes and any(_SURROGATE.search(text) for text in level if type(text) is str):
            raise WireError("A string holds half of a surrogate pair, which is no character.")
        nodes = [node for node in level if type(node) is dict or type(node) is list]
        if not nodes:
            return
        if room == 0:
            raise WireError(f"JSON is nested deeper than {MAX_DEPTH} levels.")
        level = [item for node in nodes for item in _items(node, with_keys=has_escapes)]


def _items(node: dict[str, Any] | list[Any], *, with_keys: bool) -> Iterable[Any]:
    if type(node) is not dict:
        return node
    return chain(node.keys(), node.values()) if with_keys else node.values()


def make_ready(*types: type[Record]) -> None:
    """Work out how record types are decoded, while no other thread does.

    msgspec does it at a type's first use, and two threads whose first uses met have ended the
    process: one found what the other had not finished (msgspec 0.22, a null pointer).

    Args:
        types: what is about to be decoded by several threads; every record type that was imported,
            by default.
    """
    for type_ in types or tuple(_records(Record)):
        msgspec.json.Decoder(type_)


def _records(base: type[Record]) -> Iterator[type[Record]]:
    for type_ in base.__subclasses__():
        yield type_
        yield from _records(type_)


def parse(data: bytes, *, limit: int, what: str) -> Any:
    """Check bounds and return plain JSON values (rule 1).

    Args:
        data: the bytes as they arrived.
        limit: the most bytes allowed.
        what: names the thing in errors, for instance ``"directive"``.

    Raises:
        WireError: too large, not UTF-8, not JSON, too deep, a duplicate key, a number that is not
            an integer of at most 53 bits, or half of a surrogate pair.
    """
    if len(data) > limit:
        raise WireError(f"The {what} is {len(data)} bytes; at most {limit} are read.")
    try:
        text = data.decode("utf-8")
        tree = json.loads(
            text,
            object_pairs_hook=_unique_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        # UTF-8 has no surrogates: only an escape can spell one.
        _check_tree(tree, has_escapes="\\u" in text)
    except UnicodeDecodeError as e:
        raise WireError(f"The {what} is not UTF-8 (byte {e.start}).") from e
    except RecursionError as e:
        raise WireError(f"The {what} is nested deeper than {MAX_DEPTH} levels.") from e
    except json.JSONDecodeError as e:
        raise WireError(f"The {what} is not JSON: {e.msg} at byte {e.pos}.") from e
    except WireError as e:
        raise WireError(f"The {what} is not acceptable: {e}") from e
    return tree


def convert(tree: Any, type_: type[T], *, what: str) -> T:
    """Turn plain JSON values into ``type_`` (rule 2).

    Raises:
        WireError: a field is missing, unknown, or of the wrong type or form; the message names it.
    """
    try:
        return msgspec.convert(tree, type_)
    except msgspec.ValidationError as e:
        raise WireError(f"The {what} does not have the right form: {e}") from e


def decode(data: bytes, type_: type[T], *, limit: int, what: str) -> T:
    """``parse`` and ``convert`` in one.

    Raises:
        WireError: as either does.
    """
    return convert(parse(data, limit=limit, what=what), type_, what=what)


def decode_canonical(data: bytes, type_: type[T], *, limit: int, what: str) -> T:
    """``decode``, and refuse any spelling but the canonical one (rule 3).

    Raises:
        WireError: as ``decode``, or the bytes are another spelling of the same value.
    """
    value = decode(data, type_, limit=limit, what=what)
    if encode(value) != data:
        raise WireError(f"The {what} is not in canonical form (sorted keys, no white space).")
    return value


def encode(value: object) -> bytes:
    """Canonical bytes of a record or of plain JSON values (rule 3)."""
    return msgspec.json.encode(value, order="sorted")


def sha256_hex(data: bytes) -> str:
    """SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def format_time(time: datetime) -> str:
    """``YYYY-MM-DDTHH:MM:SSZ``."""
    return time.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
