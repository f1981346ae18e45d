"""docs/threat-model.md is true: pointers lead to tests, names and numbers are the code's."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.removals.removal import Removal
from infra.removals.table import ALL, read_table
from interlock_core.facts import Reason, exit_of
from tests.packaging.tree import TOP

TEXT = (TOP / "docs" / "threat-model.md").read_text()
POINTER = re.compile(r"`(tests/[\w/]+\.py(?:::\w+)*)`")
NAME = re.compile(r"`([a-z]+(?:_[a-z]+)+|stopped|spread|rollback|malformed|moved|network|disk)`")
WHERE = re.compile(r"`(interlock_\w+(?:\.\w+)*):([\w.]+)`")
LATER = ("the gateway",)
ATTACKS = sorted(
    {*(TOP / "tests/attacks").glob("test_*.py")} - {TOP / "tests/attacks/test_suite.py"}
)


def section(number: int) -> str:
    """One numbered section of the document."""
    found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but the heads."""
    lines = text.splitlines()
    kept = [
        line
        for line, below in pairwise([*lines, ""])
        if line.startswith("|") and not line.startswith("|--") and not below.startswith("|--")
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]


@cache
def source_of(path: Path) -> str:
    return path.read_text()


@cache
def names_in(path: Path) -> frozenset[str]:
    """The test functions of a module as pointers have them: ``test_x`` or ``TestY::test_x``."""
    found = set[str]()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                found.add(f"{prefix}{node.name}")
                collect(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(f"{prefix}{node.name}")

    collect(ast.parse(path.read_text()).body, "")
    return frozenset(found)


def stands(pointer: str) -> bool:
    """Whether a pointer leads to a module, a class or a test."""
    name, _, rest = pointer.partition("::")
    path = TOP / name
    return path.is_file() and (not rest or rest in names_in(path))


def is_covered(module: str, test: str, pointers: set[str]) -> bool:
    """Whether a test, its class or its module is pointed at."""
    parts = test.split("::")
    return bool({module, *(f"{module}::{'::'.join(parts[:n])}" for n in (1, 2))} & pointers)


class TestPointers:
    def test_each_leads_to_a_test(self) -> None:
        pointers = POINTER.findall(TEXT)
        assert len(pointers) > 80
        assert [pointer for pointer in pointers if not stands(pointer)] == []

    def test_every_row_has_one_or_says_what_it_waits_for(self) -> None:
        without = [
            attacker
            for attacker, outcome, shown in rows(section(5))
            if not POINTER.search(shown) and not any(later in outcome for later in LATER)
        ]
        assert without == []

    @pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
    def test_every_attack_stands_in_some_row(self, path: Path) -> None:
        module = path.relative_to(TOP).as_posix()
        pointers = set(POINTER.findall(section(5)))
        tests = [test for test in names_in(path) if "test_" in test]
        assert [test for test in sorted(tests) if not is_covered(module, test, pointers)] == []

    def test_no_issue_is_called_by_its_number(self) -> None:
        assert re.findall(r"[Ii]ssue #?\d|#\d", TEXT) == []


class TestNames:
    def test_every_reason_of_a_decision_stands_there_with_its_exit_code(self) -> None:
        table = {cells[0].strip("`"): cells[1:] for cells in rows(section(8))}
        missing = [reason for reason in Reason if reason.value not in table]
        assert missing == []
        for reason in Reason:
            code, meaning = table[reason.value]
            assert int(code) == exit_of(reason), reason
            assert len(meaning) > 10, reason

    def test_every_name_of_a_row_is_explained(self) -> None:
        known = {name for cells in rows(section(8)) for name in NAME.findall(cells[0])}
        known |= set(NAME.findall(section(8)))
        used = {name for _, outcome, _ in rows(section(5)) for name in NAME.findall(outcome)}
        assert used - known == set()

    def test_nothing_is_explained_that_does_not_exist(self) -> None:
        decided = {reason.value for reason in Reason}
        explained = {cells[0].strip("`") for cells in rows(section(8))}
        sources = "".join(
            path.read_text()
            for zone in ("core/src", "client/src")
            for path in (TOP / zone).rglob("*.py")
        )
        raised = {name for name in explained - decided if f'"{name}"' in sources}
        assert explained == decided | raised


def value_of(where: re.Match[str]) -> Any:
    """What a pointer into the code names."""
    value: Any = importlib.import_module(where[1])
    for name in where[2].split("."):
        if isinstance(value, type) and issubclass(value, msgspec.Struct):
            value = {field.name: field.default for field in msgspec.structs.fields(value)}
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def amount(text: str) -> timedelta | float:
    """``10 days``, ``65,536 bytes``, ``3``."""
    number, _, unit = text.replace(",", "").partition(" ")
    units = {"days": 1440, "minutes": 1}
    return timedelta(minutes=int(number) * units[unit]) if unit in units else float(number)


class TestNumbers:
    NUMBERS = tuple(cells for cells in rows(section(4)) if len(cells) == 3)

    @pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row[0])
    def test_each_is_the_codes(self, row: list[str]) -> None:
        _, said, where = row
        found = WHERE.fullmatch(where)
        assert found is not None, where
        value, written = value_of(found), amount(said)
        if isinstance(written, timedelta) and not isinstance(value, timedelta):
            value = timedelta(days=value)
        assert value == written

    def test_what_is_said_in_bold_is_one_of_them(self) -> None:
        known = {amount(cells[1]) for cells in self.NUMBERS}
        said = re.findall(r"\*\*(\d+ (?:days|minutes))\*\*", TEXT)
        assert len(said) > 15
        assert [text for text in said if amount(text) not in known] == []

    def test_every_period_of_the_exposures_is_in_bold(self) -> None:
        """So that none of them escapes the test above."""
        text = section(3) + section(4).partition("The numbers are")[0]
        assert re.findall(r"(?<!\*\*)\b\d+ (?:days|minutes|hours|weeks)\b", text) == []


class TestRemovals:
    """What ``python -m infra.removals`` takes away; it runs by itself, these keep it runnable."""

    def test_each_check_stands_where_it_is_looked_for(self) -> None:
        lost = [removal.what for removal in ALL if not self.can_be_made(removal)]
        assert lost == []

    @staticmethod
    def can_be_made(removal: Removal) -> bool:
        source = source_of(removal.path(TOP))
        try:
            return removal.apply(source) != source
        except ValueError:
            return False

    def test_each_names_tests_that_exist(self) -> None:
        lost = {removal.what: test for removal in ALL for test in removal.tests if not stands(test)}
        assert lost == {}
        assert all(removal.tests for removal in ALL)

    def test_each_has_a_name_of_its_own(self) -> None:
        assert len({removal.what for removal in ALL}) == len(ALL)

    def test_each_was_noticed_by_a_test_that_exists(self) -> None:
        noticed = read_table(TEXT)
        assert list(noticed) == [removal.what for removal in ALL]
        assert [test for test in noticed.values() if not stands(test)] == []
