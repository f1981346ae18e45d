"""Statements in envelopes: one form, one id, and no signature that is not the author's."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from interlock_core.acts import ACT_STATEMENTS
from interlock_core.errors import WireError
from interlock_core.order import ROLLOUT_STATEMENTS, Go, Order, Stage, Stop
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.report import FLEET_STATEMENTS
from interlock_core.statement import (
    MAX_ENVELOPE,
    MAX_SIGNATURES,
    PAYLOAD_TYPE,
    Envelope,
    Opened,
    Session,
    Signature,
    open_as,
    open_statement,
    read_envelope,
)
from interlock_core.wire import encode
from tests.support.papers import (
    assignment,
    authorise,
    enrolment,
    opening,
    order,
    renewal,
    report,
    resume,
    session,
    signed,
    stage,
    stop,
    target,
)
from tests.support.people import CANARY, DAY0, FLEET, public_key, signer

EVERY_TYPE = (
    *ROLLOUT_STATEMENTS,
    *RECALL_STATEMENTS,
    *FLEET_STATEMENTS,
    *ACT_STATEMENTS,
    Session,
)
ORDER = order()
OPENING = opening(ORDER)
ENROLLED = enrolment()
EVERY: tuple[Opened[Any], ...] = (
    ORDER,
    authorise(ORDER),
    OPENING,
    renewal(OPENING, at=DAY0),
    resume(ORDER, at=DAY0, clears=[64 * "0"]),
    stop(ORDER),
    assignment(64 * "0"),
    ENROLLED,
    report(ENROLLED),
    report(ENROLLED, report(ENROLLED), about=ORDER),
    session("sixteen characters or more"),
)
OLGA = public_key("olga").sslib()


def wrap(payload: bytes, signatures: int = 1) -> Envelope:
    return Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(Signature(keyid=64 * "0", sig="AAAA"),) * signatures,
    )


def with_signatures(opened: Opened[Any], *sigs: tuple[str, str]) -> Opened[Any]:
    """``opened`` with the (key id, base64) signatures given."""
    signatures = tuple(Signature(keyid=keyid, sig=sig) for keyid, sig in sigs)
    return open_as(
        msgspec.structs.replace(opened.envelope, signatures=signatures), type(opened.said)
    )


@pytest.mark.parametrize("opened", EVERY, ids=lambda o: type(o.said).__name__)
def test_what_is_signed_is_opened(opened: Opened[Any]) -> None:
    envelope = read_envelope(encode(opened.envelope))
    again = open_statement(envelope, EVERY_TYPE)
    assert (again.said, again.id, again.payload) == (opened.said, opened.id, opened.payload)
    assert again.verified_by([signer(opened.said.author).public_key]) is not None


@pytest.mark.parametrize("opened", EVERY, ids=lambda o: type(o.said).__name__)
def test_an_edit_is_another_statement_that_nobody_signed(opened: Opened[Any]) -> None:
    edited = signed(msgspec.structs.replace(opened.said, reason="something else"), "eve")
    forged = msgspec.structs.replace(edited.envelope, signatures=opened.envelope.signatures)
    again = open_as(forged, type(opened.said))
    assert again.id != opened.id
    assert again.verified_by([signer(opened.said.author).public_key]) is None


def test_a_statement_of_one_type_is_not_opened_as_another() -> None:
    with pytest.raises(WireError, match="urn:interlock:stop:v1"):
        open_as(ORDER.envelope, Stop)
    with pytest.raises(WireError, match="expected urn:interlock:stop:v1 or urn:interlock:go:v1"):
        open_statement(ORDER.envelope, (Stop, Go))


# --- Signatures ---------------------------------------------------------------------------------


def test_only_a_key_that_signed_verifies() -> None:
    assert ORDER.verified_by([OLGA]) == OLGA
    assert ORDER.verified_by([]) is None
    assert ORDER.verified_by([public_key("ada").sslib()]) is None
    assert ORDER.verified_by([public_key("ada").sslib(), OLGA]) == OLGA


def test_a_signature_under_anothers_key_id_is_none() -> None:
    [good] = ORDER.envelope.signatures
    by_ada = authorise(ORDER).envelope.signatures[0]
    assert with_signatures(ORDER, (OLGA.keyid, by_ada.sig)).verified_by([OLGA]) is None
    assert with_signatures(ORDER, (by_ada.keyid, good.sig)).verified_by([OLGA]) is None
    several = with_signatures(ORDER, (OLGA.keyid, by_ada.sig), (OLGA.keyid, good.sig))
    assert several.verified_by([OLGA]) == OLGA


BASE64ISH = st.one_of(
    st.binary(min_size=1, max_size=100).map(lambda raw: base64.b64encode(raw).decode()),
    st.text(st.characters(codec="ascii"), min_size=1, max_size=30),
)


@given(st.lists(BASE64ISH, min_size=1, max_size=3))
def test_no_malformed_signature_raises_or_counts(sigs: list[str]) -> None:
    opened = with_signatures(ORDER, *((OLGA.keyid, sig) for sig in sigs))
    assert opened.verified_by([OLGA]) is None
    [good] = ORDER.envelope.signatures
    opened = with_signatures(ORDER, *((OLGA.keyid, sig) for sig in sigs), (good.keyid, good.sig))
    assert opened.verified_by([OLGA]) == OLGA


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 255, 384, 3309, 4000])
@pytest.mark.parametrize(
    "made",
    [
        CryptoSigner.generate_ecdsa,
        lambda: CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384"),
        lambda: CryptoSigner.generate_rsa(size=3072),
        CryptoSigner.generate_mldsa,
    ],
    ids=["P-256", "P-384", "RSA", "ML-DSA"],
)
def test_keys_of_every_kind_refuse_any_length_quietly(made: Any, length: int) -> None:
    key: SSlibKey = made().public_key
    junk = base64.b64encode(bytes(range(256)) * 16)[: 4 * length].decode() or "AAAA"
    assert with_signatures(ORDER, (key.keyid, junk)).verified_by([key]) is None


def test_at_most_16_signatures_are_read() -> None:
    payload = ORDER.payload
    sixteen = open_as(read_envelope(encode(wrap(payload, MAX_SIGNATURES))), Order)
    assert sixteen.said == ORDER.said
    with pytest.raises(WireError, match="length <= 16"):
        read_envelope(encode(wrap(payload, MAX_SIGNATURES + 1)))


# --- Form ---------------------------------------------------------------------------------------


def test_nothing_too_large_is_signed_or_opened() -> None:
    many = tuple(f"{number:03d}" + 59 * "c" for number in range(256))
    crowd = Stage(cohorts=many, basis_points=10_000, soak_seconds=0, gate="manual")
    with pytest.raises(WireError, match="larger than 65536"):
        order(stages=(crowd,) * 4)
    large = wrap(ORDER.payload + b" " * MAX_ENVELOPE)
    with pytest.raises(WireError, match="larger than 65536"):
        open_as(large, Order)
    with pytest.raises(WireError, match="at most 65536"):
        read_envelope(encode(large))


@given(st.binary(max_size=120))
def test_any_envelope_is_opened_or_refused(data: bytes) -> None:
    for made in (lambda: read_envelope(data), lambda: open_statement(wrap(data), EVERY_TYPE)):
        with contextlib.suppress(WireError):
            made()


@given(st.sampled_from(EVERY), st.data())
def test_a_damaged_payload_is_refused_or_another_statement(
    opened: Opened[Any], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(opened.payload) - 1))
    piece = data.draw(st.sampled_from([b"", b"0", b"-", b'"', b"\xff", b"}", b"9999", b"null"]))
    bad = opened.payload[:at] + piece + opened.payload[at + data.draw(st.integers(0, 4)) :]
    try:
        again = open_statement(wrap(bad), EVERY_TYPE)
    except WireError:
        return
    assert again.payload == bad
    assert bad == opened.payload or again.id != opened.id


JUNK: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(["9998-12-31T23:59:59Z", "1970-01-01T00:00:00Z", 64 * "f", "-", ".."]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["path", "sha256", "keyid", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.sampled_from(EVERY), st.data())
def test_any_value_in_any_field_is_opened_or_refused(
    opened: Opened[Any], data: st.DataObject
) -> None:
    tree = msgspec.json.decode(opened.payload)
    fields = tree["predicate"]
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(JUNK)
    with contextlib.suppress(WireError):
        open_statement(wrap(encode(tree)), EVERY_TYPE)


@pytest.mark.parametrize("at", [datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC), DAY0])
def test_no_time_leaves_the_calendar(at: datetime) -> None:
    with pytest.raises(ValueError, match="`valid_until`"):
        opening(ORDER, at=at, valid_until=at + timedelta(days=30, seconds=1))
    with pytest.raises(ValueError, match="`at`"):
        opening(ORDER, at=datetime(9999, 1, 1, tzinfo=UTC))


def test_a_go_is_valid_for_30_days_at_most() -> None:
    month = timedelta(days=30)
    assert opening(ORDER, valid_until=DAY0 + month).said.valid_until == DAY0 + month


# --- Orders -------------------------------------------------------------------------------------


def test_a_share_may_rise_and_stay_and_is_each_cohorts_own() -> None:
    order(stages=(stage(CANARY, share=10), stage("st-anna", share=5), stage(CANARY, share=10)))
    with pytest.raises(ValueError, match="share of cohort canary falls in stage 2"):
        order(stages=(stage(CANARY, share=10), stage("st-anna"), stage(CANARY, share=9)))


def test_an_orders_cohorts_are_those_of_all_its_stages() -> None:
    assert ORDER.said.cohorts() == ("canary", "st-anna", "st-bert")


def test_targets_of_another_product_are_refused_when_the_order_is_made() -> None:
    with pytest.raises(ValueError, match="under the order's product"):
        order(targets=(target(product="pump"),))
    with pytest.raises(WireError, match="reserved"):
        order(product="root", targets=(target(),))


def test_a_fleet_stands_in_every_statement() -> None:
    assert {opened.said.fleet for opened in EVERY} == {FLEET}
