"""One request as effects: what is asked for, in which order, and when it gives up.

Driven by hand, so that every outcome and every moment is the test's own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest

from fake_api import KEY, jobs, next_link, page_body
from klaviyo_variant_jobs import (
    NEWEST,
    APIError,
    AuthenticationError,
    BadRequestError,
    Clock,
    CursorError,
    DeadlineError,
    InvalidResponseError,
    KlaviyoError,
    Page,
    PaginationError,
    PermissionDeniedError,
    Permit,
    QuotaDeadlineError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TokenError,
    TransportError,
    Wait,
)
from klaviyo_variant_jobs.auth import credential_from
from klaviyo_variant_jobs.decode.fit import PageDecoder
from klaviyo_variant_jobs.decode.page import PAGE_LIMIT
from klaviyo_variant_jobs.events import Observer
from klaviyo_variant_jobs.exchange import (
    Call,
    Close,
    Effect,
    Query,
    Read,
    Send,
    Sleep,
    Terms,
    exchange,
)
from klaviyo_variant_jobs.iteration import Stopped

QUOTA = {"ratelimit-limit": "75, 75;w=1, 750;w=60", "ratelimit-remaining": "74"}
OF_THE_API = {"content-type": "application/vnd.api+json"}


@attrs.frozen
class Answer:
    """A response, or the start of one whose body breaks off."""

    status: int
    headers: dict[str, str]
    body: bytes
    breaks: Exception | None = None


PAGE = Answer(200, {"x-klaviyo-req-id": "req"}, page_body(jobs(2)))


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(code, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def error_document(**entry: Any) -> bytes:
    return json.dumps({"errors": [entry]}).encode()


class Hands(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.chance: Callable[[], float] = lambda: 0.0

    monotonic = property(lambda self: lambda: self.now)  # type: ignore[assignment]

    def time(self) -> float:
        return 1_793_610_000.0 + self.now

    def random(self) -> float:
        return self.chance()


class Quota:
    """A limiter that makes requests wait as scripted and remembers what it was told."""

    def __init__(self) -> None:
        self.waits: deque[Wait] = deque()
        self.asked: list[tuple[Wait | None, float]] = []
        self.given: list[Permit] = []
        self.told: list[dict[str, Any]] = []
        self._pending: set[Permit] = set()

    def acquire(self, earlier: Wait | None, *, left_s: float) -> Permit | Wait:
        self.asked.append((earlier, left_s))
        if self.waits:
            return self.waits.popleft()
        self.given.append(Permit())
        self._pending.add(self.given[-1])
        return self.given[-1]

    def release(
        self,
        permit: Permit,
        *,
        sent: bool = True,
        said: RateLimit | None = None,
        pause_s: float | None = None,
    ) -> None:
        if permit in self._pending:
            self._pending.remove(permit)
            self.told.append({"sent": sent, "said": said, "pause_s": pause_s})

    def flush(self) -> None: ...

    @property
    def pending(self) -> int:
        return len(self._pending)


USED = {"sent": True, "said": None, "pause_s": None}
NOT_SENT = {"sent": False, "said": None, "pause_s": None}


class Request:
    """An exchange in the hands of a test."""

    def __init__(
        self, *, token: Callable[[], Any] | None = None, cursor: str | None = None, **policy: Any
    ) -> None:
        self.clock = Hands()
        self.quota = Quota()
        self.query = Query("queued", ("status",), cursor)
        self.steps = exchange(
            Terms(
                revision="2026-07-15",
                decoder=PageDecoder(NEWEST.load().page_model),
                credential=credential_from(KEY if token is None else None, token),
                limiter=self.quota,
                policy=RetryPolicy(**policy),
                clock=self.clock,
                observer=Observer(self.clock, "2026-07-15", listener=None),
                explain=lambda error, authorization: error,
            ),
            self.query,
        )
        self.effect: Effect = Sleep(0)
        self.closed: Effect = Sleep(0)  # How the last response was let go of.

    # One effect at a time.

    def first(self) -> Effect:
        self.effect = next(self.steps)
        return self.effect

    def give(self, result: Any = None, *, after: float = 0.0) -> Effect:
        self.clock.now += after
        self.effect = self.steps.send(result)
        return self.effect

    def throw(self, failure: BaseException, *, after: float = 0.0) -> Effect:
        self.clock.now += after
        self.effect = self.steps.throw(failure)
        return self.effect

    def called(self, *, after: float = 0.0) -> Effect:
        """Make the call that was asked for, as a driver does."""
        assert isinstance(self.effect, Call)
        try:
            result = self.effect.function()
        except Exception as failure:
            return self.throw(failure, after=after)
        return self.give(result, after=after)

    # Several at a time.

    def start(self) -> Effect:
        """From the beginning to what comes after the calls: a `Send`, or a `Sleep` for a permit."""
        self.first()
        return self._through_calls()

    def slept(self, *, after: float | None = None) -> Effect:
        """Let a sleep pass, as long as it was asked for, and the calls that follow."""
        assert isinstance(self.effect, Sleep)
        self.give(after=self.effect.seconds if after is None else after)
        return self._through_calls()

    def _through_calls(self) -> Effect:
        while isinstance(self.effect, Call):
            self.called()
        return self.effect

    def attempt(self, outcome: Answer | Exception, *, after: float = 0.0) -> Effect:
        """Give a `Send` its outcome, and its body and its end; the effect that follows."""
        assert isinstance(self.effect, Send)
        if isinstance(outcome, Exception):
            assert self.throw(outcome, after=after) == Close(failed=True)
            return self.give()
        read = self.give((outcome.status, outcome.headers), after=after)
        assert isinstance(read, Read)
        try:
            read.reader.feed(outcome.body)
            if outcome.breaks is not None:
                raise outcome.breaks
        except Exception as failure:
            assert self.throw(failure) == Close(failed=True)
        else:
            self.give()
        self.closed = self.effect
        assert isinstance(self.effect, Close)
        return self.give()

    def page(self, outcome: Answer = PAGE, *, after: float = 0.0) -> Page[Any]:
        with pytest.raises(StopIteration) as stop:
            self.attempt(outcome, after=after)
        page: Page[Any] = stop.value.value
        assert self.quota.pending == 0
        return page

    def fails(self, kind: type[KlaviyoError], step: Callable[..., Effect], *given: Any) -> Any:
        with pytest.raises(kind) as caught:
            step(*given)
        assert type(caught.value) is kind
        assert self.quota.pending == 0
        return caught.value

    def refused(
        self, kind: type[KlaviyoError], outcome: Answer | Exception, *, after: float = 0.0
    ) -> Any:
        return self.fails(kind, partial(self.attempt, outcome, after=after))


# The way of a page.


def test_a_page_takes_a_permit_a_request_its_body_and_its_end() -> None:
    request = Request(deadline=50)
    call = request.first()
    assert isinstance(call, Call)
    assert call.seconds == 50
    send = request.called(after=2)
    assert isinstance(send, Send)
    assert (send.query, send.seconds) == (request.query, 48)
    assert send.authorization.header == f"Klaviyo-API-Key {KEY}"
    read = request.give((200, PAGE.headers), after=3)
    assert isinstance(read, Read)
    assert read.seconds == 45
    read.reader.feed(PAGE.body)
    assert request.give(after=4) == Close(failed=False)
    assert request.quota.told == [USED]
    with pytest.raises(StopIteration) as stop:
        request.give()
    page: Page[Any] = stop.value.value
    assert [job.id for job in page.jobs] == ["J001", "J002"]
    assert page.request_id == "req"
    assert (page.rate_limit, page.revision_served, page.anomalies) == (None, None, ())
    assert request.quota.asked == [(None, 50)]


def test_a_page_knows_its_cursor_and_the_next_one() -> None:
    request = Request(cursor="c1")
    request.start()
    page = request.page(status(200, page_body(jobs(1), next_link("c2"))))
    assert (page.cursor, page.next_cursor) == ("c1", "c2")


@pytest.mark.parametrize(
    ("links", "cursor"),
    [
        ({}, None),
        (None, None),
        ({"next": None}, None),
        ({"next": {"href": next_link("c2")}}, "c2"),
        ({"next": "http://inside.example:8080/x?page[cursor]=c2"}, "c2"),
        ({"next": "?page%5Bcursor%5D=c2"}, "c2"),
    ],
)
def test_the_next_cursor_is_found_in_whatever_form_the_link_has(
    links: Any, cursor: str | None
) -> None:
    request = Request()
    request.start()
    page = request.page(status(200, json.dumps({"data": [], "links": links}).encode()))
    assert page.next_cursor == cursor


@pytest.mark.parametrize("links", [{"next": 5}, {"next": [next_link("c2")]}, "text", [1]])
def test_a_next_link_that_does_not_fit_does_not_read_as_the_end_of_the_list(links: Any) -> None:
    request = Request()
    request.start()
    page = request.page(status(200, json.dumps({"data": jobs(1), "links": links}).encode()))
    assert len(page.jobs) == 1
    assert page.anomalies
    with pytest.raises(PaginationError):
        _ = page.next_cursor


# What the limiter hears.


@pytest.mark.parametrize("headers", [{"x-klaviyo-req-id": "req"}, OF_THE_API])
def test_the_limiter_hears_what_an_answer_of_the_api_says_of_the_quota(
    headers: dict[str, str],
) -> None:
    request = Request()
    request.start()
    page = request.page(Answer(200, headers | QUOTA, PAGE.body))
    assert page.rate_limit is not None
    assert page.rate_limit.remaining == 74
    assert request.quota.told == [USED | {"said": page.rate_limit}]


def test_the_limiter_hears_the_quota_of_an_error_too() -> None:
    request = Request()
    request.start()
    request.refused(BadRequestError, status(400, ratelimit_remaining="3", x_klaviyo_req_id="req"))
    assert request.quota.told[0]["said"].remaining == 3


@pytest.mark.parametrize("code", [200, 403, 503])
def test_the_limiter_does_not_hear_the_quota_of_a_proxy(code: int) -> None:
    request = Request(max_attempts=1)
    request.start()
    headers = {"ratelimit-limit": "1, 1;w=3600", "content-type": "text/html"}
    with pytest.raises(KlaviyoError):
        request.attempt(Answer(code, headers, b"<html>"))
    assert request.quota.told == [USED]


def test_a_full_quota_pauses_everyone_and_waits_a_second_at_least() -> None:
    request = Request(base_delay=0)
    request.start()
    assert request.attempt(status(429)) == Sleep(1.0)
    assert request.quota.told[-1]["pause_s"] == 1.0
    request.slept()
    assert request.attempt(status(429, retry_after="0")) == Sleep(1.0)
    request.slept()
    assert request.attempt(status(429, retry_after="12")) == Sleep(12.0)
    assert request.quota.told[-1]["pause_s"] == 12.0


def test_a_429_that_the_api_did_not_write_pauses_everyone_for_minutes_at_most() -> None:
    request = Request()
    request.start()
    firewall = status(429, b"<html>", content_type="text/html", retry_after="86400")
    assert request.refused(RateLimitError, firewall).retry_after == 86400.0
    assert request.quota.told[-1]["pause_s"] == 120.0
    request = Request()
    request.start()
    request.refused(RateLimitError, status(429, retry_after="86400", x_klaviyo_req_id="req"))
    assert request.quota.told[-1]["pause_s"] == 86400.0


def test_other_errors_pause_nobody() -> None:
    request = Request(base_delay=0)
    request.start()
    request.attempt(status(503, retry_after="12"))
    assert request.quota.told == [USED]


def test_a_broken_connection_is_tried_again_and_its_place_counts_as_used() -> None:
    request = Request(base_delay=1.0)
    request.clock.chance = lambda: 0.25
    request.start()
    assert request.attempt(TransportError("reset")) == Sleep(0.25)
    assert request.quota.told == [USED]
    request.slept()
    request.page()


# What is tried again.


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 520, 524, 599])
def test_a_failing_server_is_asked_again_after_the_backoff(code: int) -> None:
    request = Request(base_delay=2.5)
    request.clock.chance = lambda: 0.5
    request.start()
    assert request.attempt(status(code)) == Sleep(1.25)
    assert isinstance(request.slept(), Send)
    request.page()


@pytest.mark.parametrize("code", [204, 301, 304, 400, 401, 403, 404, 407, 410, 418, 600])
def test_any_other_status_is_an_error_at_once(code: int) -> None:
    request = Request()
    request.start()
    with pytest.raises(APIError) as caught:
        request.attempt(status(code, b"<html>"))
    assert caught.value.status_code == code
    assert caught.value.attempts == 1
    assert request.quota.told == [USED]


def test_an_html_403_is_never_tried_again() -> None:
    request = Request()
    request.start()
    request.refused(PermissionDeniedError, status(403, b"<html>", cf_mitigated="challenge"))


def test_a_failure_that_trying_again_cannot_mend_is_told_at_once() -> None:
    request = Request()
    request.start()
    failure = TransportError("no such host")
    failure.is_lasting = True
    assert request.refused(TransportError, failure) is failure
    assert failure.attempts == 1


def test_what_a_hook_of_the_caller_raised_is_raised_as_it_is() -> None:
    request = Request()
    request.start()
    failure = LookupError("mine")
    with pytest.raises(LookupError) as caught:
        request.attempt(failure)
    assert caught.value is failure
    assert request.quota.told == [USED]


def test_a_body_that_breaks_off_is_tried_again_on_another_connection() -> None:
    request = Request(base_delay=0)
    request.start()
    broken = TransportError("broke off")
    assert request.attempt(attrs.evolve(PAGE, breaks=broken)) == Sleep(0)
    request.slept()
    request.page()


def test_a_compressed_body_that_breaks_off_is_tried_again() -> None:
    request = Request(base_delay=0)
    request.start()
    half = Answer(200, {"content-encoding": "gzip"}, b"\x1f\x8b\x08\x00")
    assert request.attempt(half) == Sleep(0)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"data": [{"id": "J1"', b'{"errors": []}'])
def test_a_200_that_is_no_page_is_tried_again_at_most_twice(body: bytes) -> None:
    request = Request(base_delay=0)
    request.start()
    for _ in range(2):
        assert request.attempt(status(200, body)) == Sleep(0)
        assert request.closed == Close(failed=True)
        request.slept()
    error = request.refused(InvalidResponseError, status(200, body, x_klaviyo_req_id="req-9"))
    assert (error.attempts, error.request_id, error.body) == (3, "req-9", body)


def test_a_page_after_what_was_none_is_the_page() -> None:
    request = Request(base_delay=0)
    request.start()
    request.attempt(status(200, b"<html>"))
    request.slept()
    assert len(request.page().jobs) == 2


def test_other_failures_do_not_count_as_what_is_no_page() -> None:
    request = Request(base_delay=0)
    request.start()
    for outcome in (status(503), status(200), status(503), status(200), status(503)):
        request.attempt(outcome)
        request.slept()
    assert request.refused(InvalidResponseError, status(200)).attempts == 6


def test_a_page_of_16_mib_is_read_and_one_that_is_larger_is_not_tried_again() -> None:
    request = Request()
    request.start()
    body = PAGE.body + b" " * (PAGE_LIMIT - len(PAGE.body))
    assert len(body) == 16 * 2**20
    assert len(request.page(status(200, body)).jobs) == 2
    request = Request()
    request.start()
    error = request.refused(InvalidResponseError, status(200, body + b" "))
    assert "over 16 MiB" in str(error)
    assert error.attempts == 1
    assert request.quota.told == [USED]


def answer_to(cursor: str | None, count: int = 1, state: str = "queued") -> Answer:
    """A page that names the cursor that it was asked for with."""
    own = f"https://a.klaviyo.com/x?{'' if cursor is None else f'page[cursor]={cursor}'}"
    document = {"data": jobs(count, state), "links": {"self": own, "next": None}}
    return status(200, json.dumps(document).encode())


FOREIGN = [answer_to("other"), answer_to("c1", 100, "complete")]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_the_answer_to_another_request_is_asked_for_again_on_another_connection(
    foreign: Answer,
) -> None:
    request = Request(cursor="c1", base_delay=0)
    request.start()
    assert request.attempt(foreign) == Sleep(0)
    assert request.closed == Close(failed=True)
    request.slept()
    assert len(request.page(answer_to("c1", 3)).jobs) == 3


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_looks_like_it_three_times_is_how_the_api_answers(foreign: Answer) -> None:
    request = Request(cursor="c1", base_delay=0)
    request.start()
    for _ in range(2):
        request.attempt(foreign)
        request.slept()
    assert request.page(foreign).jobs


@pytest.mark.parametrize(
    "answer",
    [answer_to("c1"), answer_to(None), answer_to("c1", 0), answer_to("c1", 99, "complete"), PAGE],
)
def test_a_page_that_may_be_the_answer_is_not_doubted(answer: Answer) -> None:
    request = Request(cursor="c1")
    request.start()
    request.page(answer)


def test_a_full_page_that_leaves_the_status_out_is_not_doubted() -> None:
    data = [{"id": f"J{number}", "attributes": {"total_count": 1}} for number in range(100)]
    request = Request()
    request.start()
    request.page(status(200, json.dumps({"data": data}).encode()))


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("7", 7.0),
        ("2.6", 2.6),
        ("Mon, 02 Nov 2026 09:16:50 GMT", 10.0),
        ("soon", 0.0),
        ("-5", 0.0),
    ],
)
def test_retry_after_is_obeyed_in_every_form(value: str, wait: float) -> None:
    request = Request(base_delay=0)
    request.start()
    assert request.attempt(status(503, retry_after=value)) == Sleep(wait)


@pytest.mark.parametrize(
    ("date", "wait"),
    [
        ("Mon, 02 Nov 2026 08:00:00 GMT", 30.0),  # Our clock is an hour ahead of theirs.
        ("Mon, 02 Nov 2026 12:00:00 GMT", 0.0),
        ("yesterday", 0.0),
    ],
)
def test_a_retry_after_date_is_measured_against_the_date_of_the_answer(
    date: str, wait: float
) -> None:
    request = Request(base_delay=0)
    request.start()
    answer = status(503, retry_after="Mon, 02 Nov 2026 08:00:30 GMT", date=date)
    assert request.attempt(answer) == Sleep(wait)


def test_attempts_end_with_the_last_failure() -> None:
    request = Request(max_attempts=3, base_delay=0)
    request.start()
    for _ in range(2):
        request.attempt(TransportError("reset"))
        request.slept()
    error = request.refused(ServerError, status(503, b"down"))
    assert error.attempts == 3
    assert error.body == b"down"


def test_a_single_attempt_never_waits() -> None:
    request = Request(max_attempts=1)
    request.start()
    assert request.refused(TransportError, TransportError("reset")).attempts == 1


def test_by_default_nothing_but_the_deadline_limits_the_attempts() -> None:
    request = Request(base_delay=0)
    request.start()
    for _ in range(200):
        request.attempt(status(503))
        request.slept()
    request.page()


OUTAGES_S = [10, 30, 60, 155, 290]


@pytest.mark.parametrize("outage_s", OUTAGES_S)
def test_the_default_policy_survives_an_outage_at_any_moment(outage_s: float) -> None:
    chance = random.Random(outage_s)
    for _ in range(200):
        request = Request()
        request.clock.chance = chance.random
        begins = request.clock.now - chance.uniform(0, outage_s)
        request.start()
        while begins <= request.clock.now < begins + outage_s:
            refused = chance.choice([TransportError("refused"), status(503), status(502)])
            request.attempt(refused, after=chance.uniform(0.0, 0.2))
            request.slept()
        assert len(request.page(after=0.2).jobs) == 2


def test_the_default_policy_survives_an_outage_that_begins_with_the_request() -> None:
    for seed in range(200):
        request = Request()
        request.clock.chance = random.Random(seed).random
        request.start()
        while request.clock.now < 1290.0:
            request.attempt(status(503), after=0.05)
            request.slept()
        request.page()


# The deadline.


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(429, retry_after="20"), RateLimitError),
        (status(503, retry_after="20"), ServerError),
    ],
)
def test_a_wait_that_would_pass_the_deadline_raises_at_once(
    answer: Answer, kind: type[APIError]
) -> None:
    request = Request(deadline=20)
    request.start()
    error = request.refused(kind, answer)
    assert error.retry_after == 20.0
    assert request.clock.now == 1000.0


def test_a_wait_that_just_fits_is_waited() -> None:
    request = Request(deadline=20.001)
    request.start()
    assert request.attempt(status(429, retry_after="20")) == Sleep(20.0)
    send = request.slept()
    assert isinstance(send, Send)
    assert send.seconds == pytest.approx(0.001)


def test_a_backoff_takes_at_most_half_of_the_time_that_is_left() -> None:
    request = Request(deadline=20, base_delay=30)
    request.clock.chance = lambda: 0.999
    request.start()
    assert request.attempt(status(503)) == Sleep(pytest.approx(10, rel=0.01))
    request.slept()
    assert request.attempt(status(503)) == Sleep(pytest.approx(5, rel=0.01))


def test_attempts_end_shortly_before_the_deadline_instead_of_crowding_there() -> None:
    request = Request(deadline=20)
    request.clock.chance = lambda: 0.999
    request.start()
    attempts = 1
    with pytest.raises(ServerError) as caught:
        while True:
            request.attempt(status(503))
            request.slept()
            attempts += 1
    assert caught.value.attempts == attempts < 15
    assert 19 < request.clock.now - 1000.0 < 20


def test_each_attempt_gets_the_time_that_is_left() -> None:
    request = Request(deadline=100, base_delay=0)
    request.start()
    request.attempt(status(503), after=30)
    send = request.slept()
    assert isinstance(send, Send)
    assert send.seconds == 70
    request.attempt(TransportError("reset"), after=60)
    send = request.slept()
    assert isinstance(send, Send)
    assert send.seconds == 10
    assert [left_s for _, left_s in request.quota.asked] == [100, 70, 10]


def test_time_that_runs_out_without_any_answer_is_a_deadline_error() -> None:
    request = Request(deadline=20)
    request.start()
    error = request.refused(DeadlineError, TransportError("read timeout"), after=20)
    assert "no answer within the deadline of 20 s" in str(error)
    assert error.attempts == 1
    assert error.retry_after is None
    assert isinstance(error.__cause__, TransportError)


def test_time_that_runs_out_after_an_answer_is_that_answers_error() -> None:
    request = Request(deadline=20, base_delay=0)
    request.start()
    request.attempt(status(503, b"down"))
    request.slept()
    error = request.refused(ServerError, TransportError("read timeout"), after=20)
    assert error.body == b"down"
    assert error.attempts == 2


def test_an_error_that_comes_after_the_deadline_is_told_as_it_is() -> None:
    request = Request(deadline=20)
    request.start()
    assert request.refused(ServerError, status(500), after=25).attempts == 1


def test_a_page_that_comes_after_the_deadline_is_not_thrown_away() -> None:
    request = Request(deadline=20)
    request.start()
    request.page(after=25)


def test_a_sleep_that_overslept_the_deadline_sends_nothing_more() -> None:
    request = Request(deadline=20, base_delay=0)
    request.start()
    assert request.attempt(status(503, retry_after="19.9")) == Sleep(19.9)
    error = request.fails(ServerError, partial(request.slept, after=20.1))
    assert error.attempts == 1
    assert len(request.quota.given) == 1


# Waiting for a permit.


def test_a_request_waits_for_its_permit_and_says_what_it_was_told_before() -> None:
    request = Request(deadline=50)
    first, second = Wait(3.0, "all taken"), Wait(2.0)
    request.quota.waits.extend([first, second])
    assert request.start() == Sleep(3.0)
    assert request.slept() == Sleep(2.0)
    send = request.slept()
    assert isinstance(send, Send)
    assert send.seconds == 45
    assert request.quota.asked == [(None, 50), (first, 47), (second, 45)]
    request.page()


def test_each_attempt_queues_anew() -> None:
    request = Request(base_delay=0)
    request.quota.waits.append(Wait(1.0))
    request.start()
    request.slept()
    request.attempt(status(503))
    request.slept()
    assert [earlier for earlier, _ in request.quota.asked] == [None, Wait(1.0), None]
    assert len(request.quota.given) == 2


def test_a_wait_for_a_permit_that_overslept_the_deadline_sends_nothing() -> None:
    request = Request(deadline=50)
    request.quota.waits.append(Wait(49.0))
    request.start()
    error = request.fails(DeadlineError, partial(request.slept, after=50))
    assert error.attempts == 0
    assert request.quota.given == []


def test_a_permit_that_comes_after_the_deadline_is_not_waited_for() -> None:
    request = Request(deadline=50)
    request.quota.waits.append(Wait(51.0, "all taken"))
    error = request.fails(QuotaDeadlineError, request.start)
    assert "the next permit comes in 51 s (all taken)" in str(error)
    assert error.retry_after == 51.0
    assert error.attempts == 0
    assert isinstance(error, DeadlineError)
    assert request.quota.told == []


def test_a_limiter_that_does_not_answer_until_the_deadline_is_a_deadline_error() -> None:
    request = Request(deadline=50)
    request.first()
    error = request.fails(DeadlineError, partial(request.throw, TimeoutError(), after=50))
    assert error.attempts == 0


def test_a_permit_that_comes_too_late_after_a_failure_is_that_failure() -> None:
    request = Request(deadline=50, base_delay=0)
    request.start()
    request.attempt(status(429, retry_after="5"))
    request.quota.waits.append(Wait(60.0))
    error = request.fails(RateLimitError, request.slept)
    assert error.retry_after == 5.0
    assert error.attempts == 1


@pytest.mark.parametrize("later", [1, 2, 5])
def test_a_long_wait_for_a_permit_is_logged_once(
    later: int, caplog: pytest.LogCaptureFixture
) -> None:
    request = Request()
    waits = [Wait(0.5, "first"), *[Wait(8.0, "all taken")] * later]
    request.quota.waits.extend(waits)
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        request.start()
        for _ in waits:
            request.slept()
    assert caplog.messages == ["waiting 8.0 s for a permit: all taken"]


def test_many_short_waits_are_logged_as_the_long_one_that_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = Request()
    request.quota.waits.extend([Wait(0.25, "all taken")] * 40)
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        request.start()
        for _ in range(40):
            request.slept()
    assert caplog.messages == ["waiting 0.2 s for a permit: all taken"]


def test_another_attempt_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    request = Request(base_delay=2.0)
    request.clock.chance = lambda: 0.5
    request.start()
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        request.attempt(TransportError("connection reset"))
    assert caplog.messages == ["connection reset; attempt 1, trying again in 1 s"]


# Tokens.


def test_a_callable_is_asked_before_every_attempt_within_the_time_left() -> None:
    tokens = iter(["one", "two"])
    request = Request(token=lambda: next(tokens), deadline=50, base_delay=0)
    request.first()
    call = request.called(after=10)  # The permit.
    assert isinstance(call, Call)
    assert call.seconds == 40
    send = request.called()
    assert isinstance(send, Send)
    assert send.authorization.header == "Bearer one"
    request.attempt(status(503))
    send = request.slept()
    assert isinstance(send, Send)
    assert send.authorization.header == "Bearer two"


def test_a_token_that_fails_gives_its_permit_back_and_is_not_tried_again() -> None:
    def no_token() -> str:
        raise LookupError("no token")

    request = Request(token=no_token)
    error = request.fails(TokenError, request.start)
    assert isinstance(error.__cause__, LookupError)
    assert "no_token" in "".join(traceback.format_exception(error))
    assert request.quota.told == [NOT_SENT]


def test_a_token_that_cannot_be_sent_is_never_shown() -> None:
    request = Request(token=lambda: "secret-token\nX-Other: 1")
    error = request.fails(TokenError, request.start)
    assert "secret-token" not in "".join(traceback.format_exception(error))
    shown = traceback.TracebackException.from_exception(error.__cause__, capture_locals=True)
    assert "secret-token" not in "".join(shown.format())
    assert request.quota.told == [NOT_SENT]


def test_a_stop_before_the_callable_is_no_failure_of_the_callable() -> None:
    request = Request(token=str)
    request.first()
    request.called()
    with pytest.raises(Stopped):
        request.throw(Stopped())
    assert request.quota.pending == 0


def test_a_callable_that_takes_until_the_deadline_sends_nothing() -> None:
    request = Request(token=str, deadline=50)
    request.first()
    request.called()
    error = request.fails(DeadlineError, partial(request.throw, TimeoutError(), after=50))
    assert error.attempts == 0
    assert request.quota.told == [NOT_SENT]


def test_a_callable_that_takes_until_the_deadline_after_a_failure_is_that_failure() -> None:
    request = Request(token=lambda: "one", deadline=50, base_delay=0)
    request.start()
    request.attempt(status(503))
    request.give()
    request.called()
    error = request.fails(ServerError, partial(request.throw, TimeoutError(), after=50))
    assert error.attempts == 1


def test_a_401_is_tried_once_more_when_the_callable_gives_another_token() -> None:
    tokens = iter(["old", "new"])
    request = Request(token=lambda: next(tokens))
    request.start()
    assert request.attempt(status(401)) == Sleep(0.0)
    send = request.slept()
    assert isinstance(send, Send)
    assert send.authorization.header == "Bearer new"
    request.page()


def test_a_401_is_not_tried_again_with_the_same_token() -> None:
    request = Request(token=lambda: "same")
    request.start()
    request.attempt(status(401, error_document(detail="Expired.")))
    error = request.fails(AuthenticationError, request.slept)
    assert error.attempts == 1
    assert "Expired." in str(error)
    assert request.quota.told == [USED, NOT_SENT]


def test_a_second_401_is_told_whatever_the_token() -> None:
    tokens = iter(["one", "two", "three"])
    request = Request(token=lambda: next(tokens), base_delay=0)
    request.start()
    request.attempt(status(401))
    request.slept()
    assert request.refused(AuthenticationError, status(401)).attempts == 2


def test_a_401_with_a_single_attempt_is_told_at_once() -> None:
    tokens = iter(["one", "two"])
    request = Request(token=lambda: next(tokens), max_attempts=1)
    request.start()
    assert request.refused(AuthenticationError, status(401)).attempts == 1


# Errors and their bodies.


@pytest.mark.parametrize(("deadline", "seconds"), [(300, 5.0), (6, 3.0)])
def test_the_body_of_an_error_is_not_waited_for_long(deadline: float, seconds: float) -> None:
    request = Request(deadline=deadline)
    request.start()
    read = request.give((400, {}))
    assert isinstance(read, Read)
    assert read.seconds == seconds


def test_an_error_whose_body_breaks_off_is_still_that_error() -> None:
    request = Request()
    request.start()
    broken = Answer(400, {}, b"half of it", TimeoutError())
    assert request.refused(BadRequestError, broken).body == b"half of it"


def test_an_error_whose_body_is_endless_is_still_that_error() -> None:
    request = Request()
    request.start()
    request.refused(BadRequestError, status(400, b" " * (2 * 2**20)))


def test_a_cursor_that_the_api_refuses_is_told_apart() -> None:
    body = error_document(detail="Invalid cursor provided.", source={"parameter": "page[cursor]"})
    request = Request(cursor="stale")
    request.start()
    error = request.refused(CursorError, status(400, body))
    assert "list from the start" in str(error)
    request = Request()
    request.start()
    request.refused(BadRequestError, status(400, body))


@pytest.mark.parametrize("code", [200, 400])
def test_a_key_that_comes_back_is_taken_out_of_the_error(code: int) -> None:
    request = Request(max_attempts=1)
    request.start()
    with pytest.raises(KlaviyoError) as caught:
        request.attempt(status(code, f"<p>{KEY}".encode(), x_echo=KEY, x_klaviyo_req_id=KEY))
    assert KEY not in str(caught.value) + repr(vars(caught.value))
    assert "[redacted]" in repr(vars(caught.value))


# Dropped and cancelled.


def to_the_permit(request: Request) -> None:
    request.first()


def to_a_wait_for_the_permit(request: Request) -> None:
    request.quota.waits.append(Wait(5.0))
    request.start()


def to_the_request(request: Request) -> None:
    request.start()


def to_the_body(request: Request) -> None:
    request.start()
    request.give((200, {}))


def to_the_body_of_an_error(request: Request) -> None:
    request.start()
    request.give((503, {}))


def to_the_end(request: Request) -> None:
    to_the_body_of_an_error(request)
    request.give()


def to_the_backoff(request: Request) -> None:
    request.start()
    request.attempt(status(503))


UNSENT = [to_the_permit, to_a_wait_for_the_permit]
OPEN = [to_the_request, to_the_body, to_the_body_of_an_error]
EVERYWHERE = [*UNSENT, *OPEN, to_the_end, to_the_backoff]


@pytest.mark.parametrize("way", EVERYWHERE)
def test_a_dropped_exchange_asks_for_nothing_more_and_releases_its_permit(
    way: Callable[[Request], None],
) -> None:
    request = Request()
    way(request)
    request.steps.close()  # Raises RuntimeError for a generator that yields again.
    assert request.quota.pending == 0
    assert len(request.quota.told) == (way not in UNSENT)


@pytest.mark.parametrize("way", [*UNSENT, to_the_end, to_the_backoff])
def test_a_cancelled_exchange_without_a_response_ends_at_once(
    way: Callable[[Request], None],
) -> None:
    request = Request()
    way(request)
    with pytest.raises(asyncio.CancelledError):
        request.throw(asyncio.CancelledError())
    assert request.quota.pending == 0


@pytest.mark.parametrize("way", OPEN)
@pytest.mark.parametrize("by", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_a_cancelled_exchange_lets_go_of_its_response_and_its_permit(
    way: Callable[[Request], None], by: type[BaseException]
) -> None:
    request = Request()
    way(request)
    cancelled = by()
    assert request.throw(cancelled) == Close(failed=True)
    with pytest.raises(by) as caught:
        request.give()
    assert caught.value is cancelled
    assert request.quota.told == [USED]


def test_a_callable_that_is_cancelled_leaves_no_permit_behind() -> None:
    request = Request(token=str)
    request.first()
    request.called()
    with pytest.raises(asyncio.CancelledError):
        request.throw(asyncio.CancelledError())
    assert request.quota.pending == 0
