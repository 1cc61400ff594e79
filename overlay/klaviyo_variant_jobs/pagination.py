"""The position in the list: cursors, offsets, the loop guard, checkpoints. No I/O."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, Generic

import attrs

from klaviyo_variant_jobs_api.registry import JobT

from .checkpoint import Checkpoint
from .decode.page import Page
from .errors import CheckpointError, PaginationError, one_line
from .exchange import Query
from .revisions import job_id, job_ids


@attrs.frozen(kw_only=True, eq=False)
class Position(Generic[JobT]):
    """Where an iteration stands: on a page, or before the first one.

    A value: `turned` makes the next position. An iterator moves on in one assignment, so that an
    exception of a signal handler finds it before a page or after it.
    """

    here: Checkpoint
    """The start of the page at hand, or the place that was resumed from."""
    after: Checkpoint | PaginationError | None
    """The start of the next page; None at the end."""
    served: Sequence[JobT] = ()
    """The jobs of the page at hand as they came."""
    jobs: Sequence[JobT] = ()
    """Those of them that are to be given out."""
    # The ids of the page at hand, then ids and cursors that were seen before it. Only `turned` adds
    # to them, and adding again is harmless.
    _memory: tuple[frozenset[str], set[str], set[str | None]]

    @classmethod
    def start(cls, checkpoint: Checkpoint) -> Position[Any]:
        """The position before the first page, or at the page that a checkpoint is on."""
        return cls(here=checkpoint, after=checkpoint, memory=(frozenset(), set(), set()))

    def query(self) -> Query | None:
        """What to ask for after the page at hand; None at the end.

        Raises `PaginationError` when the next link has no cursor, or one that came before.
        """
        if isinstance(self.after, PaginationError):
            # A new one each time: a raised exception collects tracebacks and a checkpoint.
            raise PaginationError(*self.after.args)
        if self.after is None:
            return None
        status = self.after.status[self.after.status_index] if self.after.status else None
        return Query(status, self.after.fields, self.after.cursor, self.after.extra_query)

    def turned(self, page: Page[JobT]) -> Position[JobT]:
        """The position on the page that `query` asked for."""
        here = self.after
        assert isinstance(here, Checkpoint)
        same_pass = here.status_index == self.here.status_index
        old_ids, seen_ids, seen_cursors = self._memory
        cursors = seen_cursors if same_pass else set[str | None]()
        cursors.add(here.cursor)
        # With several statuses a job may come again in any later pass, with one on the next page,
        # when jobs before it have come or gone meanwhile.
        if len(here.status) > 1:
            seen_ids |= old_ids
        seen = seen_ids or old_ids
        jobs = _after_checkpoint(here, page.jobs) if here.offset else page.jobs
        ids = frozenset(job_ids(jobs))
        if len(ids) < len(jobs) or not seen.isdisjoint(ids):
            jobs = _unseen(jobs, seen)
        after, memory = _after(here, page, cursors), (ids, seen_ids, cursors)
        return Position(here=here, after=after, served=page.jobs, jobs=jobs, memory=memory)

    def emptied(self) -> Position[JobT]:
        """The same position without the jobs, which were all given out.

        They need not be in memory together with the next ones, whose decoding can use their place.
        """
        return attrs.evolve(self, served=(), jobs=())

    def checkpoint(self, given: int) -> Checkpoint:
        """The place after `given` of the jobs to be given out."""
        if given == len(self.jobs) and isinstance(self.after, Checkpoint):
            return self.after
        offset = len(self.served)
        if given < len(self.jobs):
            if not given:
                return self.here
            last = self.jobs[given - 1]
            offset = next(n for n, job in enumerate(self.served, 1) if job is last)
        last_job_id = (job_id(self.served[offset - 1]) if offset else None) or None
        return attrs.evolve(self.here, offset=offset, last_job_id=last_job_id)


def _after(
    here: Checkpoint, page: Page[Any], seen_cursors: set[str | None]
) -> Checkpoint | PaginationError | None:
    """The start of the page after `page`; None at the end of the last pass."""
    index = here.status_index
    try:
        cursor = page.next_cursor
    except PaginationError as error:
        return error
    if cursor is None:
        index += 1
        if index >= max(1, len(here.status)):
            return None
    elif cursor in seen_cursors:
        return PaginationError(
            f"the next cursor {cursor[:100]!r} came before in this listing, so that it would "
            "never end. The jobs of its page were given out; list again from the start"
        )
    return attrs.evolve(here, status_index=index, cursor=cursor, offset=0, last_job_id=None)


def _after_checkpoint(here: Checkpoint, jobs: Sequence[JobT]) -> Sequence[JobT]:
    """What the checkpoint had not reached; all of it when its job has gone."""
    sought, offset = here.last_job_id, here.offset
    if sought is None:
        return jobs
    # At its old offset first, because a page may name a job twice.
    if offset <= len(jobs) and job_id(jobs[offset - 1]) == sought:
        return jobs[offset:]
    for position, job in enumerate(jobs, 1):
        if job_id(job) == sought:
            return jobs[position:]
    return jobs


def _unseen(jobs: Sequence[JobT], seen: Set[str]) -> Sequence[JobT]:
    """The jobs that neither an earlier page had nor this one before."""
    fresh: list[JobT] = []
    known = set(seen)
    for job in jobs:
        identifier = job_id(job)
        # Those without an id cannot be told apart, and none may be lost.
        if not identifier or identifier not in known:
            fresh.append(job)
            known.add(identifier or "")
    return fresh


def check_resumed(start: Checkpoint, asked: Checkpoint) -> None:
    """Raises `CheckpointError` when a checkpoint belongs to another listing than `asked`."""
    for what in ("revision", "status", "fields", "extra_query"):
        then, now = getattr(start, what), getattr(asked, what)
        # A set of fields comes in another order in every process.
        if then != now and (what != "fields" or set(then) != set(now)):
            raise CheckpointError(
                f"the checkpoint was taken with {what} {_shown(then)}, this iteration has "
                f"{_shown(now)}: a cursor only means something for the same {what}. Resume with "
                f"{what}={_shown(then)}, or list from the start"
            )


def _shown(value: str | tuple[object, ...]) -> str:
    # Cut: whoever forged a checkpoint chose its length.
    return one_line(repr(value if isinstance(value, str) else list(value) or None), 200)
