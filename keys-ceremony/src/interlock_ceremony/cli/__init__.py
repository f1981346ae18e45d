"""The command ``interlock-ceremony``; each subcommand is a module."""

from __future__ import annotations

from typing import Final

import click

from interlock_ceremony import __version__
from interlock_ceremony.cli.abandon import abandon
from interlock_ceremony.cli.check import check
from interlock_ceremony.cli.checklist import checklist
from interlock_ceremony.cli.common import Program
from interlock_ceremony.cli.key import key
from interlock_ceremony.cli.preflight import preflight
from interlock_ceremony.cli.rehearse import rehearse
from interlock_ceremony.cli.run import run
from interlock_ceremony.cli.sample import sample
from interlock_ceremony.cli.verify import verify

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony sample > genesis.toml     # begin with this
  interlock-ceremony rehearse genesis.toml     # the same, with keys that are thrown away
  interlock-ceremony checklist genesis.toml    # on paper
  interlock-ceremony run genesis.toml          # the ceremony
  interlock-ceremony sample --later > rotation.toml
  interlock-ceremony run rotation.toml --key /media/alice --key /media/bob
  interlock-ceremony verify ceremony/transcript.json
  interlock-ceremony abandon genesis.toml --by dana --reason "the machine had a network"
"""


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(__version__, prog_name="interlock-ceremony")
def main() -> None:
    """Make and change the offline roots of a fleet, from reviewed scripts, without a network.

    A script says who holds which key and how many must sign, or what changes. It is checked whole
    before any key is touched; what is done is recorded in a transcript that anybody can verify.

    Exit codes: 0 done, 2 usage or script, 20 refused, 30 disk or busy (try again), 1 anything else.
    """


for _command in (sample, key, rehearse, checklist, preflight, run, abandon, check, verify):
    main.add_command(_command)
