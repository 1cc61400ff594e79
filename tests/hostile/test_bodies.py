"""Responses with status 200 whose body is not a page, or not yet."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest

from hostile.drive import Trial
from hostile.fault_server import (
    Fault,
    Honest,
    Reply,
    always,
    chunked,
    gzipped,
    honest,
    reply,
    unframed,
)
from klaviyo_variant_jobs import (
    APIError,
    InvalidResponseError,
    RetryPolicy,
    ServerError,
    TransportError,
)

MIB = 1024 * 1024
REQUEST_ID = {"x-klaviyo-req-id": "req-1"}
HTML = "<!doctype html><title>Just a moment...</title>"
GZIP = {"Content-Encoding": "gzip"}


def instead(body: bytes | str) -> Fault:
    return always(200, body, REQUEST_ID)


NO_PAGES = {
    "HTML": always(200, HTML, REQUEST_ID, content_type="text/html; charset=nonsense"),
    "nothing": instead(""),
    "white space": instead(" \r\n"),
    "a list": instead("[]"),
    "a list of jobs without a page": instead('[{"id": "A1"}]'),
    "null": instead("null"),
    "true": instead("true"),
    "a number": instead("5"),
    "a string": instead('"jobs"'),
    "an empty object": instead("{}"),
    "null data": instead('{"data": null}'),
    "a single job for data": instead('{"data": {"id": "A1"}}'),
    "a string for data": instead('{"data": "A1"}'),
    "an error document": instead('{"errors": [{"detail": "no"}]}'),
    "text after the page": instead('{"data": []} {"data": []}'),
    "half of it": instead('{"data": [{"id": "A1"'),
    "a byte order mark": instead(b'\xef\xbb\xbf{"data": []}'),
    "UTF-16": instead('{"data": []}'.encode("utf-16")),
    "no UTF-8": instead(b'{"data": [{"id": "A\xff"}]}'),
    "no UTF-8 after a value that does not fit": instead(
        b'{"data": [{"id": 5}, {"id": "A\xff"}], "links": {"next": null}}'
    ),
    "half a surrogate pair in what is no page": instead(r'{"error": "\ud800"}'),
    "a number with too many digits that is no page": instead(b"9" * 5_000),
    "a constant that is no JSON": instead('{"data": [{"id": "\\ud800", "n": NaN}]}'),
    "a deep nest": instead(b'{"data": [{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"),
    "a deep nest that is never closed": instead(b'{"data": ' + b"[" * 100_000),
    "zeros": instead(bytes(1_000)),
    "a gzip of nothing": always(200, gzip.compress(b""), GZIP | REQUEST_ID),
}


@pytest.mark.parametrize("fault", NO_PAGES.values(), ids=NO_PAGES)
def test_a_body_that_is_no_page_is_asked_for_again_twice_and_then_told(
    trial: Trial, fault: Fault
) -> None:
    trial.recovers(honest, fault, fault)
    error = trial.fails(InvalidResponseError, honest, fault, fault, fault)
    assert error.attempts == 3
    assert error.request_id == "req-1"
    assert "200" in str(error)


def plain_instead_of_gzip(answer: Honest) -> Reply:
    return reply(200, answer.body, GZIP)


def gzip_with_a_wrong_checksum(answer: Honest) -> Reply:
    return reply(200, gzip.compress(answer.body)[:-8] + bytes(8), GZIP)


def gzip_cut_off(answer: Honest) -> Reply:
    return reply(200, gzip.compress(answer.body)[:-20], GZIP)


def gzip_cut_after_its_header(answer: Honest) -> Reply:
    return reply(200, gzip.compress(answer.body)[:10], GZIP)


def zlib_instead_of_gzip(answer: Honest) -> Reply:
    return reply(200, zlib.compress(answer.body), GZIP)


def brotli_nobody_asked_for(answer: Honest) -> Reply:
    return reply(200, answer.body, {"Content-Encoding": "br"})


def gzip_twice(answer: Honest) -> Reply:
    data = gzip.compress(gzip.compress(answer.body))
    return reply(200, data, {"Content-Encoding": "gzip, gzip"})


def cut_without_a_length(answer: Honest) -> Reply:
    return unframed(answer, answer.body[:-30])


def cut_without_a_length_after_a_value_that_does_not_fit(answer: Honest) -> Reply:
    return unframed(answer, b'{"data": [{"id": 5}, {"id": "A')


PASSING = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        plain_instead_of_gzip,
        gzip_with_a_wrong_checksum,
        gzip_cut_off,
        gzip_cut_after_its_header,
        zlib_instead_of_gzip,
        brotli_nobody_asked_for,
        gzip_twice,
    )
}
CUT = {
    fault.__name__.replace("_", " "): fault
    for fault in (
        cut_without_a_length,
        cut_without_a_length_after_a_value_that_does_not_fit,
    )
}
"""Nothing but the JSON tells that the connection closed early."""


@pytest.mark.parametrize("fault", (PASSING | CUT).values(), ids=PASSING | CUT)
def test_a_body_that_broke_on_the_way_is_asked_for_again(trial: Trial, fault: Fault) -> None:
    trial.recovers(honest, fault, fault)


@pytest.mark.parametrize("fault", CUT.values(), ids=CUT)
def test_a_body_without_a_length_that_stays_cut_is_no_page(trial: Trial, fault: Fault) -> None:
    error = trial.fails(InvalidResponseError, honest, fault, fault, fault)
    assert error.attempts == 3


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_body_that_stays_broken_ends_in_a_transport_error(trial: Trial, fault: Fault) -> None:
    policy = RetryPolicy(max_attempts=2)
    error = trial.fails(TransportError, honest, fault, fault, retry=policy)
    assert error.attempts == 2


def test_gzip_chunks_and_a_missing_length_are_all_the_same_page(trial: Trial) -> None:
    trial.recovers(
        lambda answer: gzipped(answer.body),
        lambda answer: Reply(chunked(answer.body, size=1)),
        lambda answer: unframed(answer, answer.body),
    )


def test_what_follows_the_end_of_a_gzip_does_no_harm(trial: Trial) -> None:
    def padded(answer: Honest) -> Reply:
        return reply(200, gzip.compress(answer.body) + bytes(500_000), GZIP)

    trial.recovers(padded, padded, padded)


def bomb(size_mib: int) -> bytes:
    """A gzip of so many MiB of zeros, made of one flushed block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + block * size_mib + b"\x03\x00"


