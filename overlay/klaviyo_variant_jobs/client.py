"""The clients: settings, typed signatures, the two drivers. Only they touch the HTTP library."""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypedDict, Unpack, overload

import attrs
import httpx

from klaviyo_variant_jobs_api import transport
from klaviyo_variant_jobs_api.registry import NEWEST, JobT_co, Revision
from klaviyo_variant_jobs_api.transport import HOW_TO_SEND, lower_case

from .auth import AsyncToken, Authorization, SyncToken, credential_from
from .checkpoint import Checkpoint, can_be_sent
from .clock import SYSTEM_CLOCK, Clock
from .decode.page import Page
from .errors import AttemptedError, KlaviyoError, TransportError, one_line
from .exchange import Call, Close, Query, Read, Send, Sleep, Terms, exchange
from .iteration import Ahead, AsyncIteration, Iteration, keep
from .pagination import check_resumed
from .rate_limits import Limiter, RateLimiter, shared_limiter
from .retry import RetryPolicy
from .revisions import check_extra_query, check_fields, check_status, find
from .version import __version__

if TYPE_CHECKING:
    import asyncio

    from klaviyo_variant_jobs_api.registry import NewestDate, NewestJob

    from .events import Event
    from .watch import Change, Ids, Waiting


class Options(TypedDict, total=False):
    """Keyword arguments that both clients take alike."""

    base_url: str
    retry: RetryPolicy
    rate_limiter: Limiter | None
    timeout: float | transport.Timeout
    strict: bool
    clock: Clock
    name: str | None
    on_event: Callable[[Event], object] | None


class Asked(TypedDict, total=False):
    """Keyword arguments of all that lists jobs."""

    status: str | Iterable[str] | None
    fields: Iterable[str] | None
    extra_query: Mapping[str, object] | None


class Listing(Asked, total=False):
    """Keyword arguments of `iter_jobs` and `iter_pages`."""

    resume: str | Checkpoint | None
    prefetch: int


class ClientOptions(Options, total=False):
    """Keyword arguments of `Client` besides the revision."""

    access_token: SyncToken | None
    http_client: transport.HTTPClient | None


class AsyncClientOptions(Options, total=False):
    """Keyword arguments of `AsyncClient` besides the revision."""

    access_token: AsyncToken | None
    http_client: transport.AsyncHTTPClient | None


@attrs.define(eq=False)
class Pool:
    """An HTTP client and the number of requests under way on it."""

    client: Any
    process: int = attrs.field(factory=os.getpid)
    requests: int = 0
    is_retired: bool = False


class Connections:
    """Hands out the pool for each request. Safe to share between threads.

    One whose connection failed is retired: the next request goes out on a fresh connection, not on
    another that a firewall may have dropped as well. A cancelled request retires it too, since
    httpcore may lose a place of its pool for good (httpcore issue 1093). A forked process makes
    its own, or parent and child would read each other's answers.
    """

    def __init__(self, make: Callable[[], Any], *, theirs: Any) -> None:
        self.are_ours = theirs is None
        """Whether we made the client; one that was passed in is never replaced nor closed."""
        self._make = make if theirs is None else lambda: theirs
        # Made at once, so that an unusable proxy of the environment is reported before a request.
        self.pool = Pool(self._make())
        self._is_closed = False
        self._lock = threading.Lock()
        self._inherited: list[Pool] = []

    def take(self) -> Pool:
        """The pool to send the next request on. Raises `KlaviyoError` once `close` was called."""
        if self._is_closed:
            raise KlaviyoError("the client is closed; make another, or move the work inside `with`")
        if self.pool.process != os.getpid():
            # The parent's pool is kept unused: closing its connections here would end them there.
            # Its lock may be held, by a thread that only the parent has.
            self._inherited.append(self.pool)
            self._lock, self.pool = threading.Lock(), Pool(self._make())
        with self._lock:
            if self.pool.is_retired:
                self.pool = Pool(self._make())
            self.pool.requests += 1
            return self.pool

    def put_back(self, pool: Pool | None, *, failed: bool) -> Sequence[Any]:
        """End a request; gives the client to close if nobody uses it any more."""
        if pool is None:
            return ()
        with self._lock:
            pool.requests -= 1
            pool.is_retired |= failed
            return self._unused(pool)

    def close(self) -> Sequence[Any]:
        """Hand out no more; gives the client to close. A request under way ends first."""
        self._is_closed = self.pool.is_retired = True
        return () if self.pool.process != os.getpid() else self._unused(self.pool)

    def _unused(self, pool: Pool) -> Sequence[Any]:
        return (pool.client,) if self.are_ours and pool.is_retired and not pool.requests else ()


