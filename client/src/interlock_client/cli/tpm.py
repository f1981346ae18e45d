"""``interlock-client tpm``."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_client import context, local_acts, provisioning
from interlock_client.cli.edge import common, config_path, finish, plain, print_json
from interlock_core import durable
from interlock_core.credentials import MAX_SECRET_FILE
from interlock_core.errors import ConfigurationError, NotFoundError, WireError


@click.group(
    "tpm",
    epilog="""\b
Examples:
  interlock-client tpm provision
  interlock-client tpm show
""",
)
def command() -> None:
    """Tie this gateway's memory to a counter in its TPM, so that an older copy of it is noticed.

    Needs a table [tpm] in the configuration, and interlock-client[tpm].
    """


@command.command(
    "provision",
    epilog="""\b
Examples:
  interlock-client tpm provision
  interlock-client tpm provision --owner-auth-file owner.auth
  interlock-client tpm provision --adopt --reason "restored the backup of Monday, ticket 4711"
""",
)
@common
@click.option(
    "--owner-auth-file",
    type=click.Path(path_type=Path),
    help="The file that holds the TPM owner's authorisation; nobody else may read it.",
)
@click.option(
    "--adopt", is_flag=True, help="Take the memory as it is for the newest; needs --reason."
)
@click.option("--reason", help="Why; it is kept here.")
def provision(
    *,
    config: Path | None,
    as_json: bool,
    owner_auth_file: Path | None,
    adopt: bool,
    reason: str | None,
) -> None:
    """Make the counter, once, when the gateway is built in.

    Where there is one already, and the memory does not belong to it, the memory was lost or an
    older copy was put back; where the memory's counter is gone, the TPM was cleared. With --adopt a
    person says that the memory is the newest all the same.
    """
    if adopt != (reason is not None):
        raise click.UsageError("--adopt needs --reason, and --reason goes with --adopt.")
    said = local_acts.check_reason(reason) if reason is not None else None
    made = context.build(config_path(config))
    finish(provisioning.provision(made, _owner(owner_auth_file), adopt=said), as_json=as_json)


@command.command("show")
@common
def show(*, config: Path | None, as_json: bool) -> None:
    """Show the counter, and whether the memory belongs to it."""
    found = provisioning.shown(context.build(config_path(config)))
    if as_json:
        reason = "belongs" if found["belongs"] else "apart"
        print_json({"outcome": "tpm", "reason": reason, **found})
        return
    click.echo(f"index    {found['index']}")
    click.echo(f"counter  {'none' if found['value'] is None else found['value']}")
    click.echo(f"memory   {'none' if found['memory'] is None else found['memory']}")
    if found["trouble"]:
        click.echo(plain(found["trouble"]))


def _owner(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        data = durable.read(path, limit=MAX_SECRET_FILE, what="owner's authorisation")
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} may be read by others: chmod 600 {path}.")
    except WireError as e:
        raise ConfigurationError(str(e)) from e
    except NotFoundError as e:
        raise ConfigurationError(str(e)) from e
    return data.rstrip(b"\r\n")
