"""How the key travels: through which proxy, if any, and trusting which certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from klaviyo_variant_jobs_api import transport

PROXY = "http://proxy.example:8080"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    transport.ssl_context.cache_clear()
    yield
    transport.ssl_context.cache_clear()


def test_a_full_pool_says_what_to_do_about_it() -> None:
    advice, is_lasting = transport.advice(httpx.PoolTimeout(""), httpx)
    assert "max_connections=None" in advice
    assert not is_lasting


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, PROXY)
    assert transport.proxy_for(httpx.URL("https://a.klaviyo.com")) == PROXY


def test_a_proxy_without_a_scheme_speaks_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:8080")
    assert transport.proxy_for(httpx.URL("https://a.klaviyo.com")) == PROXY


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_loopback_host_has_no_proxy(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, PROXY)
    assert transport.proxy_for(httpx.URL(f"{scheme}://{host}:8080/prefix")) is None


@pytest.mark.parametrize(
    ("exempt", "host"),
    [
        ("*", "a.klaviyo.com"),
        ("a.klaviyo.com", "a.klaviyo.com"),
        ("klaviyo.com", "a.klaviyo.com"),
        (".klaviyo.com", "a.klaviyo.com"),
        ("KLAVIYO.com", "a.klaviyo.com"),
        ("a.klaviyo.com:443", "a.klaviyo.com"),
        ("other.example, klaviyo.com", "a.klaviyo.com"),
        ("other.example klaviyo.com", "a.klaviyo.com"),
        ("[::1],::1/128,klaviyo.com", "a.klaviyo.com"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("fd00::7", "[fd00::7]"),
        ("[fd00::7]", "[fd00::7]"),
        ("fd00::/8", "[fd00::7]"),
        ("[fd00::]/8", "[fd00::7]"),
        ("FD00:0::7", "[fd00::7]"),
    ],
)
def test_an_exempt_host_has_no_proxy(
    monkeypatch: pytest.MonkeyPatch, exempt: str, host: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    assert transport.proxy_for(httpx.URL(f"https://{host}")) is None


@pytest.mark.parametrize(
    ("exempt", "host"),
    [
        ("", "a.klaviyo.com"),
        (",", "a.klaviyo.com"),
        (".", "a.klaviyo.com"),
        ("[::1]", "a.klaviyo.com"),
        ("::1/128", "a.klaviyo.com"),
        ("[::1]:8080,10.0.0.0/8", "a.klaviyo.com"),
        ("b.klaviyo.com", "a.klaviyo.com"),
        ("viyo.com", "a.klaviyo.com"),
        ("a.klaviyo.com.example", "a.klaviyo.com"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("0.0.0.0/0", "[fd00::7]"),
        ("fe80::/10", "[fd00::7]"),
        ("10.0.0.0/99", "10.1.2.3"),
    ],
)
def test_any_other_host_has_one(monkeypatch: pytest.MonkeyPatch, exempt: str, host: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    assert transport.proxy_for(httpx.URL(f"https://{host}")) == PROXY


@pytest.mark.parametrize("kind", [transport.OwnClient, transport.OwnAsyncClient])
@pytest.mark.parametrize("exempt", ["[::1]", "::1/128", "[::1],fd00::/8,*.local", ""])
def test_a_client_is_made_whatever_is_exempt_beside_a_proxy(
    monkeypatch: pytest.MonkeyPatch, kind: Any, exempt: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    transport.own_client(kind, httpx.URL("https://a.klaviyo.com"))


@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy"])
def test_socks_without_a_version_is_told_with_the_spelling_to_use(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "socks://user:geheim@proxy.example:1080")
    with pytest.raises(ValueError, match=rf"{variable} .*socks5://") as caught:
        transport.own_client(transport.OwnClient, httpx.URL("https://a.klaviyo.com"))
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_told_with_variable_and_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    def fail() -> ssl.SSLContext:
        raise FileNotFoundError(2, "No such file or directory")

    # Before 0.28 httpx passes over a file that is not there, and always over such a folder.
    monkeypatch.setattr(httpx, "create_ssl_context", fail)
    missing = tmp_path / "missing.pem"
    monkeypatch.setenv(variable, str(missing))
    with pytest.raises(OSError, match=variable) as caught:
        transport.own_client(transport.OwnClient, httpx.URL("https://a.klaviyo.com"))
    assert caught.value.filename == str(missing)
