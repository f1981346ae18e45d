"""``rollout authorise``: another person's signature under an order or a go."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.errors import ConfigurationError
from interlock_core.order import Authorisation, Go, Meaning
from interlock_core.statement import Opened
from interlock_ops.authorising import object_to_authorisation
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import permits_of, verified_images
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import meaning as meaning_option
from interlock_ops.cli.options import name, statement_id
from interlock_ops.dossier import Dossier
from interlock_ops.show import line, statement

EXAMPLES: Final = (
    'interlock-ops rollout authorise ORDER_ID --role approver --reason "tested on the bench"',
    "interlock-ops rollout authorise --go GO_ID --role engineer --meaning consented ...",
)


@click.command("authorise", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id, required=False)
@click.option("--go", "go_id", type=statement_id, help="Authorise this go instead of an order.")
@click.option(
    "--role",
    required=True,
    type=name,
    help="The role that you act in.",
)
@meaning_option
def rollout_authorise(
    run: Run, order_id: str | None, go_id: str | None, role: str, meaning: Meaning, how: How
) -> Answer:
    """Authorise an order, or with --go the opening of a stage or a resume.

    The order is shown whole, under the id that its signed bytes give, with its targets held against
    the verified image repository. Your own order or go is not yours to authorise.
    """
    session = run.session
    if order_id is None and go_id is None:
        raise ConfigurationError("Name an ORDER_ID, or a go with --go.", reason="usage")
    me = session.me
    dossier = session.dossier(order_id) if order_id else session.find_go(go_id or "")
    go = _go(dossier, go_id) if go_id else None
    order = dossier.order
    images = verified_images(session, order.said)
    objection = object_to_authorisation(session.judge, dossier, go, me, role, meaning)
    if objection is not None:
        return settle(objection)
    said = Authorisation(
        fleet=session.roster.fleet,
        author=me,
        at=session.clock(),
        reason=how.reason,
        authorises="go" if go else "order",
        id=go.id if go else order.id,
        role=role,
        meaning=meaning,
    )
    for said_of in permits_of(session, order.said, order.id):
        run.voice.warn(said_of)
    account = statement(order.said, id_=order.id, images=images)
    if go is not None:
        account += [line(""), *statement(go.said, id_=go.id, order=order.said)]
    account += [line(""), *statement(said)]
    return carry_out(
        run,
        [said],
        how,
        account=account,
        done="authorised",
        after=lambda _: [line(f"  interlock-ops rollout status {order.id}")],
        order=order.id,
        authorises=said.authorises,
        subject=said.id,
    )


def _go(dossier: Dossier, go_id: str) -> Opened[Go]:
    for go in dossier.goes:
        if go.id == go_id:
            return go
    raise ConfigurationError(
        f"The server shows no go {go_id} with the order {dossier.order.id}: check both ids.",
        reason="no_such_go",
    )
