"""The client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import httpx

from klaviyo_variant_jobs.checkpoint import Checkpoint, KlaviyoError
from klaviyo_variant_jobs.clock import SYSTEM_CLOCK, Clock
from klaviyo_variant_jobs.credentials import AsyncToken, Authorization
from klaviyo_variant_jobs.exchange import Answer, AwaitPlace, Outcome, Response, Send
from klaviyo_variant_jobs.iteration.aio import AsyncIteration
from klaviyo_variant_jobs.iteration.progress import give_jobs, give_page
from klaviyo_variant_jobs.pagination import JobT, Page, Query
from klaviyo_variant_jobs.rate_limits import Limiter
from klaviyo_variant_jobs.retry import RetryPolicy
from klaviyo_variant_jobs_api.registry import NEWEST, Revision

from .body import BodyReader
from .connections import Connection, Connections
from .environment import proxied, proxy_errors, ssl_context
from .shell import (
    DEFAULT_BASE_URL,
    DEFAULT_TIMEOUT_S,
    HTTP_ERRORS,
    HTTPX_MISUSE,
    Options,
    Shell,
    error_body_s,
    headers_of,
    reader_of,
    token_errors,
)

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob, NewestDate, NewestJob


class AsyncClientOptions(Options, total=False):
    """Keyword arguments of `AsyncClient` besides the revision."""

    access_token: AsyncToken | None
    http_client: httpx.AsyncClient | None


class AsyncClient(Shell[JobT]):
    """`Client` for asyncio. Safe to share between the tasks of one event loop, and bound to it.

    Takes the same arguments, but an `httpx.AsyncClient` as `http_client`; a callable
    `access_token` may be a coroutine function. The deadline of a page is exact. It waits by its
    event loop: with a `VirtualClock` as `clock`, run it by that clock's `run`.
    """

    @overload
    def __init__(
        self: AsyncClient[NewestJob],
        api_key: str | None = None,
        *,
        revision: NewestDate = ...,
        **options: Unpack[AsyncClientOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        api_key: str | None = None,
        *,
        revision: Revision[JobT],
        **options: Unpack[AsyncClientOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: AsyncClient[AnyJob],
        api_key: str | None = None,
        *,
        revision: str,
        **options: Unpack[AsyncClientOptions],
    ) -> None: ...
    def __init__(
        self,
        api_key: str | None = None,
        *,
        access_token: AsyncToken | None = None,
        revision: str | Revision[Any] = NEWEST,
        base_url: str = DEFAULT_BASE_URL,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        rate_limiter: Limiter | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT_S,
        http_client: httpx.AsyncClient | None = None,
        strict: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        connect = _connector(http_client)
        super().__init__(
            api_key,
            access_token,
            revision,
            http_client.headers if http_client else httpx.Headers(),
            base_url=base_url,
            retry=retry,
            rate_limiter=rate_limiter,
            timeout=timeout,
            strict=strict,
            clock=clock,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections = Connections(connect, clock)
        self._bound = http_client is None
        # An event loop holds tasks weakly; one whose iterator was dropped still has to end in
        # order.
        self._running: set[asyncio.Task[Page[Any]]] = set()

    def iter_jobs(
        self,
        *,
        status: str | Iterable[str] | None = None,
        fields: Iterable[str] | None = None,
        resume: str | Checkpoint | None = None,
        prefetch: int = 0,
    ) -> AsyncIteration[JobT]:
        """Every job, newest first, across all pages; nothing is sent before the first is asked for.

        Args:
            status: list only jobs of this status; several mean one pass each, in lifecycle order.
            fields: attributes to ask for; all by default.
            resume: a checkpoint of an earlier iteration, or its text.
            prefetch: pages to fetch ahead while you work, 0 or 1.

        Raises `ValueError` at once for unknown statuses, fields or a foreign checkpoint; later
        errors are of the `KlaviyoError` family and carry `.checkpoint`.
        """
        walk = self._walk(status, fields, resume, prefetch)
        return AsyncIteration(walk, give_jobs, self._fetch, prefetch, self._running)

    def iter_pages(
        self,
        *,
        status: str | Iterable[str] | None = None,
        fields: Iterable[str] | None = None,
        resume: str | Checkpoint | None = None,
        prefetch: int = 0,
    ) -> AsyncIteration[Page[JobT]]:
        """Like `iter_jobs`, page by page."""
        walk = self._walk(status, fields, resume, prefetch)
        return AsyncIteration(walk, give_page, self._fetch, prefetch, self._running)

    async def get_page(
        self,
        *,
        status: str | None = None,
        fields: Iterable[str] | None = None,
        cursor: str | None = None,
    ) -> Page[JobT]:
        """One page: the first, or the one at `cursor`. Raises as `Client.get_page` does."""
        return await self._fetch(self._query(status, fields, cursor))

    async def _fetch(self, query: Query) -> Page[JobT]:
        return self._page(await self._drive(query), query)

    async def _drive(self, query: Query) -> Answer:
        self._check_loop()
        steps = self._steps()
        outcome: Outcome = None
        try:
            while True:
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Send):
                    outcome = await self._send(query, step.seconds)
                elif isinstance(step, AwaitPlace):
                    await _woken(step)
                else:
                    await asyncio.sleep(step.seconds)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        finally:
            steps.close()

    def _check_loop(self) -> None:
        """Raises `KlaviyoError` in another event loop than the first: connections belong to one."""
        loop = asyncio.get_running_loop()
        if self._bound and self._loop not in (None, loop):
            raise KlaviyoError(
                "the client was used in another event loop, to which its connections belong; "
                "make one in each loop, with `async with` inside the function given to asyncio.run"
            )
        self._loop = loop

    async def _send(self, query: Query, seconds: float) -> Response | KlaviyoError:
        authorization = Authorization()
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                authorization = await self._authorization()
                request = self._request(query, authorization, seconds)
                return await self._sent(request, authorization, limit)
        except httpx.HTTPStatusError as error:
            # A hook of the caller's own client was first to judge the answer.
            answer = error.response
            return Response(answer.status_code, headers_of(answer), b"", authorization)
        except (KlaviyoError, *HTTP_ERRORS, *HTTPX_MISUSE) as error:
            if isinstance(error, TimeoutError) and limit.expired():
                return self._out_of_time()
            return self._failed(error, authorization)

    async def _sent(
        self, request: httpx.Request, authorization: Authorization, limit: asyncio.Timeout
    ) -> Response:
        connection = self._connections.take()
        try:
            response = await connection.transmit(request)
            try:
                headers = headers_of(response)
                body = await self._read(response, reader_of(response, headers), limit)
            finally:
                await response.aclose()
        except BaseException:
            await connection.close()
            raise
        for surplus in self._connections.put_back(connection):
            await surplus.close()
        return Response(response.status_code, headers, body, authorization)

    async def _read(
        self, response: httpx.Response, reader: BodyReader, limit: asyncio.Timeout
    ) -> bytes:
        if response.status_code == 200:
            return await self._whole(response, reader)
        now, until = asyncio.get_running_loop().time(), limit.when()
        assert until is not None
        try:
            async with asyncio.timeout(error_body_s(until - now)):
                return await self._whole(response, reader)
        except (KlaviyoError, *HTTP_ERRORS):  # A time limit raises a kind of OSError.
            return reader.so_far()

    async def _whole(self, response: httpx.Response, reader: BodyReader) -> bytes:
        if response.is_stream_consumed:
            return reader.take_decoded(response.content)
        async for chunk in _raw(response):
            reader.feed(chunk)
        return reader.finish()

    async def _authorization(self) -> Authorization:
        credential = self._credential
        if credential.authorization is not None:
            return credential.authorization
        assert credential.supplier is not None
        with token_errors():
            token = credential.supplier()
            if inspect.isawaitable(token):
                token = await _uncancelled(token)
            return credential.authorization_for(token)

    async def aclose(self) -> None:
        """Close the connections; an `http_client` that was passed in stays open.

        A request under way in another task comes to its end first, but nobody waits for it. In
        another event loop than the first, the connections are left to the garbage collector.
        """
        for connection in self._connections.shut():
            if self._loop in (None, asyncio.get_running_loop()):
                await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


_AsyncConnection = Connection[Awaitable[httpx.Response], Awaitable[None]]


def _connector(client: httpx.AsyncClient | None) -> Callable[[], _AsyncConnection]:
    if client is not None:
        if not isinstance(client, httpx.AsyncClient):
            # An httpx.Client would block the event loop.
            raise TypeError(
                f"http_client must be an httpx.AsyncClient, not {type(client).__name__}"
            )
        theirs: _AsyncConnection = Connection(_sending(client), _nothing)
        return lambda: theirs
    context = ssl_context()

    def proxied_one() -> _AsyncConnection:
        with proxy_errors():
            own = httpx.AsyncClient(verify=context)
        return Connection(_sending(own), own.aclose)

    def direct_one() -> _AsyncConnection:
        transport = httpx.AsyncHTTPTransport(verify=context)  # As in Client: the bare transport.
        return Connection(transport.handle_async_request, transport.aclose)

    return proxied_one if proxied() else direct_one


def _raw(response: httpx.Response) -> httpx.AsyncByteStream:
    if response.is_closed:  # As in Client.
        raise httpx.StreamClosed
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response.stream


def _sending(client: httpx.AsyncClient) -> Callable[[httpx.Request], Awaitable[httpx.Response]]:
    return functools.partial(client.send, auth=None, follow_redirects=False, stream=True)


async def _nothing() -> None: ...


async def _uncancelled(token: Awaitable[str]) -> str:
    """The token; `RuntimeError` when what was to bring it was cancelled, and we were not."""
    try:
        return await token
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("the token was awaited from a task that was cancelled") from None


async def _woken(step: AwaitPlace) -> None:
    """Wait for the ticket's wake-up, which may come from another thread."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # The loop has been closed; nobody waits any more.
            loop.call_soon_threadsafe(event.set)

    step.ticket.on_grant(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds):
            await event.wait()
