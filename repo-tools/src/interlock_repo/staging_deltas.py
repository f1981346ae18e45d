"""Deltas of a release are made before it is staged (I/O).

Rules:

1. An image of the release gets a delta from each old image that its specification names for it,
   and from each that was named for the whole release and that it can follow (``sources``). One
   that no image can follow is refused.
2. A delta that is not smaller than nine tenths of the image is left out, and that is said: it
   would cost a gateway memory and time for nothing.
3. Deltas are made in a scratch directory beside the event, which is removed when the event is
   there, or cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec.structs import replace
from tuf.api.metadata import Targets

from interlock_core import disk, durable
from interlock_core.errors import RefusedError
from interlock_repo.deltas import Told, make_delta
from interlock_repo.event import SourceFile
from interlock_repo.review import Line, Section
from interlock_repo.sources import Source, source_for, sources
from interlock_repo.specs import ImageSpec, ReleaseSpec
from interlock_repo.staging import measure, slots_of

WORTH: Final = 90
"""A delta is smaller than so many percent of the image, or left out (rule 2)."""

Progress = AbstractContextManager[Told]


@dataclass(frozen=True)
class Wanted:
    """A delta to make."""

    image: ImageSpec
    old: SourceFile
    new: SourceFile
    source: Source

    @property
    def name(self) -> str:
        """Its name in the repository."""
        name = self.image.name or Path(self.image.file).name
        return f"{name}.from-{self.source.version}.delta"


@contextmanager
def with_deltas(
    spec: ReleaseSpec,
    folder: Path,
    named: Iterable[Path],
    before: Targets | None,
    scratch: Path,
    progress: Callable[[str, int], Progress],
) -> Iterator[tuple[ReleaseSpec, tuple[Section, ...]]]:
    """The release with the deltas that were asked for, as files that are there inside.

    Args:
        spec: the release.
        folder: where the files that it names are.
        named: old images for the whole release.
        before: the product's metadata in force.
        scratch: the directory in which to make a scratch directory.
        progress: shows how far each is.

    Raises:
        RefusedError: ``unknown_source``, ``wrong_source``, ``image_changed`` or ``bad_delta``.
        WireError: an image is too large for a delta.
        NotFoundError, TransientError: a file is missing, cannot be read or written.
    """
    wanted = _wanted(spec, folder, tuple(named), before)
    if not wanted:
        yield spec, ()
        return
    durable.mkdir(scratch)
    with disk.translated("write in", scratch):
        room = TemporaryDirectory(dir=scratch, prefix=".interlock-delta-")
    with room as place:
        made: dict[str, list[str]] = {}
        lines = []
        for number, one in enumerate(wanted):
            durable.mkdir(Path(place) / str(number))
            path = Path(place) / str(number) / one.name
            with progress(one.name, one.new.length) as told:
                make_delta(one.old, one.new, path, told)
            length = path.stat().st_size
            share = f"{length:,} bytes, {_percent(length, one.new.length)} of the image"
            if length * 100 < one.new.length * WORTH:
                made.setdefault(one.image.file, []).append(str(path))
                lines.append(Line("+", one.name, None, share))
            else:
                lines.append(Line("-", one.name, f"{share}: left out, it would not pay", None))
        images = tuple(
            replace(one, delta_from=(), deltas=(*one.deltas, *made.get(one.file, ())))
            for one in spec.images
        )
        yield replace(spec, images=images), (Section("Deltas", tuple(lines)),)


def _wanted(
    spec: ReleaseSpec, folder: Path, named: tuple[Path, ...], before: Targets | None
) -> list[Wanted]:
    """Rule 1."""
    if not named and not any(image.delta_from for image in spec.images):
        return []
    known = sources(before)
    news = {image.file: measure(folder / image.file) for image in spec.images}
    wanted = [
        _one(known, measure(folder / file), news[image.file], image, spec)
        for image in spec.images
        for file in image.delta_from
    ]
    for path in named:
        old, fitting, refused = measure(path), [], None
        for image in spec.images:
            try:
                fitting.append(_one(known, old, news[image.file], image, spec))
            except RefusedError as e:
                refused = e
        if refused is not None and not fitting:
            raise refused
        wanted += fitting
    return wanted


def _one(
    known: Iterable[Source], old: SourceFile, new: SourceFile, image: ImageSpec, spec: ReleaseSpec
) -> Wanted:
    source, _ = source_for(
        known,
        old.sha256,
        what=str(old.path),
        image=image.file,
        slots=slots_of(image),
        hardware=image.hardware_ids or spec.hardware_ids,
    )
    if old.sha256 == new.sha256:
        raise RefusedError(
            f"{old.path} and {new.path} hold the same bytes: there is no delta between them.",
            reason="wrong_source",
        )
    return Wanted(image, old, new, source)


def _percent(part: int, whole: int) -> str:
    return f"{part * 100 / whole:.1f} %"
