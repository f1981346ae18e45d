"""``serve`` as a process: one line when it is ready, one line when it cannot, a clean stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text

from interlock_core import keys
from interlock_core.keys import load_public_key
from tests.server.world import (
    PASSPHRASE,
    PATIENCE_SECONDS,
    Bench,
    Called,
    Fleet,
    call,
    start,
)
from tests.support.waiting import wait_for


@pytest.fixture
def founded(empty: Fleet) -> Fleet:
    done = call("init", empty.ceremony, "--config", empty.config, "--cohort", "canary")
    assert done.code == 0, done.err
    return empty


Served = tuple[subprocess.Popen[str], dict[str, str]]


@pytest.fixture
def serve() -> Iterator[Callable[[Fleet], Served]]:
    """Starts servers, and ends those that a test left."""
    running: list[subprocess.Popen[str]] = []

    def begin(fleet: Fleet) -> Served:
        process = start("serve", "--config", fleet.config, "--json")
        running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return process, json.loads(line)

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def refused(fleet: Fleet) -> Called:
    """A server that must not come up."""
    process = start("serve", "--config", fleet.config, "--json")
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert err.count("\n") == 1, err
    return Called(process.returncode, out, err)


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(
    founded: Fleet, serve: Callable[[Fleet], Served], number: signal.Signals
) -> None:
    process, said = serve(founded)
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        assert http.request("GET", f"{said['url']}/poll/canary").status == 200
    workers = children(process.pid)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (0, "", "")
    assert all(gone(worker) for worker in workers)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(said["url"].rsplit(":", 1)[1])))


_HELD = """
import os, signal, sys
from gunicorn import util
from interlock_server.cli import main

seed = util.seed

def held():
    # Called in a worker between the fork and its own signal handlers.
    os.kill(os.getpid(), signal.SIGSTOP)
    seed()

util.seed = held
sys.exit(main())
"""


def status(pid: int, field: str) -> str:
    """What the kernel says of a process (man 5 proc_pid_status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


def waits(pid: int, number: signal.Signals) -> bool:
    """Whether a signal waits for a process."""
    return bool(int(status(pid, "ShdPnd"), 16) & (1 << (number - 1)))


@pytest.mark.parametrize(
    ("number", "passed_on"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGQUIT)],
)
def test_workers_that_are_being_made_stop_too(
    founded: Fleet, number: signal.Signals, passed_on: signal.Signals
) -> None:
    # Longer than anybody waits here: nothing ends because its time is over.
    text = founded.config.read_text()
    assert "stop_within_seconds = 10\n" in text
    founded.config.write_text(text.replace("seconds = 10\n", "seconds = 3600\n"))
    words = [sys.executable, "-c", _HELD, "serve", "--config", str(founded.config)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    workers: list[int] = []
    try:
        wait_for(lambda: [status(one, "State") for one in children(process.pid)] == ["T", "T"])
        workers = children(process.pid)
        process.send_signal(number)
        wait_for(lambda: all(waits(worker, passed_on) for worker in workers))
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        # What is stopped ends by nothing else, and holds the pipes.
        for left in (process.pid, *workers):
            if not gone(left):
                os.kill(left, signal.SIGKILL)
        process.communicate()
    assert (process.returncode, err) == (0, "")


def test_a_worker_that_dies_is_replaced(founded: Fleet, serve: Callable[[Fleet], Served]) -> None:
    process, said = serve(founded)
    with urllib3.PoolManager(retries=urllib3.Retry(20, backoff_factor=0.1), timeout=30) as http:
        assert http.request("GET", f"{said['health_url']}/readyz").status == 200
        workers = children(process.pid)
        assert workers
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        answer = http.request("GET", f"{said['url']}/poll/canary", headers={"Connection": "close"})
        assert answer.status == 200
        answer = http.request("GET", f"{said['health_url']}/readyz")
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0


def test_a_port_in_use_is_one_clear_line(founded: Fleet) -> None:
    for setting in ("listen", "health_listen"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            before = founded.config.read_text()
            founded.config.write_text(
                before.replace(f'\n{setting} = "127.0.0.1:0"', f'\n{setting} = "127.0.0.1:{port}"')
            )
            done = refused(founded)
            founded.config.write_text(before)
        assert (done.code, done.answer["reason"]) == (30, "address_in_use")
        assert f"127.0.0.1:{port}: another process does" in done.err


def _wrong_passphrase(fleet: Fleet) -> None:
    (fleet.home / "passphrase").write_text("not this one\n")


def _other_keys(fleet: Fleet) -> None:
    shutil.move(fleet.online / "director-online.pub.json", fleet.ceremony / "named.pub.json")
    (fleet.online / "director-online.key.json").unlink()
    keys.new_key(fleet.online, "director-online", "ed25519", PASSPHRASE, scrypt_n=keys.MIN_SCRYPT_N)


def _no_keys(fleet: Fleet) -> None:
    (fleet.online / "image-online.key.json").unlink()


def _no_database(fleet: Fleet) -> None:
    for path in fleet.home.glob("server.sqlite3*"):
        path.unlink()


def _newer_database(fleet: Fleet) -> None:
    bench = Bench(fleet)
    with bench.back.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    bench.back.database.close()


def _migrated_only(fleet: Fleet) -> None:
    _no_database(fleet)
    assert call("migrate", "--config", fleet.config).code == 0


def _no_store(fleet: Fleet) -> None:
    (fleet.home / "store").rename(fleet.home / "elsewhere")


def _unknown_setting(fleet: Fleet) -> None:
    fleet.config.write_text(fleet.config.read_text() + "\ncolour = 1\n")


def _broken_tls(fleet: Fleet) -> None:
    (fleet.home / "c.pem").write_text("no certificate")
    tls = '\ntls_certificate_file = "c.pem"\ntls_key_file = "c.pem"\n[storage]'
    fleet.config.write_text(fleet.config.read_text().replace("\n[storage]", tls))


def _foreign_address(fleet: Fleet) -> None:
    tls = _self_signed(fleet.home)
    text_ = fleet.config.read_text().replace('\nlisten = "127.0.0.1:0"', '\nlisten = "192.0.2.1:0"')
    fleet.config.write_text(text_.replace("\n[storage]", f"\n{tls}\n[storage]"))


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        (_wrong_passphrase, 2, "wrong_passphrase"),
        (_no_keys, 2, "not_found"),
        (_no_database, 2, "wrong_schema"),
        (_newer_database, 2, "wrong_schema"),
        (_migrated_only, 2, "not_initialised"),
        (_no_store, 2, "not_found"),
        (_unknown_setting, 2, "configuration"),
        (_broken_tls, 2, "configuration"),
        (_foreign_address, 2, "configuration"),
    ],
)
def test_what_cannot_serve_does_not_start(
    founded: Fleet, spoil: Callable[[Fleet], None], code: int, reason: str
) -> None:
    spoil(founded)
    done = refused(founded)
    assert (done.code, done.answer["reason"]) == (code, reason), done.err


