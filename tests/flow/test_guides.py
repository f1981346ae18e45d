"""Whoever types what a guide or a playbook says sees what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock_core.clock import system_clock
from tests.cli.transcript import File
from tests.cli.worlds import Worlds
from tests.flow.guides import DOCS, desk, differs, read

GUIDES = sorted([*DOCS.glob("guides/*.md"), *DOCS.glob("playbooks/*.md")])


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(tmp_path_factory.mktemp("worlds"), system_clock())


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_what_it_says_is_what_happens(path: Path, worlds: Worlds, tmp_path: Path) -> None:
    guide = read(path)
    with desk(worlds, guide.given, tmp_path / "home") as made:
        for act in guide.acts:
            if isinstance(act, File):
                made.write(act)
            else:
                wrong = differs(act, made.follow(act), made.shell.known)
                assert wrong is None, f"{path.name} says otherwise than:\n{wrong}"
