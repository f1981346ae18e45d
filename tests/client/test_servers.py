"""Everything on the network has an end, and no library's error gets through."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from interlock_client.download.part import Flow, opened
from interlock_client.download.ranges import Asked
from interlock_client.download.rate import Pace
from interlock_client.servers import HttpStatusError, Limits, Servers, connect
from interlock_core.errors import ConfigurationError, Exit, RefusedError, TransientError
from tests.client.bed import Bed
from tests.client.web import Handler, Web
from tests.client.world import World

NEW = b"release one " * 5000
SHORT = Limits(
    answer_seconds=0.4,
    image_seconds=0.4,
    image_bytes_per_second=10_000_000,
)
LONG = Limits(silence_seconds=60.0, answer_seconds=20.0, image_seconds=20.0)
"""A time after which only whoever waits for the end is too slow, however busy the machine is."""


@pytest.fixture
def servers(web: Web) -> Iterator[Servers]:
    made = connect((web.url,))
    yield made
    made.close()


@pytest.fixture
def hasty(web: Web) -> Iterator[Servers]:
    """Servers whose deadline is near."""
    made = connect((web.url,), limits=SHORT)
    yield made
    made.close()


def drip(web: Web, data: bytes) -> None:
    """Send ``data`` one byte now and then, until the test is over."""
    with_pause = web.over.wait

    def lie(handler: Handler) -> None:
        try:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                if with_pause(0.02):
                    return
        except OSError:
            return

    web.lies["/"] = lie


def stream(servers: Servers, path: str, length: int) -> Iterator[bytes]:
    """A whole image from the first server, as a download reads it."""
    server = servers.each[0]
    flow = Flow.beginning(server.limits.image_seconds, Pace(None))
    with opened(server, path, Asked(0, length, length), flow) as part:
        yield from part.chunks(length)


WAYS = [None, '"seen"']
"""Without a validator a pool of connections is asked; with one the standard library asks."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n"


@pytest.mark.parametrize("etag", WAYS)
@pytest.mark.parametrize("data", [HEAD + b"X-A: " + b"a" * 5000, HEAD + b"\r\n" + b"a" * 5000])
def test_a_drip_feed_ends(web: Web, hasty: Servers, data: bytes, etag: str | None) -> None:
    """Each byte comes in time; the whole does not."""
    drip(web, data)
    with pytest.raises(TransientError, match="too slow") as caught:
        hasty.each[0].get("/x", limit=100_000, etag=etag)
    assert caught.value.reason == "network"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", HEAD + b"\r\n"])
def test_an_image_that_drips_ends(web: Web, hasty: Servers, head: bytes) -> None:
    drip(web, head + b"a" * 60_000)
    with pytest.raises(TransientError, match="too slow"):
        list(stream(hasty, "/x", 60_000))


@pytest.mark.parametrize("etag", WAYS)
def test_a_connection_that_stays_silent_ends(web: Web, hasty: Servers, etag: str | None) -> None:
    def silent(_: Handler) -> None:
        web.over.wait()

    web.lies["/"] = silent
    with pytest.raises(TransientError, match="too slow"):
        hasty.each[0].get("/x", limit=10, etag=etag)


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"a" * 65536)
    except OSError:
        return


@pytest.mark.parametrize("etag", WAYS)
def test_an_endless_answer_is_read_up_to_its_limit(
    web: Web, servers: Servers, etag: str | None
) -> None:
    web.lies["/"] = endless
    with pytest.raises(RefusedError, match="longer than the 1000 bytes") as caught:
        servers.each[0].get("/x", limit=1000, etag=etag, too_long="inconsistent_metadata")
    assert caught.value.reason == "inconsistent_metadata"


