"""Connections, each lent to one request at a time.

A pool that connections are shared through would be the usual way. But httpx's loses a place for
good when asyncio cancels a request at certain moments, and is dead after a hundred of those; and
after a fork parent and child read each other's answers from it. A request that has its connection
for itself just closes it when something goes wrong.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs
import httpx

from klaviyo_variant_jobs.checkpoint import KlaviyoError
from klaviyo_variant_jobs.clock import Clock

TransmitT = TypeVar("TransmitT")
CloseT = TypeVar("CloseT")

_MOST_IDLE = 20
"""As many as httpx keeps; those beyond would outlive the rush that needed them."""

_KEPT_S = 5.0
"""httpx does not use one again that was idle longer. The last one used is lent first, so that the
others grow old."""


@attrs.frozen(eq=False)
class Connection(Generic[TransmitT, CloseT]):
    """A way to the server: how to send a request on it, and how to close it."""

    transmit: Callable[[httpx.Request], TransmitT]
    close: Callable[[], CloseT]


class Connections(Generic[TransmitT, CloseT]):
    """Keeps connections between requests. Safe to share between threads."""

    def __init__(self, make: Callable[[], Connection[TransmitT, CloseT]], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._closed = False
        # The first at once: what is wrong with the environment's proxies shows before a request.
        self._idle = deque([(make(), clock.monotonic())])
        self._process = os.getpid()
        self._inherited: list[object] = []

    def check_open(self) -> None:
        """Raises `KlaviyoError` once `shut` was called."""
        if self._closed:
            raise KlaviyoError(
                "the client is closed; make a new one, or move the work inside `with`"
            )

    def take(self) -> Connection[TransmitT, CloseT]:
        """One that nobody else has. Raises `KlaviyoError` once `shut` was called."""
        self.check_open()
        if self._process != os.getpid():
            # Kept unused: closing one would take it from the event loop that the parent runs.
            self._inherited += self._idle
            self._idle, self._process = deque(), os.getpid()
        try:
            return self._idle.pop()[0]
        except IndexError:
            return self._make()

    def put_back(
        self, connection: Connection[TransmitT, CloseT]
    ) -> Sequence[Connection[TransmitT, CloseT]]:
        """Take one back that is fit for another request; gives those that are to be closed."""
        now = self._clock.monotonic()
        self._idle.append((connection, now))
        if self._closed:  # Looked at last, since `shut` may have come between.
            return self._emptied()
        try:
            if len(self._idle) > _MOST_IDLE or self._idle[0][1] < now - _KEPT_S:
                return (self._idle.popleft()[0],)
        except IndexError:  # Another thread took the last one.
            pass
        return ()

    def shut(self) -> Sequence[Connection[TransmitT, CloseT]]:
        """Lend no more; gives those that are to be closed. One that is lent comes back first."""
        self._closed = True
        return self._emptied()

    def _emptied(self) -> Sequence[Connection[TransmitT, CloseT]]:
        emptied: list[Connection[TransmitT, CloseT]] = []
        while self._process == os.getpid():
            try:
                emptied.append(self._idle.pop()[0])
            except IndexError:
                break
        return emptied
