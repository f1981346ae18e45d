"""A release becomes product metadata, the version after the one in force (I/O: reads files).

Rules:

1. Every earlier release stays listed as it is; ``released`` says what a new one must keep to.
2. No release without a bill of materials. Evidence is signed like images are, each file a target.
3. Deltas that come with an image are held against it, and against what was released before.
4. A file is measured, and measured again when it is copied into the event: one that changes
   meanwhile is refused. Large files are never held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from tuf.api.metadata import DelegatedRole, Metadata, TargetFile, Targets

from interlock_core import durable, wire
from interlock_core.errors import ConfigurationError, RefusedError, WireError
from interlock_core.names import DEFAULT_SLOT, ROSTER_ROLE
from interlock_core.release import Delta, Evidence, Image, Reference, Slot, read_delta
from interlock_core.tuf_metadata import MAX_LENGTH, delegated_roles, serialise
from interlock_repo import vetting
from interlock_repo.deltas import check_delta, header_of
from interlock_repo.event import SourceFile, open_source
from interlock_repo.released import check_release, next_product
from interlock_repo.sbom import sbom_format
from interlock_repo.sources import source_for, sources
from interlock_repo.specs import ImageSpec, ReleaseSpec

MAX_EVIDENCE: Final = 64 * 1024 * 1024


FORMATS: Final = {
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".xml": "application/xml",
}
"""What a piece of evidence is said to be, by the end of its name."""


@dataclass(frozen=True)
class Staged:
    """A product's next metadata.

    Attributes:
        metadata: unsigned.
        contents: the bytes of its new targets by path.
        spec: the release, naming files as they are called in the repository.
    """

    metadata: Metadata[Targets]
    contents: dict[str, bytes | SourceFile]
    spec: ReleaseSpec


def delegated_product(targets: Targets, product: str) -> DelegatedRole:
    """The role that releases ``product``.

    Raises:
        RefusedError: ``unknown_product``.
    """
    role = delegated_roles(targets).get(product)
    if role is None or product == ROSTER_ROLE:
        known = ", ".join(sorted(delegated_roles(targets).keys() - {ROSTER_ROLE})) or "none yet"
        raise RefusedError(
            f"{product[:80]!r} is no product of this repository ({known}): delegate it first.",
            reason="unknown_product",
        )
    return role


def stage(
    spec: ReleaseSpec,
    folder: Path,
    role: DelegatedRole,
    previous: Targets | None,
    *,
    now: datetime,
    expires: datetime,
) -> Staged:
    """Make the metadata of a product with one more release.

    Args:
        spec: the release.
        folder: where the files that it names are.
        role: what the product's delegator says of it.
        previous: the product's metadata in force; None before its first release.
        now: the time of issue.
        expires: of the metadata.

    Raises:
        RefusedError: ``no_sbom``, ``bad_sbom``, ``image_changed``, ``name_twice``, ``too_large``,
            ``unknown_hardware``, ``stranding``, ``bad_delta``, ``unknown_source``,
            ``wrong_source``, or as ``released.check_release``.
        WireError: a file name or a fact that is not acceptable.
        NotFoundError, TransientError: a file is missing or cannot be read.
    """
    targets = next_product(previous, now=now, expires=expires)
    spec = _measured(spec, folder)
    new = _Release(spec, folder, previous)
    for path, target in new.targets.items():
        targets.targets[path] = target
    check_release(targets, previous, role)
    vetting.check_hardware(targets, previous, spec.new_hardware)
    vetting.check_reach(targets, previous, now.date())
    metadata = within_limits(Metadata(targets), spec.product)
    return Staged(metadata, new.contents, travelling(spec))


def within_limits(metadata: Metadata[Targets], product: str) -> Metadata[Targets]:
    """Return a product's metadata if TUF clients read it.

    Raises:
        RefusedError: ``too_large``.
    """
    if len(serialise(metadata)) > MAX_LENGTH[Targets.type]:
        raise RefusedError(
            f"The metadata of {product} would be larger than the "
            f"{MAX_LENGTH[Targets.type]} bytes that TUF clients read.",
            reason="too_large",
        )
    return metadata


def travelling(spec: ReleaseSpec) -> ReleaseSpec:
    """A release whose files are named as they lie in an event, side by side."""
    evidence = {kind: Path(file).name for kind, file in spec.evidence.items()}
    images = tuple(
        replace(
            image,
            file=image.name or Path(image.file).name,
            name=None,
            delta_from=(),
            deltas=tuple(Path(file).name for file in image.deltas),
        )
        for image in spec.images
    )
    return replace(spec, images=images, **evidence)


def _measured(spec: ReleaseSpec, folder: Path) -> ReleaseSpec:
    """The release with lengths and digests in place of the files of ``ImageSpec.contents``."""
    return replace(
        spec,
        images=tuple(
            image
            if image.contents is None
            else replace(image, contents=None, slots=_slots(image.contents, folder))
            for image in spec.images
        ),
    )


def _slots(contents: Mapping[str, str], folder: Path) -> tuple[Slot, ...]:
    found = {name: measure(folder / file) for name, file in contents.items()}
    return tuple(
        Slot(name=name, length=source.length, sha256=source.sha256)
        for name, source in found.items()
    )


class _Release:
    """Targets and contents of one release."""

    def __init__(self, spec: ReleaseSpec, folder: Path, previous: Targets | None) -> None:
        self._spec = spec
        self._folder = folder
        self._known = sources(previous)
        self.targets: dict[str, TargetFile] = {}
        self.contents: dict[str, bytes | SourceFile] = {}
        references = self._evidence()
        for image in spec.images:
            self._image(image, references)

    def _evidence(self) -> tuple[Reference, ...]:
        spec = self._spec
        if spec.sbom is None:
            raise RefusedError(
                f"{spec.product} {spec.version} has no SBOM: name a CycloneDX or SPDX file as "
                "'sbom'.",
                reason="no_sbom",
            )
        references = []
        for kind, name in spec.evidence.items():
            file = self._folder / name
            data = _read(file)
            format_ = sbom_format(data, what=str(file)) if kind == "sbom" else _format(file)
            facts = {"evidence": kind, "format": format_}
            path = self._add(file.name, data, len(data), wire.sha256_hex(data), facts, Evidence)
            references.append({"kind": kind, "path": path, "sha256": wire.sha256_hex(data)})
        return wire.convert(references, tuple[Reference, ...], what="references")

    def _image(self, image: ImageSpec, references: tuple[Reference, ...]) -> None:
        spec, file = self._spec, self._folder / image.file
        source = measure(file)
        references += tuple(self._delta(image, source, name) for name in image.deltas)
        slot = Slot(name=image.slot or DEFAULT_SLOT, length=source.length, sha256=source.sha256)
        facts = {
            "hardware_ids": image.hardware_ids or spec.hardware_ids,
            "release_counter": spec.release_counter,
            "raises_floor_to": spec.raises_floor_to,
            "min_counter_installed": spec.min_counter_installed,
            "update_class": spec.update_class,
            "markets": spec.markets,
            "support_end": spec.support_end.isoformat(),
            "udi_di": spec.udi_di,
            "slots": image.slots if image.slots is not None else (slot,),
            "references": references,
        }
        name = image.name if image.name is not None else file.name
        self._add(name, source, source.length, source.sha256, facts, Image)

    def _delta(self, image: ImageSpec, new: SourceFile, name: str) -> Reference:
        """Rule 3."""
        file = self._folder / name
        header, data = header_of(file)
        if header.new.sha256 != new.sha256:
            raise RefusedError(
                f"{file} leads to another image than {new.path}: have it made again.",
                reason="bad_delta",
            )
        _, slot = source_for(
            self._known,
            header.old.sha256,
            what=f"what {file.name} is applied to",
            image=image.file,
            slots=slots_of(image),
            hardware=image.hardware_ids or self._spec.hardware_ids,
        )
        facts = {
            "from_slot": slot,
            "from_sha256": header.old.sha256,
            "from_length": header.old.length,
            "to_sha256": header.new.sha256,
            "header_length": len(data),
            "header_sha256": wire.sha256_hex(data),
        }
        source = measure(file)
        path = self._add(file.name, source, source.length, source.sha256, facts, Delta)
        check_delta(file, read_delta(path, self.targets[path].custom), new.path)
        stated = {"kind": "delta", "path": path, "sha256": source.sha256}
        return wire.convert(stated, Reference, what="reference")

    def _add(
        self,
        name: str,
        content: bytes | SourceFile,
        length: int,
        sha256: str,
        facts: dict[str, Any],
        type_: type[Image | Evidence | Delta],
    ) -> str:
        spec = self._spec
        path = f"{spec.product}/{spec.version}/{name}"
        if path in self.targets:
            raise RefusedError(
                f"Two files of the release are called {name}: give one another name.",
                reason="name_twice",
            )
        stated = msgspec.to_builtins({"product": spec.product, "version": spec.version} | facts)
        custom = wire.convert(stated, type_, what=f"facts of {path[:120]!r}")
        self.targets[path] = TargetFile(
            length, {"sha256": sha256}, path, {"custom": msgspec.to_builtins(custom)}
        )
        self.contents[path] = content
        return path


def slots_of(image: ImageSpec) -> tuple[str, ...]:
    """The names of the slots that an image fills."""
    if image.contents is not None:
        return tuple(image.contents)
    if image.slots is not None:
        return tuple(slot.name for slot in image.slots)
    return (image.slot or DEFAULT_SLOT,)


def measure(path: Path) -> SourceFile:
    """Length and digest of a file, in bounded memory (rule 4).

    Raises:
        RefusedError: ``image_changed`` or ``empty_file``.
        NotFoundError, TransientError: it is missing or cannot be read.
    """
    digest, length = hashlib.sha256(), 0
    with open_source(path) as file, durable.translated("read", path):
        while chunk := file.read(durable.CHUNK):
            digest.update(chunk)
            length += len(chunk)
    if not length:
        raise RefusedError(f"{path} is empty: there is nothing to install.", reason="empty_file")
    return SourceFile(path, length, digest.hexdigest())


def _read(path: Path) -> bytes:
    try:
        data = durable.read(path, limit=MAX_EVIDENCE, what="file")
    except WireError as e:
        raise ConfigurationError(str(e)) from e
    if not data:
        raise RefusedError(f"{path} is empty: it is no evidence.", reason="empty_file")
    return data


def _format(path: Path) -> str:
    return FORMATS.get(path.suffix.lower(), "application/octet-stream")
