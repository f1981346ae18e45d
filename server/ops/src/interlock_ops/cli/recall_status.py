"""``rollout recall status``: whether a recall is over, and who keeps it open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.errors import ConfigurationError, Exit, RefusedError, WireError
from interlock_core.inventory import MAX_INVENTORY, Gateways, read_gateways
from interlock_core.recall import Account, Recall, account, recall_of, stand
from interlock_core.recall_papers import Disposition
from interlock_core.statement import Opened
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import statement_id
from interlock_ops.dossier import Dossier
from interlock_ops.recall_reads import beside, dossiers, gateways
from interlock_ops.recalling import exposures, installing
from interlock_ops.show import fact, heading, line
from interlock_ops.show_recall import FIELDS, account_csv, account_facts, account_lines
from interlock_ops.units import show_time

EXAMPLES: Final = (
    "interlock-ops rollout recall status ORDER_ID",
    "interlock-ops rollout recall status ORDER_ID --csv gateways.csv",
    "interlock-ops rollout recall status ORDER_ID --inventory before.json --json",
)
ANSWERS: Final = {
    "id, since": "the order, and when the recall was signed",
    "images": "digests that are taken back",
    **FIELDS,
}


@click.command("status", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("order_id", type=statement_id)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all who were affected to this file, which must not exist.",
)
@click.option(
    "--inventory",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What 'device export' wrote before: who is not shown any more is open.",
)
def recall_status(run: Run, order_id: str, csv_file: Path | None, inventory: Path | None) -> Answer:
    """Show who is affected by a recall, and what became of each. Exit code 10 while it is open.

    It is computed here, from what gateways and people signed, never from a list of the server's.
    The server can leave a gateway out: an inventory from before the recall shows that.
    """
    known = _inventory(inventory)
    found = read_recall(run, order_id)
    with run.voice.progress("devices read") as progress:
        seen = gateways(
            run.session, found.dossier.order.said.product, run.voice.warn, progress, known
        )
        judge = run.session.judge
        accounted = account(
            stand(judge, found.recall, one, found.words.get(one.enrolment, ())) for one in seen
        )
    if csv_file is not None:
        durable.create(csv_file, account_csv(accounted.affected))
    return _answer(run, found, accounted)


@dataclass(frozen=True)
class Found:
    """A recall with its order and what people said of gateways, by enrolment."""

    dossier: Dossier
    recall: Recall
    words: dict[str, list[Opened[Disposition]]]


def read_recall(run: Run, order_id: str) -> Found:
    """What a recall takes back, and what was signed about it.

    Raises:
        RefusedError: ``no_recall``: no notice that counts stands beside the order.
    """
    session = run.session
    dossier = session.dossier(order_id)
    papers = beside(session, order_id)
    if papers.left_out:
        run.voice.warn(f"{papers.left_out} statement(s) beside the order cannot be read.")
    judge = session.judge
    bare = recall_of(judge, dossier.order, papers.notices)
    if bare is None:
        raise RefusedError(
            f"Nobody entitled signed what the order {order_id[:12]} takes back: it is no recall "
            "made by 'rollout recall'. Its devices stand in 'rollout status'.",
            reason="no_recall",
        )
    orders = dossiers(session, dossier.order.said.product, run.voice.warn)
    recall = recall_of(
        judge,
        dossier.order,
        papers.notices,
        exposures(judge, installing(orders, bare.recalled)),
        [one.order.id for one in orders if one.order.said.seq > dossier.order.said.seq],
    )
    assert recall is not None
    words: dict[str, list[Opened[Disposition]]] = {}
    for word in papers.words:
        words.setdefault(word.said.enrolment, []).append(word)
    return Found(dossier, recall, words)


def _inventory(file: Path | None) -> Gateways | None:
    if file is None:
        return None
    try:
        return read_gateways(durable.read(file, limit=MAX_INVENTORY, what="inventory"))
    except WireError as e:
        raise ConfigurationError(f"{file}: {e}", reason="bad_inventory") from e


def _answer(run: Run, found: Found, accounted: Account) -> Answer:
    order = found.dossier.order
    said = order.said
    state = "closed" if accounted.closed else "open"
    shown = [
        heading(f"Recall {said.seq} of {said.product}: {state}"),
        fact("order", order.id),
        fact("since", show_time(found.recall.since)),
        fact("to", said.targets[0].path),
        *account_lines(accounted, run.session.clock()),
    ]
    if not accounted.closed:
        command = f"interlock-ops rollout recall record {order.id} DEVICE --as WHAT --reason ..."
        shown += [line("Who will not report any more gets a disposition:"), line(f"  {command}")]
    return Answer(
        f"recall_{state}",
        shown,
        {
            "id": order.id,
            "since": show_time(found.recall.since),
            "images": sorted(found.recall.recalled),
            **account_facts(accounted),
        },
        exit=Exit.DONE if accounted.closed else Exit.DEFERRED,
    )
