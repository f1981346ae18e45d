"""What a KMS answers, and the names of its keys, stay in the server's log."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from interlock_core.errors import InterlockError
from interlock_server import kms
from interlock_server.web.problems import of_error
from tests.server.later import Ceremony, send
from tests.server.world import MANAGERS, ROOT, V1, V2, Bench, sha256, sign
from tests.support.papers import authorise, order

ARN = "arn:aws:kms:eu-central-9:123456789012:key/made-up"
WHY = "EndpointConnectionError: https://kms.invalid"
AWAY = kms._unavailable(f"awskms:{ARN}", WHY)
TO_MEND = kms._to_mend(f"awskms:{ARN}", ValueError(WHY))


def fails(monkeypatch: pytest.MonkeyPatch, bench: Bench, name: str, error: InterlockError) -> None:
    def failing(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(bench.back.publisher, name, failing)


def check_hidden(answer: Any, reason: str, log: pytest.LogCaptureFixture) -> None:
    status, said, text = answer.status_code, answer.json["reason"], answer.text
    assert (status, said) == (503, reason), text
    assert "made-up" not in text
    assert "kms.invalid" not in text
    assert "its log says why" in text
    assert ARN in log.text
    assert WHY in log.text


def test_of_a_kms_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    answer = of_error(AWAY)
    assert answer.status_code == 503
    body = answer.get_data(as_text=True)
    assert "kms_unavailable" in body
    assert "made-up" not in body
    assert "kms.invalid" not in body
    assert ARN in caplog.text


@pytest.mark.parametrize("error", [AWAY, TO_MEND])
def test_of_a_statement(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: InterlockError,
) -> None:
    said = order(targets=(V1.target(),))
    bench.say(said)
    fails(monkeypatch, bench, "publish_cohorts", error)
    check_hidden(bench.say(authorise(said)), "not_published", caplog)


@pytest.mark.parametrize("error", [AWAY, TO_MEND])
def test_of_a_ceremony(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: InterlockError,
) -> None:
    fails(monkeypatch, bench, "publish_directors", error)
    text = sign(bench.fleet.root("image", 2), ROOT)
    check_hidden(send(bench, Ceremony(image=[text])), "not_published", caplog)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("publish_directors", AWAY),
        ("publish_directors", TO_MEND),
        ("publish_image", TO_MEND),
    ],
)
def test_of_a_publication(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    error: InterlockError,
) -> None:
    text = sign(bench.fleet.product(2, V1, V2), MANAGERS)
    assert bench.offer(V1.product, text).status_code == 201
    for data in (*V1.files.values(), *V2.files.values()):
        bench.send(sha256(text), data)
    fails(monkeypatch, bench, name, error)
    check_hidden(bench.commit(sha256(text)), "not_published", caplog)
