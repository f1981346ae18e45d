"""Locks: complete, hashed, of one mind, and silent about where packages come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.tree import ALL, TOP, Distribution, pins

DEVELOPMENT = TOP / "requirements.lock"
LOCKS = [DEVELOPMENT, *(distribution.lock for distribution in ALL)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(TOP)))
def test_a_lock_pins_every_requirement_by_hash_and_names_no_host(lock: Path) -> None:
    logical = lock.read_text().replace("\\\n", " ").splitlines()
    requirements = [line for line in logical if line.strip() and not line.strip().startswith("#")]
    assert requirements
    for line in requirements:
        assert re.match(r"[a-z0-9-]+==\S+ ", line), f"not a pinned requirement: {line[:80]}"
        assert re.search(r" --hash=sha256:[0-9a-f]{64}\b", line), f"no hash: {line[:80]}"
    assert "://" not in lock.read_text()
    assert not re.search(r"index|find-links|\.org|\.com", lock.read_text())


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_lock_satisfies_what_its_distribution_declares(distribution: Distribution) -> None:
    locked = pins(distribution.lock)
    declared = [Requirement(text) for text in distribution.project["dependencies"]]
    ours = {one.name for one in ALL}
    for requirement in declared:
        if requirement.name in ours:
            continue
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is declared and not locked: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} and {version}"


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_distribution_runs_on_the_versions_that_were_tested(distribution: Distribution) -> None:
    assert pins(distribution.lock).items() <= pins(DEVELOPMENT).items()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(TOP)))
def test_our_own_names_are_in_no_lock_so_no_index_is_asked_for_them(lock: Path) -> None:
    assert not [name for name in pins(lock) if name.startswith("interlock")]


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_no_registry_would_accept_an_upload(distribution: Distribution) -> None:
    assert "Private :: Do Not Upload" in distribution.project["classifiers"]
    assert distribution.project["license"] == "Apache-2.0"


def test_the_development_lock_holds_the_tools_that_the_root_names() -> None:
    root = tomllib.loads((TOP / "pyproject.toml").read_text())
    locked = pins(DEVELOPMENT)
    for text in root["dependency-groups"]["dev"]:
        assert canonicalize_name(Requirement(text).name) in locked, f"{text}: run make lock"
