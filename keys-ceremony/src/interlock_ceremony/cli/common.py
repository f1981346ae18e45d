"""What the commands share: how they end, and what they say to people and to machines.

Rules:

1. Every command ends with the exit code of its error's family. The error is one line for each
   thing to mend, on standard error, and never a traceback.
2. With ``--json``, standard output is one JSON object with at least ``outcome`` and ``reason``,
   however the command ends, and nothing else is said there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, NoReturn

import click

from interlock_ceremony.ceremony import Room, Say
from interlock_core import wire
from interlock_core.errors import Exit, InterlockError

Result = Mapping[str, Any]
"""What a command has to say to a machine, beside ``outcome``; it holds ``reason``."""

_OUTCOMES: Final = {
    Exit.USAGE: "usage",
    Exit.REFUSED: "refused",
    Exit.TRANSIENT: "transient",
}


def command(function: Callable[..., Result]) -> Callable[..., None]:
    """Give a command ``--json``, and the one place where its errors end (rules 1 and 2).

    The function gets ``room`` and ``say`` beside its own parameters, and returns a ``Result``.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
    @click.pass_context
    @wraps(function)
    def run(context: click.Context, /, *, as_json: bool, **parameters: Any) -> None:
        room: Room = context.obj or Room()
        say: Say = _silent if as_json else click.echo
        try:
            result = function(room=room, say=say, **parameters)
        except InterlockError as e:
            _fail(context, as_json, e.exit_code, e.reason, str(e))
        except KeyboardInterrupt:
            _fail(context, as_json, Exit.OTHER, "interrupted", "Interrupted.")
        except BrokenPipeError:
            raise  # nobody reads any more: click ends quietly
        except Exception as e:  # noqa: BLE001  # the outermost edge: a person sees no traceback
            message = f"This is a fault of interlock-ceremony ({type(e).__name__}: {e}); report it."
            _fail(context, as_json, Exit.OTHER, "internal", message)
        if as_json:
            click.echo(wire.encode({"outcome": "done", **result}))

    return run


def _fail(context: click.Context, as_json: bool, code: Exit, reason: str, message: str) -> NoReturn:
    for line in message.split("\n"):
        # A transcript from outside may have been quoted; it gets no say over the terminal.
        shown = "".join(
            char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line
        )
        click.echo(f"Error: {shown}", err=True)
    if as_json:
        outcome = _OUTCOMES.get(code, "error")
        click.echo(wire.encode({"outcome": outcome, "reason": reason, "message": message}))
    context.exit(code)


def _silent(_: str) -> None:
    pass
