"""Bodies, chunk by chunk."""

from __future__ import annotations

import functools
import gzip
import json
import tracemalloc
import zlib

import pytest

from fake_api import jobs, page_body
from klaviyo_variant_jobs import InvalidResponseError, TransportError
from klaviyo_variant_jobs.client.body import DECODED_LIMIT, BodyReader


def fed(reader: BodyReader, *chunks: bytes) -> bytes:
    for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


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
    assert reader.so_far() == body


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
    with pytest.raises(TransportError, match=f"encoded as '{encoding}', only gzip"):
        fed(BodyReader(encoding), b"x")


def test_a_body_over_the_limit_is_refused() -> None:
    limited = functools.partial(BodyReader, limit_bytes=1000)
    assert len(fed(limited(), b"x" * 999, b"x")) == 1000
    with pytest.raises(InvalidResponseError, match="decoded, which no page"):
        fed(limited(), b"x" * 999, b"xx")
    with pytest.raises(InvalidResponseError):
        limited().take_decoded(b"x" * 1001)
    assert limited().take_decoded(b"x" * 1000) == b"x" * 1000


def test_the_limit_is_64_mib_of_what_comes_out_and_no_more_is_ever_held() -> None:
    bomb = zlib.compressobj(wbits=31)
    packed = b"".join(bomb.compress(bytes(2**20)) for _ in range(65)) + bomb.flush()
    reader = BodyReader("gzip")
    with pytest.raises(InvalidResponseError, match="over 64 MiB"):
        reader.feed(packed)
    assert len(reader.so_far()) == 64 * 2**20


def test_what_follows_the_end_of_a_compressed_body_is_not_kept() -> None:
    reader = BodyReader("gzip")
    reader.feed(gzip.compress(b"{}"))
    for _ in range(100):
        reader.feed(b"x" * 1000)
    assert reader.finish() == b"{}"
    assert len(reader._gzip.unused_data) < 1000  # type: ignore[union-attr]


def test_so_far_is_what_has_come() -> None:
    reader = BodyReader()
    reader.feed(b"half")
    reader.feed(b" of")
    assert reader.so_far() == b"half of"


def test_no_page_comes_near_the_limit() -> None:
    assert len(json.dumps(jobs(100)).encode()) * 100 < DECODED_LIMIT
