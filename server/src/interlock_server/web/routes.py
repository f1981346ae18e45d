"""The API in one table: what may be called, with what, by whom, and what comes back.

Rules:

1. Every endpoint of the application stands here once; one that does not is closed to everybody
   (``access``), and a test names it. The OpenAPI document is made of this table and of the types.
2. What is sent is signed, so sending needs no login (``Auth.SIGNED``); reading what the fleet keeps
   needs a token (``Auth.TOKEN``), and the person behind it a role that may read it:

   - ``Reader.FLEET``: whoever holds a grant that is not limited to sites (operators, approvers,
     auditors …) reads everything;
   - ``Reader.SITE``: whose every grant is limited to sites reads rollouts, and the devices, claims
     and descriptions of those sites;
   - ``Reader.MONITOR``: the monitor reads rollouts and the records of the log.

3. Whatever is sent is known by what it says: its id is a digest of it. Sending the same again
   changes nothing and is answered alike, so that no key for idempotency is needed. A challenge
   and a token are made anew each time: to keep a token for somebody who lost the answer would be to
   keep a secret, and a new challenge costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from interlock_core import api, wire
from interlock_core.abort import Vote
from interlock_core.names import DeviceId, Digest, Name
from interlock_core.report import Outcome
from interlock_core.statement import Envelope
from interlock_server.sessions import Reader

Page = Annotated[int, Meta(ge=1, le=999_999_999)]
Size = Annotated[int, Meta(ge=0, le=999_999_999_999_999)]


class Auth(Enum):
    """What a call needs."""

    NONE = "none"
    SIGNED = "signed"
    TOKEN = "token"  # noqa: S105  # the kind of a call


class Nothing(wire.Record, frozen=True, kw_only=True):
    """An empty object."""


class OpenApi(wire.Record, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """An OpenAPI document."""

    openapi: Literal["3.1.0"]


EVERYBODY: Final = frozenset(Reader)
PEOPLE: Final = frozenset({Reader.FLEET, Reader.SITE})


@dataclass(frozen=True)
class Route:
    """One method of one address.

    Attributes:
        method: of HTTP; HEAD goes with GET.
        rule: the address, as Flask spells it.
        summary: what it does.
        answers: by status, the type of the body; None for an empty one.
        body: the type of the JSON body; ``bytes`` for bytes as they are; None where none is read.
        query: the type of each parameter after the question mark.
        path: the type of each part of the address.
        readers: who may read it; empty where no token is needed.
        reasons: by which names it is refused, beside those of every call (``problem_list``).
        auth: what it needs.
    """

    method: str
    rule: str
    summary: str
    answers: Mapping[int, Any]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, Any] = field(default_factory=dict)
    readers: frozenset[Reader] = frozenset()
    reasons: tuple[str, ...] = ()
    auth: Auth = Auth.NONE

    @property
    def name(self) -> str:
        """``GET /v1/rollouts``: a call's one name."""
        return f"{self.method} {self.rule}"


def _reads(
    rule: str,
    summary: str,
    type_: Any,
    readers: frozenset[Reader],
    *reasons: str,
    query: Mapping[str, Any] | None = None,
    path: Mapping[str, Any] | None = None,
) -> Route:
    """A call that needs a token."""
    return Route(
        "GET",
        rule,
        summary,
        {200: type_},
        query=query or {},
        path=path or {},
        readers=readers,
        reasons=reasons,
        auth=Auth.TOKEN,
    )


