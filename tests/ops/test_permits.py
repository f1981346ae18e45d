"""Whether a recall needs permits, and which there are: said before anybody signs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tuf.api.metadata import Targets

from interlock_core.errors import RefusedError
from interlock_core.http import make_pool
from interlock_core.order import Order, Target
from interlock_ops.image import ImageRepository
from interlock_ops.permits import permits_said
from tests.core.test_withdrawn import NOW, permit, permitted, release, taken_back
from tests.ops.world import PATH, PRODUCT, Original, Place
from tests.support.papers import order

ID = "c" * 64


def recall(targets: Targets, version: str = "1.0", kind: str = "recall") -> Order:
    path = f"ward/{version}/fw.img"
    listed = targets.targets[path]
    target = Target(path=path, length=listed.length, sha256=listed.hashes["sha256"])
    return msgspec.structs.replace(order().said, product="ward", kind=kind, targets=(target,))


def raising(targets: Targets, version: str, floor: int) -> Targets:
    custom: Any = targets.targets[f"ward/{version}/fw.img"].custom
    custom["raises_floor_to"] = floor
    return targets


@pytest.fixture
def product() -> Targets:
    """The second release raises the floor above the first."""
    first = release(Targets(expires=NOW), "1.0", 1)
    return raising(release(first, "2.0", 2), "2.0", 2)


def said(targets: Targets, about: Order, id_: str | None = ID) -> str:
    return "\n".join(permits_said(about, id_, targets, NOW))


@pytest.mark.parametrize("kind", ["update", "baseline"])
def test_other_orders_go_down_with_no_permit(product: Targets, kind: str) -> None:
    assert said(product, recall(product, kind=kind)) == ""


def test_a_recall_to_the_floor_needs_none(product: Targets) -> None:
    assert said(product, recall(product, "2.0")) == ""
    assert said(raising(product, "2.0", 1), recall(product)) == ""


def test_below_the_floor_one_is_needed_and_none_is_there(product: Targets) -> None:
    text = said(product, recall(product))
    assert "confirmed 2.0 refuse ward/1.0/fw.img (counter 1) without a permit" in text
    assert "None is there yet: the product's release managers make one" in text
    assert f"order = {ID}" in text
    assert "the id that the order gets now" in said(product, recall(product), None)


def test_a_withdrawn_release_raised_it_too(product: Targets) -> None:
    assert "confirmed 2.0 refuse" in said(taken_back(product, "2.0"), recall(product))


def test_permits_are_named_and_those_of_other_orders_are_told_apart(product: Targets) -> None:
    about = recall(product)
    digest = about.targets[0].sha256
    mine = permit(to_sha256=digest, order=ID)
    both = permitted(product, mine, "ward/permits/1.json")
    both = permitted(both, permit(to_sha256=digest, order="d" * 64), "ward/permits/2.json")
    both = permitted(both, permit(to_sha256=digest, order=ID, expires=NOW), "ward/permits/3.json")
    both = permitted(both, permit(order=ID), "ward/permits/4.json")
    text = said(both, about)
    assert "There is the permit ward/permits/1.json, until 2030-01-04T00:00:00Z." in text
    assert f"ward/permits/2.json is for the order {'d' * 64}, and not for this one" in text
    assert "permits/3.json" not in text
    assert "permits/4.json" not in text
    assert "None is there yet" not in text
    later = "\n".join(permits_said(about, ID, both, NOW + timedelta(days=4)))
    assert "None is there yet" in later


def test_a_products_metadata_is_read_verified(place: Place, original: Original) -> None:
    client = ImageRepository(place.url, original.writer.root, place.home / "s", make_pool())
    assert PATH in client.product(PRODUCT).targets
    with pytest.raises(RefusedError) as refused:
        client.product("nobodys")
    assert refused.value.reason == "no_such_target"
