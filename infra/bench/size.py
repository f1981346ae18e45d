"""How much disk the gateway's software takes, beside what any client of TUF in Python needs.

The peer is tuf itself with all that it needs to verify and to fetch. The interpreter is Debian's
own and in neither; compiled files are not counted, because they are made again at will.
"""

from __future__ import annotations

import json
import subprocess
from typing import Final

from infra.bench import zone
from infra.bench.measure import Row, row

PEER: Final = ("cffi", "cryptography", "pycparser", "securesystemslib", "tuf", "urllib3")

_SIZES: Final = """
import json
from importlib.metadata import distributions
print(json.dumps({one.name.lower(): sum(
    path.locate().stat().st_size for path in one.files or ()
    if path.suffix != ".pyc" and path.locate().is_file()) for one in distributions()}))
"""


def measure() -> list[Row]:
    """Measure the installed size."""
    done = subprocess.run([zone.python(), "-c", _SIZES], check=True, capture_output=True)
    sizes: dict[str, int] = json.loads(done.stdout)
    peer = sum(sizes[name] for name in PEER)
    ours = round(sum(sizes.values()) / 1e6, 2)
    return [row("size.installed", ours, "MB", "tuf and what it needs", round(peer / 1e6, 2), 1)]
