"""One test body for both clients.

A test that takes `wire` is a coroutine function and runs twice: once with `Client`, where awaiting
never suspends, and once with `AsyncClient` on an event loop, both in virtual time.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, Literal, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, settings

from fake_api import KEY, FakeAPI
from klaviyo_variant_jobs import AsyncClient, Client, KlaviyoError, RateLimiter
from klaviyo_variant_jobs.sandbox.virtual_time import VirtualClock

# A suite of its own, which test_stranger.py runs elsewhere.
collect_ignore = ["stranger"]

T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=KlaviyoError)

# Machines that run tests are slow at odd moments; what is measured here is what comes out.
settings.register_profile(
    "house",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("house")


class Wire:
    """A kind of client, the time it lives in, and one way to call both kinds."""

    def __init__(self, kind: Literal["sync", "async"]) -> None:
        self.kind = kind
        self.clock = VirtualClock()

    def client(self, api: FakeAPI, *, key: str | None = KEY, **options: Any) -> Any:
        """A client of this kind whose requests end in `api`, unpaced unless told otherwise."""
        api.clock = self.clock
        options.setdefault("rate_limiter", RateLimiter.unlimited())
        options.setdefault("http_client", self.http(api))
        options.setdefault("clock", self.clock)
        if "access_token" not in options:
            options["api_key"] = key
        return (Client if self.kind == "sync" else AsyncClient)(**options)

    def http(self, api: FakeAPI, **options: Any) -> httpx.Client | httpx.AsyncClient:
        if self.kind == "sync":
            return httpx.Client(transport=api, **options)
        return httpx.AsyncClient(transport=api, **options)

    async def of(self, result: T | Awaitable[T]) -> T:
        """What a call gives, which `AsyncClient` makes one wait for."""
        if inspect.isawaitable(result):
            awaited: T = await result
            return awaited
        return result  # type: ignore[return-value]

    async def next(self, iteration: Any) -> Any:
        """The next item; None at the end."""
        if self.kind == "sync":
            return next(iteration, None)
        return await anext(iteration, None)

    async def take(self, iteration: Any, count: int) -> list[Any]:
        return [await self.next(iteration) for _ in range(count)]

    async def all(self, iteration: Any) -> list[Any]:
        if self.kind == "sync":
            return list(iteration)
        return [item async for item in iteration]

    async def close(self, thing: Any) -> None:
        if self.kind == "sync":
            thing.close()
        else:
            await thing.aclose()

    async def error(self, kind: type[ErrorT], call: Any) -> ErrorT:
        """The error that a call or the rest of an iteration ends in."""
        with pytest.raises(kind) as caught:
            if hasattr(call, "checkpoint"):
                await self.all(call)
            else:
                await self.of(call() if callable(call) else call)
        return caught.value


@pytest.fixture(params=["sync", "async"])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)
    return Wire(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    wire = pyfuncitem.funcargs.get("wire")
    if not isinstance(wire, Wire) or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names: Iterable[str] = pyfuncitem._fixtureinfo.argnames
    body = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if wire.kind == "async":
        wire.clock.run(body)
    else:
        _run_through(body)
    return True


def _run_through(body: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for."""
    try:
        body.send(None)
    except StopIteration:
        return
    body.close()
    raise AssertionError("the test waited for something, but its client is the synchronous one")
