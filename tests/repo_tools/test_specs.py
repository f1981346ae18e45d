"""What people write: understood, or refused in one line that names the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock_core.errors import ConfigurationError, InterlockError
from interlock_repo.sbom import sbom_format
from interlock_repo.signatures import parse_signature
from interlock_repo.specs import (
    DelegationsSpec,
    ReleaseSpec,
    RosterSpec,
    parse_spec,
)
from tests.repo_tools.world import World, tool

TYPES = (DelegationsSpec, ReleaseSpec, RosterSpec)
KEYS = sorted({field for type_ in TYPES for field in type_.__struct_fields__})

scalars = st.one_of(
    st.integers(),
    st.booleans().map(lambda b: "true" if b else "false"),
    st.floats().map(str),
    st.sampled_from(["2036-12-31", "2036-12-31T00:00:00Z", "2036-12-31T00:00:00", "00:00:01"]),
    st.text(max_size=20).map(json.dumps),
).map(str)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from([*KEYS, "file", "name", "role"]), inner, max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{k} = {v}" for k, v in pairs.items()) + "}"
        ),
    ),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(KEYS), values, max_size=8).map(
    lambda pairs: "".join(f"{key} = {value}\n" for key, value in pairs.items())
)


def understood(data: bytes, type_: type[Any]) -> None:
    refused = ""
    try:
        parse_spec(data, type_, what="spec.toml")
    except ConfigurationError as e:
        refused = str(e)
    assert not refused or refused.startswith("spec.toml")


@given(data=st.binary(max_size=200), type_=st.sampled_from(TYPES))
def test_any_bytes(data: bytes, type_: type[Any]) -> None:
    understood(data, type_)


@given(text=documents, type_=st.sampled_from(TYPES))
def test_anything_that_looks_like_toml(text: str, type_: type[Any]) -> None:
    understood(text.encode("utf-8", "surrogatepass"), type_)


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, "x = " + "[" * 5000, "x = " + "9" * 5000, 'product = "\\ud800"', "a.b.c = 1",
     "release_counter = 99999999999999999999999999", 'sbom = "\\u0000"', "[[images]]\n" * 70],
)  # fmt: skip
@pytest.mark.parametrize("type_", TYPES)
def test_the_usual_traps(text: str, type_: type[Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^spec\.toml"):
        parse_spec(text.encode(), type_, what="spec.toml")


def test_the_error_names_the_field(world: World) -> None:
    spec = world.release()
    spec.write_text(spec.read_text().replace("markets", "market"))
    said = tool(
        "stage", "--event", world.place / "e", "--repository", world.ceremony,
        "--root", world.root_file, spec,
    )  # fmt: skip
    assert said.code == 2
    assert "`market`" in said.err
    assert "release.toml" in said.err


def test_a_huge_file_is_not_read(world: World) -> None:
    spec = world.delegations("#" * 2_000_000)
    assert world.make("delegate", world.place / "e", spec).code == 2


@given(text=documents)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_commands_end_in_one_line_whatever_is_written(delegated: World, text: str) -> None:
    file = delegated.place / "any.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for act in ("delegate", "stage", "roster"):
        event = delegated.place / "any-event"
        said = delegated.make(act, event, file)
        assert said.code in {0, 2, 20}, (act, text, said.err)
        if said.code == 0:
            # An empty delegations file renews.
            assert act == "delegate"
            event.rename(delegated.place / f"any-{len(list(delegated.place.iterdir()))}")
        else:
            assert said.err.count("\n") == 1, said.err
            assert not event.exists()


@given(data=st.binary(max_size=300))
def test_any_bytes_as_an_sbom_or_a_signature(data: bytes) -> None:
    for parse in (sbom_format, parse_signature):
        with pytest.raises(InterlockError):
            parse(data, what="file")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(field=st.sampled_from(["type", "kind", "role", "version", "metadata_sha256", "base", "x"]),
       value=json_values)  # fmt: skip
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_an_event_file_with_anything_in_it(staged: Path, field: str, value: object) -> None:
    file = staged / "event.json"
    whole = file.read_bytes()
    stated = json.loads(whole)
    if stated.get(field) == value:
        return
    stated[field] = value
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert tool("review", staged).code == 20
    finally:
        file.write_bytes(whole)
