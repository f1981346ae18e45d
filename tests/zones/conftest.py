"""One environment for each deployable, shared by every test that asks for it."""

from __future__ import annotations

from functools import cache

import pytest

from tests.packaging.tree import DEPLOYABLES, Distribution
from tests.zones.zone import Zone, enter

_enter = cache(enter)


@pytest.fixture(params=DEPLOYABLES, ids=str)
def zone(request: pytest.FixtureRequest) -> Zone:
    deployable: Distribution = request.param
    return _enter(deployable)


@pytest.fixture
def ceremony() -> Zone:
    [deployable] = [one for one in DEPLOYABLES if one.name == "interlock-ceremony"]
    return _enter(deployable)
