"""Each deployable, installed alone from its own lock: what it contains, and what it must not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.packaging.tree import DEPLOYABLES, pins
from tests.zones.zone import Zone

pytestmark = pytest.mark.zones

SERVER_LIBRARIES = {
    "alembic",
    "boto3",
    "botocore",
    "flask",
    "gunicorn",
    "itsdangerous",
    "prometheus_client",
    "psycopg",
    "sqlalchemy",
    "werkzeug",
}
TOKENS = {"pkcs11"}
WORDS = {"mnemonic"}
RELEASE_LIBRARIES = {"cyclonedx", "spdx_tools"}
CEREMONY_LIBRARIES = {"segno"}
# tuf depends on urllib3, so the ceremony's environment holds it; the import contract and
# test_ceremony.py show that the ceremony opens no door to a network with it.
ABSENT = {
    "interlock-client": (
        SERVER_LIBRARIES | {"rich"} | TOKENS | WORDS | RELEASE_LIBRARIES | CEREMONY_LIBRARIES
    ),
    "interlock-server": {"rich"} | WORDS | RELEASE_LIBRARIES | CEREMONY_LIBRARIES,
    "interlock-ops": SERVER_LIBRARIES | WORDS | RELEASE_LIBRARIES | CEREMONY_LIBRARIES,
    "interlock-repo": SERVER_LIBRARIES | CEREMONY_LIBRARIES,
    "interlock-ceremony": SERVER_LIBRARIES | {"rich", "requests"} | RELEASE_LIBRARIES,
}
# What a zone can do only with a library that its lock could lose without an import failing.
PRESENT = {
    "interlock-client": set[str](),
    "interlock-server": {"boto3", "psycopg"} | TOKENS,
    "interlock-ops": TOKENS,
    "interlock-repo": TOKENS | WORDS | RELEASE_LIBRARIES,
    "interlock-ceremony": TOKENS | WORDS | CEREMONY_LIBRARIES,
}
DEVELOPERS_TOOLS = {"coverage", "flit_core", "hypothesis", "mypy", "pip", "pytest", "ruff"}

FOUND = """
import importlib.util, json, sys
print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name)]))
"""
INSTALLED = """
import importlib.metadata, json, re
print(json.dumps({re.sub("[-_.]+", "-", d.name).lower(): d.version
                  for d in importlib.metadata.distributions()}))
"""
# A migration script is run by Alembic, with its context, and is not imported.
IMPORTED = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
         if ".migrations" not in found.name and not found.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(json.dumps(names))
"""


def test_what_must_not_be_there_is_not(zone: Zone, tmp_path: Path) -> None:
    others = {one.package for one in DEPLOYABLES} - {zone.deployable.package}
    unwanted = sorted(ABSENT[zone.deployable.name] | others | DEVELOPERS_TOOLS)
    assert zone.ask(FOUND, *unwanted, cwd=tmp_path) == []


def test_what_it_imports_only_where_it_is_used_is_there(zone: Zone, tmp_path: Path) -> None:
    wanted = sorted(PRESENT[zone.deployable.name])
    assert zone.ask(FOUND, *wanted, cwd=tmp_path) == wanted


def test_it_holds_its_lock_core_and_itself_and_nothing_else(zone: Zone, tmp_path: Path) -> None:
    installed = zone.ask(INSTALLED, cwd=tmp_path)
    ours = {"interlock-core", zone.deployable.name}
    assert ours <= installed.keys()
    locked = pins(zone.deployable.lock)
    assert installed.keys() - ours <= locked.keys()
    assert all(locked[name] == installed[name] for name in installed.keys() - ours)


@pytest.mark.parametrize("which", ["interlock_core", "itself"])
def test_every_module_can_be_imported_with_what_is_there(
    zone: Zone, tmp_path: Path, which: str
) -> None:
    package = zone.deployable.package if which == "itself" else which
    imported = zone.ask(IMPORTED, package, cwd=tmp_path)
    assert imported


def test_its_command_explains_itself(zone: Zone, tmp_path: Path) -> None:
    shown = zone.run(zone.script, "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"Usage: {zone.deployable.name}")
    assert re.search(rf"^ +{zone.deployable.name} [a-z]", shown.stdout, re.MULTILINE), "no example"


def test_its_command_says_its_version(zone: Zone, tmp_path: Path) -> None:
    shown = zone.run(zone.script, "--version", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "0.1.0" in shown.stdout
