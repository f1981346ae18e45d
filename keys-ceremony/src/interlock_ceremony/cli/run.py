"""``interlock-ceremony run``: holds the ceremony, or goes on with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import ceremony, custody
from interlock_ceremony.ceremony import Room, Secrets
from interlock_ceremony.cli.common import command
from interlock_ceremony.cli.options import brought_keys, passphrase_files, qr_option
from interlock_ceremony.cli.preflight import checked, gateway_options
from interlock_ceremony.guide import Say
from interlock_ceremony.metadata import KEYS
from interlock_ceremony.review import Reviewed, review

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony run genesis.toml
  interlock-ceremony run rotation.toml --key /media/alice --key /media/bob
  interlock-ceremony run genesis.toml --yes --passphrase-file alice=a.txt
"""


@click.command(epilog=EXAMPLES)
@click.argument("script", type=click.Path(path_type=Path))
@passphrase_files
@brought_keys
@gateway_options
@click.option("--yes", is_flag=True, help="Ask nobody to confirm a step; the transcript says so.")
@qr_option
@command
def run(
    room: Room,
    say: Say,
    script: Path,
    files: Mapping[str, Path],
    brought: tuple[Path, ...],
    gateways: Path | None,
    despite: int | None,
    yes: bool,
    qr_codes: bool,
) -> Mapping[str, Any]:
    """Hold the ceremony that SCRIPT describes.

    SCRIPT is checked whole first. Then everybody who makes a key types a passphrase, twice, and
    older keys are opened. Each step is shown, taken and confirmed; the output directory appears at
    the end, complete, with a transcript that everybody signed.

    Whatever interrupts it, the same command goes on where it stopped. Without a terminal, or with
    --yes, nobody is asked to confirm, and no name is put to any step.
    """
    reviewed = review(script, room.clock())
    if room.ask is None and not yes and sys.stdin.isatty() and sys.stdout.isatty():
        room = replace(room, ask=_ask)
    room = replace(room, qr_codes=qr_codes or room.qr_codes or sys.stdout.isatty())

    found = checked(reviewed, gateways, despite, say)
    secrets = _secrets(reviewed, room, files, brought)
    proved = ceremony.perform(reviewed, secrets, room, say, preflighted=found).proved
    say(f"Complete: {reviewed.output}")
    say(
        "Write down the fingerprints above and the SHA-256 of each root, and give each holder their"
    )
    say("own keys/*.key.json: it stays offline, and no copy of it stays here.")
    if not proved.switch_without_gap:
        say("Too few of the old targets holders signed: publish the new root and the new targets")
        say("at once; between the two, gateways find no valid targets.")
    return {"reason": "completed", "output": str(reviewed.output), **asdict(proved)}


def _secrets(
    reviewed: Reviewed, room: Room, files: Mapping[str, Path], brought: tuple[Path, ...]
) -> Secrets:
    if ceremony.is_signed(reviewed):
        return Secrets()  # nobody needs to type anything again
    plan = reviewed.plan
    public = {name: file.key for name, file in reviewed.public.items()}
    if reviewed.before is not None:
        public |= reviewed.before.standing.keys
        brought = (*brought, reviewed.before.directory / KEYS)
    passphrases = custody.passphrases(plan, files, room.prompt, ceremony.keys_under_way(reviewed))
    opened = custody.open_keys(plan, public, brought, files, room.prompt)
    return Secrets(passphrases, opened, custody.pins(plan, room.prompt))


def _ask(question: str) -> str:
    return str(click.prompt(question, default="", show_default=False, prompt_suffix=": "))
