"""What may be a name.

Rules:

1. Products, cohorts, sites, roles and persons are ``[a-z0-9][a-z0-9-]{0,62}``. A to Z never, so
   that no two names differ only by case on some file system or in some person's reading.
2. ``interlock``, ``root``, ``targets``, ``snapshot`` and ``timestamp`` are reserved: a product of
   that name would be a TUF role of that name.
3. A target path of a product has three parts, ``<product>/<version>/<file>``; a roster path has
   two. Parts have a strict alphabet: no escape, no empty part, no part that begins with a dot, so
   a path means the same thing in a URL, in a bucket and on a disk.
4. A cohort pattern is a name, a beginning of a name followed by ``*``, or ``*``. The most specific
   one wins: a whole name before any beginning, a longer beginning before a shorter. Two patterns
   that cover one cohort can then tie only by being equal, which a roster refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta

from interlock_core.errors import WireError

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}\Z"
VERSION_PATTERN: Final = r"^[0-9a-z](?:[0-9a-z_-]|\.(?!\.)){0,62}\Z"
FILE_PATTERN: Final = r"^[0-9A-Za-z](?:[0-9A-Za-z_-]|\.(?!\.)){0,126}\Z"
COHORT_PATTERN_PATTERN: Final = r"^(?:\*|[a-z0-9][a-z0-9-]{0,62}\*?)\Z"
DEVICE_PATTERN: Final = r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,126}\Z"
DIGEST_PATTERN: Final = r"^[0-9a-f]{64}\Z"
PATH_PATTERN: Final = (
    r"^[a-z0-9][a-z0-9-]{0,62}"
    r"(?:/[0-9a-z](?:[0-9a-z_-]|\.(?!\.)){0,62})?"
    r"/[0-9A-Za-z](?:[0-9A-Za-z_-]|\.(?!\.)){0,126}\Z"
)

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
"""A product, cohort, site, role or person."""
Version = Annotated[str, Meta(pattern=VERSION_PATTERN)]
"""A release's version, as people read it; order comes from the release counter alone."""
FileName = Annotated[str, Meta(pattern=FILE_PATTERN)]
CohortPattern = Annotated[str, Meta(pattern=COHORT_PATTERN_PATTERN)]
Digest = Annotated[str, Meta(pattern=DIGEST_PATTERN)]
"""A SHA-256 in lower-case hexadecimal."""
TargetPath = Annotated[str, Meta(pattern=PATH_PATTERN)]
Market = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]
"""A country, ISO 3166-1 alpha-2."""
DeviceId = Annotated[str, Meta(pattern=DEVICE_PATTERN)]
"""A factory device id, as printed on the label."""
HardwareId = Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,62}\Z")]

RESERVED: Final = frozenset({"interlock", "root", "targets", "snapshot", "timestamp"})
ROSTER_ROLE: Final = "interlock"
ROSTER_PATH: Final = "interlock/roster.json"
DIRECTIVE_PATH: Final = "directive.json"
DEFAULT_SLOT: Final = "rootfs"
"""The slot that an image is written to as it is, where no other is named."""


def is_name(text: str) -> bool:
    """Whether ``text`` may name a cohort, site, role or person (rule 1)."""
    return re.match(NAME_PATTERN, text) is not None


def check_name(text: str, what: str) -> str:
    """Return ``text`` if it may name a ``what`` ("cohort", "person" …).

    Raises:
        WireError: it may not.
    """
    if not is_name(text):
        raise WireError(
            f"{text[:80]!r} cannot name a {what}: use 1 to 63 of a-z, 0-9 and '-', "
            "beginning with a letter or digit.",
            reason="bad_name",
        )
    return text


def check_product(text: str) -> str:
    """Return ``text`` if it may name a product (rules 1 and 2).

    Raises:
        WireError: it may not.
    """
    check_name(text, "product")
    if text in RESERVED:
        raise WireError(
            f"{text!r} is reserved and cannot name a product: choose another name.",
            reason="bad_name",
        )
    return text


def split_path(path: str) -> tuple[str, str, str]:
    """Split a product's target path into (product, version, file name).

    Raises:
        WireError: the path is not ``<product>/<version>/<file>`` (rule 3).
    """
    parts = path.split("/")
    if re.match(PATH_PATTERN, path) is None or len(parts) != 3:
        raise WireError(
            f"{path[:120]!r} is not a target path: it must read <product>/<version>/<file>.",
            reason="bad_path",
        )
    return check_product(parts[0]), parts[1], parts[2]


def covers(pattern: str, cohort: str) -> bool:
    """Whether a cohort pattern covers a cohort (rule 4)."""
    if pattern.endswith("*"):
        return cohort.startswith(pattern[:-1])
    return pattern == cohort


def most_specific(patterns: Iterable[str], cohort: str) -> str | None:
    """The pattern that decides for ``cohort``, or None if none covers it (rule 4)."""
    covering = [pattern for pattern in patterns if covers(pattern, cohort)]
    return max(covering, key=lambda p: (not p.endswith("*"), len(p)), default=None)