def test_gateways_are_served_when_the_roots_name_a_key_that_is_not_held(
    founded: Fleet, serve: Callable[[Fleet], Served]
) -> None:
    """After a crash, or half a change of settings: it is said, and nothing is lost."""
    _other_keys(founded)
    process, said = serve(founded)
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        assert http.request("GET", f"{said['url']}/poll/canary").status == 200
        ready = http.request("GET", f"{said['health_url']}/readyz")
        assert ready.status == 503
        assert [text.partition(",")[0] for text in ready.json()["wrong"]] == [
            f"Root 1 of the director repository names for {role} the key "
            f"{load_public_key(founded.ceremony / 'named.pub.json').key.keyid[:12]}"
            for role in ("snapshot", "timestamp")
        ]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert "nothing can be published: Root 1 of the director repository" in errors
    assert process.returncode == 0


def _self_signed(home: Path) -> str:
    """A certificate for loopback; returns the two settings that name it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (home / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (home / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return 'tls_certificate_file = "cert.pem"\ntls_key_file = "key.pem"'


def test_with_a_certificate_it_speaks_tls_and_its_health_stays_plain(
    founded: Fleet, serve: Callable[[Fleet], Served]
) -> None:
    tls = _self_signed(founded.home)
    founded.config.write_text(
        founded.config.read_text().replace("\n[storage]", f"\n{tls}\n[storage]")
    )
    process, said = serve(founded)
    assert said["url"].startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(founded.home / "cert.pem"))
    with urllib3.PoolManager(retries=False, timeout=30, ssl_context=context) as http:
        answer = http.request("GET", f"{said['url']}/poll/canary")
        assert (answer.status, answer.data) == (
            200,
            (founded.home / "store/poll/canary").read_bytes(),
        )
        assert http.request("GET", f"{said['health_url']}/readyz").status == 200
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0


def test_without_json_it_says_where_it_listens(founded: Fleet) -> None:
    process = start("serve", "--config", founded.config)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("interlock-server serves http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
