"""What is asked of this suite: attacks are short, ask a simulator, and stand in its table."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import attacks

HERE = Path(attacks.__file__ or "").parent
LONGEST = 10
MODULES = sorted(HERE.glob("test_*.py"))
ATTACKS = [path for path in MODULES if path.name != Path(__file__).name]


def attacks_of(path: Path) -> Iterator[ast.FunctionDef]:
    """The test functions of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def lines_of(test: ast.FunctionDef) -> int:
    """How many lines its body has, without its docstring."""
    body = test.body[1:] if ast.get_docstring(test) is not None else test.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_an_attack_is_ten_lines_or_fewer(path: Path) -> None:
    long = {test.name: lines_of(test) for test in attacks_of(path) if lines_of(test) > LONGEST}
    assert long == {}


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_an_attack_ends_with_an_honest_check(path: Path) -> None:
    """Which the two fixtures see to, whatever the test itself does."""
    asks = {test.name: {argument.arg for argument in test.args.args} for test in attacks_of(path)}
    assert [name for name, arguments in asks.items() if not arguments & {"sim", "siege"}] == []


def test_the_table_names_every_module() -> None:
    assert attacks.__doc__ is not None
    assert [path.stem for path in MODULES if f"``{path.stem}``" not in attacks.__doc__] == []
