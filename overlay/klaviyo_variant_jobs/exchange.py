"""One logical request as a generator of effects, from the quota to the decoded page.

The generator yields effects and receives their results; failures are thrown into it. It does no I/O
and has no clock of its own, so both clients share every decision and tests need no real time.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeGuard, TypeVar, Unpack

from . import errors
from .auth import Authorization, Credential, UnfitSecret
from .clock import Clock
from .decode.page import BodyReader, Page, cursors_in
from .errors import APIError, AttemptedError
from .rate_limits import Limiter, Outcome, Permit, RateLimit, Wait
from .retry import RetryPolicy, least_wait_s, parse_http_date, parse_retry_after

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.fitting import Anomaly

    from .decode.fit import PageDecoder
    from .events import Observer

LONGEST_ERROR_BODY_S = 5.0
"""How long the body of an error is waited for. It is only quoted, the status says what to do."""

LONGEST_FOREIGN_PAUSE_S = 120.0
"""The longest pause of all clients after a 429 that the API did not write, such as a firewall's."""

MOST_UNREADABLE = 2
"""How often a 200 that is no page is tried again: a gateway's error page passes, a bug does not."""


class Query(NamedTuple):
    """One page to ask for."""

    status: str | None = None
    fields: tuple[str, ...] = ()
    cursor: str | None = None
    extra_query: tuple[tuple[str, str], ...] = ()
    within_s: float = math.inf
    """Seconds for the page where they are fewer than the policy's deadline."""


class Call(NamedTuple):
    """Call `function`, and await what it returns if that is awaitable, within `seconds`."""

    function: Callable[[], Any]
    seconds: float


class Send(NamedTuple):
    """Send the request; the result is the status and the headers, names in lower case."""

    query: Query
    authorization: Authorization
    seconds: float


class Read(NamedTuple):
    """Feed the body to `reader` within `seconds`."""

    reader: BodyReader
    seconds: float


class Close(NamedTuple):
    """Let go of the response. A connection that failed, or may be out of step, is not kept."""

    failed: bool


class Sleep(NamedTuple):
    """Do nothing for `seconds`."""

    seconds: float


Effect: TypeAlias = Call | Send | Read | Close | Sleep
ResultT = TypeVar("ResultT")
Steps: TypeAlias = Generator[Effect, Any, ResultT]


class Terms(NamedTuple):
    """What every exchange of one client has in common."""

    revision: str
    decoder: PageDecoder
    credential: Credential
    limiter: Limiter
    policy: RetryPolicy
    clock: Clock
    explain: Callable[[Exception, Authorization], Exception]
    """Turns a failure of the HTTP library into our error; returns a caller's own as it is."""
    observer: Observer


def exchange(terms: Terms, query: Query) -> Steps[Page[Any]]:
    """The effects of one request, tried again as the policy says; returns the page.

    Raises the typed error when giving up. A wait that would pass the deadline raises at once: the
    last failure, or `DeadlineError` when there was none.
    """
    begun = _Exchange(terms, query)
    try:
        return (yield from begun.steps())
    except BaseException as error:
        begun.notes.gave_up(error)
        raise


