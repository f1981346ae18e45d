"""One gateway, and a server that the attacker controls, for every test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.simulator import Simulator
from tests.server.conftest import bench, fleet, signers, template

__all__ = ["bench", "fleet", "signers", "sim", "template"]


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power goes in earnest: what was announced as flushed is enough, and far faster."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path) as simulator:
        yield simulator
