"""Roots and proofs of the log, against RFC 9162's definitions written out here with hashlib."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_core.checkpoint import Checkpoint
from interlock_core.errors import RefusedError
from interlock_core.tree import Tree, leaf_hash, subroot, verify_consistency, verify_inclusion

# The leaves of Certificate Transparency's own reference tests, and the root over the first n.
GOLDEN = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
GOLDEN.append("606162636465666768696a6b6c6d6e6f")
GOLDEN_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def h(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(d: Sequence[bytes]) -> bytes:
    """RFC 9162, 2.1.1, over the leaves' bytes."""
    if not d:
        return h(b"")
    if len(d) == 1:
        return h(b"\x00" + d[0])
    k = split(len(d))
    return h(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: Sequence[bytes]) -> list[bytes]:
    """RFC 9162, 2.1.3.1."""
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def proof(m: int, d: Sequence[bytes]) -> list[bytes]:
    """RFC 9162, 2.1.4.1."""
    return subproof(m, d, known=True)


def subproof(m: int, d: Sequence[bytes], *, known: bool) -> list[bytes]:
    if m == len(d):
        return [] if known else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], known=known), mth(d[k:])]
    return [*subproof(m - k, d[k:], known=False), mth(d[:k])]


LEAVES = [b"leaf %d" % n for n in range(1100)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def log(size: int, leaves: Sequence[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint("fleet/log", size, mth(leaves[:size]))


def test_golden_roots() -> None:
    leaves = [bytes.fromhex(one) for one in GOLDEN]
    for size in range(len(leaves) + 1):
        root = Tree.of([leaf_hash(leaf) for leaf in leaves[:size]]).root()
        assert root == mth(leaves[:size])
        assert size not in GOLDEN_ROOTS or root.hex() == GOLDEN_ROOTS[size]


def test_a_proof_worked_out_by_hand() -> None:
    """RFC 9162, 2.1.5: of seven leaves, consistency with the first three is [c, d, g, l]."""
    d = [b"d%d" % n for n in range(7)]
    a, b, c, dd, e, f, j = (h(b"\x00" + one) for one in d)
    g, i = h(b"\x01" + a + b), h(b"\x01" + e + f)
    k_of, l_of = h(b"\x01" + g + h(b"\x01" + c + dd)), h(b"\x01" + i + j)
    tree = Tree.of([leaf_hash(one) for one in d])
    assert tree.root() == h(b"\x01" + k_of + l_of)
    assert tree.prove_consistency(3) == [c, dd, g, l_of]
    assert tree.prove_consistency(4) == [l_of]
    assert tree.prove_consistency(6) == [i, j, k_of]
    assert tree.prove_inclusion(0) == [b, h(b"\x01" + c + dd), l_of]
    assert tree.prove_inclusion(6) == [i, k_of]


EDGES = (1, 2, 3, 127, 128, 129, 255, 256, 257, 300, 384, 511, 512, 513, 640, 767, 768, 769, 1024)


@pytest.mark.parametrize("size", [*EDGES, 1100])
def test_bundles_make_the_tree_of_the_rfc(size: int) -> None:
    tree = Tree.of(HASHES[:size])
    assert tree.root() == mth(LEAVES[:size])
    for old in (*(edge for edge in EDGES if edge <= size), size):
        assert tree.root(old) == mth(LEAVES[:old])
        made = tree.prove_consistency(old)
        assert made == proof(old, LEAVES[:size])
        verify_consistency(log(old), log(size), made)
    for number in (0, size // 2, size - 1):
        made = tree.prove_inclusion(number)
        assert made == path(number, LEAVES[:size])
        verify_inclusion(LEAVES[number], number, log(size), made)


@given(st.integers(1, 1100), st.integers(0, 1100), st.data())
def test_proofs_are_those_of_the_rfc_and_no_other_holds(
    size: int, old: int, data: st.DataObject
) -> None:
    old = min(old, size)
    made = Tree.of(HASHES[:size]).prove_consistency(old)
    verify_consistency(log(old), log(size), made)
    if made:
        at = data.draw(st.integers(0, len(made) - 1))
        for wrong in (
            [*made[:at], h(made[at]), *made[at + 1 :]],
            [*made[:at], *made[at + 1 :]],
            [*made, made[at]],
        ):
            with pytest.raises(RefusedError) as caught:
                verify_consistency(log(old), log(size), wrong)
            assert caught.value.reason == "log_fork"
    changed = [*LEAVES]
    changed[data.draw(st.integers(0, max(0, old - 1)))] = b"edited"
    if old:
        with pytest.raises(RefusedError):
            verify_consistency(log(old), log(size, changed), made)


def test_what_is_no_continuation() -> None:
    made = Tree.of(HASHES[:9]).prove_consistency(4)
    for old, new, given_proof in (
        (log(9), log(4), made),
        (log(4), log(4, [b"x", *LEAVES]), []),
        (Checkpoint("fleet/log", 0, b"\x00" * 32), log(9), []),
        (log(4), log(9), [b"short"]),
        (log(4), Checkpoint("fleet/log", 2**60, b"\x00" * 32), made),
        (log(4), log(9), [b"\x00" * 32] * 200),
    ):
        with pytest.raises(RefusedError, match="two faces"):
            verify_consistency(old, new, given_proof)
    verify_consistency(log(0), log(9), [])
    verify_consistency(log(9), log(9), [])


def test_what_is_not_in_the_log() -> None:
    tree = Tree.of(HASHES[:9])
    made = tree.prove_inclusion(4)
    verify_inclusion(LEAVES[4], 4, log(9), made)
    for leaf, number, of in (
        (b"other", 4, log(9)),
        (LEAVES[4], 5, log(9)),
        (LEAVES[4], 4, log(8)),
        (LEAVES[4], 9, log(9)),
    ):
        with pytest.raises(RefusedError) as caught:
            verify_inclusion(leaf, number, of, made)
        assert caught.value.reason == "not_in_log"


def test_a_node_is_no_leaf() -> None:
    """Nobody passes two hashes off as one entry: the prefixes differ."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != subroot([left, right])
