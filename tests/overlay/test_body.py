"""Bodies, chunk by chunk."""

from __future__ import annotations

import gzip
import json
import threading
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from conftest import Wire
from fake_api import KEY, Drip, FakeAPI, jobs, next_link, page, page_body
from klaviyo_variant_jobs import (
    Client,
    InvalidResponseError,
    RateLimiter,
    RetryPolicy,
    TransportError,
)
from klaviyo_variant_jobs.decode.page import ERROR_LIMIT, PAGE_LIMIT, BodyReader


def fed(reader: BodyReader, *chunks: bytes) -> bytes:
    for chunk in chunks:
        reader.feed(chunk)
    return bytes(reader.finish())


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_plain_body_is_its_chunks(encoding: str) -> None:
    assert fed(BodyReader(encoding), b"ab", b"", b"cd") == b"abcd"
    assert fed(BodyReader(encoding)) == b""


@pytest.mark.parametrize("size", [1, 3, 200, 10_000])
def test_a_plain_body_comes_together_however_it_is_cut(size: int) -> None:
    body = page_body(jobs(5))
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    reader = BodyReader()
    assert fed(reader, *chunks) == body
    assert reader.so_far == body


def test_a_chunk_may_be_a_view_of_a_buffer_that_is_used_again() -> None:
    buffer, reader = bytearray(2), BodyReader()
    for chunk in (b"ab", b"cd"):
        buffer[:] = chunk
        reader.feed(memoryview(buffer))  # type: ignore[arg-type]
    assert reader.finish() == b"abcd"


def test_a_body_in_tiny_pieces_takes_the_memory_of_its_bytes() -> None:
    reader = BodyReader()
    tracemalloc.start()
    try:
        for number in range(50_000):
            reader.feed(b"%08d" % number)
        assert tracemalloc.get_traced_memory()[0] < 2 * 400_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP "])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_compressed_body_is_decompressed_however_it_is_cut(encoding: str, size: int) -> None:
    body = page_body(jobs(20))
    packed = gzip.compress(body)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    assert fed(BodyReader(encoding), *chunks) == body


