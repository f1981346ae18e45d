"""Later ceremonies: every act, what it leaves behind, and every script that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations

from interlock_ceremony import custody, sense
from interlock_core import encrypted_keys, keys
from interlock_core.clock import fixed_clock
from interlock_core.tuf_metadata import verify_new_offline, verify_root
from tests.keys_ceremony.chain import NAMES, RISKS, Chain
from tests.keys_ceremony.forger import Forger
from tests.keys_ceremony.stage import CHEAP, NOW, Stage, passphrase, told

Change = Mapping[str, Any]


@pytest.fixture
def chain(held: Stage) -> Chain:
    return Chain(held)


def role(name: str, **fields: Any) -> dict[str, Any]:
    return {"role": name, **fields}


def holders(chain: Chain, repository: str, name: str) -> set[str]:
    """Who holds a role by the newest root, by the names of public key files."""
    root = chain.root(repository, chain.newest(repository))
    wanted = set(root.roles[name].keyids)
    return {
        path.name.removesuffix(".pub.json")
        for number in range(1, chain.number + 1)
        for path in chain.output(number).glob("*/*.pub.json")
        if keys.load_public_key(path).key.keyid in wanted
    }


IMAGE_ROOT = {"alice-image-root", "bob-image-root", "carol-image-root"}
ACTS: dict[str, tuple[list[Change], dict[str, set[str]]]] = {
    "add a holder": (
        [{"do": "add", "role": "image.root", "holder": "erik"}],
        {"image.root": IMAGE_ROOT | {"erik-image-root"}},
    ),
    "remove a holder": (
        [{"do": "remove", "role": "image.root", "holder": "carol"}],
        {"image.root": IMAGE_ROOT - {"carol-image-root"}},
    ),
    "replace a holder by another": (
        [{"do": "replace", "role": "director.root", "holder": "bob", "by": "erik"}],
        {"director.root": {"carol-director-root", "erik-director-root"}},
    ),
    "replace a holder's key": (
        [{"do": "replace", "role": "image.root", "holder": "bob", "by": "bob"}],
        {"image.root": IMAGE_ROOT - {"bob-image-root"} | {"bob-image-root-2"}},
    ),
    "raise a threshold": (
        [{"do": "threshold", "role": "image.root", "threshold": 3}],
        {"image.root": IMAGE_ROOT},
    ),
    "renew a root": ([{"do": "renew", "role": "image.root"}], {"image.root": IMAGE_ROOT}),
    "a lost key": (
        [{"do": "lost", "role": "image.root", "holder": "carol"}],
        {"image.root": IMAGE_ROOT - {"carol-image-root"}},
    ),
    "a compromised key": (
        [{"do": "compromised", "role": "image.root", "holder": "carol", "by": "carol"}],
        {"image.root": IMAGE_ROOT - {"carol-image-root"} | {"carol-image-root-2"}},
    ),
    "a compromised targets key": (
        [{"do": "compromised", "role": "image.targets", "holder": "bob", "by": "erik"}],
        {"image.targets": {"alice-image-targets", "erik-image-targets"}},
    ),
    "several at once": (
        [
            {"do": "lost", "role": "image.root", "holder": "alice", "by": "erik"},
            {"do": "add", "role": "image.targets", "holder": "fred"},
            {"do": "threshold", "role": "image.targets", "threshold": 3},
            {"do": "renew", "role": "director.root", "lifetime_days": 100},
        ],
        {
            "image.root": IMAGE_ROOT - {"alice-image-root"} | {"erik-image-root"},
            "image.targets": {"alice-image-targets", "bob-image-targets", "fred-image-targets"},
        },
    ),
}


def risks(changes: list[Change]) -> dict[str, str]:
    """The risks that a script must still accept after these changes."""
    found = dict(RISKS)
    for change in changes:
        if change.get("role") == "image.root" and (
            change["do"] in {"remove", "threshold"}
            or (change["do"] == "lost" and "by" not in change)
        ):
            found["image.root"] = "A test."
    return found


@pytest.mark.parametrize("act", ACTS)
def test_an_act_is_signed_by_both_quorums_and_proved(chain: Chain, act: str) -> None:
    changes, expected = ACTS[act]
    fields: dict[str, Any] = {"accepted_risks": risks(changes)}
    if act == "several at once":  # alice lost her root key, and signs targets all the same
        fields["persons"] = {
            "alice": "Alice Amsel",
            "bob": "Bob Bach",
            "carol": "Carol Cui",
            "erik": "Erik Eis",
            "fred": "Fred Feld",
        }
    result = chain.change(*changes, fields=fields)
    assert result.exit_code == 0, result.output
    for place, names in expected.items():
        repository, _, name = place.partition(".")
        assert holders(chain, repository, name) == names
    for repository in ("image", "director"):
        trusted = None
        for version in range(1, chain.newest(repository) + 1):
            data = (chain.output() / repository / f"{version}.root.json").read_bytes()
            verify_root(data, trusted, NOW)
            trusted = data
    newest = chain.root("image", chain.newest("image"))
    (targets,) = (chain.output() / "image").glob("*.targets.json")
    verify_new_offline(
        targets.read_bytes(),
        "targets",
        root=newest,
        targets=None,
        current=(chain.output(1) / "image" / "1.targets.json").read_bytes(),
        now=NOW,
    )
    verified = chain.verify("--json")
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["number"] == 2
    assert (chain.output() / "fleet.json").read_bytes() == (
        chain.output(1) / "fleet.json"
    ).read_bytes()
    assert (chain.output() / "transcripts" / "1.json").read_bytes() == (
        chain.output(1) / "transcript.json"
    ).read_bytes()


@pytest.mark.parametrize("name", ["image-online", "director-targets", "director-online"])
@pytest.mark.parametrize("do", ["rotate", "compromised"])
def test_an_online_key_is_replaced(chain: Chain, name: str, do: str) -> None:
    before = {r: chain.newest(r) for r in ("image", "director")}
    chain.done(do=do, key=name, file=chain.online(name))
    repository = name.split("-", maxsplit=1)[0]
    assert chain.newest(repository) == before[repository] + 1
    other = {"image": "director", "director": "image"}[repository]
    assert chain.newest(other) == before[other]
    public = keys.load_public_key(chain.output() / "online" / f"{name}.pub.json").key
    root = chain.root(repository, 2)
    signs = {"image-online": "timestamp", "director-targets": "targets"}.get(name, "snapshot")
    assert root.roles[signs].keyids == [public.keyid]
    assert json.loads(chain.verify("--json").stdout)["retired"] == {
        name: "rotated" if do == "rotate" else do
    }


def test_targets_that_change_hands_carry_the_delegations_and_both_quorums(chain: Chain) -> None:
    published = chain.targets()
    holder = keys.load_public_key(chain.output() / "keys" / "alice-image-root.pub.json").key
    other = keys.load_public_key(chain.output() / "keys" / "bob-image-root.pub.json").key
    acme = DelegatedRole("acme", [holder.keyid, other.keyid], 1, True, paths=["acme/*/*"])
    published.signed.delegations = Delegations(
        {holder.keyid: holder, other.keyid: other}, {"acme": acme}
    )
    path = chain.publish(published)
    result = chain.change(
        {"do": "replace", "role": "image.targets", "holder": "bob", "by": "erik"},
        fields={"targets": path.name},
    )
    assert result.exit_code == 0, result.output
    targets = chain.targets()
    assert targets.signed.version == 3
    assert targets.signed.delegations == published.signed.delegations
    for version in (1, 2):  # valid under either root: the server switches without a gap
        chain.root("image", version).verify_delegate(
            "targets", targets.signed_bytes, targets.signatures
        )
    assert json.loads(chain.verify("--json").stdout)["switch_without_gap"] is True
    assert {p.name for p in (chain.output() / "targets").iterdir()} == {
        "1.targets.json",
        "2.targets.json",
    }


def test_targets_below_the_old_quorum_are_said_to_leave_a_gap(chain: Chain) -> None:
    result = chain.change(
        {"do": "lost", "role": "image.targets", "holder": "alice", "by": "erik"},
        fields={"persons": {"bob": "Bob Bach", "carol": "Carol Cui", "erik": "Erik Eis"}},
    )
    assert result.exit_code == 0, result.output
    assert "gateways find no valid targets" in result.stdout
    assert json.loads(chain.verify("--json").stdout)["switch_without_gap"] is False


def test_a_stolen_delegation_is_found(chain: Chain) -> None:
    """Somebody changes what the ceremony took over, after it."""
    fields = {"accepted_risks": {"director.root": "Few gateways."}}
    done = chain.change(do="add", role="image.targets", holder="erik", fields=fields)
    assert done.exit_code == 0, done.output
    taken = chain.output() / "targets" / "1.targets.json"
    taken.write_bytes(taken.read_bytes().replace(b'"version":1', b'"version":2'))
    refused = chain.verify("--json")
    assert json.loads(refused.stdout)["reason"] == "wrong_metadata"


REFUSED: dict[str, tuple[list[Change], dict[str, Any], str]] = {
    "nobody of that name": (
        [{"do": "remove", "role": "image.root", "holder": "zoe"}],
        {},
        "changes.1.holder: 'zoe' holds no key of image.root; its holders are alice, bob, carol.",
    ),
    "a holder already": (
        [{"do": "add", "role": "image.root", "holder": "bob"}],
        {},
        "changes.1.holder: 'bob' holds a key of image.root already; to renew it, use 'replace'.",
    ),
    "somebody who is not there": (
        [{"do": "add", "role": "image.root", "holder": "erik"}],
        {"persons": {"alice": "Alice Amsel", "bob": "Bob Bach"}, "witnesses": []},
        "changes.1.holder: 'erik' is not among the persons",
    ),
    "a threshold out of reach": (
        [{"do": "threshold", "role": "image.root", "threshold": 4}],
        {},
        (
            "changes.1.threshold: 4 signatures cannot come from the 3 holders that image.root has "
            "at this point (alice, bob, carol)"
        ),
    ),
    "a threshold of one": (
        [{"do": "threshold", "role": "image.root", "threshold": 1}],
        {},
        "changes.1: image.root at the end: 1 would let one person act alone",
    ),
    "the same threshold": (
        [{"do": "threshold", "role": "image.root", "threshold": 2}],
        {},
        "changes.1.threshold: it is 2 already; remove this change.",
    ),
    "a threshold before its holder": (
        [
            {"do": "threshold", "role": "image.root", "threshold": 4},
            {"do": "add", "role": "image.root", "holder": "erik"},
        ],
        {},
        "changes.1.threshold: 4 signatures cannot come from the 3 holders",
    ),
    "removed before the successor came": (
        [
            {"do": "remove", "role": "director.root", "holder": "bob"},
            {"do": "add", "role": "director.root", "holder": "erik"},
        ],
        {},
        "changes.1.do: this leaves director.root with 1 holders, and 2 must sign; add a holder",
    ),
    "replaced before they came": (
        [
            {"do": "replace", "role": "image.root", "holder": "erik", "by": "fred"},
            {"do": "add", "role": "image.root", "holder": "erik"},
        ],
        {},
        "changes.1.holder: 'erik' becomes a holder of image.root only further down; move that up.",
    ),
    "left twice": (
        [
            {"do": "remove", "role": "image.root", "holder": "carol"},
            {"do": "replace", "role": "image.root", "holder": "carol", "by": "erik"},
        ],
        {},
        "changes.2.holder: 'carol' left image.root further up; remove one of the two.",
    ),
    "made to be removed": (
        [
            {"do": "add", "role": "image.root", "holder": "erik"},
            {"do": "remove", "role": "image.root", "holder": "erik"},
        ],
        {},
        "changes.2.holder: 'erik' gets that key further up in this script",
    ),
    "urgent last": (
        [
            {"do": "renew", "role": "director.root"},
            {"do": "lost", "role": "image.root", "holder": "carol"},
        ],
        {},
        "changes.2.do: a key that is lost or compromised is answered first; move this above",
    ),
    "renewed twice": (
        [{"do": "renew", "role": "image.root"}, {"do": "renew", "role": "image.root"}],
        {},
        "changes.2.role: image.root is renewed above; remove one.",
    ),
    "no such act": ([{"do": "forget"}], {}, "changes.1.do: Invalid value 'forget'; change it."),
    "no such field": (
        [{"do": "renew", "role": "image.root", "holder": "bob"}],
        {},
        "changes.1.holder: there is no such field",
    ),
    "no such role": (
        [{"do": "renew", "role": "director.targets"}],
        {},
        "changes.1.role: Invalid enum value 'director.targets'",
    ),
    "no such kind of key": (
        [{"do": "add", "role": "image.root", "holder": "erik", "scheme": "rsa"}],
        {},
        "changes.1.scheme: 'rsa' is not a kind of key",
    ),
    "a hybrid role that a broken family breaks": (
        [{"do": "add", "role": "image.root", "holder": "erik", "scheme": "ml-dsa-65/1"}],
        {},
        "changes.1: image.root at the end: with 3 classical and 1 post-quantum keys it must be 5",
    ),
    "compromised, and nobody knows what": (
        [{"do": "compromised", "role": "image.root"}],
        {},
        "changes.1.do: name either a holder's key by 'role' and 'holder', or an online key",
    ),
    "an online key without a successor": (
        [{"do": "compromised", "key": "image-online"}],
        {},
        "changes.1.key: name its successor: add 'file', a public key file.",
    ),
    "the same online key again": (
        [{"do": "rotate", "key": "image-online", "file": "online/image-online.pub.json"}],
        {},
        "changes.1.file: this is the same key as image-online; make one for each name",
    ),
    "another's online key": (
        [{"do": "rotate", "key": "image-online", "file": "online/director-online.pub.json"}],
        {},
        "changes.1.file: the key was made for the name 'director-online'",
    ),
    "too few of the old holders": (
        [{"do": "add", "role": "image.root", "holder": "erik"}],
        {
            "persons": {"alice": "Alice Amsel", "erik": "Erik Eis"},
            "witnesses": [],
        },
        (
            "persons: image/2.root.json is signed by 1 of the 2 keys that image.root 1 asks for; 1 "
            "more of bob, carol must sign: add them to [persons], with their keys."
        ),
    ),
    "too few of the new holders": (
        [
            {"do": "add", "role": "image.root", "holder": "erik"},
            {"do": "threshold", "role": "image.root", "threshold": 4},
        ],
        {
            "persons": {"alice": "Alice Amsel", "bob": "Bob Bach", "erik": "Erik Eis"},
            "witnesses": [],
            "accepted_risks": RISKS | {"image.root": "A test."},
        },
        (
            "image/2.root.json is signed by 3 of the 4 keys that image.root 2 asks for; 1 more of "
            "carol must sign"
        ),
    ),
    "a quorum that is lost": (
        [
            {"do": "lost", "role": "director.root", "holder": "bob", "by": "erik"},
        ],
        {},
        (
            "director/2.root.json is signed by 1 of the 2 keys that director.root 1 asks for; only "
            "1 can sign any more: this quorum is lost"
        ),
    ),
    "no holder to spare": (
        [{"do": "remove", "role": "image.root", "holder": "carol"}],
        {},
        (
            "accepted_risks.image.root: image.root has 2 keys and all must sign: "
            "if one is lost, every gateway needs a new first root"
        ),
    ),
    "a risk that is none": (
        [{"do": "renew", "role": "image.root"}],
        {"accepted_risks": RISKS | {"image.root": "Why not."}},
        "accepted_risks.image.root: image.root can lose 1: there is no risk to accept",
    ),
    "a risk of no role": (
        [{"do": "renew", "role": "image.root"}],
        {"accepted_risks": RISKS | {"acme": "Why not."}},
        "accepted_risks.acme: there is no such role; remove the line.",
    ),
    "another fleet": (
        [{"do": "renew", "role": "image.root"}],
        {"fleet": "south"},
        "line 2, fleet: the ceremony before was of the fleet 'north'",
    ),
    "no targets, and they change": (
        [{"do": "add", "role": "image.targets", "holder": "erik"}],
        {"targets": None},
        "targets: image.targets is signed anew here: name the newest published",
    ),
    "no such targets": (
        [{"do": "renew", "role": "image.targets"}],
        {"targets": "nothing.targets.json"},
        "line 6, targets: There is no top-level targets",
    ),
    "a root in place of targets": (
        [{"do": "renew", "role": "image.targets"}],
        {"targets": "out/image/1.root.json"},
        "line 6, targets: The top-level targets is root metadata, not targets.",
    ),
    "no ceremony before": (
        [{"do": "renew", "role": "image.root"}],
        {"previous": "nothing"},
        "line 3, previous: There is no manifest at",
    ),
    "an output that exists": (
        [{"do": "renew", "role": "image.root"}],
        {"output": "out"},
        "line 4, output: ",
    ),
    "somebody without a part": (
        [{"do": "renew", "role": "image.root"}],
        {
            "persons": {"alice": "Alice Amsel", "bob": "Bob Bach", "gina": "Gina Gans"},
            "witnesses": [],
        },
        "persons.gina: this person has no part",
    ),
    "another person under a known short name": (
        [{"do": "renew", "role": "image.root"}],
        {"persons": {"alice": "Alice Amsel", "bob": "Bert Bosch"}, "witnesses": []},
        "persons.bob: 'bob' was 'Bob Bach' in an earlier ceremony; use another short name",
    ),
    "a known person under another short name": (
        [{"do": "renew", "role": "image.root"}],
        {
            "persons": {"alice": "Alice Amsel", "bob": "Bob Bach", "caro": "Carol Cui"},
            "witnesses": ["caro"],
        },
        "persons.caro: 'Carol Cui' is 'carol' since an earlier ceremony; use that short name.",
    ),
    "a witness who is nobody": (
        [{"do": "renew", "role": "image.root"}],
        {"witnesses": ["zoe"]},
        "witnesses: 'zoe' is not among the persons",
    ),
    "a lifetime of a day": (
        [{"do": "renew", "role": "image.root", "lifetime_days": 1}],
        {},
        "changes.1.lifetime_days: 1 is outside 30 to 1830 days",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_the_line_and_what_to_change(chain: Chain, case: str) -> None:
    changes, fields, says = REFUSED[case]
    error = chain.refused(*changes, fields=fields)
    assert says in error
    assert all(line.startswith("Error: change.toml, ") for line in error.splitlines())


def test_a_key_that_left_never_comes_back(chain: Chain) -> None:
    chain.done(do="compromised", key="image-online", file=chain.online("image-online"))
    error = chain.refused(do="rotate", key="image-online", file="online/image-online.pub.json")
    assert "the same key as image-online, which was compromised in ceremony 2" in error


RENEW = {"do": "renew", "role": "image.root"}


def attended(chain: Chain, person: str, key: CryptoSigner) -> Path:
    """A public key file with which a person can attend, and its private half."""
    home = chain.stage.home / f"{person}-attends"
    home.mkdir(exist_ok=True)
    data = encrypted_keys.encrypted(key, passphrase(person), CHEAP)
    (home / f"{person}.key.json").write_bytes(data)
    (home / f"{person}.pub.json").write_bytes(keys.public_key_file(person, key))
    return home


def with_witness(chain: Chain, person: str, home: Path, *changes: Change) -> Result:
    """Hold a ceremony that a person attends with a key of their own."""
    here = {one: NAMES[one] for one in ("alice", "bob", "carol", person)}
    script = chain.script(
        *(changes or (RENEW,)),
        persons=here,
        witnesses=[person],
        attendance={person: f"{home.name}/{person}.pub.json"},
    )
    result = chain.run(script, "--key", home, "--json")
    if result.exit_code == 0:
        chain.number += 1
    return result


@pytest.mark.usefixtures("hasty")
def test_a_key_that_attended_comes_again_for_its_person_and_for_nobody_else(
    hasty_original: Stage,
) -> None:
    chain = Chain(hasty_original)
    key = CryptoSigner.generate_ed25519()
    for _ in range(2):
        result = with_witness(chain, "erik", attended(chain, "erik", key))
        assert result.exit_code == 0, result.output
    result = with_witness(chain, "fred", attended(chain, "fred", key))
    assert result.exit_code == 2
    assert "attendance.fred: this is the same key as a key that erik attended with" in result.stderr
    online = chain.stage.home / "online-again" / "image-online.pub.json"
    online.parent.mkdir()
    online.write_bytes(keys.public_key_file("image-online", key))
    said = chain.refused(do="rotate", key="image-online", file="online-again/image-online.pub.json")
    assert "this is the same key as a key that erik attended with" in said
    made = chain.output(1) / "keys" / "dana-attending.key.json"  # by a ceremony, not brought
    dana = encrypted_keys.reopen(made, "ed25519", passphrase("dana"))
    result = with_witness(chain, "gina", attended(chain, "gina", dana))
    assert "this is the same key as a key that dana attended with" in result.stderr
    assert chain.verify().exit_code == 0


@pytest.mark.usefixtures("hasty")
def test_an_audit_finds_a_key_that_attended_for_two_people(
    hasty_original: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by a ceremony that did not look."""
    chain = Chain(hasty_original)
    key = CryptoSigner.generate_ed25519()
    assert with_witness(chain, "erik", attended(chain, "erik", key)).exit_code == 0
    monkeypatch.setattr(custody, "known", lambda *_: {})
    result = with_witness(chain, "fred", attended(chain, "fred", key))
    assert (result.exit_code, told(result)["reason"]) == (20, "shared_key"), result.output
    assert "fred and a key that erik attended with are one key" in result.stderr
    assert not chain.output(3).exists()


