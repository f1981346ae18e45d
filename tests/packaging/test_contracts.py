"""Import contracts: each one fails when somebody plants what it forbids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.packaging.tree import ALL, CORE, TOP

SETTINGS = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]
# The modules of core that act (on files, keys, the store, a network) or are made of tuf's types.
ACTING = {
    "answers",
    "ceremony_output",
    "certificates",
    "credentials",
    "decommissioned",
    "disk",
    "durable",
    "encrypted_keys",
    "http",
    "keys",
    "listing",
    "new_keys",
    "released",
    "root_chain",
    "store",
    "token_keys",
    "token_turn",
    "tokens",
    "tuf_metadata",
    "tuf_repository",
    "tuf_stored",
    "withdrawn",
    "words",
}

PLANTS = [
    ("zones", "interlock_client", "import interlock_server"),
    ("zones", "interlock_ops", "import interlock_server"),
    ("zones", "interlock_ceremony", "import interlock_repo"),
    ("zones", "interlock_core", "import interlock_client"),
    ("pure", "interlock_core.names", "import os"),
    ("pure", "interlock_core.order", "import time"),
    ("pure", "interlock_core.statement", "import tuf.api.metadata"),
    ("client", "interlock_client", "import sqlalchemy"),
    ("client", "interlock_client", "import tuf.repository"),
    ("client", "interlock_client", "import interlock_core.tuf_repository"),
    ("ceremony", "interlock_ceremony", "import socket"),
    ("ceremony", "interlock_ceremony", "import urllib3"),
    ("ceremony", "interlock_ceremony", "import tuf.ngclient"),
    ("ceremony", "interlock_ceremony", "import interlock_core.http"),
    ("boto3", "interlock_core.release", "import boto3"),
    ("boto3", "interlock_server.wiring", "import botocore.config"),
    ("server", "interlock_server.db", "import interlock_server.web"),
    ("server", "interlock_server.heads", "import interlock_server.publications"),
    ("server", "interlock_server.unheard_of", "# a module that no layer names"),
    ("cycles", "interlock_core.names", "import interlock_core.order"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(TOP / "pyproject.toml", tmp_path)
    for one in ALL:
        shutil.copytree(
            one.path / "src",
            tmp_path / one.folder / "src",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return tmp_path


def lint(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    sources = os.pathsep.join(str(tree / one.folder / "src") for one in ALL)
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--contract", contract],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
    )


def file_of(tree: Path, module: str) -> Path:
    package = module.partition(".")[0]
    [folder] = [one.folder for one in ALL if one.package == package]
    place = tree / folder / "src" / module.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@pytest.mark.parametrize("contract", [row["id"] for row in SETTINGS["contracts"]])
def test_the_tree_keeps_the_contract(copy: Path, contract: str) -> None:
    result = lint(copy, contract)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "module", "line"), PLANTS)
def test_a_planted_violation_breaks_the_contract(
    copy: Path, contract: str, module: str, line: str
) -> None:
    target = file_of(copy, module)
    before = target.read_text() if target.exists() else ""
    target.write_text(before + f"\n{line}\n")
    result = lint(copy, contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout, result.stdout + result.stderr


def test_every_contract_is_planted_against() -> None:
    assert {row["id"] for row in SETTINGS["contracts"]} == {contract for contract, *_ in PLANTS}


def test_every_module_of_core_is_either_pure_or_known_to_act() -> None:
    [pure] = [row for row in SETTINGS["contracts"] if row["id"] == "pure"]
    listed = {name.removeprefix("interlock_core.") for name in pure["source_modules"]}
    package = CORE.path / "src" / CORE.package
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert modules - listed == ACTING
    assert listed <= modules
