"""Chains of roots: what a later ceremony signed, followed from what is trusted (pure).

Rules:

1. Each root carries the thresholds of the root before and its own; no version is skipped, no role
   lists a key twice, and none was made in a rehearsal (``tuf_metadata.verify_root``).
2. Only the newest root's expiry is judged: a reader who slept walks through the others, whenever
   they expired (TUF 5.3.10).
3. A root that is held already is the same, byte for byte. Another one of its version comes from
   another ceremony, and nobody can follow both.
4. Image repository and directors share no key, whatever it signs, in no version that is at hand;
   nor does an online role share one with a role of people, or with another online key: a stolen
   online key must be worth nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Metadata, Root, Targets

from interlock_core.errors import ConflictError, RefusedError
from interlock_core.genesis import DIRECTOR, IMAGE, ONLINE_ROLES
from interlock_core.keybytes import public_key_bytes
from interlock_core.tuf_metadata import parse_metadata, verify_root


@dataclass(frozen=True)
class Followed:
    """Roots that follow those that are held.

    Attributes:
        texts: those that are new, rising; empty if there is none.
        newest: the last of all, held or new.
    """

    texts: tuple[bytes, ...]
    newest: Root


def link_roots(chain: Sequence[bytes]) -> list[Metadata[Root]]:
    """Check that roots form a chain (rule 1); expiry is not judged. The first is trusted.

    Raises:
        RefusedError: ``untrusted_metadata``, ``version_gap``, ``rollback``, ``shared_key`` or
            ``rehearsal``.
        ConflictError: two roots of one version.
        WireError: one is no root metadata.
    """
    roots: list[Metadata[Root]] = []
    for before, data in zip([*chain[:1], *chain], chain, strict=False):
        if roots and data == before:
            raise RefusedError(
                f"Root {roots[-1].signed.version} stands twice in the chain.", reason="version_gap"
            )
        roots.append(verify_root(data, before, None))
    return roots


def check_rising(texts: Iterable[bytes]) -> list[int]:
    """The versions of roots that rise by one, wherever they begin; no signature is looked at.

    Raises:
        RefusedError: ``version_gap``.
        WireError: one is no root metadata.
    """
    versions: list[int] = []
    for text in texts:
        version = parse_metadata(text, Root, what="root metadata").signed.version
        if versions and version != versions[-1] + 1:
            raise RefusedError(
                f"Root {version} stands after root {versions[-1]}: send every root once, rising "
                "by one.",
                reason="version_gap",
            )
        versions.append(version)
    return versions


def follow(texts: Sequence[bytes], held: Sequence[bytes], now: datetime) -> Followed:
    """What ``texts`` adds to the roots that are held (rules 1 to 3).

    Args:
        texts: roots, rising by one; they may begin among those that are held.
        held: every root from version 1 to the newest; empty before there is any.
        now: to judge the newest by.

    Raises:
        RefusedError: as ``link_roots``; ``expired_metadata`` or ``issued_in_future`` of the newest.
        ConflictError: ``other_ceremony``: another first root; ``other_root``: another one later.
        WireError: one is no root metadata.
    """
    new: list[bytes] = []
    for version, text in zip(check_rising(texts), texts, strict=True):
        if 1 <= version <= len(held):
            _check_same(version, text, held[version - 1])
        elif version != len(held) + len(new) + 1:
            raise RefusedError(
                f"Root {version} does not follow root {len(held) + len(new)}: send every root "
                "from the one that is in force to the newest.",
                reason="version_gap",
            )
        else:
            new.append(text)
    if not held and new:
        verify_root(new[0], None, None)
    linked = link_roots([*held[-1:], *new])
    if not linked:
        raise RefusedError("There is no root to begin with.", reason="untrusted_metadata")
    if new:
        verify_root(new[-1], new[-1], now)
    return Followed(tuple(new), linked[-1].signed)


def _check_same(version: int, text: bytes, held: bytes) -> None:
    if text == held:
        return
    if version == 1:
        raise ConflictError(
            "The first root is another than the one that is in force: this is another fleet's "
            "ceremony.",
            reason="other_ceremony",
        )
    raise ConflictError(
        f"Another root {version} is in force already: nobody can follow both. Hold the next "
        "ceremony on the one that is in force.",
        reason="other_root",
    )


def check_apart(image: Iterable[Root], director: Iterable[Root]) -> None:
    """See that nobody's key signs what another signs (rule 4).

    Args:
        image: roots of the image repository, the newest last.
        director: roots of the directors, the newest last.

    Raises:
        RefusedError: ``shared_key``.
        WireError: ``bad_key``.
    """
    roots = {IMAGE: list(image), DIRECTOR: list(director)}
    if _keys(roots[IMAGE]) & _keys(roots[DIRECTOR]):
        raise RefusedError(
            "Image repository and director share a key: hold the ceremony with a key of its own "
            "for each.",
            reason="shared_key",
        )
    for repository, chain in roots.items():
        _check_roles(repository, chain[-1])


def _check_roles(repository: str, root: Root) -> None:
    online = {
        name: _role_keys(root, [role for of, role in pairs if of == repository])
        for name, pairs in ONLINE_ROLES.items()
        if any(of == repository for of, _ in pairs)
    }
    people = [Root.type] if repository == DIRECTOR else [Root.type, Targets.type]
    seen = _role_keys(root, people)
    for name, keys in online.items():
        if keys & seen:
            raise RefusedError(
                f"Root {root.version} of the {repository} repository gives a key of {name} to "
                "another role as well: hold the ceremony with a key of its own for each.",
                reason="shared_key",
            )
        seen |= keys


def _role_keys(root: Root, roles: Iterable[str]) -> set[bytes]:
    return {
        public_key_bytes(root.get_key(keyid)) for role in roles for keyid in root.roles[role].keyids
    }


def _keys(roots: Iterable[Root]) -> set[bytes]:
    return {key for root in roots for key in _role_keys(root, root.roles)}
