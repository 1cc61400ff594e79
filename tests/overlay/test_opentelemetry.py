"""What OpenTelemetry hears of a client: spans of pages, around those of HTTP, and metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import attrs
import httpx
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

from conftest import Wire
from fake_api import KEY, FakeAPI, error, jobs, page
from klaviyo_variant_jobs import (
    AsyncClient,
    AuthenticationError,
    Client,
    RateLimiter,
    RetryPolicy,
    TransportError,
)
from klaviyo_variant_jobs.opentelemetry import OpenTelemetryListener
from klaviyo_variant_jobs.sandbox import VirtualClock

PAGE = "klaviyo.variant_jobs.get_page"
REVISION = "2026-07-15"


class Telemetry:
    """A service's OpenTelemetry, and what it has collected."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.tracer = self.tracers.get_tracer("service")

    @property
    def listener(self) -> OpenTelemetryListener:
        return OpenTelemetryListener(self.tracers, self.meters)

    def traced(self, http: Any) -> Any:
        """The HTTP client with OpenTelemetry's instrumentation."""
        HTTPXClientInstrumentor.instrument_client(http, tracer_provider=self.tracers)
        return http

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All that have ended, in the order in which they began."""
        ended = self.exporter.get_finished_spans()
        return tuple(sorted(ended, key=lambda span: span.start_time or 0))

    @property
    def pages(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == PAGE]

    def inside(self, outer: ReadableSpan) -> list[str]:
        """The names of the spans right inside another."""
        assert outer.context is not None
        ids = [(span.name, span.parent and span.parent.span_id) for span in self.spans]
        return [name for name, parent in ids if parent == outer.context.span_id]

    def metric(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the point of everything measured under a name."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def happened(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    return [
        (event.name.removeprefix("klaviyo."), dict(event.attributes or {})) for event in span.events
    ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    found = Telemetry()
    yield found
    assert trace.get_current_span() is trace.INVALID_SPAN  # Nothing is left behind.
    found.meters.shutdown()


def client_of(wire: Wire, api: FakeAPI, telemetry: Telemetry, **options: Any) -> Any:
    options.setdefault("on_event", telemetry.listener)
    http = telemetry.traced(wire.http(api))
    return wire.client(api, http_client=http, revision=REVISION, **options)


async def test_a_page_is_one_span_around_those_of_its_attempts(
    wire: Wire, telemetry: Telemetry
) -> None:
    api = FakeAPI(jobs(5))
    api.script.extend([error(429, retry_after="2"), httpx.ConnectError("refused")])
    client = client_of(wire, api, telemetry)
    with telemetry.tracer.start_as_current_span("work") as work:
        assert len(await wire.all(client.iter_jobs())) == 5
        assert trace.get_current_span() is work
    (outer,) = (span for span in telemetry.spans if span.name == "work")
    assert telemetry.inside(outer) == [PAGE, PAGE]
    first, second = telemetry.pages
    assert telemetry.inside(first) == ["GET", "GET", "GET"]
    assert telemetry.inside(second) == ["GET"]
    assert first.kind is SpanKind.CLIENT


async def test_a_span_says_what_was_asked_and_what_came(wire: Wire, telemetry: Telemetry) -> None:
    api = FakeAPI()
    api.script.append(error(503, retry_after="2"))
    api.script.append(page([{"id": 5}, *jobs(2)], x_klaviyo_req_id="01J"))
    client = client_of(wire, api, telemetry, name="acme")
    await wire.of(client.get_page(status="complete", cursor="c"))
    (span,) = telemetry.pages
    assert told(span) == {
        "klaviyo.client": "acme",
        "klaviyo.revision": REVISION,
        "klaviyo.status": "complete",
        "klaviyo.cursor": "c",
        "klaviyo.jobs": 3,
        "klaviyo.anomalies": told(span)["klaviyo.anomalies"],
        "klaviyo.waited_s": 2.0,
        "klaviyo.request_id": "01J",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
    }
    assert told(span)["klaviyo.anomalies"] > 0
    assert span.status.status_code is StatusCode.UNSET


async def test_a_page_that_came_at_once_was_not_sent_again(
    wire: Wire, telemetry: Telemetry
) -> None:
    await wire.of(client_of(wire, FakeAPI(jobs(1)), telemetry).get_page())
    (span,) = telemetry.pages
    assert "http.request.resend_count" not in told(span)
    assert not {"klaviyo.client", "klaviyo.status", "klaviyo.cursor"} & told(span).keys()
    assert happened(span) == [
        ("request", {}),
        ("response", {"http.response.status_code": 200}),
    ]


async def test_the_events_of_a_span_are_attempts_and_waits(
    wire: Wire, telemetry: Telemetry
) -> None:
    api = FakeAPI(jobs(1))
    api.script.append(error(429, retry_after="2", x_klaviyo_req_id="01J"))
    api.script.append(httpx.ConnectError("refused"))
    await wire.of(client_of(wire, api, telemetry).get_page())
    (span,) = telemetry.pages
    events = happened(span)
    assert [name for name, _ in events] == [
        *("request", "response", "failure", "wait"),
        *("request", "failure", "wait"),
        *("request", "response"),
    ]
    refused, dropped = (found for name, found in events if name == "failure")
    assert (refused["error.type"], refused["klaviyo.request_id"]) == ("429", "01J")
    assert dropped["error.type"] == "TransportError"
    assert "refused" in dropped["exception.message"]
    assert [found["klaviyo.wait.why"] for name, found in events if name == "wait"] == [
        "retry-after",
        "backoff",
    ]
    again = [found.get("http.request.resend_count") for name, found in events if name == "request"]
    assert again == [None, 1, 2]


async def test_a_wait_for_the_quota_says_what_is_waited_for(
    wire: Wire, telemetry: Telemetry
) -> None:
    limiter = RateLimiter(1, 60)
    client = client_of(wire, FakeAPI(jobs(4)), telemetry, rate_limiter=limiter)
    await wire.all(client.iter_jobs())
    wait = happened(telemetry.pages[1])[0]
    assert wait[0] == "wait"
    assert wait[1]["klaviyo.wait.why"] == "quota"
    assert "1 of 1 requests" in wait[1]["klaviyo.wait.reason"]


async def test_another_revision_served_is_an_event(wire: Wire, telemetry: Telemetry) -> None:
    api = FakeAPI()
    api.script.append(page(x_klaviyo_api_revision="2027-01-15"))
    await wire.of(client_of(wire, api, telemetry).get_page())
    (warning,) = (f for name, f in happened(telemetry.pages[0]) if name == "revision_warning")
    assert "2027-01-15" in warning["klaviyo.message"]


async def test_a_page_that_fails_is_an_error(wire: Wire, telemetry: Telemetry) -> None:
    api = FakeAPI()
    api.script.append(error(401, x_klaviyo_req_id="01J"))
    await wire.error(AuthenticationError, client_of(wire, api, telemetry).get_page)
    (span,) = telemetry.pages
    assert span.status.status_code is StatusCode.ERROR
    assert "What went wrong." in (span.status.description or "")
    assert told(span)["error.type"] == "401"
    assert told(span)["http.response.status_code"] == 401
    assert told(span)["klaviyo.request_id"] == "01J"


async def test_a_drop_after_an_answer_has_no_status_code(wire: Wire, telemetry: Telemetry) -> None:
    api = FakeAPI()
    api.script.extend([error(503), httpx.ConnectError("refused")])
    client = client_of(wire, api, telemetry, retry=RetryPolicy(max_attempts=2))
    await wire.error(TransportError, client.get_page)
    (span,) = telemetry.pages
    assert told(span)["error.type"] == "TransportError"
    assert told(span)["http.request.resend_count"] == 1
    assert "http.response.status_code" not in told(span)


async def test_the_key_is_nowhere_even_where_the_api_repeats_it(
    wire: Wire, telemetry: Telemetry
) -> None:
    api = FakeAPI()
    api.script.append(error(503, KEY, x_klaviyo_req_id=KEY))
    api.script.append(httpx.ConnectError(KEY))
    api.script.append(error(401, KEY, x_klaviyo_req_id=KEY))
    client = wire.client(api, on_event=telemetry.listener)
    await wire.error(AuthenticationError, client.get_page)
    assert len(happened(telemetry.pages[0])) > 8
    assert KEY not in telemetry.pages[0].to_json()
    assert KEY not in repr(telemetry.reader.get_metrics_data())


async def test_what_a_hook_of_the_caller_raised_is_told_by_its_name_only(
    wire: Wire, telemetry: Telemetry
) -> None:
    api = FakeAPI()
    api.script.append(LookupError("a secret of the caller"))
    with pytest.raises(LookupError):
        await wire.of(client_of(wire, api, telemetry).get_page())
    (span,) = telemetry.pages
    assert span.status.description == told(span)["error.type"] == "LookupError"


async def test_a_page_fetched_ahead_stands_beside_the_page_before_it(
    wire: Wire, telemetry: Telemetry
) -> None:
    api = FakeAPI(jobs(8))
    client = client_of(wire, api, telemetry)
    with telemetry.tracer.start_as_current_span("work"):
        assert len(await wire.all(client.iter_jobs(prefetch=1))) == 8
    (outer,) = (span for span in telemetry.spans if span.name == "work")
    assert telemetry.inside(outer) == [PAGE, PAGE, PAGE]
    assert [telemetry.inside(span) for span in telemetry.pages] == [["GET"]] * 3


def test_an_iterator_that_is_closed_stops_its_page_without_an_error(telemetry: Telemetry) -> None:
    api = FakeAPI(jobs(8))
    api.script.extend([api.pages, error(429, retry_after="60")])
    client = Client(
        KEY,
        http_client=httpx.Client(transport=api),
        rate_limiter=RateLimiter.unlimited(),
        on_event=telemetry.listener,
    )
    with client.iter_jobs(prefetch=1) as iteration:
        next(iteration)
    read, stopped = telemetry.pages
    assert "klaviyo.stopped" not in told(read)
    assert told(stopped)["klaviyo.stopped"] is True
    assert stopped.status.status_code is StatusCode.UNSET
    assert sum(point.count for _, point in telemetry.metric("klaviyo.page.duration")) == 1


def run_async(api: FakeAPI, telemetry: Telemetry, body: Any) -> None:
    clock = VirtualClock()
    api.clock = clock

    async def main() -> None:
        api.release = asyncio.Event()
        client = AsyncClient(
            KEY,
            http_client=telemetry.traced(httpx.AsyncClient(transport=api)),
            rate_limiter=RateLimiter.unlimited(),
            clock=clock,
            on_event=telemetry.listener,
        )
        await body(client)

    clock.run(main())


def test_pages_that_are_under_way_at_once_do_not_mix(telemetry: Telemetry) -> None:
    api = FakeAPI(jobs(2, "queued"))

    async def listed(client: AsyncClient, status: str) -> None:
        with telemetry.tracer.start_as_current_span(status) as work:
            await client.get_page(status=status)
            assert trace.get_current_span() is work

    async def body(client: AsyncClient) -> None:
        assert api.release is not None
        work = asyncio.gather(*(listed(client, s) for s in ("queued", "complete", "cancelled")))
        while len(api.requests) < 3:
            await asyncio.sleep(0)
        api.release.set()
        await work

    run_async(api, telemetry, body)
    assert sorted(told(span)["klaviyo.status"] for span in telemetry.pages) == [
        *("cancelled", "complete", "queued")
    ]
    for span in telemetry.pages:
        assert span.parent is not None
        (outer,) = (
            s for s in telemetry.spans if s.context and s.context.span_id == span.parent.span_id
        )
        assert outer.name == told(span)["klaviyo.status"]
        assert told(span)["klaviyo.jobs"] == (2 if outer.name == "queued" else 0)
        assert telemetry.inside(span) == ["GET"]


def test_a_cancelled_page_ends_its_span_without_an_error(telemetry: Telemetry) -> None:
    api = FakeAPI(jobs(1))

    async def body(client: AsyncClient) -> None:
        with telemetry.tracer.start_as_current_span("work") as work:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await client.get_page()
            assert trace.get_current_span() is work

    run_async(api, telemetry, body)
    (span,) = telemetry.pages
    assert told(span)["klaviyo.stopped"] is True
    assert span.status.status_code is StatusCode.UNSET
    assert span.end_time is not None
    assert telemetry.metric("klaviyo.page.duration") == []


def test_a_page_that_is_collected_leaves_the_one_in_whose_midst_it_happens_alone(
    telemetry: Telemetry,
) -> None:
    api = FakeAPI(jobs(1))

    async def body(client: AsyncClient) -> None:
        lost = asyncio.create_task(client.get_page(status="queued"))
        while not api.requests:
            await asyncio.sleep(0)

        def collecting(request: httpx.Request) -> httpx.Response:
            # As the garbage collector does with a task that its loop has left behind.
            coroutine: Any = lost.get_coro()
            coroutine.close()
            return api.pages(request)

        api.script.append(collecting)
        assert api.release is not None
        api.release.set()
        await client.get_page(status="complete")
        with pytest.raises(RuntimeError):
            await lost

    run_async(api, telemetry, body)
    (span,) = telemetry.pages
    assert told(span)["klaviyo.status"] == "complete"
    assert told(span)["klaviyo.jobs"] == 1


async def test_metrics_tell_durations_waits_refusals_and_headroom(
    wire: Wire, telemetry: Telemetry
) -> None:
    api = FakeAPI()
    quota = {"ratelimit_limit": "75, 75;w=1, 750;w=60", "ratelimit_reset": "0"}
    api.script.extend([error(429, retry_after="3"), error(503, retry_after="4")])
    api.script.append(page(ratelimit_remaining="70", **quota))
    api.script.append(page(ratelimit_remaining="12", **quota))
    api.script.append(error(403))
    client = client_of(wire, api, telemetry, name="acme")
    await wire.of(client.get_page())
    await wire.of(client.get_page())
    with pytest.raises(Exception, match="403"):
        await wire.of(client.get_page())
    of_client = {"klaviyo.client": "acme", "klaviyo.revision": REVISION}

    read, failed = sorted(telemetry.metric("klaviyo.page.duration"), key=lambda m: len(m[0]))
    assert read[0] == of_client
    assert (read[1].count, read[1].sum) == (2, 7.0)
    assert failed[0] == {**of_client, "error.type": "403"}
    ((why, waits),) = telemetry.metric("klaviyo.wait.duration")
    assert why == {**of_client, "klaviyo.wait.why": "retry-after"}
    assert (waits.count, waits.min, waits.max) == (2, 3.0, 4.0)
    ((_, refusals),) = telemetry.metric("klaviyo.rate_limit.refusals")
    assert refusals.value == 1
    ((window, remaining),) = telemetry.metric("klaviyo.rate_limit.remaining")
    assert window == {**of_client, "klaviyo.rate_limit.window_s": 1}
    assert (remaining.count, remaining.min) == (2, 12)


async def test_exemplars_name_the_span_of_the_page(wire: Wire, telemetry: Telemetry) -> None:
    await wire.of(client_of(wire, FakeAPI(), telemetry).get_page())
    ((_, point),) = telemetry.metric("klaviyo.page.duration")
    context = telemetry.pages[0].context
    assert context is not None
    assert [exemplar.span_id for exemplar in point.exemplars] == [context.span_id]


@attrs.define
class Failing(Sampler):
    """A part of a service's OpenTelemetry that raises."""

    asked: int = 0

    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        self.asked += 1
        raise RuntimeError("the sampler is broken")

    def get_description(self) -> str:
        return "failing"


async def test_a_tracer_that_fails_breaks_no_listing(
    wire: Wire, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = Failing()
    listener = OpenTelemetryListener(TracerProvider(sampler=sampler), telemetry.meters)
    client = wire.client(FakeAPI(jobs(5)), on_event=listener)
    with caplog.at_level(logging.WARNING):
        assert len(await wire.all(client.iter_jobs())) == 5
    assert sampler.asked == 2
    assert len(caplog.messages) == 1
    ((_, pages),) = telemetry.metric("klaviyo.page.duration")
    assert pages.count == 2  # What can be told is.


async def test_without_providers_the_global_ones_are_used(
    wire: Wire,
) -> None:
    client = wire.client(FakeAPI(jobs(5)), on_event=OpenTelemetryListener())
    assert len(await wire.all(client.iter_jobs())) == 5
