"""``log export``: everything that an auditor needs, in a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.log_export import export
from interlock_ops.show import fact, heading, line

EXAMPLES: Final = ("interlock-ops log export audit-2027-03 --log-key log.pub.json",)
ANSWERS: Final = {
    "size": "how many entries",
    "root": "the root of their hash tree",
    "directory": "",
}


@click.command("export", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def log_export(run: Run, directory: Path) -> Answer:
    """Write the log, and what stands behind its entries, into a new DIRECTORY.

    Entries are held against the signed checkpoint first. 'interlock-ops log verify' judges the
    directory wherever it is carried, without a network.
    """
    with run.voice.progress("entries read") as progress:
        said = export(run.session, directory, progress)
    root = said.root.hex()
    shown = [
        heading(f"Wrote {said.size} entries to {directory}."),
        fact("root", root),
        line(f"  interlock-ops log verify {directory} --log-key FILE"),
    ]
    facts = {"size": said.size, "root": root, "directory": str(directory)}
    return Answer("exported", shown, facts)
