"""What people wanted, kept in the event, so that it can be made again on another base (I/O: files).

Rules:

1. ``spec.json`` holds what a person wrote in TOML, as JSON, with the lifetime that was asked for.
2. Small files that it names, such as public keys, travel inside it under names without a
   directory; files that are targets travel as that, and are named as in the repository.
3. Nobody signs it: ``event.json`` pins it, and what people sign is shown to them from the metadata.
   Before it is used again, it must give the metadata that it came with (``rebasing``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from interlock_core import disk, durable, wire
from interlock_core.errors import WireError
from interlock_core.keys import MAX_KEY_FILE
from interlock_core.names import FileName

MAX_INTENT: Final = 8 * 1024 * 1024

S = TypeVar("S", bound=wire.Record)


class Intent(wire.Record, frozen=True, kw_only=True):
    """``spec.json``.

    Attributes:
        lifetime_days: how long the metadata should be valid.
        spec: what was written, by the names of its TOML file.
        files: texts of the small files that it names (rule 2).
    """

    type: Literal["urn:interlock:spec:v1"] = "urn:interlock:spec:v1"
    lifetime_days: Annotated[int, Meta(ge=1, le=36500)]
    spec: dict[str, Any]
    files: Annotated[dict[FileName, str], Meta(max_length=4096)]

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """A scratch directory with the small files.

        Raises:
            TransientError: the disk did not do it.
        """
        with TemporaryDirectory(prefix="interlock-repo-") as scratch:
            folder = Path(scratch)
            for name, text in self.files.items():
                with disk.translated("write", folder / name):
                    (folder / name).write_text(text, "utf-8")
            yield folder


class Attached:
    """Collects the small files that a specification names (rule 2).

    Args:
        folder: that the names are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, str] = {}

    def add(self, file: str) -> str:
        """Take a file along; returns the name that it travels under.

        Raises:
            NotFoundError, TransientError: it is missing or cannot be read.
            WireError: it is too large, or not UTF-8.
        """
        path = self._folder / file
        data = durable.read(path, limit=MAX_KEY_FILE, what="file")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as e:
            raise WireError(f"{path} is not UTF-8 (byte {e.start}).") from e
        name = path.name
        number = 1
        while self.files.get(name, text) != text:
            number += 1
            name = f"{number}-{path.name}"
        self.files[name] = text
        return name


def intent_of(spec: wire.Record, days: int, files: Mapping[str, str] | None = None) -> Intent:
    """The intent to travel with an event.

    Args:
        spec: naming files as they travel (rule 2).
        days: the lifetime that was asked for.
        files: as ``Attached`` collected them.

    Raises:
        WireError: a name that a file may not travel under.
    """
    stated = {
        "type": "urn:interlock:spec:v1",
        "lifetime_days": days,
        "spec": msgspec.to_builtins(spec),
        "files": dict(files or {}),
    }
    return wire.convert(stated, Intent, what="spec.json")


def read_spec(intent: Intent, form: type[S]) -> S:
    """What was written, in the form of its kind.

    Raises:
        WireError: it is none.
    """
    return wire.convert(intent.spec, form, what="spec.json")


def parse_intent(data: bytes, *, what: str) -> Intent:
    """Read ``spec.json``; nothing is checked but its form.

    Raises:
        WireError: it does not have the form.
    """
    return wire.decode_canonical(data, Intent, limit=MAX_INTENT, what=what)
