"""``POST /v1/ceremonies``: what a later ceremony signed is verified whole, and reaches all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from sqlalchemy import update
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Timestamp

from interlock_core import wire
from interlock_core.api import MAX_ROOTS
from interlock_core.bundle import read_bundle
from interlock_core.keys import load_public_key
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import MAX_ROOT_ROTATIONS, REHEARSAL
from interlock_core.tuf_stored import StoredRepository, timestamp_key
from interlock_server.db.tables import CohortRow
from interlock_server.founding import add_cohorts
from tests.server.later import (
    NEW_ROOT,
    NEW_TARGETS,
    PREFIXES,
    WHOLE,
    Ceremony,
    configure,
    first,
    new_online,
    read_all,
    restart,
    rotation,
    send,
    targets_rotation,
)
from tests.server.world import (
    COHORTS,
    DIRECTOR_ROOT,
    NOW,
    PRODUCT,
    ROOT,
    TARGETS,
    V1,
    V2,
    Bench,
    CutStore,
    Fleet,
    Reader,
    StoreFetcher,
    sha256,
    sign,
)
from tests.support.papers import authorise, order

HOLDERS = {"image": ROOT, "director": DIRECTOR_ROOT}


def files(bench: Bench) -> dict[str, bytes]:
    """What gateways read: all of the Store but the log."""
    root = bench.settings.store_directory
    found = [path for path in root.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in found if not path.is_relative_to(root / "log")}


def signed_by(bench: Bench, prefix: str) -> set[str]:
    """Whose keys signed the timestamp, by the directory of the online keys."""
    timestamp = Metadata[Timestamp].from_bytes(bench.store.get(timestamp_key(prefix)))
    name = "image-online" if prefix == "image" else "director-online"
    return {
        directory
        for directory in ("online", "online-2")
        if load_public_key(bench.fleet.home / directory / f"{name}.pub.json").key.keyid
        in timestamp.signatures
    }


class Counting(CutStore):
    """A Store that notes what is read of it; power never goes."""

    def __init__(self, store: FileStore, number: int) -> None:
        super().__init__(store, number)
        self.reads: list[str] = []

    def get(self, key: str) -> bytes:
        self.reads.append(key)
        return super().get(key)

    def open(self, key: str) -> IO[bytes]:
        self.reads.append(key)
        return super().open(key)

    def size(self, key: str) -> int:
        self.reads.append(key)
        return super().size(key)

    def list(self, prefix: str) -> list[str]:
        self.reads.append(prefix)
        return super().list(prefix)


def add(bench: Bench, *cohorts: str) -> None:
    """Directors for further cohorts."""
    back = bench.back
    add_cohorts(
        cohorts,
        database=back.database,
        store=back.writes,
        publisher=back.publisher,
        clock=bench.clock,
    )


def refused(bench: Bench, ceremony: Ceremony, status: int, reason: str) -> Any:
    """A ceremony is refused by this name, and nothing changes."""
    before = files(bench)
    answer = send(bench, ceremony)
    assert (answer.status_code, answer.json["reason"]) == (status, reason), answer.text
    assert files(bench) == before
    return answer.json


class TestOnlineKeys:
    @pytest.fixture
    def both(self, bench: Bench) -> Bench:
        """A server that holds the old and the new online keys."""
        new_online(bench.fleet)
        restart(bench, "online-2", "online")
        return bench

    def test_they_are_rotated_in_every_repository(self, both: Bench, tmp_path: Path) -> None:
        assert read_all(both, tmp_path / "old") == WHOLE
        ceremony = rotation(both.fleet)
        answer = send(both, ceremony)
        assert answer.status_code == 201, answer.text
        assert answer.json["image_root"] == {"version": 2, "sha256": sha256(ceremony.image[1])}
        assert answer.json["director_root"]["version"] == 2
        assert answer.json["targets"]["version"] == 2
        for prefix in PREFIXES:
            assert StoredRepository(both.store, prefix).roots()[1:] == (
                ceremony.image[1:] if prefix == "image" else ceremony.director[1:]
            )
        for who in ("old", "fresh"):
            assert read_all(both, tmp_path / who) == WHOLE

    def test_both_sign_until_the_next_refresh_and_the_new_alone_after_it(
        self, both: Bench, tmp_path: Path
    ) -> None:
        send(both, rotation(both.fleet))
        for prefix in PREFIXES:
            assert signed_by(both, prefix) == {"online", "online-2"}
        both.back.publisher.refresh()
        for prefix in PREFIXES:
            assert signed_by(both, prefix) == {"online-2"}
        before = files(both)
        both.back.publisher.refresh()
        assert files(both) == before
        # The old ones are not needed any more.
        restart(both, "online-2")
        both.release(2, V1, V2)
        said = order(seq=2, targets=(V2.target(),))
        both.say_all(said, authorise(said))
        assert read_all(both, tmp_path / "fresh") == WHOLE

    def test_a_bundle_shows_the_rotation(self, both: Bench) -> None:
        send(both, rotation(both.fleet))
        for cohort in COHORTS:
            bundle = read_bundle(both.store.get(f"poll/{cohort}"))
            assert (bundle.roots.image, bundle.roots.director) == (2, 2)

    def test_a_reader_that_asked_for_roots_a_moment_before(
        self, both: Bench, tmp_path: Path
    ) -> None:
        """It comes with the old root for heads that were signed after the switch."""
        ceremony = rotation(both.fleet)

        class Interrupted(StoreFetcher):
            def _fetch(self, url: str) -> Iterator[bytes]:
                if url.endswith("timestamp.json"):
                    send(both, ceremony)
                return super()._fetch(url)

        for prefix in PREFIXES:
            both.fleet.copy(tmp_path / prefix)
            reader = Reader(both.fleet, tmp_path / "reader")
            reader.updater(Interrupted(both.store), prefix, NOW)

    def test_the_server_must_hold_the_new_ones(self, bench: Bench, tmp_path: Path) -> None:
        ceremony = rotation(bench.fleet)
        said = refused(bench, ceremony, 409, "online_key_missing")["detail"]
        keyid = load_public_key(bench.fleet.home / "online-2/image-online.pub.json").key.keyid
        assert keyid[:12] in said
        assert "keys.image_online" in said
        assert "restart interlock-server" in said
        # With the new ones alone, too: the old ones may be lost.
        restart(bench, "online-2")
        assert send(bench, ceremony).status_code == 201
        assert read_all(bench, tmp_path) == WHOLE

    def test_they_are_named_for_what_they_sign(self, both: Bench) -> None:
        """The key for the director's targets signs nothing else."""
        root = both.fleet.root("director", 2)
        targets = load_public_key(both.fleet.online / "director-targets.pub.json").key
        root.add_key(targets, "snapshot")
        text = sign(root, DIRECTOR_ROOT)
        refused(both, Ceremony(director=[text]), 403, "shared_key")

    def test_one_repository_alone(self, both: Bench, tmp_path: Path) -> None:
        ceremony = rotation(both.fleet)
        assert send(both, Ceremony(director=ceremony.director)).status_code == 201
        assert StoredRepository(both.store, "image").newest("root") == 1
        assert read_all(both, tmp_path) == WHOLE
        assert send(both, Ceremony(image=ceremony.image)).status_code == 201
        assert read_all(both, tmp_path) == WHOLE

    def test_a_cohort_that_is_added_later(self, both: Bench, tmp_path: Path) -> None:
        send(both, rotation(both.fleet))
        add(both, "late")
        assert StoredRepository(both.store, "director/late").newest("root") == 2
        reader = Reader(both.fleet, tmp_path)
        assert reader.read(both.store, "director/late", DIRECTIVE_PATH, NOW) is not None


