"""Puts what a later ceremony signed in force, for every reader without a gap (I/O).

Rules:

1. The whole switch is staged first (``overlay``) and tried out by real clients (``trial``), who
   look at the image repository and at the director of every cohort that gets a root; then the same
   bytes are written in the same order.
2. That order: targets metadata, which nothing leads to yet; heads of every repository under the
   keys of the old and of the new root; then the roots, of each repository all at once
   (``OnlineRepository``, rule 7). So a reader at any root finds heads that it accepts, at every
   instant, and whatever is cut off leaves each repository whole: if rule 3 does not apply.
3. If old private keys are not held any more, or the targets metadata does not carry both
   thresholds, each repository's timestamp follows its roots at once. A reader between those two
   writes is refused, and tries again; if it is cut off there, until somebody finishes.
4. After a failure at any write, the same ceremony again finishes. So does a refresh, once the first
   director is under the new roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Targets

from interlock_core.genesis import IMAGE
from interlock_core.store import Store
from interlock_server.heads import Publisher, director_prefix
from interlock_server.overlay import Overlay
from interlock_server.trial import try_out


@dataclass(frozen=True)
class Rotation:
    """What is new, verified.

    Attributes:
        image: roots of the image repository, rising; those in force may be among them.
        director: every root of the directors, from the first to the newest.
        targets: top-level targets metadata to be shown with the roots, if it is new.
    """

    image: Sequence[bytes]
    director: Sequence[bytes]
    targets: bytes | None


def rotate(
    publisher: Publisher, store: Store, cohorts: Sequence[str], rotation: Rotation, now: datetime
) -> None:
    """Put roots and targets in force (rules 1 to 3). The caller holds the turn.

    Directives and bundles follow by ``Publisher.publish_directors``.

    Raises:
        RefusedError, ConflictError, WireError: as ``OnlineRepository.prepare_roots``; or
            ``gateways_would_refuse``: nothing was written.
        ConfigurationError: ``wrong_online_key``: nothing was written.
        TransientError: the Store failed.
    """
    staged = Overlay(store)
    image = publisher.image(staged)
    directors = [publisher.director(cohort, staged) for cohort in cohorts]
    if rotation.targets is not None:
        image.put_offline(Targets.type, rotation.targets)
    steps = [(image, rotation.image), *((one, rotation.director) for one in directors)]
    coming = [(repository, repository.prepare_roots(texts)) for repository, texts in steps]
    for repository, roots in coming:
        repository.show_roots(roots)
    if rotation.targets is not None:
        image.publish()
    try_out(store, staged, IMAGE, now, oldest_root=publisher.oldest_root)
    for cohort, (_, roots) in zip(cohorts, coming[1:], strict=True):
        if roots.texts:
            try_out(store, staged, director_prefix(cohort), now)
    staged.write()
