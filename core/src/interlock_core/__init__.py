"""The language that every Interlock zone shares.

Pure modules come first: what may be a name, how bytes are read, what a statement says, who is
believed, and the gateway's decision. They import no clock, file or network. The few modules that
act (keys, durable files, the store, the online roles of a TUF repository) say so in their first
lines. Deployables rest on this package, never on one another.
"""

from __future__ import annotations

__version__ = "0.1.0"
