"""What the subcommands share: options, how a result is said, and how an error is.

Rules:

1. ``--json`` prints exactly one JSON object on standard output, with ``outcome`` and ``reason``,
   whatever happens. Without it, results are for people.
2. An error is one line on standard error that says what to do next, and the exit code of its
   family. Never a traceback: for a bug, ``INTERLOCK_DEBUG=1`` shows where it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from interlock_core.errors import Exit, InterlockError

OUTCOMES: Final = {
    Exit.DONE: "done",
    Exit.OTHER: "error",
    Exit.USAGE: "usage",
    Exit.DEFERRED: "deferred",
    Exit.REFUSED: "refused",
    Exit.TRANSIENT: "transient",
    Exit.ROLLED_BACK: "rolled_back",
}

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("server.toml"),
    show_default=True,
    help="The settings file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(click.Command):
    """A command that shows examples.

    Args:
        examples: lines as a person would type them.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilogue."""
        _write_examples(formatter, self._examples)
        super().format_epilog(ctx, formatter)


class Commands(click.Group):
    """The whole command: every error ends as rules 1 and 2 say.

    Args:
        modules: of each command, the module that holds it under the same name. It is imported when
            the command is run: making keys needs no web server, nor its time to load.
        examples: as ``Command``.
    """

    def __init__(
        self,
        *args: Any,
        modules: Mapping[str, str],
        examples: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules
        self._examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands' names, sorted."""
        return sorted(self._modules)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import the command that is run."""
        if cmd_name not in self._modules:
            return None
        command: click.Command = getattr(import_module(self._modules[cmd_name]), cmd_name)
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilogue."""
        _write_examples(formatter, self._examples)
        super().format_epilog(ctx, formatter)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and map every error to a line and an exit code."""
        kwargs["standalone_mode"] = False
        words = list(kwargs.get("args") or (args[0] if args else None) or sys.argv[1:])
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # A file name that the terminal cannot spell must not end the command.
                stream.reconfigure(errors="backslashreplace")
        try:
            result = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            fail("Interrupted: nothing more was done.", "interrupted", Exit.OTHER, words)
        except click.exceptions.NoArgsIsHelpError as e:
            click.echo(e.format_message())
            sys.exit(int(Exit.USAGE))
        except click.ClickException as e:
            fail(_one_line(e.format_message()), "usage", Exit.USAGE, words)
        except InterlockError as e:
            fail(str(e), e.reason, e.exit_code, words)
        except OSError as e:
            fail(f"{e}: mend that and run this again.", "disk", Exit.TRANSIENT, words)
        except Exception as e:
            # The outermost edge: a bug must not print its insides at somebody who can do nothing
            # about them.
            if os.environ.get("INTERLOCK_DEBUG"):
                raise
            message = f"This is a bug ({type(e).__name__}); INTERLOCK_DEBUG=1 shows where."
            fail(message, "internal", Exit.OTHER, words)
        sys.exit(result if isinstance(result, int) else 0)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def fail(message: str, reason: str, code: Exit, words: list[str]) -> NoReturn:
    """Say an error (rule 2) and leave."""
    if "--json" in words:
        click.echo(json.dumps({"outcome": OUTCOMES[code], "reason": reason, "detail": message}))
    click.echo(f"interlock-server: {_one_line(message)} [{reason}]", err=True)
    sys.exit(int(code))


def say(as_json: bool, text: str, **facts: Any) -> None:
    """Say a result: for people, or as one object (rule 1)."""
    if as_json:
        click.echo(json.dumps({"outcome": "done", "reason": "", **facts}))
    else:
        click.echo(text)
