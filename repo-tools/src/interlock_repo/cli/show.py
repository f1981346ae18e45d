"""Shows an account of a signing event: tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock_core.wire import format_time
from interlock_repo.event import Event
from interlock_repo.review import Account, Line, Section
from interlock_repo.signatures import SignatureFile, Tally

STYLES: Final = {"+": "green", "-": "red", "~": "yellow", " ": ""}


def show(account: Account, *, err: bool = False) -> None:
    """Print an account.

    Args:
        account: what to show.
        err: to standard error, where standard output belongs to a machine.
    """
    show_sections(account.sections, err=err)


def show_sections(sections: Iterable[Section], *, err: bool = False) -> None:
    """Print sections, as ``show`` does."""
    console = Console(stderr=err, highlight=False)
    if not console.is_terminal:
        for section in sections:
            click.echo(section.title, err=err)
            for line in section.lines:
                click.echo(f"  {line.mark} {line.what}: {_value(line)}", err=err)
        return
    for section in sections:
        console.print(_table(section))


def _table(section: Section) -> Table:
    table = Table(title=Text(section.title, "bold"), title_justify="left", show_header=False)
    table.add_column(width=1)
    table.add_column(overflow="fold", ratio=1)
    table.add_column(overflow="fold", ratio=3)
    for line in section.lines:
        style = STYLES[line.mark]
        table.add_row(Text(line.mark, style), Text(line.what, style), Text(_value(line)))
    return table


def _value(line: Line) -> str:
    if line.old is not None and line.new is not None:
        return f"{line.old} -> {line.new}"
    return line.new if line.new is not None else line.old or ""


def as_json(sections: Iterable[Section]) -> list[dict[str, Any]]:
    """Sections for machines."""
    return [
        {
            "title": section.title,
            "lines": [
                {"mark": line.mark, "what": line.what, "old": line.old, "new": line.new}
                for line in section.lines
            ],
        }
        for section in sections
    ]


def void_facts(void: Iterable[SignatureFile]) -> list[dict[str, Any]]:
    """Signatures that count for nothing, for machines."""
    return [_signature_facts(file) | {"event_sha256": file.event_sha256} for file in void]


def _signature_facts(file: SignatureFile) -> dict[str, Any]:
    return {
        "person": file.person,
        "keyid": file.keyid,
        "meaning": file.meaning,
        "at": format_time(file.at),
        "reason": file.reason,
    }


def event_facts(event: Event, tally: Tally) -> dict[str, Any]:
    """What every command says of an event, for machines."""
    return {
        "event": str(event.directory),
        "kind": event.file.kind,
        "role": event.file.role,
        "version": event.file.version,
        "metadata_sha256": event.file.metadata_sha256,
        "read_aloud": event.spoken_digest,
        "words": event.words,
        "expires": format_time(event.metadata.signed.expires),
        "threshold": tally.role.threshold,
        "signed": [_signature_facts(one.file) for one in tally.signed],
        "may_sign": [{"name": holder.name, "keyid": holder.key.keyid} for holder in tally.waiting],
        "needed": tally.needed,
    }
