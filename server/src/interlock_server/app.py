"""The web application: its parts, put together, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, Response, request

from interlock_core import wire
from interlock_core.api import MAX_BODY
from interlock_server.config import NO_SETTING, LimitsSection
from interlock_server.web import (
    access,
    ceremonies_api,
    fleet_api,
    gateway_api,
    log_api,
    openapi,
    operator_api,
    problems,
    publications_api,
    tokens,
)
from interlock_server.web.read_path import ReadPath
from interlock_server.wiring import Services


def create_app(
    services: Services,
    allowed: LimitsSection = NO_SETTING,
    monotonic: Callable[[], float] = time.monotonic,
) -> Flask:
    """The application of one process.

    Args:
        services: what it acts through; made in this process, after any fork.
        allowed: how often an address may call without a token.
        monotonic: seconds, from whenever.
    """
    # Two first requests may come together, each in a thread.
    wire.make_ready()
    app = Flask("interlock_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.merge_slashes = False
    problems.register(app)
    app.register_blueprint(
        publications_api.blueprint(
            services.backstage.publications,
            largest_target_bytes=services.backstage.publications.largest_target_bytes,
        )
    )
    app.register_blueprint(ceremonies_api.blueprint(services.backstage.ceremonies))
    app.register_blueprint(tokens.blueprint(services.sessions))
    app.register_blueprint(operator_api.blueprint(services))
    app.register_blueprint(fleet_api.blueprint(services))
    app.register_blueprint(gateway_api.blueprint(services))
    app.register_blueprint(log_api.blueprint(services))
    app.register_blueprint(openapi.blueprint())
    app.before_request(access.limit(allowed, monotonic))
    app.before_request(access.guard(services.sessions))

    @app.after_request
    def publish_log(response: Response) -> Response:
        # Whatever a call recorded is published before its answer. Of reports, soon after, and so
        # of calls that failed half way: nobody waits for what keeps them from succeeding.
        checkpoints = services.backstage.checkpoints
        if request.method == "POST":
            failed = response.status_code >= 400
            if failed or request.endpoint == gateway_api.REPORTS:
                checkpoints.later()
            else:
                checkpoints.publish_or_log()
        return response

    # The read path stands before Flask: a poll must cost no more than a look at a file.
    app.wsgi_app = ReadPath(services.backstage.store, app.wsgi_app)  # type: ignore[method-assign]
    return app
