"""What is in force is believed only when it verifies, and can be renewed when it has expired."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from interlock_core.clock import system_clock
from interlock_core.tuf_metadata import REHEARSAL
from interlock_core.tuf_repository import OnlineRepository
from interlock_repo.drafting import draft_delegations, draft_release, draft_roster
from interlock_repo.event import Draft, SourceFile
from interlock_repo.repository import open_repository
from interlock_repo.specs import DelegationsSpec, ReleaseSpec, RosterSpec, read_spec
from tests.repo_tools.standin import FaultError, StandIn, standing_in
from tests.repo_tools.world import KEY_HOLDERS, PRODUCT, ROSTER_HOLDERS, World, signed, tool


def put_expired(world: World, kind: str) -> None:
    """Put metadata in force that was issued long ago and has expired."""
    past = system_clock() - timedelta(days=100)
    with open_repository(
        str(world.store.root), world.root_file, past, ca_file=None, proxy=None
    ) as repository:
        draft: Draft
        if kind == "roster":
            spec = read_spec(world.roster(), RosterSpec)
            draft = draft_roster(repository, spec, world.place, now=past, days=35)
            signers = ROSTER_HOLDERS
        elif kind == "stage":
            file = world.release()
            draft = draft_release(
                repository, read_spec(file, ReleaseSpec), file.parent, now=past, days=35
            )
            signers = ("rosa", "raul")
        else:
            wanted = read_spec(world.delegations(), DelegationsSpec)
            draft = draft_delegations(repository, wanted, world.place, now=past, days=35)
            signers = KEY_HOLDERS[:2]
    for path, content in draft.targets.items():
        data = content.path.read_bytes() if isinstance(content, SourceFile) else content
        digest = draft.metadata.signed.targets[path].hashes["sha256"]
        folder, _, name = path.rpartition("/")
        world.store.put_new(f"image/targets/{folder}/{digest}.{name}", data)
    text = signed(draft.metadata.signed, [world.signer(name) for name in signers])
    image = world.image()
    image.put_offline(draft.role, text)
    image.publish()


@pytest.mark.parametrize("kind", ["roster", "stage"])
def test_expired_metadata_can_be_renewed(delegated: World, tmp_path: Path, kind: str) -> None:
    put_expired(delegated, kind)
    spec = delegated.roster() if kind == "roster" else delegated.release("1.1.0", 2)
    made = delegated.make(kind, tmp_path / "e", spec, "--json")
    assert made.code == 0, made.err
    assert made.answer["version"] == 2


def test_expired_targets_can_be_renewed_and_hold_nothing_up(world: World, tmp_path: Path) -> None:
    put_expired(world, "delegate")
    made = world.make("delegate", tmp_path / "e", world.delegations(""), "--json")
    assert made.code == 0, made.err
    assert made.answer["version"] == 3
    assert world.make("stage", tmp_path / "s", world.release()).code == 0
    assert world.make("roster", tmp_path / "r", world.roster()).code == 0


def test_expired_metadata_of_a_stranger_is_not_believed(delegated: World, tmp_path: Path) -> None:
    put_expired(delegated, "stage")
    file = delegated.store.root / "image" / "metadata" / f"1.{PRODUCT}.json"
    file.write_bytes(file.read_bytes().replace(b'"release_counter":1', b'"release_counter":0'))
    made = delegated.make("stage", tmp_path / "e", delegated.release("1.1.0", 2), "--json")
    assert made.code == 20
    assert made.answer["reason"] in {"hash_mismatch", "untrusted_metadata"}


def test_a_stale_copy_is_refused(delegated: World, tmp_path: Path) -> None:
    long_ago = system_clock() - timedelta(days=30)
    signers = {"snapshot": delegated.online, "timestamp": delegated.online}
    OnlineRepository(delegated.store, "image", signers, lambda: long_ago).refresh(
        timedelta(days=400)
    )
    made = delegated.make("stage", tmp_path / "e", delegated.release(), "--json")
    assert (made.code, made.answer["reason"]) == (20, "expired_metadata")
    assert "fresh copy" in made.err


def test_another_fleets_root_believes_nothing_of_it(
    delegated: World, people: Path, tmp_path: Path
) -> None:
    other = World(tmp_path / "other", people)
    for place in (delegated.store.root, delegated.ceremony):
        made = tool(
            "stage", "--event", tmp_path / "e", "--repository", place, "--root", other.root_file,
            "--json", delegated.release(),
        )  # fmt: skip
        assert made.code == 20, made.err
        assert not (tmp_path / "e").exists()


def test_a_rotated_root_is_walked_and_travels_with_the_event(
    delegated: World, tmp_path: Path
) -> None:
    root = delegated.root(system_clock(), version=2)
    second = signed(root, delegated.root_signers[1:])
    delegated.image().put_root(second)
    (delegated.ceremony / "image" / "2.root.json").write_bytes(second)
    event = tmp_path / "e"
    assert delegated.make("stage", event, delegated.release()).code == 0
    assert {p.name for p in (event / "base").iterdir()} == {
        "1.root.json", "2.root.json", "2.targets.json",
    }  # fmt: skip
    for trusted in ("1.root.json", "2.root.json"):
        own = delegated.ceremony / "image" / trusted
        assert tool("review", event, "--root", own).code == 0
    late = tmp_path / "late"
    words = ("--repository", delegated.store.root)
    made = tool(
        "stage", "--event", late, *words,
        "--root", delegated.ceremony / "image" / "2.root.json", delegated.release(),
    )  # fmt: skip
    assert made.code == 0, made.err
    assert not (late / "base" / "1.root.json").exists()
    assert tool("review", late, "--root", delegated.root_file).code == 20
    # A ceremony's output of both roots serves as well.
    made = delegated.make(
        "delegate", tmp_path / "d", delegated.delegations(), "--repository", delegated.ceremony
    )
    assert made.code == 0, made.err


def test_a_root_that_nobody_signed_is_not_followed(delegated: World, tmp_path: Path) -> None:
    forged = signed(delegated.root(system_clock(), version=2), delegated.root_signers[:1])
    delegated.store.put_new("image/metadata/2.root.json", forged)
    (delegated.ceremony / "image" / "2.root.json").write_bytes(forged)
    for place in (delegated.store.root, delegated.ceremony):
        made = delegated.make(
            "delegate", tmp_path / "e", delegated.delegations(), "--repository", place, "--json"
        )
        assert (made.code, made.answer["reason"]) == (20, "untrusted_metadata"), made.err


@pytest.mark.parametrize(
    "name", ["timestamp.json", "snapshot.json", "targets.json", f"{PRODUCT}.json"]
)
@pytest.mark.parametrize("damage", ["removed", "truncated", "edited"])
def test_a_damaged_copy_is_refused(
    delegated: World, tmp_path: Path, name: str, damage: str
) -> None:
    delegated.in_force("stage", delegated.release(), ("rosa", "raul"))
    for file in (delegated.store.root / "image" / "metadata").glob(f"*{name}"):
        data = file.read_bytes()
        if damage == "removed":
            file.unlink()
        else:
            file.write_bytes(data[:-9] if damage == "truncated" else data.replace(b"1", b"2"))
    made = delegated.make("stage", tmp_path / "e", delegated.release("1.1.0", 2), "--json")
    assert made.code == (2 if damage == "removed" else 20), made.err
    assert not (tmp_path / "e").exists()


def test_the_roster_in_force_is_checked_against_its_metadata(
    delegated: World, tmp_path: Path
) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    [file] = (delegated.store.root / "image" / "targets" / "interlock").iterdir()
    file.write_bytes(file.read_bytes().replace(b"olivia", b"malory"))
    made = delegated.make("roster", tmp_path / "r", delegated.roster(), "--json")
    assert (made.code, made.answer["reason"]) == (20, "hash_mismatch")


def test_there_is_no_repository(delegated: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "image").mkdir(parents=True)
    for place in ("none", "empty", "half"):
        made = delegated.make(
            "stage", tmp_path / "e", delegated.release(), "--repository", tmp_path / place
        )
        assert made.code == 2, made.err


def test_a_server_that_breaks_off_is_transient(delegated: World, tmp_path: Path) -> None:
    def fault(_when: str) -> None:
        raise FaultError

    with standing_in(StandIn(delegated.image(), delegated.store, fault=fault)) as server:
        made = delegated.make(
            "stage", tmp_path / "e", delegated.release(), "--repository", server.url, "--json"
        )
    assert (made.code, made.answer["outcome"]) == (30, "transient"), made.err


def test_the_root_file_must_be_one(delegated: World, tmp_path: Path) -> None:
    for content in (b"", b"{}", delegated.public("rosa").read_bytes()):
        (tmp_path / "root.json").write_bytes(content)
        made = tool(
            "stage", "--event", tmp_path / "e", "--repository", delegated.store.root,
            "--root", tmp_path / "root.json", delegated.release(),
        )  # fmt: skip
        assert made.code == 20
        assert "root.json" in made.err


def test_a_rehearsals_root_is_no_beginning(delegated: World, tmp_path: Path) -> None:
    root = delegated.root(system_clock())
    root.unrecognized_fields[REHEARSAL] = True
    rehearsed = tmp_path / "root.json"
    rehearsed.write_bytes(signed(root, delegated.root_signers))
    for place in (delegated.store.root, delegated.ceremony):
        made = tool(
            "stage", "--event", tmp_path / "e", "--repository", place, "--root", rehearsed,
            "--json", delegated.release(),
        )  # fmt: skip
        assert (made.code, made.answer["reason"]) == (20, "rehearsal"), made.err


def test_a_rehearsals_output_is_no_repository(delegated: World, tmp_path: Path) -> None:
    """The caller's root is genuine; what the directory adds to it is not."""
    for signed_part, name, signers in (
        (delegated.root(system_clock(), version=2), "2.root.json", delegated.root_signers),
        (Targets(version=2), "2.targets.json", [delegated.signer(n) for n in KEY_HOLDERS[:2]]),
    ):
        signed_part.unrecognized_fields[REHEARSAL] = True
        path = delegated.ceremony / "image" / name
        path.write_bytes(signed(signed_part, signers))
        made = delegated.make(
            "delegate", tmp_path / "e", delegated.delegations(), "--repository",
            delegated.ceremony, "--json",
        )  # fmt: skip
        assert (made.code, made.answer["reason"]) == (20, "rehearsal"), made.err
        path.unlink()


def test_a_copy_on_another_disk_serves(delegated: World, tmp_path: Path) -> None:
    shutil.copytree(delegated.store.root, tmp_path / "usb" / "mirror")
    made = delegated.make(
        "stage", tmp_path / "e", delegated.release(), "--repository", tmp_path / "usb" / "mirror"
    )
    assert made.code == 0, made.err
