"""Bounded bytes in, canonical bytes out. (Refusals one by one: ``tests/vectors/refused.json``.)"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock_core import wire
from interlock_core.errors import WireError

LIMIT = 1 << 16


class Both(wire.Record, frozen=True, kw_only=True):
    at: datetime
    name: str
    number: int
    more: tuple[str, ...]


NOON = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
INTEGER = st.integers(-wire.MAX_INTEGER, wire.MAX_INTEGER)
TREE = st.recursive(
    st.none() | st.booleans() | INTEGER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
TIMES = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda time: time.replace(microsecond=0))


def parse(data: bytes) -> Any:
    return wire.parse(data, limit=LIMIT, what="value")


@given(TREE)
def test_what_is_written_is_read(tree: Any) -> None:
    assert parse(wire.encode(tree)) == tree


@given(TREE)
def test_the_canonical_form_is_that_of_the_standard_library(tree: Any) -> None:
    plain = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert wire.encode(tree) == plain.encode()


@given(TIMES, TEXT, INTEGER, st.lists(TEXT, max_size=3))
def test_a_record_has_one_spelling(at: datetime, name: str, number: int, more: list[str]) -> None:
    record = Both(at=at, name=name, number=number, more=tuple(more))
    data = wire.encode(record)
    assert wire.decode_canonical(data, Both, limit=LIMIT, what="record") == record
    assert f'"at":"{wire.format_time(at)}"'.encode() in data
    loose = json.dumps(json.loads(data), indent=1).encode()
    assert wire.decode(loose, Both, limit=LIMIT, what="record") == record
    with pytest.raises(WireError, match="canonical"):
        wire.decode_canonical(loose, Both, limit=LIMIT, what="record")


@given(st.binary(max_size=200))
@example(b"\xff")
@example(b"[" * 5000)
@example(b'{"a":' * 2000)
@example(b"-")
@example(b"1" * 5000)
@example(b'"\\ud800"')
@example(b'{"\\ud800":1,"\\ud800":1}')
@example(b"\xef\xbb\xbf1")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        parse(data)


@given(st.text(st.sampled_from('{}[]",:0123456789.eE+-ntfaul \\/'), max_size=40))
def test_any_text_like_json_is_read_as_others_read_it_or_refused(text: str) -> None:
    try:
        tree = parse(text.encode())
    except WireError:
        return
    assert tree == json.loads(text)


@given(TREE)
def test_any_value_is_converted_or_refused(tree: Any) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(wire.convert(tree, Both, what="record"), Both)


@given(st.text(max_size=30))
@example("9999-12-31T23:59:59Z")
@example("0001-01-01T00:00:00Z")
@example("0000-00-00T00:00:00Z")
@example("2027-03-01T08:00:00+23:59")
@example("0001-01-01T00:00:00+14:00")
def test_any_time_is_read_or_refused(text: str) -> None:
    tree = {"at": text, "name": "", "number": 0, "more": []}
    try:
        record = wire.convert(tree, Both, what="record")
    except WireError:
        return
    assert 1970 <= record.at.year <= 9998


@pytest.mark.parametrize(
    "at",
    [
        NOON.replace(tzinfo=None),
        NOON.replace(microsecond=1),
        NOON.astimezone(timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=UTC, microsecond=0),
        datetime.min.replace(tzinfo=UTC),
    ],
)
def test_a_record_holds_whole_seconds_of_utc_within_the_calendar(at: datetime) -> None:
    with pytest.raises(ValueError, match="`at` must"):
        Both(at=at, name="", number=0, more=())


def test_depth_is_counted_in_levels() -> None:
    assert parse(b"[" * 32 + b"]" * 32)
    with pytest.raises(WireError, match="deeper than 32"):
        parse(b"[" * 33 + b"]" * 33)


def test_the_limit_is_in_bytes() -> None:
    data = '"ää"'.encode()
    assert wire.parse(data, limit=6, what="value") == "ää"
    with pytest.raises(WireError, match="is 6 bytes; at most 5"):
        wire.parse(data, limit=5, what="value")


def test_errors_name_the_thing_and_the_field() -> None:
    with pytest.raises(WireError, match=r"The roster does not have the right form: .*`name`"):
        wire.decode(b'{"at":"2027-03-01T08:00:00Z"}', Both, limit=99, what="roster")


def test_times_are_written_in_utc() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    assert wire.format_time(east.replace(microsecond=7)) == "2027-03-01T12:00:00Z"


def test_types_are_made_ready_before_threads_decode_them() -> None:
    """What is ready needs no name of its module any more; what is not is worked out from them."""
    code = """
import msgspec
from interlock_core import keybytes, keys, statement, wire

def ready(type_):
    try:
        msgspec.convert({}, type_)
    except msgspec.ValidationError:
        return True
    except NameError:
        return False

del keybytes.KeyValue, statement.Signature
print(ready(keys.PublicKeyFile), ready(statement.Envelope))
statement.Signature = dict
wire.make_ready()
del statement.Signature
print(ready(statement.Envelope))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True"]
