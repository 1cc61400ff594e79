"""Pages and jobs from exchanges: cursors, offsets, the loop guard, link safety. No I/O."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Sequence
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


@attrs.frozen(eq=False)
class Endpoint:
    """Where the pages are; the only place that a next link may lead to."""

    url: str
    """Absolute, without a query."""

    def cursor_in(
        self, link: object, redact: Callable[[str], str] = str
    ) -> str | PaginationError | None:
        """The cursor in a next link; None for no link. An unusable link becomes the error.

        Only the cursor is ever taken from a link; no request goes to it. `redact` takes out of a
        text what the error must not show.
        """

        def unusable(why: str) -> PaginationError:
            shown = redact(repr(link))
            return PaginationError(
                f"the next link {why}: {shown[:200]}{'…' if len(shown) > 200 else ''}. The jobs of "
                "its page were given out; list again later, or report it to the API's owner"
            )

        if link is None:
            return None
        if not isinstance(link, str):
            return unusable(f"is no string but {type(link).__name__}")
        base, _, query = link.partition("#")[0].partition("?")
        if base != self.url:
            fault = self._fault(base)
            if fault is not None:
                return unusable(fault)
        cursors = [
            urllib.parse.unquote_plus(value, errors="surrogateescape")
            for name, _, value in (item.partition("=") for item in query.split("&"))
            # As the API writes it, first: that spares taking it apart.
            if name == "page%5Bcursor%5D" or urllib.parse.unquote_plus(name) == "page[cursor]"
        ]
        if len(cursors) != 1 or not cursors[0]:
            return unusable("has no cursor" if not any(cursors) else "has several cursors")
        if not can_be_sent(cursors[0]):
            return unusable("has a cursor with half a surrogate pair")
        if len(cursors[0]) > _LONGEST_CURSOR:
            return unusable(f"has a cursor of {len(cursors[0])} characters, too long to send")
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


@attrs.frozen(kw_only=True, eq=False)
class Standing(Generic[JobT]):
    """Where a walk stands: on one page, or before the first."""

    number: int = 0
    """Of the page, counted over all passes; 0 before the first."""
    index: int
    """Which of the statuses is being listed."""
    cursor: str | None
    served: Sequence[JobT] = ()
    jobs: Sequence[JobT] = ()
    """Those of the page that are to be given out."""
    skipped: int = 0
    """How many of the page a checkpoint had passed."""
    next: tuple[int, str | None] | PaginationError | None = None
    seen_cursors: dict[str | None, int]
    """Those of this pass, each with the number of the page that named it."""


class Walk(Generic[JobT]):
    """Where an iteration stands, and what it asks for next.

    For each page set `at` to what `turned` makes of it; `upcoming` then says what to ask for next,
    which may be asked ahead of time. Nothing but that changes a walk, so that an exception of a
    signal handler finds it before a page or after it.
    """

    def __init__(
        self,
        revision: str,
        status: tuple[str, ...],
        fields: tuple[str, ...],
        resume: Checkpoint | None = None,
    ) -> None:
        self._start = start = resume or Checkpoint(revision=revision, status=status, fields=fields)
        _check_same(start, revision, status, fields)
        # Only several passes can meet a job twice; with one, memory stays that of a page.
        self._seen_jobs: dict[str, int] | None = {} if len(status) > 1 else None
        self.at: Standing[JobT] = Standing(
            index=start.status_index, cursor=start.cursor, seen_cursors={start.cursor: 0}
        )

    def upcoming(self) -> Query | None:
        """What to ask for after the current page; None at the end.

        Raises `PaginationError` when the next link leads nowhere or to a page that came before.
        """
        at = self.at
        if not at.number:
            return self._query(at.index, at.cursor)
        if isinstance(at.next, PaginationError):
            raise PaginationError(*at.next.args)
        return None if at.next is None else self._query(*at.next)

    def turned(self, page: Page[JobT]) -> Standing[JobT]:
        """Where the walk stands on the page that `upcoming` asked for."""
        at = self.at
        index, cursor, seen = at.index, at.cursor, at.seen_cursors
        if at.number:
            assert isinstance(at.next, tuple)
            index, cursor = at.next
            seen = seen if index == at.index else {None: at.number}
        resuming = not at.number and self._start.offset > 0
        jobs = self._after_checkpoint(page.jobs) if resuming else page.jobs
        number = at.number + 1
        return Standing(
            number=number,
            index=index,
            cursor=cursor,
            served=page.jobs,
            jobs=jobs if self._seen_jobs is None else _unseen(jobs, self._seen_jobs, number),
            skipped=len(page.jobs) - len(jobs),
            next=self._after(page, index, seen, number),
            seen_cursors=seen,
        )

    def emptied(self) -> Standing[JobT]:
        """The same place without the jobs, which were all given; for when `upcoming` has a page.

        They need not be in memory together with the next ones, whose decoding can use their place.
        """
        at = self.at
        return Standing(
            number=at.number,
            index=at.index,
            cursor=at.cursor,
            next=at.next,
            seen_cursors=at.seen_cursors,
        )

    def checkpoint(self, given: int) -> Checkpoint:
        """The place after `given` of the jobs to be given out."""
        at = self.at
        if not at.number:
            return self._start
        if given == len(at.jobs) and isinstance(at.next, tuple):
            index, cursor = at.next
            return attrs.evolve(
                self._start, status_index=index, cursor=cursor, offset=0, last_job_id=None
            )
        offset = at.skipped
        if given == len(at.jobs):
            offset = len(at.served)  # Past what earlier passes had given, too.
        elif len(at.jobs) == len(at.served) - at.skipped:
            offset += given
        elif given:
            last = at.jobs[given - 1]
            offset = next(n for n, job in enumerate(at.served, 1) if job is last)
        return attrs.evolve(
            self._start,
            status_index=at.index,
            cursor=at.cursor,
            offset=offset,
            last_job_id=job_id(at.served[offset - 1]) if offset else None,
        )

    def _query(self, index: int, cursor: str | None) -> Query:
        status = self._start.status
        return Query(status[index] if status else None, self._start.fields, cursor)

    def _after(
        self, page: Page[JobT], index: int, seen: dict[str | None, int], number: int
    ) -> tuple[int, str | None] | PaginationError | None:
        try:
            cursor = page.next_cursor
        except PaginationError as error:
            return error
        if cursor is None:
            return (index + 1, None) if index + 1 < len(self._start.status) else None
        if seen.setdefault(cursor, number) != number:
            return PaginationError(
                f"the next cursor {cursor[:100]!r} came before in this listing, so that it would "
                "never end. The jobs of its page were given out; list again from the start"
            )
        return index, cursor

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


def _unseen(jobs: Sequence[JobT], seen: dict[str, int], number: int) -> Sequence[JobT]:
    """The jobs that no page before number `number` had, nor this one earlier."""
    fresh: list[JobT] = []
    here: set[str] = set()
    for job in jobs:
        identifier = job_id(job)
        if identifier is None:
            fresh.append(job)
        elif identifier not in here and seen.setdefault(identifier, number) == number:
            fresh.append(job)
            here.add(identifier)
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
