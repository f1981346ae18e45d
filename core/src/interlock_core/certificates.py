"""Certificates to trust instead of the system's (I/O).

A file of them is named long before its first use, and opened at each connection. Whatever is wrong
with it looks like a fault of the network then, so it is read where it can still be named.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from interlock_core.errors import ConfigurationError, TransientError


def check_ca_file(path: Path) -> None:
    """See that ``path`` holds certificates in PEM.

    Raises:
        ConfigurationError: it holds none.
        TransientError: it cannot be read.
    """
    try:
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError as e:
        raise ConfigurationError(
            f"The CA file {path} holds no certificates that can be used ({e.reason}): name a PEM "
            "file."
        ) from e
    except OSError as e:
        raise TransientError(
            f"The CA file {path} cannot be read ({e.strerror}): mend that, or name another.",
            reason="disk",
        ) from e
