"""What the alerts of a TLS handshake say about certificates (pure)."""

from __future__ import annotations


def refused(alert: str) -> str:
    """What the server meant by an alert.

    Args:
        alert: its name, in any of OpenSSL's spellings.
    """
    name = alert.lower().replace("_", " ")
    if "required" in name or "handshake failure" in name:
        return f"the server may want a client certificate, and got none that it takes ({name})"
    if "certificate" in name or "unknown ca" in name or "access denied" in name:
        return f"the server refused the client certificate ({name})"
    return f"the server ended the handshake ({name})"
