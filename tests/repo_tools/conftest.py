"""Keys are made once; every test gets a repository of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.repo_tools.world import World, make_people


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("people")
    make_people(directory)
    return directory


@pytest.fixture(scope="session")
def beginning(people: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("beginning"), people)


@pytest.fixture(scope="session")
def delegation(beginning: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = beginning.copied(tmp_path_factory.mktemp("delegation"))
    world.delegate()
    return world


@pytest.fixture(scope="session")
def first_release(delegation: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    event = tmp_path_factory.mktemp("first") / "event"
    world = delegation.copied(tmp_path_factory.mktemp("staging"))
    made = world.make("stage", event, world.release())
    assert made.code == 0, made.err
    return event


@pytest.fixture
def world(beginning: World, tmp_path: Path) -> World:
    """A repository as the ceremony and the server's init leave it."""
    return beginning.copied(tmp_path)


@pytest.fixture
def delegated(delegation: World, tmp_path: Path) -> World:
    """A repository in which the product and the roster have their holders."""
    return delegation.copied(tmp_path)


@pytest.fixture
def staged(first_release: Path, tmp_path: Path) -> Path:
    """The first release of ``delegated``, staged and unsigned."""
    shutil.copytree(first_release, tmp_path / "event")
    return tmp_path / "event"
