"""``rollout post``: sends envelopes that were signed and written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.acts import POSTED
from interlock_core.errors import WireError
from interlock_core.statement import (
    MAX_ENVELOPE,
    Opened,
    Said,
    open_statement,
    read_envelope,
)
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.show import fact, heading, statement

EXAMPLES: Final = (
    "interlock-ops rollout post stop.json",
    "interlock-ops post secrets/GW-0001.claim.json",
)


@click.command("post", cls=Operation, examples=EXAMPLES)
@click.argument("files", type=click.Path(path_type=Path, dir_okay=False), nargs=-1, required=True)
def rollout_post(run: Run, files: tuple[Path, ...]) -> Answer:
    """Send signed envelopes from FILES, in the order given.

    No key is needed. Sending one again does no harm.
    """
    opened = [_opened(file) for file in files]
    for one in opened:
        run.voice.show(statement(one.said, id_=one.id))
        run.session.post(one.envelope, one.id)
    ids = [one.id for one in opened]
    return Answer("posted", [heading("Sent:"), *(fact("id", id_) for id_ in ids)], {"ids": ids})


def _opened(file: Path) -> Opened[Said]:
    data = durable.read(file, limit=MAX_ENVELOPE + 1, what="statement file")
    try:
        return open_statement(read_envelope(data), POSTED)
    except WireError as e:
        raise WireError(f"{file}: {e}", reason=e.reason) from e
