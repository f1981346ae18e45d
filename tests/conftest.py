"""What every run of the tests says in the end, and what none takes from the machine."""

from __future__ import annotations

import os
import signal

from tests.attacks.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

# A developer's own token or cloud is nobody's business here.
for _name in [name for name in os.environ if name.startswith(("PYKCS11", "SOFTHSM2_", "AWS_"))]:
    del os.environ[_name]

# Whoever starts the tests in the background hands on that an interrupt is ignored, and programs
# that the tests interrupt would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
