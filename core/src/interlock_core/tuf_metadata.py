"""Trust in TUF metadata that somebody signed offline (pure: bytes and a time in).

Rules:

1. Bytes pass Interlock's bounded JSON check before python-tuf reads them, and may hold nothing
   outside the signed part: what is not signed is not believed.
2. Signatures are counted by distinct public key bytes. A role that lists one public key under two
   ids is refused whole, because other readers would count it twice.
3. New offline metadata has the version after the current one, or is the current one byte for byte.
4. The shape is Interlock's: top-level targets only delegates; each delegation is terminating and
   covers ``<product>/*/*``, or ``interlock/*`` for the roster; nobody delegates further.
5. ``issued`` is a signed field that offline tools set. It raises the gateways' clock floor, so a
   time in the future is refused.
6. What a rehearsal made says so under its signatures, and nobody trusts it.
7. What is newly published keeps the hybrid rule (``hybrid``), roots and delegations alike; what is
   read is not judged by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Metadata,
    Role,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from interlock_core import wire
from interlock_core.errors import ConflictError, InterlockError, RefusedError, WireError
from interlock_core.hybrid import check_hybrid
from interlock_core.keybytes import check_key, public_key_bytes
from interlock_core.names import ROSTER_PATH, ROSTER_ROLE, check_product

MAX_LENGTH: Final[Mapping[str, int]] = {
    Root.type: 512_000,
    Timestamp.type: 16_384,
    Snapshot.type: 2_000_000,
    Targets.type: 5_000_000,
}
"""The most bytes that ``tuf.ngclient`` reads of each type with its default settings."""

MAX_ROOT_ROTATIONS: Final = 1024
"""How many new roots a gateway follows in one go, and how many a server tries out."""

MAX_CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far ahead of ours a signer's clock may be (rule 5)."""

ISSUED: Final = "issued"

COHORT: Final = "cohort"
"""The signed field of a director's online roles that names its cohort."""

REHEARSAL: Final = "rehearsal"
"""The signed field that marks what a rehearsal made (rule 6)."""

MAX_ROLE_KEYS: Final = 64
"""The most keys that an offline role may list."""

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)

_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\Z")


def parse_metadata(data: bytes, type_: type[T], *, what: str) -> Metadata[T]:
    """Read metadata of one type (rule 1). Nothing is verified but the form.

    Args:
        data: the file's bytes.
        type_: ``Root``, ``Timestamp``, ``Snapshot`` or ``Targets``.
        what: names the thing in errors, for instance ``"3.acme.json"``.

    Raises:
        WireError: it does not have the form of such metadata.
    """
    tree = wire.parse(data, limit=MAX_LENGTH[type_.type], what=what)
    try:
        metadata: Metadata[Any] = Metadata.from_dict(tree)
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise WireError(
            f"The {what} is not TUF metadata: {type(e).__name__}: {str(e)[:200]}"
        ) from e
    signed = metadata.signed
    if not isinstance(signed, type_):
        raise WireError(f"The {what} is {signed.type} metadata, not {type_.type}.")
    if type(signed.version) is not int:
        raise WireError(f"The {what} has a version that is not an integer.")
    if metadata.unrecognized_fields:
        raise WireError(f"The {what} has fields beside 'signed' and 'signatures'.")
    if isinstance(signed, Root | Targets):
        _check_texts(signed, what)
    return metadata


def _check_texts(signed: Root | Targets, what: str) -> None:
    """What names a role or a key is a text: python-tuf passes on whatever stands there."""
    for name, role in _roles_of(signed).items():
        if not all(isinstance(word, str) for word in (name, *role.keyids)):
            raise WireError(f"The {what} names a role or a key by something that is no text.")


def serialise(metadata: Metadata[Any]) -> bytes:
    """The bytes of metadata as Interlock stores it: compact, keys sorted."""
    return JSONSerializer(compact=True).serialize(metadata)


