"""Certificates that are not to be trusted, by TLS on the loopback interface."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

from hostile.drive import Drive
from http_library import own_clients_only
from klaviyo_variant_jobs import TransportError
from klaviyo_variant_jobs_api.transport import ssl_context

pytestmark = own_clients_only


class Answer(http.server.BaseHTTPRequestHandler):
    """An empty page for whatever arrives."""

    def do_GET(self) -> None:
        body = json.dumps({"data": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.answered += 1  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: object) -> None: ...


class Listener(http.server.ThreadingHTTPServer):
    answered = 0
    accepted = 0
    daemon_threads = False

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that the client ends is what is wanted."""


@attrs.frozen
class TLS:
    """A server whose certificate, for the host `named`, an authority of its own has signed."""

    listener: Listener
    authority: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.server_port}"


@pytest.fixture(params=["127.0.0.1"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TLS]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(request.param).configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with Listener(("127.0.0.1", 0), Answer) as listener:
        listener.socket = context.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        yield TLS(listener, trusted)
        listener.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _fresh_certificates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    ssl_context.cache_clear()
    yield
    ssl_context.cache_clear()


def fails_at_once(drive: Drive, server: TLS) -> str:
    run = drive.iterate(server.url)
    assert type(run.error) is TransportError
    assert "CERTIFICATE_VERIFY_FAILED" in str(run.error.__cause__)
    assert run.error.attempts == 1
    assert server.listener.accepted == 1
    assert server.listener.answered == 0
    return str(run.error)


def test_an_authority_that_nobody_knows_is_told_with_how_to_name_it(drive: Drive, tls: TLS) -> None:
    message = fails_at_once(drive, tls)
    assert "SSL_CERT_FILE" in message
    assert "proxy" in message


def test_an_authority_that_the_environment_names_is_trusted(
    drive: Drive, tls: TLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    assert drive.iterate(tls.url).error is None
    assert tls.listener.answered == 1


@pytest.mark.parametrize("tls", ["api.example"], indirect=True)
def test_a_certificate_for_another_host_is_told_with_what_to_look_at(
    drive: Drive, tls: TLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    message = fails_at_once(drive, tls)
    assert "not valid for '127.0.0.1'" in message
    assert "base_url" in message
