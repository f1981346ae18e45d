"""Every parser, with whatever hypothesis makes: a value, or an error of the family that it names,
and never another exception.

The parsers are found in the packages themselves: a public function that begins with bytes and has
no entry in ``readers.py`` fails ``test_every_parser_has_an_entry``; every record type of the wire
is read from any tree by ``test_any_tree_as_any_record``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock_core import wire
from interlock_core.errors import WireError
from tests.sweep.endpoints import encoded
from tests.sweep.mangle import VALUES, WORDS, changed_json, changed_toml, torn
from tests.sweep.readers import ELSEWHERE, READERS, Reader

PACKAGES = ("core", "client", "server", "ops", "repo", "ceremony")

some = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def modules() -> Iterator[ModuleType]:
    for name in PACKAGES:
        package = importlib.import_module(f"interlock_{name}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in found.name:
                yield importlib.import_module(found.name)


def records(base: type[wire.Record] = wire.Record) -> Iterator[type[wire.Record]]:
    for type_ in base.__subclasses__():
        yield type_
        yield from records(type_)


def of_ours() -> list[type[wire.Record]]:
    list(modules())
    ours = [type_ for type_ in records() if type_.__module__.startswith("interlock_")]
    return sorted(set(ours), key=lambda type_: (type_.__module__, type_.__qualname__))


def test_every_parser_has_an_entry() -> None:
    known = {name for reader in READERS.values() for name in reader.names}
    found = set()
    for module in modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith("_"):
                continue
            first = next(iter(inspect.signature(function).parameters.values()), None)
            if first is not None and first.annotation == "bytes":
                found.add(f"{module.__name__}.{name}")
    missing = found - known - ELSEWHERE.keys()
    assert not missing, f"add {sorted(missing)} to the sweep's readers"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def read(reader: Reader, data: bytes, scratch: Path) -> Any:
    """What is read; what is accepted must be the same when it is written and read again."""
    try:
        value = reader.read(data, scratch)
    except reader.errors:
        return None
    if reader.again is not None:
        assert reader.again(value) == data
    elif isinstance(value, wire.Record) and reader.form == "json":
        assert reader.read(wire.encode(value), scratch) == value
    elif isinstance(value, str) and reader.form == "other":
        assert reader.read(value.encode(), scratch) == value
    return value


@pytest.mark.parametrize("what", READERS)
def test_what_is_good_is_read(what: str, scratch: Path) -> None:
    assert read(READERS[what], READERS[what].good(), scratch) is not None


@pytest.mark.parametrize("what", READERS)
def test_bad_things_made_of_good_ones(what: str, scratch: Path) -> None:
    reader = READERS[what]
    good = reader.good()
    changed = {"json": changed_json, "toml": changed_toml, "other": torn}[reader.form]

    @some
    @given(torn(good) | changed(good))
    def check(data: bytes) -> None:
        read(reader, data, scratch)

    check()


@pytest.mark.parametrize("what", READERS)
def test_any_bytes(what: str, scratch: Path) -> None:
    reader = READERS[what]

    @settings(some, max_examples=15)
    @given(st.binary(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=6).map(b"".join))
    def check(data: bytes) -> None:
        read(reader, data, scratch)

    check()


@pytest.mark.parametrize("type_", of_ours(), ids=lambda type_: type_.__qualname__)
def test_any_tree_as_any_record(type_: type[wire.Record]) -> None:
    """The fields' own names, so that what stands in them is looked at."""
    fields = type_.__struct_encode_fields__
    tag = type_.__struct_config__.tag
    head = {type_.__struct_config__.tag_field: tag} if tag is not None else {}
    trees = st.fixed_dictionaries(dict.fromkeys(fields, VALUES)) | VALUES

    @settings(some, max_examples=10)
    @given(trees)
    def check(tree: Any) -> None:
        whole = head | tree if isinstance(tree, dict) else tree
        try:
            value = wire.decode(encoded(whole), type_, limit=2**20, what="record")
        except WireError:
            return
        assert wire.decode(wire.encode(value), type_, limit=2**20, what="record") == value

    check()
