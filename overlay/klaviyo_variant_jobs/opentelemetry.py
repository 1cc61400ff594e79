"""Traces and metrics of a client, for `on_event=`; needs the extra `otel`.

A page is one span, however many attempts it takes. The span is current while the page is read, so
that the spans of OpenTelemetry's httpx instrumentation, one per attempt, become its children. It
does not repeat their attributes (host, URL, method).
"""

from __future__ import annotations

from contextvars import Token

import attrs
from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from .errors import APIError, AttemptedError, KlaviyoError, one_line
from .events import (
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
from .version import __version__

__all__ = ["OpenTelemetryListener"]

# The buckets that OpenTelemetry advises for HTTP, extended to the default deadline of a page.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_REQUESTS = (0, 1, 2, 5, 10, 20, 35, 50, 75, 150, 350, 750)
_LONGEST_TEXT = 500

Attributes = dict[str, AttributeValue]


@attrs.define
class _Page:
    """A page that is under way."""

    span: trace.Span
    token: Token[Context] | None = None
    status_code: int | None = None
    """Of the response to the latest attempt; None without one."""


# Kept in OpenTelemetry's context, so that one token restores both the page and the current span.
_PAGE = context.create_key("klaviyo-page")


class OpenTelemetryListener:
    """Reports pages to OpenTelemetry: `Client(on_event=OpenTelemetryListener())`.

    One listener may serve any number of clients, in threads and tasks; `Client(name=…)` tells them
    apart.

    A page is a client span `klaviyo.variant_jobs.get_page` with the attributes `klaviyo.client`
    (the name), `klaviyo.revision`, `klaviyo.status` and `klaviyo.cursor`; at its end
    `klaviyo.jobs`, `klaviyo.anomalies`, `klaviyo.waited_s`, `klaviyo.request_id`,
    `http.response.status_code` of the last attempt, `error.type` of a failure, and
    `http.request.resend_count` when there was more than one attempt. Its events are
    `klaviyo.request`, `klaviyo.response`, `klaviyo.failure`, `klaviyo.wait` and
    `klaviyo.revision_warning`. A page that its caller stopped, by cancelling a task or closing an
    iterator, gets `klaviyo.stopped` and no error status.

    Metrics, each with `klaviyo.client` and `klaviyo.revision`:

    - `klaviyo.page.duration`: histogram of seconds per page, attempts and waits included;
      `error.type` of a failure.
    - `klaviyo.wait.duration`: histogram of seconds per wait; `klaviyo.wait.why` is `Waiting.why`.
    - `klaviyo.rate_limit.refusals`: counter of responses with status 429.
    - `klaviyo.rate_limit.remaining`: histogram of the requests left after a response, in the window
      of `klaviyo.rate_limit.window_s` seconds.

    Args:
        tracer_provider: None for the global one.
        meter_provider: None for the global one.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        scope = "klaviyo_variant_jobs"
        self._tracer = trace.get_tracer(scope, __version__, tracer_provider)
        meter = metrics.get_meter(scope, __version__, meter_provider)
        self._duration = meter.create_histogram(
            "klaviyo.page.duration",
            unit="s",
            description="Duration of a page, attempts and waits included.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._wait = meter.create_histogram(
            "klaviyo.wait.duration",
            unit="s",
            description="Duration of a wait before a request.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._refusals = meter.create_counter(
            "klaviyo.rate_limit.refusals",
            unit="{response}",
            description="Responses with status 429.",
        )
        # A histogram and not a gauge: a gauge is read about once a minute, and would miss the
        # lowest value of a window of one second.
        self._remaining = meter.create_histogram(
            "klaviyo.rate_limit.remaining",
            unit="{request}",
            description="Requests that were left in the window after a response.",
            explicit_bucket_boundaries_advisory=_REQUESTS,
        )

    def __call__(self, event: Event) -> None:
        """Report one event."""
        if isinstance(event, PageRequested):
            self._begin(event)
            return
        page = context.get_value(_PAGE)
        try:
            self._measure(event)  # While the span is current, so that exemplars name it.
        finally:
            if isinstance(page, _Page):  # None: the page was read, and failed after its span ended.
                _note(page, event)

    def _begin(self, event: PageRequested) -> None:
        asked = {"klaviyo.status": event.status, "klaviyo.cursor": event.cursor}
        page = _Page(
            self._tracer.start_span(
                "klaviyo.variant_jobs.get_page",
                kind=trace.SpanKind.CLIENT,
                attributes={**_common(event), **{k: v for k, v in asked.items() if v is not None}},
            )
        )
        current = trace.set_span_in_context(page.span)
        page.token = context.attach(context.set_value(_PAGE, page, current))

    def _measure(self, event: Event) -> None:
        common = _common(event)
        match event:
            case Waiting():
                self._wait.record(event.seconds, {**common, "klaviyo.wait.why": event.why})
            case ResponseReceived():
                if event.status_code == 429:
                    self._refusals.add(1, common)
                said = event.rate_limit
                if said is not None and said.remaining is not None:
                    named = said.named_policy
                    window = {"klaviyo.rate_limit.window_s": named.window_s} if named else {}
                    self._remaining.record(said.remaining, {**common, **window})
            case PageRead():
                self._duration.record(event.elapsed_s, common)
            case PageFailed() if not _is_stopped(event.error):
                why = {"error.type": _error_type(event.error)}
                self._duration.record(event.elapsed_s, {**common, **why})


def _common(event: Event) -> Attributes:
    named: Attributes = {} if event.client is None else {"klaviyo.client": event.client}
    return {**named, "klaviyo.revision": event.revision}


def _note(page: _Page, event: Event) -> None:
    """Add the event to the span of its page."""
    match event:
        case RequestSent():
            page.status_code = None
            page.span.add_event("klaviyo.request", _resent(event.attempt))
        case ResponseReceived():
            page.status_code = event.status_code
            page.span.add_event(
                "klaviyo.response", {"http.response.status_code": event.status_code}
            )
        case RequestFailed():
            page.span.add_event("klaviyo.failure", _failure(event.error))
        case Waiting():
            waited: Attributes = {"klaviyo.wait.why": event.why}
            waited["klaviyo.wait.seconds"] = event.seconds
            if event.why in ("quota", "pause"):  # Else klaviyo.failure has said it.
                waited["klaviyo.wait.reason"] = one_line(event.reason, _LONGEST_TEXT)
            page.span.add_event("klaviyo.wait", waited)
        case RevisionWarning():
            page.span.add_event("klaviyo.revision_warning", {"klaviyo.message": event.message})
        case PageRead() | PageFailed():
            _end(page, event)


def _end(page: _Page, event: PageRead | PageFailed) -> None:
    """End the span of a page and make the caller's span current again."""
    if isinstance(event, PageFailed) and isinstance(event.error, GeneratorExit):
        # The garbage collector closed a page that never ended. It may run in the middle of another
        # page, whose context must not be detached.
        return
    try:
        if page.token is not None:
            context.detach(page.token)
        page.span.set_attributes(_resent(event.attempts))
        if page.status_code is not None:
            page.span.set_attribute("http.response.status_code", page.status_code)
        if isinstance(event, PageRead):
            page.span.set_attributes(
                {
                    "klaviyo.jobs": event.jobs,
                    "klaviyo.anomalies": event.anomalies,
                    "klaviyo.waited_s": event.waited_s,
                    **_request_id(event.request_id),
                }
            )
        elif _is_stopped(event.error):
            page.span.set_attribute("klaviyo.stopped", True)
        else:
            failure = _failure(event.error)
            message = failure.pop("exception.message")
            page.span.set_attributes(failure)
            page.span.set_status(trace.StatusCode.ERROR, str(message))
    finally:
        page.span.end()


def _resent(attempts: int) -> Attributes:
    return {"http.request.resend_count": attempts - 1} if attempts > 1 else {}


def _is_stopped(error: BaseException) -> bool:
    """Whether the caller stopped the page, by a cancellation, Ctrl-C or closing an iterator."""
    return not isinstance(error, Exception)


def _error_type(error: BaseException) -> str:
    # OpenTelemetry's HTTP conventions ask for the status code where there is one.
    return str(error.status_code) if isinstance(error, APIError) else type(error).__qualname__


def _failure(error: BaseException) -> Attributes:
    # Our own messages never hold the key; the message of a caller's exception might.
    is_ours = isinstance(error, KlaviyoError)
    message = one_line(str(error), _LONGEST_TEXT) if is_ours else type(error).__qualname__
    request_id = error.request_id if isinstance(error, AttemptedError) else None
    attributes: Attributes = {"error.type": _error_type(error), "exception.message": message}
    return {**attributes, **_request_id(request_id)}


def _request_id(request_id: str | None) -> Attributes:
    return {} if request_id is None else {"klaviyo.request_id": one_line(request_id, 80)}
