"""A certificate that the gateway shows, with its key in a file and in a real token."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from interlock_client import client_certificate, config, tunnel
from interlock_client.config import ClientCertificate
from interlock_client.servers import Limits, Servers, connect
from interlock_core import durable
from interlock_core.errors import (
    ConfigurationError,
    Exit,
    InterlockError,
    NotFoundError,
    SecretError,
    TransientError,
)
from tests.client.bed import Bed
from tests.client.web import Handler, Web
from tests.client.world import World
from tests.support import tokens
from tests.support.certificates import Authority, Pair
from tests.support.proxies import Proxy
from tests.support.tokens import PIN, Shelf

WAYS: Final = [None, '"seen"']
"""Without a validator a pool of connections is asked; with one the question's own connection."""
PASSPHRASE: Final = "correct horse"
URI: Final = "pkcs11:token=gateway;object=tls;type=private"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def site(tmp_path: Path, world: World, authority: Authority) -> Iterator[Web]:
    """A server that lets nobody in without a certificate of the authority."""
    world.store.put_new("x", b"for those inside")
    server = authority.issue("server")
    with Web(world.store, certificate=server.both, clients=authority.file) as web:
        yield web


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = tokens.use(tokens.shelf_at(tmp_path / "hsm"), monkeypatch)
    made.add("gateway")
    return made


def in_file(pair: Pair, **more: Any) -> ClientCertificate:
    return ClientCertificate(certificate=pair.certificate, key=pair.key, **more)


def in_token(shelf: Shelf, pair: Pair, *, pin: str = PIN, **more: Any) -> ClientCertificate:
    """The key goes into the token, and its file goes."""
    words = ["--import", str(pair.key), "--token", "gateway", "--label", "tls", "--id", "01"]
    subprocess.run(
        ["softhsm2-util", *words, "--pin", PIN],
        env=os.environ | shelf.environment,
        check=True,
        capture_output=True,
    )
    pair.key.unlink()
    pin_file = secret(shelf.home / "pin", pin)
    settings: dict[str, Any] = {"module": tokens.library(), "uri": URI, "pin_file": pin_file} | more
    return ClientCertificate(certificate=pair.certificate, **settings)


