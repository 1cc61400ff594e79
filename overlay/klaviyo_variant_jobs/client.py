"""The clients: two thin shells that own an httpx client and drive the steps. Only they send."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import ipaddress
import logging
import math
import re
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypedDict, Unpack, cast, overload

import httpx

from klaviyo_variant_jobs_api.registry import NEWEST, Revision

from .checkpoint import Checkpoint, KlaviyoError
from .clock import SYSTEM_CLOCK, Clock
from .credentials import AsyncToken, SyncToken, credential_from
from .decode import PageDecoder
from .errors import TokenError, TransportError, one_line
from .exchange import (
    DECODED_LIMIT,
    ERROR_LIMIT,
    Answer,
    AwaitPlace,
    BodyReader,
    Outcome,
    Response,
    Send,
    Step,
    Terms,
    exchange,
)
from .iteration import AsyncIteration, Halt, Iteration, give_jobs, give_page
from .pagination import Endpoint, JobT, Page, Query, Walk
from .rate_limits import Limiter, shared_limiter
from .retry import RetryPolicy
from .revisions import check_fields, check_status, find, retired_on, stable_until
from .version import __version__

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob, NewestDate, NewestJob

logger = logging.getLogger("klaviyo_variant_jobs")

DEFAULT_BASE_URL = "https://a.klaviyo.com"
DEFAULT_TIMEOUT_S = 30.0

_HTTP_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)


class _Options(TypedDict, total=False):
    base_url: str
    retry: RetryPolicy
    rate_limiter: Limiter | None
    timeout: float | httpx.Timeout
    strict: bool
    clock: Clock


class ClientOptions(_Options, total=False):
    """Keyword arguments of `Client` besides the revision."""

    access_token: SyncToken | None
    http_client: httpx.Client | None


class AsyncClientOptions(_Options, total=False):
    """Keyword arguments of `AsyncClient` besides the revision."""

    access_token: AsyncToken | None
    http_client: httpx.AsyncClient | None


class _Shell(Generic[JobT]):
    """What both clients share: everything but sending and waiting."""

    def __init__(
        self,
        api_key: str | None,
        access_token: AsyncToken | None,
        revision: str | Revision[Any],
        http_headers: httpx.Headers,
        *,
        base_url: str,
        retry: RetryPolicy,
        rate_limiter: Limiter | None,
        timeout: float | httpx.Timeout,
        strict: bool,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._revision = find(revision)
        self._credential = credential_from(api_key, access_token)
        self._timeout = _checked_timeout(timeout)
        origin = _checked_base_url(base_url)
        code = self._revision.load()
        self._kwargs = code.get_kwargs
        self._url = origin + self._revision.path
        self._endpoint = Endpoint(self._url)
        self._origin = origin
        headers = httpx.Headers(http_headers)
        headers.update(
            {
                "accept": self._revision.media_type,
                "accept-encoding": "gzip",
                "user-agent": f"klaviyo-variant-jobs/{__version__} httpx/{httpx.__version__}",
                "x-klaviyo-revision-fall-forward-opt-out": "1",
            }
        )
        headers.update(self._kwargs(revision=self.revision)["headers"])
        headers.pop("authorization", None)
        self._headers = headers.raw
        # Virtual and real time do not mix, and another host is another quota.
        identity = (self._credential.identity, origin, clock)
        self._terms = Terms(
            revision=self._revision.date,
            decoder=PageDecoder(code.page_model, strict=strict),
            limiter=rate_limiter or shared_limiter(identity),
            policy=retry,
            clock=clock,
        )
        self._closed = False
        self._said: set[str] = set()
        self._saying = threading.Lock()

    @property
    def revision(self) -> str:
        """The date of the revision that every request pins."""
        return self._revision.date

    def __repr__(self) -> str:
        return f"{type(self).__name__}(revision={self.revision!r}, base_url={self._origin!r})"

    def _query(self, status: str | None, fields: Iterable[str] | None, cursor: str | None) -> Query:
        one = check_status(self._revision, status)
        if len(one) > 1:
            raise ValueError("a page has the jobs of one status; iter_pages() takes several")
        return Query(one[0] if one else None, check_fields(self._revision, fields), cursor)

    def _walk(
        self,
        status: str | Iterable[str] | None,
        fields: Iterable[str] | None,
        resume: str | Checkpoint | None,
        prefetch: int,
    ) -> Walk[Any]:
        if prefetch not in (0, 1):
            raise ValueError(f"prefetch is 0 or 1 page, not {prefetch!r}")
        return Walk(
            self._revision.date,
            check_status(self._revision, status),
            check_fields(self._revision, fields),
            Checkpoint.parse(resume) if isinstance(resume, str) else resume,
        )

    def _steps(self) -> Generator[Step, Outcome, Answer]:
        if self._closed:
            raise KlaviyoError(
                "the client is closed; make a new one, or move the work inside `with`"
            )
        return exchange(self._terms)

    def _request(self, query: Query, authorization: str, seconds: float) -> httpx.Request:
        kwargs = self._kwargs(
            fields=query.fields or None,
            filter_=None if query.status is None else f'equals(status,"{query.status}")',
            page_cursor=query.cursor,
            revision=self.revision,
        )
        # Encoded here, because httpx would decode and encode an opaque cursor on the way.
        encoded = "&".join([f"{_quoted(k)}={_quoted(v)}" for k, v in kwargs["params"].items()])
        return httpx.Request(
            kwargs["method"].upper(),
            f"{self._url}?{encoded}" if encoded else self._url,
            headers=[*self._headers, (b"authorization", authorization.encode())],
            extensions={"timeout": {k: min(v, seconds) for k, v in self._timeout.items()}},
        )

    def _broken(self, error: Exception) -> TransportError:
        """The failure of a request in our terms, without the key that httpx's own carries."""
        if isinstance(error, httpx.RequestError):
            error.request = httpx.Request("GET", self._url)
        # Error trackers show local variables, and in the frames of a failed write one is the
        # request as it was sent.
        link: BaseException | None = error
        while link is not None:
            link.__traceback__ = None
            link = link.__cause__ or link.__context__
        said = one_line(str(error), 500) or "no detail given"
        told = TransportError(
            f"{type(error).__name__}: {said} [{self._url}, revision {self.revision}]; check the "
            "network, proxies and the API's status, then resume"
        )
        told.__cause__ = error
        return told

    def _out_of_time(self, seconds: float) -> TransportError:
        return TransportError(
            f"the answer was not complete after {seconds:.3g} s, when the deadline passed "
            f"[{self._url}, revision {self.revision}]"
        )

    def _page(self, answer: Answer, query: Query) -> Page[Any]:
        document, headers = answer.page.document, answer.headers
        anomalies = answer.page.anomalies
        request_id = headers.get("x-klaviyo-req-id")
        served = headers.get("x-klaviyo-api-revision")
        if anomalies:
            logger.warning(
                "%d values of a page do not fit revision %s and were kept as they came: %s%s "
                "[request %s]",
                len(anomalies),
                self.revision,
                ", ".join(anomalies[:5]),
                ", …" if len(anomalies) > 5 else "",
                request_id,
            )
        self._look_at_lifecycle(served, headers.get("x-klaviyo-api-retirement-date"))
        return Page(
            jobs=document.data,
            cursor=query.cursor,
            rate_limit=answer.rate_limit,
            request_id=request_id,
            revision_served=served,
            anomalies=anomalies,
            # Links that are no object are no end: they are reported like an unusable link.
            next=self._endpoint.cursor_in(getattr(document.links, "next", document.links)),
        )

    def _look_at_lifecycle(self, served: str | None, retirement: str | None) -> None:
        if served is not None and served != self.revision and self._first("served"):
            logger.warning("revision %s was pinned but the API served %s", self.revision, served)
        if retirement is not None:
            if self._first("lifecycle"):
                logger.warning(
                    "the API retires revision %s on %s; move to a newer one before",
                    self.revision,
                    retirement,
                )
        elif self._first("calendar"):
            today = datetime.fromtimestamp(self._clock.time(), UTC).date()
            if today >= stable_until(self.revision) and self._first("lifecycle"):
                logger.warning(
                    "revision %s has been deprecated since %s and may be retired on %s; move to a "
                    "newer one",
                    self.revision,
                    stable_until(self.revision),
                    retired_on(self.revision),
                )

    def _first(self, topic: str) -> bool:
        """Whether nothing was said of `topic` before."""
        if topic in self._said:
            return False
        with self._saying:
            new = topic not in self._said
            self._said.add(topic)
        return new


