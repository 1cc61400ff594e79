"""Lists jobs while a tool that traces requests is switched on, and says what the tool has seen.

A program of its own, because these tools patch a process for good and start threads in it. Nothing
that they collect leaves the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any, Literal

from klaviyo_variant_jobs import NEWEST, AsyncClient, Client, RateLimiter

KEY = "pk_0123456789abcdef0123456789abcdef"

os.environ |= {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
    "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
}

Seen = list[str]
"""All that a tool has collected about each request."""


@contextlib.contextmanager
def opentelemetry(seen: Seen) -> Iterator[None]:
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import (
        SimpleSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Keep(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            seen.extend(span.to_json() for span in spans if isinstance(span, ReadableSpan))
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Keep()))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield
    instrumentor.uninstrument()


@contextlib.contextmanager
def sentry(seen: Seen) -> Iterator[None]:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Keep(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            event = envelope.get_transaction_event() or {}
            seen.extend(repr(s) for s in event.get("spans", ()) if s["op"] == "http.client")

    sentry_sdk.init("http://nobody@127.0.0.1:9/1", transport=Keep, traces_sample_rate=1.0)
    yield
    sentry_sdk.init()  # It stays patched, but reports nothing.


@contextlib.contextmanager
def datadog(seen: Seen) -> Iterator[None]:
    from ddtrace import patch
    from ddtrace.contrib.internal.httpx.patch import unpatch
    from ddtrace.trace import TraceFilter, tracer

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:  # None: nothing is sent on.
            seen.extend(f"{span.resource} {span.get_tags()}" for span in trace)

    tracer.configure(trace_processors=[Keep()])
    patch(httpx=True)
    yield
    unpatch()


TOOLS = {tool.__name__: tool for tool in (opentelemetry, sentry, datadog)}


@contextlib.contextmanager
def work(tool: str) -> Iterator[None]:
    """What a service does around its requests."""
    if tool != "sentry":
        yield
        return
    import sentry_sdk

    with sentry_sdk.start_transaction(name="work"):
        yield


async def listed(client: Any, tool: str) -> int:
    with work(tool):
        if isinstance(client, Client):
            return len(list(client.iter_jobs()))
        return len([job async for job in client.iter_jobs()])


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
    assert await listed(before, tool) == 5
    with TOOLS[tool](seen):
        during = make()
        for client in (before, during):
            seen.clear()
            assert await listed(client, tool) == 5
            assert len(seen) == 3, seen
            assert all(NEWEST.path in request for request in seen), seen
            assert KEY not in "".join(seen)
    seen.clear()
    for client in (before, during, make()):
        assert await listed(client, tool) == 5
    assert seen == []


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))  # type: ignore[arg-type]
