"""``interlock-ceremony preflight``: which gateways could not read the next roots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import preflight as rules
from interlock_ceremony.acts import Preflighted
from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.guide import Say
from interlock_ceremony.review import Reviewed, review
from interlock_core import durable
from interlock_core.errors import ConfigurationError
from interlock_core.inventory import MAX_INVENTORY, read_gateways
from interlock_core.wire import format_time

EXAMPLES: Final = """\b
Examples:
  interlock-ops device export gateways.json          # where the server can be asked
  interlock-ceremony preflight hybrid.toml --gateways gateways.json
"""


def gateway_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--gateways`` and ``--despite-stranding``."""
    listed = click.option(
        "--gateways",
        type=click.Path(path_type=Path),
        help="The list that 'interlock-ops device export' wrote; needed if a root gets keys of a "
        "new kind.",
    )
    despite = click.option(
        "--despite-stranding",
        "despite",
        metavar="N",
        type=click.IntRange(min=1),
        help="Go on although exactly N gateways could not read the next roots.",
    )
    return listed(despite(function))


@click.command(epilog=EXAMPLES)
@click.argument("script", type=click.Path(path_type=Path))
@gateway_options
@command
def preflight(
    room: Room, say: Say, script: Path, gateways: Path | None, despite: int | None
) -> Mapping[str, Any]:
    """List the gateways that could not read the roots that SCRIPT makes.

    Only a kind of key that the root before had not can strand a gateway. 'run' does the same
    before it asks anybody for anything.
    """
    reviewed = review(script, room.clock())
    found = checked(reviewed, gateways, despite, say)
    if found is None:
        say("The next roots have no keys of a new kind: whoever reads the last ones reads these.")
        return {"reason": "nothing_new", "schemes": [], "stranded": 0}
    return {"reason": "preflighted", "schemes": found.schemes, "stranded": found.stranded}


def checked(
    reviewed: Reviewed, gateways: Path | None, despite: int | None, say: Say
) -> Preflighted | None:
    """Look up who would be stranded; None if nobody can be.

    Raises:
        ConfigurationError: the list is needed and was not given, or is of another fleet.
        RefusedError: ``stranding``.
        NotFoundError, WireError, TransientError: the list is missing, malformed, unreadable.
    """
    imported = {name: file.key for name, file in reviewed.public.items()}
    schemes = rules.new_schemes(reviewed.plan, imported)
    if not schemes:
        return None
    assert reviewed.before is not None
    kinds = ", ".join(schemes)
    if gateways is None:
        raise ConfigurationError(
            f"The next roots have keys of a new kind ({kinds}), which an older gateway may be "
            "unable to read: pass --gateways, the file that 'interlock-ops device export' writes.",
            reason="no_gateways",
        )
    data = durable.read(gateways, limit=MAX_INVENTORY, what="list of gateways")
    listed = read_gateways(data)
    found = rules.left_behind(schemes, listed, reviewed.before.standing)
    say(f"New kinds of keys: {kinds}. {len(listed.gateways)} gateways at {format_time(listed.at)}.")
    for one in found:
        say(f"  {one.gateway.device} could not read them: {one.why}")
    return rules.decide(schemes, listed, found, despite)
