"""Pages and jobs from exchanges: cursors, offsets, the loop guard, link safety. No I/O."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from typing import Generic, TypeVar

import attrs

from .checkpoint import Checkpoint, CheckpointError
from .errors import PaginationError
from .rate_limits import RateLimit
from .revisions import job_id

JobT = TypeVar("JobT")
JobT_co = TypeVar("JobT_co", covariant=True)


@attrs.frozen
class Query:
    """One page to ask for."""

    status: str | None = None
    fields: tuple[str, ...] = ()
    cursor: str | None = None


@attrs.frozen(kw_only=True)
class Page(Generic[JobT_co]):
    """One page of jobs."""

    jobs: Sequence[JobT_co]
    """The jobs, newest first."""
    cursor: str | None
    """The cursor this page was asked for with; None for the first."""
    rate_limit: RateLimit | None
    """What the response said of the quota; None when it said nothing."""
    request_id: str | None
    """The API's name for this request."""
    revision_served: str | None
    """The revision that answered, as the API tells it."""
    anomalies: tuple[str, ...]
    """JSON paths of values that did not fit the schema and were kept as they came."""
    _next: str | PaginationError | None = attrs.field(repr=False)

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None on the last.

        Raises `PaginationError` when the page has a next link that leads to no page of this
        endpoint: reading it as the last page would hide jobs.
        """
        if isinstance(self._next, PaginationError):
            # A new one each time: a raised exception collects tracebacks and a checkpoint.
            raise PaginationError(*self._next.args)
        return self._next


# Servers refuse request lines of 8 to 16 KiB, and httpx URLs over 64 KiB.
_LONGEST_CURSOR = 16 * 1024


@attrs.frozen
class Endpoint:
    """Where the pages are; the only place that a next link may lead to."""

    url: str
    """Absolute, without a query."""

    def cursor_in(self, link: object) -> str | PaginationError | None:
        """The cursor in a next link; None for no link. An unusable link becomes the error.

        Only the cursor is ever taken from a link; no request goes to it.
        """
        if link is None:
            return None
        if not isinstance(link, str):
            return _unusable(f"is no string but {type(link).__name__}", link)
        base, _, query = link.partition("#")[0].partition("?")
        if base != self.url:
            fault = self._fault(base)
            if fault is not None:
                return _unusable(fault, link)
        cursors = [
            urllib.parse.unquote_plus(value, errors="surrogateescape")
            for name, _, value in (item.partition("=") for item in query.split("&"))
            if urllib.parse.unquote_plus(name) == "page[cursor]"
        ]
        if len(cursors) != 1 or not cursors[0]:
            return _unusable("has no cursor" if not any(cursors) else "has several cursors", link)
        if not can_be_sent(cursors[0]):
            return _unusable("has a cursor with half a surrogate pair", link)
        if len(cursors[0]) > _LONGEST_CURSOR:
            return _unusable(
                f"has a cursor of {len(cursors[0])} characters, too long to send", link
            )
        return cursors[0]

    def _fault(self, base: str) -> str | None:
        """Why a link's base is not this endpoint; None when it is, in other words."""
        ours = urllib.parse.urlsplit(self.url)
        try:
            theirs = urllib.parse.urlsplit(base)
            if _origin(theirs) != _origin(ours) or "@" in theirs.netloc:
                return "leads to another host"
        except ValueError:
            return "is no URL"
        return None if theirs.path.rstrip("/") == ours.path.rstrip("/") else "leads to another path"


def can_be_sent(cursor: str) -> bool:
    """Whether a cursor is bytes in percent-encoding; one that names half a character is not."""
    try:
        cursor.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _origin(parts: urllib.parse.SplitResult) -> tuple[str, str | None, int | None]:
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _unusable(why: str, link: object) -> PaginationError:
    shown = repr(link)
    return PaginationError(
        f"the next link {why}: {shown[:200]}{'…' if len(shown) > 200 else ''}. The jobs of its "
        "page were given out; list again later, or report it to the API's owner"
    )


