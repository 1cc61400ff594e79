"""A clock that moves only when somebody waits on it, for threads and for asyncio."""

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

# Real seconds. Virtual time must not run ahead of work that is going on in other threads:
STRANGER_GRACE = 0.001  # some thread exists, it may be about to hand the loop or us something
EXECUTOR_GRACE = 1.0  # work the loop itself gave to a thread (asyncio.to_thread) and awaits
STANDSTILL_GRACE = 5.0  # no timer left: only another thread can make the loop go on


LOOPS_IN_TESTS = (
    "from klaviyo_variant_jobs.sandbox.loops import anyio_backend, pytest_asyncio_loop_factories"
)
"""The line in a conftest.py that runs async tests in virtual time."""


class VirtualClock(Clock):
    """Time that passes only by waiting, and then at once; chance from a seed.

    `sleep` and `wait` move the time forward and return; `run` gives a coroutine an event loop
    whose timers live in the same time. An hour of pacing takes milliseconds and always goes the
    same way.

    Threads that sleep do not wait for one another: each moves the time that all of them share.
    Where it matters who waits how long beside whom, use tasks under `run`. Real sockets and
    virtual timers do not mix: serve and call over loopback with the machine's clock.

    Whoever runs event loops himself takes them from `new_event_loop`; async tests get theirs by one
    line, which stands in `klaviyo_variant_jobs.sandbox.pytest_plugin`. Under a loop of the
    machine's time an `AsyncClient` would wait for ever; the sandbox's transport raises instead.

    Args:
        start: what `time()` says before anybody waited; `monotonic()` begins at 0.
        seed: of `random()`.
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
        # A loop of short sleeps that polls another thread has to let that thread run.
        time.sleep(0)

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """As `Clock.wait`; without a limit it waits for real, since no time will set the event."""
        if seconds is None:
            return event.wait()
        if event.is_set():
            return True
        if threading.active_count() > 1 and event.wait(STRANGER_GRACE):
            return True
        self.sleep(seconds)
        return event.is_set()

    def advance_to(self, moment: float) -> None:
        """Move `monotonic()` to `moment`, unless it is there or past it already."""
        with self._lock:
            self._now = max(self._now, moment)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine as `asyncio.run` does, in virtual time.

        Raises:
            RuntimeError: nothing is ready and no timer is left, so that it would wait for ever.
        """
        with asyncio.Runner(loop_factory=self.new_event_loop) as runner:
            return runner.run(main)

    def new_event_loop(self) -> VirtualLoop:
        """An event loop whose timers live in this time.

        asyncio.Runner(loop_factory=clock.new_event_loop)
        starlette.testclient.TestClient(
            app, backend_options={"loop_factory": clock.new_event_loop}
        )
        """
        return VirtualLoop(lambda: self)

    def check_loop(self) -> None:
        """Raise `RuntimeError` under an event loop that keeps another time.

        A wait in it would never end: it passes by one time and is measured by the other.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop) or loop.clock is not self:
            raise RuntimeError(
                "this event loop does not live in the time of the VirtualClock, so waiting in it "
                "would never end. Run the coroutine by clock.run(…); make loops by "
                "clock.new_event_loop; for tests under pytest-asyncio (1.4 or newer) or anyio's "
                f"plugin put into conftest.py: {LOOPS_IN_TESTS}"
            )


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in the time of the clock that `clock_now` gives at the moment.

    When that becomes another clock, as from one test to the next, time goes on where it was.
    """

    def __init__(self, clock_now: Callable[[], VirtualClock]) -> None:
        self._clock_now = clock_now
        self._clock = clock_now()
        self._ahead = 0.0
        self._jumping = _JumpingSelector(self)
        super().__init__(self._jumping)

    @property
    def clock(self) -> VirtualClock:
        """The clock of this moment."""
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
        # From 3.12 on asyncio gives the threads a limit, and a virtual limit passes at once.
        self._jumping.in_executor += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jumping.in_executor -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Answers like a selector whose timeout has just passed, and moves the clock by it."""

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
                "virtual time stands still: every task waits for something that no timer and no"
                " thread will bring. Look for a future nobody resolves, or a real socket."
            )
        clock.advance_to(until)
        return []

    def _grace(self, timeout: float | None) -> float | None:
        if timeout is not None and timeout <= 0:
            return 0.0
        alone = threading.active_count() == 1
        if timeout is None:
            if threading.current_thread() is not threading.main_thread():
                return None  # It serves other threads, as that of a TestClient, and idles between.
            return 0.0 if alone else STANDSTILL_GRACE
        if self.in_executor:
            return EXECUTOR_GRACE
        return 0.0 if alone else STRANGER_GRACE
