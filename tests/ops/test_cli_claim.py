"""Claims: a secret is written before anything is sent, and shown to nobody who did not ask."""

from __future__ import annotations

import re
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock_core.report import Claim
from interlock_core.statement import open_as, read_envelope
from interlock_core.wire import sha256_hex
from tests.ops.world import Place, problem
from tests.support.papers import claim, days
from tests.support.people import CANARY, DAY0, FLEET

ABOUT = ("--product", "gateway", "--site", "ward-7", "--cohort", CANARY)
SECRET = re.compile(r"[0-9A-Za-z_-]{43}\n\Z")


def claims_of(place: Place) -> list[Claim]:
    return [paper.said for paper in place.server.of(Claim)]


def secret_of(file: Path) -> str:
    text = file.read_text()
    assert SECRET.match(text)
    return text.strip()


def test_a_claim_and_its_secret_for_each_device(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "secrets"
    answer = place.device(
        "claim",
        *ABOUT,
        *("--hardware", "cm4-r2", "--device", "GW-0001", "--device", "GW-0002"),
        *("--secret-dir", folder, "--valid", "2d"),
    )
    assert answer["reason"] == "claimed"
    assert [one["device"] for one in answer["claims"]] == ["GW-0001", "GW-0002"]
    assert answer["ids"] == [paper.id for paper in place.server.papers]
    for said, told in zip(claims_of(place), answer["claims"], strict=True):
        file = Path(told["secret_file"])
        assert file == folder / f"{said.device}.secret"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert said.secret_sha256 == sha256_hex(secret_of(file).encode())
        assert (said.fleet, said.author, said.at) == (FLEET, "olga", DAY0)
        assert (said.product, said.site, said.cohort) == ("gateway", "ward-7", CANARY)
        assert (said.hardware, said.expires) == ("cm4-r2", DAY0 + days(2))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {"GW-0001.secret", "GW-0002.secret"}
    assert "secret" not in answer["claims"][0]


def test_secrets_differ_and_are_numbered_on(place: Place, tmp_path: Path) -> None:
    place.device("claim", *ABOUT, "--count", "2", "--secret-dir", tmp_path / "s")
    place.device("claim", *ABOUT, "--secret-dir", tmp_path / "s")
    files = sorted((tmp_path / "s").iterdir())
    assert [file.name for file in files] == [f"claim-00{n}.secret" for n in (1, 2, 3)]
    assert len({secret_of(file) for file in files}) == 3
    assert all(said.device is None for said in claims_of(place))


def test_one_secret_to_one_file(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "the-secret"
    place.device("claim", *ABOUT, "--secret-file", file)
    [said] = claims_of(place)
    assert said.secret_sha256 == sha256_hex(secret_of(file).encode())
    assert said.expires == DAY0 + days(7)


@pytest.mark.parametrize("words", [(), ("--json",), ("--dry-run",), ("--dry-run", "--json")])
def test_a_secret_is_shown_to_nobody(place: Place, tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "secret"
    result = place.run(
        *("device", "claim", *ABOUT, "--secret-file", file, "--reason", "x", "--yes"), *words
    )
    assert result.exit_code == 0, result.output
    if "--dry-run" in words:
        assert not file.exists()
        assert place.server.papers == []
    else:
        assert secret_of(file) not in result.stdout + result.stderr


def test_unless_he_asks_for_it(place: Place, tmp_path: Path) -> None:
    words = ("claim", *ABOUT, "--show-secret", "--secret-file")
    [told] = place.device(*words, tmp_path / "a")["claims"]
    assert told["secret"] == secret_of(tmp_path / "a")
    shown = place.run("device", *words, tmp_path / "b", "--reason", "x", "--yes").stdout
    assert secret_of(tmp_path / "b") in shown


def test_what_is_signed_is_shown_and_asked(place: Place, tmp_path: Path) -> None:
    words = ("device", "claim", *ABOUT, "--count", "2", "--secret-dir", tmp_path / "s")
    result = place.run(*words, "--reason", "new ward", answer="n\n")
    assert result.exit_code == 2
    for said in ("2 gateways may ask", "ward-7", CANARY, "claim-002.secret", "new ward"):
        assert said in result.stdout
    assert place.server.papers == []
    assert not (tmp_path / "s").exists()
    result = place.run(*words, "--reason", "new ward", answer="y\n")
    assert "Sign these 2 statements as olga?" in result.stderr
    assert len(claims_of(place)) == 2


def test_a_secret_is_never_overwritten(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("of somebody else")
    refused = place.device("claim", *ABOUT, "--secret-file", file, code=20)
    assert refused["reason"] == "conflict"
    assert file.read_text() == "of somebody else"
    assert place.server.asked == []
    (tmp_path / "GW-0001.claim.json").write_text("{}")
    words = ("claim", *ABOUT, "--device", "GW-0001", "--secret-dir", tmp_path)
    assert place.device(*words, code=20)["reason"] == "conflict"
    assert not (tmp_path / "GW-0001.secret").exists()


def test_a_wrong_passphrase_leaves_nothing(place: Place, tmp_path: Path) -> None:
    (place.home / "passphrase").write_text("something else\n")
    place.device("claim", *ABOUT, "--secret-dir", tmp_path / "s", code=2)
    assert not (tmp_path / "s").exists()


def test_what_was_not_sent_is_kept_with_what_to_do(place: Place, tmp_path: Path) -> None:
    place.server.room = 1
    answer = place.device("claim", *ABOUT, "--count", "3", "--secret-dir", tmp_path / "s", code=30)
    assert answer["reason"] == "busy"
    assert "1 of 3 were sent before" in answer["detail"]
    kept = [tmp_path / "s" / f"claim-00{n}.claim.json" for n in (2, 3)]
    assert f"rollout post {kept[0]} {kept[1]}" in answer["detail"]
    secrets = [secret_of(tmp_path / "s" / f"claim-00{n}.secret") for n in (1, 2, 3)]
    place.server.room = -1
    posted = place.json("post", *kept)
    assert posted["ids"] == [open_as(read_envelope(k.read_bytes()), Claim).id for k in kept]
    assert [said.secret_sha256 for said in claims_of(place)] == [
        sha256_hex(secret.encode()) for secret in secrets
    ]


def test_a_refusal_keeps_everything_too(place: Place, tmp_path: Path) -> None:
    place.server.refuse = problem(403, "role_not_held", "No.")
    answer = place.device("claim", *ABOUT, "--secret-file", tmp_path / "x", code=20)
    assert answer["reason"] == "role_not_held"
    assert (tmp_path / "x").exists()
    assert (tmp_path / "x.claim.json").exists()


def test_claims_cross_the_air_gap(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "claim.json"
    words = ("claim", *ABOUT, "--count", "2", "--secret-dir", tmp_path / "s", "--output", file)
    written = place.device(*words)
    assert (written["reason"], place.server.papers) == ("written", [])
    assert written["files"] == [str(file), str(tmp_path / "claim-2.json")]
    assert not list((tmp_path / "s").glob("*.json"))
    place.json("rollout", "post", *written["files"])
    assert len(claims_of(place)) == 2
    assert place.device(*words, code=20)["reason"] == "conflict"
    assert len(list((tmp_path / "s").iterdir())) == 2


def test_an_engineer_claims_for_his_site_alone(place: Place, tmp_path: Path) -> None:
    place.device("claim", *ABOUT, "--secret-file", tmp_path / "a", by="ellen")
    assert claims_of(place)[0].author == "ellen"
    other = ("--product", "gateway", "--site", "ward-8", "--cohort", CANARY)
    refused = place.device("claim", *other, "--secret-file", tmp_path / "b", by="ellen", code=20)
    assert refused["reason"] == "role_not_held"
    other = ("--product", "gateway", "--site", "ward-7", "--cohort", "st-anna")
    refused = place.device("claim", *other, "--secret-file", tmp_path / "b", by="ellen", code=20)
    assert "nor an engineer of the site ward-7" in refused["detail"]
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--secret-dir"),
        (("--secret-dir", "s", "--secret-file", "f"), "either"),
        (("--secret-file", "f", "--count", "2"), "--secret-dir"),
        (("--secret-dir", "s", "--count", "2", "--device", "GW-1"), "not both"),
        (("--secret-dir", "s", "--device", "GW-1", "--device", "gw-1"), "twice"),
        (("--secret-dir", "s", "--device", "../GW"), "is not a device id"),
        (("--secret-dir", "s", "--count", "0"), "--count"),
        (("--secret-dir", "s", "--valid", "31d"), "at most 30d"),
        (("--secret-dir", "s", "--valid", "0s"), "--valid"),
        (("--secret-dir", "s", "--hardware", "a b"), "is not a hardware id"),
        (("--secret-dir", "s", "--product", "root"), "reserved"),
    ],
)
def test_slips_are_named(place: Place, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    here = tuple(str(tmp_path / word) if word in ("s", "f") else word for word in words)
    result = place.run("device", "claim", *ABOUT, *here, "--reason", "x", "--yes")
    assert result.exit_code == 2, result.output
    assert said in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [place.home]
    assert place.server.papers == []


# The list


def listed(place: Place) -> dict[str, Any]:
    return {one["id"]: one for one in place.json("device", "claims")["claims"]}


def test_claims_are_open_used_expired_or_void(place: Place) -> None:
    fresh = claim("a" * 40)
    used = claim("b" * 40, device="GW-0001")
    old = claim("c" * 40, expires=DAY0 + timedelta(hours=1))
    forged = claim("d" * 40, by="ada")
    place.server.post(fresh, used, old, forged)
    place.server.fleet.used[used.id] = "GW-0001"
    place.clock.now += timedelta(hours=2)
    states = {id_: one["state"] for id_, one in listed(place).items()}
    assert states == {fresh.id: "open", used.id: "used", old.id: "expired", forged.id: "void"}
    assert listed(place)[used.id]["used_by"] == "GW-0001"
    result = place.run("device", "claims")
    assert result.exit_code == 0
    assert forged.id in result.stderr
    for one in (fresh, used, old, forged):
        assert one.id in result.stdout
    only = place.json("device", "claims", "--state", "open")["claims"]
    assert [one["id"] for one in only] == [fresh.id]


def test_a_claim_that_cannot_be_read_is_named(place: Place) -> None:
    place.server.post(claim())
    bad = msgspec.structs.replace(claim().envelope, payload="e30=")
    place.server.fleet.alter_claim = lambda told: msgspec.structs.replace(told, claim=bad)
    answer = place.json("device", "claims")
    assert [one["state"] for one in answer["claims"]] == ["unreadable"]
    assert answer["reason"] == "server_differs"


def test_no_claims(place: Place) -> None:
    assert place.json("device", "claims")["claims"] == []
    assert "no claims" in place.run("device", "claims").stdout
