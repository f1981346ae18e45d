"""Publishing writes what changed and nothing else, however much there is already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pytest

from interlock_core import wire
from interlock_core.genesis import IMAGE
from interlock_core.log import CHECKPOINT_KEY, TAIL_KEY
from interlock_core.names import ROSTER_PATH
from interlock_core.tuf_stored import StoredRepository
from interlock_server.online_keys import Signers
from tests.server.world import (
    MANAGERS,
    NOW,
    PRODUCT,
    TARGETS,
    V1,
    Bench,
    CutStore,
    Fleet,
    Release,
    sign,
)
from tests.support import people
from tests.support.papers import authorise, order
from tests.support.people import CANARY, ST_ANNA, ST_BERT

COHORTS = (CANARY, ST_ANNA, ST_BERT)
POLLS = {f"poll/{cohort}" for cohort in COHORTS}
LOG = {TAIL_KEY, CHECKPOINT_KEY}


class Recorder(CutStore):
    """A Store that notes every write that it is asked for; power never goes."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.store, -1)
        self.written: list[str] = []

    def put_new(self, key: str, data: bytes) -> None:
        self.written.append(key)
        self.inner.put_new(key, data)

    def put_new_stream(
        self, key: str, chunks: Iterable[bytes] | IO[bytes], *, length: int, sha256: str
    ) -> None:
        self.written.append(key)
        self.inner.put_new_stream(key, chunks, length=length, sha256=sha256)

    def replace(self, key: str, data: bytes) -> None:
        self.written.append(key)
        self.inner.replace(key, data)


class Grown:
    """A server that has so many releases of its product, and notes what it writes."""

    def __init__(self, fleet: Fleet, signers: Signers, known: Iterable[Release]) -> None:
        self.bench = Bench(fleet, signers)
        self.recorder = Recorder(self.bench)
        self.bench.restart(self.recorder)
        self.known = list(known)

    def version(self, role: str, prefix: str = IMAGE) -> int:
        return StoredRepository(self.bench.store, prefix).published_version(role) or 0

    def release(self, product: str, *releases: Release) -> None:
        metadata = self.bench.fleet.product(self.version(product) + 1, *releases)
        files = [data for release in releases for data in release.files.values()]
        self.bench.publish(product, sign(metadata, MANAGERS), files)

    def one_more(self, version: str = "9.0.0", counter: int = 99) -> Release:
        release = Release(version, counter)
        self.known.append(release)
        self.release(PRODUCT, *self.known)
        return release

    def heads(self, role: str) -> set[str]:
        """What is written of the image repository when a role has a new version."""
        versions = {role: self.version(role), "snapshot": self.version("snapshot")}
        return {f"image/metadata/{version}.{name}.json" for name, version in versions.items()} | {
            "image/metadata/timestamp.json"
        }

    def director(self, cohort: str) -> set[str]:
        """What is written of a director with a new directive, but for the directive."""
        prefix = f"director/{cohort}"
        return {
            f"{prefix}/metadata/{self.version('targets', prefix)}.targets.json",
            f"{prefix}/metadata/{self.version('snapshot', prefix)}.snapshot.json",
            f"{prefix}/metadata/timestamp.json",
            f"poll/{cohort}",
        }

    def written(self) -> list[str]:
        """What was written since the last look, each as often as it was."""
        found = sorted(self.recorder.written)
        self.recorder.written.clear()
        return found


def grow(fleet: Fleet, signers: Signers, products: int, releases: int) -> list[Release]:
    """Publish so many products, and so many releases of each; returns those of the first."""
    grown = Grown(fleet, signers, [V1, *(Release(f"1.{n}", 10 + n) for n in range(1, releases))])
    names = [f"product-{number}" for number in range(2, products + 1)]
    if names:
        delegations = fleet.delegations(3, **dict.fromkeys(names, MANAGERS))
        grown.bench.publish("targets", sign(delegations, TARGETS))
    for name in names:
        grown.release(name, *(Release(f"1.{n}", n, product=name) for n in range(1, releases + 1)))
    grown.release(PRODUCT, *grown.known)
    grown.bench.back.database.close()
    return grown.known


