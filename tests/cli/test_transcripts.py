"""Every transcript beside this file runs, and says what it said when it was written."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

import pytest

from tests.cli import transcript
from tests.cli.shell import play
from tests.cli.transcript import Given
from tests.cli.worlds import Worlds

FILES: Final = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    return Worlds(tmp_path_factory.mktemp("worlds"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_goes_as_it_is_written(file: Path, worlds: Worlds, tmp_path: Path) -> None:
    text = file.read_text()
    items = transcript.read(text)
    assert transcript.render(items) == text, "not in the form that is written back"
    given = next((one.name for one in items if isinstance(one, Given)), "nothing")
    with worlds.given(given, tmp_path / "home") as shell:
        said = transcript.render(play(items, shell))
    difference = difflib.unified_diff(
        text.splitlines(), said.splitlines(), "written", "said", lineterm="", n=6
    )
    assert said == text, "\n".join(difference)
