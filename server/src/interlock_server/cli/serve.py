"""``interlock-server serve``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
from flask import Flask

from interlock_server.app import create_app
from interlock_server.cli import logs
from interlock_server.cli.common import Command, config_option, json_option, say
from interlock_server.config import load_settings
from interlock_server.web.listener import address_of, bind_both, run
from interlock_server.wiring import Backstage, backstage, check_ready, open_signers, services

_log = logging.getLogger(__name__)


@click.command(
    cls=Command,
    examples=("interlock-server serve --config server.toml",),
)
@config_option
@json_option
def serve(config: Path, as_json: bool) -> None:
    """Serve gateways and operators until SIGTERM.

    Settings, schema, online keys and both ports are checked before the first worker starts. One
    line says where it listens. Where the roots name an online key that is not held here, gateways
    are served all the same: it is logged, and /readyz says so.
    """
    settings = load_settings(config)
    signers = open_signers(settings)
    back = backstage(settings, signers)
    try:
        wrong = check_ready(back)
        back.webhooks.open()
    finally:
        # Workers connect for themselves: a connection must not be shared across a fork.
        back.database.close()
    listeners = bind_both(settings)
    scheme = "https" if settings.tls else "http"
    url = f"{scheme}://{address_of(listeners.main)}"
    health_url = f"http://{address_of(listeners.health)}"

    def make() -> tuple[Flask, Backstage]:
        mine = backstage(settings, signers)
        mine.webhooks.open()
        return create_app(services(mine), settings.limits), mine

    def announce() -> None:
        say(
            as_json,
            f"interlock-server serves {url}, its health {health_url}",
            url=url,
            health_url=health_url,
        )
        sys.stdout.flush()

    logs.begin(settings.log_format)
    for text in wrong:
        _log.error("nothing can be published: %s", text)
    run(settings, listeners, make, announce)
