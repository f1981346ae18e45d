"""Shell completion: commands and options, by click's own; ids and devices are not completed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from interlock_ops.cli import main

PROGRAM = Path(sys.executable).with_name("interlock-ops")
VARIABLE = "_INTERLOCK_OPS_COMPLETE"


def completed(words: str) -> set[str]:
    """What the shell is offered for the last word."""
    given = {VARIABLE: "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    ran = subprocess.run(
        [PROGRAM], env={**os.environ, **given}, capture_output=True, text=True, check=True
    )
    return {line.partition(",")[2] for line in ran.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "among"),
    [
        ("interlock-ops ", {"rollout", "device", "explain"}),
        ("interlock-ops rollout ", {"propose", "recall", "watch"}),
        ("interlock-ops rollout recall ", {"begin", "status", "record"}),
        ("interlock-ops rollout watch --f", {"--for", "--fleet"}),
    ],
)
def test_commands_and_options_are_completed(words: str, among: set[str]) -> None:
    assert among <= completed(words)


def test_the_help_says_how() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    for shell in ("bash", "zsh", "fish"):
        assert f"{VARIABLE}={shell}_source interlock-ops" in shown
