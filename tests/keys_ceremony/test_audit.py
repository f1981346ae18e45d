"""``verify`` on another machine: what it proves, and every way in which it finds a lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Metadata, Root, Targets

from interlock_ceremony import custody, media, quorum
from interlock_ceremony.audit import audit
from interlock_ceremony.transcript import MAX_TRANSCRIPT
from interlock_core import keys, wire
from interlock_core.clock import fixed_clock
from interlock_core.errors import InterlockError, RefusedError
from tests.keys_ceremony.forger import Forger
from tests.keys_ceremony.stage import CHEAP, KEYS, NOW, ONLINE, Stage, told

FILES = ("image/1.root.json", "image/1.targets.json", "director/1.root.json")
HOLDERS_OF_IMAGE = ("alice-image-root", "bob-image-root", "carol-image-root")


def reason(stage: Stage) -> str:
    """Why ``verify`` refuses; one line, exit 20."""
    result = stage.verify("--json")
    said = told(result)
    assert (result.exit_code, said["outcome"]) == (20, "refused"), result.output
    assert result.stderr == f"Error: {said['message']}\n"
    return str(said["reason"])


def test_it_proves_a_copy_without_private_keys(original: Stage, tmp_path: Path) -> None:
    """Transcript and published metadata are enough."""
    for part in ("image", "director"):
        shutil.copytree(original.output / part, tmp_path / "out" / part)
    for file in ("transcript.json", "fleet.json"):
        shutil.copy(original.output / file, tmp_path / "out" / file)
    result = Stage(tmp_path).verify()
    assert result.exit_code == 0
    shown = result.stdout
    assert "Proved: the genesis of fleet north, held 2026-12-01T09:30:00Z." in shown
    assert "all 8 keys of those who were there signed its head" in shown
    assert "image/1.root.json (3 signatures, 2 needed, expires 2027-12-01T09:30:00Z)" in shown
    assert "Not proved here" in shown
    for key in (*KEYS, *ONLINE):
        assert f"  {key} (" in shown
    assert "alice-image-root (Alice Amsel's, ed25519; made)" in shown


def test_json_says_what_run_said(stage: Stage) -> None:
    run, verify = told(stage.run("--json")), told(stage.verify("--json"))
    assert verify["outcome"] == "done"
    for field in ("fleet", "held", "head", "script_sha256", "keys", "files", "persons", "entries"):
        assert run[field] == verify[field]


def test_an_expired_root_does_not_make_its_ceremony_untrue(original: Stage) -> None:
    later = original.at(clock=fixed_clock(NOW + timedelta(days=3650)))
    result = later.verify()
    assert result.exit_code == 0
    assert "image/1.root.json has expired since" in result.stdout
    assert len(told(later.verify("--json"))["expired"]) == 3
    assert "expired" not in original.verify().stdout


# Those who hold no key


def edited(forger: Forger) -> None:
    forger.act("present", person="bob")["name"] = "Mallory"


def deleted(forger: Forger) -> None:
    del forger.entries[5]


def deleted_at_the_end(forger: Forger) -> None:
    del forger.entries[-1]


def deleted_at_the_beginning(forger: Forger) -> None:
    del forger.entries[0]


def reordered(forger: Forger) -> None:
    entries = forger.entries
    entries[3], entries[4] = entries[4], entries[3]


def doubled(forger: Forger) -> None:
    forger.entries.insert(4, dict(forger.entries[4]))


def another_time(forger: Forger) -> None:
    for entry in forger.entries[7:]:
        entry["at"] = "2026-12-01T09:31:00Z"


CHANGES = [
    edited,
    deleted,
    deleted_at_the_end,
    deleted_at_the_beginning,
    reordered,
    doubled,
    another_time,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_entry_breaks_the_chain(held: Stage, change: Callable[[Forger], None]) -> None:
    forger = Forger(held)
    change(forger)
    forger.write(chain=False, sign=False)
    assert reason(held) == "broken_chain"


@pytest.mark.parametrize("change", CHANGES)
def test_a_chain_that_was_made_again_has_nobodys_signature(
    held: Stage, change: Callable[[Forger], None]
) -> None:
    forger = Forger(held)
    change(forger)
    forger.write(sign=False)
    assert reason(held) in {"bad_signature", "wrong_acts"}


@pytest.mark.parametrize("number", [0, 3, 6])
def test_a_flipped_signature(held: Stage, number: int) -> None:
    forger = Forger(held)
    signature = forger.told["signatures"][number]
    signature["sig"] = signature["sig"][:-2] + f"{int(signature['sig'][-2:], 16) ^ 1:02x}"
    forger.write(sign=False)
    assert reason(held) == "bad_signature"
    assert KEYS[number] in held.verify().stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda signatures: signatures.pop(),
        lambda signatures: signatures.append(signatures[0]),
        lambda signatures: signatures.reverse(),
        lambda signatures: signatures.__setitem__(1, signatures[0]),
        lambda signatures: signatures[1].update(keyid=signatures[0]["keyid"]),
        lambda signatures: signatures.clear(),
    ],
)
def test_signatures_are_exactly_those_of_the_keys_made(
    held: Stage, change: Callable[[list[Any]], object]
) -> None:
    forger = Forger(held)
    change(forger.told["signatures"])
    forger.write(sign=False)
    assert reason(held) == "bad_signature"


@pytest.mark.parametrize("file", FILES)
def test_metadata_of_another_ceremony(held: Stage, other: Stage, file: str) -> None:
    shutil.copy(other.output / file, held.output / file)
    assert reason(held) == "wrong_metadata"
    assert file in held.verify().stderr


def test_the_roots_in_each_others_place(held: Stage) -> None:
    image, director = (
        held.output / "image" / "1.root.json",
        held.output / "director" / "1.root.json",
    )
    one, two = image.read_bytes(), director.read_bytes()
    image.write_bytes(two)
    director.write_bytes(one)
    assert reason(held) == "wrong_metadata"


@pytest.mark.parametrize(
    "field", [("fleet", "south"), ("image_root", "0" * 64), ("director_root", "f" * 64)]
)
def test_another_fleet_json(held: Stage, field: tuple[str, str]) -> None:
    path = held.output / "fleet.json"
    path.write_bytes(wire.encode(json.loads(path.read_bytes()) | dict([field])))
    assert reason(held) == "wrong_metadata"


@pytest.mark.parametrize("name", ["keys/bob-image-root", "online/director-online"])
def test_a_swapped_public_key_file(held: Stage, name: str) -> None:
    (held.output / f"{name}.pub.json").write_bytes(
        (held.output / "keys" / "alice-image-root.pub.json").read_bytes()
    )
    assert reason(held) == "wrong_key_file"


def test_an_extra_public_key_file(held: Stage) -> None:
    shutil.copy(
        held.output / "online" / "image-online.pub.json", held.output / "keys" / "mallory.pub.json"
    )
    assert reason(held) == "wrong_key_file"
    assert "keys/mallory.pub.json" in held.verify().stderr


EXTRA = (
    "image/2.root.json",
    "image/2.targets.json",
    "image/1.snapshot.json",
    "director/2.root.json",
    "targets/1.targets.json",
    "transcripts/1.json",
    "transcripts/2.json",
    "keys/mallory.key.json",
    "notes.txt",
    "more/image/1.root.json",
)


@pytest.mark.parametrize("file", EXTRA)
def test_a_file_that_no_transcript_names(held: Stage, file: str) -> None:
    """Whoever reads "proved" does not find it there; with no manifest, too."""
    (held.output / "manifest.json").unlink()
    (held.output / file).parent.mkdir(exist_ok=True, parents=True)
    shutil.copy(held.output / "image" / "1.root.json", held.output / file)
    assert reason(held) == "extra_file"
    assert f"No transcript names {file}: " in held.verify().stderr


def test_an_extra_file_is_an_extra_file_for_whoever_audits_bytes(original: Stage) -> None:
    transcript = media.read_transcript(original.output / "transcript.json")
    files = media.collect(original.output)
    audit(transcript, files)
    with pytest.raises(RefusedError, match=r"targets/1\.targets\.json") as caught:
        audit(transcript, files | {"targets/1.targets.json": files["image/1.targets.json"]})
    assert caught.value.reason == "extra_file"


@pytest.mark.parametrize("file", ["transcript.json", "fleet.json", "image/1.targets.json"])
def test_a_file_that_is_missing(held: Stage, file: str) -> None:
    (held.output / file).unlink()
    result = held.verify("--json")
    assert result.exit_code == 2
    assert told(result)["reason"] == "not_found"
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"\xff", b"null", b"[" * 9000, b'{"type":"urn:interlock:transcript:v1"}'],
)
def test_bytes_that_are_no_transcript(held: Stage, data: bytes) -> None:
    (held.output / "transcript.json").write_bytes(data)
    assert reason(held) == "malformed"


def test_a_truncated_transcript(held: Stage) -> None:
    path = held.output / "transcript.json"
    path.write_bytes(path.read_bytes()[:-100])
    assert reason(held) == "malformed"


def test_a_transcript_that_is_too_large(held: Stage) -> None:
    with (held.output / "transcript.json").open("ab") as file:
        file.truncate(MAX_TRANSCRIPT + 1)
    assert reason(held) == "malformed"


def test_another_spelling_of_the_same(held: Stage) -> None:
    path = held.output / "transcript.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1))
    assert reason(held) == "malformed"


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(st.data())
def test_no_bit_of_transcript_or_metadata_can_change(original: Stage, data: st.DataObject) -> None:
    transcript = media.read_transcript(original.output / "transcript.json")
    files = media.collect(original.output)
    names = ["transcript.json", *sorted(files)]
    name = data.draw(st.sampled_from(names))
    whole = bytearray(transcript if name == "transcript.json" else files[name])
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    if name == "transcript.json":
        transcript = bytes(whole)
    else:
        files[name] = bytes(whole)
    with pytest.raises(InterlockError):
        audit(transcript, files)


# Those who hold every key


def test_a_forger_who_changes_nothing_is_believed(held: Stage) -> None:
    """The forger's own signatures are good: what follows is found for its own reason."""
    Forger(held).write()
    assert held.verify().exit_code == 0


