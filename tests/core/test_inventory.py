"""Which gateways could not read metadata with which keys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.errors import WireError
from interlock_core.inventory import NEEDS, Gateway, Gateways, read_gateways, stranded
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.report import Versions
from interlock_core.wire import encode
from tests.support.people import DAY0, FLEET

CLASSICAL = sorted(scheme for scheme in KEY_SCHEMES if "ml-dsa" not in scheme)
ML_DSA = "ml-dsa-65/1"
VERSIONS = Versions(
    client="0.1.0", tuf="7.0.1", securesystemslib="1.6.0", cryptography="48.0.0", python="3.11.2"
)
NUMBER = st.integers(min_value=0, max_value=99)


def gateway(device: str = "GW-1", **versions: str) -> Gateway:
    return Gateway(
        device=device,
        product="ward-gateway",
        hardware="cg-200",
        site="st-anna",
        cohort="canary",
        state="countersigned",
        reported_at=DAY0,
        versions=msgspec.structs.replace(VERSIONS, **versions),
    )


def silent(device: str) -> Gateway:
    return msgspec.structs.replace(gateway(device), reported_at=None, versions=None)


def fleet(*gateways: Gateway) -> Gateways:
    return Gateways(type="urn:interlock:gateways:v1", fleet=FLEET, at=DAY0, gateways=gateways)


def left_behind(one: Gateway, *schemes: str) -> bool:
    return bool(stranded(fleet(one), schemes))


@pytest.mark.parametrize("scheme", CLASSICAL)
def test_every_client_reads_the_classical_kinds(scheme: str) -> None:
    for one in (gateway(), silent("GW-1"), gateway(securesystemslib="0.1", cryptography="?")):
        assert not left_behind(one, scheme)


@pytest.mark.parametrize(
    ("versions", "reads"),
    [
        ({}, True),
        ({"securesystemslib": "1.6"}, True),
        ({"securesystemslib": "1.5"}, False),
        ({"securesystemslib": "1.6.1"}, True),
        ({"securesystemslib": "1.10.0"}, True),
        ({"securesystemslib": "2.0.0"}, True),
        ({"securesystemslib": "1.6.0.post1"}, True),
        ({"securesystemslib": "1.5.9"}, False),
        ({"securesystemslib": "1.6.0rc1"}, False),
        ({"securesystemslib": "v1.6.0"}, False),
        ({"securesystemslib": ""}, False),
        ({"securesystemslib": "unknown"}, False),
        ({"cryptography": "47.9.9"}, False),
        ({"cryptography": "50.1"}, True),
        ({"cryptography": "48"}, True),
    ],
)
def test_ml_dsa_needs_the_libraries_that_know_it(versions: dict[str, str], reads: bool) -> None:
    assert left_behind(gateway(**versions), "ed25519", ML_DSA) is not reads


def test_who_never_said_what_it_runs_counts_as_left_behind() -> None:
    [found] = stranded(fleet(gateway("A"), silent("B")), [ML_DSA])
    assert (found.gateway.device, found.why) == ("B", "it has not said what it runs")


def test_what_is_lacking_is_said() -> None:
    [found] = stranded(fleet(gateway(securesystemslib="1.2.0", cryptography="42.0")), [ML_DSA])
    assert found.why == (
        "securesystemslib '1.2.0', and 1.6.0 is needed; cryptography '42.0', and 48 is needed"
    )


def test_a_kind_that_nobody_knows_is_read_by_nobody() -> None:
    found = stranded(fleet(gateway("A"), silent("B")), ["ed25519", "falcon-512"])
    assert [one.gateway.device for one in found] == ["A", "B"]
    assert "falcon-512" in found[0].why


def test_every_kind_of_key_says_what_it_needs() -> None:
    assert NEEDS.keys() == KEY_SCHEMES.keys()
    assert {library for needs in NEEDS.values() for library in needs} <= set(
        Versions.__struct_fields__
    )


@given(st.lists(NUMBER, min_size=1, max_size=4), st.lists(NUMBER, min_size=1, max_size=4))
def test_a_newer_library_never_reads_less(one: list[int], other: list[int]) -> None:
    older, newer = sorted([one, other], key=lambda numbers: numbers + [0] * (6 - len(numbers)))
    text = [".".join(map(str, numbers)) for numbers in (older, newer)]
    before, after = (left_behind(gateway(securesystemslib=t), ML_DSA) for t in text)
    assert before or not after


@given(st.sets(st.sampled_from(sorted(KEY_SCHEMES))), st.sampled_from(sorted(KEY_SCHEMES)))
def test_another_kind_of_key_never_strands_fewer(schemes: set[str], more: str) -> None:
    known = fleet(gateway("A"), gateway("B", securesystemslib="1.0.0"), silent("C"))
    before = {one.gateway.device for one in stranded(known, schemes)}
    assert before <= {one.gateway.device for one in stranded(known, {*schemes, more})}


# The file


def test_the_file_reads_back() -> None:
    known = fleet(gateway("A"), silent("B"))
    assert read_gateways(encode(known)) == known
    assert read_gateways(encode(fleet())).gateways == ()


@pytest.mark.parametrize(
    "change",
    [
        {"gateways": ["A", "A"]},
        {"gateways": ["B", "A"]},
        {"type": "urn:interlock:gateways:v2"},
        {"fleet": "Not A Fleet"},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_inventory_is_refused(change: dict[str, Any]) -> None:
    plain: dict[str, Any] = msgspec.to_builtins(fleet(gateway("A")))
    if "gateways" in change:
        one = plain["gateways"][0]
        change = {"gateways": [one | {"device": device} for device in change["gateways"]]}
    with pytest.raises(WireError):
        read_gateways(encode(plain | change))
    with pytest.raises(WireError, match="canonical"):
        read_gateways(encode(fleet(gateway("A"))) + b"\n")