class TestHolders:
    def test_root_holders_change_and_only_roots_are_written(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        text = sign(bench.fleet.root("image", 2, holders=NEW_ROOT), (*ROOT[:2], *NEW_ROOT[:2]))
        before = files(bench)
        assert send(bench, Ceremony(image=[text])).status_code == 201
        new = {name: data for name, data in files(bench).items() if before.get(name) != data}
        # Bundles name the newest roots.
        assert {name for name in new if "/poll/" not in name} == {
            str(bench.store.path("image/metadata/2.root.json"))
        }
        assert read_all(bench, tmp_path) == WHOLE

    @pytest.mark.parametrize("by", [ROOT[:2], NEW_ROOT[:2], (ROOT[0], NEW_ROOT[0]), ROOT[:1]])
    def test_old_and_new_threshold_are_needed(self, bench: Bench, by: tuple[str, ...]) -> None:
        text = sign(bench.fleet.root("image", 2, holders=NEW_ROOT), by)
        refused(bench, Ceremony(image=[text]), 403, "untrusted_metadata")

    def test_a_key_that_left_one_repository_long_ago_never_comes_to_the_other(
        self, bench: Bench
    ) -> None:
        """It may have been stolen since: it must be worth nothing elsewhere."""
        directors = ("new-1", "new-2", "new-3")
        chain = [
            first(bench.fleet, "director"),
            sign(
                bench.fleet.root("director", 2, holders=directors),
                (*DIRECTOR_ROOT[:2], *directors[:2]),
            ),
            *(
                sign(bench.fleet.root("director", version, holders=directors), directors[:2])
                for version in (3, 4)
            ),
        ]
        assert send(bench, Ceremony(director=chain)).status_code == 201
        holders = (*ROOT[:2], DIRECTOR_ROOT[2])
        text = sign(bench.fleet.root("image", 2, holders=holders), ROOT)
        refused(bench, Ceremony(image=[text]), 403, "shared_key")
        # The chain of before is no reason to refuse what changes nothing.
        assert send(bench, Ceremony(director=chain)).status_code == 200

    def test_twenty_ceremonies_come_at_once(self, bench: Bench, tmp_path: Path) -> None:
        """A server that slept: everybody walks the chain, and no root between is in force alone."""
        assert read_all(bench, tmp_path / "old") == WHOLE
        chain, director = [], []
        holders: tuple[str, ...] = ROOT
        for version in range(2, 22):
            following = tuple(f"holder-{version}-{n}" for n in range(3))
            root = bench.fleet.root("image", version, holders=following)
            if version < 21:
                # Long expired; only the newest must be fresh.
                root.expires = NOW - timedelta(days=1)
            chain.append(sign(root, (*holders[:2], *following[:2])))
            director.append(sign(bench.fleet.root("director", version), DIRECTOR_ROOT))
            holders = following
        answer = send(bench, Ceremony(chain, director))
        assert answer.status_code == 201, answer.text
        assert answer.json["image_root"]["version"] == 21
        for who in ("old", "fresh"):
            assert read_all(bench, tmp_path / who) == WHOLE


class TestTargetsKeys:
    @pytest.mark.parametrize("by", [(*TARGETS, *NEW_TARGETS), NEW_TARGETS], ids=["both", "new"])
    def test_they_are_rotated(self, bench: Bench, tmp_path: Path, by: tuple[str, ...]) -> None:
        assert read_all(bench, tmp_path / "old") == WHOLE
        ceremony = targets_rotation(bench.fleet, by)
        answer = send(bench, ceremony)
        assert answer.status_code == 201, answer.text
        assert answer.json["targets"] == {"version": 3, "sha256": sha256(ceremony.targets or b"")}
        for who in ("old", "fresh"):
            assert read_all(bench, tmp_path / who) == WHOLE
        # The old ones sign nothing more; the new ones delegate.
        old = sign(bench.fleet.delegations(4), TARGETS)
        answer = bench.offer("targets", old)
        assert answer.json["reason"] == "untrusted_metadata"
        bench.publish("targets", sign(bench.fleet.delegations(4), NEW_TARGETS))
        bench.release(2, V1, V2)
        assert read_all(bench, tmp_path / "fresh") == WHOLE

    def test_without_new_targets_metadata(self, bench: Bench) -> None:
        ceremony = targets_rotation(bench.fleet)
        for targets in (None, bench.store.get("image/metadata/2.targets.json")):
            ceremony.targets = targets
            refused(bench, ceremony, 403, "untrusted_metadata")

    def test_signed_by_the_old_ones_alone(self, bench: Bench) -> None:
        refused(bench, targets_rotation(bench.fleet, TARGETS), 403, "untrusted_metadata")

    def test_on_a_base_that_is_not_in_force_any_more(self, bench: Bench) -> None:
        ceremony = targets_rotation(bench.fleet)
        bench.publish("targets", sign(bench.fleet.delegations(3, late=("lara", "leo")), TARGETS))
        said = refused(bench, ceremony, 409, "other_targets")["detail"]
        assert "follows the one in force, which is 3" in said

    def test_that_orphan_what_is_published(self, bench: Bench) -> None:
        ceremony = targets_rotation(bench.fleet)
        orphaning = bench.fleet.delegations(3, **{PRODUCT: ("zoe", "zack")})
        ceremony.targets = sign(orphaning, (*TARGETS, *NEW_TARGETS))
        refused(bench, ceremony, 403, "orphaned_role")

    def test_targets_metadata_of_before_is_carried_over(self, bench: Bench, tmp_path: Path) -> None:
        """A ceremony that changes no targets key carries what it was given."""
        carried = bench.store.get("image/metadata/2.targets.json")
        bench.publish("targets", sign(bench.fleet.delegations(3), TARGETS))
        text = sign(bench.fleet.root("image", 2), ROOT)
        answer = send(bench, Ceremony(image=[text], targets=carried))
        assert (answer.status_code, answer.json["targets"]["version"]) == (201, 3)
        assert read_all(bench, tmp_path) == WHOLE


class TestReplays:
    @pytest.fixture
    def rotated(self, bench: Bench) -> Bench:
        new_online(bench.fleet)
        restart(bench, "online-2", "online")
        assert send(bench, rotation(bench.fleet)).status_code == 201
        return bench

    def test_the_same_again_changes_nothing(self, rotated: Bench) -> None:
        before = files(rotated)
        answer = send(rotated, rotation(rotated.fleet))
        assert (answer.status_code, answer.json["changed"]) == (200, False)
        assert files(rotated) == before

    def test_takes_nobodys_turn(self, rotated: Bench) -> None:
        with rotated.back.database.writing():
            assert send(rotated, rotation(rotated.fleet)).status_code == 200

    @pytest.mark.parametrize("older", [False, True], ids=["all of it", "its beginning"])
    def test_costs_the_same_however_many_cohorts_there_are(
        self, rotated: Bench, *, older: bool
    ) -> None:
        """Anybody may send it, as often as he likes."""
        sent = Ceremony() if older else rotation(rotated.fleet)
        reads = []
        for more in (0, 5):
            add(rotated, *(f"late-{number}" for number in range(more)))
            counting = Counting(rotated.store, -1)
            rotated.restart(counting)
            answer = send(rotated, sent)
            assert (answer.status_code, answer.json["changed"]) == (200, False)
            assert answer.json["director_root"]["version"] == 2
            reads.append(tuple(counting.reads))
        assert len(reads[0]) == len(reads[1]) <= 40
        assert len({key.split("/")[1] for key in reads[1] if key.startswith("director/")}) == 1

    def test_a_forged_root_costs_the_same_too(self, rotated: Bench) -> None:
        root = rotated.fleet.root("director", 3)
        forged = Ceremony(director=[sign(root, ROOT)])
        counting = Counting(rotated.store, -1)
        rotated.restart(counting)
        refused(rotated, forged, 403, "untrusted_metadata")
        assert len({key.split("/")[1] for key in counting.reads if key[:9] == "director/"}) == 1

    def test_a_director_that_was_not_brought_along_is_looked_at(
        self, rotated: Bench, tmp_path: Path
    ) -> None:
        """What is noted of a cohort is what was published; the others are not read for it."""
        with rotated.back.database.writing() as session:
            session.execute(
                update(CohortRow).where(CohortRow.name == "canary").values(root_sha256=None)
            )
        rotated.store.path("director/canary/metadata/2.root.json").unlink()
        assert send(rotated, rotation(rotated.fleet)).status_code == 201
        assert read_all(rotated, tmp_path) == WHOLE

    def test_an_older_chain(self, rotated: Bench) -> None:
        before = files(rotated)
        old = Ceremony([first(rotated.fleet, "image")], [first(rotated.fleet, "director")])
        answer = send(rotated, old)
        assert (answer.status_code, answer.json["image_root"]["version"]) == (200, 2)
        assert files(rotated) == before

    def test_another_root_of_the_same_version(self, rotated: Bench) -> None:
        other = sign(rotated.fleet.root("image", 2, holders=NEW_ROOT), (*ROOT, *NEW_ROOT))
        refused(rotated, Ceremony(image=[other]), 409, "other_root")

    def test_another_fleets(self, rotated: Bench) -> None:
        root = rotated.fleet.root("image", 1, holders=NEW_ROOT)
        refused(rotated, Ceremony(image=[sign(root, NEW_ROOT)]), 409, "other_ceremony")


Make = Callable[[Fleet], Ceremony]


def _skipping(fleet: Fleet) -> Ceremony:
    return Ceremony(image=[sign(fleet.root("image", 3), ROOT)])


def _falling(fleet: Fleet) -> Ceremony:
    roots = [sign(fleet.root("image", version), ROOT) for version in (2, 3)]
    return Ceremony(image=roots[::-1])


def _twice(fleet: Fleet) -> Ceremony:
    return Ceremony(image=[sign(fleet.root("image", 2), ROOT)] * 2)


def _expired(fleet: Fleet) -> Ceremony:
    root = fleet.root("image", 2)
    root.expires = NOW - timedelta(days=1)
    root.unrecognized_fields.clear()
    return Ceremony(image=[sign(root, ROOT)])


def _rehearsed(fleet: Fleet) -> Ceremony:
    root = fleet.root("director", 2)
    root.unrecognized_fields[REHEARSAL] = True
    return Ceremony(director=[sign(root, DIRECTOR_ROOT)])


def _sharing_with_the_director(fleet: Fleet) -> Ceremony:
    holders = (*ROOT[:2], DIRECTOR_ROOT[0])
    return Ceremony(image=[sign(fleet.root("image", 2, holders=holders), ROOT)])


def _an_online_key_among_the_holders(fleet: Fleet) -> Ceremony:
    root = fleet.root("image", 2)
    root.add_key(load_public_key(fleet.online / "image-online.pub.json").key, "root")
    return Ceremony(image=[sign(root, ROOT)])


def _one_key_under_two_ids(fleet: Fleet) -> Ceremony:
    root = fleet.root("image", 2)
    key = root.keys[root.roles["targets"].keyids[0]]
    root.add_key(type(key).from_dict("ab" * 32, key.to_dict()), "targets")
    return Ceremony(image=[sign(root, ROOT)])


def _the_directors_as_the_images(fleet: Fleet) -> Ceremony:
    return Ceremony(image=[sign(fleet.root("director", 2), (*ROOT, *DIRECTOR_ROOT))])


def _no_metadata(fleet: Fleet) -> Ceremony:
    del fleet
    return Ceremony(image=[b"{}"])


@pytest.mark.parametrize(
    ("make", "status", "reason"),
    [
        (_skipping, 403, "version_gap"),
        (_falling, 403, "version_gap"),
        (_twice, 403, "version_gap"),
        (_expired, 403, "expired_metadata"),
        (_rehearsed, 403, "rehearsal"),
        (_sharing_with_the_director, 403, "shared_key"),
        (_an_online_key_among_the_holders, 403, "shared_key"),
        (_one_key_under_two_ids, 403, "shared_key"),
        (_the_directors_as_the_images, 403, "shared_key"),
        (_no_metadata, 400, "malformed"),
    ],
)
def test_what_is_not_right_changes_nothing(
    bench: Bench, make: Make, status: int, reason: str
) -> None:
    refused(bench, make(bench.fleet), status, reason)
    if status == 403:
        assert bench.refusals()["ceremony", reason] == 1


@pytest.mark.parametrize(
    ("image", "director", "status", "reason"),
    [
        ("x", "first", 400, "malformed"),
        ("first first", "first", 403, "version_gap"),
        ("first", "x", 400, "malformed"),
        ("first", "first first", 403, "version_gap"),
    ],
)
def test_nonsense_costs_no_look_at_the_directors(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    image: str,
    director: str,
    status: int,
    reason: str,
) -> None:
    """Anybody may post: nothing of every cohort is read for it."""

    def unread(*_: object) -> list[bytes]:
        raise AssertionError("every director was read")

    def texts(repository: str, words: str) -> list[bytes]:
        return [
            first(bench.fleet, repository) if word == "first" else word.encode()
            for word in words.split()
        ]

    monkeypatch.setattr(bench.back.publisher, "director_roots", unread)
    refused(bench, Ceremony(texts("image", image), texts("director", director)), status, reason)


@pytest.mark.parametrize("repository", ["image", "director"])
def test_no_more_roots_than_a_client_follows(bench: Bench, repository: str) -> None:
    assert MAX_ROOTS == MAX_ROOT_ROTATIONS + 1
    many = [b"x"] * (MAX_ROOTS + 1)
    ceremony = Ceremony(image=many) if repository == "image" else Ceremony(director=many)
    said = refused(bench, ceremony, 400, "malformed")["detail"]
    assert str(MAX_ROOTS) in said


def test_a_waiting_publication_that_lost_its_version_is_over(bench: Bench) -> None:
    """Delegations that somebody offered meanwhile can never be published any more."""
    waiting = sign(bench.fleet.delegations(3, late=("lara", "leo")), TARGETS)
    assert bench.offer("targets", waiting).json["state"] == "waiting"
    assert send(bench, targets_rotation(bench.fleet)).status_code == 201
    answer = bench.client.get(f"/v1/publications/{sha256(waiting)}")
    assert answer.json["reason"] == "unknown_publication"


class TestHalfConfigured:
    """The roots name online keys that the server does not hold: it goes on being read."""

    @pytest.fixture
    def bare(self, bench: Bench) -> Bench:
        new_online(bench.fleet)
        restart(bench, "online-2")
        return bench

    def test_gateways_go_on_reading_and_acts_fail_by_name(
        self, bare: Bench, tmp_path: Path
    ) -> None:
        before = files(bare)
        assert bare.client.get("/poll/canary").status_code == 200
        said = order(seq=2, targets=(V1.target(),))
        bare.say(said)
        assert bare.say(authorise(said)).json["reason"] == "not_published"
        assert "director/canary asks for 1 targets key" in bare.say(authorise(said)).json["detail"]
        assert {name: data for name, data in files(bare).items() if name in before} == before
        assert read_all(bare, tmp_path) == WHOLE

    def test_once_they_are_configured_everything_is_finished(
        self, bare: Bench, tmp_path: Path
    ) -> None:
        said = order(seq=2, targets=(V1.target(),))
        bare.say(said)
        restart(bare, "online", "online-2")
        bare.say_all(said, authorise(said))
        assert bare.directive().products[PRODUCT].order == said.envelope
        assert read_all(bare, tmp_path) == WHOLE

    def test_a_repository_whose_key_is_held_is_signed_all_the_same(self, bench: Bench) -> None:
        new_online(bench.fleet)
        configure(bench.fleet, "online")
        text = bench.fleet.config.read_text()
        bench.fleet.config.write_text(
            text.replace(
                '"online/director-targets.key.json"', '"online-2/director-targets.key.json"'
            )
        )
        bench.settings = bench.fleet.settings()
        bench.signers = Bench(bench.fleet).signers
        bench.restart()
        bench.clock.now = NOW + timedelta(days=8)
        with pytest.raises(Exception, match="director/canary asks for 1 targets key") as failed:
            bench.back.publisher.refresh()
        assert failed.value.reason == "wrong_online_key"  # type: ignore[attr-defined]
        expires = StoredRepository(bench.store, "image").timestamp()
        assert expires is not None
        assert expires.signed.expires > NOW + timedelta(days=10)


def test_a_root_that_was_lost_is_brought_again(bench: Bench, tmp_path: Path) -> None:
    """Heads are signed for those who passed it, and for those who cannot pass it any more."""
    new_online(bench.fleet)
    restart(bench, "online", "online-2")
    ceremony = rotation(bench.fleet)
    third = bench.fleet.root("image", 3, online=bench.fleet.home / "online-2")
    ceremony.image.append(sign(third, ROOT))
    assert send(bench, ceremony).status_code == 201
    assert read_all(bench, tmp_path / "passed") == WHOLE
    bench.back.publisher.refresh()
    bench.store.path("image/metadata/2.root.json").unlink()
    bench.release(2, V1, V2)
    bench.back.publisher.refresh(force=True)
    for who in ("passed", "fresh"):
        assert read_all(bench, tmp_path / who) == WHOLE
    assert send(bench, ceremony).status_code == 201
    bench.back.publisher.refresh()
    assert signed_by(bench, "image") == {"online-2"}
    with pytest.raises(exceptions.DownloadHTTPError):
        next(
            iter(
                StoreFetcher(bench.store)._fetch(
                    "http://gateway.invalid/image/metadata/4.root.json"
                )
            )
        )
    assert wire.sha256_hex(bench.store.get("image/metadata/2.root.json")) == sha256(
        ceremony.image[1]
    )
