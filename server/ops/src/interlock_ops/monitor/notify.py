"""Tells systemd that the service is ready and alive (I/O): sd_notify(3), in a few lines."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(**fields: str) -> None:
    """Send fields such as ``READY="1"``; without systemd nothing is sent, and nothing fails."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    text = "\n".join(f"{name}={value}" for name, value in fields.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect("\0" + path[1:] if path.startswith("@") else path)
        told.sendall(text.encode())