@pytest.fixture(
    scope="module", params=[(1, 1), (5, 6)], ids="{0[0]} products, {0[1]} releases".format
)
def grown_once(
    request: pytest.FixtureRequest,
    template: Fleet,
    signers: Signers,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Fleet, list[Release]]:
    """A fleet of each size; tests work on copies."""
    fleet = template.copy(tmp_path_factory.mktemp("grown") / "fleet")
    return fleet, grow(fleet, signers, *request.param)


@pytest.fixture
def grown(
    grown_once: tuple[Fleet, list[Release]], signers: Signers, tmp_path: Path
) -> Iterable[Grown]:
    fleet, known = grown_once
    made = Grown(fleet.copy(tmp_path / "fleet"), signers, known)
    yield made
    made.bench.back.database.close()


def targets_of(release: Release) -> set[str]:
    return {
        f"image/targets/{path.rpartition('/')[0]}/{wire.sha256_hex(data)}.{path.rpartition('/')[2]}"
        for path, data in release.files.items()
    }


def test_a_release_writes_its_role_the_heads_and_the_polls(grown: Grown) -> None:
    release = grown.one_more()
    expected = targets_of(release) | grown.heads(PRODUCT) | POLLS | LOG
    assert grown.written() == sorted(expected)


def test_a_release_amid_a_rollout_signs_no_director_anew(grown: Grown) -> None:
    said = order(targets=(V1.target(),))
    grown.bench.say_all(said, authorise(said))
    assert any(grown.bench.directive(cohort).products for cohort in COHORTS)
    grown.written()
    release = grown.one_more()
    assert grown.written() == sorted(targets_of(release) | grown.heads(PRODUCT) | POLLS | LOG)


def test_a_roster_changes_the_directors_of_those_whom_it_concerns(grown: Grown) -> None:
    said = order(targets=(V1.target(),))
    grown.bench.say_all(said, authorise(said))
    served = [cohort for cohort in COHORTS if grown.bench.directive(cohort).products]
    assert 0 < len(served) < len(COHORTS)
    grown.written()
    # Without Ada, what she authorised is in force no more.
    gone = people.roster(people.OLGA, people.ALAN, seq=2, issued=NOW)
    grown.bench.publish_roster(wire.encode(gone), version=2)
    signed = {key.split("/")[1] for key in grown.written() if key.startswith("director/")}
    assert signed == set(served)


def test_a_word_writes_the_directives_that_it_changes(grown: Grown) -> None:
    said = order(targets=(V1.target(),))
    grown.bench.say_all(said)
    grown.written()
    grown.bench.say_all(authorise(said))
    served = [c for c in COHORTS if grown.bench.directive(c).products]
    written = grown.written()
    directives = [key for key in written if "/targets/" in key]
    assert len(directives) == len(served) > 0
    expected: set[str] = set(LOG)
    for cohort in served:
        expected |= grown.director(cohort)
    unconcerned = {f"poll/{c}" for c in COHORTS if c not in served}
    assert set(written) - set(directives) - unconcerned == expected
    assert not any(f"director/{c}/" in key for c in COHORTS if c not in served for key in written)


def test_a_roster_that_is_only_renewed_signs_no_director_anew(grown: Grown) -> None:
    data = wire.encode(people.roster(seq=2, issued=NOW))
    grown.bench.publish_roster(data, version=2)
    roster = f"image/targets/interlock/{wire.sha256_hex(data)}.{ROSTER_PATH.rpartition('/')[2]}"
    assert grown.written() == sorted({roster} | grown.heads("interlock") | POLLS | LOG)


def test_what_is_published_already_writes_nothing(grown: Grown) -> None:
    grown.one_more()
    grown.written()
    metadata = grown.bench.fleet.product(grown.version(PRODUCT), *grown.known)
    grown.bench.publish(PRODUCT, sign(metadata, MANAGERS))
    assert grown.written() == []


def test_a_directive_that_the_store_lost_is_put_again(grown: Grown) -> None:
    [lost] = [
        key
        for key in grown.bench.store.list(f"director/{ST_ANNA}/targets/")
        if key.endswith("directive.json")
    ]
    grown.bench.store.path(lost).unlink()
    grown.bench.back.publisher.refresh()
    assert set(grown.written()) - POLLS == {lost}