class Walk(Generic[JobT]):
    """Where an iteration stands, and what it asks for next.

    Feed it each page with `turn`; `upcoming` then says what to ask for next, which may be asked
    ahead of time. `given` jobs of the page have left it when a checkpoint is taken.
    """

    def __init__(
        self,
        revision: str,
        status: tuple[str, ...],
        fields: tuple[str, ...],
        resume: Checkpoint | None = None,
    ) -> None:
        self._start = resume or Checkpoint(revision=revision, status=status, fields=fields)
        _check_same(self._start, revision, status, fields)
        self._index = self._start.status_index
        self._cursor = self._start.cursor
        self._seen_cursors = {self._cursor}
        # Only several passes can meet a job twice; with one, memory stays that of a page.
        self._seen_jobs: set[str] | None = set() if len(status) > 1 else None
        self._served: Sequence[JobT] | None = None  # The page's jobs; None before the first page.
        self._jobs: Sequence[JobT] = ()
        self._skipped = 0
        self._next: tuple[int, str | None] | PaginationError | None = None

    def upcoming(self) -> Query | None:
        """What to ask for after the current page; None at the end.

        Raises `PaginationError` when the next link leads nowhere or to a page that came before.
        """
        if self._served is None:
            return self._query(self._index, self._cursor)
        if isinstance(self._next, PaginationError):
            raise PaginationError(*self._next.args)
        return None if self._next is None else self._query(*self._next)

    def turn(self, page: Page[JobT]) -> Sequence[JobT]:
        """Take the page that `upcoming` asked for; returns the jobs of it to give out."""
        resuming = self._served is None and self._start.offset > 0
        if self._served is not None:
            assert isinstance(self._next, tuple)
            index, self._cursor = self._next
            if index != self._index:
                self._index, self._seen_cursors = index, {None}
        self._served = page.jobs
        self._next = self._after(page)
        jobs = self._after_checkpoint(page.jobs) if resuming else page.jobs
        self._skipped = len(page.jobs) - len(jobs)
        self._jobs = jobs if self._seen_jobs is None else self._unseen(jobs, self._seen_jobs)
        return self._jobs

    def let_go(self) -> None:
        """Drop the jobs of a page that were all given, when `upcoming` has another page to ask for.

        They need not be in memory together with the next ones, whose decoding can use their place.
        """
        self._jobs = ()
        self._served = None if self._served is None else ()

    def checkpoint(self, given: int) -> Checkpoint:
        """The place after `given` jobs of those that `turn` returned last."""
        if self._served is None:
            return self._start
        if given == len(self._jobs) and isinstance(self._next, tuple):
            index, cursor = self._next
            return attrs.evolve(
                self._start, status_index=index, cursor=cursor, offset=0, last_job_id=None
            )
        offset = self._skipped
        if given == len(self._jobs):
            offset = len(self._served)  # Past what earlier passes had given, too.
        elif given:
            last = self._jobs[given - 1]
            offset = next(n for n, job in enumerate(self._served, 1) if job is last)
        return attrs.evolve(
            self._start,
            status_index=self._index,
            cursor=self._cursor,
            offset=offset,
            last_job_id=job_id(self._served[offset - 1]) if offset else None,
        )

    def _query(self, index: int, cursor: str | None) -> Query:
        status = self._start.status
        return Query(status[index] if status else None, self._start.fields, cursor)

    def _after(self, page: Page[JobT]) -> tuple[int, str | None] | PaginationError | None:
        try:
            cursor = page.next_cursor
        except PaginationError as error:
            return error
        if cursor is None:
            following = self._index + 1
            return (following, None) if following < len(self._start.status) else None
        if cursor in self._seen_cursors:
            return PaginationError(
                f"the next cursor {cursor[:100]!r} came before in this listing, so that it would "
                "never end. The jobs of its page were given out; list again from the start"
            )
        self._seen_cursors.add(cursor)
        return self._index, cursor

    def _after_checkpoint(self, jobs: Sequence[JobT]) -> Sequence[JobT]:
        """What the checkpoint had not reached; all of it when its job has gone."""
        sought = self._start.last_job_id
        offset = self._start.offset
        # Where it was, first: a page that names a job twice is not to start over at the first.
        if sought is not None and offset <= len(jobs) and job_id(jobs[offset - 1]) == sought:
            return jobs[offset:]
        for position, job in enumerate(jobs, 1):
            if sought is not None and job_id(job) == sought:
                return jobs[position:]
        return jobs

    @staticmethod
    def _unseen(jobs: Sequence[JobT], seen: set[str]) -> Sequence[JobT]:
        fresh: list[JobT] = []
        for job in jobs:
            identifier = job_id(job)
            if identifier is None or identifier not in seen:
                fresh.append(job)
            if identifier is not None:
                seen.add(identifier)
        return fresh


def _check_same(
    start: Checkpoint, revision: str, status: tuple[str, ...], fields: tuple[str, ...]
) -> None:
    for what, then, now in (
        ("revision", start.revision, revision),
        ("status", start.status, status),
        ("fields", start.fields, fields),
    ):
        # A set of fields comes in another order in every process.
        if then != now and (what != "fields" or set(then) != set(now)):
            raise CheckpointError(
                f"the checkpoint was taken with {what} {_shown(then)}, this iteration has "
                f"{_shown(now)}: a cursor only means something for the same {what}. Resume with "
                f"{what}={_shown(then)}, or list from the start"
            )


def _shown(value: str | tuple[str, ...]) -> str:
    return repr(value if isinstance(value, str) else list(value) or None)