# What the library raises when it was closed or given what it cannot use, and mocks that have run
# out. Not every exception: those of a signal handler or of a caller's hook go through as they are.
_MISUSE = (RuntimeError, ValueError, OverflowError, StopIteration, StopAsyncIteration)
_MISUSED = "no failure of the network, so not tried again: look at http_client and its hooks"


def explain(
    error: Exception, authorization: Authorization, *, library: Any, where: str, url: str
) -> Exception:
    """Our error for a failure of the HTTP library; an exception of a caller's hook as it is.

    Takes the key out of it: out of its message, the request that it carries, and the frames of the
    HTTP library, whose variables error trackers show.
    """
    error.__traceback__ = transport.without_library(error.__traceback__)
    error.args = tuple(map(authorization.redact_any, error.args))
    if isinstance(error, KlaviyoError):
        return error
    is_network = isinstance(error, (library.HTTPError, library.StreamError, OSError))
    advice, is_lasting = transport.advice(error, library) if is_network else (_MISUSED, True)
    if isinstance(error, library.HTTPError):
        error.request = library.Request("GET", url)
    if is_network:  # Its cause carries the request as well.
        error.__cause__ = error.__context__ = None
    elif not isinstance(error, (library.InvalidURL, *_MISUSE)):
        return error
    said = one_line(authorization.redact(str(error)), 500) or "no detail given"
    told = f"{transport.named(error)}: {said} [{where}]; {advice}"
    failure = (TransportError if is_network else AttemptedError)(told)
    failure.is_lasting, failure.__cause__ = is_lasting, error
    return failure


