"""What operators read about the fleet: devices, cohorts, sites, claims, monitors; with a token."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, request
from werkzeug.wrappers import Response

from interlock_core.errors import NotFoundError
from interlock_core.names import DEVICE_PATTERN, check_name
from interlock_server.web.access import sites_in_sight
from interlock_server.web.bodies import answer, page_number
from interlock_server.wiring import Services

_DEVICE: Final = re.compile(DEVICE_PATTERN)


def blueprint(services: Services) -> Blueprint:
    """The reading calls of ``docs/interfaces.md``, but for rollouts."""
    routes = Blueprint("fleet", __name__, url_prefix="/v1")
    fleet = services.fleet_views

    @routes.get("/devices")
    def list_devices() -> Response:
        return answer(
            fleet.devices(
                page_number(),
                cohort=request.args.get("cohort"),
                site=request.args.get("site"),
                state=request.args.get("state"),
                within=sites_in_sight(),
            )
        )

    @routes.get("/devices/<device>")
    def get_device(device: str) -> Response:
        if _DEVICE.match(device) is None:
            raise NotFoundError("That is no device id.", reason="unknown_device")
        return answer(fleet.device(device, sites_in_sight()))

    @routes.get("/cohorts")
    def list_cohorts() -> Response:
        return answer(fleet.cohorts(page_number()))

    @routes.get("/sites")
    def list_sites() -> Response:
        return answer(fleet.sites(page_number(), sites_in_sight()))

    @routes.get("/sites/<site>")
    def get_site(site: str) -> Response:
        return answer(fleet.site(check_name(site, "site"), sites_in_sight()))

    @routes.get("/monitors")
    def list_monitors() -> Response:
        return answer(services.monitors.views())

    @routes.get("/claims")
    def list_claims() -> Response:
        return answer(fleet.claims(page_number(), sites_in_sight()))

    return routes
