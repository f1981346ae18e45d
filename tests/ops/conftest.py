"""Fixtures of the operators' side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.monitored import Watched, Watcher, made
from tests.ops.world import Original, Place, at_work, build


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return build(tmp_path_factory.mktemp("ops"))


@pytest.fixture
def place(original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An operator's workstation with an honest server."""
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    with at_work(original, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A real server and devices to be watched, closed: tests work in copies."""
    fleet = made(tmp_path_factory.mktemp("grown"))
    fleet.real.close()
    return fleet


@pytest.fixture
def watched(grown: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """A copy of it, running."""
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    fleet = grown.copy(tmp_path)
    yield fleet
    fleet.real.close()


@pytest.fixture
def mona(watched: Watched) -> Iterator[Watcher]:
    """A monitor of it."""
    watcher = Watcher(watched)
    yield watcher
    watcher.stop()
