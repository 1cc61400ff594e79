"""What a client tells while it works: its name, events for `on_event=`, and log records."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import httpx
import pytest

from conftest import Wire
from fake_api import KEY, FakeAPI, error, jobs, page
from klaviyo_variant_jobs import (
    NEWEST,
    AsyncClient,
    Client,
    RateLimit,
    RateLimiter,
    RetryPolicy,
    TransportError,
)
from klaviyo_variant_jobs.events import (
    Event,
    PageFailed,
    PageRead,
    PageRequested,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    RevisionWarning,
    Waiting,
)
from klaviyo_variant_jobs.sandbox import VirtualClock

LOGGER = "klaviyo_variant_jobs"
BORN = datetime.fromisoformat(NEWEST.date).replace(tzinfo=UTC)
COMMON: dict[str, Any] = {"client": "acme", "revision": NEWEST.date}


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def make(wire: Wire, events: list[Event]) -> Callable[..., Any]:
    """Makes a client with a name whose events are kept, in the newest revision's first year."""
    wire.clock = VirtualClock(start=BORN)
    options: dict[str, Any] = {"name": "acme", "revision": NEWEST, "on_event": events.append}
    return functools.partial(wire.client, **options)


# The name


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_name_stands_in_the_repr(kind: Any) -> None:
    assert repr(kind(KEY, name="acme")).startswith(f"{kind.__name__}(name='acme', revision=")
    assert "name" not in repr(kind(KEY))


