"""What operators call: statements, rollouts, and what the server serves.

Statements need no login: they are signed. Reading rollouts needs a token (``access``).
Devices and places are read in ``fleet_api``.
"""

from __future__ import annotations

from flask import Blueprint, request
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from interlock_core.api import PAGE, Info, RecallPage, RolloutPage
from interlock_core.errors import NotFoundError, RefusedError
from interlock_core.names import check_name
from interlock_core.order import Order
from interlock_core.roster import Judge
from interlock_core.statement import MAX_ENVELOPE, Opened, read_envelope
from interlock_server import __version__
from interlock_server.db.tables import StatementRow
from interlock_server.image import read_released
from interlock_server.onfile import at_sites, beside, find, read_on_file
from interlock_server.progress import states_of
from interlock_server.rollouts import Views
from interlock_server.web.access import sites_in_sight
from interlock_server.web.bodies import answer, is_digest, page_number, read_json
from interlock_server.wiring import Services


def blueprint(services: Services) -> Blueprint:
    """The operators' calls of ``docs/interfaces.md``."""
    routes = Blueprint("operators", __name__, url_prefix="/v1")
    back = services.backstage

    def judge() -> Judge:
        roster = read_released(back.store).roster
        if roster is None:
            raise RefusedError("No roster is published.", reason="no_roster")
        return Judge(roster, back.clock())

    @routes.post("/statements")
    def post_statement() -> Response:
        accepted, new = services.statements.post(read_json(MAX_ENVELOPE))
        return answer(accepted, 201 if new else 200)

    @routes.get("/rollouts")
    def list_rollouts() -> Response:
        page, product = page_number(), request.args.get("product")
        wanted = select(StatementRow.id).where(StatementRow.type == Order.PREDICATE)
        if product is not None:
            check_name(product, "product")
            wanted = wanted.where(StatementRow.product == product)
        wanted = wanted.order_by(StatementRow.number.desc())
        with back.database.reading() as session:
            ids = list(session.scalars(wanted.offset((page - 1) * PAGE).limit(PAGE + 1)))
            on_file = read_on_file(session)
            served = back.publisher.cohorts(session)
            states = states_of(session, ids[:PAGE])
        by_id = {order.id: order for order in on_file.orders}
        views = Views(judge(), on_file, served, states)
        items = tuple(views.summary(by_id[id_]) for id_ in ids[:PAGE])
        return answer(RolloutPage(items=items, next=page + 1 if len(ids) > PAGE else None))

    @routes.get("/rollouts/<id_>")
    def get_rollout(id_: str) -> Response:
        with back.database.reading() as session:
            order = _order(session, id_)
            on_file = read_on_file(session)
            served = back.publisher.cohorts(session)
            states = states_of(session, [order.id])
        return answer(Views(judge(), on_file, served, states).rollout(order))

    @routes.get("/rollouts/<id_>/recall")
    def get_recall(id_: str) -> Response:
        page = page_number()
        with back.database.reading() as session:
            envelopes = beside(session, _order(session, id_).id, page)
            shown = at_sites(session, envelopes[:PAGE], sites_in_sight())
        items = tuple(map(read_envelope, shown))
        return answer(RecallPage(items=items, next=page + 1 if len(envelopes) > PAGE else None))

    @routes.get("/rollouts/<id_>/stages")
    def get_stages(id_: str) -> Response:
        return answer(services.progress.stages(_order_id(id_)))

    @routes.get("/rollouts/<id_>/actions")
    def list_actions(id_: str) -> Response:
        found = services.progress.actions(
            _order_id(id_),
            page_number(),
            state=request.args.get("state"),
            vote=request.args.get("vote"),
            within=sites_in_sight(),
        )
        return answer(found)

    @routes.get("/info")
    def info() -> Response:
        with back.database.reading() as session:
            cohorts = tuple(back.publisher.cohorts(session))
        products = tuple(sorted(read_released(back.store).products))
        return answer(
            Info(fleet=services.fleet, cohorts=cohorts, products=products, version=__version__)
        )

    return routes


def _order_id(id_: str) -> str:
    if not is_digest(id_):
        raise NotFoundError("That is no id of an order.", reason="unknown_order")
    return id_


def _order(session: Session, id_: str) -> Opened[Order]:
    order = find(session, _order_id(id_))
    if order is None or not isinstance(order.said, Order):
        raise NotFoundError(f"There is no order {id_[:12]} here.", reason="unknown_order")
    return order
