"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from interlock_core import wire
from interlock_core.errors import WireError
from interlock_core.names import Name
from interlock_repo.cli.edge import Outcome, check_proxy, json_option
from interlock_repo.event import LIFETIME_DAYS, Kind

F = TypeVar("F", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path, dir_okay=False)
EXISTING_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
EXISTING_DIRECTORY: Final = click.Path(path_type=Path, file_okay=False, exists=True)
DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)

passphrase_file: Final = click.option(
    "--passphrase-file",
    type=FILE,
    metavar="FILE",
    help="Take the passphrase from the first line of FILE instead of asking; only its owner may "
    "be able to read it.",
)


after_option: Final = click.option(
    "--after",
    "after",
    multiple=True,
    type=DIRECTORY,
    metavar="EVENT",
    help="A delegations event with enough signatures that is not published yet: the holders that "
    "it names sign. Again for each further copy of it.",
)


def network(command: F) -> F:
    """How to reach a server."""
    for option in (
        click.option("--proxy", metavar="URL", callback=check_proxy, help="Use this HTTP proxy."),
        click.option(
            "--ca-file",
            type=EXISTING_FILE,
            metavar="FILE",
            help="Trust these certificates (PEM) instead of the system's.",
        ),
    ):
        command = option(command)
    return command


def trusted_root(command: F) -> F:
    """A root file of one's own, to check an event against."""
    return click.option(
        "--root",
        "trusted_root",
        type=EXISTING_FILE,
        metavar="FILE",
        help="Check that the event rests on this root metadata, which you trust.",
    )(command)


def check_names(
    context: click.Context, option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names as cohorts have them.

    Raises:
        click.BadParameter: one is none.
    """
    del context, option
    try:
        return wire.convert(list(names), tuple[Name, ...], what="name")
    except WireError as e:
        raise click.BadParameter(str(e)) from e


@dataclass(frozen=True)
class Plan:
    """Where a new event goes, what it follows, and how long what it makes is valid.

    Attributes:
        event: the directory to make.
        repository: what is in force: a URL or a directory.
        root: the root that the caller trusts.
        days: until the new metadata expires; 0 for as long as was asked for before (``rebase``).
        quiet: standard output belongs to a machine.
        events: where other events may lie that make the same version.
    """

    event: Path
    repository: str
    root: Path
    days: int
    ca_file: Path | None
    proxy: str | None
    quiet: bool
    events: tuple[Path, ...]


def new_event(kind: Kind | None) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """What makes a signing event: the command gets all of it as ``plan``.

    Args:
        kind: of the event; None for one like another.
    """

    def decorate(command: Callable[..., Outcome]) -> Callable[..., Outcome]:
        @wraps(command)
        def planned(
            *,
            event: Path,
            repository: str,
            root: Path,
            lifetime_days: int | None,
            ca_file: Path | None,
            proxy: str | None,
            as_json: bool,
            events: tuple[Path, ...],
            **own: Any,
        ) -> Outcome:
            plan = Plan(
                event, repository, root, lifetime_days or 0, ca_file, proxy, as_json, events
            )
            return command(plan=plan, **own)

        days = LIFETIME_DAYS[kind] if kind is not None else None
        whole: Callable[..., Outcome] = planned
        for option in (
            json_option,
            click.option(
                "--lifetime-days",
                type=click.IntRange(1, 3650),
                default=days,
                show_default=True,
                help="How long the new metadata is valid"
                + ("." if kind is not None else "; by default as long as before."),
            ),
            click.option(
                "--events",
                type=EXISTING_DIRECTORY,
                multiple=True,
                metavar="DIR",
                help="Look there, too, for other events that make the same version; those beside "
                "the new one are found anyway.",
            ),
            network,
            click.option(
                "--root",
                "root",
                type=EXISTING_FILE,
                required=True,
                metavar="FILE",
                help="The image repository's root metadata that you trust, as the ceremony gave "
                "it to you: image/1.root.json.",
            ),
            click.option(
                "--repository",
                required=True,
                metavar="URL|DIR",
                help="What is in force: the server, a copy of its store, or the output of the "
                "ceremony.",
            ),
            click.option(
                "--event",
                "event",
                type=DIRECTORY,
                required=True,
                metavar="DIR",
                help="The signing event to make; it must not exist.",
            ),
        ):
            whole = option(whole)
        return whole

    return decorate
