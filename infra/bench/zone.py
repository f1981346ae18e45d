"""The gateway as it is installed: core and the client in an environment of their client's own lock.

Rule: what starts as a process is measured there, and its peer too. A developer's environment has
libraries that slow a peer down (securesystemslib imports boto3 where it finds it).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.packaging.tree import DEPLOYABLES
from tests.zones.zone import enter


@cache
def home() -> Path:
    """The environment, made at the first call."""
    [client] = [one for one in DEPLOYABLES if one.name == "interlock-client"]
    return enter(client).home


def python() -> str:
    """Its interpreter."""
    return str(home() / "bin" / "python")


def command() -> str:
    """Its ``interlock-client``."""
    return str(home() / "bin" / "interlock-client")
