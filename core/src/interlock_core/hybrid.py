"""How many signatures a role with keys of two families must ask for (pure).

A family is classical (Ed25519, ECDSA, RSA) or post-quantum (ML-DSA). Rules:

1. With c classical and p post-quantum keys, both above 0, the threshold is at least
   max(c, p) + k: whoever breaks one family forges at most max(c, p) signatures, and k people's are
   still to be forged. k is 2 for every role that people hold.
2. A role of one family has no such bound: nothing in it would be left of a broken family anyway.
3. The rule binds whoever makes or publishes: the ceremony, the release tools and the server. It is
   not judged by gateways. The holders who sign a delegation could as well name classical keys
   alone, so refusing it there would keep nobody out; it would only leave a gateway without the
   product, security fixes included, until all of it is signed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from interlock_core.errors import RefusedError

POST_QUANTUM: Final = frozenset({"ml-dsa-65/1"})
"""The schemes that are post-quantum."""

SPARE: Final = 2
"""k of rule 1."""


def families(schemes: Iterable[str]) -> tuple[int, int]:
    """How many keys are classical, and how many post-quantum.

    Args:
        schemes: TUF's ``scheme`` of each key of a role, one for each key.
    """
    stated = list(schemes)
    post_quantum = sum(scheme in POST_QUANTUM for scheme in stated)
    return len(stated) - post_quantum, post_quantum


def least_threshold(schemes: Iterable[str]) -> int:
    """The smallest threshold that rules 1 and 2 allow: 1 for a role of one family.

    Args:
        schemes: as ``families`` takes them.
    """
    classical, post_quantum = families(schemes)
    return max(classical, post_quantum) + SPARE if classical and post_quantum else 1


def check_hybrid(role: str, threshold: int, schemes: Iterable[str]) -> None:
    """Check one role (rule 1).

    Raises:
        RefusedError: ``weak_hybrid``.
    """
    stated = list(schemes)
    least = least_threshold(stated)
    if threshold >= least:
        return
    classical, post_quantum = families(stated)
    way = (
        f"ask for {least}"
        if least <= len(stated)
        else f"name holders until {least} can sign, in the smaller family"
    )
    raise RefusedError(
        f"{role} asks for {threshold} signatures of {classical} classical and {post_quantum} "
        f"post-quantum keys: with one family broken, fewer than {SPARE} people's would be left to "
        f"forge. It takes {least}: {way}, or use one family.",
        reason="weak_hybrid",
    )
