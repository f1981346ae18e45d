"""Declared dependencies: each distribution names every library that its own code imports."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.tree import ALL, Distribution

# What a library brings along as part of its own interface, and so need not be named again.
COMES_WITH = {"werkzeug": "flask"}


def imported(distribution: Distribution) -> set[str]:
    found: set[str] = set()
    for path in (distribution.path / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {distribution.package}


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_distribution_declares_what_it_imports(distribution: Distribution) -> None:
    texts = distribution.project["dependencies"]
    declared: set[str] = {canonicalize_name(Requirement(text).name) for text in texts}
    providers = packages_distributions()
    undeclared = set()
    for module in imported(distribution):
        providing: set[str] = {canonicalize_name(name) for name in providers.get(module, [])}
        providing |= {canonicalize_name(module)}
        providing |= {COMES_WITH[one] for one in providing & COMES_WITH.keys()}
        if not providing & declared:
            undeclared.add(module)
    assert undeclared == set()


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_distribution_imports_what_it_declares(distribution: Distribution) -> None:
    modules: dict[str, str] = {
        canonicalize_name(name): module
        for module, names in packages_distributions().items()
        for name in names
    }
    names = {
        str(canonicalize_name(Requirement(text).name))
        for text in distribution.project["dependencies"]
    }
    used = imported(distribution)
    assert {
        name for name in names if modules.get(name, name.replace("-", "_")) not in used
    } == set()
