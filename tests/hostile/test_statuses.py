"""Statuses other than 200, Retry-After and the RateLimit headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate

import pytest

from hostile.drive import AsyncDrive, Drive, SkippingClock, SyncDrive, Trial
from hostile.fault_server import Fault, FaultServer, Honest, Reply, always, honest, reply
from http_library import http
from klaviyo_variant_jobs import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ErrorDetail,
    NotFoundError,
    PermissionDeniedError,
    QuotaDeadlineError,
    RateLimiter,
    RateLimitError,
    RetryPolicy,
    RevisionRetiredError,
    ServerError,
    TransportError,
)

HTML = "<html><head><title>Oops</title></head><body>\x1b[31m\r\n</body></html>"
REQUEST_ID = {"X-Klaviyo-Req-Id": "req-7"}
TWICE = RetryPolicy(max_attempts=2)


@pytest.mark.parametrize("body", [HTML, ""], ids=["HTML", "nothing"])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 599])
def test_a_server_error_is_tried_again_and_then_told(trial: Trial, status: int, body: str) -> None:
    fault = always(status, body, REQUEST_ID, content_type="text/html")
    trial.recovers(honest, fault, fault)
    error = trial.fails(ServerError, honest, fault, fault, retry=TWICE)
    assert (error.status_code, error.attempts, error.retry_after) == (status, 2, None)
    assert (error.request_id, error.errors, error.body) == ("req-7", (), body.encode())
    assert "\x1b" not in str(error)


def test_a_request_timeout_of_the_server_is_tried_again_and_then_told(trial: Trial) -> None:
    fault = always(408, "", {"Connection": "close"})
    trial.recovers(honest, fault, fault)
    error = trial.fails(APIError, honest, fault, fault, retry=TWICE)
    assert (error.status_code, error.attempts) == (408, 2)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
def test_a_redirect_is_not_followed(trial: Trial, elsewhere: FaultServer, status: int) -> None:
    location = {"Location": elsewhere.link("next")}
    error = trial.fails(APIError, honest, always(status, headers=location))
    assert (error.status_code, error.attempts) == (status, 1)
    assert error.headers["location"] == elsewhere.link("next")


LOCATIONS = ["http://[", "https://host:99999/", "http:///path", "//x/", "", "\\\\x", "\xff", "/"]


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("kind", [SyncDrive, AsyncDrive])
@pytest.mark.parametrize("through", [False, True])
def test_a_redirect_to_nowhere_is_an_error_too(
    kind: Callable[..., Drive], server: FaultServer, location: str, through: bool
) -> None:
    server.say(always(302, headers={"Location": location}))
    run = kind(through=through).iterate(server.url, retry=RetryPolicy(max_attempts=1))
    # httpx looks at the address itself and says so in its own way.
    assert isinstance(run.error, APIError | TransportError)
    assert run.ids == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (410, RevisionRetiredError),
        (418, APIError),
        (201, APIError),
        (206, APIError),
        (600, APIError),
        (999, APIError),
    ],
)
@pytest.mark.parametrize("body", [HTML, '{"errors": [{"detail": "no", "code": "c"}]}'])
def test_an_answer_that_no_repetition_mends_is_told_at_once(
    trial: Trial, status: int, kind: type[APIError], body: str
) -> None:
    fault = always(status, body, {**REQUEST_ID, "Retry-After": "3"})
    error = trial.fails(kind, honest, fault)
    assert (error.status_code, error.attempts, error.retry_after) == (status, 1, 3.0)
    assert error.request_id == "req-7"
    assert [detail.code for detail in error.errors] == ([] if body is HTML else ["c"])


ERROR_DOCUMENTS: dict[str, str | bytes] = {
    "no list": '{"errors": {}}',
    "entries that are no objects": '{"errors": [null, 5, "x", []]}',
    "members of odd types": '{"errors": [{"id": 1, "code": [], "detail": {}, "source": "x"}]}',
    "null members": '{"errors": [{"id": null, "source": null, "meta": null}]}',
    "half a surrogate pair": r'{"errors": [{"id": "\ud800", "detail": "\udfff\u0000"}]}',
    "control characters": r'{"errors": [{"detail": "a\u001b[31m\r\nERROR forged line"}]}',
    "a deep nest": '{"errors": ' + "[" * 50_000,
    "a number with too many digits": '{"errors": ' + "9" * 50_000 + "}",
    "no number": '{"errors": NaN}',
    "no UTF-8": b'{"errors": [{"detail": "\xff"}]}',
    "an endless detail": json.dumps({"errors": [{"detail": "x" * 100_000}] * 9}),
}


@pytest.mark.parametrize("body", ERROR_DOCUMENTS.values(), ids=ERROR_DOCUMENTS)
def test_an_error_document_of_any_shape_is_an_error_that_can_be_logged(
    trial: Trial, body: str | bytes
) -> None:
    error = trial.fails(BadRequestError, honest, always(400, body))
    assert error.status_code == 400
    assert all(isinstance(detail, ErrorDetail) for detail in error.errors)
    assert str(error).isprintable()
    assert len(str(error)) < 2_000


THROTTLED = '{"errors": [{"code": "throttled", "detail": "Expected available in 0 seconds."}]}'


def throttled(retry_after: str | None, status: int = 429) -> Fault:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return always(status, THROTTLED, headers, content_type=None)


# What is waited when nothing can be read: half of the base delay of 0.5 s, after a 429 one second.
@pytest.mark.parametrize(
    ("retry_after", "after_429_s", "after_503_s"),
    [
        (None, 1.0, 0.25),
        ("0", 1.0, 0.25),
        ("1", 1.0, 1.0),
        ("0.6", 1.0, 0.6),
        (" 7 ", 7.0, 7.0),
        ("12.5", 12.5, 12.5),
        ("-5", 1.0, 0.25),
        ("soon", 1.0, 0.25),
        ("", 1.0, 0.25),
        ("1e3", 1.0, 0.25),
        ("0x10", 1.0, 0.25),
        ("\u0661", 1.0, 0.25),
        ("nan", 1.0, 0.25),
        ("inf", 1.0, 0.25),
        ("1, 1", 1.0, 0.25),
        ("Fri, 99 Nov 2026 99:99:99 GMT", 1.0, 0.25),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1.0, 0.25),
    ],
)
def test_retry_after_is_obeyed_when_it_can_be_read(
    trial: Trial, retry_after: str | None, after_429_s: float, after_503_s: float
) -> None:
    raw = None if retry_after is None else retry_after.encode().decode("latin-1")
    for status, expected_s in ((429, after_429_s), (503, after_503_s)):
        clock = SkippingClock()
        trial.recovers(honest, throttled(raw, status), clock=clock, rate_limiter=RateLimiter())
        assert clock.skipped_s == pytest.approx(expected_s, abs=0.05)


@pytest.mark.parametrize("ahead_s", [0, 86_400])
def test_a_retry_after_that_is_a_date_is_measured_against_that_of_the_answer(
    trial: Trial, ahead_s: float
) -> None:
    clock = SkippingClock()

    def dated(answer: Honest) -> Reply:
        now_s = clock.time() + ahead_s
        dates = {"Date": now_s, "Retry-After": now_s + 40}
        return reply(429, headers={n: formatdate(at, usegmt=True) for n, at in dates.items()})

    trial.recovers(honest, dated, clock=clock, rate_limiter=RateLimiter())
    assert clock.skipped_s == pytest.approx(40.0, abs=0.5)


def test_a_retry_after_that_is_a_date_is_measured_by_our_clock_when_the_answer_has_none(
    trial: Trial,
) -> None:
    clock = SkippingClock()

    def dated(answer: Honest) -> Reply:
        return reply(429, headers={"Retry-After": formatdate(clock.time() + 40, usegmt=True)})

    trial.recovers(honest, dated, clock=clock, rate_limiter=RateLimiter())
    assert 35 < clock.skipped_s <= 41


@pytest.mark.parametrize("retry_after", ["86400", "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_beyond_the_deadline_is_told_at_once(trial: Trial, retry_after: str) -> None:
    clock = SkippingClock()
    error = trial.fails(RateLimitError, honest, throttled(retry_after), clock=clock)
    assert (error.status_code, error.attempts) == (429, 1)
    assert error.retry_after is not None
    assert error.retry_after >= 86_400
    assert clock.skipped_s == 0
    error_503 = trial.fails(ServerError, honest, throttled(retry_after, 503), clock=clock)
    assert error_503.retry_after is not None
    assert clock.skipped_s == 0


def test_a_lasting_429_ends_in_a_rate_limit_error(trial: Trial) -> None:
    clock = SkippingClock()
    policy = RetryPolicy(max_attempts=5)
    faults = [throttled("2")] * 5
    began = clock.monotonic()
    error = trial.fails(
        RateLimitError, honest, *faults, retry=policy, clock=clock, rate_limiter=RateLimiter()
    )
    assert (error.status_code, error.attempts, error.retry_after) == (429, 5, 2.0)
    assert error.errors[0].code == "throttled"
    # All time, not only what was skipped: a wait is shorter by what really passed before it.
    assert clock.monotonic() - began >= 8


def limits(limit: str, remaining: str = "0", reset: str = "0") -> Fault:
    def fault(answer: Honest) -> Reply:
        headers = {
            "RateLimit-Limit": limit,
            "RateLimit-Remaining": remaining,
            "RateLimit-Reset": reset,
        }
        return reply(200, answer.body, headers)

    return fault


@pytest.mark.parametrize(
    "fault",
    [
        limits("75", "74", "1"),
        limits("75, 75;w=1, 750;w=60", "74"),
        limits("700, 75;w=1, 700;w=60", "699", "10"),
        limits("225, 75;w=1, 750;w=60, 225;w=86400", "224", "80000"),
        limits("0", "0", "0"),
        limits("0, 0;w=0, 0;w=1", "-1", "-1"),
        limits("75;w=1;burst=2;policy=x, 750;w=60;x", "many", "soon"),
        limits("9" * 400, "9" * 400, "9" * 400),
        limits(";;;,,,===", "\xff", "\xff"),
        limits("nan, inf;w=nan", "nan", "inf"),
        limits("75, " + ", ".join(f"{n};w={n}" for n in range(1, 3_000)), "3"),
        limits("", "", ""),
    ],
    ids=[
        "integers", "recorded", "steady", "daily", "zero", "zeros", "parameters", "huge",
        "punctuation", "not numbers", "thousands", "empty",
    ],
)  # fmt: skip
def test_rate_limit_headers_of_any_kind_lose_no_job(trial: Trial, fault: Fault) -> None:
    trial.recovers(fault, fault, fault, rate_limiter=RateLimiter())


def test_a_quota_that_opens_after_the_deadline_is_a_quota_deadline_error(trial: Trial) -> None:
    tight = limits("1, 1;w=1, 1;w=86400")
    policy = RetryPolicy(deadline=60.0)
    error = trial.fails(QuotaDeadlineError, tight, rate_limiter=RateLimiter(), retry=policy)
    assert error.attempts == 0
    assert error.retry_after is not None
    # A limit of a day that only headers named is tried before the day is over.
    assert 60.0 < error.retry_after <= 86_400.0


def test_cookies_that_a_server_sets_are_neither_kept_nor_sent(trial: Trial) -> None:
    cookies = [
        "a=b",
        "a=\xff",
        "=;",
        "; ;",
        "x=y; Domain=.klaviyo.com; Path=\\; Expires=garbage; Max-Age=-99999999999999999999",
        "__cf_bm=secret; Expires=Fri, 31-Dec-99999 23:59:59 GMT",
        '"="',
        "big=" + "x" * 20_000,
    ]

    def baking(answer: Honest) -> Reply:
        return reply(200, answer.body, [("Set-Cookie", cookie) for cookie in cookies])

    trial.recovers(baking, baking, baking)
    assert not any("cookie" in request.headers for request in trial.server.requests)
    error = trial.fails(APIError, always(418, "", [("Set-Cookie", "s=secret")]))
    assert "secret" not in repr(error.headers)


def judging(response: http.Response) -> None:
    response.raise_for_status()


async def judging_async(response: http.Response) -> None:
    response.raise_for_status()


def test_a_hook_that_raises_for_a_status_changes_nothing_of_what_the_status_means(
    server: FaultServer,
) -> None:
    server.say(throttled("2"), always(401))
    with http.Client(event_hooks={"response": [judging]}) as own:
        run = SyncDrive().iterate(server.url, http_client=own)
    assert isinstance(run.error, AuthenticationError)
    assert run.error.attempts == 2
    assert len(server.requests) == 2


def test_a_hook_that_raises_for_a_status_changes_nothing_for_the_async_client_either(
    server: FaultServer,
) -> None:
    server.say(throttled("2"), always(401))
    own = http.AsyncClient(event_hooks={"response": [judging_async]})
    run = AsyncDrive().iterate(server.url, http_client=own)
    assert isinstance(run.error, AuthenticationError)
    assert run.error.attempts == 2
    assert len(server.requests) == 2
