"""One way to run either client against a server, with waits that pass at once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import pickle
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import attrs

from hostile.fault_server import Fault, FaultServer
from http_library import http, is_ours
from klaviyo_variant_jobs import (
    NEWEST,
    AsyncClient,
    Checkpoint,
    Client,
    Clock,
    KlaviyoError,
    Page,
    RateLimiter,
    job_id,
)

KEY = "pk_canary_8d1f0c27a4"
T = TypeVar("T")
ErrorT = TypeVar("ErrorT", bound=KlaviyoError)


class SkippingClock(Clock):
    """Real time plus every wait, which returns at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.skipped: list[float] = []

    @property
    def skipped_s(self) -> float:
        """Seconds that would have been slept."""
        with self._lock:
            return sum(self.skipped)

    def skip(self, seconds: float) -> None:
        with self._lock:
            self.skipped.append(max(0.0, seconds))

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s

    def time(self) -> float:
        return super().time() + self.skipped_s

    def random(self) -> float:
        return 0.5

    def sleep(self, seconds: float) -> None:
        self.skip(seconds)

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        if not event.is_set() and seconds is not None:
            self.skip(seconds)
            return event.is_set()
        return event.wait(seconds)


class _SkippingLoop(asyncio.SelectorEventLoop):
    """asyncio.sleep() asks for `call_later` and is skipped; time limits ask for `call_at`."""

    def __init__(self, clock: SkippingClock) -> None:
        super().__init__()
        self._skipping = clock

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        self._skipping.skip(delay)
        return self.call_soon(callback, *args, context=context)


@attrs.define
class Run:
    """What one iteration gave, and how it ended."""

    jobs: list[Any] = attrs.field(factory=list)
    """Every item given, jobs that are not objects included."""
    error: KlaviyoError | None = None
    checkpoint: Checkpoint | None = None
    """The iterator's, at the end."""
    repr: str = ""
    """Of the client and of the iterator."""

    @property
    def ids(self) -> list[str | None]:
        """The identifiers of the jobs."""
        return [job_id(job) for job in self.jobs]


class Drive(Protocol):
    """Runs a client of one kind, with `options` for the client."""

    def iterate(
        self,
        url: str,
        *,
        resume: str | Checkpoint | None = None,
        most: int | None = None,
        clock: SkippingClock | None = None,
        asked: dict[str, Any] | None = None,
        drop: bool = False,
        **options: Any,
    ) -> Run:
        """Iterate until the end, the first error of the family, or `most` jobs.

        Then the iterator is closed, or, with `drop`, merely let go of.
        """

    def get_page(
        self, url: str, *, asked: dict[str, Any] | None = None, **options: Any
    ) -> Page[Any]:
        """Ask for one page."""


def _options(url: str, clock: SkippingClock, options: dict[str, Any]) -> dict[str, Any]:
    return {
        **({} if "access_token" in options else {"api_key": KEY}),
        "base_url": url,
        "revision": NEWEST,
        "timeout": 5.0,
        "clock": clock,
        "rate_limiter": RateLimiter.unlimited(),
        **options,
    }


@attrs.frozen
class SyncDrive:
    """Runs `Client`; `through` makes it use an HTTP client of its caller's."""

    prefetch: int = 0
    through: bool = not is_ours

    def iterate(
        self,
        url: str,
        *,
        resume: str | Checkpoint | None = None,
        most: int | None = None,
        clock: SkippingClock | None = None,
        asked: dict[str, Any] | None = None,
        drop: bool = False,
        **options: Any,
    ) -> Run:
        run = Run()
        with contextlib.ExitStack() as stack:
            if self.through:
                options["http_client"] = stack.enter_context(http.Client(verify=_ssl_context()))
            client = stack.enter_context(Client(**_options(url, clock or SkippingClock(), options)))
            jobs = client.iter_jobs(resume=resume, prefetch=self.prefetch, **asked or {})
            if not drop:
                stack.enter_context(jobs)
            try:
                # Keeps what came before an error.
                run.jobs.extend(itertools.islice(jobs, most))
            except KlaviyoError as error:
                run.error = error
            run.checkpoint = jobs.checkpoint
            run.repr = f"{client!r} {jobs!r}"
            del jobs
            if self.through:
                _let_land()
        return run

    def get_page(
        self, url: str, *, asked: dict[str, Any] | None = None, **options: Any
    ) -> Page[Any]:
        with contextlib.ExitStack() as stack:
            if self.through:
                options["http_client"] = stack.enter_context(http.Client(verify=_ssl_context()))
            client = stack.enter_context(Client(**_options(url, SkippingClock(), options)))
            return client.get_page(**asked or {})


