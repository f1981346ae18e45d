"""The key ceremony.

One reviewed script, validated whole before any key is made, yields both roots, the fleet id and a
transcript that anybody can verify. It runs on a machine without a network, and no module of this
package can reach one.
"""

from __future__ import annotations

__version__ = "0.1.0"
