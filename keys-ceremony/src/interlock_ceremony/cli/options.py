"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core.names import is_name


def holder_files(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Path]:
    """Read ``HOLDER=FILE`` options.

    Raises:
        click.BadParameter: another form, or a holder twice.
    """
    files: dict[str, Path] = {}
    for value in values:
        holder, sign, file = value.partition("=")
        if not is_name(holder) or not sign or not file:
            raise click.BadParameter(f"{value!r} must read HOLDER=FILE.", context, parameter)
        if holder in files:
            raise click.BadParameter(f"{holder} stands twice.", context, parameter)
        files[holder] = Path(file)
    return files


passphrase_files = click.option(
    "--passphrase-file",
    "files",
    metavar="HOLDER=FILE",
    multiple=True,
    callback=holder_files,
    help="Take a person's passphrase from the first line of a file (mode 0600) instead of asking.",
)

brought_keys = click.option(
    "--key",
    "brought",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An older key that signs (NAME.key.json), or a directory that holds some. Asked for by "
    "the name of the key, whose file keeps its name.",
)

qr_option = click.option(
    "--qr", "qr_codes", is_flag=True, help="Show digests as QR codes, too (at a terminal, always)."
)
