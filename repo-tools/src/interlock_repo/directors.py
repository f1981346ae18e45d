"""What the directors say now, for whoever asks when it ends (I/O).

Rules:

1. Trust begins with a director root file that the caller names; ``tuf.ngclient`` verifies the
   rest. What has expired is read all the same, since that is what is asked about.
2. A director whose heads are of another cohort than its address says is refused: gateways would
   refuse it too.
3. In a directory every director is looked at that it holds; a server is asked for those that are
   named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from tuf.api.metadata import Root, Signed, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater

from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError
from interlock_core.genesis import DIRECTOR
from interlock_core.tuf_metadata import COHORT, MAX_LENGTH, parse_metadata, refuse_rehearsal
from interlock_repo.fetch import BASE
from interlock_repo.repository import believing, fetcher_of, judge_none

AnyRole = TypeVar("AnyRole", Root, Targets, Snapshot, Timestamp)


def read_directors(
    where: str,
    trusted_root: Path,
    cohorts: Sequence[str],
    *,
    ca_file: Path | None,
    proxy: str | None,
) -> Mapping[str, tuple[Signed, ...]]:
    """Root, targets, snapshot and timestamp of directors, verified, by cohort.

    Args:
        where: a server's URL, or a directory with the Store's layout.
        trusted_root: the directors' root file to begin with (rule 1).
        cohorts: which; none for all that a directory holds (rule 3).
        ca_file, proxy: as ``repository.open_repository`` takes them.

    Raises:
        ConfigurationError: a server, and no cohort is named.
        RefusedError: ``untrusted_metadata``, ``wrong_cohort`` and the like.
        NotFoundError: there is no such director.
        TransientError: it cannot be read.
        WireError: the root file is none.
    """
    root = durable.read(trusted_root, limit=MAX_LENGTH[Root.type], what="director root file")
    refuse_rehearsal(parse_metadata(root, Root, what=f"root file {trusted_root}").signed)
    fetcher = fetcher_of(where, ca_file=ca_file, proxy=proxy)
    found = {}
    for cohort in cohorts or _held(where):
        prefix = f"{DIRECTOR}/{cohort}"
        with TemporaryDirectory(prefix="interlock-repo-") as scratch:
            with believing(f"{where} ({prefix})"):
                updater = Updater(
                    scratch, f"{BASE}{prefix}/metadata/", fetcher=fetcher, bootstrap=root
                )
                judge_none(updater)
                updater.refresh()
            found[cohort] = tuple(_read(Path(scratch)))
        _check_cohort(cohort, found[cohort])
    return found


def _held(where: str) -> list[str]:
    if "://" in where:
        raise ConfigurationError(
            "A server does not tell which directors it has: name each with --cohort."
        )
    return sorted(path.parent.name for path in Path(where).glob(f"{DIRECTOR}/*/metadata"))


def _read(directory: Path) -> Iterable[Signed]:
    yield _one(directory, Root)
    yield _one(directory, Targets)
    yield _one(directory, Snapshot)
    yield _one(directory, Timestamp)


def _one(directory: Path, kind: type[AnyRole]) -> AnyRole:
    what = f"{kind.type} metadata"
    data = durable.read(directory / f"{kind.type}.json", limit=MAX_LENGTH[kind.type], what=what)
    return parse_metadata(data, kind, what=what).signed


def _check_cohort(cohort: str, found: Iterable[Signed]) -> None:
    for signed in found:
        said = signed.unrecognized_fields.get(COHORT)
        if signed.type != Root.type and said != cohort:
            raise RefusedError(
                f"The director of {cohort} has a {signed.type} for {str(said)[:80]}.",
                reason="wrong_cohort",
            )