@pytest.mark.parametrize(
    "headers", [{}, {"Transfer-Encoding": "chunked"}], ids=["length", "chunks"]
)
def test_a_gzip_bomb_is_an_error_at_once_and_before_it_fills_the_memory(
    trial: Trial, headers: dict[str, str]
) -> None:
    data = bomb(2_000)
    if headers:
        data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    made = reply(200, data, GZIP | headers)
    tracemalloc.start()
    try:
        error = trial.fails(InvalidResponseError, honest, lambda answer: made)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.attempts == 1
    assert "16 MiB" in str(error)
    assert peak < 60 * MIB


def test_a_plain_body_over_the_limit_is_an_error_at_once(trial: Trial) -> None:
    error = trial.fails(InvalidResponseError, honest, instead(b" " * (16 * MIB + 1)))
    assert error.attempts == 1
    assert "16 MiB" in str(error)


@pytest.mark.parametrize(("status", "kind"), [(503, ServerError), (418, APIError)])
def test_a_gzip_bomb_for_an_error_body_is_cut_and_the_status_decides(
    trial: Trial, status: int, kind: type[APIError]
) -> None:
    made = always(status, bomb(2_000), GZIP)
    tracemalloc.start()
    try:
        error = trial.fails(kind, honest, made, retry=RetryPolicy(max_attempts=1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.status_code == status
    assert len(error.body) == 64 * 1024
    assert peak < 30 * MIB


def test_an_error_document_of_many_megabytes_is_not_taken_apart(trial: Trial) -> None:
    entries = [{"detail": "x" * 1_000}] * 5_000
    error = trial.fails(APIError, always(418, json.dumps({"errors": entries})))
    assert len(str(error)) < 2_000


def test_204_is_an_answer_but_no_page(trial: Trial) -> None:
    error = trial.fails(APIError, honest, always(204, headers=REQUEST_ID))
    assert (error.status_code, error.attempts, error.body) == (204, 1, b"")
    assert error.request_id == "req-1"
