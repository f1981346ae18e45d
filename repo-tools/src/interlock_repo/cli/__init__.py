"""The command ``interlock-repo``: one module for each subcommand."""

from __future__ import annotations

from typing import Final

import click

from interlock_repo import __version__
from interlock_repo.cli.edge import Edge

EPILOG = """\b
Examples:
  interlock-repo key new alice --directory keys
  interlock-repo sample release > release.toml
  interlock-repo stage --event to-sign --repository https://updates.example.org \\
      --root image/1.root.json release.toml
  interlock-repo review to-sign
  interlock-repo sign to-sign --key keys/alice.key.json --meaning approved
  interlock-repo status to-sign
  interlock-repo publish to-sign --server https://updates.example.org

\b
Exit codes: 0 done; 2 usage or configuration; 10 signatures are missing; 20 refused, with a
reason; 30 network, disk or a busy server: run it again; 1 anything else.
"""


MODULES: Final = {
    "delegate": "interlock_repo.cli.delegate",
    "key": "interlock_repo.cli.key",
    "permit": "interlock_repo.cli.permit",
    "publish": "interlock_repo.cli.publish",
    "rebase": "interlock_repo.cli.rebase",
    "renew": "interlock_repo.cli.renew",
    "renew-roster": "interlock_repo.cli.renew_roster",
    "review": "interlock_repo.cli.review",
    "roster": "interlock_repo.cli.roster",
    "sample": "interlock_repo.cli.sample",
    "sign": "interlock_repo.cli.sign",
    "stage": "interlock_repo.cli.stage",
    "status": "interlock_repo.cli.status",
    "withdraw": "interlock_repo.cli.withdraw",
}


@click.group(
    cls=Edge,
    modules=MODULES,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="interlock-repo")
def main() -> None:
    """Release firmware: stage, review, sign offline, publish.

    A signing event is a directory that travels between people. One stages it from what is in
    force and what is new; each person reviews and signs it, without a network and in any order;
    when enough have signed, one publishes it through the server. Nothing is installed by that:
    the people who run the fleet authorise each rollout apart.
    """
