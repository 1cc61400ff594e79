"""One logical request as a generator of steps.

It yields what is to be done (wait for a place in the quota, send, sleep) and receives what came of
it. No I/O and no clock of its own, so that both clients drive the same decisions and tests need no
time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

import attrs

from .clock import Clock
from .credentials import Authorization
from .errors import (
    APIError,
    AttemptedError,
    DeadlineError,
    InvalidResponseError,
    KlaviyoError,
    TokenError,
    TransportError,
    api_error,
)
from .rate_limits import Limiter, RateLimit, Ticket
from .retry import LEAST_WAIT_AFTER_429_S, RetryPolicy, parse_retry_after

if TYPE_CHECKING:
    from .decode import Decoded, PageDecoder

logger = logging.getLogger("klaviyo_variant_jobs")

ANNOUNCED_WAIT_S = 1.0
"""Waits for the quota that are longer than this are logged."""


@attrs.frozen
class AwaitPlace:
    """Wait until `ticket` wakes us, `seconds` at most."""

    ticket: Ticket
    seconds: float


@attrs.frozen
class Send:
    """Send the request and read the answer within `seconds`."""

    seconds: float


@attrs.frozen
class Sleep:
    """Do nothing for `seconds`."""

    seconds: float


Step = AwaitPlace | Send | Sleep


@attrs.frozen(eq=False)
class Response:
    """A status and what came with it."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names in lower case."""
    body: bytes = attrs.field(repr=False)
    authorization: Authorization = attrs.field(factory=Authorization)
    """What was sent, and must not come back in an error."""


Outcome = Response | KlaviyoError | None
"""What came of a step: a `Response`, or the error that stood in its way; None but for `Send`."""


@attrs.frozen(eq=False)
class Answer:
    """A decoded page and what its response said besides."""

    page: Decoded
    headers: Mapping[str, str]
    """Names in lower case, values without the secret."""
    rate_limit: RateLimit | None
    authorization: Authorization


@attrs.frozen(kw_only=True, eq=False)
class Terms:
    """What every exchange of one client has in common."""

    revision: str
    decoder: PageDecoder
    limiter: Limiter
    policy: RetryPolicy
    clock: Clock


def exchange(terms: Terms) -> Generator[Step, Outcome, Answer]:
    """The steps of one request, tried again as the policy says; returns the decoded page.

    Raises the typed error when giving up. A wait that would pass the deadline raises at once: the
    last failure, or `DeadlineError` when there was none.
    """
    policy, clock = terms.policy, terms.clock
    deadline = clock.monotonic() + policy.deadline
    failure: AttemptedError | None = None
    for attempt in range(1, policy.max_attempts + 1):
        ticket = yield from _place(terms, deadline, failure)
        try:
            outcome = yield from _sent(terms, ticket, deadline)
        except AttemptedError as error:
            error.attempts = attempt
            raise
        if isinstance(outcome, Answer):
            return outcome
        now = clock.monotonic()
        if now >= deadline and not isinstance(outcome, APIError):
            late = failure or _out_of_time(terms, attempt)
            late.attempts = attempt
            raise late from outcome
        failure = outcome
        failure.attempts = attempt
        wait_s = policy.wait_s(
            attempt=attempt,
            status=failure.status_code if isinstance(failure, APIError) else None,
            retry_after_s=failure.retry_after,
            chance=clock.random(),
        )
        if attempt == policy.max_attempts or now + wait_s >= deadline:
            break
        logger.info("%s; attempt %d, trying again in %.3g s", failure, attempt, wait_s)
        yield Sleep(wait_s)
    assert failure is not None
    raise failure


