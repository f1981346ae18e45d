"""What ``/openapi.json`` says, held against the server by Schemathesis, call by call.

It makes requests that fit the document and requests that break it, and judges each answer by the
document: no 5xx, no status, media type, header or body that is not described; what breaks the
schema is refused; what needs a token is refused without one; what stands nowhere is 405.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from interlock_server.app import create_app
from interlock_server.online_keys import Signers
from interlock_server.web.openapi import document
from tests.server.world import V1, Bench, Fleet
from tests.support.papers import claim, enrolment, order

load_all_checks()
ORDER = order(targets=(V1.target(),))
ENROLLED = enrolment()
UNWANTED: list[Any] = CHECKS.get_by_names(
    [
        # What fits the schema is refused all the same: a schema cannot say who must have signed
        # what stands in an envelope.
        "positive_data_acceptance",
        # A deletion is what there is none of.
        "use_after_free",
        "ensure_resource_availability",
    ]
)


class Stand:
    """Takes requests for the server of these tests, which does not stand yet when they are made."""

    def __init__(self) -> None:
        self.behind: Any = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.behind(environ, start_response)


STAND = Stand()
API = schemathesis.openapi.from_dict(
    json.loads(document()),
    config=SchemathesisConfig.from_dict(
        {
            "seed": 5,
            "base-url": "http://interlock.test",
            # A body of no known length, or one that is too long, is refused by its own status.
            "checks": {
                "negative_data_rejection": {
                    "expected-statuses": [400, 401, 403, 404, 405, 409, 411, 413, 415]
                }
            },
        }
    ),
)
API.app = STAND


@pytest.fixture(scope="module")
def token(
    template: Fleet, signers: Signers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Of somebody who reads everything; the server stands while it is held."""
    bench = Bench(template.copy(tmp_path_factory.mktemp("schema") / "fleet"), signers)
    bench.restart()
    bench.say_all(ORDER, claim())
    bench.let_in(ENROLLED)
    STAND.behind = create_app(bench.services)
    yield bench.token()
    bench.back.database.close()


@API.parametrize()
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_server_is_what_the_document_says(
    case: schemathesis.Case[Any], token: dict[str, str]
) -> None:
    case.call_and_validate(headers=token, excluded_checks=UNWANTED)
