"""Chains of roots: followed as far as the thresholds reach, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root

from interlock_core.errors import InterlockError
from interlock_core.root_chain import check_apart, follow, link_roots
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import REHEARSAL, parse_metadata
from tests.core.tuf_world import NOW, Ticking, World, keys, signed


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(FileStore(tmp_path), Ticking())
    made.sign_genesis()
    return made


def chain(world: World, length: int) -> list[bytes]:
    """Roots from 1, each with other holders than the one before, all but the newest expired."""
    roots, holders = [world.signed_root], world.root_keys
    for version in range(2, length + 1):
        following = keys(3)
        root = world.root(version, root=following)
        if version < length:
            root.expires = NOW - timedelta(days=1)
            root.unrecognized_fields.clear()
        roots.append(signed(root, [*holders, *following]))
        holders = following
    return roots


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(InterlockError) as refused:
        call()
    return refused.value.reason


def test_what_is_new_is_found(world: World) -> None:
    roots = chain(world, 5)
    for held in range(1, 6):
        for begins in range(6):
            if begins > held:
                continue
            followed = follow(roots[begins:], roots[:held], NOW)
            assert list(followed.texts) == roots[held:]
            assert followed.newest.version == 5


def test_the_first_of_all_is_signed_by_itself(world: World) -> None:
    assert follow(chain(world, 3), (), NOW).newest.version == 3
    alone = signed(world.root(), world.root_keys[:1])
    assert reason_of(lambda: follow([alone], (), NOW)) == "untrusted_metadata"
    assert reason_of(lambda: follow((), (), NOW)) == "untrusted_metadata"


def test_only_the_newest_must_be_fresh(world: World) -> None:
    roots = chain(world, 4)
    assert link_roots(roots)[-1].signed.version == 4
    assert reason_of(lambda: follow(roots[:3], roots[:1], NOW)) == "expired_metadata"
    # What is held already may have expired: nothing is decided by it here.
    assert follow((), roots[:3], NOW).newest.version == 3


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ([2, 4], "version_gap"),
        ([3, 4], "version_gap"),
        ([3, 2], "version_gap"),
        ([2, 2], "version_gap"),
        ([2, 3, 2], "version_gap"),
    ],
)
def test_versions_rise_by_one(world: World, order: list[int], reason: str) -> None:
    roots = chain(world, 4)
    texts = [roots[version - 1] for version in order]
    assert reason_of(lambda: follow(texts, roots[:1], NOW)) == reason


@pytest.mark.parametrize("order", [[1, 1], [3, 3], [1, 3], [2, 1, 2, 3], [1, 2, 2, 3, 4]])
def test_versions_that_are_held_rise_by_one_as_well(world: World, order: list[int]) -> None:
    roots = chain(world, 4)
    texts = [roots[version - 1] for version in order]
    assert reason_of(lambda: follow(texts, roots[:3], NOW)) == "version_gap"


def test_one_root_stands_once_in_a_chain(world: World) -> None:
    roots = chain(world, 2)
    assert reason_of(lambda: link_roots([roots[0], roots[0]])) == "version_gap"
    assert reason_of(lambda: link_roots(roots[::-1])) == "rollback"


def test_another_root_of_a_version_that_is_held(world: World) -> None:
    roots, others = chain(world, 2), chain(world, 2)
    assert reason_of(lambda: follow(others[1:], roots, NOW)) == "other_root"
    stranger = signed(world.root(), keys(3))
    assert reason_of(lambda: follow([stranger], roots, NOW)) == "other_ceremony"


def test_every_root_of_a_chain_is_held_against_the_one_before(world: World) -> None:
    roots = chain(world, 4)
    forged = signed(world.root(3, root=keys(3)), world.root_keys)
    assert reason_of(lambda: follow([roots[1], forged], roots[:1], NOW)) == "untrusted_metadata"
    rehearsed = world.root(2)
    rehearsed.unrecognized_fields[REHEARSAL] = True
    text = signed(rehearsed, world.root_keys)
    assert reason_of(lambda: follow([text], roots[:1], NOW)) == "rehearsal"


class TestApart:
    """No key signs in two places."""

    @pytest.fixture
    def director(self, world: World) -> Root:
        return world.root(
            root=keys(3), targets=keys(1), snapshot=(online := keys(1)), timestamp=online
        )

    def check(self, image: Root, director: Root) -> str | None:
        try:
            check_apart([image], [director])
        except InterlockError as e:
            return e.reason
        return None

    def test_as_the_ceremony_makes_them(self, world: World, director: Root) -> None:
        assert self.check(world.root(), director) is None

    @pytest.mark.parametrize("mine", ["root", "targets", "snapshot", "timestamp"])
    @pytest.mark.parametrize("theirs", ["root", "targets", "snapshot", "timestamp"])
    def test_a_key_of_both_repositories(
        self, world: World, director: Root, mine: str, theirs: str
    ) -> None:
        image = world.root()
        image.add_key(director.get_key(director.roles[theirs].keyids[0]), mine)
        assert self.check(image, director) == "shared_key"

    def test_a_key_that_the_other_had_before(self, world: World, director: Root) -> None:
        later = world.root(2, root=keys(3), targets=keys(1), snapshot=(on := keys(1)), timestamp=on)
        image = world.root()
        image.add_key(director.get_key(director.roles["targets"].keyids[0]), "targets")
        assert reason_of(lambda: check_apart([image], [director, later])) == "shared_key"

    @pytest.mark.parametrize("role", ["root", "targets"])
    def test_an_online_key_of_people(self, world: World, director: Root, role: str) -> None:
        image = world.root()
        image.add_key(world.image_online[0].public_key, role)
        assert self.check(image, director) == "shared_key"

    @pytest.mark.parametrize("role", ["root", "snapshot"])
    def test_a_key_of_directives_signs_nothing_else(
        self, world: World, director: Root, role: str
    ) -> None:
        director.add_key(director.get_key(director.roles["targets"].keyids[0]), role)
        assert self.check(world.root(), director) == "shared_key"


def test_the_same_key_under_another_id_is_the_same(world: World) -> None:
    shared: CryptoSigner = world.image_online[0]
    director = world.root(root=keys(3), targets=keys(1), snapshot=keys(1), timestamp=keys(1))
    key = shared.public_key
    director.add_key(type(key).from_dict("ab" * 32, key.to_dict()), "timestamp")
    image = parse_metadata(world.signed_root, Root, what="root").signed
    assert reason_of(lambda: check_apart([image], [director])) == "shared_key"
