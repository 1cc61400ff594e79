from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import pytest

from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock
from klaviyo_variant_jobs_api import registry

KEY = "Klaviyo-API-Key pk_a"


def headers(revision: registry.Revision[Any] = registry.NEWEST) -> dict[str, str]:
    return {"authorization": KEY, "revision": revision.date}


def test_transport_and_socket_carry_the_same_answer(
    revision: registry.Revision[Any], clock: VirtualClock
) -> None:
    query = {"filter": 'equals(status,"complete")'}
    quiet, served = Sandbox(jobs=30, clock=clock), Sandbox(jobs=30, clock=clock)
    with (
        served.serve() as server,
        httpx.Client(transport=quiet.transport(), base_url=server.base_url) as inside,
        httpx.Client(base_url=server.base_url) as outside,
    ):
        answers = [
            client.get(revision.path, params=query, headers=headers(revision))
            for client in (inside, outside)
        ]
    assert answers[0].status_code == answers[1].status_code == 200
    assert answers[0].content == answers[1].content
    assert dict(answers[0].headers) == dict(answers[1].headers)


def test_links_lead_back_to_the_server(
    revision: registry.Revision[Any], clock: VirtualClock
) -> None:
    sandbox = Sandbox(jobs=5, jobs_per_page=2, clock=clock)
    seen = 0
    with sandbox.serve() as server, httpx.Client(headers=headers(revision)) as client:
        url: str | None = server.base_url + revision.path
        while url is not None:
            assert url.startswith(server.base_url)
            page = client.get(url).json()
            seen += len(page["data"])
            url = page["links"]["next"]
    assert seen == 5


def test_one_connection_serves_many_requests(clock: VirtualClock) -> None:
    with Sandbox(jobs=1, clock=clock).serve() as server:
        address = httpx.URL(server.base_url)
        with socket.create_connection((address.host, address.port or 0), timeout=10) as connection:
            reader = connection.makefile("rb")
            for _ in range(3):
                lines = [f"GET {registry.NEWEST.path} HTTP/1.1", "Host: sandbox"]
                lines += [f"{name}: {value}" for name, value in headers().items()]
                connection.sendall("\r\n".join([*lines, "", ""]).encode())
                assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
                length = 0
                while (line := reader.readline()) != b"\r\n":
                    if line.startswith(b"content-length: "):
                        length = int(line.split()[1])
                assert len(reader.read(length)) == length > 0
            reader.close()


def test_a_request_with_a_body_ends_its_connection(clock: VirtualClock) -> None:
    with Sandbox(jobs=1, clock=clock).serve() as server:
        response = httpx.post(server.base_url + registry.NEWEST.path, headers=headers(), json={})
    assert response.status_code == 405
    assert response.headers["connection"] == "close"


def test_head_has_no_body(clock: VirtualClock) -> None:
    with (
        Sandbox(jobs=1, clock=clock).serve() as server,
        httpx.Client(base_url=server.base_url, headers=headers()) as client,
    ):
        assert client.head(registry.NEWEST.path).status_code == 405
        assert client.get(registry.NEWEST.path).status_code == 200


def test_a_line_that_is_no_request_ends_the_connection_and_not_the_server(
    clock: VirtualClock,
) -> None:
    with Sandbox(jobs=1, clock=clock).serve() as server:
        address = httpx.URL(server.base_url)
        with socket.create_connection((address.host, address.port or 0), timeout=10) as connection:
            connection.sendall(b"not http at all, and long\r\n\r\n")
            assert b"400" in connection.recv(1000)
        answer = httpx.get(server.base_url + registry.NEWEST.path, headers=headers())
    assert answer.status_code == 200


def test_many_threads_get_no_more_than_the_window_holds(clock: VirtualClock) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=20)
    with (
        sandbox.serve() as server,
        httpx.Client(base_url=server.base_url, headers=headers()) as client,
    ):
        threads = [
            threading.Thread(target=lambda: [client.get(registry.NEWEST.path) for _ in range(5)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sandbox.count(status=200) == 20
    assert sandbox.count(status=429) == 20


def test_nothing_is_left_after_leaving(clock: VirtualClock) -> None:
    before = threading.active_count()
    server = Sandbox(jobs=1, clock=clock).serve()
    with server, httpx.Client(headers=headers()) as client:
        url = server.base_url + registry.NEWEST.path
        assert client.get(url).status_code == 200  # and its connection stays open
        # Leaves while the client still holds it.
        server.__exit__(None, None, None)
        assert threading.active_count() == before
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_the_address_is_known_only_while_serving(clock: VirtualClock) -> None:
    server = Sandbox(jobs=1, clock=clock).serve()
    with pytest.raises(RuntimeError, match="not serving"):
        _ = server.base_url
    with server:
        assert server.base_url.startswith("http://127.0.0.1:")


def test_a_port_can_be_chosen(clock: VirtualClock) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Sandbox(jobs=1, clock=clock).serve(port=port) as server:
        assert server.base_url.endswith(f":{port}")