def add_signature(metadata: Metadata[Any], signer: Signer) -> None:
    """Sign ``metadata`` beside whoever signed it before.

    Raises:
        InterlockError: what the signer raised. python-tuf hides it behind an error of its own, and
            a KMS that is away or a PIN that is wrong would look like a fault of ours.
    """
    try:
        metadata.sign(signer, append=True)
    except UnsignedMetadataError as e:
        if isinstance(e.__cause__, InterlockError):
            raise e.__cause__ from e
        raise


def issued_of(signed: Signed) -> datetime | None:
    """When offline metadata was issued, or None if it does not say (rule 5).

    Raises:
        WireError: the field is not a time, or one after its own expiry.
    """
    text = signed.unrecognized_fields.get(ISSUED)
    if text is None:
        return None
    try:
        # The pattern keeps out the many other spellings that fromisoformat accepts.
        time = datetime.fromisoformat(text) if _TIME.match(str(text)) else None
    except ValueError:
        time = None
    if time is None:
        raise WireError(f"The field 'issued' of {signed.type} is not a time.")
    if time > signed.expires:
        # Believed, it would push gateways' clocks to where nothing is fresh any more.
        raise WireError(f"The field 'issued' of {signed.type} lies after its own expiry.")
    return time.astimezone(UTC)


def set_issued(signed: Signed, time: datetime) -> None:
    """State when offline metadata is issued; call it before signing."""
    signed.unrecognized_fields[ISSUED] = wire.format_time(time)


def refuse_rehearsal(signed: Signed) -> None:
    """Refuse what a ceremony's rehearsal made (rule 6), whatever the field says.

    Raises:
        RefusedError: ``rehearsal``.
    """
    if REHEARSAL in signed.unrecognized_fields:
        raise RefusedError(
            f"{signed.type} {signed.version} was made in a rehearsal, with keys that were thrown "
            "away: use what the ceremony itself made.",
            reason="rehearsal",
        )


def refuse_shared_keys(signed: Root | Targets) -> None:
    """Refuse a delegator that lists one public key twice within one role (rule 2).

    Also refuses a role that nobody could ever sign: more signatures asked for than keys listed; and
    one with more keys than a gateway remembers of each role.

    Raises:
        RefusedError: ``shared_key``, ``bad_threshold`` or ``bad_delegation``.
        WireError: ``bad_key``: a listed key is missing or of a kind that is not accepted.
    """
    for name, role in _roles_of(signed).items():
        if len(role.keyids) > MAX_ROLE_KEYS and name not in {Snapshot.type, Timestamp.type}:
            raise _bad_delegation(f"{name} lists more than {MAX_ROLE_KEYS} keys")
        seen: dict[bytes, str] = {}
        for keyid in role.keyids:
            public = _key_bytes(signed, keyid, name)
            if public in seen:
                raise RefusedError(
                    f"The role {name} lists one public key under two ids, {seen[public][:12]} "
                    f"and {keyid[:12]}: list each key once.",
                    reason="shared_key",
                )
            seen[public] = keyid
        if role.threshold > len(seen):
            raise RefusedError(
                f"The role {name} asks for {role.threshold} signatures and lists {len(seen)} "
                "keys: nobody could ever sign it.",
                reason="bad_threshold",
            )


def check_listed_keys(signed: Root | Targets) -> None:
    """Check that each key of a new delegator stands under the id that follows from its content.

    People compare ids: under another's id a key would be taken for that one.

    Raises:
        WireError: ``bad_key``.
    """
    for name, role in _roles_of(signed).items():
        for keyid in role.keyids:
            check_key(_key(signed, keyid, name))


def check_hybrid_roles(signed: Root | Targets) -> None:
    """Check that each role of a delegator with keys of two families asks for enough (``hybrid``).

    Raises:
        RefusedError: ``weak_hybrid``.
        WireError: ``bad_key``: a listed key is missing.
    """
    for name, role in _roles_of(signed).items():
        check_hybrid(name, role.threshold, (_key(signed, k, name).scheme for k in role.keyids))


