"""What a caller is told of an error that is the server's own (pure).

Rules:

1. Names of disks, databases and keys, and what a key service answers, are for the log alone.
2. An error that tells of another one tells only what its caller may know (rule 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from interlock_core.errors import InterlockError

_STORAGE: Final = "The server's own storage failed, and its log says why: try again later."
_KEYS: Final = "The server's online keys do not sign now, and its log says why: try again later."
_OURS: Final[Mapping[str, str]] = {
    "disk": _STORAGE,
    "database": _STORAGE,
    "kms": _KEYS,
    "kms_unavailable": _KEYS,
}


def told(error: InterlockError) -> str:
    """The message of an error, as a caller may read it."""
    return _OURS.get(error.reason) or str(error)
