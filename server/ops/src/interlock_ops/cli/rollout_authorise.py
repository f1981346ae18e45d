"""``rollout authorise``: another person's signature under an order or a go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import click

from interlock_core.errors import ConfigurationError
from interlock_core.exclusion import Exclusion
from interlock_core.order import Authorisation, Go, Meaning
from interlock_core.statement import Opened, Said
from interlock_ops.authorising import kind_of, object_to_authorisation
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import effect, permits_of, verified_images
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import meaning as meaning_option
from interlock_ops.cli.options import name, statement_id
from interlock_ops.dossier import Dossier
from interlock_ops.session import Session
from interlock_ops.show import line, statement

S = TypeVar("S", bound=Said)

EXAMPLES: Final = (
    'interlock-ops rollout authorise ORDER_ID --role approver --reason "tested on the bench"',
    "interlock-ops rollout authorise --go GO_ID --role engineer --meaning consented ...",
    'interlock-ops rollout authorise --exclusion EXCLUSION_ID --role approver --reason "agreed"',
)


@click.command("authorise", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id, required=False)
@click.option("--go", "go_id", type=statement_id, help="Authorise this go instead of an order.")
@click.option(
    "--exclusion",
    "exclusion_id",
    type=statement_id,
    help="Authorise this exclusion of a known issue instead of an order.",
)
@click.option(
    "--role",
    required=True,
    type=name,
    help="The role that you act in.",
)
@meaning_option
def rollout_authorise(
    run: Run,
    order_id: str | None,
    go_id: str | None,
    exclusion_id: str | None,
    role: str,
    meaning: Meaning,
    how: How,
) -> Answer:
    """Authorise an order; with --go the opening of a stage or a resume; or an exclusion.

    The order is shown whole, under the id that its signed bytes give, with its targets held against
    the verified image repository; of an exclusion also whom it leaves out and what the counts would
    be. What you signed yourself is not yours to authorise.
    """
    session = run.session
    if order_id is None and go_id is None and exclusion_id is None:
        raise ConfigurationError(
            "Name an ORDER_ID, a go with --go, or an exclusion with --exclusion.", reason="usage"
        )
    if go_id is not None and exclusion_id is not None:
        raise ConfigurationError("Authorise one thing: --go or --exclusion.", reason="usage")
    me = session.me
    dossier = _dossier(session, order_id, go_id, exclusion_id)
    about: Opened[Go] | Opened[Exclusion] | None = None
    if go_id is not None:
        about = _of(dossier, dossier.goes, go_id, "go")
    elif exclusion_id is not None:
        about = _of(dossier, dossier.exclusions, exclusion_id, "exclusion")
    order = dossier.order
    images = verified_images(session, order.said)
    objection = object_to_authorisation(session.judge, dossier, about, me, role, meaning)
    if objection is not None:
        return settle(objection)
    said = Authorisation(
        fleet=session.roster.fleet,
        author=me,
        at=session.clock(),
        reason=how.reason,
        authorises=kind_of(about),
        id=about.id if about is not None else order.id,
        role=role,
        meaning=meaning,
    )
    for said_of in permits_of(session, order.said, order.id):
        run.voice.warn(said_of)
    account = statement(order.said, id_=order.id, images=images)
    if about is not None:
        account += [line(""), *statement(about.said, id_=about.id, order=order.said)]
    told: dict[str, Any] = {}
    if about is not None and isinstance(about.said, Exclusion):
        lines, told = effect(run, order.id, order.said, [about.said])
        account += [line(""), *lines]
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
        **told,
    )


def _dossier(
    session: Session, order_id: str | None, go_id: str | None, exclusion_id: str | None
) -> Dossier:
    if order_id is not None:
        return session.dossier(order_id)
    if go_id is not None:
        return session.find_about(go_id, "go")
    return session.find_about(exclusion_id or "", "exclusion")


def _of(dossier: Dossier, shown: Sequence[Opened[S]], id_: str, what: str) -> Opened[S]:
    """The statement of that id among those that are shown with the order."""
    for one in shown:
        if one.id == id_:
            return one
    raise ConfigurationError(
        f"The server shows no {what} {id_} with the order {dossier.order.id}: check both ids.",
        reason=f"no_such_{what}",
    )
