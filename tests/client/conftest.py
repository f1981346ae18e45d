"""A fleet, its server and one gateway for every test that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.bed import Bed
from tests.client.fleet import Fleet
from tests.client.web import Web
from tests.client.world import World


@pytest.fixture(autouse=True)
def _no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power goes in earnest: what was announced as flushed is enough, and far faster."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def web(world: World) -> Iterator[Web]:
    with Web(world.store) as serving:
        yield serving


@pytest.fixture
def bed(tmp_path: Path, world: World, web: Web) -> Bed:
    made = Bed(tmp_path / "gateway", world, web)
    made.power_on()
    return made


@pytest.fixture
def fleet(web: Web) -> Fleet:
    """The fleet's side of the server."""
    made = Fleet()
    made.answers(web)
    return made
