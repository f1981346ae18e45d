"""A ceremony that was held, once; and a place to hold others in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock_core import keys
from tests.keys_ceremony.stage import CHEAP, ONLINE, Stage, passphrase
from tests.support import haste


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A place where a ceremony can be held."""
    home = tmp_path / "stage"
    home.mkdir()
    return Stage.setup(home)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A place where a ceremony was held; nobody may change it."""
    return Stage.setup(tmp_path_factory.mktemp("original")).done()


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Another place where another ceremony was held, by the same script."""
    return Stage.setup(tmp_path_factory.mktemp("other")).done()


@pytest.fixture
def held(original: Stage, tmp_path: Path) -> Stage:
    """A copy of it."""
    return Stage(Path(shutil.copytree(original.home, tmp_path / "held")))


@pytest.fixture
def hasty() -> Iterator[None]:
    """Ceremonies by the hundred, without scrypt and flushes."""
    with haste.hasty():
        yield


@pytest.fixture(scope="session")
def hasty_made(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A place where a ceremony was held hastily; nobody may change it."""
    with haste.hasty():
        stage = Stage.setup(tmp_path_factory.mktemp("hasty"))
        shutil.rmtree(stage.home / "online")
        for name in ONLINE:  # under passwords that are derived as hastily as all others here
            directory = stage.home / "online"
            keys.new_key(directory, name, "ed25519", passphrase(name), scrypt_n=CHEAP)
        return stage.done()


@pytest.fixture
def hasty_original(hasty_made: Stage, tmp_path: Path) -> Stage:
    """A copy of it, for tests that are ``hasty``."""
    return Stage(Path(shutil.copytree(hasty_made.home, tmp_path / "hasty")))