def root_with(stage: Stage, repository: str, change: Callable[[Root], object]) -> Metadata[Root]:
    document = Metadata[Root].from_file(str(stage.output / repository / "1.root.json"))
    change(document.signed)
    return document


def set_threshold(root: Root) -> None:
    root.roles["root"].threshold = 1


def set_lifetime(root: Root) -> None:
    root.expires += timedelta(days=3650)


def set_inconsistent(root: Root) -> None:
    root.consistent_snapshot = False


def set_issued(root: Root) -> None:
    root.unrecognized_fields["issued"] = "2026-11-30T09:30:00Z"


def set_extra(root: Root) -> None:
    root.unrecognized_fields["x-extra"] = True


def set_online_for_root(root: Root) -> None:
    root.roles["root"].keyids.append(root.roles["timestamp"].keyids[0])


def set_version(root: Root) -> None:
    root.version = 2


@pytest.mark.parametrize(
    "change",
    [
        set_threshold,
        set_lifetime,
        set_inconsistent,
        set_issued,
        set_extra,
        set_online_for_root,
        set_version,
    ],
)
@pytest.mark.parametrize("repository", ["image", "director"])
def test_a_root_that_is_not_what_the_script_asks_for(
    held: Stage, repository: str, change: Callable[[Root], None]
) -> None:
    forger = Forger(held)
    names = [key for key in KEYS if key.endswith(f"-{repository}-root")]
    forger.resign(f"{repository}/1.root.json", root_with(held, repository, change), *names)
    forger.write()
    assert reason(held) in {"wrong_metadata", "malformed", "version_gap"}