def check_signatures(delegator: Root | Targets, role: str, metadata: Metadata[T]) -> None:
    """Check that ``role``'s metadata carries its delegator's threshold (rule 2).

    Raises:
        RefusedError: ``untrusted_metadata``: not delegated, or too few keys signed.
        WireError: ``bad_key``: a key of the role is not acceptable.
    """
    try:
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    except ValueError as e:
        raise RefusedError(
            f"The role {role} is not delegated by {delegator.type} {delegator.version}.",
            reason="untrusted_metadata",
        ) from e
    keys = {public_key_bytes(key) for key in result.signed.values()}
    if len(keys) < result.threshold:
        raise RefusedError(
            f"{role} {metadata.signed.version} is signed by {len(keys)} of the "
            f"{result.threshold} keys that {delegator.type} {delegator.version} asks for: "
            "have more of its holders sign it.",
            reason="untrusted_metadata",
        )


def verify_root(
    data: bytes, current: bytes | None, now: datetime | None, *, rehearsal: bool = False
) -> Metadata[Root]:
    """Verify new root metadata; ``current`` is the newest trusted one, or None for the first.

    A new root carries the threshold of the root before and its own.

    Args:
        data: the file's bytes.
        current: see above.
        now: to judge expiry and issue time by; None judges neither, for a root that others follow.
        rehearsal: accept what a rehearsal made: only for a ceremony that checks its own rehearsal.

    Raises:
        RefusedError: ``untrusted_metadata``, ``expired_metadata``, ``rollback``,
            ``version_gap``, ``shared_key``, ``weak_hybrid``, ``rehearsal`` or
            ``issued_in_future``.
        ConflictError: another root of the current version.
        WireError: the form is wrong.
    """
    metadata = parse_metadata(data, Root, what="root metadata")
    root = metadata.signed
    if not rehearsal:
        refuse_rehearsal(root)
    if not root.consistent_snapshot:
        raise WireError("The root metadata does not ask for consistent snapshots.")
    _check_version(Root.type, data, root.version, current, _version_of(current, Root))
    refuse_shared_keys(root)
    if current != data:
        check_listed_keys(root)
        check_hybrid_roles(root)
    if current is not None and current != data:
        check_signatures(parse_metadata(current, Root, what="root").signed, Root.type, metadata)
    check_signatures(root, Root.type, metadata)
    if now is not None:
        _check_time(Root.type, root, now)
    return metadata


def verify_new_offline(
    data: bytes,
    role: str,
    *,
    root: Root,
    targets: Targets | None,
    current: bytes | None,
    now: datetime,
    rehearsal: bool = False,
) -> Metadata[Targets]:
    """Verify new metadata of a role that people sign offline.

    Args:
        data: the file's bytes.
        role: ``targets``, a product's role, or ``interlock``.
        root: the newest trusted root.
        targets: the trusted top-level targets, which delegates ``role``; None for ``targets``.
        current: the newest trusted bytes of this role, or None if there are none.
        now: to judge expiry and issue time by.
        rehearsal: as ``verify_root``.

    Raises:
        RefusedError: ``untrusted_metadata``, ``expired_metadata``, ``rollback``,
            ``version_gap``, ``shared_key``, ``weak_hybrid``, ``bad_delegation``, ``rehearsal`` or
            ``issued_in_future``.
        ConflictError: other bytes of the current version.
        WireError: the form is wrong.
    """
    metadata = parse_metadata(data, Targets, what=f"{role} metadata")
    if not rehearsal:
        refuse_rehearsal(metadata.signed)
    delegator: Root | Targets | None = root if role == Targets.type else targets
    if delegator is None:
        raise RefusedError(
            f"There is no targets metadata that could delegate {role}: publish that first.",
            reason="untrusted_metadata",
        )
    check_signatures(delegator, role, metadata)
    _check_version(role, data, metadata.signed.version, current, _version_of(current, Targets))
    _check_time(role, metadata.signed, now)
    if role == Targets.type:
        check_top_level(metadata.signed)
        if data != current:
            check_listed_keys(metadata.signed)
            check_hybrid_roles(metadata.signed)
    else:
        _check_delegated(metadata.signed, role)
    return metadata


def verify_targets(data: bytes, root: Root, now: datetime) -> Metadata[Targets]:
    """Verify top-level targets metadata of any version, where none is trusted yet.

    Raises:
        RefusedError: ``untrusted_metadata``, ``expired_metadata``, ``shared_key``,
            ``bad_delegation``, ``rehearsal`` or ``issued_in_future``.
        WireError: the form is wrong.
    """
    return verify_new_offline(data, Targets.type, root=root, targets=None, current=data, now=now)


