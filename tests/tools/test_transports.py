"""Hooks and transports of a caller see a plain request: no body, and nothing left to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hishel
import hishel.httpx
import httpx
import httpx_aiohttp
import httpx_retries
import pytest

from hostile.fault_server import End, FaultServer, Honest, Reply, always, gzipped
from klaviyo_variant_jobs import TransportError


def plain(wire: Any) -> Any:
    return httpx.HTTPTransport() if wire.kind == "sync" else httpx.AsyncHTTPTransport()


def http(wire: Any, transport: Any = None, **options: Any) -> Any:
    """A caller's HTTP client of the wire's kind."""
    kind = httpx.Client if wire.kind == "sync" else httpx.AsyncClient
    return kind(transport=transport or plain(wire), **options)


async def test_a_hook_may_read_the_content_of_a_request(
    wire: Any, make: Callable[..., Any]
) -> None:
    read: list[bytes] = []

    def read_it(request: httpx.Request) -> None:
        read.append(request.content)

    async def read_it_too(request: httpx.Request) -> None:
        read.append(request.content)

    hook = read_it if wire.kind == "sync" else read_it_too
    theirs = http(wire, event_hooks={"request": [hook]})
    client = make(http_client=theirs)
    assert len(await wire.all(client.iter_jobs())) == 5
    assert read == [b""] * 3
    await wire.close(theirs)


async def test_a_transport_may_read_the_content_of_a_request(
    wire: Any, make: Callable[..., Any]
) -> None:
    read: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        read.append(request.content)
        return httpx.Response(200, json={"data": []})

    theirs = http(wire, httpx.MockTransport(answer))
    await wire.of(make(http_client=theirs).get_page())
    assert read == [b""]
    await wire.close(theirs)


@pytest.fixture
def faults() -> Any:
    with FaultServer([["A1", "A2"], ["B1"]]) as running:
        yield running


def compressed(answer: Honest) -> Reply:
    return gzipped(answer.body)


def silent(answer: Honest) -> Reply:
    return Reply((), End.SILENCE)


def cut_off(answer: Honest) -> Reply:
    return Reply((answer.reply.pieces[0][:-9],), End.CLOSE)


async def test_nothing_of_a_body_goes_out(
    wire: Any, make: Callable[..., Any], faults: FaultServer
) -> None:
    client = make(base_url=faults.url)
    assert len(await wire.all(client.iter_jobs())) == 3
    await wire.close(client)
    check_bare(faults)


def check_bare(server: FaultServer) -> None:
    for request in server.requests:
        assert request.raw.startswith(b"GET ")
        assert request.raw.endswith(b"\r\n\r\n")
        assert "transfer-encoding" not in request.headers
        assert "content-length" not in request.headers


async def test_over_aiohttp_a_listing_sends_bare_requests(
    wire: Any, make: Callable[..., Any], faults: FaultServer
) -> None:
    if wire.kind == "sync":
        return  # It is for asyncio only.
    async with httpx_aiohttp.HttpxAiohttpClient() as theirs:
        client = make(base_url=faults.url, http_client=theirs)
        assert [job.id for job in await wire.all(client.iter_jobs())] == faults.ids
    check_bare(faults)


async def test_over_aiohttp_a_compressed_page_is_read(
    wire: Any, make: Callable[..., Any], faults: FaultServer
) -> None:
    if wire.kind == "sync":
        return
    faults.say(compressed, compressed)
    async with httpx_aiohttp.HttpxAiohttpClient() as theirs:
        client = make(base_url=faults.url, http_client=theirs)
        assert [job.id for job in await wire.all(client.iter_jobs())] == faults.ids


async def test_over_aiohttp_a_failure_is_told_like_any_other(
    wire: Any, make: Callable[..., Any], faults: FaultServer
) -> None:
    if wire.kind == "sync":
        return
    faults.say(silent, cut_off)
    async with httpx_aiohttp.HttpxAiohttpClient() as theirs:
        client = make(base_url=faults.url, http_client=theirs, timeout=0.2)
        for _ in range(2):
            error = await wire.error(TransportError, client.get_page)
            assert "[http://127.0.0.1:" in str(error)


async def test_over_a_transport_that_tries_again_a_failure_is_not_seen(
    wire: Any, make: Callable[..., Any], faults: FaultServer
) -> None:
    retry = httpx_retries.Retry(total=2, backoff_factor=0.0)
    theirs = http(wire, httpx_retries.RetryTransport(plain(wire), retry))
    faults.say(always(503))
    client = make(base_url=faults.url, http_client=theirs)
    assert [job.id for job in await wire.all(client.iter_jobs())] == faults.ids
    assert len(faults.requests) == 3
    check_bare(faults)
    await wire.close(theirs)


async def test_over_a_cache_a_listing_is_whole(
    wire: Any, make: Callable[..., Any], faults: FaultServer, tmp_path: Path
) -> None:
    faults.say(compressed)
    where = str(tmp_path / "cache.db")
    transport: Any
    if wire.kind == "sync":
        storage = hishel.SqliteStorage(database_path=where)
        transport = hishel.httpx.CacheTransport(plain(wire), storage=storage)
    else:
        stored = hishel.AsyncSqliteStorage(database_path=where)
        transport = hishel.httpx.AsyncCacheTransport(plain(wire), storage=stored)
    theirs = http(wire, transport)
    client = make(base_url=faults.url, http_client=theirs)
    for _ in range(2):
        assert [job.id for job in await wire.all(client.iter_jobs())] == faults.ids
    assert len(faults.requests) == 2
    await wire.close(theirs)
