"""A product's metadata signed again: for longer, or by new holders."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core.released import images
from tests.repo_tools.test_withdraw import metadata
from tests.repo_tools.world import KEY_HOLDERS, PRODUCT, RELEASE_MANAGERS, Said, World, role

OLD = ("rosa", "raul")
NEW = ("rita", "sven")


@pytest.fixture
def released(delegated: World) -> World:
    delegated.in_force("stage", delegated.release("1.0.0", 1), OLD)
    return delegated


def renew(world: World, event: Path, *words: str | Path) -> Said:
    return world.make("renew", event, Path(PRODUCT), *words)


def new_holders(world: World, event: Path, *holders: str, signers: int = 2) -> Path:
    """A delegations event that gives the product to others, signed."""
    spec = world.delegations(role(f"products.{PRODUCT}", 2, *holders))
    made = world.make("delegate", event, spec, "--with-renewal")
    assert made.code == 0, made.err
    for person in KEY_HOLDERS[:signers]:
        assert world.sign(event, person).code == 0
    return event


def test_the_same_for_longer(released: World, tmp_path: Path) -> None:
    made = renew(released, tmp_path / "e", "--lifetime-days", "100")
    assert made.code == 0, made.err
    before: Metadata[Targets] | None = released.image().stored.published_targets(PRODUCT)
    assert before is not None
    after = metadata(tmp_path / "e")
    assert after.targets == before.signed.targets
    assert after.version == before.signed.version + 1
    assert (after.expires - before.signed.expires).days == 100 - 365
    assert "a renewal: what is in force, signed again" in made.out
    assert "Nothing changes but the version and the expiry" in made.out
    for person in OLD:
        assert released.sign(tmp_path / "e", person).code == 0
    released.put_in_force(tmp_path / "e")


def test_one_lost_key_is_replaced_without_a_renewal(released: World, tmp_path: Path) -> None:
    """Two of the three who remain signed what is in force."""
    spec = released.delegations(role(f"products.{PRODUCT}", 2, *OLD, "sven"))
    assert released.make("delegate", tmp_path / "e", spec).code == 0


def test_new_holders_sign_what_the_old_ones_did(released: World, tmp_path: Path) -> None:
    spec = released.delegations(role(f"products.{PRODUCT}", 2, *NEW))
    refused = released.make("delegate", tmp_path / "e", spec, "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "orphaned_role")
    assert "renew ward-gateway --after EVENT" in refused.err
    delegations = new_holders(released, tmp_path / "d", *NEW)
    made = renew(released, tmp_path / "r", "--after", delegations)
    assert made.code == 0, made.err
    assert "to be published with: targets 3, which names who may sign it" in made.out
    wrong = released.sign(tmp_path / "r", "rosa", "--json")
    assert (wrong.code, wrong.answer["reason"]) == (20, "wrong_key")
    for person in NEW:
        assert released.sign(tmp_path / "r", person).code == 0
    released.put_in_force(delegations, tmp_path / "r")
    current: Metadata[Targets] | None = released.image().stored.published_targets(PRODUCT)
    assert current is not None
    assert [image.version for image in images(current.signed).values()] == ["1.0.0"]
    # The next release is theirs.
    stage = released.make("stage", tmp_path / "s", released.release("2.0.0", 2))
    assert "holder sven" not in stage.out
    assert "2 of rita, sven must sign it" in stage.out


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda w, p: new_holders(w, p / "d", *NEW, signers=1), "untrusted_metadata"),
        (lambda w, _: w.in_force("stage", w.release("2.0.0", 2), OLD), "wrong_kind"),
    ],
    ids=["below-threshold", "a-release"],
)
def test_what_names_no_new_holders_is_refused(
    released: World, tmp_path: Path, prepare: object, reason: str
) -> None:
    assert callable(prepare)
    event = prepare(released, tmp_path)
    made = renew(released, tmp_path / "r", "--after", event, "--json")
    assert (made.code, made.answer["reason"]) == (20, reason), made.err
    assert not (tmp_path / "r").exists()


def test_delegations_that_were_overtaken_are_refused(released: World, tmp_path: Path) -> None:
    stale = new_holders(released, tmp_path / "d", *NEW)
    released.in_force("delegate", released.delegations(""), KEY_HOLDERS[:2])
    made = renew(released, tmp_path / "r", "--after", stale, "--json")
    assert (made.code, made.answer["reason"]) == (20, "version_gap")


def test_one_product_cannot_be_reached_from_another(released: World, tmp_path: Path) -> None:
    """A supplier signs for his product, and for no path of another."""
    released.in_force(
        "delegate",
        released.delegations(role("products.infusion-bridge", 1, "sven")),
        KEY_HOLDERS[:2],
    )
    spec = released.release("1.0.0", 1, product='"infusion-bridge"')
    assert released.make("stage", tmp_path / "e", spec).code == 0
    [file] = (tmp_path / "e" / "metadata").iterdir()
    assert file.name == "1.infusion-bridge.json"
    for holder in RELEASE_MANAGERS:
        assert released.sign(tmp_path / "e", holder).code == 20
    assert released.sign(tmp_path / "e", "sven").code == 0