@pytest.mark.usefixtures("hasty")
def test_a_later_ceremony_is_not_earlier(hasty_original: Stage) -> None:
    early = hasty_original.at(clock=fixed_clock(NOW - timedelta(seconds=1)))
    said = Chain(early).refused(RENEW)
    assert "this machine's clock says 2026-12-01T09:29:59Z, and ceremony 1 ended at 2026-12" in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("hasty")
def test_an_audit_finds_a_ceremony_that_began_before_the_last_one_ended(
    hasty_original: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by a ceremony that did not look."""
    early = hasty_original.at(clock=fixed_clock(NOW - timedelta(seconds=1)))
    monkeypatch.setattr(sense, "_clock", lambda *_: [])
    result = Chain(early).run(Chain(early).script(RENEW), "--json")
    assert (result.exit_code, told(result)["reason"]) == (20, "clock_back"), result.output
    assert "ceremony 2 began at 2026-12-01T09:29:59Z" in result.stderr


def test_an_act_of_an_earlier_ceremony_cannot_be_swapped(chain: Chain, other: Stage) -> None:
    chain.done(do="renew", role="image.root")
    path = chain.output() / "transcripts" / "1.json"
    path.write_bytes((other.output / "transcript.json").read_bytes())
    assert json.loads(chain.verify("--json").stdout)["outcome"] == "refused"


def test_another_story_of_the_ceremony_before_breaks_the_chain(chain: Chain) -> None:
    """Told afterwards by those who hold every key of it."""
    chain.done(RENEW)
    forger = Forger(chain.stage)
    forger.entries.append({**forger.entries[-1], "act": {"act": "resumed"}})
    forger.write()
    (chain.stage.output / "manifest.json").unlink()
    assert chain.stage.verify().exit_code == 0  # by itself it is believed
    shutil.copy(forger.path, chain.output() / "transcripts" / "1.json")
    result = chain.verify("--json")
    assert (result.exit_code, told(result)["reason"]) == (20, "broken_chain"), result.output
    assert "ceremony 2 does not follow the one before it" in result.stderr


def test_an_old_key_that_was_not_brought_is_named(chain: Chain) -> None:
    for path in (chain.output() / "keys").glob("carol*.key.json"):
        path.unlink()
    result = chain.change(do="renew", role="image.root")
    assert result.exit_code == 2
    assert "These keys were not brought: carol-image-root.key.json. Pass --key" in result.stderr
    assert not list(chain.stage.home.glob(".*partial"))


def test_a_directory_that_was_carried_is_held_against_its_manifest(chain: Chain) -> None:
    (chain.output() / "keys" / "bob-image-root.pub.json").write_bytes(b"{}")
    (chain.output() / "note.txt").write_text("x")
    (chain.output() / "fleet.json").unlink()
    error = chain.refused(do="renew", role="image.root")
    for line in (
        "fleet.json is missing.",
        "keys/bob-image-root.pub.json is truncated: it has 2 of ",
        "note.txt is extra: it was not there when the directory was made.",
    ):
        assert f"line 3, previous: {line}" in error
