"""The hash tree of the log: roots and proofs (pure; the hashing is the library ``tamperlog``'s).

Rules:

1. The tree is RFC 9162's (section 2.1, the same as RFC 6962's): SHA-256, 0x00 before a leaf and
   0x01 before two nodes. ADR 0011 says why which library computes it.
2. A bundle of 256 leaves is a whole subtree, so the tree over all leaves is the tree over the roots
   of the bundles, the last of which may be short: the RFC splits at the largest power of two below
   the number of leaves, which is a multiple of 256 wherever more than 256 are left. So nobody
   hashes the whole log for a root or a proof; a test holds all of it against the RFC's definition.
3. Proofs are in the RFC's form and are verified from values alone: a size beyond 53 bits is refused
   before anything is hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from interlock_core.checkpoint import ROOT_LENGTH, Checkpoint
from interlock_core.errors import RefusedError
from interlock_core.log import BUNDLE, Place
from interlock_core.wire import MAX_INTEGER

MAX_PROOF: Final = 2 * 53
"""The most hashes that a proof within 53 bits can have."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf."""
    from tamperlog import hash_leaf  # noqa: PLC0415  # only some zones need it

    return bytes(hash_leaf(entry))


def subroot(hashes: Sequence[bytes]) -> bytes:
    """The root of the leaves, or of the roots of full bundles, with these hashes."""
    from tamperlog import merkle_root  # noqa: PLC0415  # only some zones need it

    return bytes(merkle_root(list(hashes)))


@dataclass(frozen=True)
class Tree:
    """A log of ``size`` entries, as far as it must be known for roots and proofs (rule 2).

    Attributes:
        bundles: the roots of all full bundles.
        leaves: gives the leaf hashes of a bundle, the last and short one too.
    """

    size: int
    bundles: Sequence[bytes]
    leaves: Callable[[int], Sequence[bytes]]

    @classmethod
    def of(cls, hashes: Sequence[bytes]) -> Tree:
        """The tree over leaf hashes that are all at hand."""
        full = range(0, len(hashes) - BUNDLE + 1, BUNDLE)
        return cls(
            len(hashes),
            [subroot(hashes[at : at + BUNDLE]) for at in full],
            lambda number: hashes[number * BUNDLE : (number + 1) * BUNDLE],
        )

    def _nodes(self, size: int) -> list[bytes]:
        place = Place.of(size)
        nodes = list(self.bundles[: place.bundle])
        if place.within:
            nodes.append(subroot(self.leaves(place.bundle)[: place.within]))
        return nodes

    def root(self, size: int | None = None) -> bytes:
        """The root over the first ``size`` entries; over all, if none is given."""
        size = self.size if size is None else size
        assert 0 <= size <= self.size
        return subroot(self._nodes(size))

    def prove_inclusion(self, number: int) -> list[bytes]:
        """That entry ``number`` is in the log (RFC 9162, 2.1.3.1)."""
        from tamperlog import inclusion_proof  # noqa: PLC0415  # only some zones need it

        assert 0 <= number < self.size
        place = Place.of(number)
        leaves = self.leaves(place.bundle)[: self.size - place.bundle * BUNDLE]
        within: list[bytes] = inclusion_proof(place.within, list(leaves))
        return within + list(inclusion_proof(place.bundle, self._nodes(self.size)))

    def prove_consistency(self, old: int) -> list[bytes]:
        """That the first ``old`` entries are those of the log of that size (RFC 9162, 2.1.4.1)."""
        from tamperlog import (  # noqa: PLC0415  # only some zones need it
            consistency_proof,
            inclusion_proof,
        )

        assert 0 <= old <= self.size
        if old in {0, self.size}:
            return []
        place, nodes = Place.of(old), self._nodes(self.size)
        if not place.within:
            return list(consistency_proof(place.bundle, nodes))
        leaves = list(self.leaves(place.bundle)[: self.size - place.bundle * BUNDLE])
        within: list[bytes] = consistency_proof(place.within, leaves)
        if place.bundle and place.within & (place.within - 1) == 0:
            # The RFC leaves the old root out where it is itself a node on the left edge of the
            # tree; within a later bundle it is not, and must be shown.
            within = [subroot(leaves[: place.within]), *within]
        return within + list(inclusion_proof(place.bundle, nodes))


def verify_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """See that ``new`` is a log that begins with all of ``old``.

    Raises:
        RefusedError: ``log_fork``: nothing shows that it does.
    """
    from tamperlog import ProofError  # noqa: PLC0415  # only some zones need it
    from tamperlog import verify_consistency as verify  # noqa: PLC0415  # as above

    try:
        _check(proof, old.size, new.size)
        if old.size == 0:
            # The library takes any root of nothing; there is one.
            verify(0, old.root, 0, subroot([]), [])
        verify(old.size, old.root, new.size, new.root, list(proof))
    except ProofError as e:
        raise RefusedError(
            f"The log shows two faces: its {new.size} entries are not a continuation of the "
            f"{old.size} that were shown before ({e}). Keep both checkpoints, tell whoever runs "
            "the server and whoever audits it, and sign nothing until it is explained.",
            reason="log_fork",
        ) from e


def verify_inclusion(entry: bytes, number: int, log: Checkpoint, proof: Sequence[bytes]) -> None:
    """See that ``entry`` stands in the log under this number.

    Raises:
        RefusedError: ``not_in_log``: nothing shows that it does.
    """
    from tamperlog import ProofError  # noqa: PLC0415  # only some zones need it
    from tamperlog import verify_inclusion as verify  # noqa: PLC0415  # as above

    try:
        _check(proof, number, log.size)
        verify(number, log.size, leaf_hash(entry), list(proof), log.root)
    except ProofError as e:
        raise RefusedError(
            f"Entry {number} is not in the log of {log.size} entries: {e}.", reason="not_in_log"
        ) from e


def _check(proof: Sequence[bytes], *sizes: int) -> None:
    from tamperlog import ProofError  # noqa: PLC0415  # only some zones need it

    if any(not 0 <= size <= MAX_INTEGER for size in sizes) or len(proof) > MAX_PROOF:
        raise ProofError("its numbers are out of bounds")
    if any(len(one) != ROOT_LENGTH for one in proof):
        raise ProofError("it holds something that is no hash")
