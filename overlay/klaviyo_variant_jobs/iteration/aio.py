"""The iterator for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Self

from klaviyo_variant_jobs.checkpoint import KlaviyoError
from klaviyo_variant_jobs.pagination import Page, Query, Walk

from .progress import Give, ItemT, Progress


def _looked_at(task: asyncio.Task[Page[Any]]) -> None:
    if not task.cancelled():
        task.exception()  # Else asyncio reports it for a dropped iterator.


class AsyncIteration(Progress[ItemT]):
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
        running: set[asyncio.Task[Page[Any]]],
    ) -> None:
        self._ahead: asyncio.Task[Page[Any]] | None = None
        super().__init__(walk, give)
        self._fetch = fetch
        self._prefetch = prefetch
        self._running = running

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
                self._running.add(self._ahead)
                self._ahead.add_done_callback(_looked_at)
                self._ahead.add_done_callback(self._running.discard)
            for item in self._items:
                return item
        raise StopAsyncIteration

    async def _next_page(self) -> Page[Any] | None:
        ahead = self._ahead
        if ahead is not None:
            if ahead.get_loop() is asyncio.get_running_loop():
                # Not awaited itself, which would hand it our cancellation, as a timeout brings it:
                # whoever asks again gets the page.
                await asyncio.wait([ahead])
            self._ahead = None
            if ahead.done() and not ahead.cancelled():
                return ahead.result()
        query = self._following()
        return None if query is None else await self._fetch(query)

    async def aclose(self) -> None:
        """Stop; `checkpoint` goes on telling where. A page being fetched ahead is cancelled."""
        self._finish()
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.get_loop() is not asyncio.get_running_loop():
                _cancel_from_elsewhere(ahead)
                return
            ahead.cancel()
            await asyncio.wait([ahead])

    def __del__(self) -> None:
        # The garbage collector comes in any thread, and after the loop was closed.
        if self._ahead is not None:
            _cancel_from_elsewhere(self._ahead)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


def _cancel_from_elsewhere(task: asyncio.Task[Page[Any]]) -> None:
    with contextlib.suppress(RuntimeError):  # Its loop has been closed.
        task.get_loop().call_soon_threadsafe(task.cancel)