class _Exchange:
    """One request, and what has come of it so far."""

    def __init__(self, terms: Terms, query: Query) -> None:
        self.terms, self.query = terms, query
        self.deadline = terms.clock.monotonic() + min(terms.policy.deadline, query.within_s)
        self.notes = terms.observer.request(status=query.status, cursor=query.cursor)
        self.failure: AttemptedError | None = None
        self.unreadable = 0  # How many answers were no page.

    def steps(self) -> Steps[Page[Any]]:
        refused: Authorization | None = None  # What was answered 401.
        for attempt in itertools.count(1):
            self.permit = yield from self._acquire()
            try:
                self.authorization = yield from self._authorize()
                if self.failure and refused and refused.header == self.authorization.header:
                    self._release(sent=False)
                    raise self.failure
                if self._left_s() <= 0.0:
                    self._release(sent=False)
                    raise self.failure or self._out_of_time()
                self.notes.sent(attempt)
                outcome = yield from self._attempt()
            except AttemptedError as error:
                is_unsent = error is self.failure or isinstance(error, errors.DeadlineError)
                error.attempts = attempt - is_unsent
                raise
            finally:
                # This covers every way out. A second release of a permit does nothing.
                self._release()
            if isinstance(outcome, Page):
                return outcome
            outcome.attempts = attempt
            self.notes.failed(outcome)
            wait_s = self._wait_s(outcome, attempt)
            if isinstance(outcome, APIError) and outcome.status_code == 401:
                # The callable may have another token by now.
                wait_s, refused = None if refused or wait_s is None else 0.0, self.authorization
            self.unreadable += isinstance(outcome, errors.InvalidResponseError)
            if wait_s is None or self.unreadable > MOST_UNREADABLE:
                raise outcome
            self.failure = outcome
            self.notes.retrying(outcome, wait_s)
            yield Sleep(wait_s)
        raise AssertionError("counting has no end")

    def _left_s(self) -> float:
        return self.deadline - self.terms.clock.monotonic()

    def _release(self, **outcome: Unpack[Outcome]) -> None:
        self.terms.limiter.release(self.permit, **outcome)

    def _wait_s(self, failure: AttemptedError, attempt: int) -> float | None:
        """Seconds until the next attempt, None for none. Raises when the time is over."""
        status = failure.status_code if isinstance(failure, APIError) else None
        left_s, chance = self._left_s(), self.terms.clock.random()
        if left_s <= 0.0 and status is None:
            late = self.failure or self._out_of_time()
            late.attempts = attempt
            raise late from failure
        asked_s = least_wait_s(status, failure.retry_after)
        wait_s = self.terms.policy.wait_s
        return wait_s(attempt=attempt, left_s=left_s, least_s=asked_s, chance=chance)

    def _out_of_time(self, wait: Wait | None = None) -> errors.DeadlineError:
        comes = f"; the next permit comes in {wait.seconds:.3g} s ({wait.reason})" if wait else ""
        return (errors.QuotaDeadlineError if wait else errors.DeadlineError)(
            f"no answer within the deadline of {self.terms.policy.deadline:g} s{comes} [revision "
            f"{self.terms.revision}]; resume later, or give it longer with "
            "RetryPolicy(deadline=...)",
            attempts=0,
            retry_after=wait.seconds if wait else None,
        )

    def _acquire(self) -> Steps[Permit]:
        """Wait for a permit. Raises the last failure, if any, when it would come too late."""
        answer: Permit | Wait | None = None
        while not isinstance(answer, Permit):
            left_s = self._left_s()
            if left_s <= 0.0:
                raise self.failure or self._out_of_time()
            ask = functools.partial(self.terms.limiter.acquire, answer, left_s=left_s)
            try:
                answer = yield Call(ask, left_s)
            except TimeoutError:  # A limiter across a network did not keep its promise.
                raise self.failure or self._out_of_time() from None
            if isinstance(answer, Wait):
                if answer.seconds > self._left_s():
                    raise self.failure or self._out_of_time(answer)
                self.notes.waiting(answer)
                yield Sleep(answer.seconds)
        return answer

    def _authorize(self) -> Steps[Authorization]:
        """The header to send. A failure of the token callable is not tried again."""
        credential = self.terms.credential
        if credential.fixed is not None:
            return credential.fixed
        assert credential.supplier is not None
        try:
            call = Call(credential.supplier, self._left_s())
            # Not kept in a variable, which an error tracker would show.
            return credential.authorization_for((yield call))
        except Exception as error:
            cause = error
        self._release(sent=False)
        if self._left_s() <= 0.0:
            raise self.failure or self._out_of_time() from cause
        if isinstance(cause, UnfitSecret):
            cause.__traceback__ = None  # Its frames hold the token.
        why = f"the access_token callable failed: {type(cause).__name__}; nothing was sent"
        raise errors.TokenError(f"{why}. Mend it, then resume") from cause

    def _attempt(self) -> Steps[Page[Any] | AttemptedError]:
        """Send once. The page, or the failure that another attempt may mend; raises any other."""
        outcome: Page[Any] | Exception
        failed, headers = False, {}
        try:
            status, headers = yield Send(self.query, self.authorization, self._left_s())
            reader = BodyReader(headers.get("content-encoding", ""), is_page=status == 200)
            if status == 200:
                yield Read(reader, self._left_s())
                outcome = self._page(headers, reader.finish())
                failed = not isinstance(outcome, Page)
            else:
                # The status says what to do and has to be told in time; the body is only quoted.
                try:
                    yield Read(reader, min(LONGEST_ERROR_BODY_S, self._left_s() / 2))
                except Exception:
                    failed = True
                outcome = self._refusal(status, headers, bytes(reader.so_far))
        except Exception as error:
            failed, outcome = True, self.terms.explain(error, self.authorization)
        except GeneratorExit:
            raise  # Nobody is left who could close the response.
        except BaseException:
            yield Close(failed=True)
            raise
        yield Close(failed=failed)
        headers = {}  # One may echo the key, and error trackers show the variables of frames.
        if isinstance(outcome, Page) or self._passes(outcome):
            return outcome
        raise outcome

    def _passes(self, failure: Exception) -> TypeGuard[AttemptedError]:
        """Whether another attempt may mend it."""
        if not isinstance(failure, APIError):
            return isinstance(failure, AttemptedError) and not failure.is_lasting
        is_renewable = failure.status_code == 401 and self.terms.credential.supplier is not None
        return is_renewable or self.terms.policy.retries_status(failure.status_code)

    def _answered(
        self, status: int, headers: Mapping[str, str], pause_s: float | None = None
    ) -> RateLimit | None:
        """Release the permit. What the headers say of the quota; only the API itself is believed.

        The error page of a proxy may carry headers of another quota, or ask for a day's pause.
        """
        said = RateLimit.from_headers(headers)
        self.notes.answered(status, headers, said)
        is_api = "x-klaviyo-req-id" in headers or "vnd.api+json" in headers.get("content-type", "")
        pause_s = pause_s if is_api or pause_s is None else min(pause_s, LONGEST_FOREIGN_PAUSE_S)
        self._release(said=said if is_api else None, pause_s=pause_s)
        return said

    def _refusal(self, status: int, raw: Mapping[str, str], body: bytes) -> APIError:
        headers = {name: self.authorization.redact(value) for name, value in raw.items()}
        now_s = parse_http_date(headers.get("date", "")) or self.terms.clock.time()
        retry_after = parse_retry_after(headers.get("retry-after"), now_s=now_s)
        pause_s = least_wait_s(status, retry_after) if status == 429 else None
        self._answered(status, headers, pause_s)
        return errors.api_error(
            status=status,
            headers=headers,
            body=self.authorization.redact_any(body),
            revision=self.terms.revision,
            cursor=self.query.cursor,
            retry_after=retry_after,
        )

    def _page(self, raw: Mapping[str, str], body: bytearray) -> Page[Any] | AttemptedError:
        redact = self.authorization.redact_any
        said = self._answered(200, raw)
        request_id = redact(raw.get("x-klaviyo-req-id"))
        try:
            document, anomalies = self.terms.decoder.decode(body)
        except errors.InvalidResponseError as error:
            # Its message quotes the body, and an error tracker shows what is in the frames below.
            unreadable = error.with_traceback(None)
            unreadable.args = (redact(str(error)),)
            unreadable.body = redact(error.body)
            unreadable.request_id, unreadable.__context__ = request_id, None
            return unreadable
        if self.unreadable < MOST_UNREADABLE and _is_out_of_step(self.query, document):
            why = "the page is the answer to another request, so the connection is out of step"
            return errors.InvalidResponseError(why, request_id=request_id)
        page: Page[Any] = Page(
            jobs=document.data,
            cursor=self.query.cursor,
            rate_limit=said,
            request_id=request_id,
            revision_served=redact(raw.get("x-klaviyo-api-revision")),
            anomalies=anomalies,
            included=getattr(document, "included", None),
            next=_next_link(document, anomalies),
        )
        self.notes.read(page, retirement=redact(raw.get("x-klaviyo-api-retirement-date")))
        return page


def _is_out_of_step(query: Query, document: Any) -> bool:
    """Whether a page is certainly not the response to the query.

    Bytes that follow a response are read as the response to the next request on the connection. On
    a page that is not full, all jobs may have left the status just now.
    """
    link = document.links and document.links.self
    if link and cursors_in(link) not in ([], [query.cursor]):
        return True
    full = query.status is not None and len(document.data) >= 100
    # A sparse fieldset may leave the status out.
    return full and all(j.attributes.status not in (None, query.status) for j in document.data)


def _next_link(document: Any, anomalies: tuple[Anomaly, ...]) -> object:
    """The next link as it came: one that does not fit must not read as the end of the list."""
    for anomaly in anomalies:
        if anomaly.path in ("links", "links.next"):
            return anomaly.value
    return document.links and document.links.next
