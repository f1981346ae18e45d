"""``log verify``: judges an exported log, offline."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import click
from rich.console import RenderableType

from interlock_core.checkpoint import origin_of
from interlock_core.errors import Exit, RefusedError
from interlock_core.log_audit import MAX_FINDINGS, Seen
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import statement_id
from interlock_ops.log_verify import Export, Verdict, places_of, read_export, read_text, verify
from interlock_ops.show import fact, heading, line

EXAMPLES: Final = (
    "interlock-ops log verify audit-2027-03 --log-key log.pub.json",
    "interlock-ops log verify audit-2027-03 --log-key log.pub.json \\",
    "    --checkpoint audit-2026-09/checkpoint --checkpoint from-a-hospital.txt",
    "interlock-ops log verify audit-2027-03 --log-key log.pub.json --statement ORDER_ID",
    "interlock-ops log verify audit-2027-03 --log-key log.pub.json --log-key log-2026.pub.json",
)
ANSWERS: Final = {
    "size, root": "what the checkpoint says",
    "checkpoints": "how many others were held against it",
    "intact": "up to which entry the newest of those that hold shows that nothing was changed",
    "findings": "reason, number (of the entry, or null), detail",
    "strange": "devices that were shown what is no checkpoint of this log: nothing against the log",
    "numbers": "where the statement of --statement stands",
}


@click.command("verify", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--checkpoint",
    "older",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A checkpoint that somebody kept; repeat it.",
)
@click.option("--statement", type=statement_id, help="Show where this statement stands.")
def log_verify(run: Run, directory: Path, older: tuple[Path, ...], statement: str | None) -> Answer:
    """Check every entry of an export, its root, its signature, and every checkpoint seen.

    Names what was edited, deleted, moved, put in or cut off, and who was shown another log. Nothing
    is fetched. The log's key must come to you by another way than the log. Repeat --log-key for
    keys that were the log's before: older checkpoints are believed by them, not the export's own.
    """
    settings = run.session.settings
    keys = run.session.log_keys
    seen = [Seen(f"The checkpoint {path}", None, read_text(path)) for path in older]
    origin = None if settings.fleet is None else origin_of(settings.fleet)
    export = read_export(directory)
    verdict = verify(export, keys, seen, origin)
    if verdict.findings:
        return _refused(verdict)
    numbers = [] if statement is None else _numbers(export, verdict, statement)
    kinds = Counter(f"{entry.fact.kind} {entry.fact.name}" for entry in verdict.entries)
    shown: list[RenderableType] = [
        heading(f"The log is whole: {verdict.said.size} entries, as they were signed."),
        fact("log", verdict.said.origin),
        fact("root", verdict.said.root.hex()),
        fact("checkpoints", f"{verdict.checkpoints} others hold"),
        *_strange(verdict),
        *(fact("holds", f"{count} {name}") for name, count in sorted(kinds.items())),
        *(fact("stands", f"as entry {number}, by its inclusion proof") for number in numbers),
    ]
    return Answer("verified", shown, {**_facts(verdict), "numbers": numbers, "findings": []})


def _facts(verdict: Verdict) -> dict[str, object]:
    return {
        "size": verdict.said.size,
        "root": verdict.said.root.hex(),
        "checkpoints": verdict.checkpoints,
        "intact": verdict.intact,
        "strange": list(verdict.strange[:MAX_FINDINGS]),
    }


def _strange(verdict: Verdict) -> list[RenderableType]:
    """Told beside the verdict, which it does not change."""
    told = verdict.strange[:MAX_FINDINGS]
    rest = len(verdict.strange) - len(told)
    shown: list[RenderableType] = [fact("remark", text) for text in told]
    return [*shown, fact("remark", f"and {rest} more")] if rest else shown


def _numbers(export: Export, verdict: Verdict, statement: str) -> list[int]:
    numbers = places_of(export, verdict, statement)
    if not numbers:
        raise RefusedError(
            f"No entry of this log names {statement}: it was not accepted, or it was left out.",
            reason="not_in_log",
        )
    return numbers


def _refused(verdict: Verdict) -> Answer:
    told = verdict.findings[:MAX_FINDINGS]
    rest = len(verdict.findings) - len(told)
    more = f" ({len(verdict.findings) - 1} more findings)" if verdict.findings[1:] else ""
    shown: list[RenderableType] = [
        heading("This is not the log that was signed."),
        *(line(f"{one.reason}: {one.detail}") for one in told),
    ]
    if rest:
        shown.append(line(f"and {rest} more"))
    shown += _strange(verdict)
    if verdict.intact:
        shown.append(line(f"The entries before {verdict.intact} are as an older checkpoint says."))
    findings = [{"reason": one.reason, "number": one.number, "detail": one.detail} for one in told]
    return Answer(
        told[0].reason,
        shown,
        {**_facts(verdict), "detail": told[0].detail + more, "findings": findings},
        outcome="refused",
        exit=Exit.REFUSED,
    )
