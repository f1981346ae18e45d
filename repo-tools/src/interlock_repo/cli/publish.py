"""``interlock-repo publish``: send what enough people signed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from interlock_core.ceremony_output import is_output
from interlock_core.clock import system_clock
from interlock_core.errors import ConfigurationError, ConflictError, RefusedError
from interlock_core.http import Api
from interlock_repo.ceremonies import open_ceremony, send_ceremony
from interlock_repo.cli.edge import Outcome, json_option
from interlock_repo.cli.options import DIRECTORY, network, trusted_root
from interlock_repo.collisions import published_instead
from interlock_repo.copies import open_copies
from interlock_repo.publishing import Ready, assemble, check_together, unobserved
from interlock_repo.publishing import publish as send

TOO_LATE: Final = frozenset({"conflict", "rollback"})
"""The server's reasons for a version that is taken."""


@click.command(
    epilog="""\b
Examples:
  interlock-repo publish release-1.4.0 --server https://updates.example.org
  interlock-repo publish release-1.4.0 /media/usb/release-1.4.0 --server https://updates.example.org
  interlock-repo publish new-holders --with renewal --server https://updates.example.org
  interlock-repo publish ceremony-2 --root image/1.root.json --server https://updates.example.org
"""
)
@click.argument("event", nargs=-1, required=True, type=DIRECTORY)
@click.option(
    "--with",
    "with_",
    multiple=True,
    type=DIRECTORY,
    metavar="EVENT",
    help="What the new holders signed who are named by EVENT, a delegations event: both are "
    "published at once.",
)
@click.option("--server", required=True, metavar="URL", help="Where to publish.")
@network
@trusted_root
@json_option
def publish(
    event: tuple[Path, ...],
    with_: tuple[Path, ...],
    server: str,
    ca_file: Path | None,
    proxy: str | None,
    trusted_root: Path | None,
    as_json: bool,
) -> Outcome:
    """Publish EVENT, or the output of a later ceremony, through the server.

    The signatures of all copies that are named are put together and verified; then the metadata
    and the bytes that the server lacks are sent. After an interruption run it again: it finishes.

    A ceremony's output is known by its fleet.json and transcript.json. Its roots are verified from
    --root, an image root of your own, before they are sent. Where they name new online keys, the
    server must hold these first.
    """
    del as_json
    now = system_clock()
    if any(map(is_output, event)):
        if len(event) > 1 or with_:
            raise ConfigurationError("A ceremony's output is published alone: name nothing else.")
        api = Api(server, ca_file=ca_file, proxy=proxy)
        return _ceremony(event[0], trusted_root, now, api)
    first = _ready(event, trusted_root, now)
    others = [_ready((other,), trusted_root, now) for other in with_]
    check_together(first, others)
    api = Api(server, ca_file=ca_file, proxy=proxy)
    try:
        done = send(first, api, _bar if sys.stderr.isatty() else unobserved, others)
    except (ConflictError, RefusedError) as e:
        if e.reason not in TOO_LATE:
            raise
        instead = published_instead(first.event, server, ca_file=ca_file, proxy=proxy)
        raise ConflictError(
            f"{e} {instead} 'interlock-repo rebase {event[0]}' makes this event anew on what is in "
            "force.",
            reason=e.reason,
        ) from e
    name = " and ".join(one.name for one in (first, *others))
    said = (
        f"{name} {'were' if others else 'was'} published already."
        if done.was_published
        else f"Published {name}; {len(done.uploaded)} files were sent."
    )
    return Outcome(
        "already_published" if done.was_published else "published",
        (said,),
        {
            "id": done.id,
            "role": first.event.file.role,
            "version": first.event.file.version,
            "versions": {one.event.file.role: one.event.file.version for one in (first, *others)},
            "uploaded": list(done.uploaded),
        },
    )


def _ready(copies: tuple[Path, ...], trusted_root: Path | None, now: datetime) -> Ready:
    event, tally = open_copies(copies, trusted_root)
    return Ready(event, assemble(event, tally, now))


def _ceremony(directory: Path, trusted_root: Path | None, now: datetime, api: Api) -> Outcome:
    if trusted_root is None:
        raise ConfigurationError(
            "Name an image root of your own with --root: the ceremony is verified from it."
        )
    done = send_ceremony(open_ceremony(directory, trusted_root, now), api)
    named = (
        f"image root {done.image_root.version}, director root {done.director_root.version} and "
        f"targets {done.targets.version}"
    )
    return Outcome(
        "published" if done.changed else "already_published",
        (f"{'Now' if done.changed else 'Already'} in force at {done.fleet}: {named}.",),
        msgspec.to_builtins(done),
    )


@contextmanager
def _bar(file: IO[bytes], length: int, name: str) -> Iterator[IO[bytes]]:
    with (
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as progress,
        progress.wrap_file(cast("BinaryIO", file), total=length, description=name) as shown,
    ):
        yield shown
