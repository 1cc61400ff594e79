"""Other people's tools, in real time and over loopback: they know nothing of our virtual time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from klaviyo_variant_jobs import NEWEST, AsyncClient, Client, Clock, RateLimiter, RetryPolicy
from klaviyo_variant_jobs.sandbox import Sandbox, Server

KEY = "pk_0123456789abcdef0123456789abcdef"


class RealClock(Clock):
    """The machine's time, by which nothing here waits."""

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)


@pytest.fixture
def wire(wire: Any) -> Any:
    wire.clock = RealClock()
    return wire


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def sandbox() -> Sandbox:
    """Three pages."""
    return Sandbox(jobs=5, jobs_per_page=2)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[Server]:
    with sandbox.serve() as running:
        yield running


@pytest.fixture
def make(wire: Any, server: Server) -> Callable[..., Any]:
    """Makes a client of the wire's kind: the default one, but for where it sends."""
    return functools.partial(
        Client if wire.kind == "sync" else AsyncClient,
        KEY,
        revision=NEWEST,
        base_url=server.base_url,
        rate_limiter=RateLimiter.unlimited(),
        retry=RetryPolicy(max_attempts=1),
    )
