"""The outermost edge: errors become one line and an exit code, outcomes become output.

Rules:

1. Nobody ever sees a traceback. An error that was raised on purpose shows its message; any other
   is called an internal error, with its type.
2. With ``--json``, standard output is exactly one object with at least ``outcome`` and ``reason``,
   whatever happens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from interlock_client.outcome import ERROR, Outcome, of_error
from interlock_core.errors import Exit, InterlockError

INTERRUPTED: Final = 130

F = TypeVar("F", bound=Callable[..., Any])


def common(function: F) -> F:
    """The options that every command has: ``--config`` and ``--json``."""
    function = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
    )(function)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=None,
        help="The gateway's configuration; before the command it means the same.",
    )(function)


def config_path(config: Path | None) -> Path:
    """The configuration named with the command, or else before it."""
    path: Path = config or click.get_current_context().find_root().obj
    return path


def finish(outcome: Outcome, *, as_json: bool) -> None:
    """Print an outcome and end the command with its exit code."""
    if as_json:
        print_json(outcome.fields())
    elif outcome.exit_code is Exit.DONE:
        click.echo(done(outcome))
    else:
        click.echo(plain(f"{outcome.outcome} ({outcome.reason}): {outcome.detail}"), err=True)
    raise SystemExit(int(outcome.exit_code))


def done(outcome: Outcome) -> str:
    """The line that people get of an outcome that needs nothing of them."""
    return plain(f"{outcome.outcome}: {outcome.detail}")


def plain(text: str) -> str:
    """One printable line: some of it may come from a server, and terminals obey escapes."""
    return "".join(char if char.isprintable() else " " for char in text)


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    click.echo(json_line(fields))


def json_line(fields: Mapping[str, Any]) -> str:
    """One JSON object in one line."""
    try:
        text = msgspec.json.encode(fields)
    except UnicodeEncodeError:
        # A file's name may hold bytes that are no UTF-8, and then no JSON string can spell it.
        text = msgspec.json.encode(_spelled(msgspec.to_builtins(fields)))
    return text.decode()


def interrupted() -> SystemExit:
    """Say that somebody ended the command, and how it exits."""
    click.echo("Interrupted: nothing was left half done; run it again.", err=True)
    return SystemExit(INTERRUPTED)


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelled(key): _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list) else value


def run(command: click.Command, arguments: list[str] | None = None) -> None:
    """Run a command line to its end (rules 1 and 2).

    Raises:
        SystemExit: always, with the exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in words
    try:
        command.main(args=words, prog_name="interlock-client", standalone_mode=False)
    except click.exceptions.Exit as e:
        raise SystemExit(e.exit_code) from e
    except click.ClickException as e:
        if as_json:
            print_json(_usage(e).fields())
        else:
            e.show()
        raise SystemExit(int(Exit.USAGE)) from e
    except (click.Abort, KeyboardInterrupt) as e:
        raise interrupted() from e
    except InterlockError as e:
        finish(of_error(e), as_json=as_json)
    except BrokenPipeError as e:
        # Nobody reads our output any more.
        raise SystemExit(int(Exit.OTHER)) from e
    except OSError as e:
        finish(
            Outcome("transient", "disk", f"{e}: mend that and run this again.", Exit.TRANSIENT),
            as_json=as_json,
        )
    except Exception as e:  # noqa: BLE001  # the outermost edge (rule 1)
        finish(
            Outcome(ERROR, "internal", f"internal error: {type(e).__name__}: {e}", Exit.OTHER),
            as_json=as_json,
        )
    raise SystemExit(int(Exit.DONE))


def _usage(error: click.ClickException) -> Outcome:
    return Outcome(ERROR, "usage", error.format_message(), Exit.USAGE)
