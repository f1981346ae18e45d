"""All removals, and the table of what noticed each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.removals.admitting import ADMITTING
from infra.removals.counting import COUNTING
from infra.removals.deciding import DECIDING
from infra.removals.holding import HOLDING
from infra.removals.installing import INSTALLING
from infra.removals.lightening import LIGHTENING
from infra.removals.monitoring import MONITORING
from infra.removals.publishing import PUBLISHING
from infra.removals.reaching import REACHING
from infra.removals.recalling import RECALLING
from infra.removals.recording import RECORDING
from infra.removals.refreshing import REFRESHING
from infra.removals.removal import Removal
from infra.removals.rolling import ROLLING

ALL: Final[tuple[Removal, ...]] = (
    *DECIDING,
    *COUNTING,
    *REFRESHING,
    *ADMITTING,
    *PUBLISHING,
    *HOLDING,
    *MONITORING,
    *RECALLING,
    *ROLLING,
    *RECORDING,
    *REACHING,
    *INSTALLING,
    *LIGHTENING,
)
BEGIN: Final = "<!-- removals: written by python -m infra.removals --write -->"
END: Final = "<!-- end of removals -->"
NOBODY: Final = "**nothing: a hole**"
_ROW: Final = re.compile(r"^\| ([^|]+) \| `?([^|`]+)`? \|$", re.MULTILINE)


def as_table(results: Mapping[str, str | None]) -> str:
    """The table as Markdown: what was taken away, and the test that failed first."""
    rows = ["| check taken away | first test that fails |", "|---|---|"]
    for what, test in results.items():
        noticed = f"`{test}`" if test is not None else NOBODY
        rows.append(f"| {what} | {noticed} |")
    return "\n".join(rows)


def write_table(document: Path, results: Mapping[str, str | None]) -> None:
    """Replace the document's rows for these removals; the others stay as they are."""
    text = document.read_text()
    merged = {removal.what: read_table(text).get(removal.what) for removal in ALL}
    merged |= results
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    document.write_text(f"{before}{BEGIN}\n{as_table(merged)}\n{END}{after}")


def read_table(text: str) -> dict[str, str]:
    """The document's rows: what was taken away, and the test that failed first."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    return {what: test for what, test in _ROW.findall(table) if "::" in test}