def _place(
    terms: Terms, deadline: float, failure: AttemptedError | None
) -> Generator[Step, Outcome, Ticket]:
    """Wait for a place in the quota."""
    now = terms.clock.monotonic()
    unannounced = now + ANNOUNCED_WAIT_S
    ticket = None
    try:
        ticket = terms.limiter.join(now)
        while True:
            wait_s = ticket.wait_s(now)
            # With a place at hand too: a sleep may have overslept, and sockets take no negative
            # timeout.
            if now >= deadline or now + wait_s > deadline:
                raise failure or _no_place(terms, ticket, now, wait_s)
            if wait_s <= 0.0:
                return ticket
            if now + wait_s > unannounced:
                unannounced = math.inf
                logger.info("waiting %.1f s for a place: %s", wait_s, ticket.reason(now))
            yield AwaitPlace(ticket, wait_s)
            now = terms.clock.monotonic()
    except BaseException:
        if ticket is not None:
            ticket.cancel(terms.clock.monotonic())
        raise


def _no_place(terms: Terms, ticket: Ticket, now: float, wait_s: float) -> DeadlineError:
    if wait_s <= 0.0:
        return _out_of_time(terms, 0)
    comes = f"; the next place in the quota comes in {wait_s:.3g} s ({ticket.reason(now)})"
    return _out_of_time(terms, 0, comes, retry_after=wait_s)


def _out_of_time(
    terms: Terms, attempts: int, comes: str = "", *, retry_after: float | None = None
) -> DeadlineError:
    tried = f"{attempts} attempts" if attempts != 1 else "1 attempt"
    return DeadlineError(
        f"no answer within the deadline of {terms.policy.deadline:g} s, {tried} made{comes} "
        f"[revision {terms.revision}]; resume later, or give it longer with "
        "RetryPolicy(deadline=...)",
        attempts=attempts,
        retry_after=retry_after,
    )


def _sent(
    terms: Terms, ticket: Ticket, deadline: float
) -> Generator[Step, Outcome, Answer | AttemptedError]:
    """Send once and tell the limiter; returns the page, or what may be tried again."""
    clock = terms.clock
    try:
        outcome = yield Send(deadline - clock.monotonic())
        now = clock.monotonic()
        if isinstance(outcome, Response):
            return _judged(terms, ticket, now, outcome)
        if isinstance(outcome, TokenError):
            ticket.cancel(now)
        else:
            ticket.failed(now)
    except KlaviyoError:
        raise
    except BaseException:
        # Ctrl-C comes anywhere; to a ticket that knows how it ended this does nothing.
        ticket.failed(clock.monotonic())
        raise
    if isinstance(outcome, AttemptedError):
        return outcome
    assert outcome is not None
    raise outcome


def _judged(
    terms: Terms, ticket: Ticket, now: float, response: Response
) -> Answer | AttemptedError:
    """What a response means. Raises what no further attempt would mend."""
    if response.status == 200:
        rate_limit = RateLimit.from_headers(response.headers)
        ticket.answered(now, rate_limit)
        return _page(terms, response, rate_limit)
    headers = response.authorization.redact_headers(response.headers)
    retry_after = parse_retry_after(headers.get("retry-after"), now_s=terms.clock.time())
    if response.status == 429:
        ticket.refused(now, max(retry_after or 0.0, LEAST_WAIT_AFTER_429_S))
    else:
        ticket.answered(now, RateLimit.from_headers(headers))
    error = api_error(
        status=response.status,
        headers=headers,
        body=response.authorization.redact_bytes(response.body),
        revision=terms.revision,
        retry_after=retry_after,
    )
    if not terms.policy.retries_status(response.status):
        raise error
    return error


def _page(
    terms: Terms, response: Response, rate_limit: RateLimit | None
) -> Answer | AttemptedError:
    authorization = response.authorization
    headers = authorization.redact_headers(response.headers)
    try:
        return Answer(terms.decoder.decode(response.body), headers, rate_limit, authorization)
    except InvalidResponseError as error:
        # Its message quotes the body, and an error tracker shows what is in the frames below.
        refused = error.with_traceback(None)
    refused.args = (authorization.redact(str(refused)),)
    refused.body = authorization.redact_bytes(refused.body)
    refused.request_id = headers.get("x-klaviyo-req-id")
    # With neither a length nor chunks only the JSON can tell that the connection closed early.
    framed = "content-length" in headers or "transfer-encoding" in headers
    if refused.ends_early and not framed:
        return TransportError(f"the body broke off after {len(response.body)} bytes")
    raise refused
