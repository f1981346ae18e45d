"""The read path over real HTTP: the Store's bytes, validators, ranges, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface
from werkzeug.test import Client
from werkzeug.wrappers import Response

from interlock_core.bundle import read_bundle
from interlock_core.clock import system_clock
from interlock_core.log import CHECKPOINT_KEY, TAIL_KEY
from interlock_core.names import DIRECTIVE_PATH
from interlock_core.store import FileStore
from interlock_server.image import target_key
from interlock_server.web.read_path import ReadPath
from tests.server.conftest import Site
from tests.server.world import BASE, COHORTS, V1, Bench, Reader, sha256
from tests.support.papers import authorise, order
from tests.support.people import CANARY

IMMUTABLE = "public, max-age=31536000, immutable"
POLL = f"/poll/{CANARY}"


@pytest.fixture
def store(site: Site) -> FileStore:
    return FileStore(site.fleet.home / "store")


@pytest.fixture
def image(site: Site) -> str:
    """The URL path of the image's target."""
    return f"/{target_key(V1.path, sha256(V1.content))}"


def test_every_object_is_served_byte_for_byte(site: Site, store: FileStore) -> None:
    keys = store.list("")
    assert len(keys) > 20
    for key in keys:
        data = store.get(key)
        answer = site.get(f"/{key}")
        assert (answer.status, answer.data) == (200, data), key
        assert answer.headers["Content-Length"] == str(len(data))
        # A strong validator: the digest of the bytes.
        assert answer.headers["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        head = key.endswith("timestamp.json") or key.startswith("poll/")
        head = head or key in {CHECKPOINT_KEY, TAIL_KEY}
        assert answer.headers["Cache-Control"] == ("no-cache" if head else IMMUTABLE)
        asked = site.get(f"/{key}", method="HEAD")
        assert (asked.status, asked.data) == (200, b"")
        same = ("Content-Length", "ETag", "Cache-Control", "Content-Type")
        assert [asked.headers[name] for name in same] == [answer.headers[name] for name in same]


def test_what_did_not_change_costs_no_body(site: Site, image: str) -> None:
    for path in (POLL, "/image/metadata/timestamp.json", "/image/metadata/1.root.json", image):
        etag = site.get(path).headers["ETag"]
        for held in (etag, f"W/{etag}", f'"other", {etag}', f' W/"x" , W/{etag}', "*"):
            answer = site.get(path, {"If-None-Match": held})
            assert (answer.status, answer.data) == (304, b""), held
            assert answer.headers["ETag"] == etag
            assert answer.headers["Cache-Control"]
        for held in ('"other"', etag.strip('"')[:10], 'W/"x", "y"', ""):
            assert site.get(path, {"If-None-Match": held}).status == 200, held


def test_the_poll_bundle_compressed_is_another_representation(site: Site) -> None:
    plain = site.get(POLL)
    assert plain.headers["Vary"] == "Accept-Encoding"
    packed = site.get(POLL, {"Accept-Encoding": "br;q=1.0, gzip;q=0.8"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.headers["ETag"] == plain.headers["ETag"][:-1] + '-gzip"'
    assert packed.headers["Vary"] == "Accept-Encoding"
    # Both workers pack alike, or the validator would lie.
    assert {site.get(POLL, {"Accept-Encoding": "gzip"}).data for _ in range(20)} == {packed.data}
    held = {"Accept-Encoding": "gzip", "If-None-Match": packed.headers["ETag"]}
    again = site.get(POLL, held)
    assert (again.status, again.data, again.headers["Vary"]) == (304, b"", "Accept-Encoding")
    assert "Content-Encoding" not in again.headers
    held["If-None-Match"] = plain.headers["ETag"]
    assert site.get(POLL, held).status == 200
    for refused in ("gzip;q=0", "identity", "deflate"):
        assert "Content-Encoding" not in site.get(POLL, {"Accept-Encoding": refused}).headers
    head = site.get(POLL, {"Accept-Encoding": "gzip"}, "HEAD")
    assert (head.headers["Content-Length"], head.data) == (str(len(packed.data)), b"")


def test_only_the_bundle_is_compressed(site: Site, image: str) -> None:
    for path in ("/image/metadata/timestamp.json", image):
        assert "Content-Encoding" not in site.get(path, {"Accept-Encoding": "gzip"}).headers


def test_a_target_can_be_had_in_parts(site: Site, image: str) -> None:
    size = len(V1.content)
    etag = site.get(image).headers["ETag"]
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        (f"bytes={size - 5}-", size - 5, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=10-{size * 2}", 10, size),
    ):
        part = site.get(image, {"Range": asked})
        assert (part.status, part.data) == (206, V1.content[start:end]), asked
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["ETag"] == etag
        assert part.headers["Cache-Control"] == IMMUTABLE
    whole = site.get(image, {"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (whole.status, whole.data) == (200, V1.content)
    resumed = site.get(image, {"Range": "bytes=10-", "If-Range": etag})
    assert (resumed.status, resumed.data) == (206, V1.content[10:])
    beyond = site.get(image, {"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert beyond.json()["reason"] == "range_not_satisfiable"
    assert site.get(image).headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    "path",
    [
        "/image/metadata/2.root.json",
        "/image/metadata/99.snapshot.json",
        "/director/ward-9/metadata/timestamp.json",
        "/poll/ward-9",
        "/poll/",
        "/image/",
        "/image/metadata",
        "/image/metadata/",
        "/image/targets/gateway",
        "/poll/canary/",
        "//poll/canary",
        "/image/../poll/canary",
        "/image/metadata/..%2f..%2f..%2fserver.sqlite3",
        "/image/metadata/%2e%2e/timestamp.json",
        "/image/targets/gateway/1.0.0/../../../metadata/timestamp.json",
        "/image/metadata/timestamp.json%00",
        "/image/metadata/timestamp.json%0a",
        "/image/metadata/.interlock-0000000000000000.partial",
        "/image/metadata/01.root.json",
        "/server.sqlite3",
        "/poll/canary%ff",
        "/image/targets/gateway/1..0/" + "0" * 64 + ".image.img",
        "/director/canary/targets/" + "0" * 64 + ".directive.json",
    ],
)
def test_nothing_else_is_served_and_no_cache_keeps_that(site: Site, path: str) -> None:
    target = urlsplit(site.url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 0, timeout=30)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 404
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/problem+json"
    answer.read()
    connection.close()


def test_only_get_and_head(site: Site) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = site.get(POLL, method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


class _Http(FetcherInterface):
    def __init__(self, site: Site) -> None:
        self.site = site

    def _fetch(self, url: str) -> Iterator[bytes]:
        answer = self.site.get(url.removeprefix(BASE.rstrip("/")))
        if answer.status != 200:
            raise exceptions.DownloadHTTPError("refused", answer.status)
        yield answer.data


def test_an_unmodified_tuf_client_reads_both_repositories(site: Site, tmp_path: Path) -> None:
    reader, now = Reader(site.fleet, tmp_path), system_clock()
    image = reader.updater(_Http(site), "image", now)
    info = image.get_targetinfo(V1.path)
    assert info is not None
    assert Path(image.download_target(info)).read_bytes() == V1.content
    for cohort in COHORTS:
        director = reader.updater(_Http(site), f"director/{cohort}", now)
        listed = director.get_targetinfo(DIRECTIVE_PATH)
        assert listed is not None
        assert Path(director.download_target(listed)).stat().st_size == listed.length


def test_the_bundle_holds_what_its_urls_serve(site: Site) -> None:
    for cohort in COHORTS:
        bundle = read_bundle(site.get(f"/poll/{cohort}").data)
        assert (bundle.cohort, bundle.roots.image, bundle.roots.director) == (cohort, 1, 1)
        assert {path: site.get(path).data.decode() for path in bundle.files} == bundle.files
        names = [path.rpartition("/")[2].partition(".")[2] for path in bundle.files]
        assert sorted(names) == [
            "directive.json",
            "json",
            "json",
            "snapshot.json",
            "snapshot.json",
            "targets.json",
        ]


# In this process: what a change does to a validator


def test_a_head_that_changes_within_a_second_has_another_validator(bench: Bench) -> None:
    first = bench.client.get(POLL)
    said = order(targets=(V1.target(),))
    bench.say_all(said)
    assert bench.client.get(POLL).headers["ETag"] == first.headers["ETag"]
    bench.say_all(authorise(said))
    changed = bench.client.get(POLL, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == f'"{sha256(changed.data)}"'
    assert changed.data == bench.store.get(POLL[1:])


def test_a_poll_reads_no_file_twice_and_no_database(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = bench.client.get(POLL).headers["ETag"]
    bench.back.database.close()
    assert bench.settings.database_file is not None
    bench.settings.database_file.unlink()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a poll with nothing new opened a file")

    monkeypatch.setattr(Path, "open", never)
    answer = bench.client.get(POLL, headers={"If-None-Match": etag})
    assert answer.status_code == 304


def test_a_file_replaced_between_look_and_read_is_served_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.store.path(POLL[1:])
    assert bench.client.get(POLL).status_code == 200
    real = os.stat
    turns: list[int] = []

    def stat(file: object, *args: object, **kwargs: object) -> os.stat_result:
        status = real(file, *args, **kwargs)  # type: ignore[arg-type]
        if file == path and not turns:
            turns.append(1)
            bench.store.replace(POLL[1:], b'{"other": "bytes"}')
        return status

    monkeypatch.setattr("interlock_server.web.read_path.os.stat", stat)
    answer = bench.client.get(POLL)
    assert turns
    assert answer.data == b'{"other": "bytes"}'
    assert answer.headers["ETag"] == f'"{sha256(answer.data)}"'


def test_what_is_remembered_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock_server.web.read_path._MAX_KNOWN", 3)
    read_path = ReadPath(bench.store, Response("elsewhere"))
    client = Client(read_path)
    for key in bench.store.list("director/")[:8]:
        assert client.get(f"/{key}").status_code == 200
    assert len(read_path._known) <= 3
    assert client.get("/v1/info").data == b"elsewhere"


def test_a_directory_or_a_socket_is_nothing(bench: Bench) -> None:
    (bench.settings.store_directory / "poll/ward-9").mkdir()
    assert bench.client.get("/poll/ward-9").status_code == 404
    (bench.settings.store_directory / "image/metadata/7.root.json").mkdir()
    assert bench.client.get("/image/metadata/7.root.json").status_code == 404
