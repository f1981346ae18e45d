"""A ceremony that was held, once; and a place to hold others in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interlock_core import encrypted_keys
from tests.keys_ceremony.stage import Stage


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
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive passwords without scrypt, where hundreds of ceremonies are held."""
    monkeypatch.setattr(encrypted_keys, "_password", lambda passphrase, _: passphrase.encode())