@pytest.mark.parametrize("etag", WAYS)
@pytest.mark.parametrize("length", [b"-1", b"-ff"])
def test_a_chunk_of_negative_length_is_not_read_on_to_the_end(
    web: Web, length: bytes, etag: str | None
) -> None:
    """The peer keeps the connection open: who waited for the end would be cut off as too slow."""

    def lie(handler: Handler) -> None:
        backwards(length)(handler)
        web.over.wait()

    web.lies["/"] = lie
    servers = connect((web.url,), limits=LONG)
    try:
        with pytest.raises(TransientError) as caught:
            servers.each[0].get("/x", limit=1000, etag=etag)
        assert caught.value.reason == "network"
        assert "too slow" not in str(caught.value)
        with pytest.raises(TransientError) as caught:
            list(stream(servers, "/x", 1000))
        assert "too slow" not in str(caught.value)
    finally:
        servers.close()


def test_an_endless_image_is_read_up_to_its_signed_length(web: Web, servers: Servers) -> None:
    web.lies["/"] = endless
    assert sum(map(len, stream(servers, "/x", 70_000))) == 70_000


def test_another_length_is_refused_before_it_is_read(web: Web, servers: Servers) -> None:
    web.answer("/", b"12345")
    with pytest.raises(RefusedError, match="announced as 5 bytes") as caught:
        list(stream(servers, "/x", 6))
    assert caught.value.reason == "hash_mismatch"


def broken_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"a" * 10)
    handler.close_connection = True


def no_http(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    handler.close_connection = True


def bad_chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"zz\r\nabc\r\n")
    handler.close_connection = True