async def test_a_name_stands_before_each_message_and_in_its_record(
    wire: Wire, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    api = FakeAPI()
    api.script.append(error(503, retry_after="2"))
    with caplog.at_level(logging.INFO, LOGGER):
        await wire.of(make(api).get_page())
    (record,) = caplog.records
    assert record.getMessage().startswith("[acme] HTTP 503")
    assert vars(record)["klaviyo_client"] == "acme"


async def test_without_a_name_a_message_starts_with_what_it_says(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    api = FakeAPI()
    api.script.append(error(503, retry_after="2"))
    with caplog.at_level(logging.INFO, LOGGER):
        await wire.of(wire.client(api).get_page())
    (record,) = caplog.records
    assert record.getMessage().startswith("HTTP 503")
    assert vars(record)["klaviyo_client"] is None


# Events


async def test_a_page_that_comes_at_once_is_four_events(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    api = FakeAPI()
    quota = {"ratelimit_limit": "75, 75;w=1", "ratelimit_remaining": "74", "ratelimit_reset": "1"}
    api.script.append(page(jobs(2), x_klaviyo_req_id="01J", **quota))
    read = await wire.of(make(api).get_page(status="complete", cursor="c"))
    asked = {"status": "complete", "cursor": "c"}
    said = RateLimit.parse("75, 75;w=1", "74", "1")
    assert said is not None
    assert events == [
        PageRequested(**COMMON, **asked),
        RequestSent(**COMMON, **asked, attempt=1),
        ResponseReceived(
            **COMMON,
            attempt=1,
            status_code=200,
            elapsed_s=0.0,
            request_id="01J",
            rate_limit=said,
        ),
        PageRead(
            **COMMON,
            jobs=len(read.jobs),
            anomalies=0,
            attempts=1,
            waited_s=0.0,
            elapsed_s=0.0,
            request_id="01J",
        ),
    ]


async def test_each_attempt_and_wait_is_told_in_order(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    api = FakeAPI(jobs(1))
    api.script.append(error(429, retry_after="2", x_klaviyo_req_id="01J"))
    api.script.append(httpx.ConnectError("refused"))
    await wire.of(make(api).get_page())
    first, *told = events
    assert isinstance(first, PageRequested)
    assert list(map(type, told)) == [
        *(RequestSent, ResponseReceived, RequestFailed, Waiting),
        *(RequestSent, RequestFailed, Waiting),
        *(RequestSent, ResponseReceived, PageRead),
    ]
    assert [event.attempt for event in told if isinstance(event, RequestSent)] == [1, 2, 3]
    refused, dropped = (event for event in told if isinstance(event, RequestFailed))
    assert (refused.attempt, getattr(refused.error, "status_code", None)) == (1, 429)
    assert (dropped.attempt, type(dropped.error)) == (2, TransportError)
    asked, backoff = (event for event in told if isinstance(event, Waiting))
    assert (asked.why, asked.seconds) == ("retry-after", 2.0)
    assert asked.reason.startswith("HTTP 429: What went wrong.")
    assert backoff.why == "backoff"
    read = told[-1]
    assert isinstance(read, PageRead)
    assert (read.attempts, read.jobs) == (3, 1)
    assert read.waited_s == read.elapsed_s == asked.seconds + backoff.seconds


async def test_the_time_of_an_answer_and_of_its_page_are_told(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    def slowly(request: httpx.Request) -> httpx.Response:
        wire.clock.sleep(1.5)
        return page()

    api = FakeAPI()
    api.script.extend([error(503, retry_after="4"), slowly])
    await wire.of(make(api).get_page())
    answers = [event for event in events if isinstance(event, ResponseReceived)]
    assert [event.elapsed_s for event in answers] == [0.0, 1.5]
    read = events[-1]
    assert isinstance(read, PageRead)
    assert (read.waited_s, read.elapsed_s) == (4.0, 5.5)


async def test_a_wait_for_the_quota_says_so(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    client = make(FakeAPI(jobs(4)), rate_limiter=RateLimiter(1, 60))
    await wire.all(client.iter_jobs())
    (wait,) = (event for event in events if isinstance(event, Waiting))
    assert wait.why == "quota"
    assert "1 of 1 requests" in wait.reason
    assert wait.seconds > 0


async def test_a_wait_for_what_another_request_was_told_is_a_pause(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    limiter = RateLimiter()
    api = FakeAPI()
    api.script.append(error(429, retry_after="5"))
    other = make(api, rate_limiter=limiter, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(Exception, match="429"):
        await wire.of(other.get_page())
    events.clear()
    await wire.of(make(FakeAPI(), rate_limiter=limiter).get_page())
    waits = [event for event in events if isinstance(event, Waiting)]
    assert {event.why for event in waits} == {"pause"}
    assert sum(event.seconds for event in waits) == pytest.approx(5.0)


async def test_a_page_that_is_given_up_is_told_with_its_error(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    api = FakeAPI()
    api.script.extend([error(503, retry_after="2"), error(403)])
    with pytest.raises(Exception, match="403") as raised:
        await wire.of(make(api).get_page())
    assert events[-1] == PageFailed(**COMMON, error=raised.value, attempts=2, elapsed_s=2.0)


async def test_a_page_that_was_never_sent_is_given_up_after_no_attempt(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    def refuse() -> str:
        raise LookupError("no token")

    client = make(FakeAPI(), access_token=refuse)
    with pytest.raises(Exception, match="nothing was sent"):
        await wire.of(client.get_page())
    assert list(map(type, events)) == [PageRequested, PageFailed]
    assert isinstance(events[1], PageFailed)
    assert events[1].attempts == 0


def test_a_page_whose_task_is_cancelled_is_given_up() -> None:
    clock, events, api = VirtualClock(start=BORN), list[Event](), FakeAPI()

    async def main() -> None:
        api.release = asyncio.Event()
        http = httpx.AsyncClient(transport=api)
        client = AsyncClient(KEY, http_client=http, clock=clock, on_event=events.append)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await client.get_page()

    clock.run(main())
    given_up = events[-1]
    assert isinstance(given_up, PageFailed)
    assert isinstance(given_up.error, asyncio.CancelledError)
    assert given_up.elapsed_s == pytest.approx(3.0)


async def test_values_that_do_not_fit_are_counted(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    api = FakeAPI()
    api.script.append(page([{"id": 5}, *jobs(1)]))
    read = await wire.of(make(api).get_page())
    assert isinstance(events[-1], PageRead)
    assert events[-1].anomalies == len(read.anomalies) > 0


async def test_another_revision_served_is_one_event_before_the_page(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    api = FakeAPI()
    api.script.extend([page(x_klaviyo_api_revision="2027-01-15")] * 2)
    client = make(api)
    for _ in range(2):
        await wire.of(client.get_page())
    kinds = list(map(type, events))
    assert kinds.count(RevisionWarning) == 1
    assert kinds[kinds.index(RevisionWarning) + 1] is PageRead
    (warning,) = (event for event in events if isinstance(event, RevisionWarning))
    assert "2027-01-15" in warning.message


async def test_events_of_a_page_fetched_ahead_are_told_too(
    wire: Wire, make: Callable[..., Any], events: list[Event]
) -> None:
    await wire.all(make(FakeAPI(jobs(8))).iter_jobs(prefetch=1))
    reads = [event.jobs for event in events if isinstance(event, PageRead)]
    asked = [event.cursor for event in events if isinstance(event, PageRequested)]
    assert reads == [3, 3, 2]
    assert asked == [None, "at:3", "at:6"]


def test_an_event_cannot_be_changed() -> None:
    warning = RevisionWarning(**COMMON, message="old")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        warning.message = "new"  # type: ignore[misc]


# Listeners


async def test_what_a_listener_raises_is_logged_once_and_breaks_nothing(
    wire: Wire, make: Callable[..., Any], events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        events.append(event)
        raise LookupError("a bug of the listener")

    client = make(FakeAPI(jobs(5)), on_event=fail)
    with caplog.at_level(logging.INFO, LOGGER):
        assert len(await wire.all(client.iter_jobs())) == 5
    assert len(events) == 8  # It is called again all the same.
    (record,) = caplog.records
    assert "on_event failed" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_what_asks_the_program_to_end_goes_through_a_listener(
    wire: Wire, make: Callable[..., Any]
) -> None:
    def interrupted(event: Event) -> None:
        if isinstance(event, RequestSent):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await wire.of(make(FakeAPI(), on_event=interrupted).get_page())


@pytest.mark.parametrize("is_heard", [False, True])
async def test_an_event_is_built_only_when_somebody_listens(
    wire: Wire,
    make: Callable[..., Any],
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    is_heard: bool,
) -> None:
    built: list[type[Event]] = []

    def count(kind: type[Event], build: Callable[..., None]) -> Callable[..., None]:
        def counted(self: Event, **facts: Any) -> None:
            built.append(kind)
            build(self, **facts)

        return counted

    for kind in Event.__subclasses__():
        monkeypatch.setattr(kind, "__init__", count(kind, kind.__init__))
    api = FakeAPI(jobs(5))
    api.script.append(error(503))
    client = make(api, **({} if is_heard else {"on_event": None}))
    await wire.all(client.iter_jobs())
    assert built == list(map(type, events))
    assert len(built) == (12 if is_heard else 0)


# Log records


async def test_the_record_of_a_retry_carries_what_its_sentence_says(
    wire: Wire, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    api = FakeAPI()
    api.script.append(error(503, retry_after="2", x_klaviyo_req_id="01J"))
    with caplog.at_level(logging.INFO, LOGGER):
        await wire.of(make(api).get_page())
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        f"[acme] HTTP 503: What went wrong. [revision {NEWEST.date}, request 01J, "
        "retry after 2 s]; attempt 1, trying again in 2 s"
    )
    assert fields(record) == {
        **COMMON,
        "event": "waiting",
        "seconds": 2.0,
        "why": "retry-after",
        "attempt": 1,
        "request_id": "01J",
        "status_code": 503,
    }


async def test_the_record_of_a_long_wait_carries_its_seconds(
    wire: Wire, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    limiter = RateLimiter(5, 5)
    client = make(FakeAPI(jobs(18)), rate_limiter=limiter)
    with caplog.at_level(logging.INFO, LOGGER):
        await wire.all(client.iter_jobs())
    (record,) = caplog.records
    told = fields(record)
    assert told.pop("seconds") > 1.0
    assert told == {**COMMON, "event": "waiting", "why": "quota"}


async def test_the_record_of_values_that_do_not_fit_carries_their_number(
    wire: Wire, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    api = FakeAPI()
    api.script.append(page([{"id": 5}, *jobs(1)], x_klaviyo_req_id="01J"))
    with caplog.at_level(logging.INFO, LOGGER):
        read = await wire.of(make(api).get_page())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    anomalies = len(read.anomalies)
    found = {"event": "page_read", "anomalies": anomalies, "request_id": "01J"}
    assert fields(record) == {**COMMON, **found}


async def test_the_record_of_a_revision_warning_says_what_it_is(
    wire: Wire, make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    api = FakeAPI()
    api.script.append(page(x_klaviyo_api_revision="2027-01-15"))
    with caplog.at_level(logging.INFO, LOGGER):
        await wire.of(make(api).get_page())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert fields(record) == {**COMMON, "event": "revision_warning"}


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record carries of ours."""
    prefix = "klaviyo_"
    return {
        name.removeprefix(prefix): value
        for name, value in vars(record).items()
        if name.startswith(prefix)
    }
