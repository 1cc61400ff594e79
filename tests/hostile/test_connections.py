"""Connections that fail, and bytes that are no HTTP."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import json
import socket
import threading
from typing import Any

import attrs
import httpx
import pytest

from hostile.drive import KEY, Drive, Trial
from hostile.fault_server import (
    End,
    Fault,
    FaultServer,
    Honest,
    Reply,
    always,
    chunked,
    honest,
    job,
    reply,
    reset_unread,
)
from http_library import own_clients_only
from klaviyo_variant_jobs import (
    NEWEST,
    APIError,
    AsyncClient,
    Client,
    DeadlineError,
    KlaviyoError,
    RateLimiter,
    RetryPolicy,
    TransportError,
)

TWICE = RetryPolicy(max_attempts=2)


def silence(answer: Honest) -> Reply:
    return Reply((), End.SILENCE)


def silence_in_headers(answer: Honest) -> Reply:
    return Reply((answer.reply.pieces[0][:30],), End.SILENCE)


def silence_in_body(answer: Honest) -> Reply:
    return Reply((answer.reply.pieces[0][:-30],), End.SILENCE)


def hang_up(answer: Honest) -> Reply:
    return Reply((), End.CLOSE)


def reset_after_reading(answer: Honest) -> Reply:
    return Reply((), End.RESET)


def reset_in_headers(answer: Honest) -> Reply:
    return Reply((answer.reply.pieces[0][:30],), End.RESET)


def reset_in_body(answer: Honest) -> Reply:
    return Reply((answer.reply.pieces[0][:-30],), End.RESET)


def truncated(answer: Honest) -> Reply:
    return Reply((answer.reply.pieces[0][:-30],), End.CLOSE)


def cut_between_chunks(answer: Honest) -> Reply:
    return Reply(chunked(answer.body, last=False), End.CLOSE)


def cut_inside_a_chunk(answer: Honest) -> Reply:
    return Reply((b"".join(chunked(answer.body))[:-40],), End.CLOSE)


def raw(data: bytes) -> Fault:
    return lambda answer: Reply((data,), End.CLOSE)


GARBAGE = {
    "noise": raw(bytes(range(256)) * 4),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "TLS alert": raw(b"\x15\x03\x01\x00\x02\x02\x46"),
    "HTTP without a header": raw(b'{"data": []}'),
    "half a status line": raw(b"HTTP/1.1 20"),
    "status below 100": raw(b"HTTP/1.1 007 Bond\r\nContent-Length: 0\r\n\r\n"),
    "switch of protocols": raw(b"HTTP/1.1 101 Later\r\nUpgrade: x\r\n\r\n"),
    "interim answer and no more": raw(b"HTTP/1.1 103 Early\r\n\r\n"),
    "header without a colon": raw(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    "line break in a header name": raw(b"HTTP/1.1 200 OK\r\nA\x00B: c\r\n\r\n"),
    "endless headers": raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 30_000),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "length that is no number": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    "length beyond the body": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"data":[]}'),
    "chunk size that is no number": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"
    ),
}

BROKEN = GARBAGE | {
    "hang up": hang_up,
    "reset before the request is read": reset_unread,
    "reset before the response": reset_after_reading,
    "reset in the headers": reset_in_headers,
    "reset in the body": reset_in_body,
    "truncated": truncated,
    "cut between chunks": cut_between_chunks,
    "cut inside a chunk": cut_inside_a_chunk,
}

SILENT = {
    "before the headers": silence,
    "in the headers": silence_in_headers,
    "in the body": silence_in_body,
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_broken_connection_is_tried_again_and_costs_no_job(trial: Trial, fault: Fault) -> None:
    trial.recovers(fault, honest, fault, fault)


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_connection_that_stays_broken_ends_in_a_transport_error(
    trial: Trial, fault: Fault
) -> None:
    error = trial.fails(TransportError, honest, fault, fault, retry=TWICE)
    assert error.attempts == 2
    assert error.retry_after is None
    assert error.__cause__ is not None
    assert len(str(error)) < 2_000


@pytest.mark.parametrize("fault", SILENT.values(), ids=SILENT)
def test_a_server_that_falls_silent_is_asked_again(trial: Trial, fault: Fault) -> None:
    trial.recovers(honest, fault, timeout=0.1)


def test_a_server_that_stays_silent_ends_in_a_transport_error(trial: Trial) -> None:
    error = trial.fails(TransportError, honest, silence, silence, retry=TWICE, timeout=0.1)
    assert error.attempts == 2
    assert "Timeout" in str(error)


def test_a_refused_connection_is_a_transport_error_and_nothing_is_lost(
    drive: Drive, server: FaultServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run = drive.iterate(f"http://127.0.0.1:{port}", retry=TWICE)
    assert type(run.error) is TransportError
    assert run.error.attempts == 2
    assert run.ids == []
    assert drive.iterate(server.url, resume=str(run.error.checkpoint)).ids == server.ids


def test_https_to_a_server_that_speaks_http_is_a_transport_error(
    drive: Drive, server: FaultServer
) -> None:
    run = drive.iterate(server.url.replace("http:", "https:"), retry=TWICE, timeout=0.1)
    assert type(run.error) is TransportError
    assert b"Authorization" not in b"".join(request.raw for request in server.requests)


def test_a_dripping_body_that_comes_in_time_is_a_page(trial: Trial) -> None:
    def drip(answer: Honest) -> Reply:
        return Reply(chunked(answer.body, size=100), pause_s=0.002)

    trial.recovers(drip, drip)


def test_dripping_headers_that_come_in_time_are_a_page(trial: Trial) -> None:
    def drip(answer: Honest) -> Reply:
        data = answer.reply.pieces[0]
        return Reply((*(data[n : n + 10] for n in range(0, 60, 10)), data[60:]), pause_s=0.002)

    trial.recovers(drip)


def test_a_body_that_drips_past_the_deadline_ends_in_a_deadline_error(trial: Trial) -> None:
    def drip(answer: Honest) -> Reply:
        return Reply(chunked(answer.body, size=8), pause_s=0.02)

    error = trial.fails(DeadlineError, honest, drip, retry=RetryPolicy(deadline=0.25))
    assert error.attempts == 1


def test_the_failure_before_the_deadline_is_what_is_told(trial: Trial) -> None:
    def drip(answer: Honest) -> Reply:
        return Reply(chunked(answer.body, size=8), pause_s=0.02)

    error = trial.fails(
        TransportError,
        honest,
        hang_up,
        drip,
        retry=RetryPolicy(deadline=0.3, base_delay=0.02),
    )
    assert "disconnected" in str(error)


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
def test_a_connection_lost_between_two_requests_costs_no_job(trial: Trial, end: End) -> None:
    def last(answer: Honest) -> Reply:
        return attrs.evolve(answer.reply, end=end)

    trial.recovers(last, last)


IDLE = 10


def all_at_once(met: threading.Barrier) -> Fault:
    """Answer when so many requests have come that each has a connection of its own."""

    def fault(answer: Honest) -> Reply:
        met.wait()
        return answer.reply

    return fault


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_idle_connections_that_were_silently_dropped_cost_one_attempt(
    server: FaultServer, kind: Any
) -> None:
    met = threading.Barrier(IDLE, timeout=30.0)
    server.say(*[all_at_once(met)] * IDLE)
    make = functools.partial(
        kind,
        KEY,
        revision=NEWEST,
        base_url=server.url,
        rate_limiter=RateLimiter.unlimited(),
        retry=RetryPolicy(base_delay=0.0),
        timeout=httpx.Timeout(10.0, read=1.0),
    )

    async def main() -> None:
        async with make() as client:
            await asyncio.gather(*(client.get_page() for _ in range(IDLE)))
            server.drop_connections()
            await client.get_page()

    if kind is AsyncClient:
        asyncio.run(main())
    else:
        with make() as client, concurrent.futures.ThreadPoolExecutor(IDLE) as threads:
            for page in [threads.submit(client.get_page) for _ in range(IDLE)]:
                page.result()
            server.drop_connections()
            client.get_page()
    assert server.dropped >= IDLE
    assert len(server.requests) == IDLE + 2


@pytest.mark.parametrize("answer", [403, 407, 502])
def test_a_proxy_of_the_environment_is_used_and_never_sees_the_key(
    drive: Drive, server: FaultServer, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    server.say(*[always(answer, "", {"Connection": "close"})] * 2)
    run = drive.iterate("https://a.klaviyo.com", retry=TWICE)
    assert type(run.error) is TransportError
    # A refusal of the proxy lasts, a failure passes.
    assert run.error.attempts == len(server.requests) == (2 if answer == 502 else 1)
    assert ("HTTPS_PROXY" in str(run.error)) == (answer != 502)
    for request in server.requests:
        assert request.raw.startswith(b"CONNECT a.klaviyo.com:443 ")
        assert KEY.encode() not in request.raw


@own_clients_only
def test_a_loopback_host_is_never_reached_through_a_proxy(
    trial: Trial, elsewhere: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    trial.recovers()


def test_a_host_that_does_not_exist_is_told_at_once(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    run = drive.iterate("https://klaviyo.invalid")
    assert type(run.error) is TransportError
    assert run.error.attempts == 1
    assert "base_url" in str(run.error)


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
def test_trouble_of_the_resolver_passes(
    drive: Drive, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    troubles = [socket.gaierror(number, "trouble")]
    found = socket.getaddrinfo

    def troubled(*arguments: Any, **options: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return found(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", troubled)
    with FaultServer([["A"]]) as server:
        assert drive.iterate(server.url.replace("127.0.0.1", "localhost")).ids == ["A"]
    assert not troubles


def test_bytes_after_a_response_do_not_reach_the_next_one(trial: Trial) -> None:
    def chatty(answer: Honest) -> Reply:
        return Reply((answer.reply.pieces[0] + b"\r\nand another thing",))

    trial.recovers(chatty, chatty)


QUEUED = [job(f"Q{number}", status="queued") for number in range(100)]
FOREIGN: dict[str, dict[str, Any]] = {
    "jobs of another status": {"data": QUEUED},
    "another cursor": {"data": [job("Q")], "links": {"self": "/x?page%5Bcursor%5D=elsewhere"}},
}


@own_clients_only
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_an_answer_after_the_answer_is_not_taken_for_that_of_the_next_request(
    trial: Trial, foreign: dict[str, Any]
) -> None:
    def twice(answer: Honest) -> Reply:
        return Reply((answer.reply.pieces[0] + reply(200, json.dumps(foreign)).pieces[0],))

    trial.recovers(twice, asked={"status": "complete"})
    # It costs the connection, on which each answer from now on is that to an earlier request.
    assert trial.server.accepted == 2


def test_interim_answers_before_the_real_one_are_passed_over(trial: Trial) -> None:
    def hinted(answer: Honest) -> Reply:
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
        return Reply((hint * 3 + answer.reply.pieces[0],))

    trial.recovers(hinted, hinted, hinted)


def test_a_server_error_and_a_dropped_connection_in_turn_share_one_count(trial: Trial) -> None:
    error = trial.fails(
        TransportError,
        always(500),
        hang_up,
        always(502),
        hang_up,
        retry=RetryPolicy(max_attempts=4),
    )
    assert error.attempts == 4


def test_an_async_client_says_that_it_belongs_to_its_first_event_loop(server: FaultServer) -> None:
    client = AsyncClient("pk_test", revision=NEWEST, base_url=server.url)

    async def take(number: int) -> Any:
        jobs = client.iter_jobs()
        return [(await anext(jobs)).id for _ in range(number)]

    async def close() -> None:
        await client.aclose()

    with asyncio.Runner() as first:
        assert first.run(take(1)) == ["A1"]
        with pytest.raises(KlaviyoError, match="another event loop") as caught:
            asyncio.run(take(1))
        assert caught.value.checkpoint is not None
        assert first.run(take(4)) == ["A1", "A2", "A3", "B1"]
        first.run(close())


@pytest.mark.parametrize("status", [401, 429, 503])
def test_the_status_is_told_in_time_when_its_body_drips(trial: Trial, status: int) -> None:
    head = f"HTTP/1.1 {status} X\r\nRetry-After: 30\r\nContent-Length: 1000\r\n\r\n".encode()
    limiter = RateLimiter()
    trial.server.say(lambda answer: Reply((head, *[b"x"] * 1000), End.CLOSE, pause_s=0.01))
    policy = RetryPolicy(deadline=0.3)
    run = trial.drive.iterate(trial.server.url, retry=policy, rate_limiter=limiter)
    assert isinstance(run.error, APIError)
    assert (run.error.status_code, run.error.retry_after) == (status, 30.0)
    assert (limiter.snapshot().paused_for_s > 0.0) == (status == 429)
