"""Where in a release's file the thing stands that a refusal is about (I/O: reads the file again).

Rules:

1. A refusal that one field of the file can mend names the file, the line and the field, as an
   error of the file's form does (``specs``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interlock_core import durable
from interlock_core.errors import RefusedError, WireError
from interlock_core.toml_lines import place_of
from interlock_repo.specs import MAX_SPEC

FIELDS: Final[Mapping[str, str]] = {
    "unknown_product": "product",
    "version_reused": "version",
    "target_changed": "version",
    "counter_not_raised": "release_counter",
    "stranding": "min_counter_installed",
    "unknown_hardware": "hardware_ids",
    "no_sbom": "sbom",
    "bad_sbom": "sbom",
    "name_twice": "images",
    "outside_delegation": "images",
    "bad_path": "images",
}
"""The field that mends a refusal, by its reason."""


@contextmanager
def placed(file: Path) -> Iterator[None]:
    """Name the place in ``file`` in whatever is refused inside (rule 1).

    Raises:
        RefusedError: what was raised inside, with its place.
    """
    try:
        yield
    except (RefusedError, WireError) as e:
        field = FIELDS.get(e.reason)
        if field is None:
            raise
        text = durable.read(file, limit=MAX_SPEC, what="TOML file").decode("utf-8")
        raise RefusedError(f"{file}, {place_of(text, (field,))}: {e}", reason=e.reason) from e
