"""Online keys in a KMS. AWS KMS is moto's server here: a stand-in, over real HTTP on loopback.

What is real: boto3 and its HTTP, the keys' P-256 arithmetic, the ceremony's import, the server and
a gateway. What is not: AWS, its permissions and its latency (see ``tests/support/kms.py``).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import boto3
import pytest
import urllib3
from securesystemslib.signer import CryptoSigner

from interlock_ceremony.custody import read_public
from interlock_client import agent, check
from interlock_core import keys, wire
from interlock_core.checkpoint import LOG_KEY
from interlock_core.clock import system_clock
from interlock_core.errors import ConfigurationError, TransientError
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.keys import load_public_key, public_key_file
from interlock_server.app import create_app
from interlock_server.kms import ATTEMPTS, REST_SECONDS, Kms, KmsSigner
from tests.client.test_real_server import Gateway, Quiet
from tests.keys_ceremony.stage import Stage
from tests.server.test_founding import ALL
from tests.server.world import (
    MANAGERS,
    NOW,
    PASSPHRASE,
    SERVER_TOML,
    TARGETS,
    V1,
    Bench,
    Fleet,
    call,
    sign,
    start,
)
from tests.support import kms
from tests.support.kms import StandIn
from tests.support.papers import order, started

NAMES = tuple(ONLINE_ROLES)


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with kms.running() as stand_in:
        yield stand_in


@pytest.fixture
def aws(running: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A KMS that this process may use."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    if running.server is None:
        running.come_back()
    yield running
    if running.server is None:
        running.come_back()


def uri_of(aws: StandIn, name: str) -> str:
    """The key of an online role, made when it is first asked for."""
    known = {one["AliasName"] for one in aws.client.list_aliases()["Aliases"]}
    return f"awskms:alias/{name}" if f"alias/{name}" in known else aws.add(name)


def prove(aws: StandIn, directory: Path) -> None:
    for name in NAMES:
        done = call("keys", "prove", name, uri_of(aws, name), "--directory", directory, "--json")
        assert done.code == 0, done.err
        assert done.answer["private"] == str(directory / f"{name}.key.json")


class KmsFleet(Fleet):
    """A fleet all of whose online keys live in the KMS; the log's is a file."""

    def __init__(self, home: Path, aws: StandIn, now: Any = NOW) -> None:
        home.mkdir(parents=True)
        self.now = now
        self._lies_at(home)
        prove(aws, self.online)
        keys.new_key(self.online, LOG_KEY, "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)
        (home / "passphrase").write_text(PASSPHRASE + "\n")
        (home / "passphrase").chmod(0o600)
        self.config.write_text(SERVER_TOML)
        self.write_ceremony(self.ceremony)


@pytest.fixture
def bench(aws: StandIn, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(KmsFleet(tmp_path / "fleet", aws))
    made.found()
    yield made
    made.back.database.close()


# The public half and its proof


def test_the_proof_is_made_where_the_key_lives_and_no_private_half_is_there(
    aws: StandIn, tmp_path: Path
) -> None:
    prove(aws, tmp_path / "online")
    assert sorted(path.name for path in (tmp_path / "online").iterdir()) == sorted(
        f"{name}.{half}.json" for name in NAMES for half in ("key", "pub")
    )
    handle = (tmp_path / "online" / f"{NAMES[0]}.key.json").read_bytes()
    assert json.loads(handle) == {
        "format": "interlock KMS key v1",
        "uri": f"awskms:alias/{NAMES[0]}",
    }
    for name in NAMES:
        named = load_public_key(tmp_path / "online" / f"{name}.pub.json")
        assert (named.name, named.key.scheme) == (name, "ecdsa-sha2-nistp256")
        assert read_public(tmp_path / "online" / f"{name}.pub.json")[0] == name
    again = call(
        "keys", "prove", NAMES[0], uri_of(aws, NAMES[0]), "--directory", tmp_path / "online"
    )
    assert (again.code, again.err.count("\n")) == (20, 1)


def test_the_ceremony_imports_it_and_the_server_begins_with_it(
    aws: StandIn, tmp_path: Path
) -> None:
    """The real ceremony, on public halves and proofs alone; then ``init`` with the KMS."""
    (tmp_path / "ceremony").mkdir()
    stage = Stage.setup(tmp_path / "ceremony").at(clock=system_clock)
    prove(aws, tmp_path / "online")
    for name in NAMES:
        shutil.copy(tmp_path / "online" / f"{name}.pub.json", stage.home / "online")
    held = stage.run()
    assert held.exit_code == 0, held.output
    fleet = KmsFleet(tmp_path / "fleet", aws)
    done = call("init", stage.output, "--config", fleet.config, "--cohort", "wards", "--json")
    assert (done.code, done.answer["fleet"]) == (0, "north"), done.err


@pytest.mark.parametrize(
    ("uri", "code", "reason"),
    [
        ("awskms:alias/nobody", 2, "kms"),
        ("awskms:", 2, "kms"),
        ("awskms:a b", 2, "kms"),
        ("awskms:alias/ä", 2, "kms"),
    ],
)
def test_a_key_that_is_not_there_is_named(
    aws: StandIn, tmp_path: Path, uri: str, code: int, reason: str
) -> None:
    done = call("keys", "prove", NAMES[0], uri, "--directory", tmp_path / "online", "--json")
    assert (done.code, done.answer["reason"]) == (code, reason)
    assert not (tmp_path / "online").exists()


def test_a_key_of_another_kind_is_refused(aws: StandIn, tmp_path: Path) -> None:
    other = aws.client.create_key(KeySpec="SYMMETRIC_DEFAULT")["KeyMetadata"]["KeyId"]
    small = aws.add("rsa-2048", "RSA_2048")
    for uri, reason in ((f"awskms:{other}", "kms"), (small, "bad_key")):
        done = call("keys", "prove", NAMES[0], uri, "--directory", tmp_path / "o", "--json")
        assert done.answer["reason"] == reason, done.err
    assert not (tmp_path / "o").exists()


def test_without_region_or_credentials_it_says_what_to_set(
    aws: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    words = ("keys", "prove", NAMES[0], "awskms:alias/x", "--directory", tmp_path, "--json")
    done = call(*words)
    assert (done.code, done.answer["reason"]) == (2, "kms")
    assert "region" in done.err
    monkeypatch.setenv("AWS_DEFAULT_REGION", kms.REGION)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = call(*words)
    assert (done.code, done.answer["reason"]) == (2, "kms")
    assert "credentials" in done.err


def test_the_public_half_must_be_the_one_that_was_proved(aws: StandIn, tmp_path: Path) -> None:
    fleet = KmsFleet(tmp_path / "fleet", aws, system_clock())
    words: tuple[str | Path, ...] = (
        "init", fleet.ceremony, "--config", fleet.config, *ALL, "--json",
    )  # fmt: skip
    file = fleet.online / f"{NAMES[0]}.pub.json"
    file.unlink()
    assert call(*words).answer["reason"] == "not_found"
    # Another key of the right kind, under the right name.
    file.write_bytes(public_key_file(NAMES[0], CryptoSigner.generate_ecdsa()))
    assert call(*words).answer["reason"] == "wrong_online_key"
    file.write_bytes(public_key_file(NAMES[0], CryptoSigner.generate_ed25519()))
    assert call(*words).answer["reason"] == "kms"
    handle = file.with_name(f"{NAMES[0]}.key.json")
    handle.write_bytes(handle.read_bytes().replace(b"awskms:", b"nokms:"))
    assert call(*words).answer["reason"] == "kms"


def test_a_signature_that_does_not_verify_never_leaves(aws: StandIn) -> None:
    """moto, left as it comes, signs the digest of the digest."""
    made = Kms().prove(uri_of(aws, NAMES[0]))
    made.public_key.verify_signature(made.sign(b"x"), b"x")
    with kms.as_it_comes(), pytest.raises(ConfigurationError) as refused:
        made.sign(b"x")
    assert refused.value.reason == "kms"


# A fleet


def test_a_gateway_reads_what_the_kms_signed(bench: Bench, tmp_path: Path) -> None:
    """From init over a release and an order to a real gateway's decision to install it."""
    bench.delegate()
    bench.publish_roster()
    bench.release(1, V1)
    now = bench.clock()
    update = order(targets=(V1.target(),), at=now, not_before=now, expires=now.replace(month=12))
    bench.say_all(update, *started(update))
    with served(bench) as url:
        gateway = Gateway(tmp_path / "gateway", bench, url)
        made = gateway.context()
        assert check.check(made).reason == "granted"
        assert agent.update(made).outcome == "rebooting"
        made.close()


def test_while_the_kms_is_away_heads_stand_and_it_works_again_when_it_is_back(
    bench: Bench, aws: StandIn, tmp_path: Path
) -> None:
    bench.delegate()
    bench.publish_roster()
    before = heads(bench)
    aws.go_away()
    text = sign(bench.fleet.product(1, V1), MANAGERS)
    assert bench.offer(V1.product, text).status_code == 201
    for data in V1.files.values():
        assert bench.send(wire.sha256_hex(text), data).status_code == 204
    refused = bench.commit(wire.sha256_hex(text))
    assert (refused.status_code, refused.json["reason"]) == (503, "kms_unavailable")
    assert refused.headers["Retry-After"]
    assert heads(bench) == before
    with served(bench) as url:
        made = Gateway(tmp_path / "gateway", bench, url).context()
        assert check.check(made).reason == "nothing_wanted"
        made.close()
    aws.come_back()
    time_passes(bench)
    assert bench.commit(wire.sha256_hex(text)).status_code == 200
    assert heads(bench) != before


def test_commands_say_that_the_kms_is_away_and_serve_starts_all_the_same(
    aws: StandIn, tmp_path: Path
) -> None:
    """Real processes: two workers, which connect for themselves after the fork."""
    fleet = KmsFleet(tmp_path / "fleet", aws, system_clock())
    words = ("--config", fleet.config, "--json")
    aws.go_away()
    down = call("init", fleet.ceremony, *ALL, *words)
    assert (down.code, down.answer["reason"]) == (30, "kms_unavailable"), down.err
    aws.come_back()
    assert call("init", fleet.ceremony, *ALL, *words).code == 0
    aws.go_away()
    assert call("refresh", "--force", *words).code == 30
    process = start("serve", *words)
    http = urllib3.PoolManager(retries=False)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert http.request("GET", f"{url}/image/metadata/timestamp.json").status == 200
        text = sign(fleet.delegations(), TARGETS).decode()
        body = wire.encode({"metadata": {"targets": text}})
        headers = {"Content-Type": "application/json"}
        offered = http.request("POST", f"{url}/v1/publications", body=body, headers=headers)
        id_ = offered.json()["id"]
        commit = f"{url}/v1/publications/{id_}/commit"

        def committed() -> urllib3.BaseHTTPResponse:
            return http.request("POST", commit, body=b"{}", headers=headers)

        refused = committed()
        assert (refused.status, refused.json()["reason"]) == (503, "kms_unavailable")
        aws.come_back()
        end = time.monotonic() + 120
        while (answer := committed()).status == 503:
            assert time.monotonic() < end, answer.json()
            time.sleep(0.5)  # what the Retry-After of the answer asks of a caller, only shorter
        assert answer.status == 200, answer.json()
        assert answer.json()["state"] == "published"
    finally:
        http.clear()
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


# Bounds


def test_after_a_failure_the_kms_is_left_alone_for_some_seconds(aws: StandIn) -> None:
    now = [100.0]
    made = Kms(lambda: now[0])
    first, second = (made.prove(uri_of(aws, name)) for name in NAMES[:2])
    aws.go_away()
    with pytest.raises(TransientError, match="EndpointConnectionError"):
        first.sign(b"x")
    aws.come_back()
    # Every key rests: whoever publishes a hundred cohorts waits once, not a hundred times.
    for signer in (first, second):
        with pytest.raises(TransientError, match="a moment ago"):
            signer.sign(b"x")
    now[0] += REST_SECONDS
    first.sign(b"x")
    second.sign(b"x")


class Slow:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]


def test_a_kms_that_never_answers_is_given_up(
    aws: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Kms().prove(uri_of(aws, NAMES[0]))
    monkeypatch.setattr("interlock_server.kms.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    slow = Slow()
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{slow.port}")
    with slow.socket, pytest.raises(TransientError) as given_up:
        KmsSigner(Kms(), "awskms:alias/x", made.public_key).sign(b"x")
    assert given_up.value.reason == "kms_unavailable"
    assert "ReadTimeoutError" in str(given_up.value)


@pytest.mark.parametrize(
    ("status", "code", "family"),
    [
        (500, "KMSInternalException", TransientError),
        (503, "", TransientError),
        (400, "ThrottlingException", TransientError),
        (429, "TooManyRequestsException", TransientError),
        (400, "AccessDeniedException", ConfigurationError),
        (400, "NotFoundException", ConfigurationError),
        (400, "DisabledException", ConfigurationError),
        (400, "InvalidSignatureException", ConfigurationError),
    ],
)
def test_each_answer_says_whether_waiting_helps(
    aws: StandIn, status: int, code: str, family: type[Exception]
) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415  # AWS's own answers

    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    made = Kms()
    with pytest.raises(family), made.asked("awskms:alias/x"):
        raise ClientError(answer, "Sign")


def test_a_call_is_tried_twice_and_no_more(aws: StandIn) -> None:
    made = Kms().prove(uri_of(aws, NAMES[0]))
    client = made._client().client
    assert client.meta.config.retries["total_max_attempts"] == ATTEMPTS
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (2, 5)


# What the tests need


@contextmanager
def served(bench: Bench) -> Iterator[str]:
    app = create_app(bench.services)
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def heads(bench: Bench) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in (bench.fleet.home / "store").rglob("*")
        if path.is_file() and (path.name == "timestamp.json" or "poll" in path.parts)
    }


def time_passes(bench: Bench) -> None:
    """The seconds for which a KMS is left alone."""
    for signer in (one for name in ONLINE_ROLES for one in bench.signers[name]):
        assert isinstance(signer, KmsSigner)
        signer._kms._monotonic = lambda: time.monotonic() + REST_SECONDS
