"""The operators' side of Interlock.

It holds an operator's key, makes and signs the statements of a rollout, sends them to a server
and shows what the fleet reported. It imports no server code, so that a workstation carries
neither a web framework nor a database library.
"""

from __future__ import annotations

__version__ = "0.1.0"
