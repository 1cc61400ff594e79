"""Waiting for jobs: which page to request next, and a sync and an async driver.

Callers use `watch` and `wait` of `Client` and `AsyncClient`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import math
import re
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import TYPE_CHECKING, Any, Generic, Required, TypeAlias, TypedDict, TypeVar, Unpack

import attrs

from klaviyo_variant_jobs_api.registry import JobT, JobT_co

from .clock import Clock
from .errors import (
    APIError,
    DeadlineError,
    InvalidResponseError,
    KlaviyoError,
    PaginationError,
    RateLimitError,
    ServerError,
    TransportError,
)
from .retry import RetryPolicy
from .revisions import check_fields, find, job_id

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob

    from .client import AsyncClient, Client
    from .decode.page import Page
    from .exchange import Query

__all__ = ["Change", "JobsMissingError", "WatchTimeoutError", "is_finished"]

T = TypeVar("T")

ACTIVE = ("queued", "processing")
ENDED = ("complete", "cancelled")

# Jobs take 10 s to 5 min. With an interval that doubles, the end of a long job could be noticed as
# late again as the job took.
_GROWTH = 1.5
_LOOKS_IN_VAIN = 2
_LAST_LOOK_S = 1.0
"""The last look may end so many seconds after the timeout."""
_NAMED = 5
"""The most ids in a message."""
# Failures that become a WatchTimeoutError when they come because the time is up. Any other failure
# is raised as it is, since it says more than the timeout does.
_PASSING = (DeadlineError, RateLimitError, ServerError, TransportError)
_EARLIEST = dt.datetime.min.replace(tzinfo=dt.UTC)
_LATEST = dt.datetime.max.replace(tzinfo=dt.UTC)


class WatchTimeoutError(DeadlineError):
    """The `timeout` of `watch` or `wait` ran out before every job had ended."""

    def __init__(self, message: str, *, jobs: Mapping[str, AnyJob | None] | None = None) -> None:
        super().__init__(message)
        self.jobs: Mapping[str, AnyJob | None] = jobs or {}
        """Every watched job by its id, as last seen; None for a job that was never seen."""


class JobsMissingError(KlaviyoError):
    """Two complete reads of the list did not find these jobs; all other watched jobs have ended."""

    def __init__(self, message: str, *, ids: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)
        """The missing ids: mistyped, of another account, or expired (jobs expire after 7 days)."""


@attrs.frozen
class Change(Generic[JobT_co]):
    """A watched job was seen for the first time, or its attributes changed."""

    job: JobT_co
    """The job as it is now."""
    previous: JobT_co | None
    """The job as seen before; None the first time."""


def is_finished(job: object) -> bool:
    """Whether the job is `complete` or `cancelled`, so that it will not change any more.

    A complete job may have failed variants. A job in a status unknown to this release counts as not
    finished.
    """
    return _status(job) in ENDED


@attrs.frozen
class Ask:
    """Get the page at `cursor` of the jobs in `status`, within `left_s` seconds unless None."""

    status: str | None
    cursor: str | None
    left_s: float | None


@attrs.frozen
class Sleep:
    """Wait for `seconds`."""

    seconds: float


Step = Ask | Sleep | Change[Any]
# The driver sends back the page or the exception for an Ask, and None for the others.
Steps = Generator[Step, Any, T]


@attrs.define
class Watch(Generic[JobT]):
    """The state of one watch, and the steps a driver has to take."""

    known: dict[str, JobT | None]
    """Every watched job by its id, as last seen; None before."""
    everything: bool
    """Whether jobs that become active are watched too."""
    timeout_s: float | None
    interval_s: float
    max_interval_s: float
    fields: tuple[str, ...] | None
    """The attributes to ask for; None for all."""
    retry: RetryPolicy
    now: Callable[[], float]
    _pending: set[str] = attrs.field(init=False)
    _sought: set[str] = attrs.field(init=False, factory=set)
    """Pending jobs that the current look has not found yet."""
    _created: dict[str, dt.datetime] = attrs.field(init=False, factory=dict)
    """When each job was created. Lists have the newest first, which is undocumented."""
    _looks_in_vain: dict[str, int] = attrs.field(init=False, factory=dict)
    _newest: dt.datetime | None = attrs.field(init=False, default=None)
    """When the newest job of the account was created, as of the last look; None before."""
    _changed: bool = attrs.field(init=False, default=False)
    _started: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pending = set(self.known)

    def steps(self) -> Steps[None]:
        """Look and wait until every job has ended.

        Raises `WatchTimeoutError`, `JobsMissingError`, and the errors of `get_page`.
        """
        self._started = self.now()
        interval = self.interval_s
        while self.everything or self._pending:
            began, self._changed = self.now(), False
            yield from self._look()
            if not self._awaited():
                break
            left = self._left_s()
            # Leave time for one more look that takes as long as this one.
            left = left if left is None else left - (self.now() - began)
            if left is not None and left <= 0:
                raise self._out_of_time()
            if self._changed:
                interval = self.interval_s
            yield Sleep(interval if left is None else min(interval, left))
            interval = min(interval * _GROWTH, self.max_interval_s)
        if self._pending:
            raise self._missing()

    def ended(self) -> dict[str, JobT]:
        """Every watched job by its id; to be called after the last step."""
        return {i: job for i, job in self.known.items() if job is not None}

    def _awaited(self) -> set[str]:
        """Pending jobs that were not missing twice. One that turns up later is watched again."""
        return {i for i in self._pending if self._looks_in_vain.get(i, 0) < _LOOKS_IN_VAIN}

    def _look(self) -> Steps[None]:
        """Read the lists in lifecycle order: a job that moves on meanwhile is in a later list."""
        self._sought = self._awaited()
        if self.everything:
            yield from self._newcomers()
        for status in ACTIVE:
            if self.everything:
                yield from self._read(status, unasked=lambda job: True)
            elif self._sought:
                yield from self._read(status)
        back_to = min((self._created.get(i, _EARLIEST) for i in self._sought), default=_EARLIEST)
        # A job in a status unknown to this release is only in the unfiltered list (None).
        for status_or_all in (*ENDED, None):
            if self._sought:
                yield from self._read(status_or_all, back_to=back_to)
        for i in self._sought:
            if back_to == _EARLIEST:
                self._looks_in_vain[i] = self._looks_in_vain.get(i, 0) + 1
            # The order of the lists is undocumented. The job was not where it should be, so the
            # next look reads all pages.
            self._created.pop(i, None)

    def _newcomers(self) -> Steps[None]:
        """Read the jobs created since the last look: one may begin and end between two looks."""
        last = self._newest
        self._newest = yield from self._read(
            None,
            back_to=last or _LATEST,
            unasked=lambda job: _status(job) in ACTIVE or _created_at(job) > (last or _LATEST),
        )

    def _read(
        self,
        status: str | None,
        *,
        back_to: dt.datetime = _EARLIEST,
        unasked: Callable[[JobT], bool] | None = None,
    ) -> Steps[dt.datetime]:
        """Read a list down to jobs created before `back_to`; returns when its newest was created.

        `unasked` says whether to start watching a job that was not named. Without it, reading stops
        once no job is sought any more.
        """
        newest, cursor, cursors = _EARLIEST, None, set[str]()
        while True:
            page = yield from self._page(status, cursor)
            oldest = _LATEST
            for job in page.jobs:
                oldest = _created_at(job)
                newest = max(newest, oldest)
                yield from self._see(job, watch=unasked is not None and unasked(job))
            cursor = page.next_cursor
            if cursor is None or oldest < back_to or not (unasked or self._sought):
                return newest
            if cursor in cursors:
                raise PaginationError(f"the list of jobs in status {status} repeats a cursor")
            cursors.add(cursor)

    def _page(self, status: str | None, cursor: str | None) -> Steps[Page[JobT]]:
        left_s = self._left_s()
        if left_s is not None and left_s < -_LAST_LOOK_S:
            raise self._out_of_time()
        answer = yield Ask(status, cursor, None if left_s is None else left_s + _LAST_LOOK_S)
        if not isinstance(answer, Exception):
            page: Page[JobT] = answer
            return page
        if left_s is not None and isinstance(answer, _PASSING):
            # The time left ended the retries only if it was shorter than the policy's deadline.
            was_its_end = (
                left_s < self.retry.deadline and answer.attempts != self.retry.max_attempts
            )
            if was_its_end and not answer.is_lasting:
                raise self._out_of_time(answer) from answer
        raise answer

    def _see(self, job: JobT, *, watch: bool) -> Steps[None]:
        i = job_id(job)
        if i is None or (i not in self._pending and (i in self.known or not watch)):
            return
        previous = self.known.get(i)
        self.known[i] = job
        self._pending.add(i)
        self._sought.discard(i)
        self._looks_in_vain.pop(i, None)
        self._created[i] = _created_at(job)
        if is_finished(job):
            self._pending.discard(i)
        # Attributes only: the links and relationships of a job are no change.
        if previous is None or _attributes(previous) != _attributes(job):
            self._changed = True
            yield Change(job, previous)

    def _left_s(self) -> float | None:
        return None if self.timeout_s is None else self._started + self.timeout_s - self.now()

    def _out_of_time(self, failure: KlaviyoError | None = None) -> WatchTimeoutError:
        waited = f"after {self.timeout_s:g} s"
        told = f"not ended {waited}: {_named(self._pending, self.known)}"
        # Without pending jobs the lists were still being read for others.
        told = told if self._pending else f"still looking for jobs {waited}"
        failed = f"; the last failure: {in_brief(failure)}" if failure else ""
        known: dict[str, Any] = dict(self.known)  # Jobs of one revision, typed as those of any.
        return WatchTimeoutError(told + failed, jobs=known)

    def _missing(self) -> JobsMissingError:
        ids = [i for i in self.known if i in self._pending]
        return JobsMissingError(
            f"not on the list: {_named(ids, self.known)}; check the ids and the account of the "
            "credential, and remember that jobs expire after seven days",
            ids=ids,
        )


Ids: TypeAlias = str | Iterable[str] | None


class Waiting(TypedDict, total=False):
    """Keyword arguments of `watch` and `wait`."""

    timeout: Required[float | None]
    interval: float
    max_interval: float
    fields: Iterable[str] | None


def watch(client: Client[JobT], ids: Ids, **waiting: Unpack[Waiting]) -> Iterator[Change[JobT]]:
    """As `Client.watch`."""
    return watch_jobs(client, watching(client, ids, clock=client._clock, **waiting), client._clock)


def wait(client: Client[JobT], ids: Ids, **waiting: Unpack[Waiting]) -> dict[str, JobT]:
    """As `Client.wait`."""
    plan = watching(client, ids, clock=client._clock, **waiting)
    for _ in watch_jobs(client, plan, client._clock):
        pass
    return plan.ended()


def watch_async(
    client: AsyncClient[JobT], ids: Ids, **waiting: Unpack[Waiting]
) -> AsyncIterator[Change[JobT]]:
    """As `AsyncClient.watch`."""
    return watch_jobs_async(client, watching(client, ids, clock=client._clock, **waiting))


async def wait_async(
    client: AsyncClient[JobT], ids: Ids, **waiting: Unpack[Waiting]
) -> dict[str, JobT]:
    """As `AsyncClient.wait`."""
    plan = watching(client, ids, clock=client._clock, **waiting)
    async for _ in watch_jobs_async(client, plan):
        pass
    return plan.ended()


def watching(
    client: Client[JobT] | AsyncClient[JobT],
    ids: Ids,
    *,
    clock: Clock,
    timeout: float | None,
    interval: float = 5.0,
    max_interval: float = 60.0,
    fields: Iterable[str] | None = None,
) -> Watch[JobT]:
    """Check the arguments and make a watch; times are in seconds.

    Raises `ValueError` or `TypeError`.
    """
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must be seconds, 0 or more, or None for ever, not {timeout!r}")
    if not 0 < interval <= max_interval < math.inf:
        raise ValueError(
            "interval and max_interval must be seconds, more than 0 and the second no less than "
            f"the first, not {interval!r} and {max_interval!r}"
        )
    names = [ids] if isinstance(ids, str) else list(ids or ())
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"ids must be job ids, which are strings, not {name!r}")
    asked = check_fields(find(client.revision), fields)
    return Watch(
        known=dict.fromkeys(names),
        everything=ids is None,
        # The watch itself needs these two.
        fields=tuple(dict.fromkeys((*asked, "status", "created_at"))) if asked else None,
        retry=client._retry,
        timeout_s=None if timeout == math.inf else timeout,
        interval_s=interval,
        max_interval_s=max_interval,
        now=clock.monotonic,
    )


def watch_jobs(client: Client[JobT], watch: Watch[JobT], clock: Clock) -> Iterator[Change[JobT]]:
    """Carry out the steps of `watch` with `client`, and yield its changes."""
    answer: Page[JobT] | Exception | None = None
    with contextlib.closing(watch.steps()) as steps:
        while (step := _next(steps, answer)) is not None:
            answer = None
            match step:
                case Change():
                    yield step
                case Sleep():
                    clock.sleep(step.seconds)
                case Ask():
                    try:
                        answer = client._fetch(_query(client, watch, step), None)
                    except KlaviyoError as error:
                        answer = error


async def watch_jobs_async(
    client: AsyncClient[JobT], watch: Watch[JobT]
) -> AsyncIterator[Change[JobT]]:
    """`watch_jobs` for asyncio."""
    answer: Page[JobT] | Exception | None = None
    with contextlib.closing(watch.steps()) as steps:
        while (step := _next(steps, answer)) is not None:
            answer = None
            match step:
                case Change():
                    yield step
                case Sleep():
                    await asyncio.sleep(step.seconds)
                case Ask():
                    try:
                        answer = await client._fetch(_query(client, watch, step))
                    except KlaviyoError as error:
                        answer = error


def _query(client: Client[Any] | AsyncClient[Any], watch: Watch[Any], ask: Ask) -> Query:
    query = client._query(status=ask.status, fields=watch.fields, cursor=ask.cursor)
    return query if ask.left_s is None else query._replace(within_s=ask.left_s)


def _next(steps: Steps[None], answer: Page[JobT] | Exception | None) -> Step | None:
    """The next step; None when there is none."""
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _attributes(job: object) -> Any:
    return getattr(job, "attributes", None)


def _status(job: object) -> object:
    return getattr(_attributes(job), "status", None)


def _created_at(job: object) -> dt.datetime:
    created = getattr(_attributes(job), "created_at", None)
    return created if isinstance(created, dt.datetime) else _EARLIEST


def in_brief(failure: Exception) -> str:
    """What failed, in a few words such as `HTTP 503` or `connection refused`."""
    if isinstance(failure, APIError):
        return f"HTTP {failure.status_code}"
    if isinstance(failure, DeadlineError):
        return "no answer in time"
    if isinstance(failure, InvalidResponseError):
        return "an answer that is no page"
    # The HTTP library says "[Errno 111] Connection refused" and the like.
    said = re.sub(r"^\[.*?\] *", "", str(failure.__cause__ or failure))
    said = re.split(r" [\[(]|; ", said)[0].rstrip(".")
    if said[1:2].islower():
        said = said[0].lower() + said[1:]
    return said or type(failure).__name__


def _named(ids: Collection[str], of: Collection[str]) -> str:
    few = sorted(ids)[:_NAMED]
    others = " and others" if len(few) < len(ids) else ""
    return ", ".join(few) + others + (f" ({len(ids)} of {len(of)} jobs)" if len(of) > 1 else "")
