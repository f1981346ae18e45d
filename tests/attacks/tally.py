"""Says at the end of a run how many attacks were tried, and whether any came through.

An attack is a test that asked for ``sim`` or ``siege``. It is refused when the test passed: by
name, with nothing changed, and with an honest check after it. ``tests/conftest.py`` registers this,
so that it speaks whatever was asked to run, and also when several processes ran it.
"""

from __future__ import annotations

from typing import Any

import pytest

ATTACK = "attack"
"""The property with which a fixture marks a test as an attack."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, if there were any."""
    refused = _attacks(terminalreporter, "passed")
    came_through = sorted({*_attacks(terminalreporter, "failed", "error")})
    ran = len({*refused, *came_through})
    if ran == 0:
        return
    terminalreporter.write_line(f"attacks: {ran} ran, {ran - len(came_through)} refused")
    for nodeid in came_through:
        terminalreporter.write_line(f"attacks: not refused: {nodeid}")


def _attacks(terminalreporter: pytest.TerminalReporter, *outcomes: str) -> list[str]:
    reports: list[Any] = [
        report for outcome in outcomes for report in terminalreporter.stats.get(outcome, ())
    ]
    return [
        report.nodeid
        for report in reports
        if (ATTACK, True) in getattr(report, "user_properties", ())
    ]