def test_targets_that_delegate_already(held: Stage) -> None:
    forger = Forger(held)
    document = Metadata[Targets].from_file(str(held.output / "image" / "1.targets.json"))
    document.signed.unrecognized_fields["x-product"] = "acme"
    forger.resign("image/1.targets.json", document, "alice-image-targets", "bob-image-targets")
    forger.write()
    assert reason(held) == "wrong_metadata"


def test_a_root_below_its_own_threshold(held: Stage) -> None:
    forger = Forger(held)
    document = root_with(held, "image", lambda _: None)
    forger.resign("image/1.root.json", document, "alice-image-root")
    forger.write()
    assert reason(held) == "untrusted_metadata"


def test_a_signature_that_was_told_of_and_is_missing(held: Stage) -> None:
    """Two of three are enough for TUF, and the transcript says three."""
    forger = Forger(held)
    document = root_with(held, "image", lambda _: None)
    forger.resign("image/1.root.json", document, *HOLDERS_OF_IMAGE[:2])
    forger.write()
    assert reason(held) == "bad_signature"
    assert "carol-image-root" in held.verify().stderr


def drop(kind: str) -> Callable[[Forger], None]:
    def change(forger: Forger) -> None:
        del forger.entries[forger.number(kind)]

    change.__name__ = f"without_{kind}"
    return change


def told_twice(forger: Forger) -> None:
    forger.entries.append(dict(forger.entries[-1]))


def told_in_another_order(forger: Forger) -> None:
    entries = forger.entries
    entries[1], entries[2] = entries[2], entries[1]


def another_name(forger: Forger) -> None:
    forger.act("present", person="bob")["name"] = "Mallory"


def another_part(forger: Forger) -> None:
    forger.act("present", person="dana")["parts"] = ["administrator", "holder"]


def another_fingerprint(forger: Forger) -> None:
    forger.act("key_made")["fingerprint"] = "0" * 64


def another_holder(forger: Forger) -> None:
    forger.act("key_made")["holder"] = "bob"


def fewer_signers(forger: Forger) -> None:
    forger.act("metadata_signed")["signers"].pop()


def another_script_digest(forger: Forger) -> None:
    forger.act("began")["script_sha256"] = "0" * 64


