"""What both clients share: everything but sending and waiting."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import urllib.parse
from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypedDict

import httpx

from klaviyo_variant_jobs.checkpoint import Checkpoint, KlaviyoError
from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.credentials import (
    AsyncToken,
    Authorization,
    UnfitSecret,
    credential_from,
)
from klaviyo_variant_jobs.errors import TokenError, TransportError, one_line
from klaviyo_variant_jobs.exchange import Answer, Outcome, Step, Terms, exchange
from klaviyo_variant_jobs.pagination import Endpoint, JobT, Page, Query, Walk, can_be_sent
from klaviyo_variant_jobs.rate_limits import Limiter, shared_limiter
from klaviyo_variant_jobs.retry import RetryPolicy
from klaviyo_variant_jobs.revisions import (
    check_fields,
    check_status,
    find,
    retired_on,
    stable_until,
)
from klaviyo_variant_jobs.version import __version__
from klaviyo_variant_jobs_api.registry import Revision, RevisionCode

from .base_url import checked_base_url
from .body import DECODED_LIMIT, ERROR_LIMIT, BodyReader
from .connections import Connections

logger = logging.getLogger("klaviyo_variant_jobs")

DEFAULT_BASE_URL = "https://a.klaviyo.com"
DEFAULT_TIMEOUT_S = 30.0

LONGEST_ERROR_BODY_S = 5.0
"""How long the body of an error is waited for. It is only quoted, the status says what to do."""

_NO_BODY = httpx.ByteStream(b"")

HTTP_ERRORS = (httpx.HTTPError, httpx.StreamError, OSError)
"""Failures of a request, worth another attempt."""

HTTPX_MISUSE = (
    httpx.InvalidURL,
    RuntimeError,
    ValueError,
    OverflowError,
    StopIteration,
    StopAsyncIteration,
)
"""What httpx raises when it was closed, or given what it cannot use, and mocks that run out.

