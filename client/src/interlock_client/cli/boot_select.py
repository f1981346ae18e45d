"""``interlock-client boot-select``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client.cli.edge import common, config_path, print_json
from interlock_client.config import load_installer
from interlock_client.install.control import own_state
from interlock_core.errors import ConfigurationError, Exit


@click.command(
    "boot-select",
    epilog="""\b
Examples:
  slot=$(interlock-client boot-select --config /boot/interlock/gateway.toml) ||
    slot=${slot:-$(cat /boot/interlock/committed || echo a)}
""",
)
@common
def command(*, config: Path | None, as_json: bool) -> None:
    """For boot scripts, once at each boot: print the slot to boot, a or b.

    An armed slot loses a try; when it has none left, the committed slot boots again. The slot is
    written to the file that the setting installer.booted names. If that, or the try, cannot be
    recorded, the committed slot is printed and the exit code is 30: boot it all the same.
    """
    installer = load_installer(config_path(config))
    if installer.boot is not None:
        raise ConfigurationError(
            f"The boot state is kept by {installer.boot.program}, as [installer] says: the boot "
            "loader chooses by itself."
        )
    slot, fault = own_state(installer).boot()
    if as_json:
        reason = "selected" if fault is None else fault.reason
        print_json(
            {
                "outcome": "selected",
                "reason": reason,
                "detail": str(fault) if fault else f"Slot {slot} boots.",
                "slot": slot,
            }
        )
    else:
        click.echo(slot)
    if fault is not None:
        click.echo(f"boot-select: {fault}", err=True)
        raise SystemExit(int(Exit.TRANSIENT))
