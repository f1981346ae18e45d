"""Keys are made once; every test gets a repository of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo_tools.world import World, make_people


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("people")
    make_people(directory)
    return directory


@pytest.fixture
def world(tmp_path: Path, people: Path) -> World:
    return World(tmp_path, people)


@pytest.fixture
def delegated(world: World) -> World:
    """A repository in which the product and the roster have their holders."""
    world.delegate()
    return world


@pytest.fixture
def staged(delegated: World, tmp_path: Path) -> Path:
    """A first release, staged and unsigned."""
    event = tmp_path / "event"
    made = delegated.make("stage", event, delegated.release())
    assert made.code == 0, made.err
    return event
