"""Setting up: .venv is made when it must be, and missing system packages are installed or named.

The commands that would change the machine (uv, apt-get, sudo …) are stubs that record their calls.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.packaging.stubs import Stubs
from tests.packaging.tree import ALL, TOP

UV = f"""
if [ "$1" = venv ]; then mkdir -p .venv/bin && ln -s {sys.executable} .venv/bin/python; fi
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of what the set-up scripts read."""
    tree = tmp_path / "tree"
    for name in ("requirements.lock", *(f"{one.folder}/pyproject.toml" for one in ALL)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, tree / name)
    shutil.copytree(TOP / "infra" / "setup", tree / "infra" / "setup")
    shutil.copy(TOP / "infra" / "system-packages.txt", tree / "infra")
    return tree


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    stubs = Stubs(tmp_path / "bin")
    stubs.add("uv", UV)
    (stubs.folder / "python3.11").symlink_to(sys.executable)
    return stubs


# --- .venv -----------------------------------------------------------------------------------


def test_a_missing_venv_is_made_by_hash_and_our_own_packages_without_an_index(
    tree: Path, stubs: Stubs
) -> None:
    made = stubs.run("infra/setup/venv.sh", cwd=tree)
    assert made.returncode == 0, made.stderr
    venv, dependencies, members = stubs.calls("uv")
    assert venv.startswith("venv ")
    assert "--require-hashes" in dependencies
    assert dependencies.endswith("--requirement requirements.lock")
    assert {"--no-deps", "--no-index", "--no-build-isolation"} <= set(members.split())
    assert re.findall(r"--editable \./(\S+)", members) == [one.folder for one in ALL]


def test_a_venv_that_is_up_to_date_is_left_alone_and_a_stale_one_made_again(
    tree: Path, stubs: Stubs
) -> None:
    stubs.run("infra/setup/venv.sh", cwd=tree)
    (tree / "core" / "pyproject.toml").touch()
    again = stubs.run("infra/setup/venv.sh", cwd=tree)
    assert (again.returncode, again.stdout) == (0, "")
    assert len(stubs.calls("uv")) == 3

    with (tree / "requirements.lock").open("a") as lock:
        lock.write("# another lock\n")
    stubs.run("infra/setup/venv.sh", cwd=tree)
    assert len(stubs.calls("uv")) == 6


def test_a_half_made_venv_is_made_again(tree: Path, stubs: Stubs) -> None:
    stubs.add("uv", UV + 'case "$*" in *--require-hashes*) exit 9 ;; esac')
    broken = stubs.run("infra/setup/venv.sh", cwd=tree)
    assert broken.returncode == 9
    assert not (tree / ".venv" / ".stamp").exists()
    stubs.add("uv", UV)
    assert stubs.run("infra/setup/venv.sh", cwd=tree).returncode == 0
    assert (tree / ".venv" / ".stamp").exists()


def test_an_interpreter_that_is_too_old_is_refused_and_no_other_is_taken_silently(
    tree: Path, stubs: Stubs
) -> None:
    stubs.add("python2", "exit 1")
    refused = stubs.run("env", "PYTHON=python2", "infra/setup/venv.sh", cwd=tree)
    assert refused.returncode == 2
    assert "python2: no Python 3.11" in refused.stderr
    assert not (tree / ".venv").exists()
    assert stubs.calls("uv") == []


# --- system packages -------------------------------------------------------------------------


@pytest.fixture
def person(tmp_path: Path) -> Stubs:
    """Return the path of somebody who is not root, on a machine where dpkg knows no package."""
    stubs = Stubs(tmp_path / "person", only=True)
    stubs.link("bash", "env", "sed", "dirname", "mktemp", "rm", "cat", "tail")
    stubs.add("dpkg-query", "exit 1")
    stubs.add("id", "echo 1000")
    return stubs


def test_without_root_the_one_command_to_run_is_said_and_nothing_is_done(
    tree: Path, person: Stubs
) -> None:
    person.add("apt-get")
    told = person.run("infra/setup/system_packages.sh", cwd=tree)
    assert told.returncode == 2
    listed = re.findall(
        r"^([a-z0-9.+-]+)", (TOP / "infra" / "system-packages.txt").read_text(), re.MULTILINE
    )
    assert listed
    assert f"apt-get install --no-install-recommends {' '.join(listed)}" in told.stderr
    assert person.calls("apt-get") == []


def test_with_sudo_missing_packages_are_installed_and_no_daemon_starts(
    tree: Path, person: Stubs, tmp_path: Path
) -> None:
    lists = tmp_path / "lists"
    person.add(
        "sudo",
        f"""
        case "$*" in
          *tee*) cat >/dev/null ;;
          *apt-get*update*) echo fresh >"{lists}" ;;
          *apt-get*install*) [ -e "{lists}" ] ;;
        esac""",
    )
    root = f"DPKG_ROOT={tmp_path}"  # where no policy-rc.d stands yet
    done = person.run("env", root, "infra/setup/system_packages.sh", "nginx-light", cwd=tree)
    assert done.returncode == 0, done.stderr
    acts = [re.sub(r"^--non-interactive ", "", call) for call in person.calls("sudo")]
    kinds = [
        next((w for w in ("tee", "update", "install", "rm") if w in act.split()), "")
        for act in acts
    ]
    # No lists at first: the first install fails, lists are fetched, the second succeeds.
    assert [kind for kind in kinds if kind] == ["tee", "install", "update", "install", "rm"]
    assert "/usr/sbin/policy-rc.d" in acts[kinds.index("tee")]
    assert "/usr/sbin/policy-rc.d" in acts[-1]
    assert all(
        act.endswith("nginx-light")
        for act, kind in zip(acts, kinds, strict=True)
        if kind == "install"
    )


def test_an_installation_that_fails_says_why_and_exits_2(tree: Path, person: Stubs) -> None:
    person.add(
        "sudo",
        """
        case "$*" in
          *tee*) cat >/dev/null ;;
          *apt-get*) echo "E: no such package"; exit 100 ;;
        esac""",
    )
    failed = person.run("infra/setup/system_packages.sh", "no-such-thing", cwd=tree)
    assert failed.returncode == 2
    assert "E: no such package" in failed.stderr
    assert "could not install no-such-thing" in failed.stderr


def test_nothing_is_asked_for_when_nothing_is_missing(tree: Path, person: Stubs) -> None:
    person.add("dpkg-query", "echo installed")
    quiet = person.run("infra/setup/system_packages.sh", cwd=tree)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