_FLEET: Final = frozenset({Reader.FLEET})
_ORDER: Final = {"id_": Digest}
_MADE: Final = {201: api.Accepted, 200: api.Accepted}
_METADATA: Final = (
    "untrusted_metadata", "version_gap", "expired_metadata", "issued_in_future", "shared_key",
    "rehearsal", "orphaned_role", "gateways_would_refuse", "bad_key", "bad_threshold",
    "weak_hybrid", "rollback", "bad_delegation",
)  # fmt: skip
_PUBLICATION: Final = (
    *_METADATA, "wrong_fleet", "bad_roster", "roster_stale", "bad_permit", "bad_facts",
    "bad_hashes", "bad_withdrawal", "counter_not_raised", "missing_reference", "no_sbom",
    "stray_delta", "target_changed", "target_removed", "target_too_large", "too_many_permits",
    "unknown_version", "version_reused", "directive_too_large",
)  # fmt: skip
_CEREMONY: Final = (
    *_METADATA, "other_ceremony", "other_root", "other_targets", "online_key_missing",
    "not_published",
)  # fmt: skip
_SESSION: Final = (
    "wrong_fleet", "unknown_author", "bad_signature", "no_grant", "bad_challenge", "no_roster",
)  # fmt: skip
_REPORT: Final = (
    "unknown_enrolment", "wrong_fleet", "bad_signature", "not_countersigned", "superseded",
    "quarantined", "revoked", "decommissioned", "report_gap", "report_fork",
)  # fmt: skip
_DEVICE: Final = (
    "no_roster", "bad_claim", "claim_mismatch", "bad_signature", "wrong_fleet", "dated_in_future",
    "cohort_denied", "claim_used", "key_taken", "bad_rotation", "unknown_enrolment",
    "not_countersigned", "superseded", "quarantined", "revoked", "decommissioned",
    "too_many_rotations",
)  # fmt: skip
_STATEMENT: Final = (
    "no_roster", "wrong_fleet", "unknown_author", "bad_signature", "dated_in_future",
    "role_not_held", "expired", "cohort_not_served", "secret_taken", "unknown_enrolment",
    "device_mismatch", "not_countersigned", "superseded", "seq_taken", "seq_too_high",
    "order_running", "unknown_site", "unknown_hold", "too_many_holds", "revoked",
    "decommissioned", "quarantined", "other_report", "unknown_subject", "own_authorisation",
    "unknown_order", "order_mismatch", "superseded_order", "target_mismatch", "unknown_target",
    "unknown_cohort", "unknown_stage", "unknown_opening", "not_published", "directive_too_large",
    "too_many_orders",
)  # fmt: skip

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", "/openapi.json", "This document.", {200: OpenApi}),
    Route(
        "GET",
        "/v1/info",
        "What the server serves.",
        {200: api.Info},
    ),
    Route(
        "POST",
        "/v1/publications",
        "Offer signed metadata of one role, or of several that hold only together.",
        {201: api.Publication},
        body=api.PublicationRequest,
        auth=Auth.SIGNED,
        reasons=_PUBLICATION,
    ),
    Route(
        "GET",
        "/v1/publications",
        "The newest publications that wait, and those that are out.",
        {200: api.PublicationList},
        query={"role": Name, "version": Page},
        reasons=("bad_version",),
    ),
    Route(
        "GET",
        "/v1/publications/<id_>",
        "Where a publication stands.",
        {200: api.Publication},
        path={"id_": Digest},
        reasons=("unknown_publication",),
    ),
    Route(
        "PUT",
        "/v1/publications/<id_>/targets/<sha256>",
        "Send the bytes of a target that a publication names.",
        {204: None},
        body=bytes,
        path={"id_": Digest, "sha256": Digest},
        auth=Auth.SIGNED,
        reasons=("unknown_publication", "unknown_target", "wrong_length", "hash_mismatch"),
    ),
    Route(
        "POST",
        "/v1/publications/<id_>/commit",
        "Publish: the heads move.",
        {200: api.Publication},
        path={"id_": Digest},
        auth=Auth.SIGNED,
        reasons=(*_PUBLICATION, "unknown_publication", "targets_missing", "not_published"),
    ),
    Route(
        "POST",
        "/v1/ceremonies",
        "Send what a later ceremony signed.",
        {201: api.CeremonyInForce, 200: api.CeremonyInForce},
        body=api.CeremonyRequest,
        auth=Auth.SIGNED,
        reasons=_CEREMONY,
    ),
    Route(
        "POST",
        "/v1/statements",
        "Send a statement that a person signed.",
        _MADE,
        body=Envelope,
        auth=Auth.SIGNED,
        reasons=_STATEMENT,
    ),
    Route(
        "POST",
        "/v1/challenges",
        "Ask for a challenge to sign.",
        {201: api.Challenge},
        body=Nothing,
    ),
    Route(
        "POST",
        "/v1/tokens",
        "Answer a challenge with a signed session statement; the token reads for 15 minutes.",
        {201: api.Token},
        body=Envelope,
        auth=Auth.SIGNED,
        reasons=_SESSION,
    ),
    Route(
        "POST",
        "/v1/enrolments",
        "A device asks to be let in, or rotates its key.",
        {201: api.Enrolled, 200: api.Enrolled},
        body=api.EnrolmentRequest,
        auth=Auth.SIGNED,
        reasons=_DEVICE,
    ),
    Route(
        "GET",
        "/v1/enrolments/<id_>",
        "Where an enrolment stands.",
        {200: api.Enrolled},
        path={"id_": Digest},
        reasons=("unknown_enrolment",),
    ),
    Route(
        "POST",
        "/v1/reports",
        "A device reports.",
        {201: api.Received, 200: api.Received},
        body=Envelope,
        auth=Auth.SIGNED,
        reasons=_REPORT,
    ),
    _reads(
        "/v1/rollouts",
        "Rollouts, newest first.",
        api.RolloutPage,
        EVERYBODY,
        query={"product": Name, "page": Page},
    ),
    _reads(
        "/v1/rollouts/<id_>",
        "Everything that was signed about a rollout, and how it reads for each cohort.",
        api.Rollout,
        EVERYBODY,
        "unknown_order",
        path=_ORDER,
    ),
    _reads(
        "/v1/rollouts/<id_>/stages",
        "How far a rollout is: the counts of every stage and cohort.",
        api.RolloutStages,
        EVERYBODY,
        "unknown_order",
        path=_ORDER,
    ),
    _reads(
        "/v1/rollouts/<id_>/actions",
        "How far a rollout is on each device; whose grants name sites sees theirs.",
        api.ActionPage,
        EVERYBODY,
        "unknown_order",
        "bad_state",
        "bad_vote",
        query={"state": Outcome, "vote": Vote, "page": Page},
        path=_ORDER,
    ),
    _reads(
        "/v1/rollouts/<id_>/recall",
        "What was signed about a recall beside its order; whose grants name sites sees theirs.",
        api.RecallPage,
        EVERYBODY,
        "unknown_order",
        query={"page": Page},
        path=_ORDER,
    ),
    _reads(
        "/v1/devices",
        "Devices, by id; whose grants name sites sees theirs.",
        api.DevicePage,
        PEOPLE,
        "bad_state",
        query={"cohort": Name, "site": Name, "state": api.EnrolmentState, "page": Page},
    ),
    _reads(
        "/v1/devices/<device>",
        "One device; at another site it is unknown to whose grants name sites.",
        api.Device,
        PEOPLE,
        "unknown_device",
        path={"device": DeviceId},
    ),
    _reads(
        "/v1/cohorts",
        "Cohorts, by name, and how many devices are in each.",
        api.PlacePage,
        _FLEET,
        query={"page": Page},
    ),
    _reads(
        "/v1/sites",
        "Sites, by name; whose grants name sites sees those.",
        api.PlacePage,
        PEOPLE,
        query={"page": Page},
    ),
    _reads(
        "/v1/sites/<site>",
        "One site; another is unknown to whose grants name sites.",
        api.Place,
        PEOPLE,
        "unknown_site",
        path={"site": Name},
    ),
    _reads(
        "/v1/claims",
        "Claims, newest first; whose grants name sites sees those for them.",
        api.ClaimPage,
        PEOPLE,
        query={"page": Page},
    ),
    _reads(
        "/v1/monitors",
        "The monitors of the roster, and since when each is silent.",
        api.MonitorList,
        EVERYBODY,
    ),
    Route(
        "GET",
        "/v1/log/consistency",
        "That one log begins with another (RFC 9162, 2.1.4.1).",
        {200: api.LogProof},
        query={"old": Size, "new": Size},
        reasons=("bad_size",),
    ),
    _reads(
        "/v1/log/records",
        "The envelopes behind the entries of the log.",
        api.LogRecordPage,
        frozenset({Reader.FLEET, Reader.MONITOR}),
        "bad_size",
        query={"from": Size},
    ),
)

BY_NAME: Final[Mapping[str, Route]] = {route.name: route for route in ROUTES}