class Client(_Shell[JobT]):
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
        timeout: seconds for connecting, each read and each write, or an `httpx.Timeout` without
            an infinite part; 30 by default. Dripped response headers are bounded by it only per
            read, everything else by the deadline too.
        http_client: an `httpx.Client` of your own, for proxies or instrumentation; its headers are
            sent along, and you close it.
        strict: raise `InvalidResponseError` for values that do not fit the schema instead of
            keeping them as they came.
        clock: where time and chance come from; for tests.

    Raises `ValueError` for arguments that make no sense, before anything is sent.
    """

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
        revision: Revision[JobT],
        **options: Unpack[ClientOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Client[AnyJob],
        api_key: str | None = None,
        *,
        revision: str,
        **options: Unpack[ClientOptions],
    ) -> None: ...
    def __init__(
        self,
        api_key: str | None = None,
        *,
        access_token: SyncToken | None = None,
        revision: str | Revision[Any] = NEWEST,
        base_url: str = DEFAULT_BASE_URL,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        rate_limiter: Limiter | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT_S,
        http_client: httpx.Client | None = None,
        strict: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
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
        self._owned: httpx.Client | httpx.HTTPTransport | None = None
        if http_client is None and not _proxied():
            # The bare transport: redirects, cookies and client-wide settings, of which a client
            # takes care at a quarter of a request's cost, are not wanted here.
            self._owned = transport = httpx.HTTPTransport(verify=_ssl_context())
            self._transmit: Callable[[httpx.Request], httpx.Response] = transport.handle_request
        else:
            if http_client is None:
                self._owned = http_client = httpx.Client(verify=_ssl_context())
            self._transmit = functools.partial(
                http_client.send, auth=None, follow_redirects=False, stream=True
            )

    def iter_jobs(
        self,
        *,
        status: str | Iterable[str] | None = None,
        fields: Iterable[str] | None = None,
        resume: str | Checkpoint | None = None,
        prefetch: int = 0,
    ) -> Iteration[JobT]:
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
        return Iteration(walk, give_jobs, self._fetch, prefetch)

    def iter_pages(
        self,
        *,
        status: str | Iterable[str] | None = None,
        fields: Iterable[str] | None = None,
        resume: str | Checkpoint | None = None,
        prefetch: int = 0,
    ) -> Iteration[Page[JobT]]:
        """Like `iter_jobs`, page by page."""
        walk = self._walk(status, fields, resume, prefetch)
        return Iteration(walk, give_page, self._fetch, prefetch)

    def get_page(
        self,
        *,
        status: str | None = None,
        fields: Iterable[str] | None = None,
        cursor: str | None = None,
    ) -> Page[JobT]:
        """One page: the first, or the one at `cursor`.

        Raises `ValueError` for unknown statuses or fields, else errors of the `KlaviyoError`
        family.
        """
        return self._fetch(self._query(status, fields, cursor), Halt())

    def _fetch(self, query: Query, halt: Halt) -> Page[JobT]:
        return self._page(self._drive(query, halt), query)

    def _drive(self, query: Query, halt: Halt) -> Answer:
        steps = self._steps()
        outcome: Outcome = None
        try:
            while True:
                halt.check()
                step = steps.send(outcome)
                outcome = None
                if isinstance(step, Send):
                    outcome = self._send(query, step.seconds)
                elif isinstance(step, AwaitPlace):
                    step.ticket.on_grant(halt.wake)
                    halt.wait(self._clock, step.seconds)
                else:
                    halt.sleep(self._clock, step.seconds)
        except StopIteration as done:
            answer: Answer = done.value
            return answer
        finally:
            steps.close()

    def _send(self, query: Query, seconds: float) -> Response | KlaviyoError:
        deadline = self._clock.monotonic() + seconds
        try:
            request = self._request(query, self._authorization(), seconds)
            response = self._transmit(request)
            try:
                return _response(request, response, self._read(response, deadline, seconds))
            finally:
                response.close()
        except KlaviyoError as error:
            return error
        except _HTTP_ERRORS as error:
            return self._broken(error)

    def _read(self, response: httpx.Response, deadline: float, seconds: float) -> bytes:
        reader = _reader(response)
        try:
            if response.is_stream_consumed:
                return reader.take_decoded(response.content)
            for chunk in response.iter_raw():
                reader.feed(chunk)
                if self._clock.monotonic() > deadline:
                    raise self._out_of_time(seconds)
            return reader.finish()
        except (KlaviyoError, *_HTTP_ERRORS):
            if response.status_code == 200:
                raise
            return reader.so_far()  # The status decides what to do; its body is only quoted.

    def _authorization(self) -> str:
        credential = self._credential
        if credential.header is not None:
            return credential.header
        with _token_errors():
            assert credential.supplier is not None
            token = credential.supplier()
            if inspect.isawaitable(token):
                _discard(token)
                raise TypeError("it returned an awaitable, which only AsyncClient can await")
            return credential.header_for(token)

    def close(self) -> None:
        """Close the connections; an `http_client` that was passed in stays open."""
        self._closed = True
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(_Shell[JobT]):
    """`Client` for asyncio. Safe to share between the tasks of one event loop.

    Takes the same arguments, but an `httpx.AsyncClient` as `http_client`; a callable
    `access_token` may be a coroutine function. The deadline of a page is exact.
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
        self._owned: httpx.AsyncClient | httpx.AsyncHTTPTransport | None = None
        if http_client is None and not _proxied():
            # As in Client: the bare transport.
            self._owned = transport = httpx.AsyncHTTPTransport(verify=_ssl_context())
            self._transmit: Callable[[httpx.Request], Awaitable[httpx.Response]] = (
                transport.handle_async_request
            )
        else:
            if http_client is None:
                self._owned = http_client = httpx.AsyncClient(verify=_ssl_context())
            self._transmit = functools.partial(
                http_client.send, auth=None, follow_redirects=False, stream=True
            )

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
        return AsyncIteration(walk, give_jobs, self._fetch, prefetch)

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
        return AsyncIteration(walk, give_page, self._fetch, prefetch)

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

    async def _send(self, query: Query, seconds: float) -> Response | KlaviyoError:
        try:
            async with asyncio.timeout(seconds):
                request = self._request(query, await self._authorization(), seconds)
                response = await self._transmit(request)
                try:
                    return _response(request, response, await self._read(response))
                finally:
                    await response.aclose()
        except TimeoutError:
            return self._out_of_time(seconds)
        except KlaviyoError as error:
            return error
        except _HTTP_ERRORS as error:
            return self._broken(error)

    async def _read(self, response: httpx.Response) -> bytes:
        reader = _reader(response)
        try:
            if response.is_stream_consumed:
                return reader.take_decoded(response.content)
            async for chunk in response.aiter_raw():
                reader.feed(chunk)
            return reader.finish()
        except (KlaviyoError, *_HTTP_ERRORS):
            if response.status_code == 200:
                raise
            return reader.so_far()

    async def _authorization(self) -> str:
        credential = self._credential
        if credential.header is not None:
            return credential.header
        with _token_errors():
            assert credential.supplier is not None
            token = credential.supplier()
            return credential.header_for(await token if inspect.isawaitable(token) else token)

    async def aclose(self) -> None:
        """Close the connections; an `http_client` that was passed in stays open."""
        self._closed = True
        if self._owned is not None:
            await self._owned.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


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


