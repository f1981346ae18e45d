"""The hybrid rule: with one family broken, two people's signatures are still to forge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets

from interlock_core.api import MAX_BODY, PublicationRequest
from interlock_core.errors import RefusedError
from interlock_core.hybrid import POST_QUANTUM, check_hybrid, families, least_threshold
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.tuf_metadata import (
    MAX_LENGTH,
    check_signatures,
    delegated_paths,
    parse_metadata,
    serialise,
    set_issued,
    verify_new_offline,
    verify_root,
)
from interlock_core.wire import decode, encode
from tests.core.tuf_world import NOW, World, keys

PQ = "ml-dsa-65/1"
HOLDERS = 16


def post_quantum(number: int) -> list[CryptoSigner]:
    return [CryptoSigner.generate_mldsa(scheme=PQ) for _ in range(number)]


def test_every_scheme_is_of_one_family() -> None:
    assert set(KEY_SCHEMES) > POST_QUANTUM
    assert families(KEY_SCHEMES) == (4, 1)


@pytest.mark.parametrize(
    ("classical", "quantum", "least"),
    [(0, 0, 1), (3, 0, 1), (0, 3, 1), (1, 1, 3), (2, 1, 4), (2, 2, 4), (3, 2, 5), (2, 5, 7)],
)
def test_the_least_threshold(classical: int, quantum: int, least: int) -> None:
    assert least_threshold(["ed25519"] * classical + [PQ] * quantum) == least


@given(st.lists(st.sampled_from(sorted(KEY_SCHEMES)), max_size=24), st.integers(1, 24))
def test_whoever_breaks_one_family_still_needs_two_people(
    schemes: list[str], threshold: int
) -> None:
    quantum = sum(scheme == PQ for scheme in schemes)
    others = len(schemes) - quantum
    safe = min(threshold - others, threshold - quantum) >= 2
    if safe or not (others and quantum):
        check_hybrid("ward", threshold, schemes)
        return
    with pytest.raises(RefusedError) as refused:
        check_hybrid("ward", threshold, schemes)
    assert refused.value.reason == "weak_hybrid"


def delegating(holders: list[CryptoSigner], threshold: int, version: int = 2) -> Targets:
    targets = Targets(version=version, expires=NOW.replace(year=NOW.year + 1))
    targets.delegations = Delegations(
        {}, {"gw-a": DelegatedRole("gw-a", [], threshold, True, delegated_paths("gw-a"))}
    )
    for signer in holders:
        targets.add_key(signer.public_key, "gw-a")
    set_issued(targets, NOW)
    return targets


def signed(payload: Targets | Root, signers: list[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(payload)
    for signer in signers:
        metadata.sign(signer, append=True)
    return serialise(metadata)


@pytest.fixture
def world() -> World:
    return World(None, lambda: NOW)  # type: ignore[arg-type]  # nothing is stored here


def published(world: World, data: bytes, current: bytes | None = None) -> Metadata[Targets]:
    root = world.root()
    return verify_new_offline(data, "targets", root=root, targets=None, current=current, now=NOW)


def test_a_weak_delegation_is_not_published_and_a_strong_one_is(world: World) -> None:
    before = signed(world.targets(), world.targets_keys)
    holders = [*keys(2), *post_quantum(2)]
    weak = signed(delegating(holders, 3), world.targets_keys)
    with pytest.raises(RefusedError, match="takes 4") as refused:
        published(world, weak, before)
    assert refused.value.reason == "weak_hybrid"
    strong = signed(delegating(holders, 4), world.targets_keys)
    assert published(world, strong, before).signed.version == 2
    # What is in force is read, whatever it says: publishing it again changes nothing.
    assert published(world, weak, weak).signed.version == 2


def test_a_weak_root_is_not_published_and_is_read_where_it_stands(world: World) -> None:
    mixed = [*keys(2), *post_quantum(1)]
    root = world.root(root=mixed)
    root.roles["root"].threshold = 3
    data = signed(root, mixed)
    with pytest.raises(RefusedError, match="It takes 4: name holders") as refused:
        verify_root(data, None, NOW)
    assert refused.value.reason == "weak_hybrid"
    assert verify_root(data, data, NOW).signed.version == 1


@pytest.mark.parametrize("broken", ["classical", "post-quantum"])
def test_neither_family_alone_signs_for_a_hybrid_role(world: World, broken: str) -> None:
    classical, quantum = keys(3), post_quantum(3)
    top = delegating([*classical, *quantum], 5)
    role = Metadata(world.role(1, {"gw-a/1.0/image.bin": b"image"}))
    for signer in classical if broken == "classical" else quantum:
        role.sign(signer, append=True)
    for honest in (quantum if broken == "classical" else classical)[:2]:
        with pytest.raises(RefusedError) as refused:
            check_signatures(top, "gw-a", role)
        assert refused.value.reason == "untrusted_metadata"
        role.sign(honest, append=True)
    check_signatures(top, "gw-a", role)


def test_sixteen_post_quantum_signatures_fit_everywhere(world: World) -> None:
    """A signature of ML-DSA-65 has 3,309 bytes; roots and targets carry every holder's."""
    holders = post_quantum(HOLDERS)
    root = world.root(root=holders, targets=holders)
    root.roles["root"].threshold = root.roles["targets"].threshold = HOLDERS
    data = signed(root, holders)
    assert len(data) < MAX_LENGTH[Root.type] / 2
    assert verify_root(data, None, NOW).signed.version == 1

    top = delegating(holders, HOLDERS, version=1)
    text = signed(top, holders)
    assert len(text) < MAX_LENGTH[Targets.type] / 20
    verify_new_offline(text, "targets", root=root, targets=None, current=None, now=NOW)
    product = signed(world.role(1, {"gw-a/1.0/image.bin": b"image"}), holders)
    metadata = verify_new_offline(product, "gw-a", root=root, targets=top, current=None, now=NOW)
    assert len(metadata.signatures) == HOLDERS
    # And it travels to the server in one body.
    body = encode(PublicationRequest(metadata={"gw-a": product.decode()}))
    decode(body, PublicationRequest, limit=MAX_BODY, what="publication")
    assert parse_metadata(product, Targets, what="gw-a").signatures == metadata.signatures
