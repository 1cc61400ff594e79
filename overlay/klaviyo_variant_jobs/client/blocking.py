"""The client for threads."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self, Unpack, overload

import httpx

from klaviyo_variant_jobs.checkpoint import Checkpoint, KlaviyoError
from klaviyo_variant_jobs.clock import SYSTEM_CLOCK, Clock
from klaviyo_variant_jobs.credentials import Authorization, SyncToken
from klaviyo_variant_jobs.exchange import Answer, AwaitPlace, Outcome, Response, Send
from klaviyo_variant_jobs.iteration.blocking import Halt, Iteration
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


class ClientOptions(Options, total=False):
    """Keyword arguments of `Client` besides the revision."""

    access_token: SyncToken | None
    http_client: httpx.Client | None


class Client(Shell[JobT]):
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
            an infinite part; 30 by default. Each address of a host may take a connect timeout,
            and what is dripped before a body, between its chunks and after them is bounded only
            per read; everything else by the deadline too.
        http_client: an `httpx.Client` of your own, for proxies or instrumentation, which you
            close. Its headers are sent along, but for Accept, Accept-Encoding, User-Agent and
            Authorization; its cookies, timeouts, authentication and redirects play no part.
        strict: raise `InvalidResponseError` for values that do not fit the schema instead of
            keeping them as they came.
        clock: where time and chance come from; for tests.

    Raises `ValueError` or `TypeError` for arguments that make no sense, before anything is sent.
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
        self._connections = Connections(connect, clock)

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
        authorization = Authorization()
        try:
            authorization = self._authorization()
            left_s = deadline - self._clock.monotonic()  # The callable may have taken its time.
            return self._sent(self._request(query, authorization, left_s), authorization, deadline)
        except httpx.HTTPStatusError as error:
            # A hook of the caller's own client was first to judge the answer.
            answer = error.response
            return Response(answer.status_code, headers_of(answer), b"", authorization)
        except (KlaviyoError, *HTTP_ERRORS, *HTTPX_MISUSE) as error:
            return self._failed(error, authorization)

    def _sent(
        self, request: httpx.Request, authorization: Authorization, deadline: float
    ) -> Response:
        connection = self._connections.take()
        try:
            response = connection.transmit(request)
            try:
                headers = headers_of(response)
                body = self._read(response, reader_of(response, headers), deadline)
            finally:
                response.close()
        except BaseException:
            connection.close()
            raise
        for surplus in self._connections.put_back(connection):
            surplus.close()
        return Response(response.status_code, headers, body, authorization)

    def _read(self, response: httpx.Response, reader: BodyReader, deadline: float) -> bytes:
        if response.status_code != 200:
            now = self._clock.monotonic()
            deadline = now + error_body_s(deadline - now)
        try:
            if response.is_stream_consumed:
                return reader.take_decoded(response.content)
            for chunk in _raw(response):
                reader.feed(chunk)
                if self._clock.monotonic() > deadline:
                    raise self._out_of_time()
            return reader.finish()
        except (KlaviyoError, *HTTP_ERRORS):
            if response.status_code == 200:
                raise
            return reader.so_far()  # The status decides what to do; its body is only quoted.

    def _authorization(self) -> Authorization:
        credential = self._credential
        if credential.authorization is not None:
            return credential.authorization
        assert credential.supplier is not None
        with token_errors():
            token = credential.supplier()
            if inspect.isawaitable(token):
                _discard(token)
                raise TypeError("it returned an awaitable, which only AsyncClient can await")
            return credential.authorization_for(token)

    def close(self) -> None:
        """Close the connections; an `http_client` that was passed in stays open.

        A request under way in another thread comes to its end first, but nobody waits for it.
        """
        for connection in self._connections.shut():
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _raw(response: httpx.Response) -> httpx.SyncByteStream:
    """The body as it comes; `iter_raw` costs more for what nobody asks of such a response."""
    if response.is_closed:  # By a hook of the caller's own client.
        raise httpx.StreamClosed
    assert isinstance(response.stream, httpx.SyncByteStream)
    return response.stream


def _discard(awaitable: object) -> None:
    """Close a coroutine that will not be awaited, so that Python does not complain later."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


def _connector(client: httpx.Client | None) -> Callable[[], Connection[httpx.Response, None]]:
    if client is not None:
        if not isinstance(client, httpx.Client):
            raise TypeError(f"http_client must be an httpx.Client, not {type(client).__name__}")
        theirs = Connection(_sending(client), lambda: None)
        return lambda: theirs
    context = ssl_context()

    def proxied_one() -> Connection[httpx.Response, None]:
        with proxy_errors():
            own = httpx.Client(verify=context)
        return Connection(_sending(own), own.close)

    def direct_one() -> Connection[httpx.Response, None]:
        # The bare transport: redirects, cookies and client-wide settings, of which a client takes
        # care at a quarter of a request's cost, are not wanted here.
        transport = httpx.HTTPTransport(verify=context)
        return Connection(transport.handle_request, transport.close)

    return proxied_one if proxied() else direct_one


def _sending(client: httpx.Client) -> Callable[[httpx.Request], httpx.Response]:
    return functools.partial(client.send, auth=None, follow_redirects=False, stream=True)
