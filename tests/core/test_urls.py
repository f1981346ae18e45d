"""Which server URLs may be called."""

from __future__ import annotations

import pytest

from interlock_core.errors import ConfigurationError
from interlock_core.urls import check_proxy, check_url


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://updates.example.org", "https://updates.example.org"),
        ("https://updates.example.org:8443/mirror/", "https://updates.example.org:8443/mirror"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_may_be_called(url: str, base: str) -> None:
    assert check_url(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "updates.example.org",
        "ftp://updates.example.org",
        "file:///etc/passwd",
        "http://updates.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "http://10.0.0.1",
        "https://",
        "https://updates.example.org?x=1",
        "https://updates.example.org#x",
        "https://user:secret@updates.example.org",
        "https://@updates.example.org",
        "https://updates.example.org:port",
        "https://[::1",
        "https://updates..example.org",
        f"https://{64 * 'a'}.example.org",
        "https://updates.example.org?",
        "https://updates.example.org/#",
        "https://updates.example.org/a@b",
        "https://updates.example.org/\n",
        "https://updates.example.org/a b",
        "https://updates.example.org\\@localhost",
        "http://localhost\\.example.org",
        "https://upd\u0430tes.example.org",
    ],
)
def test_may_not_be_called(url: str) -> None:
    with pytest.raises(ConfigurationError):
        check_url(url)


@pytest.mark.parametrize("url", ["http://proxy.hospital.example:3128", "https://[::1]:8080"])
def test_may_be_a_proxy(url: str) -> None:
    assert check_proxy(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "socks5://proxy",
        "http://",
        "http://:80",
        "http://a:0",
        "http://[::1",
        "http://a b",
    ],
)
def test_may_be_no_proxy(url: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy"):
        check_proxy(url)


@pytest.mark.parametrize("rest", ["proxy:x", "proxy:99999999", "[proxy", "proxy\u2100", "", " "])
def test_a_password_of_a_proxy_is_not_repeated(rest: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_proxy(f"http://ward:s3cret@{rest}")
    assert "s3cret" not in str(caught.value)
