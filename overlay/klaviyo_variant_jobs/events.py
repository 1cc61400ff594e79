"""The log records of a client, and the events it passes to `on_event=`.

Every client logs to `klaviyo_variant_jobs`: waits and retries at INFO; values that do not fit the
schema and the end of a revision at WARNING. Log records carry `klaviyo_…` attributes for structured
logs. Events are built only when `on_event=` is given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import attrs

from .clock import Clock
from .decode.page import Page
from .errors import APIError, AttemptedError, one_line
from .rate_limits import RateLimit, Wait
from .revisions import retired_on, stable_until

logger = logging.getLogger("klaviyo_variant_jobs")

ANNOUNCED_WAIT_S = 1.0
"""A page logs its wait for the quota once it is longer than this, in seconds."""

Why: TypeAlias = Literal["quota", "pause", "backoff", "retry-after"]


@attrs.frozen(kw_only=True)
class Event:
    """Base class of all events."""

    client: str | None
    """The `name` of the client; None without one."""
    revision: str
    """The pinned revision, `YYYY-MM-DD`."""


@attrs.frozen(kw_only=True)
class PageRequested(Event):
    """A page is requested, before any wait.

    `PageRead` or `PageFailed` follows in the same thread or task.
    """

    status: str | None
    """The status filter; None for all jobs."""
    cursor: str | None
    """The cursor; None for the first page."""


@attrs.frozen(kw_only=True)
class PageFailed(Event):
    """The client gave a page up, or the caller cancelled or closed it."""

    error: BaseException
    attempts: int
    """Requests sent; may be 0."""
    elapsed_s: float
    """Seconds since `PageRequested`."""


@attrs.frozen(kw_only=True)
class RequestSent(Event):
    """A request is about to be sent."""

    attempt: int
    """Number of the attempt at this page, from 1."""
    status: str | None
    """The status filter; None for all jobs."""
    cursor: str | None
    """The cursor; None for the first page."""


@attrs.frozen(kw_only=True)
class ResponseReceived(Event):
    """The status and headers of a response arrived; its body is not read yet."""

    attempt: int
    status_code: int
    elapsed_s: float
    """Seconds since the request was sent."""
    request_id: str | None
    rate_limit: RateLimit | None
    """The parsed RateLimit headers; None without them."""


@attrs.frozen(kw_only=True)
class RequestFailed(Event):
    """An attempt failed: no response, or one that is not a page."""

    attempt: int
    error: Exception


@attrs.frozen(kw_only=True)
class Waiting(Event):
    """The client waits before it goes on."""

    seconds: float
    why: Why
    """`quota`: no permit is free. `pause`: another request got a 429. `backoff`, `retry-after`: an
    attempt failed and is retried; the wait is that of the policy or of the Retry-After header."""
    reason: str
    """The cause in words."""


@attrs.frozen(kw_only=True)
class PageRead(Event):
    """A page was read and decoded."""

    jobs: int
    anomalies: int
    """How many values did not fit the schema."""
    attempts: int
    """Requests sent."""
    waited_s: float
    """Seconds of `elapsed_s` spent waiting for the quota and between attempts."""
    elapsed_s: float
    """Seconds since `PageRequested`."""
    request_id: str | None


@attrs.frozen(kw_only=True)
class RevisionWarning(Event):
    """The API served another revision, or the pinned one is deprecated.

    Emitted once per client for each of the two.
    """

    message: str


Listener: TypeAlias = Callable[[Event], object]


class Observer:
    """Logs and emits events for one client."""

    def __init__(
        self, clock: Clock, revision: str, *, name: str | None = None, listener: Listener | None
    ) -> None:
        self.clock = clock
        self._common: dict[str, Any] = {"client": name, "revision": revision}
        self._listener = listener
        self._told: dict[str, object] = {}

    def request(self, *, status: str | None, cursor: str | None) -> Notes:
        """Emit `PageRequested`; returns the notes that report the rest of the page."""
        return Notes(self, status, cursor)

    def emit(self, kind: type[Event], **facts: Any) -> None:
        """Pass an event to the listener, if there is one. Only its first failure is logged."""
        if self._listener is None:
            return
        try:
            self._listener(kind(**self._common, **facts))
        except Exception:
            if self.is_first("listener"):
                logger.exception("on_event failed; its later failures are not logged")

    def log(self, level: int, message: str, *values: object, **facts: Any) -> None:
        """Log a message whose record has `facts` as `klaviyo_…` attributes."""
        if logger.isEnabledFor(level):
            extra = {f"klaviyo_{name}": fact for name, fact in {**self._common, **facts}.items()}
            name = self._common["client"]
            logger.log(level, f"[{name}] {message}" if name else message, *values, extra=extra)

    def is_first(self, topic: str) -> bool:
        """Whether this is the first call for `topic`; true for one of several threads."""
        mine = object()
        return self._told.setdefault(topic, mine) is mine

    def warn(self, topic: str, message: str) -> None:
        """Log and emit a warning about the revision, once per topic."""
        if self.is_first(topic):
            self.log(logging.WARNING, "%s", message, event="revision_warning")
            self.emit(RevisionWarning, message=message)

    def look_at_revision(self, served: str | None, retirement: str | None) -> None:
        """Warn when another revision was served, or the pinned one is deprecated."""
        pinned = self._common["revision"]
        if served is not None and served != pinned:
            served = one_line(served, 80)
            self.warn("served", f"revision {pinned} was pinned but the API served {served}")
        if retirement is not None:
            self.warn(
                "lifecycle",
                f"the API says that it retires revision {pinned} on "
                f"{one_line(retirement, 80)}; move to a newer one",
            )
        elif self.is_first("calendar"):
            today = datetime.fromtimestamp(self.clock.time(), UTC).date()
            if today >= stable_until(pinned):
                self.warn(
                    "lifecycle",
                    f"revision {pinned} has been deprecated since {stable_until(pinned)} and may "
                    f"be retired on {retired_on(pinned)}; move to a newer one",
                )


class Notes:
    """Reports one page: its attempts, its waits and its outcome."""

    def __init__(self, observer: Observer, status: str | None, cursor: str | None) -> None:
        self._observer = observer
        self._status, self._cursor = status, cursor
        self._attempt, self._waited_s, self._quota_s, self._announced = 0, 0.0, 0.0, False
        self._started_at = self._sent_at = observer.clock.monotonic()
        observer.emit(PageRequested, status=status, cursor=cursor)

    def waiting(self, wait: Wait) -> None:
        """The limiter asks for a wait."""
        self._waited_s += wait.seconds
        self._quota_s += wait.seconds
        why: Why = "pause" if wait.reason.startswith("paused") else "quota"
        if self._quota_s > ANNOUNCED_WAIT_S and not self._announced:
            self._announced = True
            self._observer.log(
                logging.INFO, "waiting %.1f s for a permit: %s", wait.seconds, wait.reason,
                event="waiting", seconds=wait.seconds, why=why,
            )  # fmt: skip
        self._observer.emit(Waiting, seconds=wait.seconds, why=why, reason=wait.reason)

    def sent(self, attempt: int) -> None:
        """A request is about to be sent."""
        self._attempt, self._sent_at = attempt, self._observer.clock.monotonic()
        self._observer.emit(RequestSent, attempt=attempt, status=self._status, cursor=self._cursor)

    def answered(
        self, status_code: int, headers: Mapping[str, str], said: RateLimit | None
    ) -> None:
        """The status and headers of a response arrived."""
        self._observer.emit(
            ResponseReceived,
            attempt=self._attempt,
            status_code=status_code,
            elapsed_s=self._observer.clock.monotonic() - self._sent_at,
            request_id=headers.get("x-klaviyo-req-id"),
            rate_limit=said,
        )

    def gave_up(self, error: BaseException) -> None:
        """The page is given up."""
        elapsed_s = self._observer.clock.monotonic() - self._started_at
        self._observer.emit(PageFailed, error=error, attempts=self._attempt, elapsed_s=elapsed_s)

    def failed(self, error: AttemptedError) -> None:
        """An attempt failed."""
        self._observer.emit(RequestFailed, attempt=self._attempt, error=error)

    def retrying(self, error: AttemptedError, seconds: float) -> None:
        """The failed attempt is retried in `seconds`."""
        self._waited_s += seconds
        asked = error.retry_after is not None and seconds <= error.retry_after
        why: Why = "retry-after" if asked else "backoff"
        # Leave out the advice after "]; ": it is for an error that ends the page.
        what, bracket, _ = str(error).partition("]; ")
        what += bracket[:1]
        self._observer.log(
            logging.INFO, "%s; attempt %d, trying again in %.3g s", what, self._attempt, seconds,
            event="waiting", seconds=seconds, why=why, attempt=self._attempt,
            request_id=error.request_id,
            status_code=error.status_code if isinstance(error, APIError) else None,
        )  # fmt: skip
        self._observer.emit(Waiting, seconds=seconds, why=why, reason=what)

    def read(self, page: Page[Any], retirement: str | None) -> None:
        """The page was read."""
        self._observer.look_at_revision(page.revision_served, retirement)
        if page.anomalies:
            shown = ", ".join(map(str, page.anomalies[:5])) + ", …" * (len(page.anomalies) > 5)
            self._observer.log(
                logging.WARNING,
                "%d values of a page do not fit the schema of the revision: %s [request %s]",
                len(page.anomalies), shown, one_line(page.request_id or "without an id", 80),
                event="page_read", request_id=page.request_id, anomalies=len(page.anomalies),
            )  # fmt: skip
        self._observer.emit(
            PageRead,
            jobs=len(page.jobs),
            anomalies=len(page.anomalies),
            attempts=self._attempt,
            waited_s=self._waited_s,
            elapsed_s=self._observer.clock.monotonic() - self._started_at,
            request_id=page.request_id,
        )
