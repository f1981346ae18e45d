"""One place for each program, shared by all tests: each puts it back as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.sweep.commands import Place, hasty
from tests.sweep.zones import ZONES


@pytest.fixture(autouse=True)
def _hasty() -> Iterator[None]:
    with hasty():
        yield


@pytest.fixture(scope="session")
def place_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Place]]:
    """The place of a program, made when it is first asked for."""
    made: dict[str, Place] = {}

    def find(program: str) -> Place:
        if program not in made:
            with hasty():
                made[program] = ZONES[program].place(tmp_path_factory.mktemp(program))
        return made[program]

    yield find
    for place in made.values():
        place.close()
