"""The demo is a story with an end, and leaves no process behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flow.readme import ROOT


def _demo(place: Path) -> subprocess.Popen[str]:
    images = {}
    for name in ("OLD", "NEW"):
        image = place / f"{name.lower()}.img"
        image.write_bytes(os.urandom(300_000))
        images[name] = str(image)
    return subprocess.Popen(
        [sys.executable, "-m", "infra.demo.demo"],
        cwd=ROOT,
        env={**os.environ, **images, "KEEP": str(place / "kept")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _processes_of(place: Path) -> list[str]:
    """Command lines of all processes that name a file of this demo's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except (NotADirectoryError, FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(str(place / "kept").encode() in word for word in words):
            found.append(b" ".join(words).decode(errors="replace"))
    return found


def test_demo_tells_the_whole_story(tmp_path: Path) -> None:
    process = _demo(tmp_path)
    out, err = process.communicate(timeout=240)

    assert process.returncode == 0, out + err
    result = json.loads(out.strip().splitlines()[-1])
    assert result["demo"] == "ok"
    assert result["gateways"] == 8
    # All eight took release 1; one of them gave release 2 back; six of the others that are on
    # returned from it when it was recalled.
    assert (result["confirmed"], result["rolled_back"]) == (8 + 7 + 6, 1)
    assert (result["deferred"], result["paused_by"]) == (1, "monitor")
    assert result["recall"] == "closed"
    entries = (tmp_path / "kept" / "audit" / "entries.jsonl").read_text().splitlines()
    assert result["log_entries"] == len(entries) > 0
    assert result["refused"] == {
        "repositories_disagree": 1,
        "rollback": 1,
        "stage_not_open": 1,
        "unauthorised_rollout": 1,
        "wrong_cohort": 1,
    }
    assert (tmp_path / "kept" / "server" / "store" / "image" / "metadata").is_dir()
    assert _processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "the server runs at"), (signal.SIGTERM, "all eight run")],
    ids=["the server runs", "all gateways run"],
)
def test_demo_ends_its_processes_when_interrupted(tmp_path: Path, number: int, moment: str) -> None:
    process = _demo(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if moment in line:
            break
    assert _processes_of(tmp_path)

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "Interrupted" in err
    assert _processes_of(tmp_path) == []


def test_demo_never_writes_into_a_directory_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine").write_text("mine")

    process = _demo(tmp_path)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "not empty" in err
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine"]