def secret(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


@contextmanager
def calling(
    web: Web, authority: Authority, shown: ClientCertificate | None, **more: Any
) -> Iterator[Servers]:
    made = connect(
        (web.url,),
        ca_file=authority.file,
        client_certificate=shown,
        wrong_pin=authority.file.parent / "wrong-pin",
        **more,
    )
    try:
        yield made
    finally:
        made.close()


def get(servers: Servers, etag: str | None) -> bytes:
    return servers.each[0].get("/x", limit=100, etag=etag).body


def refused(servers: Servers, etag: str | None) -> str:
    with pytest.raises(TransientError) as caught:
        get(servers, etag)
    assert caught.value.reason == "network"
    return str(caught.value)


Shows = Callable[[Pair], ClientCertificate]


@pytest.fixture(params=["file", "token"])
def shows(request: pytest.FixtureRequest) -> Shows:
    """Each way to keep a key."""
    if request.param == "token":
        shelf: Shelf = request.getfixturevalue("shelf")
        return lambda pair: in_token(shelf, pair)
    return in_file


def encrypted(pair: Pair) -> Pair:
    words = ["openssl", "pkcs8", "-topk8", "-in", str(pair.key)]
    words += ["-out", str(pair.key.with_suffix(".enc"))]
    subprocess.run([*words, "-passout", f"pass:{PASSPHRASE}"], check=True)
    pair.key.with_suffix(".enc").chmod(0o600)
    return Pair(pair.certificate, pair.key.with_suffix(".enc"))


@pytest.mark.parametrize("etag", WAYS)
class TestWhoIsLetIn:
    def test_the_gateway_shows_its_certificate(
        self, site: Web, authority: Authority, shows: Shows, etag: str | None
    ) -> None:
        shown = shows(authority.issue("GW-000001"))
        with calling(site, authority, shown) as servers:
            assert get(servers, etag) == b"for those inside"
            assert get(servers, etag) == b"for those inside"
        assert set(site.callers) == {"GW-000001"}

    def test_its_key_may_be_encrypted(
        self, tmp_path: Path, site: Web, authority: Authority, etag: str | None
    ) -> None:
        words = secret(tmp_path / "words", PASSPHRASE)
        shown = in_file(encrypted(authority.issue("GW-000001")), passphrase_file=words)
        with calling(site, authority, shown) as servers:
            assert get(servers, etag) == b"for those inside"
        assert site.callers == ["GW-000001"]

    def test_nobody_without_one(self, site: Web, authority: Authority, etag: str | None) -> None:
        with calling(site, authority, None) as servers, pytest.raises(TransientError) as caught:
            get(servers, etag)
        assert caught.value.reason == "network"
        assert site.requests == []

    def test_nobody_with_one_of_another_authority(
        self, tmp_path: Path, site: Web, authority: Authority, shows: Shows, etag: str | None
    ) -> None:
        shown = shows(Authority(tmp_path, "stranger").issue("GW-000001"))
        with calling(site, authority, shown) as servers:
            refused(servers, etag)
        assert site.requests == []

    def test_an_expired_one_is_tried_and_said_plainly(
        self, site: Web, authority: Authority, shows: Shows, etag: str | None
    ) -> None:
        shown = shows(authority.issue("GW-000001", days=-3))
        with calling(site, authority, shown) as servers:
            assert f"renew {shown.certificate}" in refused(servers, etag)
        assert site.requests == []

    def test_a_server_that_is_not_trusted_is_told_nothing(
        self, tmp_path: Path, site: Web, authority: Authority, shows: Shows, etag: str | None
    ) -> None:
        shown = shows(authority.issue("GW-000001"))
        with calling(site, Authority(tmp_path, "stranger"), shown) as servers:
            assert "certificate is not trusted" in refused(servers, etag)
        assert site.requests == []

    def test_a_certificate_for_another_name_is_not_the_servers(
        self, world: World, authority: Authority, shows: Shows, etag: str | None
    ) -> None:
        with Web(
            world.store, certificate=authority.issue("elsewhere", host="127.0.0.2").both
        ) as web:
            shown = shows(authority.issue("GW-000001"))
            with calling(web, authority, shown) as servers:
                assert "certificate is not trusted" in refused(servers, etag)
            assert web.requests == []

    @pytest.mark.parametrize("name", ["localhost", "elsewhere.example"])
    def test_a_server_that_is_called_by_its_name(
        self, world: World, authority: Authority, shows: Shows, etag: str | None, name: str
    ) -> None:
        world.store.put_new("x", b"for those inside")
        server = authority.issue("named", host=name)
        with Web(world.store, certificate=server.both, clients=authority.file) as web:
            web.url = web.url.replace("127.0.0.1", "localhost")
            with calling(web, authority, shows(authority.issue("GW-000001"))) as servers:
                if name == "localhost":
                    assert get(servers, etag) == b"for those inside"
                else:
                    assert "certificate is not trusted" in refused(servers, etag)

    def test_by_a_proxy(
        self, site: Web, authority: Authority, shows: Shows, etag: str | None
    ) -> None:
        shown = shows(authority.issue("GW-000001"))
        with Proxy() as proxy, calling(site, authority, shown, proxy=proxy.url) as servers:
            assert get(servers, etag) == b"for those inside"
            there = site.url.removeprefix("https://")
            assert {line.rpartition(" ")[0] for line in proxy.asked} == {f"CONNECT {there}"}
        assert site.callers == ["GW-000001"]

    def test_a_renewed_one_counts_from_the_next_round(
        self, site: Web, authority: Authority, etag: str | None
    ) -> None:
        shown = in_file(authority.issue("GW-000001", days=-1))
        with calling(site, authority, shown) as servers:
            refused(servers, etag)
        authority.issue("GW-000001")
        with calling(site, authority, shown) as servers:
            assert get(servers, etag) == b"for those inside"


class TestWhatIsWrongIsNamed:
    @pytest.mark.parametrize(
        ("harm", "kind", "words"),
        [
            ("mismatch", ConfigurationError, "does not belong to the key"),
            ("no key", ConfigurationError, "holds no private key"),
            ("no certificate", ConfigurationError, "holds no certificate"),
            ("key gone", NotFoundError, "no client key"),
            ("certificate gone", NotFoundError, "no client certificate"),
            ("open key", ConfigurationError, "chmod 600"),
            ("no passphrase", SecretError, "client_certificate.passphrase_file"),
            ("wrong passphrase", SecretError, "does not open the client key"),
        ],
    )
    def test_before_anything_is_sent(
        self,
        tmp_path: Path,
        authority: Authority,
        harm: str,
        kind: type[InterlockError],
        words: str,
    ) -> None:
        pair, more = authority.issue("GW-000001"), {}
        match harm:
            case "mismatch":
                pair = Pair(pair.certificate, authority.issue("other").key)
            case "no key":
                pair.key.write_text("no key\n")
            case "no certificate":
                pair.certificate.write_text("no certificate\n")
            case "key gone":
                pair.key.unlink()
            case "certificate gone":
                pair.certificate.unlink()
            case "open key":
                pair.key.chmod(0o640)
            case "no passphrase":
                pair = encrypted(pair)
            case _:
                pair = encrypted(pair)
                more["passphrase_file"] = secret(tmp_path / "words", "another")
        with pytest.raises(kind, match=words):
            connect(("https://gateway.invalid",), client_certificate=in_file(pair, **more))

    def test_a_server_that_answers_400_may_mean_it(
        self, world: World, authority: Authority
    ) -> None:
        """As nginx does where a certificate is missing or not trusted."""
        with Web(world.store, certificate=authority.issue("server").both) as web:
            web.answer("/x", b"400 The SSL certificate error", 400)
            for days, words in ((9, "refused the client certificate."), (-9, "which expired at")):
                shown = in_file(authority.issue("GW-000001", days=days))
                with calling(web, authority, shown) as servers:
                    assert words in refused(servers, None)
            with calling(web, authority, None) as servers:
                assert "client certificate" not in refused(servers, None)

    def test_a_key_in_a_token_that_is_another(
        self, site: Web, authority: Authority, shelf: Shelf
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        other = authority.issue("other")
        shown = ClientCertificate(
            certificate=other.certificate,
            module=shown.module,
            uri=shown.uri,
            pin_file=shown.pin_file,
        )
        with (
            calling(site, authority, shown) as servers,
            pytest.raises(ConfigurationError, match="does not belong"),
        ):
            get(servers, None)

    def test_a_token_that_is_not_there(self, site: Web, authority: Authority, shelf: Shelf) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        shelf.take_out()
        with calling(site, authority, shown) as servers:
            with pytest.raises(TransientError, match="plugged in") as caught:
                get(servers, None)
            assert caught.value.reason == "no_token"
            shelf.put_back()
            assert get(servers, None) == b"for those inside"

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"module": Path("/nowhere/libp11.so")}, "no PKCS#11 library"),
            ({"module": Path("/etc/hostname")}, "cannot use the key"),
        ],
    )
    def test_a_library_that_is_none(
        self, site: Web, authority: Authority, shelf: Shelf, more: dict[str, Any], words: str
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"), **more)
        with (
            pytest.raises(ConfigurationError, match=words),
            calling(site, authority, shown) as servers,
        ):
            get(servers, None)

    def test_stunnel_is_missing(
        self, authority: Authority, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(ConfigurationError, match="stunnel4"):
            connect(("https://gateway.invalid",), client_certificate=shown)

    def test_a_proxy_that_stunnel_cannot_ask(self, authority: Authority, shelf: Shelf) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        with pytest.raises(ConfigurationError, match="http://"):
            connect(
                ("https://gateway.invalid",), client_certificate=shown, proxy="https://proxy:3128"
            )


def spy() -> Path:
    """A PKCS#11 library that writes down every call, and hands it on."""
    (found,) = Path("/usr/lib").glob("*-linux-gnu*/pkcs11-spy.so")
    return found


class TestAWrongPin:
    """A token locks after a few: one that was refused is shown to it once and no more."""

    @pytest.fixture
    def logins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shelf: Shelf
    ) -> Callable[[], int]:
        """How often somebody logged in to the token."""
        log = tmp_path / "spied"
        monkeypatch.setenv("PKCS11SPY", str(tokens.library()))
        monkeypatch.setenv("PKCS11SPY_OUTPUT", str(log))
        return lambda: log.read_text(errors="replace").count("C_Login") if log.exists() else 0

    def test_is_tried_once_whatever_asks(
        self,
        site: Web,
        authority: Authority,
        shelf: Shelf,
        logins: Callable[[], int],
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"), pin="000000", module=spy())
        for etag in (*WAYS, *WAYS):
            with calling(site, authority, shown) as servers:
                for _ in range(2):
                    with pytest.raises(SecretError, match="does not lock") as caught:
                        get(servers, etag)
                    assert caught.value.reason == "wrong_pin"
        assert logins() == 1
        assert "000000" not in (authority.file.parent / "wrong-pin").read_bytes().decode("latin-1")
        secret(shelf.home / "pin", "111111")
        with calling(site, authority, shown) as servers, pytest.raises(SecretError):
            get(servers, None)
        assert logins() == 2
        secret(shelf.home / "pin", PIN)
        with calling(site, authority, shown) as servers:
            assert get(servers, None) == b"for those inside"
        assert logins() == 3
        assert site.callers == ["GW-000001"]

    def test_is_tried_once_by_a_process_whose_disk_takes_no_record(
        self,
        site: Web,
        authority: Authority,
        shelf: Shelf,
        logins: Callable[[], int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def full(*_: object) -> None:
            raise TransientError("the disk is full", reason="disk")

        monkeypatch.setattr(durable, "replace", full)
        shown = in_token(shelf, authority.issue("GW-000001"), pin="000000", module=spy())
        for etag in WAYS:
            with calling(site, authority, shown) as servers, pytest.raises(SecretError):
                get(servers, etag)
        assert logins() == 1

    def test_a_damaged_record_asks_nobody(
        self, site: Web, authority: Authority, shelf: Shelf
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        record = authority.file.parent / "wrong-pin"
        record.write_bytes(b"")
        with calling(site, authority, shown) as servers:
            with pytest.raises(SecretError, match=f"remove {record}"):
                get(servers, None)
            record.unlink()
            assert get(servers, None) == b"for those inside"

    @pytest.mark.parametrize("pin", ["", " 471108", "47\t1108", "4711é8"])
    def test_what_cannot_be_one_is_not_shown(
        self, site: Web, authority: Authority, shelf: Shelf, pin: str
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"), pin=pin)
        with calling(site, authority, shown) as servers, pytest.raises(SecretError):
            get(servers, None)
        assert site.callers == []


class TestTheProcessThatSpeaksTls:
    """One for each connection, and for nobody else."""

    def test_it_listens_nowhere_shows_no_pin_and_ends_with_its_connection(
        self, site: Web, authority: Authority, shelf: Shelf
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        with calling(site, authority, shown) as servers:
            assert get(servers, None) == b"for those inside"
            (found,) = started()
            words = (found / "cmdline").read_bytes() + (found / "environ").read_bytes()
            assert PIN.encode() not in words
            sockets = {str(link.readlink()) for link in (found / "fd").iterdir()}
            assert not sockets & listening()
        assert started() == []

    def test_what_it_says_of_its_configuration_is_not_passed_on(
        self, site: Web, authority: Authority, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An engine that cannot be told a PIN makes stunnel print the line with it."""
        fake = shelf.home / "stunnel-that-complains"
        fake.write_text(
            "#!/bin/sh\n"
            "echo '[!] ENGINE_ctrl_cmd_string: engine routines::invalid cmd name' >&2\n"
            f"""echo '[!] 3:6: "engineCtrl = PIN:{PIN}": Failed to execute it' >&2\n"""
        )
        fake.chmod(0o755)
        monkeypatch.setattr(tunnel, "PROGRAM", str(fake))
        shown = in_token(shelf, authority.issue("GW-000001"))
        with (
            calling(site, authority, shown) as servers,
            pytest.raises(ConfigurationError) as caught,
        ):
            get(servers, None)
        assert PIN not in str(caught.value)
        assert '"engineCtrl": Failed to execute it' in str(caught.value)

    @pytest.mark.parametrize("etag", WAYS)
    def test_a_server_that_stays_silent_is_cut_off_and_leaves_no_process(
        self, site: Web, authority: Authority, shelf: Shelf, etag: str | None
    ) -> None:
        def silent(_: Handler) -> None:
            site.over.wait()

        site.lies["/x"] = silent
        shown = in_token(shelf, authority.issue("GW-000001"))
        limits = Limits(answer_seconds=0.4)
        with calling(site, authority, shown, limits=limits) as servers:
            assert "too slow" in refused(servers, etag)
        assert started() == []


def started() -> list[Path]:
    """The processes of stunnel that this one started and that run, below /proc."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    places = [Path("/proc", child) for child in children]
    return [place for place in places if (place / "comm").read_text().startswith("stunnel")]


def listening() -> set[str]:
    """Every socket of the machine that listens, as links in /proc name it."""
    found = set()
    # Where the state stands, what it is, and where the inode stands; 0x10000 is SO_ACCEPTCON.
    for name, column, listens, inode in (
        ("tcp", 3, "0A", 9),
        ("tcp6", 3, "0A", 9),
        ("unix", 3, "00010000", 6),
    ):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[column] == listens:
                found.add(f"socket:[{cells[inode]}]")
    return found


class TestTheGateway:
    def bed(
        self, tmp_path: Path, world: World, site: Web, authority: Authority, **more: Any
    ) -> Bed:
        bed = Bed(tmp_path / "gateway", world, site, ca_file=authority.file, **more)
        bed.power_on()
        return bed

    def test_updates_through_a_token(
        self, tmp_path: Path, world: World, site: Web, authority: Authority, shelf: Shelf
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"))
        bed = self.bed(tmp_path, world, site, authority, client_certificate=shown)
        world.roll_out(world.release("1.0.0", b"release one " * 5000))
        assert bed.install().outcome == "confirmed"
        assert set(site.callers) == {"GW-000001"}

    def test_a_wrong_pin_is_a_configuration_to_mend(
        self, tmp_path: Path, world: World, site: Web, authority: Authority, shelf: Shelf
    ) -> None:
        shown = in_token(shelf, authority.issue("GW-000001"), pin="000000")
        bed = self.bed(tmp_path, world, site, authority, client_certificate=shown)
        outcome = bed.check()
        assert (outcome.reason, outcome.exit_code) == ("wrong_pin", Exit.USAGE)
        assert bed.status()["client_certificate"]["pin_refused"] is True

    def test_status_says_how_long_it_lasts(
        self, tmp_path: Path, world: World, site: Web, authority: Authority
    ) -> None:
        world.clock.now = datetime.now(UTC)
        shown = in_file(authority.issue("GW-000001", days=40.5))
        bed = self.bed(tmp_path, world, site, authority, client_certificate=shown)
        told = bed.status()["client_certificate"]
        assert (told["subject"], told["key"], told["days_left"]) == ("CN=GW-000001", "file", 40)
        assert told["trouble"] is None
        assert "certificate" not in bed.status()["why"]
        world.clock.pass_(days=20)
        assert bed.status()["client_certificate"]["days_left"] == 20
        assert "its client certificate expires in 20 days: renew it" in bed.status()["why"]
        world.clock.pass_(days=21)
        assert bed.status()["client_certificate"]["days_left"] == -1
        assert "its client certificate expired at" in bed.status()["why"]
        shown.certificate.unlink()
        assert "no client certificate" in bed.status()["client_certificate"]["trouble"]
        bed.change(client_certificate=None)
        assert bed.status()["client_certificate"] is None

    def test_it_is_said_from_thirty_days_before_on(self) -> None:
        ends = datetime(2026, 3, 1, tzinfo=UTC)
        known = client_certificate.Validity("CN=x", ends - timedelta(days=90), ends)
        assert known.warning(ends - timedelta(days=30)) is None
        assert known.warning(ends - timedelta(days=29, hours=1)) is not None


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('certificate = "c.pem"', "either `key`, or `module` and `uri`"),
        ('certificate = "c.pem"\nmodule = "m.so"', "either"),
        ('certificate = "c.pem"\nkey = "k"\nmodule = "m.so"\nuri = "pkcs11:id=1"', "either"),
        ('certificate = "c.pem"\nkey = "k"\nuri = "pkcs11:id=1"', "either"),
        ('certificate = "c.pem"\nkey = "k"\npin_file = "p"', "no `pin_file`"),
        (
            'certificate = "c.pem"\nmodule = "m.so"\nuri = "pkcs11:id=1"\npassphrase_file = "p"',
            "no `passphrase_file`",
        ),
        ('certificate = "c.pem"\nmodule = "m"\nuri = "pkcs11:id=1?pin-value=1"', "no PIN"),
        ('certificate = "c.pem"\nmodule = "m"\nuri = "pkcs11:token=x"', "name the key"),
        ('certificate = "c.pem"\nmodule = "m"\nuri = "hsm:2"', "uri"),
        ('certificate = "c.pem"\nmodule = "m"\nuri = "pkcs11:id=1 \\ndebug = 7"', "uri"),
        ('key = "k"', "certificate"),
    ],
)
def test_a_table_that_is_wrong_is_named(bed: Bed, table: str, words: str) -> None:
    path = bed.write_config()
    path.write_text(f"{path.read_text()}\n[client_certificate]\n{table}\n")
    with pytest.raises(ConfigurationError, match=words):
        config.load(path)
