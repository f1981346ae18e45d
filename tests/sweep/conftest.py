"""One place for each program, shared by all tests: each puts it back as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.server.world import NOW, V1, Bench, Fleet
from tests.support.haste import hasty
from tests.support.papers import claim
from tests.sweep.commands import Place
from tests.sweep.endpoints import ENDPOINTS, ENROLLED, OPEN, ORDER, RECALL, ask, good
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


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One server for all bad requests: none of them may change it.

    Whatever the good ones store is stored already, so that they may be repeated.
    """
    with hasty():
        bench = Bench(Fleet(tmp_path_factory.mktemp("server") / "fleet", NOW))
    bench.found()
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    bench.say_all(ORDER, RECALL, claim(), claim(OPEN))
    bench.let_in(ENROLLED)
    for name in ENDPOINTS:
        if name.startswith("POST"):
            assert ask(bench, good(bench, name, {})).status_code in {200, 201, 204}, name
    yield bench
    bench.back.database.close()
