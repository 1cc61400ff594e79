"""A clock that advances only when someone waits on it, for threads and for asyncio."""

from __future__ import annotations

import asyncio
import random
import selectors
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from klaviyo_variant_jobs.clock import Clock

T = TypeVar("T")

# Real seconds to wait for other threads before virtual time advances:
STRANGER_GRACE = 0.001  # another thread exists, and may be about to wake this one
EXECUTOR_GRACE = 1.0  # the loop waits for its own executor (asyncio.to_thread)
STANDSTILL_GRACE = 5.0  # no timer is set: only another thread can wake the loop


LOOPS_IN_TESTS = (
    "from klaviyo_variant_jobs.sandbox.loops import anyio_backend, pytest_asyncio_loop_factories"
)
"""The line in conftest.py that makes async tests run in virtual time."""


class VirtualClock(Clock):
    """A clock on which waits advance the time and return at once; `random()` is seeded.

    `sleep` and `wait` advance the time. `run` gives a coroutine an event loop whose timers use the
    same time. An hour of pacing takes milliseconds, and every run is the same.

    Threads that sleep do not wait for one another: each sleep advances the time of all threads. If
    concurrent waits matter, use tasks under `run`. Virtual timers do not work with real sockets:
    over loopback use the default clock.

    To make event loops yourself, use `new_event_loop`. Async tests get them by the line in
    `klaviyo_variant_jobs.sandbox.pytest_plugin`. Under any other loop an `AsyncClient` would wait
    for ever, so the sandbox's transport raises `RuntimeError`.

    Args:
        start: the initial `time()`; `monotonic()` begins at 0.
        seed: seed of `random()`.
    """

    def __init__(
        self, *, start: datetime = datetime(2026, 11, 2, 9, tzinfo=UTC), seed: int = 0
    ) -> None:
        self._start = start.timestamp()
        self._now = 0.0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._start + self._now

    def random(self) -> float:
        with self._lock:
            return self._random.random()

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += max(0.0, seconds)
        # Let other threads run: code may poll one of them in a loop of short sleeps.
        time.sleep(0)

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """As `Clock.wait`; without a limit it blocks until another thread sets the event."""
        if seconds is None:
            return event.wait()
        if event.is_set():
            return True
        if threading.active_count() > 1 and event.wait(STRANGER_GRACE):
            return True
        self.sleep(seconds)
        return event.is_set()

    def advance_to(self, moment: float) -> None:
        """Advance `monotonic()` to `moment`; no effect if that has passed."""
        with self._lock:
            self._now = max(self._now, moment)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine as `asyncio.run` does, in virtual time.

        Raises:
            RuntimeError: every task waits and no timer is set, so it would wait for ever.
        """
        with asyncio.Runner(loop_factory=self.new_event_loop) as runner:
            return runner.run(main)

    def new_event_loop(self) -> VirtualLoop:
        """An event loop whose timers use this clock.

        asyncio.Runner(loop_factory=clock.new_event_loop)
        starlette.testclient.TestClient(
            app, backend_options={"loop_factory": clock.new_event_loop}
        )
        """
        return VirtualLoop(lambda: self)

    def check_loop(self) -> None:
        """Raise `RuntimeError` under an event loop that does not use this clock.

        A wait there would never end: the sleep takes real time, and the deadline is on this clock.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop) or loop.clock is not self:
            raise RuntimeError(
                "this event loop does not use the VirtualClock, so waits in it would never end. "
                "Run the coroutine by clock.run(…), or make the loop by clock.new_event_loop. For "
                "tests under pytest-asyncio (1.4 or newer) or anyio's plugin put into conftest.py: "
                f"{LOOPS_IN_TESTS}"
            )


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on the clock that `clock_now` returns.

    When that becomes another clock, as from one test to the next, the loop's time stays continuous.
    """

    def __init__(self, clock_now: Callable[[], VirtualClock]) -> None:
        self._clock_now = clock_now
        self._clock = clock_now()
        self._ahead = 0.0
        self._jumping = _JumpingSelector(self)
        super().__init__(self._jumping)

    @property
    def clock(self) -> VirtualClock:
        """The current clock."""
        clock = self._clock_now()
        if clock is not self._clock:
            self._ahead += self._clock.monotonic() - clock.monotonic()
            self._clock = clock
        return clock

    def time(self) -> float:
        return self.clock.monotonic() + self._ahead

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._jumping.in_executor += 1
        future.add_done_callback(self._left_executor)
        return future

    def _left_executor(self, _: asyncio.Future[Any]) -> None:
        self._jumping.in_executor -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # Since 3.12 asyncio has a timeout here, which would pass at once in virtual time.
        self._jumping.in_executor += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jumping.in_executor -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Advances the clock by the timeout of `select` where it would block."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = weakref.ref(loop)  # The loop owns the selector.
        self.in_executor = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self._loop()
        assert loop is not None
        clock = loop.clock
        until = clock.monotonic() + (timeout or 0.0)
        ready = super().select(self._grace(timeout))
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise RuntimeError(
                "virtual time stands still: every task waits, no timer is set and no thread wakes "
                "the loop. Look for a future that is never resolved, or for a real socket."
            )
        clock.advance_to(until)
        return []

    def _grace(self, timeout: float | None) -> float | None:
        if timeout is not None and timeout <= 0:
            return 0.0
        alone = threading.active_count() == 1
        if timeout is None:
            if threading.current_thread() is not threading.main_thread():
                return None  # A loop that serves other threads, such as a TestClient's.
            return 0.0 if alone else STANDSTILL_GRACE
        if self.in_executor:
            return EXECUTOR_GRACE
        return 0.0 if alone else STRANGER_GRACE
