"""Declared dependencies: each distribution names every library that its own code imports.

What only some zones need is an extra of core: core imports it where it is used, and the zones that
use that part of core ask for the extra.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.tree import ALL, CORE, DEPLOYABLES, Distribution

# What a library brings along as part of its own interface, and so need not be named again.
COMES_WITH = {
    "boto3": "securesystemslib[awskms]",
    "botocore": "securesystemslib[awskms]",
    "python-pkcs11": "securesystemslib[hsm]",
    "werkzeug": "flask",
}

STANDARD_LATER = {"compression"}
"""What belongs to the standard library from Python 3.14 on, and is imported there alone."""


def extras(distribution: Distribution) -> list[str]:
    """What all extras of a distribution ask for."""
    optional = distribution.project.get("optional-dependencies", {})
    return [text for texts in optional.values() for text in texts]


def modules_of(nodes: Iterable[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def when_loaded(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is loaded: everything outside functions and type checking."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from when_loaded(child)


def imported(
    distribution: Distribution, walk: Callable[[ast.AST], Iterator[ast.AST]] = ast.walk
) -> set[str]:
    found: set[str] = set()
    for path in (distribution.path / "src").rglob("*.py"):
        found |= modules_of(walk(ast.parse(path.read_text())))
    return found - sys.stdlib_module_names - STANDARD_LATER - {distribution.package}


def names_of(texts: Iterable[str]) -> set[str]:
    """The distributions that requirements name, bare and with each extra that they ask for."""
    found: set[str] = set()
    for requirement in map(Requirement, texts):
        name = canonicalize_name(requirement.name)
        found |= {name, *(f"{name}[{extra}]" for extra in requirement.extras)}
    return found


def undeclared(modules: set[str], texts: Iterable[str]) -> set[str]:
    """The modules that no requirement of ``texts`` brings."""
    declared = names_of(texts)
    providers = packages_distributions()
    found = set()
    for module in modules:
        providing: set[str] = {canonicalize_name(name) for name in providers.get(module, [])}
        providing |= {canonicalize_name(module)}
        providing |= {COMES_WITH[one] for one in providing & COMES_WITH.keys()}
        if not providing & declared:
            found.add(module)
    return found


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_distribution_declares_what_it_imports(distribution: Distribution) -> None:
    everything = [*distribution.project["dependencies"], *extras(distribution)]
    assert undeclared(imported(distribution), everything) == set()


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_what_an_extra_brings_is_imported_only_where_it_is_used(distribution: Distribution) -> None:
    assert undeclared(
        imported(distribution, when_loaded), distribution.project["dependencies"]
    ) == (set())


def test_core_has_extras_and_the_gateway_asks_for_none_and_has_one_of_its_own() -> None:
    asking = {
        one.name: sorted(
            extra
            for requirement in map(Requirement, one.project["dependencies"])
            if requirement.name == CORE.name
            for extra in requirement.extras
        )
        for one in DEPLOYABLES
    }
    assert set(CORE.project["optional-dependencies"]) == {"log", "tokens", "words"}
    # What a gateway with a TPM needs, and no other.
    assert [one.name for one in DEPLOYABLES if extras(one)] == ["interlock-client"]
    assert asking == {
        "interlock-client": [],
        "interlock-server": ["log", "tokens"],
        "interlock-ops": ["log", "tokens"],
        "interlock-repo": ["tokens", "words"],
        "interlock-ceremony": ["tokens", "words"],
    }


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_distribution_imports_what_it_declares(distribution: Distribution) -> None:
    modules: dict[str, str] = {
        canonicalize_name(name): module
        for module, names in packages_distributions().items()
        for name in names
    }
    names = {
        str(canonicalize_name(Requirement(text).name))
        for text in [*distribution.project["dependencies"], *extras(distribution)]
    }
    used = imported(distribution)
    assert {
        name for name in names if modules.get(name, name.replace("-", "_")) not in used
    } == set()
