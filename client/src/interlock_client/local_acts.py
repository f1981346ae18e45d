"""What a person did here by hand, kept beside the decisions (I/O).

Rules:

1. An act that takes back something which protects this gateway needs a reason, and is recorded with
   it, with who did it, and with what stood before and after: create-only, in the same chain of
   records as the decisions (``journal``).
2. It is no decision: what is shown as the newest decision passes over it. Reasons stay here.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from interlock_client.context import Context
from interlock_client.journal import LOCAL_ACT
from interlock_core.errors import ConfigurationError

MAX_REASON: Final = 500
_LOGIN: Final = Path("/proc/self/loginuid")
_NOBODY: Final = 2**32 - 1


def check_reason(reason: str) -> str:
    """The reason as it is kept: one printable line.

    Raises:
        ConfigurationError: it is empty or too long.
    """
    text = "".join(char if char.isprintable() else " " for char in reason).strip()
    if not text or len(text) > MAX_REASON:
        raise ConfigurationError(
            f"A reason has between 1 and {MAX_REASON} characters: say why, for who looks later.",
            reason="usage",
        )
    return text


def record(
    context: Context, at: datetime, act: str, reason: str, changed: Mapping[str, Any]
) -> int:
    """Keep one act; return its number (rule 1).

    Args:
        context: the gateway, locked.
        at: when.
        act: its stable name.
        reason: as ``check_reason`` returns it.
        changed: what stood before and after, by name.

    Raises:
        TransientError: the disk did not do it.
    """
    return context.decisions().record(
        {
            "type": LOCAL_ACT,
            "at": at,
            "act": act,
            "reason": reason,
            "by": _who(),
            "config": context.settings.digest(),
            "changed": changed,
        }
    )


def _who() -> dict[str, Any]:
    """The user, and who logged in as whom, as far as the machine knows."""
    uid, login = os.getuid(), None
    with suppress(OSError, ValueError):
        login = int(_LOGIN.read_text(encoding="ascii"))
    return {
        "uid": uid,
        "user": _name(uid),
        "login": None if login in (None, _NOBODY) else _name(int(login or 0)),
    }


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
