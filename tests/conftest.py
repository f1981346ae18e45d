"""What every run of the tests says in the end."""

from __future__ import annotations

from tests.attacks.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