@contextlib.contextmanager
def _token_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise TokenError(
            f"the access_token callable failed: {type(error).__name__}; nothing was sent. Mend it, "
            "then resume"
        ) from error


_quoted = functools.partial(urllib.parse.quote, safe="", errors="surrogateescape")


def _reader(response: httpx.Response) -> BodyReader:
    limit = DECODED_LIMIT if response.status_code == 200 else ERROR_LIMIT
    return BodyReader(response.headers.get("content-encoding", ""), limit_bytes=limit)


def _response(request: httpx.Request, response: httpx.Response, body: bytes) -> Response:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    secret = request.headers["authorization"].partition(" ")[2]
    return Response(response.status_code, headers, body, secret)


def _proxied() -> bool:
    """Whether the environment names a proxy, which httpx's clients know how to use."""
    return any(scheme in urllib.request.getproxies() for scheme in ("http", "https", "all"))


def _discard(awaitable: object) -> None:
    """Close a coroutine that will not be awaited, so that Python does not complain later."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    # One per process: building it takes some 30 ms, as long as importing half of httpx.
    return httpx.create_ssl_context()


def _checked_timeout(timeout: float | httpx.Timeout) -> dict[str, float]:
    parts = httpx.Timeout(timeout).as_dict()
    for name, seconds in parts.items():
        if seconds is None or not 0.0 < seconds < math.inf:
            raise ValueError(
                f"timeout must be finite and above 0 seconds, but its {name} part is {seconds!r}"
            )
    return cast("dict[str, float]", parts)


_BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?:/[!-~]*)?",
    re.ASCII | re.IGNORECASE,
)


def _checked_base_url(base_url: str) -> str:
    """The URL without a trailing slash. Raises `ValueError` where the key would not be safe."""
    match = _BASE_URL.fullmatch(base_url)
    if (
        match is None
        or int(match["port"] or 443) > 65535
        or any(mark in base_url for mark in "?#@\\")
    ):
        # Not quoted: what makes it unfit may be a password in it.
        raise ValueError(
            "base_url must be an http(s) URL of a host with an optional port and path, without "
            "user, query or fragment"
        )
    if match["scheme"].lower() == "http" and not _is_loopback(match["host"].strip("[]")):
        raise ValueError(
            f"base_url {base_url!r} is plain http: the key would travel in clear. Use https; http "
            "is for loopback hosts only"
        )
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
