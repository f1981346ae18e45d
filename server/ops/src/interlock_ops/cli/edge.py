"""The edge of every command: settings in, an answer out, errors as one line and an exit code (I/O).

Rules:

1. With ``--json`` standard output is one JSON object with at least ``outcome`` and ``reason``;
   whatever is said to a person goes to standard error.
2. An error is one line that says what to do next, and its family's exit code. Nobody sees a
   traceback.
3. Clock, terminal and prompt come in through ``Edge``, so that tests bring their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from rich.console import Console, RenderableType
from rich.text import Text

from interlock_core.clock import Clock, system_clock
from interlock_core.credentials import Prompt
from interlock_core.errors import ConfigurationError, Exit, InterlockError
from interlock_ops import settings
from interlock_ops.objection import Objection
from interlock_ops.session import Session
from interlock_ops.show import plain

OUTCOMES: Final = {
    Exit.DONE: "done",
    Exit.USAGE: "usage",
    Exit.DEFERRED: "deferred",
    Exit.REFUSED: "refused",
    Exit.TRANSIENT: "transient",
    Exit.ROLLED_BACK: "rolled_back",
    Exit.OTHER: "error",
}
WIDTH: Final = 120
"""Columns where no terminal says how many it has."""


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True)
class Edge:
    """What a command takes from the machine that it runs on."""

    clock: Clock = system_clock
    sleep: Callable[[float], None] = time.sleep
    at_terminal: Callable[[], bool] = _at_terminal
    prompt: Prompt | None = None


@dataclass(frozen=True)
class Answer:
    """How a command ended well.

    Attributes:
        reason: a stable name.
        shown: for people.
        facts: for machines, beside outcome and reason.
        outcome: ``done``, ``nothing_to_do`` or ``dry_run``; that of ``exit`` where it is not 0.
        exit: of a question that was answered, and whose answer is not "done"; the ``detail`` in
            ``facts``, if there is one, is said on standard error.
    """

    reason: str
    shown: Sequence[RenderableType] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = "done"
    exit: Exit = Exit.DONE


class Voice:
    """Speaks to a person, or to a machine (rule 1)."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, shown: Sequence[RenderableType]) -> None:
        """Show something on the way."""
        _print(shown, err=self.as_json)

    def warn(self, text: str) -> None:
        """Warn, on standard error."""
        _print([Text(f"warning: {plain(text)}", style="yellow")], err=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int], None]]:
        """Count on a terminal, and nowhere else: "1,200 devices read"."""
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
        with console.status(what) as status:
            yield lambda number: status.update(f"{number:,} {what}")

    def tell(self, answer: Answer) -> None:
        """Give the answer."""
        if self.as_json:
            outcome = OUTCOMES[answer.exit] if answer.exit else answer.outcome
            self._say({"outcome": outcome, "reason": answer.reason, **answer.facts})
        else:
            _print(answer.shown, err=False)

    def fail(self, outcome: str, reason: str, text: str) -> None:
        """Say why not (rule 2)."""
        self.line(text, reason)
        self.tell_failure(outcome, reason, text)

    def line(self, text: str, reason: str) -> None:
        """The one line on standard error."""
        click.echo(f"interlock-ops: {plain(text)} [{reason}]", err=True)

    def tell_failure(self, outcome: str, reason: str, text: str) -> None:
        """Say why not to a machine alone."""
        if self.as_json:
            self._say({"outcome": outcome, "reason": reason, "detail": text})

    def _say(self, facts: Mapping[str, Any]) -> None:
        click.echo(json.dumps(facts, sort_keys=True))


