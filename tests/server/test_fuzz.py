"""Anything may be sent: the answer is a 4xx problem and never a 5xx, and nothing is stored."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from interlock_core import wire
from interlock_core.api import EnrolmentRequest
from interlock_core.statement import Envelope
from interlock_server.db.fleet_tables import (
    AssignmentRow,
    ClaimRow,
    EnrolmentRow,
    ForkRow,
    ReportRow,
    WordRow,
)
from interlock_server.db.tables import StatementRow
from interlock_server.online_keys import Signers
from tests.server.test_publications import kept
from tests.server.world import MANAGERS, PRODUCT, V1, V2, Bench, Fleet, sign
from tests.support.papers import (
    SECRET,
    assignment,
    authorise,
    claim,
    countersign,
    enrolment,
    opening,
    order,
    report,
    session,
    stop,
)
from tests.support.people import CANARY, ST_BERT

CALLS = (
    "/v1/statements",
    "/v1/publications",
    "/v1/tokens",
    "/v1/challenges",
    "/v1/enrolments",
    "/v1/reports",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def target(
    template: Fleet, signers: Signers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """One server for all examples: none of them may change it."""
    bench = Bench(template.copy(tmp_path_factory.mktemp("fuzz") / "fleet"), signers)
    bench.restart()
    bench.say_all(order(targets=(V1.target(),)), claim())
    bench.let_in(ENROLLED)
    yield bench
    bench.back.database.close()


def on_file(bench: Bench) -> list[int]:
    """How many rows there are of everything that people or devices signed."""
    tables = (StatementRow, ClaimRow, EnrolmentRow, WordRow, AssignmentRow, ReportRow, ForkRow)
    with bench.back.database.reading() as db:
        return [db.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def assert_refused(bench: Bench, path: str, body: bytes, headers: dict[str, str]) -> None:
    before = kept(bench), on_file(bench)
    answer = bench.client.post(path, data=body, headers=headers)
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert answer.content_type == "application/problem+json"
    assert answer.json["reason"]
    assert (kept(bench), on_file(bench)) == before


JSON = {"Content-Type": "application/json"}
few = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@few
@given(path=st.sampled_from(CALLS), body=st.binary(min_size=1, max_size=300))
def test_any_bytes(target: Bench, path: str, body: bytes) -> None:
    if body.strip() != b"{}":
        assert_refused(target, path, body, JSON)


@few
@given(path=st.sampled_from(CALLS), value=json_values)
def test_any_json(target: Bench, path: str, value: Any) -> None:
    if value != {}:
        body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        assert_refused(target, path, body, JSON)


@few
@given(role=st.text(max_size=70), text=st.text(max_size=200))
def test_any_publication(target: Bench, role: str, text: str) -> None:
    body = json.dumps({"metadata": {role: text}}).encode()
    assert_refused(target, "/v1/publications", body, JSON)


ENROLLED = enrolment()
GENUINE: dict[str, Envelope | EnrolmentRequest] = {
    "statement": order(targets=(V1.target(),), seq=2).envelope,
    "authorisation": authorise(order(targets=(V1.target(),), seq=2)).envelope,
    "go": opening(order(targets=(V1.target(),), seq=2)).envelope,
    "stop": stop(order(targets=(V1.target(),), seq=2)).envelope,
    "session": session("0" * 40).envelope,
    "claim": claim(4 * "another-").envelope,
    "assignment": assignment(ENROLLED.id, from_cohort=CANARY, to_cohort=ST_BERT).envelope,
    "countersignature": countersign(ENROLLED).envelope,
    "report": report(ENROLLED).envelope,
    "enrolment": EnrolmentRequest(claim=SECRET, enrolment=enrolment("GW-0002").envelope),
}
PATHS = {"session": "/v1/tokens", "report": "/v1/reports", "enrolment": "/v1/enrolments"}


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        found += _places(value, (*path, key))
    return found


@few
@given(name=st.sampled_from(sorted(GENUINE)), value=json_values, data=st.data())
def test_a_genuine_statement_with_one_part_replaced(
    target: Bench, name: str, value: Any, data: st.DataObject
) -> None:
    whole = json.loads(wire.encode(GENUINE[name]))
    envelope = whole["enrolment"] if name == "enrolment" else whole
    payload = json.loads(base64.b64decode(envelope["payload"]))
    inside = data.draw(st.booleans())
    tree = copy.deepcopy(payload if inside else envelope)
    place = data.draw(st.sampled_from(_places(tree)))
    part = tree
    for key in place[:-1]:
        part = part[key]
    if part[place[-1]] == value:
        return
    part[place[-1]] = value
    if inside:
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        raw = text.encode("utf-8", "surrogatepass")
        tree = envelope | {"payload": base64.b64encode(raw).decode()}
    if name == "enrolment":
        tree = whole | {"enrolment": tree}
    path = PATHS.get(name, "/v1/statements")
    body = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert_refused(target, path, body, JSON)


@few
@given(data=st.data(), value=json_values)
def test_signed_metadata_with_one_part_replaced(
    target: Bench, data: st.DataObject, value: Any
) -> None:
    """Signed anew by the real managers: whatever they sign, the server does not fall over."""
    metadata = target.fleet.product(2, V1, V2)
    tree = metadata.to_dict()
    place = data.draw(st.sampled_from(_places(tree["targets"])))
    part = tree["targets"]
    for key in place[:-1]:
        part = part[key]
    if part[place[-1]] == value:
        return
    part[place[-1]] = value
    unsigned = {"signed": tree, "signatures": []}
    try:
        text = sign(type(metadata).from_dict(copy.deepcopy(tree)), MANAGERS).decode()
    except Exception:  # noqa: BLE001  # what python-tuf cannot even hold is sent as it is
        text = json.dumps(unsigned)
    before = kept(target)
    body = json.dumps({"metadata": {PRODUCT: text}}).encode()
    answer = target.client.post("/v1/publications", data=body, headers=JSON)
    # A change that the rules allow may be taken; it is never a fault.
    assert answer.status_code == 201 or 400 <= answer.status_code < 500, answer.text
    assert kept(target) == before


@few
@given(
    path=st.text(min_size=1, max_size=60), method=st.sampled_from(["GET", "HEAD", "PUT", "POST"])
)
def test_any_path(target: Bench, path: str, method: str) -> None:
    before = kept(target)
    for prefix in ("/", "/v1/", "/v1/publications/", "/image/", "/poll/", "/director/"):
        # As a server hands it over: bytes, each as one character.
        raw = (prefix + path).encode().decode("latin-1")
        overrides = {"PATH_INFO": raw, "REQUEST_METHOD": method}
        answer = target.client.open("/", environ_overrides=overrides)
        assert answer.status_code in {200, 400, 401, 404, 405, 411, 415}, (
            prefix + path,
            answer.text,
        )
    assert kept(target) == before
