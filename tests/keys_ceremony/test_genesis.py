"""A whole ceremony: what it leaves behind, and that others can use it."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony.ceremony import Secrets, perform
from interlock_ceremony.review import review
from interlock_core import keys
from interlock_core.clock import fixed_clock
from interlock_core.genesis import read_fleet
from interlock_core.keybytes import public_key_bytes
from interlock_core.store import FileStore
from interlock_core.tuf_metadata import issued_of, verify_new_offline, verify_root
from interlock_core.tuf_repository import OnlineRepository
from tests.core.tuf_world import Client
from tests.keys_ceremony.stage import (
    ATTENDING,
    CHEAP,
    HOLDERS,
    KEYS,
    NOW,
    ONLINE,
    PEOPLE,
    SCRIPT,
    Stage,
    passphrase,
    secret,
    signers,
    told,
)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def root_of(stage: Stage, repository: str) -> Root:
    return Metadata[Root].from_file(str(stage.output / repository / "1.root.json")).signed


def test_it_leaves_exactly_the_documented_files(original: Stage) -> None:
    found = {str(p.relative_to(original.output)) for p in original.output.rglob("*") if p.is_file()}
    assert found == {
        "image/1.root.json",
        "image/1.targets.json",
        "director/1.root.json",
        "fleet.json",
        "transcript.json",
        "manifest.json",
        *(f"keys/{key}.{half}.json" for key in (*KEYS, ATTENDING) for half in ("key", "pub")),
        *(f"online/{name}.pub.json" for name in ONLINE),
    }
    beside = {path.name for path in original.home.iterdir()}
    assert not any("partial" in name for name in beside)


def test_private_keys_are_their_owners_alone(original: Stage) -> None:
    directory = original.output / "keys"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for key in KEYS:
        assert stat.S_IMODE((directory / f"{key}.key.json").stat().st_mode) == 0o600


def test_every_key_opens_with_its_holders_passphrase_and_is_another(original: Stage) -> None:
    opened = signers(original)
    assert len({public_key_bytes(signer.public_key) for signer in opened.values()}) == len(
        (*KEYS, ATTENDING)
    )


@pytest.mark.parametrize("repository", ["image", "director"])
def test_roots_say_what_the_script_says(original: Stage, repository: str) -> None:
    root = root_of(original, repository)
    assert root.version == 1
    assert root.consistent_snapshot is True
    assert root.spec_version.startswith("1.0.")
    assert issued_of(root) == NOW
    assert root.expires == NOW + timedelta(days=365)
    assert root.roles["root"].threshold == 2

    def ids(*names: str) -> list[str]:
        found = [
            keys.load_public_key(next(original.output.glob(f"*/{name}.pub.json"))).key.keyid
            for name in names
        ]
        return sorted(found)

    role_keys = {role: sorted(root.roles[role].keyids) for role in root.roles}
    if repository == "image":
        assert role_keys["root"] == ids("alice-image-root", "bob-image-root", "carol-image-root")
        assert role_keys["targets"] == ids("alice-image-targets", "bob-image-targets")
        assert root.roles["targets"].threshold == 2
        assert role_keys["snapshot"] == role_keys["timestamp"] == ids("image-online")
    else:
        assert role_keys["root"] == ids("bob-director-root", "carol-director-root")
        assert role_keys["targets"] == ids("director-targets")
        assert role_keys["snapshot"] == role_keys["timestamp"] == ids("director-online")


def test_the_repositories_share_no_key(original: Stage) -> None:
    image, director = (
        {public_key_bytes(key) for key in root_of(original, name).keys.values()}
        for name in ("image", "director")
    )
    assert not image & director


def test_python_tuf_and_core_accept_what_was_signed(original: Stage) -> None:
    for repository in ("image", "director"):
        data = (original.output / repository / "1.root.json").read_bytes()
        metadata = Metadata[Root].from_bytes(data)
        metadata.signed.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
        verify_root(data, None, NOW)
    image = root_of(original, "image")
    data = (original.output / "image" / "1.targets.json").read_bytes()
    targets = Metadata[Targets].from_bytes(data)
    image.verify_delegate("targets", targets.signed_bytes, targets.signatures)
    verify_new_offline(data, "targets", root=image, targets=None, current=None, now=NOW)
    assert targets.signed.targets == {}
    assert targets.signed.delegations is None
    assert targets.signed.expires == NOW + timedelta(days=200)
    assert issued_of(targets.signed) == NOW


def test_fleet_json_names_both_roots(original: Stage) -> None:
    fleet = read_fleet((original.output / "fleet.json").read_bytes())
    assert fleet.fleet == "north"
    assert fleet.image_root == sha256(original.output / "image" / "1.root.json")
    assert fleet.director_root == sha256(original.output / "director" / "1.root.json")


def test_ngclient_follows_from_the_roots_to_heads_by_the_online_keys(
    held: Stage, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "store")
    online = {
        name: [
            keys.load_signer(held.home / "online" / f"{name}.key.json", secret(passphrase(name)))
        ]
        for name in ONLINE
    }
    clock = fixed_clock(NOW)
    image = OnlineRepository(
        store,
        "image",
        {"snapshot": online["image-online"], "timestamp": online["image-online"]},
        clock,
    )
    image.put_root((held.output / "image" / "1.root.json").read_bytes())
    image.put_offline("targets", (held.output / "image" / "1.targets.json").read_bytes())
    image.publish()
    director = OnlineRepository(
        store,
        "director/canary",
        {
            "targets": online["director-targets"],
            "snapshot": online["director-online"],
            "timestamp": online["director-online"],
        },
        clock,
        cohort="canary",
    )
    director.put_root((held.output / "director" / "1.root.json").read_bytes())
    director.publish_targets({})
    for prefix, repository in (("image", "image"), ("director/canary", "director")):
        root = (held.output / repository / "1.root.json").read_bytes()
        client = Client(store, prefix, root, tmp_path / "client" / repository)
        assert client.read(NOW, ["nothing/1/there"]) == {"nothing/1/there": None}


def test_people_see_each_fingerprint_in_groups(stage: Stage) -> None:
    shown = stage.run().stdout
    for key in KEYS:
        der = public_key_bytes(keys.load_public_key(stage.output / "keys" / f"{key}.pub.json").key)
        digest = hashlib.sha256(der).hexdigest()
        groups = " ".join(digest[start : start + 8] for start in range(0, 64, 8))
        assert f"Made {key} (ed25519):\n  {groups}\n" in shown
    assert "Present: Dana Dorn (dana), administrator." in shown
    assert hashlib.sha256(SCRIPT.encode()).hexdigest()[:8] in shown


def test_json_is_one_object(stage: Stage) -> None:
    said = told(stage.run("--json"))
    assert (said["outcome"], said["reason"]) == ("done", "completed")
    assert said["output"] == str(stage.output)
    assert [key["name"] for key in said["keys"]] == [*KEYS, ATTENDING, *ONLINE]
    files = {file["file"]: file["sha256"] for file in said["files"]}
    assert files["image/1.root.json"] == sha256(stage.output / "image" / "1.root.json")


def test_nothing_holds_a_secret_but_the_key_files(original: Stage) -> None:
    for path in original.output.rglob("*.json"):
        text = path.read_text()
        assert not any(passphrase(holder) in text for holder in HOLDERS)
        assert ("PRIVATE" in text) == path.name.endswith(".key.json")


def test_other_kinds_of_keys_and_a_hybrid_role(stage: Stage) -> None:
    stage.edit('carol = "Carol Cui"', 'carol = "Carol Cui"\nerik = "Erik Eis"')
    stage.edit('"image.targets" =', '"image.root" = "A test."\n"image.targets" =')
    stage.edit(
        '[image.root]\nholders = ["alice", "bob", "carol"]\nthreshold = 2',
        '[image.root]\nholders = ["alice", "bob", "carol", "erik"]\nthreshold = 4\n'
        'schemes = { bob = "ecdsa-sha2-nistp256", carol = "ml-dsa-65/1", erik = "ml-dsa-65/1" }',
    )
    (stage.home / "erik.txt").write_text(passphrase("erik"))
    (stage.home / "erik.txt").chmod(0o600)
    done = stage.run("--passphrase-file", f"erik={stage.home / 'erik.txt'}")
    assert done.exit_code == 0, done.output
    root = root_of(stage, "image")
    schemes = sorted(root.keys[keyid].scheme for keyid in root.roles["root"].keyids)
    assert schemes == ["ecdsa-sha2-nistp256", "ed25519", "ml-dsa-65/1", "ml-dsa-65/1"]
    assert root.roles["root"].threshold == 4
    assert stage.verify().exit_code == 0


def test_ml_dsa_may_sign_what_a_director_wants(stage: Stage) -> None:
    directory = stage.home / "pq"
    keys.new_key(directory, "director-targets", "ml-dsa-65/1", "post-quantum", scrypt_n=CHEAP)
    stage.edit("online/director-targets", "pq/director-targets")
    assert stage.run().exit_code == 0
    assert stage.verify().exit_code == 0


def test_same_script_keys_and_clock_give_the_same_transcript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stages.append(Stage.setup(tmp_path / name))

    def seeded() -> Callable[[], CryptoSigner]:
        seeds = iter(range(1, 255))
        return lambda: CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes([next(seeds)]) * 32))

    transcripts = set()
    for stage in stages:
        monkeypatch.setattr(CryptoSigner, "generate_ed25519", seeded())
        transcripts.add((stage.done().output / "transcript.json").read_bytes())
    assert len(transcripts) == 1


def test_the_sample_runs_as_it_is_printed(tmp_path: Path) -> None:
    stage = Stage.setup(tmp_path)
    printed = stage.call("sample")
    assert printed.exit_code == 0
    stage.script.write_text(printed.stdout)
    (stage.home / "online").rename(stage.home / "online-keys")
    done = stage.run()
    assert done.exit_code == 0, done.output
    assert (stage.home / "ceremony" / "image" / "1.root.json").exists()
    checked = stage.call("verify", stage.home / "ceremony" / "transcript.json")
    assert checked.exit_code == 0
    assert told(stage.call("sample", "--json"))["script"] == printed.stdout


def test_a_rehearsal_leaves_nothing_and_is_marked(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = stage.listing()
    done = stage.call("rehearse", stage.script)
    assert done.exit_code == 0, done.output
    assert all(line.startswith("REHEARSAL  ") for line in done.stdout.splitlines())
    assert "Signed director/1.root.json" in done.stdout
    assert stage.listing() == before
    assert list(temporary.iterdir()) == []
    assert told(stage.call("rehearse", stage.script, "--json"))["reason"] == "rehearsed"


def test_a_rehearsal_checks_the_script_whole(stage: Stage) -> None:
    stage.edit("threshold = 2", "threshold = 9")
    refused = stage.call("rehearse", stage.script)
    assert refused.exit_code == 2
    assert "line 14, image.root.threshold" in refused.stderr


def test_what_a_rehearsal_makes_is_refused_by_verify(stage: Stage) -> None:
    known = Secrets({person: passphrase(person) for person in PEOPLE})
    reviewed = review(stage.script, NOW)
    perform(reviewed, known, stage.room, lambda _: None, rehearsal=True)
    for file in ("image/1.root.json", "image/1.targets.json", "director/1.root.json"):
        assert json.loads((stage.output / file).read_text())["signed"]["rehearsal"] is True
    refused = stage.verify("--json")
    assert refused.exit_code == 20
    assert told(refused)["reason"] == "rehearsal"