def test_a_compressed_body_that_breaks_off_is_a_transport_failure() -> None:
    packed = gzip.compress(page_body(jobs(20)))
    for end in (12, len(packed) // 2, len(packed) - 1):
        with pytest.raises(TransportError, match="broke off"):
            fed(BodyReader("gzip"), packed[:end])


def test_a_compressed_body_of_nothing_is_empty() -> None:
    assert fed(BodyReader("gzip")) == b""
    assert fed(BodyReader("gzip"), gzip.compress(b"")) == b""


@pytest.mark.parametrize("body", [b'{"data": []}', zlib.compress(b"{}"), b"\x1f\x8bxxxxxxxxxx"])
def test_a_body_that_is_not_compressed_as_it_says_is_a_transport_failure(body: bytes) -> None:
    with pytest.raises(TransportError, match="cannot be decompressed"):
        fed(BodyReader("gzip"), body)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_encoding_that_was_not_asked_for_is_a_transport_failure(encoding: str) -> None:
    with pytest.raises(TransportError, match=f"came as '{encoding}', but gzip"):
        fed(BodyReader(encoding), b"x")


@pytest.mark.parametrize(("is_page", "limit"), [(True, PAGE_LIMIT), (False, ERROR_LIMIT)])
def test_a_body_over_the_limit_is_refused_and_not_worth_another_attempt(
    is_page: bool, limit: int
) -> None:
    assert len(fed(BodyReader(is_page=is_page), b"x" * (limit - 1), b"x")) == limit
    with pytest.raises(InvalidResponseError, match="decoded, which no page") as caught:
        fed(BodyReader(is_page=is_page), b"x" * (limit - 1), b"xx")
    assert caught.value.is_lasting
    with pytest.raises(InvalidResponseError):
        BodyReader(is_page=is_page).keep(b"x" * (limit + 1))


def test_the_limit_is_16_mib_of_what_comes_out_and_hardly_more_is_ever_held() -> None:
    bomb = zlib.compressobj(wbits=31)
    packed = b"".join(bomb.compress(bytes(2**20)) for _ in range(200)) + bomb.flush()
    reader = BodyReader("gzip")
    tracemalloc.start()
    try:
        with pytest.raises(InvalidResponseError, match="over 16 MiB"):
            reader.feed(packed)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * PAGE_LIMIT
    finally:
        tracemalloc.stop()
    assert len(reader.so_far) <= PAGE_LIMIT + 2**16


def test_a_compressed_body_may_consist_of_several_members() -> None:
    body = page_body(jobs(20))
    packed = gzip.compress(body[:500]) + gzip.compress(b"") + gzip.compress(body[500:])
    assert fed(BodyReader("gzip"), packed) == body
    assert fed(BodyReader("gzip"), *(packed[n : n + 1] for n in range(len(packed)))) == body


def test_what_follows_a_compressed_body_and_is_none_is_a_transport_failure() -> None:
    with pytest.raises(TransportError, match="cannot be decompressed"):
        fed(BodyReader("gzip"), gzip.compress(b"{}"), b"garbage" * 10)


def test_so_far_is_what_has_come() -> None:
    reader = BodyReader()
    reader.feed(b"half")
    reader.feed(b" of")
    assert reader.so_far == b"half of"


def test_no_page_comes_near_the_limit() -> None:
    assert len(json.dumps(jobs(100)).encode()) * 100 < PAGE_LIMIT


# On their way through both clients.

BODY = page_body(jobs(20))
GZIP = {"content-encoding": "gzip"}


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def serving(wire: Wire, chunks: Sequence[bytes], **drip: Any) -> tuple[Any, FakeAPI]:
    """A client of at most three attempts, each of which is answered by `chunks`."""
    api = FakeAPI()
    api.script.extend([Drip(chunks, **drip)] * 3)
    return wire.client(api, retry=RetryPolicy(max_attempts=3)), api


async def test_a_compressed_body_that_breaks_off_is_tried_again(wire: Wire) -> None:
    packed = gzip.compress(BODY)
    api = FakeAPI()
    api.script.append(Drip([packed[: len(packed) // 2]], headers=GZIP))
    api.script.append(Drip([packed], headers=GZIP))
    assert len((await wire.of(wire.client(api).get_page())).jobs) == 20
    assert len(api.requests) == 2


@pytest.mark.parametrize("body", [BODY, gzip.compress(BODY)], ids=["plain", "gzip"])
async def test_a_connection_that_breaks_off_within_a_body_is_tried_again(
    wire: Wire, body: bytes
) -> None:
    headers = {} if body == BODY else GZIP
    api = FakeAPI()
    broken = httpx.RemoteProtocolError("peer closed connection")
    api.script.append(Drip([body[:100]], headers=headers, breaks=broken))
    api.script.append(Drip([body], headers=headers))
    whole = await wire.of(wire.client(api).get_page())
    assert len(whole.jobs) == 20
    assert len(api.requests) == 2


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_page_over_16_mib_is_refused_without_reading_on(wire: Wire, encoding: str) -> None:
    body = b" " * (32 * 2**20)
    chunks = pieces(gzip.compress(body) if encoding else body, 2**16)
    client, api = serving(wire, chunks, every_s=1.0, headers={"content-encoding": encoding})
    error = await wire.error(InvalidResponseError, client.get_page)
    assert "over 16 MiB" in str(error)
    assert len(api.requests) == error.attempts == 1
    assert wire.clock.monotonic() < (3 if encoding else 260)


def test_the_answer_of_an_iteration_that_was_dropped_is_closed() -> None:
    asked, dropped, closed = threading.Event(), threading.Event(), threading.Event()

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield BODY

        def close(self) -> None:
            closed.set()

    def respond(request: httpx.Request) -> httpx.Response:
        if b"cursor" not in request.url.query:
            return page(jobs(1), next_link("c2"))
        asked.set()
        dropped.wait(5)
        return httpx.Response(200, stream=Body())

    http_client = httpx.Client(transport=httpx.MockTransport(respond))
    client = Client(KEY, http_client=http_client, rate_limiter=RateLimiter.unlimited())
    iteration = client.iter_jobs(prefetch=1)
    next(iteration)
    assert asked.wait(5)
    del iteration
    dropped.set()
    assert closed.wait(5)
