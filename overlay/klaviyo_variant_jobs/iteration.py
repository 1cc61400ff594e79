"""Lazy iterators over pages and jobs, sync and async, one page fetched ahead if asked."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import attrs

from .checkpoint import Checkpoint, KlaviyoError
from .clock import Clock
from .pagination import JobT, Page, Query, Walk

ItemT = TypeVar("ItemT")


@attrs.frozen
class Given(Generic[ItemT]):
    """What a page has to give out, and how many of its jobs have been taken so far."""

    items: Iterator[ItemT]
    taken: Callable[[], int]


Give = Callable[[Walk[Any], Page[Any]], Given[ItemT]]


def give_jobs(walk: Walk[JobT], page: Page[JobT]) -> Given[JobT]:
    """The jobs of a page, one by one."""
    jobs = walk.turn(page)
    items = iter(jobs)
    # A list iterator knows how far it is, so that nothing has to be counted per job.
    return Given(items, lambda: len(jobs) - operator.length_hint(items))


def give_page(walk: Walk[JobT], page: Page[JobT]) -> Given[Page[JobT]]:
    """The page as a whole, less what a checkpoint had passed; none when that leaves nothing."""
    jobs = walk.turn(page)
    whole = len(jobs) == len(page.jobs)
    items = iter([page] if whole else [attrs.evolve(page, jobs=jobs)] if jobs else [])
    return Given(items, lambda: 0 if operator.length_hint(items) else len(jobs))


def _nothing() -> Given[Any]:
    return Given(iter(()), lambda: 0)


class _Progress(Generic[ItemT]):
    """What both kinds of iterator share: the walk, and what the page at hand still has."""

    def __init__(self, walk: Walk[Any], give: Give[ItemT]) -> None:
        self._walk = walk
        self._give = give
        self._given: Given[ItemT] = _nothing()
        self._items = self._given.items
        self._closed = False

    @property
    def checkpoint(self) -> Checkpoint:
        """The place after the last item that was given out; pass it, or its text, as `resume=`."""
        return self._walk.checkpoint(self._given.taken())

    def _show(self, page: Page[Any]) -> None:
        self._given = self._give(self._walk, page)
        self._items = self._given.items

    def _following(self) -> Query | None:
        """What to fetch now that all of the page was given out and let go of; None at the end.

        Raises `PaginationError` for an unusable next link.
        """
        query = self._walk.upcoming()
        if query is not None:
            self._walk.let_go()
            self._given = _nothing()
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


class Halt:
    """Ends the waits of a thread that works for an iterator."""

    def __init__(self) -> None:
        self._asked = False
        self._event = threading.Event()

    def wake(self) -> None:
        """End the wait at hand; safe from any thread."""
        self._event.set()

    def stop(self) -> None:
        """End the wait at hand and all that would follow."""
        self._asked = True
        self._event.set()

    def check(self) -> None:
        """Raises `Halted` once `stop` was called."""
        if self._asked:
            raise Halted("the iterator was closed while a page was fetched ahead")

    def wait(self, clock: Clock, seconds: float) -> None:
        """Wait `seconds` at most. Raises `Halted` once `stop` was called."""
        self.check()
        clock.wait(self._event, seconds)
        self._event.clear()
        self.check()

    def sleep(self, clock: Clock, seconds: float) -> None:
        """Wait the whole of `seconds`. Raises `Halted` once `stop` was called."""
        # The wake-up of a place in the quota may come late, when nobody waits for one any more.
        until = clock.monotonic() + seconds
        while (left_s := until - clock.monotonic()) > 0.0:
            self.wait(clock, left_s)


class Halted(KlaviyoError):
    """Stops the thread that fetches ahead; never reaches a caller."""


class _Ahead:
    """A page being fetched on a daemon thread, which knows the client but no iterator."""

    def __init__(self, fetch: Callable[[Query, Halt], Page[Any]], query: Query) -> None:
        self._halt = Halt()
        self._page: Page[Any] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(fetch, query), name="klaviyo-variant-jobs ahead", daemon=True
        )
        self._thread.start()

    def _run(self, fetch: Callable[[Query, Halt], Page[Any]], query: Query) -> None:
        try:
            self._page = fetch(query, self._halt)
        except BaseException as error:
            self._error = error

    def result(self) -> Page[Any]:
        self._thread.join()
        if self._page is None:
            assert self._error is not None
            raise self._error
        return self._page

    def close(self) -> None:
        self._halt.stop()
        self._thread.join()


class Iteration(_Progress[ItemT]):
    """A lazy iterator over jobs or pages, and a context manager.

    Raises errors of the `KlaviyoError` family, each with `.checkpoint`; asking again after an
    error tries again. Not for use from several threads at once.
    """

    def __init__(
        self,
        walk: Walk[Any],
        give: Give[ItemT],
        fetch: Callable[[Query, Halt], Page[Any]],
        prefetch: int,
    ) -> None:
        super().__init__(walk, give)
        self._fetch = fetch
        self._prefetch = prefetch
        self._ahead: _Ahead | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ItemT:
        for item in self._items:
            return item
        return self._turn()

    def _turn(self) -> ItemT:
        while not self._closed:
            try:
                page = self._next_page()
            except KlaviyoError as error:
                raise self._located(error) from error.__cause__
            if page is None:
                break
            self._show(page)
            query = self._upcoming() if self._prefetch else None
            if query is not None:
                self._ahead = _Ahead(self._fetch, query)
            for item in self._items:
                return item
        raise StopIteration

    def _next_page(self) -> Page[Any] | None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return ahead.result()
        query = self._following()
        return None if query is None else self._fetch(query, Halt())

    def close(self) -> None:
        """Stop; `checkpoint` goes on telling where.

        A page being fetched ahead is given up: a wait ends at once, an answer under way after one
        read timeout at most.
        """
        self._finish()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


# An event loop holds tasks weakly; one whose iterator was dropped still has to end in order.
_ahead_tasks: set[asyncio.Task[Page[Any]]] = set()


def _ended(task: asyncio.Task[Page[Any]]) -> None:
    _ahead_tasks.discard(task)
    if not task.cancelled():
        task.exception()  # Looked at, so that asyncio does not report it for a dropped iterator.


class AsyncIteration(_Progress[ItemT]):
    """A lazy async iterator over jobs or pages, and an async context manager.

    Raises errors of the `KlaviyoError` family, each with `.checkpoint`; asking again after an
    error tries again. Not for use from several tasks at once.
    """

    def __init__(
        self,
        walk: Walk[Any],
        give: Give[ItemT],
        fetch: Callable[[Query], Coroutine[Any, Any, Page[Any]]],
        prefetch: int,
    ) -> None:
        super().__init__(walk, give)
        self._fetch = fetch
        self._prefetch = prefetch
        self._ahead: asyncio.Task[Page[Any]] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        for item in self._items:
            return item
        return await self._turn()

    async def _turn(self) -> ItemT:
        while not self._closed:
            try:
                page = await self._next_page()
            except KlaviyoError as error:
                raise self._located(error) from error.__cause__
            if page is None:
                break
            self._show(page)
            query = self._upcoming() if self._prefetch else None
            if query is not None:
                self._ahead = asyncio.create_task(self._fetch(query))
                _ahead_tasks.add(self._ahead)
                self._ahead.add_done_callback(_ended)
            for item in self._items:
                return item
        raise StopAsyncIteration

    async def _next_page(self) -> Page[Any] | None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return await ahead
        query = self._following()
        return None if query is None else await self._fetch(query)

    async def aclose(self) -> None:
        """Stop; `checkpoint` goes on telling where. A page being fetched ahead is cancelled."""
        self._finish()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.wait([ahead])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
