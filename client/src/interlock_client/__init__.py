"""The gateway's side of Interlock.

It fetches, verifies and decides, installs into the inactive slot, arms it at the last moment,
confirms or rolls back, and reports. Nothing that a server says can widen what people signed;
whatever is unknown or unreadable here means no.
"""

from __future__ import annotations

__version__ = "0.1.0"

DEFAULT_CONFIG = "/etc/interlock/gateway.toml"
