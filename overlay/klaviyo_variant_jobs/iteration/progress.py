"""What both kinds of iterator share: where they are, and what the page at hand still has."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import attrs

from klaviyo_variant_jobs.checkpoint import Checkpoint, KlaviyoError
from klaviyo_variant_jobs.pagination import JobT, Page, Query, Standing, Walk

ItemT = TypeVar("ItemT")


@attrs.frozen(eq=False)
class Given(Generic[ItemT]):
    """What a page has to give out, and how many of its jobs have been taken so far."""

    items: Iterator[ItemT]
    taken: Callable[[], int]


Give = Callable[[Standing[Any], Page[Any]], Given[ItemT]]


def give_jobs(at: Standing[JobT], page: Page[JobT]) -> Given[JobT]:
    """The jobs of a page, one by one."""
    jobs = at.jobs
    items = iter(jobs)
    # A list iterator knows how far it is, so that nothing has to be counted per job.
    return Given(items, lambda: len(jobs) - operator.length_hint(items))


def give_page(at: Standing[JobT], page: Page[JobT]) -> Given[Page[JobT]]:
    """The page as a whole, less what a checkpoint had passed; none when that leaves nothing."""
    jobs = at.jobs
    whole = len(jobs) == len(page.jobs)
    items = iter([page] if whole else [attrs.evolve(page, jobs=jobs)] if jobs else [])
    return Given(items, lambda: 0 if operator.length_hint(items) else len(jobs))


_NOTHING: Given[Any] = Given(iter(()), lambda: 0)


class Progress(Generic[ItemT]):
    """What both kinds of iterator share: the walk, and what the page at hand still has."""

    def __init__(self, walk: Walk[Any], give: Give[ItemT]) -> None:
        self._walk = walk
        self._give = give
        self._given: Given[ItemT] = _NOTHING
        self._items = self._given.items
        self._closed = False

    @property
    def checkpoint(self) -> Checkpoint:
        """The place after the last item that was given out; pass it, or its text, as `resume=`."""
        return self._walk.checkpoint(self._given.taken())

    def _show(self, page: Page[Any]) -> None:
        at = self._walk.turned(page)
        given = self._give(at, page)
        # In one statement: an exception of a signal handler between two would lose the page.
        self._walk.at, self._given, self._items = at, given, given.items

    def _following(self) -> Query | None:
        """What to fetch now that all of the page was given out and let go of; None at the end.

        Raises `PaginationError` for an unusable next link.
        """
        query = self._walk.upcoming()
        if query is not None:
            emptied = self._walk.emptied()
            self._walk.at, self._given = emptied, _NOTHING
        return query

    def _upcoming(self) -> Query | None:
        """What to fetch ahead; an unusable next link is raised when its turn comes."""
        try:
            return self._walk.upcoming()
        except KlaviyoError:
            return None

    def _located(self, error: KlaviyoError) -> KlaviyoError:
        """The error with the place to resume from, which its traceback shows as well."""
        error.checkpoint = self.checkpoint
        error.add_note(f"resume from checkpoint {error.checkpoint}")
        return error

    def _finish(self) -> None:
        self._closed = True
        self._items = iter(())