@attrs.frozen
class AsyncDrive:
    """Runs `AsyncClient`; `through` makes it use an HTTP client of its caller's."""

    prefetch: int = 0
    through: bool = not is_ours

    def iterate(
        self,
        url: str,
        *,
        resume: str | Checkpoint | None = None,
        most: int | None = None,
        clock: SkippingClock | None = None,
        asked: dict[str, Any] | None = None,
        drop: bool = False,
        **options: Any,
    ) -> Run:
        waits = clock or SkippingClock()

        async def main() -> Run:
            run = Run()
            async with contextlib.AsyncExitStack() as stack:
                if self.through:
                    options["http_client"] = await stack.enter_async_context(
                        http.AsyncClient(verify=_ssl_context())
                    )
                client = await stack.enter_async_context(
                    AsyncClient(**_options(url, waits, options))
                )
                jobs = client.iter_jobs(resume=resume, prefetch=self.prefetch, **asked or {})
                if not drop:
                    await stack.enter_async_context(jobs)
                try:
                    while most is None or len(run.jobs) < most:
                        run.jobs.append(await anext(jobs))
                except StopAsyncIteration:
                    pass
                except KlaviyoError as error:
                    run.error = error
                run.checkpoint = jobs.checkpoint
                run.repr = f"{client!r} {jobs!r}"
                del jobs
            return run

        return _run(waits, main())

    def get_page(
        self, url: str, *, asked: dict[str, Any] | None = None, **options: Any
    ) -> Page[Any]:
        clock = SkippingClock()

        async def main() -> Page[Any]:
            async with contextlib.AsyncExitStack() as stack:
                if self.through:
                    options["http_client"] = await stack.enter_async_context(
                        http.AsyncClient(verify=_ssl_context())
                    )
                client = await stack.enter_async_context(
                    AsyncClient(**_options(url, clock, options))
                )
                return await client.get_page(**asked or {})

        return _run(clock, main())


def _let_land() -> None:
    """Wait for requests whose iterators were dropped.

    An httpx client that is closed meanwhile forgets the connection without closing it.
    """
    for thread in threading.enumerate():
        if thread.name == "klaviyo-variant-jobs ahead":
            thread.join()


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return http.create_ssl_context()


def _run(clock: SkippingClock, main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=lambda: _SkippingLoop(clock)) as runner:
        return runner.run(main)


@attrs.frozen
class Trial:
    """One client against one server: the two ways a fault may end."""

    drive: Drive
    server: FaultServer

    def recovers(self, *faults: Fault, **options: Any) -> Run:
        """The faults cost nothing: exactly the jobs served, in order, none twice."""
        self.server.say(*faults)
        run = self.drive.iterate(self.server.url, **options)
        assert run.error is None, run.error
        assert run.ids == self.server.ids
        assert not self.server.script, "the client gave up asking too early"
        return run

    def fails(self, kind: type[ErrorT], *faults: Fault, **options: Any) -> ErrorT:
        """The faults end in one error, and a resume on the healed server loses nothing."""
        self.server.say(*faults)
        run = self.drive.iterate(self.server.url, **options)
        assert type(run.error) is kind, run.error
        assert not self.server.script, "the client gave up asking too early"
        self._resumes(run)
        return run.error

    def _resumes(self, run: Run) -> None:
        error = run.error
        assert error is not None
        assert error.checkpoint == run.checkpoint
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy)) == (type(error), str(error))
        assert copy.checkpoint == error.checkpoint
        assert str(error).encode(), "a message that cannot be written down"
        rest = self.drive.iterate(self.server.url, resume=str(error.checkpoint))
        assert rest.error is None, rest.error
        assert run.ids + rest.ids == self.server.ids
