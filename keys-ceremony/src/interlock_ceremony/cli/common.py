"""What the commands share: how they end, and what they say to people and to machines.

Rules:

1. Every command ends with the exit code of its error's family. The error is one line for each
   thing to mend, on standard error, and never a traceback.
2. With ``--json``, standard output is one JSON object with at least ``outcome`` and ``reason``,
   however the command ends, and nothing else is said there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import click
import msgspec

from interlock_ceremony.ceremony import Room
from interlock_ceremony.guide import Say
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
        except OSError as e:
            message = f"{e}: mend that and run this again."
            _fail(context, as_json, Exit.TRANSIENT, "disk", message)
        except Exception as e:  # noqa: BLE001  # the outermost edge: a person sees no traceback
            message = f"This is a fault of interlock-ceremony ({type(e).__name__}: {e}); report it."
            _fail(context, as_json, Exit.OTHER, "internal", message)
        if as_json:
            _print_json({"outcome": "done", **result})

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
        _print_json({"outcome": outcome, "reason": reason, "message": message})
    context.exit(code)


def _print_json(fields: Mapping[str, Any]) -> None:
    # Escaped throughout: a file's name may hold bytes that are no UTF-8.
    click.echo(json.dumps(msgspec.to_builtins(fields), sort_keys=True))


class Program(click.Group):
    """The whole command: rules 1 and 2 hold for words that nobody knows, too."""

    def main(self, *args: Any, **more: Any) -> NoReturn:
        """Run, and end the process."""
        given = args[0] if args else more.pop("args", None)
        words = list(sys.argv[1:] if given is None else given)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # A file name that the terminal cannot spell must not end a ceremony.
                stream.reconfigure(errors="backslashreplace")
        more["standalone_mode"] = False
        try:
            code = super().main(words, *args[1:], **more)
        except click.ClickException as e:
            e.show()
            if "--json" in words:
                message = e.format_message()
                _print_json({"outcome": "usage", "reason": "usage", "message": message})
            code = Exit.USAGE
        except click.Abort:
            click.echo("Error: Interrupted.", err=True)
            code = Exit.OTHER
        sys.exit(int(code) if isinstance(code, int) else Exit.DONE)


def _silent(_: str) -> None:
    pass