def another_fleet(forger: Forger) -> None:
    forger.act("began")["fleet"] = "south"


@pytest.mark.parametrize(
    "change",
    [
        *map(
            drop,
            [
                "began",
                "present",
                "key_made",
                "key_imported",
                "possession_proven",
                "metadata_signed",
                "fleet_named",
            ],
        ),
        told_twice,
        told_in_another_order,
        another_name,
        another_part,
        another_fingerprint,
        another_holder,
        fewer_signers,
        another_script_digest,
        another_fleet,
    ],
    ids=lambda change: change.__name__,
)
def test_acts_that_do_not_follow_the_script(held: Stage, change: Callable[[Forger], None]) -> None:
    forger = Forger(held)
    change(forger)
    forger.write()
    assert reason(held) == "wrong_acts"


@pytest.mark.parametrize("number", [1, 7, -1])
def test_time_does_not_go_back_from_entry_to_entry(held: Stage, number: int) -> None:
    forger = Forger(held)
    forger.entries[number]["at"] = "2026-12-01T09:29:59Z"
    forger.write()
    assert reason(held) == "clock_back"
    assert "at 2026-12-01T09:29:59Z, and the one before it at 2026-12-01" in held.verify().stderr


def test_an_entry_with_another_number(held: Stage) -> None:
    forger = Forger(held)
    last = forger.entries[-1]
    last["number"] += 1
    forger.told["head"] = wire.sha256_hex(wire.encode(last))
    forger.write(chain=False)
    assert reason(held) == "broken_chain"


def test_another_script_than_was_followed(held: Stage) -> None:
    forger = Forger(held)
    began = forger.act("began")
    began["script"] = began["script"].replace("lifetime_days = 200", "lifetime_days = 300")
    began["script_sha256"] = wire.sha256_hex(began["script"].encode())
    forger.write()
    assert reason(held) == "wrong_metadata"


@pytest.mark.parametrize(
    ("old", "new"), [("threshold = 2", "threshold = 1"), ("[online]", "[online"), ("north", "N")]
)
def test_a_script_that_no_ceremony_follows(held: Stage, old: str, new: str) -> None:
    forger = Forger(held)
    began = forger.act("began")
    began["script"] = began["script"].replace(old, new)
    began["script_sha256"] = wire.sha256_hex(began["script"].encode())
    forger.write()
    assert reason(held) == "bad_script"


def test_a_proof_by_another_key(held: Stage) -> None:
    forger = Forger(held)
    other = forger.act("possession_proven", key="alice-image-root")["proof"]
    forger.act("possession_proven", key="bob-image-root")["proof"] = other
    forger.write()
    (held.output / "keys" / "bob-image-root.pub.json").unlink()
    assert reason(held) == "bad_proof"


def test_one_key_for_two_people(held: Stage) -> None:
    forger = Forger(held)
    alice = forger.act("key_made", key="alice-image-root")
    bob = forger.act("key_made", key="bob-image-root")
    bob["keyid"], bob["fingerprint"] = alice["keyid"], alice["fingerprint"]
    forger.write()
    assert reason(held) == "shared_key"


def test_a_key_that_the_root_does_not_name(held: Stage) -> None:
    forger = Forger(held)
    forger.act("key_made", key="bob-director-root")["keyid"] = "0" * 64
    forger.write()
    assert reason(held) == "wrong_metadata"


def test_an_online_key_that_cannot_sign_a_timestamp(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by a ceremony that did not look."""
    directory = stage.home / "pq"
    keys.new_key(directory, "image-online", "ml-dsa-65/1", "post-quantum", scrypt_n=CHEAP)
    stage.edit("online/image-online", "pq/image-online")
    with monkeypatch.context() as blind:
        blind.setattr(quorum, "may_sign_online", lambda *_: True)
        blind.setattr(custody, "may_sign_online", lambda *_: True)
        stage.done()
    assert reason(stage) == "bad_key"


def test_a_ceremony_called_a_rehearsal(held: Stage) -> None:
    forger = Forger(held)
    forger.act("began")["rehearsal"] = True
    forger.write()
    assert reason(held) == "rehearsal"


def test_an_error_says_nothing_to_the_terminal_but_text(held: Stage) -> None:
    forger = Forger(held)
    began = forger.act("began")
    began["script"] = began["script"].replace('"genesis"', '"\\u001b[2Jx\\u2028Error: all is well"')
    began["script_sha256"] = wire.sha256_hex(began["script"].encode())
    forger.write()
    elsewhere = held.output / "\x1b[2J\u2028.json"
    for result in (held.verify(), held.call("verify", elsewhere)):
        assert result.exit_code in {2, 20}
        assert "\x1b" not in result.output
        assert len(result.stderr.splitlines()) == 1
