"""Keys in a token without a network: python-pkcs11 loads ``socket``, and none is ever opened.

asn1crypto, on which python-pkcs11 rests, imports the module ``socket``. So "no network" cannot mean
that it is not loaded; an audit hook ends the process at the first event of a socket instead, in the
real environments of the ceremony and of the release zone, with SoftHSM2 as the token.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from interlock_core.keys import load_public_key
from tests.packaging.tree import DEPLOYABLES
from tests.repo_tools.world import MEANT, World, make_people, role
from tests.support.tokens import PIN, Shelf, Typed, at_terminal, shelf_at
from tests.zones.conftest import _enter
from tests.zones.test_ceremony import SOCKET_OPENED, WATCHED
from tests.zones.zone import LEAKS, Zone

pytestmark = pytest.mark.zones

# What a ceremony does with a token: a key is made in it, proved, opened again, and signs.
MAKE_AND_SIGN = f"""{WATCHED}
from pathlib import Path
from interlock_ceremony.cli import main
from interlock_core import keys
from interlock_core.credentials import passphrase_handler
asked = passphrase_handler(None)
pair = keys.new_token_key(Path("keys"), "alice", "ecdsa-sha2-nistp384", "hsm:2?label=alice", asked)
signer = keys.load_signer(pair.private, asked)
signer.public_key.verify_signature(signer.sign(b"root"), b"root")
assert "socket" in sys.modules
print("signed in the token")
"""
RELEASE = f"""{WATCHED}
from interlock_repo.cli import main
sys.argv[0] = "interlock-repo"
sys.exit(main())
"""


@cache
def release_zone() -> Zone:
    [deployable] = [one for one in DEPLOYABLES if one.name == "interlock-repo"]
    return _enter(deployable)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = shelf_at(tmp_path / "shelf")
    made.add("alice")
    return made


def typed(zone: Zone, shelf: Shelf, code: str, *words: str | Path, pins: int) -> Typed:
    env = {key: value for key, value in os.environ.items() if key not in LEAKS}
    env |= {"PATH": f"{zone.home / 'bin'}:/usr/bin:/bin", "TERM": "dumb", **shelf.environment}
    asked = [("PIN of the token 'alice'", PIN)] * pins
    return at_terminal([zone.python, "-c", code, *words], asked, env=env)


def test_a_ceremonys_key_is_made_in_a_token_and_signs_without_a_socket(
    ceremony: Zone, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf.home)
    done = typed(ceremony, shelf, MAKE_AND_SIGN, pins=2)
    assert done.code == 0, done.screen
    assert "signed in the token" in done.screen
    assert load_public_key(shelf.home / "keys" / "alice.pub.json").name == "alice"


def test_a_release_is_signed_in_a_token_without_a_socket(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf.home)
    people = tmp_path / "people"
    make_people(people)
    world = World(tmp_path / "world", people)
    words = ("key", "new", "alice", "--directory", world.keys, "--token", "hsm:2?label=alice")
    made = typed(release_zone(), shelf, RELEASE, *words, pins=1)
    assert made.code == 0, made.screen
    text = role("products.bridge", 1, "alice")
    world.in_force("delegate", world.delegations(text), ("ada", "ben"))
    event = tmp_path / "event"
    assert world.make("stage", event, world.release(product='"bridge"')).code == 0
    signing = ("sign", event, "--key", world.private("alice"), *MEANT, "--yes")
    signed = typed(release_zone(), shelf, RELEASE, *signing, pins=1)
    assert signed.code == 0, signed.screen
    assert "Signed by alice" in signed.screen


def test_the_release_zone_does_load_a_network_library_for_what_needs_one(shelf: Shelf) -> None:
    """urllib3 tries a socket when it is loaded. The watch sees that, so it would have seen ours."""
    words = ("publish", "nowhere", "--server", "http://127.0.0.1:9")
    assert typed(release_zone(), shelf, RELEASE, *words, pins=0).code == SOCKET_OPENED
