"""The lazy iterators over jobs and pages, sync and async, and the page fetched ahead."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import operator
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

import attrs

from .checkpoint import Checkpoint
from .clock import Clock
from .decode.page import Page
from .errors import KlaviyoError
from .exchange import Query, ResultT
from .pagination import Position

if TYPE_CHECKING:  # Imported where they are used, so that other programs do not wait for them.
    import asyncio
    import concurrent.futures

ItemT_co = TypeVar("ItemT_co", covariant=True)
Fetch: TypeAlias = "Callable[[Query, Ahead | None], Page[Any]]"
AsyncFetch: TypeAlias = Callable[[Query], Coroutine[Any, Any, Page[Any]]]


class Progress(Generic[ItemT_co]):
    """What both kinds of iterator share: the position, and what the page at hand still has."""

    def __init__(self, start: Checkpoint, prefetch: int, *, by_page: bool) -> None:
        self._position: Position[Any] = Position.start(start)
        self._items: Iterator[ItemT_co] = iter(())
        self._prefetch, self._by_page = prefetch, by_page
        self._in_use = False
        self._closed_at: Checkpoint | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """The place after the last item that was given out; pass it, or its text, as `resume=`."""
        if self._closed_at is not None:
            return self._closed_at
        position, left = self._position, operator.length_hint(self._items)
        if self._by_page:
            left *= len(position.jobs)
        return position.checkpoint(len(position.jobs) - left)

    @contextlib.contextmanager
    def _turning(self) -> Iterator[None]:
        """Refuses a second caller meanwhile, and gives every error its checkpoint."""
        if self._in_use:
            raise RuntimeError("already in use: give each thread or task an iterator of its own")
        try:
            self._in_use = True
            yield
        except KlaviyoError as error:
            error.checkpoint = self.checkpoint
            error.add_note(f"resume from checkpoint {error.checkpoint}")
            raise
        finally:
            self._in_use = False

    def _query(self) -> Query | None:
        """What to ask for, now that the page at hand was given out; None at the end."""
        query = None if self._closed_at else self._position.query()
        if query is not None:  # The jobs at hand need not be in memory together with the next.
            self._position, self._items = self._position.emptied(), iter(())
        return query

    def _upcoming(self) -> Query | None:
        """What to fetch ahead; an unusable next link is raised when its turn comes."""
        position = self._position
        has_next = isinstance(position.after, Checkpoint)
        return position.query() if self._prefetch and has_next else None

    def _show(self, page: Page[Any]) -> None:
        position = self._position.turned(page)
        jobs = position.jobs
        items: Sequence[Any] = jobs
        if self._by_page:
            whole = len(jobs) == len(page.jobs)
            items = [page] if whole else [attrs.evolve(page, jobs=jobs)] if jobs else []
        # In one statement: an exception of a signal handler between two would lose the page.
        self._position, self._items = position, iter(items)


class Stopped(BaseException):
    """Ends the thread that fetches ahead, as CancelledError ends a task; never reaches a caller."""


class Ahead:
    """A page being fetched on a daemon thread, which knows the client but no iterator."""

    def __init__(self, fetch: Fetch, query: Query) -> None:
        import concurrent.futures

        self.is_dropped = False
        self._closing = threading.Event()
        self._page: concurrent.futures.Future[Page[Any]] = concurrent.futures.Future()
        # With the caller's context variables, which carry the parent of a trace.
        run = contextvars.copy_context().run
        work = functools.partial(run, self._work, fetch, query)
        self._thread = threading.Thread(target=work, name="klaviyo-variant-jobs ahead", daemon=True)
        self._thread.start()

    def _work(self, fetch: Fetch, query: Query) -> None:
        try:
            self._page.set_result(fetch(query, self))
        except BaseException as error:
            self._page.set_exception(error)

    def check(self) -> None:
        """Raises `Stopped` once nobody wants the page any more."""
        # A flag beside the event, whose lock the garbage collector must not need.
        if self.is_dropped or self._closing.is_set():
            raise Stopped("the iterator was closed while a page was fetched ahead")

    def sleep(self, clock: Clock, seconds: float) -> None:
        """Wait `seconds`, or until `close` is called."""
        clock.wait(self._closing, seconds)

    def wait(self) -> None:
        """Wait for the page or an error. A forked process has no such thread and does not wait."""
        # Not `join`: when that is interrupted, Python before 3.13 takes the thread for ended.
        import concurrent.futures

        if self._thread.is_alive():
            concurrent.futures.wait([self._page])

    def page(self) -> Page[Any] | None:
        """The page, if it is there. Raises what the thread raised."""
        return self._page.result() if self._page.done() else None

    def close(self) -> None:
        """End the thread: a wait at once, an answer under way after one read timeout at most."""
        self._closing.set()
        self.wait()
        self._thread.join()


class Iteration(Progress[ItemT_co]):
    """A lazy iterator over jobs or pages, and a context manager.

    Raises errors of the `KlaviyoError` family, each with `.checkpoint`; asking again after an
    error tries again. For one thread at a time.
    """

    _ahead: Ahead | None = None

    def __init__(self, start: Checkpoint, prefetch: int, fetch: Fetch, *, by_page: bool) -> None:
        super().__init__(start, prefetch, by_page=by_page)
        self._fetch = fetch

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ItemT_co:
        for item in self._items:
            return item
        more = True
        while more:
            # An item is taken outside, so that an exception of a signal handler cannot lose it.
            with self._turning():
                more = self._turn_page()
            for item in self._items:
                return item
        raise StopIteration

    def _turn_page(self) -> bool:
        """Move on to the next page; False at the end."""
        query = self._query()
        if query is None:
            return False
        self._show(self._taken_ahead() or self._fetch(query, None))
        if (upcoming := self._upcoming()) is not None:
            # Where no thread can be started, the page is fetched when its turn comes.
            with contextlib.suppress(RuntimeError):
                self._ahead = Ahead(self._fetch, upcoming)
        return True

    def _taken_ahead(self) -> Page[Any] | None:
        if self._ahead is None:
            return None
        self._ahead.wait()  # Kept until then: after Ctrl-C `close` must find it.
        ahead, self._ahead = self._ahead, None
        return ahead.page()

    def close(self) -> None:
        """Stop; `checkpoint` goes on telling where.

        A page being fetched ahead is given up: a wait ends at once, an answer under way after one
        read timeout at most.
        """
        self._closed_at, self._items = self.checkpoint, iter(())
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __del__(self) -> None:
        if self._ahead is not None:
            self._ahead.is_dropped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_running: set[asyncio.Task[Any]] = set()


def keep(task: asyncio.Task[ResultT]) -> asyncio.Task[ResultT]:
    """Hold a task until it ends: an event loop holds it weakly, and whoever waits may be gone."""
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # Else asyncio reports it for a dropped iterator.


class AsyncIteration(Progress[ItemT_co]):
    """A lazy async iterator over jobs or pages, and an async context manager.

    Raises errors of the `KlaviyoError` family, each with `.checkpoint`; asking again after an
    error tries again. For one task at a time.
    """

    _ahead: asyncio.Task[Page[Any]] | None = None

    def __init__(
        self, start: Checkpoint, prefetch: int, fetch: AsyncFetch, *, by_page: bool
    ) -> None:
        super().__init__(start, prefetch, by_page=by_page)
        self._fetch = fetch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT_co:
        for item in self._items:
            return item
        more = True
        while more:
            with self._turning():
                more = await self._turn_page()
            for item in self._items:
                return item
        raise StopAsyncIteration

    async def _turn_page(self) -> bool:
        """Move on to the next page; False at the end."""
        query = self._query()
        if query is None:
            return False
        self._show(await self._taken_ahead() or await self._fetch(query))
        if (upcoming := self._upcoming()) is not None:
            import asyncio

            self._ahead = keep(asyncio.create_task(self._fetch(upcoming)))
        return True

    async def _taken_ahead(self) -> Page[Any] | None:
        if self._ahead is None:
            return None
        await _done(self._ahead)
        ahead, self._ahead = self._ahead, None
        return ahead.result() if ahead.done() and not ahead.cancelled() else None

    async def aclose(self) -> None:
        """Stop; `checkpoint` goes on telling where. A page being fetched ahead is cancelled."""
        self._closed_at, self._items = self.checkpoint, iter(())
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            _cancel(ahead)
            await _done(ahead)

    def __del__(self) -> None:
        if self._ahead is not None:
            _cancel(self._ahead)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


async def _done(task: asyncio.Task[Page[Any]]) -> None:
    """Wait until a task of this event loop is done.

    Awaiting the task itself would pass our own cancellation, such as a timeout's, on to it. This
    way the next call gets its page.
    """
    import asyncio

    if task.get_loop() is asyncio.get_running_loop():
        await asyncio.wait([task])


def _cancel(task: asyncio.Task[Page[Any]]) -> None:
    """Cancel a task from whichever thread and loop: the garbage collector comes in any."""
    with contextlib.suppress(RuntimeError):  # Its loop has been closed.
        task.get_loop().call_soon_threadsafe(task.cancel)
