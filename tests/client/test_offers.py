"""Which deltas of an image are offered: those that its own signers made for it, and no others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tuf.api.metadata import TargetFile, Targets

from interlock_client.offers import offered
from interlock_core.facts import Grant, Reason
from interlock_core.release import Delta, Image, Reference
from tests.support.decisions import NEW, OLD, honest, image
from tests.support.papers import digest

PATH = f"{NEW.path}.from-1.0.0.delta"
SHA256 = digest("the delta")
FACTS = Delta(
    product=image().product,
    version=image().version,
    from_slot="rootfs",
    from_sha256=OLD.sha256,
    from_length=OLD.length,
    to_sha256=NEW.sha256,
    header_length=300,
    header_sha256=digest("the header"),
)


def listing(
    custom: Any = None,
    *,
    path: str = PATH,
    length: int = 500,
    sha256: str = SHA256,
    named: tuple[str, str, str] = ("delta", PATH, SHA256),
    **changed: Any,
) -> tuple[Targets, Image]:
    """A product's metadata with an image and what could be its delta."""
    kind, at, known = named
    reference = msgspec.convert({"kind": kind, "path": at, "sha256": known}, Reference)
    facts = image(references=(*image().references, reference))
    stated = msgspec.to_builtins(FACTS) | changed if custom is None else custom
    of_image = {"custom": msgspec.to_builtins(facts)}
    targets = {
        NEW.path: TargetFile(NEW.length, {"sha256": NEW.sha256}, NEW.path, of_image),
        path: TargetFile(length, {"sha256": sha256}, path, {"custom": stated}),
    }
    return Targets(targets=targets), facts


def test_a_delta_that_the_image_names_is_offered() -> None:
    role, facts = listing()
    (offer,) = offered(role, NEW.path, facts)
    assert (offer.path, offer.facts) == (PATH, FACTS)
    assert (offer.info.length, offer.info.hashes) == (500, {"sha256": SHA256})


@pytest.mark.parametrize(
    "bad",
    [
        {"named": ("notes", PATH, SHA256)},
        {"named": ("delta", PATH, digest("another"))},
        {"named": ("delta", f"{PATH}2", SHA256)},
        {"sha256": digest("another")},
        {"custom": []},
        {"custom": {"kind": "delta"}},
        {"product": "pump"},
        {"version": "2.0.1"},
        {"to_sha256": OLD.sha256, "from_sha256": NEW.sha256},
        {"from_sha256": NEW.sha256},
        {"kind": "image"},
        {"window": 31},
        {"length": NEW.length},
        {"length": 300},
        {"header_length": 2**20 + 1, "length": 2**20 + 2},
        {
            "path": PATH.replace("/2.0.0/", "/2.0.1/"),
            "version": "2.0.1",
            "named": ("delta", PATH.replace("/2.0.0/", "/2.0.1/"), SHA256),
        },
        {
            "path": PATH.replace("gateway/", "pump/"),
            "product": "pump",
            "named": ("delta", PATH.replace("gateway/", "pump/"), SHA256),
        },
    ],
    ids=str,
)
def test_anything_else_is_as_if_it_were_not_there(bad: Any) -> None:
    role, facts = listing(**bad)
    assert offered(role, NEW.path, facts) == ()


@pytest.mark.parametrize("counter", [3, 20])
def test_a_delta_changes_nothing_about_what_may_be_installed(counter: int) -> None:
    """Below the floor stays below it, and what is granted is the same image, with or without."""
    _, with_delta = listing()
    verdicts = [
        honest()
        .with_trusted(images={NEW.path: image(counter=counter, references=references)})
        .decide()
        .verdict
        for references in (with_delta.references, image().references)
    ]
    reasons = [getattr(verdict, "reason", None) for verdict in verdicts]
    assert reasons[0] == reasons[1]
    assert (reasons[0] == Reason.BELOW_FLOOR) == (counter == 3)
    if counter == 20:
        assert [one.image.release_counter for one in verdicts if isinstance(one, Grant)] == [20, 20]