class BaseClient(Generic[JobT_co]):
    """What both clients share: everything but sending and waiting."""

    _own: type[httpx.Client | httpx.AsyncClient]
    """What our own HTTP client is; its base is what a caller's has to be."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        access_token: AsyncToken | None = None,
        revision: str | Revision[Any] = NEWEST.date,
        base_url: str = transport.DEFAULT_BASE_URL,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        rate_limiter: Limiter | None = None,
        timeout: float | transport.Timeout = 30.0,
        http_client: Any = None,
        strict: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        name: str | None = None,
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        if not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        if rate_limiter is not None and not callable(getattr(rate_limiter, "acquire", None)):
            raise TypeError(f"rate_limiter must be a limiter, not {type(rate_limiter).__name__}")
        self._revision = find(revision)
        self._base_url = url = transport.checked_base_url(base_url)
        self._url = f"{url}{self._revision.path}"
        self._credential = credential_from(api_key, access_token)
        self._timeout = transport.checked_timeout(timeout)
        self._retry, self._strict, self._clock = retry, strict, clock
        self._name, self._listener = name, on_event
        if isinstance(rate_limiter, RateLimiter):
            rate_limiter.use_clock(clock)
        # Virtual and real time do not mix, and another host is another quota.
        identity = (self._credential.identity, url, clock)
        self._limiter = shared_limiter(identity, clock) if rate_limiter is None else rate_limiter
        make = functools.partial(transport.own_client, self._own, url)
        self._connections = Connections(make, theirs=http_client)
        kind = self._own.__mro__[2].__name__
        self._library = transport.library_of(self._connections.pool.client, kind)

    # The next two are made for the first page: importing what reads one takes a fifth of what
    # importing httpx does, and a program that makes a client may never ask for one.

    @functools.cached_property
    def _terms(self) -> Terms:
        from .decode.fit import PageDecoder
        from .events import Observer

        clock, where = self._clock, f"{self._url}, revision {self.revision}"
        return Terms(
            revision=self.revision,
            decoder=PageDecoder(self._revision.load().page_model, strict=self._strict),
            credential=self._credential,
            limiter=self._limiter,
            policy=self._retry,
            clock=clock,
            observer=Observer(clock, self.revision, name=self._name, listener=self._listener),
            explain=functools.partial(explain, library=self._library, where=where, url=self._url),
        )

    @functools.cached_property
    def _headers(self) -> list[tuple[bytes, bytes]]:
        # A copy: two threads may ask for their first page at once, and only 3.11 makes one wait.
        headers: httpx.Headers = self._connections.pool.client.headers.copy()
        headers.update(self._revision.load().get_kwargs(revision=self.revision)["headers"])
        headers["accept"] = self._revision.media_type
        headers["accept-encoding"] = "gzip"
        theirs = f"{self._library.__name__}/{self._library.__version__}"
        headers["user-agent"] = f"klaviyo-variant-jobs/{__version__} {theirs}"
        headers["x-klaviyo-revision-fall-forward-opt-out"] = "1"
        headers.pop("authorization", None)
        headers.setdefault("host", self._base_url.netloc.decode())
        return headers.raw

    @property
    def revision(self) -> str:
        """The date of the revision that every request pins."""
        return self._revision.date

    def __repr__(self) -> str:
        named = "" if self._name is None else f"name={self._name!r}, "
        told = f"{named}revision={self.revision!r}, base_url='{self._base_url}'"
        return f"{type(self).__name__}({told})"

    def _listing(
        self, *, resume: Any = None, prefetch: int = 0, **asked: Unpack[Asked]
    ) -> tuple[Checkpoint, int]:
        """The checkpoint that an iteration starts from, and how many pages it fetches ahead."""
        if prefetch not in (0, 1):
            raise ValueError(f"prefetch is 0 or 1 page, not {prefetch!r}")
        if not isinstance(resume, str | Checkpoint | None):
            raise TypeError(f"resume must be a checkpoint or its text, not {type(resume).__name__}")
        first = self._first(**asked)
        # One made by hand is parsed too, because parsing checks that it makes sense.
        start = first if resume is None else Checkpoint.parse(str(resume))
        check_resumed(start, first)
        return start, prefetch

    def _query(self, cursor: object, **asked: Unpack[Asked]) -> Query:
        first = self._first(**asked)
        if len(first.status) > 1:
            raise ValueError("a page has the jobs of one status; iter_pages() takes several")
        if not isinstance(cursor, str | None):
            raise TypeError(f"cursor must be a string, not {type(cursor).__name__}")
        if cursor is not None and not can_be_sent(cursor):
            raise ValueError("cursor is too long or has half a surrogate pair, so it is none")
        (status,) = first.status or (None,)
        return Query(status, first.fields, cursor, first.extra_query)

    def _first(self, status: Any = None, fields: Any = None, extra_query: Any = None) -> Checkpoint:
        return Checkpoint(
            revision=self.revision,
            status=check_status(self._revision, status),
            fields=check_fields(self._revision, fields),
            extra_query=check_extra_query(self._revision, extra_query),
        )

    def _request(self, effect: Send) -> Any:
        query = effect.query
        asked: dict[str, Any] = {"fields": query.fields or None, "page_cursor": query.cursor}
        if query.status is not None:
            asked["filter_"] = f'equals(status,"{query.status}")'
        kwargs = self._revision.load().get_kwargs(revision=self.revision, **asked)
        return self._library.Request(
            kwargs["method"].upper(),
            transport.with_query(self._url, [*kwargs["params"].items(), *query.extra_query]),
            headers=[*self._headers, (b"authorization", effect.authorization.header.encode())],
            extensions={"timeout": {k: min(v, effect.seconds) for k, v in self._timeout.items()}},
        )


class Client(BaseClient[JobT_co]):
    """Reads the bulk jobs that create catalog variants. Safe to share between threads.

    Args:
        api_key: a private key (`pk_…`) with the scope `catalogs:read`; falls back to the
            environment variable KLAVIYO_API_KEY.
        access_token: instead of a key, an OAuth token, or a callable that returns one and is
            called before every attempt.
        revision: the date of the API revision to pin, or a `Revision`. Defaults to the newest one
            this release knows; pin it, since the default changes with major releases.
        base_url: where the API is; plain http only for loopback hosts.
        retry: how failures that pass are tried again, and the deadline of a page.
        rate_limiter: paces requests; shared by default among all clients of one credential in the
            process. Pass one to share it between the keys of an account.
        timeout: seconds for connecting (to each address of the host), each read and each write,
            or an `httpx.Timeout` without an infinite part; 30 by default. The deadline of `retry`
            bounds the whole page.
        http_client: an `httpx.Client` or `httpx2.Client` of your own, for proxies or
            instrumentation, which you close. Its headers, as they are at the first page, are
            sent along, except Accept, Accept-Encoding, User-Agent and Authorization. Its cookies,
            timeouts, authentication and redirects are not used.
        strict: raise `InvalidResponseError` for a value that does not fit the schema. By default
            it reads as None and is among the page's anomalies.
        clock: where time and chance come from; for tests.
        name: tells clients apart in reprs, log records and events.
        on_event: called with each event of `klaviyo_variant_jobs.events`, in the thread or task
            that reads the page. The first exception it raises is logged, later ones are ignored.

    Raises `ValueError` or `TypeError` for arguments that make no sense, before anything is sent.
    """

    _own = transport.OwnClient

    if TYPE_CHECKING:  # At run time it is that of BaseClient, spelled out for help() and Sphinx.

        @overload
        def __init__(
            self: Client[NewestJob],
            api_key: str | None = None,
            *,
            revision: NewestDate = ...,
            **options: Unpack[ClientOptions],
        ) -> None: ...
        @overload
        def __init__(
            self,
            api_key: str | None = None,
            *,
            revision: Revision[JobT_co] | str,
            **options: Unpack[ClientOptions],
        ) -> None: ...
        def __init__(self, api_key: str | None = None, **options: Any) -> None: ...

    def iter_jobs(self, **listing: Unpack[Listing]) -> Iteration[JobT_co]:
        """Every job, newest first, across all pages; nothing is sent before the first is asked for.

        Args:
            status: list only jobs of this status; several mean one pass each, in lifecycle order.
            fields: attributes to ask for; all by default.
            resume: a checkpoint of an earlier iteration, or its text.
            prefetch: pages to fetch ahead while you work, 0 (the default) or 1.
            extra_query: more query parameters of the revision, by name, sent with every page.

        Raises `ValueError` at once for unknown statuses, fields or a foreign checkpoint; later
        errors are of the `KlaviyoError` family and carry `.checkpoint`.
        """
        return Iteration(*self._listing(**listing), self._fetch, by_page=False)

    def iter_pages(self, **listing: Unpack[Listing]) -> Iteration[Page[JobT_co]]:
        """Like `iter_jobs`, page by page."""
        return Iteration(*self._listing(**listing), self._fetch, by_page=True)

    def get_page(self, *, cursor: str | None = None, **asked: Unpack[Asked]) -> Page[JobT_co]:
        """One page: the first, or the one at `cursor`.

        Args:
            status: list only jobs of this status.
            fields: attributes to ask for; all by default.
            cursor: `next_cursor` of the page before; None, the default, for the first.
            extra_query: more query parameters of the revision, by name.

        Raises `ValueError` for unknown statuses or fields, else errors of the `KlaviyoError`
        family.
        """
        return self._fetch(self._query(cursor, **asked), None)

    def watch(self, ids: Ids = None, **waiting: Unpack[Waiting]) -> Iterator[Change[JobT_co]]:
        """Every change of some jobs until they have ended; lazy.

        Args:
            ids: of the jobs to watch; None for every job that is or becomes active, until none is.
            timeout: seconds for all of it, None for ever.
            interval: seconds between two looks, 5 by default; grows by half while nothing changes.
            max_interval: the most seconds it grows to, 60 by default.
            fields: attributes to ask for, `status` and `created_at` besides; all by default.

        A look asks for the jobs queued and processing; for a watched job that left both, for those
        complete and cancelled too, newest first and no further back than needed. A job that ends
        cancelled or with failed variants is a result, not an error; one in a status that this
        release does not know goes on.

        Raises `ValueError` at once for arguments that make no sense; `WatchTimeoutError` with
        `.jobs`; `JobsMissingError` with `.ids` for jobs that two complete looks did not find, when
        all others have ended; and what `get_page` raises for what cannot be mended.
        """
        from . import watch

        return watch.watch(self, ids, **waiting)

    def wait(self, ids: Ids = None, **waiting: Unpack[Waiting]) -> dict[str, JobT_co]:
        """Watch until the jobs have ended, and return them by id; takes and raises as `watch`."""
        from . import watch

        return watch.wait(self, ids, **waiting)

    def _fetch(self, query: Query, ahead: Ahead | None) -> Page[JobT_co]:
        """Drive an exchange; `ahead` is the thread that does it ahead of time, if one does."""
        steps = exchange(self._terms, query)
        pool: Pool | None = None
        response: Any = None
        result: Any = None
        chunk: Any
        try:
            effect = next(steps)
            while True:
                result = None
                try:
                    if ahead is not None and not isinstance(effect, Close):
                        ahead.check()
                    match effect:
                        case Call(function):
                            result = _unawaited(function())
                        case Send():
                            pool = self._connections.take()
                            try:
                                response = pool.client.send(self._request(effect), **HOW_TO_SEND)
                            except self._library.HTTPStatusError as error:
                                response = error.response  # A hook was first to judge the answer.
                            result = response.status_code, lower_case(response.headers.raw)
                        case Read(reader, _) if response.is_stream_consumed:
                            reader.keep(response.content)  # By a hook, or it came from memory.
                        case Read(reader, seconds):
                            until = self._clock.monotonic() + seconds
                            for chunk in response.iter_raw():
                                reader.feed(chunk)
                                if self._clock.monotonic() > until:
                                    raise TimeoutError("the answer was not complete in time")
                        case Close(failed):
                            unused = self._connections.put_back(pool, failed=failed)
                            for closing in filter(None, (response, *unused)):
                                closing.close()
                            pool = response = None
                        case Sleep(seconds) if ahead is not None:
                            ahead.sleep(self._clock, seconds)
                        case Sleep(seconds):
                            self._clock.sleep(seconds)
                except BaseException as failure:
                    effect = steps.throw(failure)
                else:
                    effect = steps.send(result)
        except StopIteration as done:
            page: Page[JobT_co] = done.value
            return page
        finally:
            result = chunk = None  # A token, headers or a body, which an error tracker would show.

    def close(self) -> None:
        """Close the connections; an `http_client` that was passed in stays open.

        A request under way in another thread comes to its end first, but nobody waits for it.
        """
        for http_client in self._connections.close():
            http_client.close()
        _unawaited(self._limiter.flush())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _unawaited(result: Any) -> Any:
    """The result of a call, which must not have to be awaited."""
    if inspect.isawaitable(result):
        getattr(result, "close", bool)()  # Else Python complains later of what was never awaited.
        raise TypeError("a limiter or access_token callable returned an awaitable: use AsyncClient")
    return result


class AsyncClient(BaseClient[JobT_co]):
    """`Client` for asyncio. Safe to share between the tasks of one event loop, and bound to it.

    Takes the same arguments, but an `httpx.AsyncClient` as `http_client`; a callable
    `access_token` may be a coroutine function. The deadline of a page is exact. It waits by its
    event loop: with a `VirtualClock` as `clock`, run it by that clock's `run`.
    """

    _own = transport.OwnAsyncClient
    _loop: asyncio.AbstractEventLoop | None = None

    if TYPE_CHECKING:  # At run time it is that of BaseClient, spelled out for help() and Sphinx.

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
            revision: Revision[JobT_co] | str,
            **options: Unpack[AsyncClientOptions],
        ) -> None: ...
        def __init__(self, api_key: str | None = None, **options: Any) -> None: ...

    def iter_jobs(self, **listing: Unpack[Listing]) -> AsyncIteration[JobT_co]:
        """Every job, newest first, across all pages; nothing is sent before the first is asked for.

        Args:
            status: list only jobs of this status; several mean one pass each, in lifecycle order.
            fields: attributes to ask for; all by default.
            resume: a checkpoint of an earlier iteration, or its text.
            prefetch: pages to fetch ahead while you work, 0 (the default) or 1.
            extra_query: more query parameters of the revision, by name, sent with every page.

        Raises `ValueError` at once for unknown statuses, fields or a foreign checkpoint; later
        errors are of the `KlaviyoError` family and carry `.checkpoint`.
        """
        return AsyncIteration(*self._listing(**listing), self._fetch, by_page=False)

    def iter_pages(self, **listing: Unpack[Listing]) -> AsyncIteration[Page[JobT_co]]:
        """Like `iter_jobs`, page by page."""
        return AsyncIteration(*self._listing(**listing), self._fetch, by_page=True)

    async def get_page(self, *, cursor: str | None = None, **asked: Unpack[Asked]) -> Page[JobT_co]:
        """One page: the first, or the one at `cursor`. Takes and raises what `Client` does."""
        return await self._fetch(self._query(cursor, **asked))

    def watch(self, ids: Ids = None, **waiting: Unpack[Waiting]) -> AsyncIterator[Change[JobT_co]]:
        """Every change of some jobs until they have ended, as `Client.watch`."""
        from . import watch

        return watch.watch_async(self, ids, **waiting)

    async def wait(self, ids: Ids = None, **waiting: Unpack[Waiting]) -> dict[str, JobT_co]:
        """Watch until the jobs have ended, and return them by id, as `Client.wait`."""
        from . import watch

        return await watch.wait_async(self, ids, **waiting)

    async def _fetch(self, query: Query) -> Page[JobT_co]:
        """Drive an exchange."""
        import asyncio

        self._check_loop()
        steps = exchange(self._terms, query)
        pool: Pool | None = None
        response: Any = None
        result: Any = None
        chunk: Any
        try:
            effect = next(steps)
            while True:
                result = None
                try:
                    match effect:
                        case Call(function, seconds):
                            result = function()
                            if inspect.isawaitable(result):
                                async with asyncio.timeout(seconds):
                                    result = await _awaited(result)
                        case Send(seconds=seconds):
                            pool = self._connections.take()
                            send = pool.client.send
                            try:
                                async with asyncio.timeout(seconds):
                                    response = await send(self._request(effect), **HOW_TO_SEND)
                            except self._library.HTTPStatusError as error:
                                response = error.response
                            result = response.status_code, lower_case(response.headers.raw)
                        case Read(reader, _) if response.is_stream_consumed:  # As in Client.
                            reader.keep(response.content)
                        case Read(reader, seconds):
                            async with asyncio.timeout(seconds):
                                async for chunk in response.aiter_raw():
                                    reader.feed(chunk)
                        case Close(failed):
                            unused = self._connections.put_back(pool, failed=failed)
                            left = [r for r in (response, *unused) if r and not r.is_closed]
                            pool = response = None
                            if left:
                                await asyncio.shield(keep(asyncio.create_task(_closed(left))))
                        case Sleep(seconds):
                            await asyncio.sleep(seconds)
                except BaseException as failure:
                    effect = steps.throw(failure)
                else:
                    effect = steps.send(result)
        except StopIteration as done:
            page: Page[JobT_co] = done.value
            return page
        finally:
            result = chunk = None  # A token, headers or a body, which an error tracker would show.

    def _check_loop(self) -> None:
        """Raises `KlaviyoError` without asyncio, or in another event loop than the first."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise KlaviyoError(
                "AsyncClient needs asyncio; in trio use Client in a thread"
            ) from None
        if self._connections.are_ours and self._loop not in (None, loop):
            raise KlaviyoError("the client belongs to another event loop; make one in each loop")
        self._loop = loop

    async def aclose(self) -> None:
        """Close the connections; an `http_client` that was passed in stays open.

        A request under way in another task comes to its end first, but nobody waits for it. In
        another event loop than the first, the connections are left to the garbage collector.
        """
        import asyncio

        for http_client in self._connections.close():
            if self._loop in (None, asyncio.get_running_loop()):
                await http_client.aclose()
        if (flushed := self._limiter.flush()) is not None:
            await flushed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


async def _closed(things: list[Any]) -> None:
    """Close responses and HTTP clients; to the end, even when our task is cancelled meanwhile.

    httpcore forgets its connections before it closes them, and a cancellation between the two
    would leave them open.
    """
    for thing in things:
        await thing.aclose()


async def _awaited(result: Any) -> Any:
    """The result of a call, awaited."""
    import asyncio

    try:
        return await result
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Another task was cancelled, which was to bring the result. Ours was not.
        raise RuntimeError("it was awaited from a task that was cancelled") from None
