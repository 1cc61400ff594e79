"""One request as steps: what is asked for, in which order, and when it gives up.

Driven by hand, so that every outcome and every moment is the test's own.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import pytest

from fake_api import jobs, page_body
from klaviyo_variant_jobs import (
    NEWEST,
    APIError,
    BadRequestError,
    Clock,
    DeadlineError,
    InvalidResponseError,
    KlaviyoError,
    PermissionDeniedError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TokenError,
    TransportError,
)
from klaviyo_variant_jobs.decode import PageDecoder
from klaviyo_variant_jobs.exchange import (
    Answer,
    AwaitPlace,
    Outcome,
    Response,
    Send,
    Sleep,
    Step,
    Terms,
    exchange,
)

PAGE = Response(200, {"x-klaviyo-req-id": "req"}, page_body(jobs(2)))


class Hands(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.chance = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_793_610_000.0 + self.now

    def random(self) -> float:
        return self.chance


class Places:
    """A limiter that makes requests wait as scripted and remembers what it was told."""

    def __init__(self) -> None:
        self.waits: deque[float] = deque()
        self.told: list[tuple[Any, ...]] = []

    def join(self, now: float) -> Places:
        self.told.append(("join",))
        return self

    def wait_s(self, now: float) -> float:
        return self.waits.popleft() if self.waits else 0.0

    def reason(self, now: float) -> str:
        return "all taken"

    def on_grant(self, wake: Callable[[], object]) -> None: ...

    def answered(self, now: float, rate_limit: RateLimit | None) -> None:
        self.told.append(("answered", rate_limit))

    def failed(self, now: float) -> None:
        self.told.append(("failed",))

    def refused(self, now: float, pause_s: float) -> None:
        self.told.append(("refused", pause_s))

    def cancel(self, now: float) -> None:
        self.told.append(("cancel",))


class Request:
    """An exchange in the hands of a test."""

    def __init__(self, **policy: Any) -> None:
        self.clock = Hands()
        self.places = Places()
        self.steps: Generator[Step, Outcome, Answer] = exchange(
            Terms(
                revision="2026-07-15",
                decoder=PageDecoder(NEWEST.load().page_model),
                limiter=self.places,
                policy=RetryPolicy(**policy),
                clock=self.clock,
            )
        )
        self.step: Step = Send(0)

    def start(self) -> Step:
        self.step = next(self.steps)
        return self.step

    def give(self, outcome: Outcome, *, after: float = 0.0) -> Step:
        self.clock.now += after
        self.step = self.steps.send(outcome)
        return self.step

    def slept(self) -> Step:
        """Let a sleep or a wait pass, exactly as long as it was asked for."""
        assert isinstance(self.step, Sleep | AwaitPlace)
        return self.give(None, after=self.step.seconds)

    def end(self, outcome: Outcome, *, after: float = 0.0) -> Answer:
        with pytest.raises(StopIteration) as stop:
            self.give(outcome, after=after)
        answer: Answer = stop.value.value
        return answer

    def fail(self, kind: type[KlaviyoError], outcome: Outcome, *, after: float = 0.0) -> Any:
        with pytest.raises(kind) as caught:
            self.give(outcome, after=after)
        assert type(caught.value) is kind
        return caught.value


def status(code: int, body: bytes = b"", **headers: str) -> Response:
    return Response(code, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def test_a_page_takes_one_request() -> None:
    request = Request(deadline=50)
    assert request.start() == Send(50)
    answer = request.end(PAGE)
    assert len(answer.page.document.data) == 2
    assert answer.headers == PAGE.headers
    assert answer.rate_limit is None
    assert request.places.told == [("join",), ("answered", None)]


def test_the_limiter_hears_what_the_headers_say_of_the_quota() -> None:
    request = Request()
    request.start()
    said = {"ratelimit-limit": "75, 75;w=1, 750;w=60", "ratelimit-remaining": "74"}
    answer = request.end(Response(200, said, PAGE.body))
    assert answer.rate_limit is not None
    assert answer.rate_limit.remaining == 74
    assert request.places.told[-1] == ("answered", answer.rate_limit)


def test_the_limiter_hears_the_quota_of_an_error_too() -> None:
    request = Request()
    request.start()
    request.fail(BadRequestError, status(400, ratelimit_remaining="3"))
    kind, said = request.places.told[-1]
    assert kind == "answered"
    assert said.remaining == 3


@pytest.mark.parametrize("code", [500, 502, 503, 504, 520, 524, 599])
def test_a_failing_server_is_asked_again_after_the_backoff(code: int) -> None:
    request = Request(base_delay=2.0)
    request.clock.chance = 0.5
    request.start()
    assert request.give(status(code)) == Sleep(1.0)
    assert isinstance(request.slept(), Send)
    request.end(PAGE)


@pytest.mark.parametrize("code", [204, 301, 304, 400, 401, 403, 404, 410, 418])
def test_any_other_status_is_an_error_at_once(code: int) -> None:
    request = Request()
    request.start()
    with pytest.raises(APIError) as caught:
        request.give(status(code, b"<html>"))
    assert caught.value.status_code == code
    assert caught.value.attempts == 1


def test_an_html_403_is_never_tried_again() -> None:
    request = Request()
    request.start()
    request.fail(PermissionDeniedError, status(403, b"<html>", cf_mitigated="challenge"))


def test_a_full_quota_pauses_everyone_and_waits_a_second_at_least() -> None:
    request = Request(base_delay=0)
    request.start()
    assert request.give(status(429)) == Sleep(1.0)
    assert request.places.told[-1] == ("refused", 1.0)
    request.slept()
    assert request.give(status(429, retry_after="0")) == Sleep(1.0)
    request.slept()
    assert request.give(status(429, retry_after="12")) == Sleep(12.0)
    assert request.places.told[-1] == ("refused", 12.0)


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
    assert request.give(status(503, retry_after=value)) == Sleep(wait)


def test_a_broken_connection_is_tried_again_and_its_place_counts_as_used() -> None:
    request = Request(base_delay=1.0)
    request.clock.chance = 0.25
    request.start()
    assert request.give(TransportError("reset")) == Sleep(0.25)
    assert request.places.told == [("join",), ("failed",)]
    request.slept()
    request.end(PAGE)


def test_attempts_end_with_the_last_failure() -> None:
    request = Request(max_attempts=3, base_delay=0)
    request.start()
    for _ in range(2):
        request.give(TransportError("reset"))
        request.slept()
    error = request.fail(ServerError, status(503, b"down"))
    assert error.attempts == 3
    assert error.body == b"down"


def test_a_single_attempt_never_waits() -> None:
    request = Request(max_attempts=1)
    request.start()
    assert request.fail(TransportError, TransportError("reset")).attempts == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(429, retry_after="20"), RateLimitError),
        (status(503, retry_after="20"), ServerError),
    ],
)
def test_a_wait_that_would_pass_the_deadline_raises_at_once(
    answer: Response, kind: type[APIError]
) -> None:
    request = Request(deadline=20)
    request.start()
    error = request.fail(kind, answer)
    assert error.retry_after == 20.0
    assert request.clock.now == 1000.0


def test_a_wait_that_just_fits_is_waited() -> None:
    request = Request(deadline=20.001)
    request.start()
    assert request.give(status(429, retry_after="20")) == Sleep(20.0)
    step = request.slept()
    assert isinstance(step, Send)
    assert step.seconds == pytest.approx(0.001)


def test_each_attempt_gets_the_time_that_is_left() -> None:
    request = Request(deadline=100, base_delay=0)
    request.start()
    request.give(status(503), after=30)
    assert request.slept() == Send(70)
    request.give(TransportError("reset"), after=60)
    assert request.slept() == Send(10)


def test_time_that_runs_out_without_any_answer_is_a_deadline_error() -> None:
    request = Request(deadline=20)
    request.start()
    error = request.fail(DeadlineError, TransportError("read timeout"), after=20)
    assert "no answer within the deadline of 20 s, 1 attempt made" in str(error)
    assert error.attempts == 1
    assert error.retry_after is None
    assert isinstance(error.__cause__, TransportError)


def test_time_that_runs_out_after_an_answer_is_that_answers_error() -> None:
    request = Request(deadline=20, base_delay=0)
    request.start()
    request.give(status(503, b"down"))
    request.slept()
    error = request.fail(ServerError, TransportError("read timeout"), after=20)
    assert error.body == b"down"
    assert error.attempts == 2


def test_an_error_that_comes_after_the_deadline_is_told_as_it_is() -> None:
    request = Request(deadline=20)
    request.start()
    assert request.fail(ServerError, status(500), after=25).attempts == 1


def test_a_page_that_comes_after_the_deadline_is_not_thrown_away() -> None:
    request = Request(deadline=20)
    request.start()
    request.end(PAGE, after=25)


def test_a_sleep_that_overslept_the_deadline_sends_nothing_more() -> None:
    request = Request(deadline=20, base_delay=0)
    request.start()
    assert request.give(status(503, retry_after="19.9")) == Sleep(19.9)
    error = request.fail(ServerError, None, after=20.1)
    assert error.attempts == 1
    assert request.places.told[-1] == ("cancel",)


def test_a_request_waits_for_its_place() -> None:
    request = Request(deadline=50)
    request.places.waits.extend([3.0, 2.0])
    step = request.start()
    assert isinstance(step, AwaitPlace)
    assert step.seconds == 3.0
    step = request.slept()
    assert isinstance(step, AwaitPlace)
    assert request.slept() == Send(45)
    request.end(PAGE)


def test_a_wait_for_a_place_that_overslept_the_deadline_sends_nothing() -> None:
    request = Request(deadline=50)
    request.places.waits.append(49.0)
    request.start()
    error = request.fail(DeadlineError, None, after=50)
    assert error.attempts == 0
    assert request.places.told == [("join",), ("cancel",)]


def test_a_place_that_comes_after_the_deadline_is_not_waited_for() -> None:
    request = Request(deadline=50)
    request.places.waits.append(51.0)
    with pytest.raises(DeadlineError, match="in 51 s \\(all taken\\)") as e:
        request.start()
    assert e.value.retry_after == 51.0
    assert e.value.attempts == 0
    assert request.places.told == [("join",), ("cancel",)]


def test_a_place_that_comes_too_late_after_a_failure_is_that_failure() -> None:
    request = Request(deadline=50, base_delay=0)
    request.start()
    request.give(status(429, retry_after="5"))
    request.places.waits.append(60.0)
    error = request.fail(RateLimitError, None, after=5)
    assert error.retry_after == 5.0
    assert error.attempts == 1


def test_a_long_wait_for_a_place_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    request = Request()
    request.places.waits.extend([0.5, 8.0, 7.0])
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        request.start()
        request.slept()
        request.slept()
        request.slept()
    assert caplog.messages == ["waiting 8.0 s for a place: all taken"]


def test_another_attempt_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    request = Request(base_delay=2.0)
    request.clock.chance = 0.5
    request.start()
    with caplog.at_level(logging.INFO, "klaviyo_variant_jobs"):
        request.give(TransportError("connection reset"))
    assert caplog.messages == ["connection reset; attempt 1, trying again in 1 s"]


def test_a_token_that_fails_gives_its_place_back_and_is_not_tried_again() -> None:
    request = Request()
    request.start()
    request.fail(TokenError, TokenError("callable failed"))
    assert request.places.told == [("join",), ("cancel",)]


def test_a_body_over_the_limit_is_not_tried_again() -> None:
    request = Request()
    request.start()
    request.fail(InvalidResponseError, InvalidResponseError("too large"))
    assert request.places.told == [("join",), ("failed",)]


@pytest.mark.parametrize("when", ["waiting", "sending"])
def test_giving_up_from_outside_leaves_no_place_taken(when: str) -> None:
    request = Request()
    if when == "waiting":
        request.places.waits.append(5.0)
    request.start()
    request.steps.close()
    assert request.places.told[1:] == [("cancel",) if when == "waiting" else ("failed",)]


def test_a_200_that_is_no_page_is_an_error_with_its_request() -> None:
    request = Request()
    request.start()
    error = request.fail(
        InvalidResponseError, Response(200, {"x-klaviyo-req-id": "req-9"}, b"<html>")
    )
    assert error.request_id == "req-9"
    assert error.body == b"<html>"


@pytest.mark.parametrize("start", [b'{"data": [{"id": "J1"', b'{"data": [{"id": 5}, {"id": "J2"'])
def test_a_body_that_breaks_off_without_a_length_is_tried_again(start: bytes) -> None:
    request = Request(base_delay=0)
    request.start()
    assert isinstance(request.give(Response(200, {}, start)), Sleep)


@pytest.mark.parametrize("framing", [{"content-length": "21"}, {"transfer-encoding": "chunked"}])
def test_a_body_as_long_as_announced_that_is_half_a_document_is_the_apis_fault(
    framing: dict[str, str],
) -> None:
    request = Request()
    request.start()
    request.fail(InvalidResponseError, Response(200, framing, b'{"data": [{"id": "J1"'))
