"""The outermost edge: arguments in, one outcome out.

Rules:

1. A command returns an ``Outcome``. Its lines are for people, on standard output; with ``--json``
   standard output is one JSON object with ``outcome`` and ``reason``, and nothing else.
2. An error is one line on standard error, and the exit code of its family. Never a traceback.
3. Progress and questions need a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final, NoReturn, TypeVar

import click

from interlock_core import urls
from interlock_core.errors import Exit, InterlockError
from interlock_repo.as_signed import EventChangedError
from interlock_repo.cli import show
from interlock_repo.review import printable

PROGRAM: Final = "interlock-repo"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Outcome:
    """How a command ended when nothing went wrong.

    Attributes:
        reason: a stable name for machines.
        lines: for people.
        facts: further members of the JSON object.
        exit_code: of the contract.
    """

    reason: str
    lines: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    exit_code: Exit = Exit.DONE


class Edge(click.Group):
    """The group whose ``main`` ends every command in one way (rules 1 and 2).

    Args:
        modules: of each command, the module that holds it. It is imported when the command is run:
            who signs offline loads nothing that knows a network.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules

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
        module = import_module(self._modules[cmd_name])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # click's own signature
        windows_expand_args: bool = True,  # as above
        **extra: Any,
    ) -> NoReturn:
        """Run one command and exit."""
        del standalone_mode
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in words
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # A file name that the terminal cannot spell must not end the command.
                stream.reconfigure(errors="backslashreplace")
        try:
            result = super().main(
                words,
                prog_name or PROGRAM,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except EventChangedError as e:
            show.show_sections(e.sections, err=True)
            facts = {"changes": show.as_json(e.sections), "void": show.void_facts(e.void)}
            code = _failed(e.exit_code, e.reason, str(e), as_json=as_json, facts=facts)
        except InterlockError as e:
            code = _failed(e.exit_code, e.reason, str(e), as_json=as_json)
        except click.ClickException as e:
            if not as_json and isinstance(e, click.UsageError) and e.ctx is not None:
                click.echo(e.ctx.get_usage(), err=True)
            code = _failed(Exit.USAGE, "usage", e.format_message(), as_json=as_json)
        except click.Abort:
            code = _failed(Exit.OTHER, "aborted", "Stopped: nothing was changed.", as_json=as_json)
        except OSError as e:
            message = f"{e}: mend that and run this again."
            code = _failed(Exit.TRANSIENT, "disk", message, as_json=as_json)
        except Exception as e:  # noqa: BLE001  # the outermost edge: what nobody foresaw ends here
            message = f"Unexpected {type(e).__name__}: {e}. Please report it with the command."
            code = _failed(Exit.OTHER, "unexpected", message, as_json=as_json)
        else:
            code = _ended(result, as_json=as_json) if isinstance(result, Outcome) else Exit.DONE
        sys.exit(code)


def _ended(outcome: Outcome, *, as_json: bool) -> Exit:
    if as_json:
        _print_json(outcome.exit_code, outcome.reason, outcome.facts)
    else:
        for line in outcome.lines:
            click.echo(line)
    return outcome.exit_code


def _failed(
    code: Exit,
    reason: str,
    message: str,
    *,
    as_json: bool,
    facts: Mapping[str, Any] | None = None,
) -> Exit:
    line = " ".join(printable(part) for part in message.splitlines())
    click.echo(f"{PROGRAM}: {line} [{reason}]", err=True)
    if as_json:
        _print_json(code, reason, {"detail": line} | dict(facts or {}))
    return code


def _print_json(code: Exit, reason: str, facts: Mapping[str, Any]) -> None:
    outcome = "error" if code is Exit.OTHER else code.name.lower()
    click.echo(json.dumps({"outcome": outcome, "reason": reason} | dict(facts)))


def json_option(command: F) -> F:
    """``--json``: read by the edge itself, so that it holds for usage errors too."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
    )(command)


def check_proxy(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """A proxy's URL, or a usage error."""
    del context, parameter
    return value if value is None else urls.check_proxy(value)


def is_terminal() -> bool:
    """Whether a person can be asked (rule 3)."""
    return sys.stdin.isatty() and sys.stderr.isatty()
