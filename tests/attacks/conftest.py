"""What every attack is given: one gateway and a server that the attacker controls, or a server
that he attacks and a gateway that polls it. Both end each test with an honest check.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.siege import Siege
from tests.attacks.simulator import Simulator
from tests.attacks.tally import ATTACK
from tests.server.conftest import bench, fleet, signers, template
from tests.server.world import Bench

__all__ = ["bench", "fleet", "siege", "signers", "sim", "template"]


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power goes in earnest: what was announced as flushed is enough, and far faster."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def sim(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[Simulator]:
    record_property(ATTACK, True)
    with Simulator(tmp_path) as simulator:
        yield simulator


@pytest.fixture
def siege(
    bench: Bench,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> Iterator[Siege]:
    record_property(ATTACK, True)
    with Siege(bench, tmp_path / "gateway", caplog) as made:
        yield made
