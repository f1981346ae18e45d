"""Showing, confirming, signing and sending statements: what every acting command does (I/O).

Rules:

1. What will be signed is shown in plain words first, and a person at a terminal says yes to it,
   unless ``--yes`` was passed. Without a terminal ``--yes`` is needed.
2. ``--dry-run`` shows the statements and signs nothing of them.
3. ``--output`` writes the signed envelopes to files, create-only, to be sent with ``rollout post``.
4. What is signed carries the log's newest checkpoint that was verified here (``Session``).
5. Sending the same envelope again does no harm, so after a network error the same file or command
   can be tried again. What must not be lost is kept in a file from before it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from msgspec import structs
from rich.console import RenderableType

from interlock_core import durable, wire
from interlock_core.errors import InterlockError, TransientError
from interlock_core.statement import Envelope, Said, open_as, sign
from interlock_ops.cli.edge import Answer, Operation, Run, need_confirmation
from interlock_ops.cli.options import check_reason
from interlock_ops.show import fact, heading, line


@dataclass(frozen=True)
class How:
    """How to carry out an act.

    Attributes:
        reason: why, in the author's words.
        yes: nobody is asked.
        dry_run: nothing is signed.
        output: where to write the envelope instead of sending it.
    """

    reason: str
    yes: bool
    dry_run: bool
    output: Path | None


class Act(Operation):
    """An operation that signs; its function also gets ``how``."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += [
            click.Option(
                ["--reason"],
                required=True,
                callback=check_reason,
                help="Why, in your words; it is signed.",
            ),
            click.Option(["--yes"], is_flag=True, help="Do not ask for confirmation."),
            click.Option(
                ["--dry-run"], is_flag=True, help="Show what would be signed, and do not sign it."
            ),
            click.Option(
                ["--output"],
                type=click.Path(path_type=Path, dir_okay=False),
                help="Write the signed envelope to this file instead of sending it.",
            ),
        ]

    def prepare(self, ctx: click.Context) -> None:
        """Collect the options into ``how``."""
        names = ("reason", "yes", "dry_run", "output")
        ctx.params["how"] = How(**{name: ctx.params.pop(name) for name in names})


def carry_out(
    run: Run,
    statements: Sequence[Said],
    how: How,
    *,
    account: Sequence[RenderableType],
    done: str,
    after: Callable[[Sequence[str]], Sequence[RenderableType]] = lambda _: (),
    before: Callable[[], None] = lambda: None,
    beside: Callable[[str, bytes], None] = lambda _id, _data: None,
    keep: Sequence[Path] = (),
    unsure: str = "ask 'rollout status', then try again.",
    **facts: Any,
) -> Answer:
    """Show, confirm, sign and send.

    Args:
        run: of this command.
        statements: to be signed, in this order.
        how: as the options say.
        account: all of it in plain words.
        done: the answer's reason when it was sent.
        after: what to show then, given the ids.
        before: done when everything is signed, and before any of it leaves.
        beside: given each id and signed envelope, before any of them leaves.
        keep: where each envelope stands from before it is sent until the server has taken it.
        unsure: what to do where it is not known whether something arrived.
        facts: for machines, beside ids.

    Raises:
        InterlockError: nothing was signed, or it was not sent; the message says which.
    """
    if how.dry_run:
        trees = [_tree(said) for said in statements]
        text = json.dumps(trees[0] if len(trees) == 1 else trees, indent=2, sort_keys=True)
        shown = [*account, *(line(row) for row in text.splitlines())]
        shown.append(line("Dry run: nothing was signed."))
        return Answer("dry_run", shown, {"statements": trees, **facts}, outcome="dry_run")
    run.voice.show(account)
    if not how.yes:
        count = "this statement" if len(statements) == 1 else f"these {len(statements)} statements"
        need_confirmation(run, f"Sign {count} as {statements[0].author}?")
    signer = run.session.signer
    checkpoint = run.session.checkpoint
    statements = [structs.replace(said, checkpoint=checkpoint) for said in statements]
    envelopes = [sign(said, signer) for said in statements]
    ids = [
        open_as(envelope, type(said)).id
        for envelope, said in zip(envelopes, statements, strict=True)
    ]
    told = {"id": ids[0], "ids": ids, **facts}
    before()
    for id_, envelope in zip(ids, envelopes, strict=True):
        beside(id_, wire.encode(envelope) + b"\n")
    if how.output is not None:
        files = [how.output, *(_numbered(how.output, n) for n in range(2, len(ids) + 1))]
        _write(files, envelopes)
        shown = [
            heading("Signed, and not sent:"),
            *(fact("id", one) for one in ids),
            *(line(f"  interlock-ops rollout post {file}") for file in files),
        ]
        return Answer("written", shown, {**told, "files": [str(file) for file in files]})
    _write(keep, envelopes)
    _send(run, list(zip(ids, envelopes, strict=True)), keep, unsure)
    return Answer(
        done,
        [heading("Signed and sent:"), *(fact("id", one) for one in ids), *after(ids)],
        told,
    )


def _write(files: Sequence[Path], envelopes: Sequence[Envelope]) -> None:
    for file, envelope in zip(files, envelopes, strict=False):
        durable.create(file, wire.encode(envelope) + b"\n")


def _send(
    run: Run, signed: Sequence[tuple[str, Envelope]], keep: Sequence[Path], unsure: str
) -> None:
    """Send each statement, and let go of what was kept of it."""
    with run.voice.progress("statements sent") as progress:
        for number, (id_, envelope) in enumerate(signed):
            try:
                run.session.post(envelope, id_)
            except InterlockError as e:
                text = str(e)
                if isinstance(e, TransientError):
                    doubt = f" It is not known whether the statement {id_} arrived"
                    text += f"{doubt}." if keep else f"{doubt}: {unsure}"
                if number:
                    text += f" {number} of {len(signed)} were sent before."
                if keep:
                    files = " ".join(str(file) for file in keep[number:])
                    text += (
                        f" What is signed is kept: 'interlock-ops rollout post {files}' sends it."
                    )
                raise type(e)(text, reason=e.reason) from e
            for file in keep[number : number + 1]:
                durable.remove(file)
            progress(number + 1)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _tree(said: Said) -> dict[str, Any]:
    return {"predicateType": said.PREDICATE, "predicate": json.loads(wire.encode(said))}
