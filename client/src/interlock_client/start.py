"""Where ``interlock-client`` begins.

A plain check of a gateway at rest needs a tenth of what the command line loads (``rest``), so that
is tried first. Everything else, and everything that is not certain, is the command line's.
"""

from __future__ import annotations

import sys

from interlock_client import rest


def main() -> None:
    """Run the command line and exit."""
    asked = rest.asked(sys.argv[1:])
    if asked is not None:
        config, as_json = asked
        try:
            said = rest.answer(config, as_json=as_json)
        except KeyboardInterrupt as e:
            from interlock_client.cli.edge import interrupted  # noqa: PLC0415  # rarely needed

            raise interrupted() from e
        if said is not None:
            try:
                print(said, flush=True)  # noqa: T201  # what the command line would print
            except BrokenPipeError as e:
                # Nobody reads our output any more.
                sys.stdout = None
                raise SystemExit(1) from e
            return
    from interlock_client.cli import main as whole  # noqa: PLC0415  # what is saved here

    whole()
