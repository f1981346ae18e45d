"""The Makefile and CI: the targets of the contract, and what they run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import LONG, TESTS, pytest_collection_modifyitems
from tests.packaging.stubs import Stubs
from tests.packaging.tree import TOP

CONTRACT = ("demo", "test", "bench", "lock")


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    return Stubs(tmp_path / "bin")


def test_help_names_every_target_of_the_contract(stubs: Stubs) -> None:
    shown = stubs.run("make", "--no-print-directory", cwd=TOP)
    assert shown.returncode == 0, shown.stderr
    named = re.findall(r"^make (\w+) +\S", shown.stdout, re.MULTILINE)
    assert {*CONTRACT, "setup", "clean"} <= set(named)


@pytest.mark.parametrize("target", ["demo", "test", "bench"])
def test_a_target_sets_up_what_it_needs_first(stubs: Stubs, target: str) -> None:
    planned = stubs.run("make", "--dry-run", "--always-make", target, cwd=TOP)
    assert planned.returncode == 0, planned.stderr
    commands = planned.stdout.splitlines()
    venv, packages = (
        next(i for i, line in enumerate(commands) if script in line)
        for script in ("infra/setup/venv.sh", "infra/setup/system_packages.sh")
    )
    first_use = next(i for i, line in enumerate(commands) if line.startswith(".venv/bin/"))
    # Something in the lock is built from its source, with what the packages hold.
    assert packages < venv < first_use


def test_make_test_runs_every_check_and_pytest_last(stubs: Stubs) -> None:
    planned = stubs.run("make", "--dry-run", "--always-make", "test", cwd=TOP).stdout
    used = re.findall(r"^\.venv/bin/(\S+(?: -m pytest| format)?)", planned, re.MULTILINE)
    assert used == ["ruff", "ruff format", "mypy", "lint-imports", "python -m pytest"]


def test_the_longest_tests_begin_first_and_all_others_keep_their_order() -> None:
    # What was renamed would begin late again, and nobody would notice.
    assert [long for long in LONG if not (TESTS / long).exists()] == []
    names = ("core/test_a.py", "flow/test_b.py", "sweep/test_c.py", LONG[-1], "core/test_d.py")
    items: list[Any] = [SimpleNamespace(path=TESTS / name) for name in names]
    pytest_collection_modifyitems(items)
    assert [item.path for item in items] == [TESTS / names[i] for i in (1, 3, 0, 2, 4)]


def test_ci_runs_make_test_at_the_top_and_fails_with_it(stubs: Stubs, tmp_path: Path) -> None:
    stubs.add("make", "pwd\nexit 7")
    ran = stubs.run(TOP / ".ci" / "run", cwd=tmp_path)
    assert stubs.calls("make") == ["test"]
    assert ran.stdout.strip() == str(TOP)
    assert ran.returncode == 7