def _print(shown: Sequence[RenderableType], *, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else WIDTH
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    for one in shown:
        # A digest must stay one word to be copied: only tables are fitted to the width.
        console.print(one, soft_wrap=isinstance(one, Text))


@dataclass
class Run:
    """One run of a command."""

    edge: Edge
    voice: Voice
    config: Path | None
    flags: Mapping[str, settings.Given]

    @cached_property
    def session(self) -> Session:
        """Settings, keys, repository and server, as needed."""
        return Session(settings.load(self.config, self.flags), self.edge.clock, self.edge.prompt)


_FLAGS: Final = {
    "server": ("URL", "The server."),
    "ca_file": ("FILE", "Certificate authorities to trust instead of the system's (PEM)."),
    "proxy": ("URL", "An HTTP proxy."),
    "fleet": ("ID", "The fleet id that the ceremony fixed."),
    "image_root": ("FILE", "A trusted root.json of the image repository."),
    "log_key": ("FILE", "The log's public key, as you were given it; repeat it for older ones."),
    "person": ("NAME", "Who signs, as the roster names him; found by the key if not given."),
    "key": ("FILE|URI", "The key to sign with."),
    "public_key": ("FILE", "Its public half, where it is not beside the private one."),
    "passphrase_file": ("FILE", "Its first line opens the key."),
    "state_directory": ("DIR", "Where the newest metadata seen is remembered."),
}

_LISTS: Final = settings.LISTS


class Operation(click.Command):
    """A command that returns an ``Answer`` or raises an ``InterlockError``.

    The wrapped function gets a ``Run`` as its first argument.
    """

    def __init__(
        self,
        *args: Any,
        settings: bool = True,
        examples: Sequence[str] = (),
        answers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.examples = examples
        self.answers = answers or {}
        self.settings = settings
        if settings:
            self.params.append(
                click.Option(
                    ["--config"],
                    type=click.Path(path_type=Path, dir_okay=False),
                    help=f"Settings file (or {_variable()}); flags win over it.",
                )
            )
            self.params += [
                click.Option(
                    [f"--{name.replace('_', '-')}"],
                    metavar=metavar,
                    help=text,
                    multiple=name in _LISTS,
                )
                for name, (metavar, text) in _FLAGS.items()
            ]
        self.params.append(
            click.Option(["--json", "as_json"], is_flag=True, help="Answer with one JSON object.")
        )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed, and what ``--json`` answers."""
        super().format_epilog(ctx, formatter)
        _section(formatter, "Examples", self.examples)
        if self.answers:
            with formatter.section("With --json, beside outcome and reason"):
                formatter.write_dl(list(self.answers.items()))

    def prepare(self, ctx: click.Context) -> None:
        """Turn parameters into what the function takes; for subclasses."""

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Run, speak, and end with the exit code."""
        voice = Voice(as_json=ctx.params.pop("as_json"))
        config, flags = None, {}
        if self.settings:
            config = ctx.params.pop("config")
            flags = {name: _given(ctx.params.pop(name)) for name in _FLAGS}
        edge = ctx.find_object(Edge) or Edge()
        ctx.params["run"] = Run(edge, voice, config, flags)
        try:
            self.prepare(ctx)
            answer: Answer = super().invoke(ctx)
        except InterlockError as e:
            voice.fail(OUTCOMES[e.exit_code], e.reason, str(e))
            ctx.exit(e.exit_code)
        voice.tell(answer)
        if answer.exit is not Exit.DONE and "detail" in answer.facts:
            voice.line(str(answer.facts["detail"]), answer.reason)
        ctx.exit(answer.exit)


def _given(value: settings.Given) -> settings.Given:
    """What a flag that may be repeated says when it was not given, is nothing."""
    return None if value == () else value


def _variable() -> str:
    return settings.CONFIG_VARIABLE


def _section(formatter: click.HelpFormatter, title: str, lines: Sequence[str]) -> None:
    if lines:
        with formatter.section(title):
            for text in lines:
                formatter.write(f"  {text}\n")


class Main(click.Group):
    """The group that everything hangs on: the outermost edge."""

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.sections = sections or {}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections as they stand."""
        super().format_epilog(ctx, formatter)
        for title, lines in self.sections.items():
            _section(formatter, title, lines)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run, and end the process."""
        given = args[0] if args else more.pop("args", None)
        words = list(sys.argv[1:] if given is None else given)
        voice = Voice(as_json="--json" in words)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # A name that this terminal cannot spell must not end the command.
                stream.reconfigure(errors="backslashreplace")
        more["standalone_mode"] = False
        try:
            code = super().main(words, *args[1:], **more)
        except click.UsageError as e:
            e.show()
            voice.tell_failure("usage", "usage", e.format_message())
            code = Exit.USAGE
        except click.ClickException as e:
            voice.fail("error", "error", e.format_message())
            code = e.exit_code
        except click.Abort:
            voice.fail("error", "interrupted", "Interrupted: nothing more was done.")
            code = Exit.OTHER
        except OSError as e:
            voice.fail("transient", "disk", f"{e}: mend that and run this again.")
            code = Exit.TRANSIENT
        except Exception as e:  # noqa: BLE001  # the outermost edge: nobody sees a traceback
            voice.fail(
                "error", "internal", f"This is a fault of interlock-ops, please report it: {e!r}"
            )
            code = Exit.OTHER
        sys.exit(int(code) if isinstance(code, int) else Exit.DONE)


def settle(objection: Objection) -> Answer:
    """An objection as an answer where there is nothing to do, and as an error elsewhere.

    Raises:
        InterlockError: with the objection's exit code.
    """
    if objection.exit is not Exit.DONE:
        raise objection.error()
    return Answer(
        objection.reason,
        [Text(plain(objection.detail))],
        {"detail": objection.detail},
        outcome="nothing_to_do",
    )


def need_confirmation(run: Run, question: str) -> None:
    """Ask a person at the terminal.

    Raises:
        ConfigurationError: ``not_confirmed``: he said no, or there is no terminal.
    """
    if not run.edge.at_terminal():
        raise ConfigurationError(
            "There is no terminal to ask at: pass --yes if you mean it. Nothing was signed.",
            reason="not_confirmed",
        )
    if not click.confirm(question, err=True):
        raise ConfigurationError("Nothing was signed.", reason="not_confirmed")
