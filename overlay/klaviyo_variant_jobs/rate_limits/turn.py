"""The lock of the limiter, and who may leave without it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

LeaverT = TypeVar("LeaverT")


class Turn(Generic[LeaverT]):
    """A lock, and a way out for those who cannot wait for it.

    A request that was dropped leaves when the garbage collector finds it, and that may be in the
    middle of a turn of the very same thread. Whoever has the turn sees it out afterwards.
    """

    def __init__(self, see_out: Callable[[LeaverT, float, bool], None]) -> None:
        # Entered itself, not through a method of ours: an exception that a signal handler raises
        # would find a method between having the lock and letting it go.
        self.lock = threading.Lock()
        self._leaving: deque[tuple[LeaverT, float, bool]] = deque()
        self._see_out = see_out

    def leave(self, place: LeaverT, now: float, *, sent: bool) -> None:
        self._leaving.append((place, now, sent))
        self.settle()

    def settle(self) -> None:
        """See out who could not wait; to be called after each turn."""
        # Looked at again after each release: what came while we had the lock has nobody else.
        while self._leaving and self.lock.acquire(blocking=False):
            try:
                while self._leaving:
                    self._see_out(*self._leaving[0])  # Seen out twice rather than not at all.
                    self._leaving.popleft()
            finally:
                self.lock.release()
