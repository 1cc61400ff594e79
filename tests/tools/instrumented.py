"""Lists jobs while a tool that traces requests is switched on, and says what the tool has seen.

A program of its own, because these tools patch a process for good and start threads in it. Nothing
that they collect leaves the process.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from klaviyo_variant_jobs import NEWEST, AsyncClient, Client, RateLimiter

KEY = "pk_0123456789abcdef0123456789abcdef"

os.environ |= {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
}

Seen = list[tuple[bool, str]]
"""For each request: whether it is seen as part of the work, and all that was collected."""
Work = Callable[[], AbstractContextManager[object]]
"""Says that what a service does now belongs together."""


@contextmanager
def opentelemetry(seen: Seen) -> Iterator[Work]:
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import (
        SimpleSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )
    from opentelemetry.trace import SpanKind

    class Keep(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            clients = (span for span in spans if span.kind is SpanKind.CLIENT)
            seen.extend((span.parent is not None, span.to_json()) for span in clients)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Keep()))
    tracer = provider.get_tracer("service")
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield lambda: tracer.start_as_current_span("work")
    instrumentor.uninstrument()


@contextmanager
def sentry(seen: Seen) -> Iterator[Work]:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Keep(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            # A span stands in the event of its work, or nowhere.
            event = envelope.get_transaction_event() or {}
            spans = (span for span in event.get("spans", ()) if span["op"] == "http.client")
            seen.extend((True, repr(span)) for span in spans)

    sentry_sdk.init("http://nobody@127.0.0.1:9/1", transport=Keep, traces_sample_rate=1.0)
    yield lambda: sentry_sdk.start_transaction(name="work")
    sentry_sdk.init()  # It stays patched, but reports nothing.


@contextmanager
def datadog(seen: Seen) -> Iterator[Work]:
    from ddtrace import patch
    from ddtrace.contrib.internal.httpx.patch import unpatch
    from ddtrace.trace import TraceFilter, tracer

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:  # None: nothing is sent on.
            clients = (span for span in trace if span.name == "http.request")
            seen.extend((bool(s.parent_id), f"{s.resource} {s.get_tags()}") for s in clients)

    tracer.configure(trace_processors=[Keep()])
    patch(httpx=True)
    yield lambda: tracer.trace("work")
    unpatch()


TOOLS = {tool.__name__: tool for tool in (opentelemetry, sentry, datadog)}


async def listed(client: Any) -> int:
    if isinstance(client, Client):
        return len(list(client.iter_jobs(prefetch=1)))
    return len([job async for job in client.iter_jobs(prefetch=1)])


async def main(tool: str, kind: Literal["sync", "async"], url: str) -> None:
    make = functools.partial(
        Client if kind == "sync" else AsyncClient,
        KEY,
        revision=NEWEST,
        base_url=url,
        rate_limiter=RateLimiter.unlimited(),
    )
    seen: Seen = []
    before = make()
    assert await listed(before) == 5
    with TOOLS[tool](seen) as work:
        during = make()
        for client in (before, during):
            seen.clear()
            with work():
                assert await listed(client) == 5
            assert len(seen) == 3, seen
            for is_of_the_work, collected in seen:
                assert is_of_the_work, "the page ahead has lost the context of its caller"
                assert NEWEST.path in collected
                assert KEY not in collected
    seen.clear()
    for client in (before, during, make()):
        with work():
            assert await listed(client) == 5
    assert seen == []


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))  # type: ignore[arg-type]