Not every exception: those of a signal handler or of a caller's hook go through as they are.
"""


class Options(TypedDict, total=False):
    """Keyword arguments that both clients take alike."""

    base_url: str
    retry: RetryPolicy
    rate_limiter: Limiter | None
    timeout: float | httpx.Timeout
    strict: bool
    clock: Clock


class Shell(Generic[JobT]):
    """What both clients share: everything but sending and waiting."""

    _connections: Connections[Any, Any]

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
        self._revision = find(revision)
        self._origin = origin = checked_base_url(base_url)
        self._clock = clock
        self._credential = credential_from(api_key, access_token)
        self._timeout = _checked_timeout(timeout)
        self._url = origin + self._revision.path
        self._endpoint = Endpoint(self._url)
        self._http_headers = httpx.Headers(http_headers)
        if not isinstance(retry, RetryPolicy):
            raise TypeError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        if rate_limiter is not None and not callable(getattr(rate_limiter, "join", None)):
            raise TypeError(f"rate_limiter must be a limiter, not {type(rate_limiter).__name__}")
        self._retry = retry
        self._strict = strict
        # Virtual and real time do not mix, and another host is another quota.
        identity = (self._credential.identity, origin, clock)
        self._limiter = shared_limiter(identity) if rate_limiter is None else rate_limiter
        self._said: dict[str, object] = {}

    # The next three are made for the first page: importing what reads one takes a fifth of what
    # importing httpx does, and a program that makes a client may never ask for one.

    @functools.cached_property
    def _code(self) -> RevisionCode[Any]:
        return self._revision.load()

    @functools.cached_property
    def _terms(self) -> Terms:
        from klaviyo_variant_jobs.decode import PageDecoder

        return Terms(
            revision=self.revision,
            decoder=PageDecoder(self._code.page_model, strict=self._strict),
            limiter=self._limiter,
            policy=self._retry,
            clock=self._clock,
        )

    @functools.cached_property
    def _headers(self) -> list[tuple[bytes, bytes]]:
        # A copy: two threads may ask for their first page at once, and only 3.11 makes one wait.
        headers = httpx.Headers(self._http_headers)
        headers.update(
            {
                "accept": self._revision.media_type,
                "accept-encoding": "gzip",
                "user-agent": f"klaviyo-variant-jobs/{__version__} httpx/{httpx.__version__}",
                "x-klaviyo-revision-fall-forward-opt-out": "1",
            }
        )
        headers.update(self._code.get_kwargs(revision=self.revision)["headers"])
        headers.pop("authorization", None)
        headers.setdefault("host", httpx.URL(self._url).netloc.decode())
        return headers.raw

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
        if cursor is not None and not isinstance(cursor, str):
            raise TypeError(f"cursor must be a string, not {type(cursor).__name__}")
        if cursor is not None and not can_be_sent(cursor):
            raise ValueError("cursor has half a surrogate pair, which no cursor of the API has")
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
        if resume is not None and not isinstance(resume, str | Checkpoint):
            raise TypeError(f"resume must be a checkpoint or its text, not {type(resume).__name__}")
        return Walk(
            self._revision.date,
            check_status(self._revision, status),
            check_fields(self._revision, fields),
            # One made by hand is read from its text, too: only so is it known to make sense.
            None if resume is None else Checkpoint.parse(str(resume)),
        )

    def _steps(self) -> Generator[Step, Outcome, Answer]:
        self._connections.check_open()
        return exchange(self._terms)

    def _request(self, query: Query, authorization: Authorization, seconds: float) -> httpx.Request:
        if seconds <= 0.0:
            raise self._out_of_time()
        kwargs = self._code.get_kwargs(
            fields=query.fields or None,
            filter_=None if query.status is None else f'equals(status,"{query.status}")',
            page_cursor=query.cursor,
            revision=self.revision,
        )
        # Encoded here, because httpx would decode and encode an opaque cursor on the way.
        params = kwargs["params"].items()
        encoded = "&".join([f"{_quoted_name(name)}={_quoted(value)}" for name, value in params])
        return httpx.Request(
            kwargs["method"].upper(),
            f"{self._url}?{encoded}" if encoded else self._url,
            headers=[*self._headers, (b"authorization", authorization.header.encode())],
            stream=_NO_BODY,  # Else httpx works out once more what headers a body of nothing needs.
            extensions={"timeout": {k: min(v, seconds) for k, v in self._timeout.items()}},
        )

    def _failed(self, error: Exception, authorization: Authorization) -> KlaviyoError:
        """The failure of a request in our terms, without the key that httpx's own carries."""
        links: list[BaseException] = [error]
        for link in links:
            _forget(link, self._url, authorization)
            # What a token callable raised is its own: its traceback says where.
            if not isinstance(link, TokenError) or isinstance(link.__cause__, UnfitSecret):
                behind = (link.__cause__, link.__context__)
                links += [other for other in behind if other and other not in links]
        if isinstance(error, KlaviyoError):
            return error
        said = one_line(authorization.redact(str(error)), 500) or "no detail given"
        told = f"{type(error).__name__}: {said} [{self._url}, revision {self.revision}]"
        failure: KlaviyoError
        if isinstance(error, HTTP_ERRORS):
            failure = TransportError(
                f"{told}; check the network, proxies and the API's status, then resume"
            )
        else:
            failure = KlaviyoError(
                f"{told}; that is no failure of the network, so it was not tried again: look at "
                "http_client and its hooks if it has any, then resume"
            )
        failure.__cause__ = error
        return failure

    def _out_of_time(self) -> TransportError:
        return TransportError(
            f"the answer was not complete when the deadline of {self._retry.deadline:g} s passed "
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
                one_line(request_id or "without an id", 80),
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
            next=self._endpoint.cursor_in(
                getattr(document.links, "next", document.links), answer.authorization.redact
            ),
        )

    def _look_at_lifecycle(self, served: str | None, retirement: str | None) -> None:
        if served is not None and served != self.revision and self._first("served"):
            logger.warning(
                "revision %s was pinned but the API served %s",
                self.revision,
                one_line(served, 80),
            )
        if retirement is not None:
            if self._first("lifecycle"):
                logger.warning(
                    "the API names a day on which it retires revision %s: %s; move to a newer one",
                    self.revision,
                    one_line(retirement, 80),
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
        """Whether nothing was said of `topic` before; one thread of many is told so."""
        mine = object()
        return self._said.setdefault(topic, mine) is mine


@contextlib.contextmanager
def token_errors() -> Iterator[None]:
    """Turn what goes wrong with an `access_token` callable into `TokenError`."""
    try:
        yield
    except Exception as error:
        raise TokenError(
            f"the access_token callable failed: {type(error).__name__}; nothing was sent. Mend it, "
            "then resume"
        ) from error


def _forget(error: BaseException, url: str, authorization: Authorization) -> None:
    """Take the secret out of an error that gets logged, or shown by an error tracker."""
    if isinstance(error, httpx.HTTPError):
        error.request = httpx.Request("GET", url)
    if isinstance(error, httpx.HTTPStatusError):
        error.response = httpx.Response(error.response.status_code)
    # Of the local variables in the frames of a failed request one is the request as it was sent.
    error.__traceback__ = None
    error.args = tuple(map(authorization.redact_value, error.args))


_quoted = functools.partial(urllib.parse.quote, safe="", errors="surrogateescape")
_quoted_name = functools.cache(_quoted)  # There are three names.


def headers_of(response: httpx.Response) -> dict[str, str]:
    """Names in lower case; httpx's own mapping goes through all headers for each look-up."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def error_body_s(left_s: float) -> float:
    """Seconds to read the body of an error for, so that its status is told within `left_s`."""
    return min(LONGEST_ERROR_BODY_S, left_s / 2)


def reader_of(response: httpx.Response, headers: Mapping[str, str]) -> BodyReader:
    limit = DECODED_LIMIT if response.status_code == 200 else ERROR_LIMIT
    return BodyReader(headers.get("content-encoding", ""), limit_bytes=limit)


def _checked_timeout(timeout: float | httpx.Timeout) -> dict[str, float]:
    parts: dict[str, float] = {}
    for name, seconds in httpx.Timeout(timeout).as_dict().items():
        if not isinstance(seconds, int | float) or not 0.0 < seconds < math.inf:
            raise ValueError(
                f"timeout must be finite and above 0 seconds, but its {name} part is {seconds!r}"
            )
        parts[name] = min(seconds, _LONGEST_TIMEOUT_S)
    return parts


# A day: beyond any deadline that makes sense, and sockets take no more than 24.
_LONGEST_TIMEOUT_S = 86_400.0
