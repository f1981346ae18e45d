"""``keys new`` and ``init``: everything is verified before anything is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from interlock_core import disk, wire
from interlock_core.checkpoint import LOG_KEY
from interlock_core.directive import read_directive
from interlock_core.genesis import ONLINE_ROLES, FleetFile
from interlock_core.keys import load_public_key
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import REHEARSAL
from tests.server.later import configure, new_online
from tests.server.world import (
    COHORTS,
    HOLDERS,
    ROOT,
    TARGETS,
    Bench,
    CutStore,
    Fleet,
    PowerCut,
    Reader,
    StoreFetcher,
    call,
    sha256,
    sign,
)
from tests.support.people import CANARY, FLEET, signer

ALL = [word for cohort in COHORTS for word in ("--cohort", cohort)]


def files_under(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}


def test_new_keys_prove_possession_and_are_private(tmp_path: Path, empty: Fleet) -> None:
    secret, online = empty.home / "passphrase", tmp_path / "online"
    done = call("keys", "new", online, "--passphrase-file", secret, "--json")
    assert done.code == 0, done.err
    for name in ONLINE_ROLES:
        assert load_public_key(online / f"{name}.pub.json").name == name
        assert (online / f"{name}.key.json").stat().st_mode & 0o077 == 0
    again = call("keys", "new", online, "--passphrase-file", secret)
    assert (again.code, again.err.count("\n")) == (20, 1)


@pytest.mark.parametrize(("purpose", "names"), [("rotation", ONLINE_ROLES), ("log", (LOG_KEY,))])
def test_the_log_keeps_its_key_when_online_keys_change(
    tmp_path: Path, empty: Fleet, purpose: str, names: tuple[str, ...]
) -> None:
    made = tmp_path / "made"
    words = ("keys", "new", made, "--for", purpose, "--passphrase-file", empty.home / "passphrase")
    done = call(*words, "--json")
    assert done.code == 0, done.err
    suffixes = (".key.json", ".pub.json")
    assert {path.name for path in made.iterdir()} == {n + s for n in names for s in suffixes}
    log_key = str(made / "log.pub.json") if LOG_KEY in names else None
    assert done.answer["log_key"] == log_key
    assert done.answer["public"] == [str(made / f"{n}.pub.json") for n in names if n != LOG_KEY]
    assert call(*words).code == 20


def test_new_keys_cut_off_are_finished(tmp_path: Path, empty: Fleet) -> None:
    secret, online = empty.home / "passphrase", tmp_path / "online"
    call("keys", "new", online, "--passphrase-file", secret)
    kept = (online / "image-online.pub.json").read_bytes()
    for path in online.glob("director-online.*"):
        path.unlink()
    (online / "director-targets.pub.json").unlink()
    other = tmp_path / "other"
    other.write_text("another passphrase\n")
    other.chmod(0o600)
    assert call("keys", "new", online, "--passphrase-file", other).code == 2
    assert call("keys", "new", online, "--passphrase-file", secret).code == 0
    assert (online / "image-online.pub.json").read_bytes() == kept
    assert len(list(online.iterdir())) == 8


def test_init_makes_heads_that_gateways_read(empty: Fleet, tmp_path: Path) -> None:
    done = call("init", empty.ceremony, "--config", empty.config, *ALL, "--json")
    assert done.code == 0, done.err
    assert done.answer["cohorts"] == list(COHORTS)
    store = FileStore(empty.home / "store")
    for cohort in COHORTS:
        prefix = f"director/{cohort}"
        data = Reader(empty, tmp_path / cohort).read(store, prefix, DIRECTIVE_PATH, empty.now)
        assert data is not None
        directive = read_directive(data)
        assert (directive.fleet, directive.cohort, directive.products) == (FLEET, cohort, {})
        assert store.size(f"poll/{cohort}") > 0


def test_init_again_changes_nothing_and_adds_a_cohort(empty: Fleet) -> None:
    words = ("init", empty.ceremony, "--config", empty.config)
    assert call(*words, "--cohort", CANARY).code == 0
    before = {path: path.read_bytes() for path in files_under(empty.home / "store")}
    again = call(*words, "--json")
    assert (again.code, again.answer["new"], again.answer["added"]) == (0, False, [])
    assert {path: path.read_bytes() for path in files_under(empty.home / "store")} == before
    more = call(*words, "--cohort", "st-bert", "--cohort", CANARY, "--json")
    assert (more.code, more.answer["added"]) == (0, ["st-bert"])
    assert (empty.home / "store/director/st-bert/metadata/timestamp.json").exists()


def test_a_server_belongs_to_one_ceremony(empty: Fleet, tmp_path: Path) -> None:
    call("init", empty.ceremony, "--config", empty.config, "--cohort", CANARY)
    other = tmp_path / "other"
    empty.write_ceremony(other, fleet="south")
    done = call("init", other, "--config", empty.config, "--json")
    assert (done.code, done.answer["reason"]) == (20, "other_ceremony")


def test_init_needs_a_cohort_with_a_proper_name(empty: Fleet) -> None:
    words = ("init", empty.ceremony, "--config", empty.config, "--json")
    assert call(*words).code == 2
    named = call(*words, "--cohort", "Ward 7")
    assert (named.code, named.answer["reason"]) == (20, "bad_name")
    assert files_under(empty.home / "store") == set()


Spoil = Callable[[Fleet], None]


def _root_of_one(fleet: Fleet) -> None:
    _with_image_root(fleet, sign(fleet.root("image"), ROOT[:1]))


def _with_image_root(fleet: Fleet, root: bytes) -> None:
    (fleet.ceremony / "image/1.root.json").write_bytes(root)
    director = (fleet.ceremony / "director/1.root.json").read_bytes()
    named = FleetFile(fleet=FLEET, image_root=sha256(root), director_root=sha256(director))
    (fleet.ceremony / "fleet.json").write_bytes(wire.encode(named))


def _edited_root(fleet: Fleet) -> None:
    path = fleet.ceremony / "director/1.root.json"
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version": 1'))


def _targets_of_one(fleet: Fleet) -> None:
    path = fleet.ceremony / "image/1.targets.json"
    path.write_bytes(sign(fleet.delegations(version=1), TARGETS[:1]))


def _expired_root(fleet: Fleet) -> None:
    root = fleet.root("image")
    root.expires = fleet.now - timedelta(days=400)
    _with_image_root(fleet, sign(root, ROOT[:2]))


def _rehearsal(fleet: Fleet) -> None:
    root = fleet.root("image")
    root.unrecognized_fields[REHEARSAL] = True
    _with_image_root(fleet, sign(root, ROOT[:2]))


def _second_root(fleet: Fleet) -> None:
    _with_image_root(fleet, sign(fleet.root("image", version=2), ROOT[:2]))


def _shared_key(fleet: Fleet) -> None:
    root = fleet.root("image")
    key = load_public_key(fleet.online / "director-online.pub.json").key
    root.add_key(key, "snapshot")
    _with_image_root(fleet, sign(root, ROOT[:2]))


def _foreign_online_key(fleet: Fleet) -> None:
    root = fleet.root("image")
    (old,) = root.roles["timestamp"].keyids
    root.revoke_key(old, "timestamp")
    root.add_key(signer("somebody").public_key, "timestamp")
    _with_image_root(fleet, sign(root, ROOT[:2]))


def _missing_fleet(fleet: Fleet) -> None:
    (fleet.ceremony / "fleet.json").unlink()


def _truncated_fleet(fleet: Fleet) -> None:
    path = fleet.ceremony / "fleet.json"
    path.write_bytes(path.read_bytes()[:-5])


def _wrong_passphrase(fleet: Fleet) -> None:
    (fleet.home / "passphrase").write_text("not this one\n")


def _open_passphrase(fleet: Fleet) -> None:
    (fleet.home / "passphrase").chmod(0o644)


def _swapped_keys(fleet: Fleet) -> None:
    for suffix in ("key", "pub"):
        path = fleet.online / f"director-targets.{suffix}.json"
        shutil.copy(path, fleet.online / f"director-online.{suffix}.json")


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (_root_of_one, 20, "untrusted_metadata"),
        (_edited_root, 20, "wrong_digest"),
        (_targets_of_one, 20, "untrusted_metadata"),
        (_expired_root, 20, "expired_metadata"),
        (_rehearsal, 20, "rehearsal"),
        (_second_root, 20, "version_gap"),
        (_shared_key, 20, "shared_key"),
        (_foreign_online_key, 2, "wrong_online_key"),
        (_missing_fleet, 2, "not_found"),
        (_truncated_fleet, 20, "malformed"),
        (_wrong_passphrase, 2, "wrong_passphrase"),
        (_open_passphrase, 2, "open_secret"),
        (_swapped_keys, 2, "wrong_online_key"),
    ],
)
def test_nothing_is_written_unless_all_of_it_is_right(
    empty: Fleet, spoil: Spoil, code: int, reason: str
) -> None:
    spoil(empty)
    before = files_under(empty.home)
    done = call("init", empty.ceremony, "--config", empty.config, *ALL, "--json")
    assert (done.code, done.answer["reason"]) == (code, reason), done.err
    assert done.err.count("\n") == 1
    assert files_under(empty.home) == before


def test_without_a_passphrase_it_says_where_to_put_one(
    empty: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = empty.config.read_text().replace('passphrase_file = "passphrase"\n', "")
    empty.config.write_text(text)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    words = ["init", str(empty.ceremony), "--config", str(empty.config), *ALL, "--json"]
    done = call(*words)
    assert (done.code, done.answer["reason"]) == (2, "no_passphrase")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    shutil.copy(empty.home / "passphrase", credentials / "interlock-online")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert call(*words).code == 0


def test_a_power_cut_at_any_write_of_init_is_finished_by_init(empty: Fleet, tmp_path: Path) -> None:
    signers = Bench(empty).signers
    for number in range(100):
        home = tmp_path / f"cut-{number}"
        bench = Bench(empty.copy(home), signers)
        bench.plug(CutStore(bench.store, number))
        try:
            bench.found(CANARY)
            done = True
        except PowerCut:
            done = False
        bench.plug(None)
        bench.found(CANARY)
        assert bench.directive(home=tmp_path / f"reader-{number}").products == {}
        bench.back.database.close()
        shutil.rmtree(home)
        if done:
            break
    assert number > 8


class TestLater:
    """``init`` with the output of a later ceremony."""

    @pytest.fixture
    def later(self, empty: Fleet, tmp_path: Path) -> Path:
        output = tmp_path / "later"
        shutil.copytree(empty.ceremony, output)
        for repository, holders in HOLDERS.items():
            root = empty.root(repository, 2, online=new_online(empty))
            (output / repository / "2.root.json").write_bytes(sign(root, holders))
        (output / "image/1.targets.json").unlink()
        targets = sign(empty.delegations(5), TARGETS)
        (output / "image/5.targets.json").write_bytes(targets)
        return output

    def test_a_server_begins_with_the_whole_chain(
        self, empty: Fleet, later: Path, tmp_path: Path
    ) -> None:
        words: list[str | Path] = ["init", later, "--config", empty.config, *ALL, "--json"]
        done = call(*words)
        assert (done.code, done.answer["reason"]) == (2, "wrong_online_key")
        configure(empty, "online-2")
        assert call(*words).code == 0
        store = FileStore(empty.home / "store")
        for prefix in (f"director/{cohort}" for cohort in COHORTS):
            found = Reader(empty, tmp_path / prefix).read(store, prefix, DIRECTIVE_PATH, empty.now)
            assert found is not None
        updater = Reader(empty, tmp_path / "image").updater(StoreFetcher(store), "image", empty.now)
        assert updater._trusted_set.root.version == 2
        assert call(*words).answer["added"] == []

    def test_a_server_that_is_behind_is_told_the_way(self, empty: Fleet, later: Path) -> None:
        assert call("init", empty.ceremony, "--config", empty.config, *ALL).code == 0
        before = {path: path.read_bytes() for path in files_under(empty.home / "store")}
        done = call("init", later, "--config", empty.config, "--json")
        assert (done.code, done.answer["reason"]) == (20, "later_ceremony")
        assert "interlock-repo publish" in done.err
        assert {path: path.read_bytes() for path in files_under(empty.home / "store")} == before

    def test_an_earlier_output_adds_a_cohort(self, empty: Fleet, later: Path) -> None:
        """Under the roots that are in force, and the keys that these name."""
        configure(empty, "online-2")
        assert call("init", later, "--config", empty.config, "--cohort", CANARY).code == 0
        more = call("init", empty.ceremony, "--config", empty.config, "--cohort", "st-bert")
        assert more.code == 0, more.err
        assert (empty.home / "store/director/st-bert/metadata/2.root.json").exists()

    def test_another_root_of_a_version_in_force(self, empty: Fleet, later: Path) -> None:
        configure(empty, "online-2")
        assert call("init", later, "--config", empty.config, *ALL).code == 0
        other = sign(empty.root("image", 2, online=empty.home / "online-2"), ROOT[1:])
        (later / "image/2.root.json").write_bytes(other)
        done = call("init", later, "--config", empty.config, "--json")
        assert (done.code, done.answer["reason"]) == (20, "other_root")

    @pytest.mark.parametrize(
        ("spoil", "code", "reason"),
        [
            (
                lambda later: (later / "director/2.root.json").rename(
                    later / "director/3.root.json"
                ),
                2,
                "not_found",
            ),
            (
                lambda later: shutil.copy(
                    later / "image/5.targets.json", later / "image/6.targets.json"
                ),
                20,
                "malformed",
            ),
            (
                lambda later: (later / "image/5.targets.json").rename(
                    later / "image/6.targets.json"
                ),
                20,
                "version_gap",
            ),
            (
                lambda later: (later / "manifest.json").write_text(
                    '{"files":{},"type":"urn:interlock:manifest:v1"}'
                ),
                20,
                "wrong_media",
            ),
        ],
        ids=["hole", "two targets", "misnamed", "manifest"],
    )
    def test_an_output_that_is_not_whole(
        self, empty: Fleet, later: Path, spoil: Callable[[Path], object], code: int, reason: str
    ) -> None:
        spoil(later)
        configure(empty, "online-2")
        done = call("init", later, "--config", empty.config, *ALL, "--json")
        assert (done.code, done.answer["reason"]) == (code, reason), done.err
        assert not (empty.home / "store").exists()


def test_a_full_disk_is_named(empty: Fleet) -> None:
    def full(act: str, path: Path) -> None:
        if act == "write" and "store" in path.parts:
            raise OSError(28, "No space left on device")

    with disk.watching(full):
        done = call("init", empty.ceremony, "--config", empty.config, *ALL, "--json")
    assert (done.code, done.answer["reason"]) == (30, "disk")
    assert "the disk is full" in done.err
    assert call("init", empty.ceremony, "--config", empty.config, *ALL).code == 0


def test_a_lost_store_is_not_begun_again(empty: Fleet) -> None:
    words = ("init", empty.ceremony, "--config", empty.config, "--json")
    assert call(*words, "--cohort", CANARY).code == 0
    shutil.rmtree(empty.home / "store/director/canary")
    lost = call(*words)
    assert (lost.code, lost.answer["reason"]) == (20, "store_lost")
    shutil.rmtree(empty.home / "store")
    lost = call(*words)
    assert (lost.code, lost.answer["reason"]) == (20, "store_lost")
    assert files_under(empty.home / "store") == set()
