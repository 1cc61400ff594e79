"""The iterator for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

from klaviyo_variant_jobs.checkpoint import KlaviyoError
from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.pagination import Page, Query, Walk

from .progress import Give, ItemT, Progress


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

    def forgo(self) -> None:
        """End what would follow the wait at hand; takes no lock, for the garbage collector."""
        self._asked = True

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
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(fetch, query), name="klaviyo-variant-jobs ahead", daemon=True
        )
        self._thread.start()

    def _run(self, fetch: Callable[[Query, Halt], Page[Any]], query: Query) -> None:
        try:
            self._page = fetch(query, self._halt)
        except BaseException as error:
            self._error = error
        finally:
            self._done.set()

    def wait(self) -> None:
        # Not `join`: when that is interrupted, Python before 3.13 takes the thread for ended.
        if self._thread.is_alive():
            self._done.wait()

    def result(self) -> Page[Any] | None:
        """The page; None when the thread has vanished, as it does in a forked process."""
        if self._error is not None:
            raise self._error
        return self._page

    def forgo(self) -> None:
        self._halt.forgo()

    def close(self) -> None:
        self._halt.stop()
        self.wait()
        self._thread.join()


class Iteration(Progress[ItemT]):
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
        self._ahead: _Ahead | None = None
        super().__init__(walk, give)
        self._fetch = fetch
        self._prefetch = prefetch
        self._halt = Halt()  # Of pages that are not fetched ahead, which nothing stops.

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
        ahead = self._ahead
        if ahead is not None:
            ahead.wait()  # Still ours meanwhile: after Ctrl-C `close` has to find it.
            self._ahead = None
            page = ahead.result()
            if page is not None:
                return page
        query = self._following()
        return None if query is None else self._fetch(query, self._halt)

    def close(self) -> None:
        """Stop; `checkpoint` goes on telling where.

        A page being fetched ahead is given up: a wait ends at once, an answer under way after one
        read timeout at most.
        """
        self._finish()
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __del__(self) -> None:
        if self._ahead is not None:
            self._ahead.forgo()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
