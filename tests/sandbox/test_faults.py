from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.sandbox import Delivery, Fault, Response, Sandbox, Server, VirtualClock
from klaviyo_variant_jobs_api.registry import NEWEST

HEADERS = {"authorization": "Klaviyo-API-Key pk_a", "revision": NEWEST.date}
Ask = Callable[..., Response]
Error = Callable[[Response], Any]


@pytest.mark.parametrize("status", [400, 418, 429, 500, 503, 520, 599])
def test_the_next_request_gets_the_status_and_the_one_after_does_not(
    status: int, clock: VirtualClock, ask: Ask, error: Error
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(status)
    assert error(ask(sandbox))["status"] == status
    assert ask(sandbox).status == 200
    assert [record.faulty for record in sandbox.requests] == [True, False]


def test_faults_come_in_their_order(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(503, Fault(status=502))
    sandbox.fail_next(429)
    assert [ask(sandbox).status for _ in range(4)] == [503, 502, 429, 200]


def test_a_fault_with_a_status_uses_no_quota_and_one_without_does(
    clock: VirtualClock, ask: Ask
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, burst=75)
    sandbox.fail_next(503)
    ask(sandbox)
    assert ask(sandbox).header("ratelimit-remaining") == "74"
    sandbox.fail_next(Fault(delivery=Delivery.DROP))
    ask(sandbox)
    assert ask(sandbox).header("ratelimit-remaining") == "72"


@pytest.mark.parametrize("value", [0, "1", 0.6, "Wed, 04 Nov 2026 10:00:00 GMT", "-1", "soon"])
def test_retry_after_takes_any_form(value: float | str, clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(Fault(status=429, retry_after=value))
    response = ask(sandbox)
    assert response.header("retry-after") == str(value)
    assert response.header("content-type") is None


def test_a_scripted_429_without_a_retry_after_has_none(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(429)
    assert ask(sandbox).header("retry-after") is None


def test_html_comes_as_the_network_in_front_of_the_api_sends_it(
    clock: VirtualClock, ask: Ask
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(Fault.html(403), Fault.html(520))
    challenge, unknown = ask(sandbox), ask(sandbox)
    assert challenge.status == 403
    assert challenge.header("cf-mitigated") == "challenge"
    assert challenge.body.startswith(b"<!DOCTYPE html>")
    assert unknown.status == 520
    assert unknown.header("content-type") == "text/html; charset=UTF-8"


def test_body_and_headers_may_be_anything(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(
        Fault(status=200, body=b"\xff\xfe", headers={"RateLimit-Limit": "many"}),
        Fault(status=503, headers={"Content-Type": "text/plain"}),
        Fault(status=204),
    )
    first, second, third = ask(sandbox), ask(sandbox), ask(sandbox)
    assert first.body == b"\xff\xfe"
    assert first.header("ratelimit-limit") == "many"
    assert first.header("content-type") is None
    assert second.header("content-type") == "text/plain"
    assert [name for name, _ in second.headers].count("content-type") == 1
    assert third.body == b""


def test_an_empty_answer_over_a_socket_leaves_the_connection_usable(clock: VirtualClock) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.fail_next(204)
    with (
        sandbox.serve() as server,
        httpx.Client(base_url=server.base_url, headers=HEADERS) as client,
    ):
        statuses = [client.get(NEWEST.path).status_code for _ in range(2)]
    assert statuses == [204, 200]


# Broken connections: in virtual time through the transport, and over a real socket.


@pytest.fixture
def sandbox(clock: VirtualClock) -> Sandbox:
    return Sandbox(jobs=50, clock=clock)


@pytest.fixture
def through_transport(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(
        transport=sandbox.transport(), base_url="https://a.klaviyo.com", headers=HEADERS
    ) as client:
        yield client


@pytest.fixture
def over_loopback(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with (
        sandbox.serve() as server,
        httpx.Client(base_url=server.base_url, headers=HEADERS) as client,
    ):
        yield client


@pytest.fixture(params=["through_transport", "over_loopback"])
def client(request: pytest.FixtureRequest) -> httpx.Client:
    found: httpx.Client = request.getfixturevalue(request.param)
    return found


def test_a_dropped_connection_answers_nothing(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fail_next(Fault(delivery=Delivery.DROP))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(NEWEST.path)
    assert client.get(NEWEST.path).status_code == 200


def test_a_reset_connection_is_a_read_error(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fail_next(Fault(delivery=Delivery.RESET))
    with pytest.raises(httpx.ReadError):
        client.get(NEWEST.path)
    assert client.get(NEWEST.path).status_code == 200


def test_a_truncated_body_ends_in_the_middle(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fail_next(Fault(delivery=Delivery.TRUNCATE))
    received: list[bytes] = []
    with client.stream("GET", NEWEST.path) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(response.iter_raw())
    assert len(b"".join(received)) == int(response.headers["content-length"]) // 2
    assert client.get(NEWEST.path).status_code == 200


def test_a_dripping_body_arrives_whole(client: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fail_next(Fault(delivery=Delivery.DRIP, drip_seconds=2))
    response = client.get(NEWEST.path)
    assert len(response.json()["data"]) == 50


def test_a_dripping_body_takes_its_time(
    through_transport: httpx.Client, sandbox: Sandbox, clock: VirtualClock
) -> None:
    sandbox.fail_next(Fault(delivery=Delivery.DRIP, drip_seconds=2))
    through_transport.get(NEWEST.path)
    assert clock.monotonic() == 20


def test_a_task_waits_for_a_dripping_body_in_virtual_time(
    sandbox: Sandbox, clock: VirtualClock
) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(
            transport=sandbox.transport(), base_url="https://a.klaviyo.com", headers=HEADERS
        ) as client:
            await asyncio.gather(client.get(NEWEST.path), client.get(NEWEST.path))

    drip = Fault(delivery=Delivery.DRIP, drip_seconds=2)
    sandbox.fail_next(drip, drip)
    clock.run(main())
    assert clock.monotonic() == 20


def test_a_truncated_body_reaches_a_task_as_an_error(sandbox: Sandbox, clock: VirtualClock) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(
            transport=sandbox.transport(), base_url="https://a.klaviyo.com", headers=HEADERS
        ) as client:
            await client.get(NEWEST.path)

    sandbox.fail_next(Fault(delivery=Delivery.TRUNCATE))
    with pytest.raises(httpx.RemoteProtocolError):
        clock.run(main())


def test_leaving_does_not_wait_for_a_body_that_drips() -> None:
    begun = threading.Event()

    class Watched(Clock):
        def wait(self, event: threading.Event, seconds: float | None) -> bool:
            begun.set()
            return event.wait(seconds)

    sandbox = Sandbox(jobs=1, clock=Watched())
    sandbox.fail_next(Fault(delivery=Delivery.DRIP, drip_seconds=3600))

    def read(server: Server) -> None:
        with pytest.raises(httpx.TransportError):
            httpx.get(server.base_url + NEWEST.path, headers=HEADERS, timeout=60)

    with sandbox.serve() as server:
        reader = threading.Thread(target=read, args=(server,))
        reader.start()
        assert begun.wait(10)
    reader.join(10)
    assert not reader.is_alive()