def check_top_level(targets: Targets) -> None:
    """Check that top-level targets has Interlock's shape (rules 2 and 4).

    Raises:
        RefusedError: ``bad_delegation`` or ``shared_key``.
        WireError: ``bad_key`` or ``bad_name``.
    """
    if targets.targets:
        raise _bad_delegation("top-level targets only delegates, and this lists targets")
    if targets.delegations is None:
        return
    if targets.delegations.succinct_roles is not None:
        raise _bad_delegation("delegations are by product; succinct roles are not used")
    for name, role in (targets.delegations.roles or {}).items():
        if name != ROSTER_ROLE:
            check_product(name)
        if not role.terminating or role.paths != delegated_paths(name):
            raise _bad_delegation(
                f"{name} must be terminating and cover {' '.join(delegated_paths(name))}"
            )
    refuse_shared_keys(targets)


def delegated_paths(role: str) -> list[str]:
    """The path patterns of a delegated role (rule 4)."""
    return [f"{role}/*"] if role == ROSTER_ROLE else [f"{role}/*/*"]


def delegated_roles(targets: Targets) -> dict[str, DelegatedRole]:
    """The roles that top-level targets delegates to, by name."""
    if targets.delegations is None or targets.delegations.roles is None:
        return {}
    return targets.delegations.roles


def _check_delegated(targets: Targets, role: str) -> None:
    if targets.delegations is not None:
        raise _bad_delegation(f"{role} may not delegate further")
    expected_parts = ROSTER_PATH.count("/") + 1 if role == ROSTER_ROLE else 3
    for path in targets.targets:
        parts = path.split("/")
        if parts[0] != role or len(parts) != expected_parts or "" in parts:
            raise _bad_delegation(
                f"{role} covers {' '.join(delegated_paths(role))}, not {path[:120]!r}"
            )


def _check_version(
    role: str, data: bytes, version: int, current: bytes | None, current_version: int
) -> None:
    if current == data:
        return
    if version < current_version:
        raise RefusedError(
            f"{role} {version} is older than the current version {current_version}: start again "
            "from the current one.",
            reason="rollback",
        )
    if version == current_version:
        raise ConflictError(
            f"Another {role} {version} stands already: start again from the current one."
        )
    if version > current_version + 1:
        raise RefusedError(
            f"{role} {version} would skip a version: the next one is {current_version + 1}.",
            reason="version_gap",
        )


def _check_time(role: str, signed: Signed, now: datetime) -> None:
    if signed.is_expired(now):
        raise RefusedError(
            f"{role} {signed.version} expired at {wire.format_time(signed.expires)}: sign a new "
            "one.",
            reason="expired_metadata",
        )
    issued = issued_of(signed)
    if issued is not None and issued > now + MAX_CLOCK_SKEW:
        raise RefusedError(
            f"{role} {signed.version} says that it was issued at {wire.format_time(issued)}, "
            "which is in the future: check the clock of the machine that made it.",
            reason="issued_in_future",
        )


def _version_of(current: bytes | None, type_: type[Root | Targets]) -> int:
    if current is None:
        return 0
    metadata = parse_metadata(current, cast("type[Root]", type_), what="current metadata")
    return metadata.signed.version


def _roles_of(signed: Root | Targets) -> Mapping[str, Role]:
    return signed.roles if isinstance(signed, Root) else delegated_roles(signed)


def _key_bytes(signed: Root | Targets, keyid: str, role: str) -> bytes:
    return public_key_bytes(_key(signed, keyid, role))


def _key(signed: Root | Targets, keyid: str, role: str) -> Key:
    try:
        return signed.get_key(keyid)
    except ValueError as e:
        raise WireError(
            f"The role {role} names the key {keyid[:12]}, which is not listed.", reason="bad_key"
        ) from e


def _bad_delegation(why: str) -> RefusedError:
    return RefusedError(f"Not acceptable: {why}.", reason="bad_delegation")
