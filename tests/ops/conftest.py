"""Fixtures of the operators' side."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.world import OPS_ROSTER, Original, Place, Served, StandIn, Ticking, build


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return build(tmp_path_factory.mktemp("ops"))


@pytest.fixture
def place(original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An operator's workstation with an honest server."""
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    home = tmp_path / "home"
    shutil.copytree(original.home, home)
    clock = Ticking()
    stand_in = StandIn(OPS_ROSTER, clock, original.store)
    served = Served(stand_in)
    try:
        yield Place(home, clock, stand_in, served.url)
    finally:
        served.close()
