"""What is signed is filled in from verified metadata: a lying server is refused by name."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from tuf.api.metadata import Metadata, Root

from interlock_core import wire
from interlock_core.errors import InterlockError, RefusedError, TransientError, WireError
from interlock_core.http import make_pool
from interlock_core.tuf_metadata import REHEARSAL, serialise
from interlock_ops.image import ImageRepository
from interlock_ops.order_file import Facts
from tests.ops.world import (
    IMAGE,
    PATH,
    PRODUCT,
    SHA256,
    ImageWriter,
    Original,
    Place,
    Served,
    StandIn,
    Ticking,
    facts,
)
from tests.support.people import ROSTER, roster


class Repository:
    """An image repository of one test's own, served."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = ImageWriter(directory / "store")
        self.stand_in = StandIn(ROSTER, Ticking(), directory / "store")
        self.served = Served(self.stand_in)

    def publish(self, version: int = 1, image: bytes = IMAGE, seq: int = 1) -> None:
        self.writer.publish(
            version,
            {
                PATH: (image, facts()),
                "interlock/roster.json": (wire.encode(roster(seq=seq)), None),
            },
        )

    def client(self, state: str = "state", root: bytes | None = None) -> ImageRepository:
        return ImageRepository(
            self.served.url, root or self.writer.root, self.directory / state, make_pool()
        )


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    made = Repository(tmp_path)
    try:
        yield made
    finally:
        made.served.close()


def refused(client: ImageRepository) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        client.find(PATH)
    return caught.value


def test_a_rehearsals_root_is_refused(repository: Repository) -> None:
    repository.publish()
    root = Metadata[Root].from_bytes(repository.writer.root)
    root.signed.unrecognized_fields[REHEARSAL] = True
    with pytest.raises(RefusedError) as refusal:
        repository.client(root=serialise(root))
    assert refusal.value.reason == "rehearsal"


def test_facts_and_roster_are_read(repository: Repository) -> None:
    repository.publish()
    client = repository.client()
    found = client.find(PATH)
    assert found.facts == Facts(PATH, len(IMAGE), SHA256)
    assert found.image.release_counter == 2
    assert client.roster() == ROSTER


def test_a_later_release_is_seen_by_the_next_run(repository: Repository) -> None:
    repository.publish()
    assert repository.client().roster().seq == 1
    repository.publish(2, seq=2)
    assert repository.client().roster().seq == 2


def test_what_is_not_published_is_named(repository: Repository) -> None:
    repository.publish()
    with pytest.raises(RefusedError, match=r"no target gateway/9\.9\.9/image\.img") as caught:
        repository.client().find(f"{PRODUCT}/9.9.9/image.img")
    assert caught.value.reason == "no_such_target"


def test_a_target_that_is_no_image_is_refused(place: Place, original: Original) -> None:
    client = ImageRepository(place.url, original.writer.root, place.home / "s", make_pool())
    with pytest.raises(WireError, match="it is no image"):
        client.find(f"{PRODUCT}/2.0.0/notes.txt")


@pytest.mark.parametrize("role", ["timestamp", "1.snapshot", "1.targets", "1.gateway"])
def test_an_edited_file_is_refused(repository: Repository, role: str) -> None:
    repository.publish()
    path = f"/image/metadata/{role}.json"
    true = (repository.directory / "store" / path.removeprefix("/")).read_bytes()
    # The very lie that matters: another digest for the wanted image.
    lie = true.replace(SHA256.encode(), b"0" * 64).replace(b'"version":1', b'"version":2', 1)
    repository.stand_in.lie[path] = lie
    assert lie != true
    assert refused(repository.client()).reason == "untrusted_metadata"


def test_another_fleets_repository_is_refused(repository: Repository, original: Original) -> None:
    repository.publish()
    found = refused(repository.client(root=original.writer.root))
    assert found.reason == "untrusted_metadata"
    assert "image_root" in str(found)


def test_older_metadata_than_was_seen_is_refused(repository: Repository) -> None:
    repository.publish()
    old = shutil.copytree(repository.directory / "store", repository.directory / "old")
    repository.publish(2, image=b"another image")
    repository.client().find(PATH)
    repository.stand_in.files = old
    assert refused(repository.client()).reason == "rollback"
    # A machine that had not seen the newer state has nothing to hold against the older.
    assert repository.client("elsewhere").find(PATH).facts.sha256 == SHA256


def test_a_duplicate_key_is_refused_before_tuf_reads_it(repository: Repository) -> None:
    repository.publish()
    path = "/image/metadata/timestamp.json"
    true = (repository.directory / "store" / path.removeprefix("/")).read_bytes()
    repository.stand_in.lie[path] = true.replace(b'"signed":', b'"signed":{},"signed":', 1)
    found = refused(repository.client())
    assert isinstance(found, WireError)
    assert "'signed' stands twice" in str(found)


def test_an_endless_file_is_refused(repository: Repository) -> None:
    repository.publish()
    repository.stand_in.lie["/image/metadata/timestamp.json"] = b"[" * 20_000
    assert isinstance(refused(repository.client()), TransientError)


def test_nobody_listening_is_transient(repository: Repository, tmp_path: Path) -> None:
    repository.publish()
    client = ImageRepository(
        "http://127.0.0.1:9", repository.writer.root, tmp_path / "s", make_pool()
    )
    assert isinstance(refused(client), TransientError)


def test_a_missing_repository_is_transient(repository: Repository) -> None:
    assert "404" in str(refused(repository.client()))


def test_a_root_file_that_is_none_is_named(repository: Repository) -> None:
    with pytest.raises(WireError, match="image root file"):
        repository.client(root=b"{}")


def test_a_repository_without_a_roster_is_named(repository: Repository) -> None:
    repository.writer.publish(1, {PATH: (IMAGE, facts())})
    with pytest.raises(RefusedError) as caught:
        repository.client().roster()
    assert caught.value.reason == "no_roster"


def test_one_process_at_a_time_uses_what_is_remembered(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.publish()
    locked: list[tuple[str, int, int]] = []

    def flock(file: IO[bytes], how: int) -> None:
        locked.append((file.name, how, len(repository.stand_in.asked)))

    monkeypatch.setattr("interlock_ops.image.fcntl.flock", flock)
    repository.client().find(PATH)
    # Exclusively, and before anything was asked for.
    assert locked == [(str(repository.directory / "state" / ".lock"), fcntl.LOCK_EX, 0)]
