"""Who may release what: delegation events."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from interlock_core import keys
from interlock_core.errors import RefusedError
from interlock_core.keys import load_public_key
from interlock_core.tuf_metadata import issued_of
from interlock_repo.delegations import check_delegations
from tests.repo_tools.world import (
    KEY_HOLDERS,
    PASSPHRASE,
    PRODUCT,
    RELEASE_MANAGERS,
    ROSTER_HOLDERS,
    Said,
    World,
    role,
    tool,
)


def delegations(event: Path) -> Targets:
    [file] = (event / "metadata").iterdir()
    return Metadata[Targets].from_bytes(file.read_bytes()).signed


@pytest.mark.parametrize("source", ["store", "ceremony"])
def test_the_first_delegations(world: World, tmp_path: Path, source: str) -> None:
    made = world.make(
        "delegate", tmp_path / "e", world.delegations(), "--repository", tmp_path / source
    )
    assert made.code == 0, made.err
    targets = delegations(tmp_path / "e")
    assert targets.version == 2
    assert targets.delegations is not None
    roles = targets.delegations.roles
    assert roles is not None
    assert roles[PRODUCT].paths == [f"{PRODUCT}/*/*"]
    assert roles["interlock"].paths == ["interlock/*"]
    assert all(role.terminating and role.threshold == 2 for role in roles.values())
    assert roles[PRODUCT].unrecognized_fields["holders"] == {
        load_public_key(world.public(name)).key.keyid: name for name in RELEASE_MANAGERS
    }
    issued = issued_of(targets)
    assert issued is not None
    assert (targets.expires - issued).days == 365


def test_a_change_keeps_the_other_roles_and_drops_unused_keys(
    delegated: World, tmp_path: Path
) -> None:
    spec = delegated.delegations(role(f"products.{PRODUCT}", 1, "rosa", "sven"))
    made = delegated.make("delegate", tmp_path / "e", spec)
    assert made.code == 0, made.err
    targets = delegations(tmp_path / "e")
    assert targets.delegations is not None
    assert set(targets.delegations.roles or {}) == {PRODUCT, "interlock"}
    named = {
        load_public_key(delegated.public(n)).key.keyid for n in ("rosa", "sven", "tom", "tess")
    }
    assert set(targets.delegations.keys) == named
    assert "holder sven" in made.out
    assert "- holder rita" in made.out
    assert "2 of 3 must sign -> 1 of 2 must sign" in made.out


def test_an_empty_file_renews(delegated: World, tmp_path: Path) -> None:
    made = delegated.make(
        "delegate", tmp_path / "e", delegated.delegations(""), "--lifetime-days", "30"
    )
    assert made.code == 0, made.err
    assert "Nothing changes but the version and the expiry" in made.out
    assert delegations(tmp_path / "e").version == 3


REFUSED = {
    "reserved name": (role("products.snapshot", 1, "rosa"), "bad_name"),
    "interlock as a product": (role("products.interlock", 1, "rosa"), "bad_name"),
    "capitals": (role("products.Ward", 1, "rosa"), "bad_name"),
    "threshold too high": (role("products.other", 2, "rosa"), "bad_threshold"),
    "threshold nought": (role("products.other", 0, "rosa"), "bad_threshold"),
    "no holders": (role("products.other", 1), "bad_threshold"),
    "one key twice": (role("products.other", 1, "rosa", "rosa"), "shared_key"),
    "another product's key": (role("products.other", 1, "rosa"), "shared_key"),
    "two products with one key": (
        role("products.other", 1, "sven") + role("products.third", 1, "sven"),
        "shared_key",
    ),
    "a release manager holds the roster": (role("interlock", 1, "rosa", "tom"), "same_holders"),
    "a roster holder releases": (role("products.other", 1, "tom"), "same_holders"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_and_nothing_is_made(delegated: World, tmp_path: Path, case: str) -> None:
    text, reason = REFUSED[case]
    made = delegated.make("delegate", tmp_path / "e", delegated.delegations(text), "--json")
    assert made.code == 20, made.err
    assert made.answer["outcome"] == "refused"
    assert made.answer["reason"] == reason
    assert not (tmp_path / "e").exists()
    assert not list(tmp_path.glob(".*"))


def test_one_key_under_two_names_is_refused(delegated: World, tmp_path: Path) -> None:
    signer = keys.load_signer(delegated.private("rosa"), lambda _: PASSPHRASE)
    delegated.public("rosalind").write_bytes(keys.public_key_file("rosalind", signer))
    spec = delegated.delegations(role("products.other", 2, "rosa", "rosalind"))
    made = delegated.make("delegate", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "shared_key")


def test_one_person_with_two_keys_in_a_role_is_refused(delegated: World, tmp_path: Path) -> None:
    keys.new_key(tmp_path / "keys" / "second", "rosa", "ecdsa-sha2-nistp256", PASSPHRASE)
    spec = delegated.delegations(role("products.other", 2, "rosa", "second/rosa"))
    made = delegated.make("delegate", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "same_person")


def test_the_same_person_with_another_key_may_not_hold_the_roster_too(
    delegated: World, tmp_path: Path
) -> None:
    keys.new_key(tmp_path / "keys" / "second", "rosa", "ed25519", PASSPHRASE)
    spec = delegated.delegations(role("interlock", 1, "second/rosa"))
    made = delegated.make("delegate", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "same_holders")


def test_a_key_file_with_another_name_is_refused(delegated: World, tmp_path: Path) -> None:
    stolen = json.loads(delegated.public("rosa").read_text())
    stolen["name"] = "mallory"
    delegated.public("mallory").write_text(
        json.dumps(stolen, separators=(",", ":"), sort_keys=True)
    )
    spec = delegated.delegations(role("products.other", 1, "mallory"))
    made = delegated.make("delegate", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "bad_proof")


def test_holders_may_not_change_under_a_release_that_they_did_not_sign(
    delegated: World, tmp_path: Path
) -> None:
    delegated.in_force("stage", delegated.release(), ("rosa", "raul"))
    spec = delegated.delegations(role(f"products.{PRODUCT}", 2, "rosa", "sven"))
    made = delegated.make("delegate", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "orphaned_role")
    spec = delegated.delegations(role(f"products.{PRODUCT}", 2, "rosa", "raul", "sven"))
    assert delegated.make("delegate", tmp_path / "e", spec).code == 0


@pytest.mark.parametrize("source", ["store", "ceremony"])
def test_a_key_that_left_a_role_does_not_come_back(
    delegated: World, tmp_path: Path, source: str
) -> None:
    """A gateway that was switched off meanwhile cannot know that it was gone."""
    without, back = (
        role(f"products.{PRODUCT}", 2, *names) for names in (("raul", "rita"), ("raul", "rosa"))
    )
    delegated.delegate(without)
    delegated.delegate(role(f"products.{PRODUCT}", 2, "raul", "rita", "sven"))
    where = delegated.store.root if source == "store" else tmp_path / "output"
    if source == "ceremony":
        shutil.copytree(delegated.store.root / "image" / "metadata", where / "image")

    def made(text: str, event: str) -> Said:
        return tool(
            "delegate", "--event", tmp_path / event, "--repository", where,
            "--root", delegated.root_file, delegated.delegations(text), "--json",
        )  # fmt: skip

    refused = made(back, "e")
    assert (refused.code, refused.answer["reason"]) == (20, "retired_key"), refused.err
    assert "rosa's key held ward-gateway in the delegations 2" in refused.err
    assert not (tmp_path / "e").exists()
    # Elsewhere it may begin, and with a new key its holder may return.
    assert made(role("products.other", 1, "rosa"), "other").code == 0
    delegated.public("rosa").unlink()
    delegated.private("rosa").unlink()
    keys.new_key(delegated.keys, "rosa", "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    assert made(back, "again").code == 0


def test_a_key_holds_two_products_where_that_is_said(delegated: World, tmp_path: Path) -> None:
    spec = delegated.delegations(role("products.other", 1, "rosa") + "shares_keys = true\n")
    made = delegated.make("delegate", tmp_path / "e", spec)
    assert made.code == 0, made.err
    assert "+ shares_keys: true" in made.out
    for name in KEY_HOLDERS[:2]:
        assert delegated.sign(tmp_path / "e", name).code == 0
    delegated.put_in_force(tmp_path / "e")
    # It stays said while the role stays as it is.
    renewed = delegated.make("delegate", tmp_path / "f", delegated.delegations(""))
    assert renewed.code == 0, renewed.err


def test_a_hybrid_role_needs_two_people_beyond_either_family(
    delegated: World, tmp_path: Path
) -> None:
    for name in ("petra", "piet"):
        keys.new_key(delegated.keys, name, "ml-dsa-65/1", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
    for threshold, reason in ((3, "weak_hybrid"), (4, "staged")):
        spec = delegated.delegations(
            role("products.other", threshold, "sven", "erik", "petra", "piet")
        )
        made = delegated.make("delegate", tmp_path / "e", spec, "--json")
        assert made.answer["reason"] == reason, made.err
    spec = delegated.delegations(role("products.other", 3, "sven", "erik", "petra"))
    made = delegated.make("delegate", tmp_path / "f", spec)
    assert made.code == 20
    assert "2 classical and 1 post-quantum" in made.err


def test_key_holders_of_the_root_sign_delegations(world: World, tmp_path: Path) -> None:
    world.make("delegate", tmp_path / "e", world.delegations())
    refused = world.sign(tmp_path / "e", RELEASE_MANAGERS[0], "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "wrong_key")
    for name in KEY_HOLDERS[1:]:
        assert world.sign(tmp_path / "e", name).code == 0
    world.put_in_force(tmp_path / "e")
    assert world.make("roster", tmp_path / "r", world.roster()).code == 0
    assert ROSTER_HOLDERS[0] in world.make("roster", tmp_path / "r2", world.roster()).out


def test_nobody_hides_behind_the_name_of_another() -> None:
    """Whoever made the metadata: signers are shown one line for each name."""
    listed = [CryptoSigner.generate_ed25519().public_key for _ in range(3)]
    names = dict(zip([key.keyid for key in listed], ["ada", "ben", "ada"], strict=True))
    acme = DelegatedRole("acme", [], 2, True, paths=["acme/*/*"])
    acme.unrecognized_fields["holders"] = names
    targets = Targets(delegations=Delegations({}, {"acme": acme}))
    for key in listed:
        targets.add_key(key, "acme")
    with pytest.raises(RefusedError) as refused:
        check_delegations(targets)
    assert refused.value.reason == "same_person"
    names[listed[2].keyid] = "cleo"
    check_delegations(targets)
