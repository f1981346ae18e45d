"""The release managers' tools.

A signing event is a directory that travels between people: it is staged, reviewed, signed offline
by one person at a time, and published through a server that verifies it before storing anything.
Only publishing needs a network.
"""

from __future__ import annotations

__version__ = "0.1.0"
