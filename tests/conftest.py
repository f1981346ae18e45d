"""What every run of the tests says in the end, and what none takes from the machine."""

from __future__ import annotations

import os
import signal

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
