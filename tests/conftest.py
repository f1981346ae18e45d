"""What every run of the tests says in the end, in what order it goes, and what none takes from the
machine.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.attacks.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

# A developer's own token or cloud is nobody's business here.
for _name in [name for name in os.environ if name.startswith(("PYKCS11", "SOFTHSM2_", "AWS_"))]:
    del os.environ[_name]

# Whoever starts the tests in the background hands on that an interrupt is ignored, and programs
# that the tests interrupt would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing fails by chance: the same examples each time, and no bound on the time that one takes on a
# machine that is busy. Whoever looks for more passes --hypothesis-profile=search.
settings.register_profile("search", settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci")

TESTS: Final = Path(__file__).parent
# Single tests that take many seconds, or wait. Whatever begins last is what one worker does alone
# while the others have nothing left, so these begin first.
LONG: Final = ("flow", "zones", "server/test_rotation_crash.py")


def _is_long(item: pytest.Item) -> bool:
    return any(item.path.is_relative_to(TESTS / long) for long in LONG)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; all others keep their order."""
    items.sort(key=lambda item: not _is_long(item))