def backwards(length: bytes) -> Callable[[Handler], None]:
    """A chunk of negative length, for which Python would read on until the end."""

    def lie(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(length + b"\r\n" + b"a" * 5000)
        handler.close_connection = True

    return lie


def hangs_up(handler: Handler) -> None:
    handler.close_connection = True


@pytest.mark.parametrize("etag", WAYS)
@pytest.mark.parametrize(
    "lie", [broken_off, no_http, bad_chunks, backwards(b"-1"), backwards(b"-5"), hangs_up]
)
def test_what_the_network_breaks_is_transient(
    web: Web, servers: Servers, lie: Callable[[Handler], None], etag: str | None
) -> None:
    web.lies["/"] = lie
    with pytest.raises(TransientError) as caught:
        servers.each[0].get("/x", limit=10_000, etag=etag)
    assert caught.value.reason == "network"
    with pytest.raises(TransientError):
        list(stream(servers, "/x", 1000))
    web.lies.clear()
    web.answer("/", b"well again")
    assert servers.each[0].get("/x", limit=100, etag=etag).body == b"well again"


@pytest.mark.parametrize("etag", WAYS)
@pytest.mark.parametrize("status", [204, 206, 301, 304, 403, 404, 500, 503])
def test_nothing_but_200_is_an_answer(
    web: Web, servers: Servers, status: int, etag: str | None
) -> None:
    if (status, etag) == (304, '"seen"'):
        return  # that is an answer: tests/client/test_poll.py

    def lie(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    web.lies["/"] = lie
    with pytest.raises(HttpStatusError) as caught:
        servers.each[0].get("/x", limit=10, etag=etag)
    assert caught.value.status == status
    assert web.requests == ["/x"], "no redirect is followed"


@pytest.mark.parametrize("etag", WAYS)
def test_nothing_is_decompressed(web: Web, servers: Servers, etag: str | None) -> None:
    bomb = gzip.compress(b"\0" * 1_000_000)

    def lie(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        handler.wfile.write(bomb)

    web.lies["/"] = lie
    assert servers.each[0].get("/x", limit=10_000, etag=etag).body == bomb


def test_a_download_that_breaks_off_arms_nothing_and_runs_again(
    world: World, web: Web, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", NEW))

    def half(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(NEW)))
        handler.end_headers()
        handler.wfile.write(NEW[: len(NEW) // 2])
        handler.close_connection = True

    web.lies["/image/targets/ward-gateway/"] = half
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("network", Exit.TRANSIENT)
    assert bed.environment.load().armed is None
    assert bed.slot("b") == NEW[: len(NEW) // 2]
    assert bed.power_on() == "a"
    web.lies.clear()
    assert bed.install().outcome == "confirmed"


def test_a_slot_that_is_half_written_is_nothing_to_go_back_to(
    world: World, web: Web, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    assert bed.install().outcome == "confirmed"
    assert bed.environment.load().good == ("a", "b")
    world.roll_out(world.release("2.0.0", b"release two"))
    web.answer("/image/targets/ward-gateway/2.0.0/", b"release 2??")
    assert bed.update().reason == "hash_mismatch"
    assert bed.environment.load().good == ("b",)
    assert bed.rollback().reason == "nothing_good"


def test_the_next_server_has_the_image(tmp_path: Path, world: World, web: Web) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    with Web(world.store) as spoilt:
        spoilt.answer("/image/targets/ward-gateway/", NEW[:-1] + b"?")
        bed = Bed(tmp_path / "gateway", world, spoilt, web)
        bed.power_on()
        assert bed.install().outcome == "confirmed"


def test_downloads_keep_to_the_rate() -> None:
    now = 0.0
    paused: list[float] = []

    def pause(seconds: float) -> None:
        nonlocal now
        paused.append(seconds)
        now += seconds

    pace = Pace(1000, lambda: now, pause)
    for _ in range(4):
        pace.came(500)
    assert now == pytest.approx(2.0)
    assert len(paused) == 4
    Pace(None, lambda: now, pause).came(10**9)
    assert len(paused) == 4
    now += 60
    before = now
    for _ in range(4):
        pace.came(500)
    assert now - before > 1.0, "an outage is not made up for by a burst"


def test_a_rate_limit_does_not_run_into_the_deadline() -> None:
    """An image may take as long as the configured rate makes it take."""
    usual = connect(("https://gateway.invalid",)).each[0].limits
    slowed = connect(("https://gateway.invalid",), rate_limit=2048).each[0].limits
    assert slowed.image_bytes_per_second == 1024 < usual.image_bytes_per_second
    fast = connect(("https://gateway.invalid",), rate_limit=10**9).each[0].limits
    assert fast == usual


@pytest.mark.parametrize("etag", WAYS)
def test_a_proxy_is_asked_for_everything(web: Web, etag: str | None) -> None:
    web.answer("http://gateway.invalid/x", b"by proxy")
    servers = connect(("http://gateway.invalid",), proxy=web.url)
    try:
        assert servers.each[0].get("/x", limit=100, etag=etag).body == b"by proxy"
    finally:
        servers.close()


@pytest.mark.parametrize("etag", WAYS)
def test_a_proxy_is_told_who_asks(web: Web, etag: str | None) -> None:
    told: list[str | None] = []

    def look(handler: Handler) -> None:
        told.append(handler.headers["Proxy-Authorization"])
        handler.say(200, b"by proxy")

    web.lies["http://gateway.invalid/x"] = look
    proxy = web.url.replace("http://", "http://ward:4%3A2%E2%82%AC@")
    servers = connect(("http://gateway.invalid",), proxy=proxy)
    try:
        assert servers.each[0].get("/x", limit=100, etag=etag).body == b"by proxy"
    finally:
        servers.close()
    assert told == ["Basic " + base64.b64encode("ward:4:2€".encode()).decode()]


@pytest.mark.parametrize("etag", WAYS)
def test_tls_is_verified(tmp_path: Path, world: World, etag: str | None) -> None:
    certificate = self_signed(tmp_path)
    world.store.put_new("x", b"over TLS")
    with Web(world.store, certificate=certificate) as web:
        for ca_file, trusted in ((None, False), (certificate, True)):
            servers = connect((web.url,), ca_file=ca_file)
            try:
                if trusted:
                    assert servers.each[0].get("/x", limit=100, etag=etag).body == b"over TLS"
                else:
                    with pytest.raises(TransientError) as caught:
                        servers.each[0].get("/x", limit=100, etag=etag)
                    assert caught.value.reason == "network"
            finally:
                servers.close()


def self_signed(directory: Path) -> Path:
    """A certificate for loopback and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
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
    path = directory / "loopback.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def test_a_ca_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="CA file"):
        connect(("https://gateway.invalid",), ca_file=tmp_path / "none.pem")


def test_a_ca_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate\n")
    with pytest.raises(ConfigurationError, match=r"none\.pem holds no certificates"):
        connect(("https://gateway.invalid",), ca_file=tmp_path / "none.pem")
