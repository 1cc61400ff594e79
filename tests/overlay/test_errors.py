"""Errors tell what happened, keep what the API said, and survive a pickle."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from klaviyo_variant_jobs import (
    APIError,
    AuthenticationError,
    BadRequestError,
    Checkpoint,
    CheckpointError,
    CursorError,
    DeadlineError,
    ErrorDetail,
    InvalidResponseError,
    KlaviyoError,
    NotFoundError,
    PaginationError,
    PermissionDeniedError,
    QuotaDeadlineError,
    RateLimitError,
    RevisionRetiredError,
    ServerError,
    TokenError,
    TransportError,
)
from klaviyo_variant_jobs.errors import AttemptedError, api_error, one_line, parse_error_document

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
MEMBERS = ("id", "code", "title", "detail", "source", "meta", "status", "links")


def made(
    status: int,
    body: bytes = b"",
    retry_after: float | None = None,
    cursor: str | None = None,
    **headers: str,
) -> Any:
    return api_error(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body,
        revision="2026-07-15",
        cursor=cursor,
        retry_after=retry_after,
    )


def document(*entries: object) -> bytes:
    return json.dumps({"errors": entries}).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (410, RevisionRetiredError),
        (429, RateLimitError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (520, ServerError),
        (599, ServerError),
        (201, APIError),
        (204, APIError),
        (301, APIError),
        (304, APIError),
        (402, APIError),
        (418, APIError),
        (600, APIError),
    ],
)
def test_each_status_has_its_class(status: int, kind: type[APIError]) -> None:
    error = made(status)
    assert type(error) is kind
    assert error.status_code == status
    assert isinstance(error, KlaviyoError)


def test_the_details_of_an_error_document_are_kept() -> None:
    entry = {
        "id": "5c1d",
        "status": 400,
        "code": "invalid",
        "title": "Invalid input.",
        "detail": "Invalid filter operator.",
        "source": {"parameter": "filter", "pointer": None},
        "meta": {"hint": [1]},
        "links": {},
    }
    (detail,) = made(400, document(entry)).errors
    assert detail == ErrorDetail(
        id="5c1d",
        code="invalid",
        title="Invalid input.",
        detail="Invalid filter operator.",
        source={"parameter": "filter", "pointer": None},
        meta={"hint": [1]},
    )


def test_the_message_says_what_the_api_said_where_and_what_to_do() -> None:
    error = made(
        400,
        document({"detail": "Invalid cursor provided.", "source": {"parameter": "page[cursor]"}}),
        x_klaviyo_req_id="req-7",
    )
    assert str(error) == (
        "HTTP 400: Invalid cursor provided. (at page[cursor]) [revision 2026-07-15, request req-7]"
        "; check status, fields and cursor against the pinned revision"
    )


BAD_CURSOR = {"detail": "Invalid cursor provided.", "source": {"parameter": "page[cursor]"}}


@pytest.mark.parametrize(
    "entry",
    [BAD_CURSOR, {"detail": "The CURSOR has expired."}, {"source": {"parameter": "page[cursor]"}}],
)
def test_a_cursor_that_the_api_refuses_has_a_class_and_an_advice_of_its_own(
    entry: dict[str, Any],
) -> None:
    error = made(400, document({"detail": "First."}, entry), cursor="stale\n" + "x" * 100)
    assert type(error) is CursorError
    assert isinstance(error, BadRequestError)
    assert str(error).endswith("; list from the start: the API no longer accepts the cursor")
    assert "cursor stale " in str(error)
    assert "x" * 60 not in str(error)


@pytest.mark.parametrize(
    ("status", "cursor", "kind"),
    [(400, None, BadRequestError), (500, "c", ServerError), (403, "c", PermissionDeniedError)],
)
def test_other_errors_that_speak_of_a_cursor_are_of_the_class_of_their_status(
    status: int, cursor: str | None, kind: type[APIError]
) -> None:
    assert type(made(status, document(BAD_CURSOR), cursor=cursor)) is kind


def test_a_400_about_something_else_is_no_cursor_error() -> None:
    assert type(made(400, document({"detail": "Bad filter."}), cursor="c")) is BadRequestError
    assert type(made(400, b"cursor", cursor="c")) is BadRequestError


def test_a_proxy_that_refuses_us_says_what_to_look_at() -> None:
    assert "HTTPS_PROXY" in str(made(407))


def test_the_message_says_how_long_the_api_wants_us_to_wait() -> None:
    assert "retry after 86400 s" in str(made(429, retry_after=86400.0))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"detail": "Detail.", "title": "Title."}, "Detail."),
        ({"title": "Title.", "code": "code"}, "Title."),
        ({"code": "throttled"}, "throttled"),
        ({}, "no detail given"),
        ({"detail": "Bad.", "source": {"pointer": "/data"}}, "Bad. (at /data)"),
        ({"detail": "Bad.", "source": {}}, "Bad."),
    ],
)
def test_a_detail_reads_as_the_best_of_what_it_has(entry: dict[str, Any], said: str) -> None:
    (detail,) = parse_error_document(document(entry))
    assert str(detail) == said


def test_the_request_is_named_by_the_header_or_else_by_the_first_error() -> None:
    body = document({"id": "from-body"}, {"id": "second"})
    assert made(500, body).request_id == "from-body"
    assert made(500, body, x_klaviyo_req_id="from-header").request_id == "from-header"
    assert made(500).request_id is None


def test_a_legacy_message_becomes_one_detail() -> None:
    assert made(410, b'{"message": "Gone for good."}').errors == (
        ErrorDetail(detail="Gone for good."),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>403</html>",
        b"\xff\xfe\x00",
        b"[]",
        b"17",
        b'"text"',
        b"{}",
        b'{"errors": {}}',
        b'{"errors": "text"}',
        b'{"errors": [1, null, "text", []]}',
        b'{"message": 5}',
        b"[" * 100_000,
        b'{"errors": [{"id": 1' + b"0" * 5000 + b"}]}",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_error_document_has_no_details_and_does_not_raise(body: bytes) -> None:
    error = made(503, body)
    assert error.errors == ()
    assert error.body == body[: 64 * 1024]


def test_members_of_unexpected_types_are_left_out_and_the_others_stay() -> None:
    entry = {"id": 5, "code": None, "title": ["t"], "detail": "Kept.", "source": "s", "meta": []}
    assert parse_error_document(document(entry, "text", {"code": "second"})) == (
        ErrorDetail(detail="Kept."),
        ErrorDetail(code="second"),
    )


@given(
    anything
    | st.fixed_dictionaries(
        {
            "errors": st.lists(
                st.dictionaries(st.sampled_from(MEMBERS), anything) | anything, max_size=4
            )
        }
    )
)
@example({"errors": [{"source": {"parameter": ["x"]}}]})
@example({"message": "text"})
def test_any_json_makes_an_error_with_a_message(content: object) -> None:
    error = made(400, json.dumps(content).encode())
    assert str(error).startswith("HTTP 400: ")
    for detail in error.errors:
        assert isinstance(str(detail), str)
    assert pickle.loads(pickle.dumps(error)).errors == error.errors


@given(st.binary(max_size=200))
def test_any_bytes_make_an_error_with_a_printable_message(body: bytes) -> None:
    error = made(502, body, content_type="text/html; charset=utf-8")
    assert str(error).isprintable()
    assert error.body == body


def test_a_body_that_is_no_document_is_glimpsed() -> None:
    body = b"<html>\n<title>Just a\x07 moment...</title>" + b"x" * 500
    said = str(made(403, body, content_type="text/html; charset=UTF-8"))
    assert "539 bytes of text/html that are no error document: '<html> <title>Just a" in said
    assert "the API did not write this: check the proxies" in said
    assert len(said) < 500
    assert "no body" in str(made(502))


def test_a_body_is_kept_up_to_64_kib() -> None:
    assert len(made(500, b"x" * 100_000).body) == 64 * 1024


def test_headers_are_kept_in_lower_case_but_for_cookies() -> None:
    error = made(503, set_cookie="__cf_bm=secret", set_cookie2="secret", server="cloudflare")
    assert error.headers == {"server": "cloudflare"}


PLACE = Checkpoint(revision="2026-07-15", cursor="c", offset=3, last_job_id="J3")


def every_error() -> list[KlaviyoError]:
    statuses = (204, 400, 401, 403, 404, 410, 429, 503)
    body = document({"id": "req", "detail": "Bad.", "source": {"pointer": "/x"}, "meta": {"a": 1}})
    errors: list[KlaviyoError] = [
        made(status, body, 2.5, server="cloudflare", x_klaviyo_req_id="req") for status in statuses
    ]
    errors.append(made(400, document(BAD_CURSOR), cursor="c", x_klaviyo_req_id="req"))
    errors += [
        AttemptedError("the client was misused", attempts=1),
        TransportError("broke off", attempts=3, retry_after=1.5),
        DeadlineError("out of time", attempts=0, retry_after=12.0),
        QuotaDeadlineError("too late", attempts=0, retry_after=12.0),
        InvalidResponseError("no page", body=b"<html>", request_id="req"),
        PaginationError("loops"),
        TokenError("callable failed"),
        CheckpointError("cut"),
        KlaviyoError("closed"),
    ]
    for error in errors:
        error.checkpoint = PLACE
        error.add_note(f"resume from checkpoint {PLACE}")
        if isinstance(error, AttemptedError):
            error.attempts = 8
            error.is_lasting = True
    return errors


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_pickles_and_copies_with_all_it_holds(error: KlaviyoError) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert back.args == error.args
        assert vars(back) == vars(error)
        assert back.checkpoint == PLACE
        assert back.__notes__ == error.__notes__
    assert vars(copy.copy(error)) == vars(error)


def test_every_class_of_the_family_is_tried_above() -> None:
    import klaviyo_variant_jobs as package

    family = {
        member
        for member in vars(package).values()
        if isinstance(member, type) and issubclass(member, KlaviyoError)
        # Those of a watch, which come with it, are pickled where they are raised.
        if member.__module__ != "klaviyo_variant_jobs.watch"
    }
    assert {type(error) for error in every_error()} == family


def test_wrong_arguments_and_foreign_checkpoints_are_value_errors_as_well() -> None:
    assert issubclass(CheckpointError, ValueError)
    assert not issubclass(APIError, ValueError)


def test_time_running_out_is_told_apart_from_a_broken_connection() -> None:
    assert not issubclass(DeadlineError, TransportError)
    assert not issubclass(TransportError, DeadlineError)
    assert issubclass(QuotaDeadlineError, DeadlineError)


@pytest.mark.parametrize(
    "kind", [TransportError, DeadlineError, QuotaDeadlineError, InvalidResponseError, APIError]
)
def test_every_error_of_a_request_has_these_attributes(kind: type[AttemptedError]) -> None:
    error = kind("failed")
    assert (error.attempts, error.retry_after, error.checkpoint) == (1, None, None)
    assert (error.request_id, error.body, error.is_lasting) == (None, b"", False)
    full = kind("failed", attempts=3, retry_after=2.5, request_id="req", body=b"<html>")
    assert (full.attempts, full.retry_after, full.request_id) == (3, 2.5, "req")
    assert full.body == b"<html>"


@given(st.text(st.characters()), st.integers(1, 50))
@example("\ud800\x1b[31m\u202e\n\r", 10)
def test_foreign_text_becomes_one_printable_line_of_bounded_length(text: str, longest: int) -> None:
    line = one_line(text, longest)
    assert len(line) <= longest
    assert line.isprintable()
    line.encode()
