"""nginx and systemd files: they agree with the server, and do what they say where they can run."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from infra.ports import free_port
from interlock_core.clock import system_clock
from interlock_core.store import FileStore
from interlock_server.cli import COMMANDS
from interlock_server.config import CREDENTIAL
from interlock_server.image import target_key
from tests.server.conftest import Site
from tests.server.test_read_path import IMMUTABLE
from tests.server.world import V1, sha256

INFRA = Path(__file__).parents[2] / "infra"
NGINX = (INFRA / "nginx/interlock.conf").read_text()
UNITS = sorted((INFRA / "systemd").glob("interlock-server*"))
LOCATIONS = [re.compile(found) for found in re.findall(r'location ~ "([^"]+)"', NGINX)]


def locations_of(path: str) -> int:
    return sum(1 for location in LOCATIONS if location.search(path))


def test_nginx_knows_every_key_of_a_store_by_one_location(site: Site) -> None:
    keys = FileStore(site.fleet.home / "store").list("")
    assert {locations_of(f"/{key}") for key in keys} == {1}


@pytest.mark.parametrize(
    "path",
    [
        "/poll/",
        "/image/metadata/.interlock-0000000000000000.partial",
        "/image/metadata/01.root.json",
        "/server.sqlite3",
        "/image/targets/gateway/1.0.0/image.img",
        "/director/canary/targets/directive.json",
        "/image/metadata/timestamp.json.bak",
    ],
)
def test_nginx_serves_no_other_name(path: str) -> None:
    assert locations_of(path) == 0


def test_units_call_commands_that_exist_with_the_credential_that_is_read() -> None:
    assert [unit.name for unit in UNITS] == [
        "interlock-server-refresh.service",
        "interlock-server-refresh.timer",
        "interlock-server.service",
    ]
    called = []
    for unit in UNITS:
        text = unit.read_text()
        called += re.findall(
            r"^ExecStart=/\S+/interlock-server (\S+) --config ", text, re.MULTILINE
        )
        if unit.suffix == ".service":
            assert f"LoadCredentialEncrypted={CREDENTIAL}" in text
            assert "NoNewPrivileges=yes" in text
    assert sorted(called) == ["refresh", "serve"]
    assert set(called) <= set(COMMANDS)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        # The program lies where the machine's owner put it.
        text = unit.read_text().replace("/opt/interlock/bin/interlock-server", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "interlock" in line]
    assert complaints == []


@pytest.fixture
def nginx(site: Site, tmp_path: Path) -> Iterator[str]:
    """A real nginx with our file, on loopback without TLS, before the session's server."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    text = re.sub(r"(?m)^\s*(?:listen \[::\]|ssl_).*$", "", NGINX)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = text.replace("127.0.0.1:8080", urlsplit(site.url).netloc)
    text = text.replace("/var/lib/interlock-server/store", str(site.fleet.home / "store"))
    (tmp_path / "site.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        "daemon off; master_process off; pid nginx.pid; error_log stderr notice;\n"
        "events { worker_connections 64; }\n"
        "http { access_log off; client_body_temp_path body; proxy_temp_path proxy;\n"
        "fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; include site.conf; }\n"
    )
    process = subprocess.Popen(
        [program, "-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        # It says which events it uses after it has bound its port.
        said = []
        for line in process.stderr:
            said.append(line)
            if "using the" in line:
                break
        assert process.poll() is None, "".join(said)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGQUIT)
        process.communicate(timeout=30)


def test_nginx_serves_the_same_bytes_under_the_same_rules(nginx: str, site: Site) -> None:
    store = FileStore(site.fleet.home / "store")
    with urllib3.PoolManager(retries=False, timeout=30) as http:

        def get(path: str, **headers: str) -> urllib3.BaseHTTPResponse:
            return http.request("GET", f"{nginx}{path}", headers=headers, decode_content=False)

        for key in store.list(""):
            ours, theirs = site.get(f"/{key}"), get(f"/{key}")
            assert (theirs.status, theirs.data) == (200, store.get(key)), key
            same = ("Cache-Control", "Content-Type", "X-Content-Type-Options")
            for name in same:
                assert theirs.headers.getlist(name) == ours.headers.getlist(name), (key, name)
            etag = theirs.headers["ETag"]
            assert not etag.startswith("W/")
            again = get(f"/{key}", **{"If-None-Match": etag})
            assert (again.status, again.data) == (304, b""), key
        image = f"/{target_key(V1.path, sha256(V1.content))}"
        part = get(image, Range="bytes=10-19")
        assert (part.status, part.data) == (206, V1.content[10:20])
        assert part.headers["Cache-Control"] == IMMUTABLE
        for path in ("/image/metadata/2.root.json", "/server.sqlite3", "/", "/image/"):
            absent = get(path)
            assert (absent.status, absent.headers["Cache-Control"]) == (404, "no-store")
        assert http.request("POST", f"{nginx}/image/metadata/1.root.json").status == 403
        packed = get("/poll/canary", **{"Accept-Encoding": "gzip"})
        assert packed.headers["ETag"].endswith('-gzip"')
        assert get("/v1/info").json()["fleet"] == "north"


def test_a_head_that_changes_has_another_validator_at_nginx(nginx: str, site: Site) -> None:
    key = "image/metadata/timestamp.json"
    store = FileStore(site.fleet.home / "store", system_clock)
    data = store.get(key)
    other = data.replace(b'"signatures"', b'"signature_"')
    assert len(other) == len(data)
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        tags = []
        try:
            for content in (data, other, data, other):
                store.replace(key, content)
                answer = http.request("GET", f"{nginx}/{key}")
                assert answer.data == content
                tags.append(answer.headers["ETag"])
        finally:
            store.replace(key, data)
    # The first content may stand already, and then keeps its validator.
    assert len(set(tags)) == len(tags)
