"""What every attack is given: one gateway and a server that the attacker controls, or a server
that he attacks and a gateway that polls it. Both end each test with an honest check.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock_server.online_keys import Signers
from tests.attacks.siege import ON_FILE, Siege
from tests.attacks.simulator import Simulator
from tests.attacks.tally import ATTACK
from tests.server.conftest import signers, template
from tests.server.world import Bench, Fleet

__all__ = ["almost", "siege", "signers", "sim", "template"]


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power goes in earnest: what was announced as flushed is enough, and far faster."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def sim(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[Simulator]:
    record_property(ATTACK, True)
    with Simulator(tmp_path) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def almost(template: Fleet, signers: Signers, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A founded fleet in which an honest rollout lacks one word; tests work on copies."""
    fleet = template.copy(tmp_path_factory.mktemp("almost") / "fleet")
    bench = Bench(fleet, signers)
    bench.restart()
    bench.say_all(*ON_FILE)
    bench.back.database.close()
    return fleet


@pytest.fixture
def siege(
    almost: Fleet,
    signers: Signers,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> Iterator[Siege]:
    record_property(ATTACK, True)
    bench = Bench(almost.copy(tmp_path / "fleet"), signers)
    bench.restart()
    with Siege(bench, tmp_path / "gateway", caplog) as made:
        yield made
    bench.back.database.close()
