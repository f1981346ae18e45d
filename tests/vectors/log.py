"""The log's vectors: eight entries, their tree, a bundle, a checkpoint, and proofs."""

from __future__ import annotations

from typing import Any, Final

from interlock_core import wire
from interlock_core.checkpoint import Checkpoint, sign_checkpoint
from interlock_core.log import (
    Entry,
    Fact,
    metadata_fact,
    pack,
    state_fact,
    statement_fact,
    write_entry,
)
from interlock_core.statement import Opened
from interlock_core.tree import Tree, leaf_hash
from tests.support.papers import authorise, digest, enrolment, order, report, stop
from tests.support.people import DAY0, FLEET, signer

ORDER: Final = order()
DEVICE: Final = enrolment()


def _said(opened: Opened[Any]) -> Fact:
    return statement_fact(opened.said.PREDICATE, opened.id, wire.encode(opened.envelope))


FACTS: Final = (
    Fact(
        kind="begun",
        name=FLEET,
        id=digest("the image root"),
        sha256=digest("the director root"),
    ),
    metadata_fact("image", "root", 1, b"{}"),
    _said(ORDER),
    _said(authorise(ORDER)),
    _said(DEVICE),
    state_fact("countersigned", DEVICE.id),
    _said(stop(ORDER)),
    state_fact("quarantined", DEVICE.id, wire.encode(report(DEVICE).envelope)),
)


def vectors() -> dict[str, Any]:
    """Everything that ``log.json`` holds."""
    entries = [
        write_entry(Entry(number=number, at=DAY0, fact=fact)) for number, fact in enumerate(FACTS)
    ]
    hashes = [leaf_hash(entry) for entry in entries]
    tree = Tree.of(hashes)
    said = Checkpoint(f"{FLEET}/log", tree.size, tree.root())
    return {
        "entries": [
            {"text": entry.decode(), "leaf": leaf.hex(), "root": tree.root(number + 1).hex()}
            for number, (entry, leaf) in enumerate(zip(entries, hashes, strict=True))
        ],
        "bundle": pack(entries).hex(),
        "checkpoint": sign_checkpoint(said, signer("log")),
        "log_key": signer("log").public_key.keyval["public"],
        "consistency": [
            {
                "old": old,
                "new": tree.size,
                "hashes": [one.hex() for one in tree.prove_consistency(old)],
            }
            for old in range(tree.size + 1)
        ],
        "inclusion": [
            {
                "number": number,
                "size": tree.size,
                "hashes": [one.hex() for one in tree.prove_inclusion(number)],
            }
            for number in range(tree.size)
        ],
    }
