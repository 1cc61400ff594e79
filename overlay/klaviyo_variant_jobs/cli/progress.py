"""Progress on stderr while a command runs."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Iterator

import httpx
from rich.console import Console

from klaviyo_variant_jobs.clock import Clock

from .text import visible

_TICK_S = 1.0
_SAID_EVERY_S = 30.0
"""Without a terminal, how often a long wait is reported."""


class Progress:
    """Shows pages, jobs and waits on one line of a terminal; notes get lines of their own.

    Without a terminal it writes notes only, retries included.
    """

    pacing = "pacing,"
    """Label of a wait after a response with status 200."""

    def __init__(self) -> None:
        self.pages = 0
        self.jobs = 0
        self._answer: int | None = 200
        self._console = Console(stderr=True)
        stream = self._console.file
        self._live = stream.isatty() and not self._console.is_dumb_terminal
        self._drawn = False
        self._silent_s = _SAID_EVERY_S

    def requested(self, request: httpx.Request) -> None:
        """Hook of the HTTP client for each request."""
        self._answer = None

    def responded(self, response: httpx.Response) -> None:
        """Hook of the HTTP client for each response."""
        self._answer = response.status_code
        if response.status_code == 200:
            self.pages += 1
            self._silent_s = _SAID_EVERY_S
        self._draw("")

    def waiting(self, seconds_left: float) -> None:
        """Show a wait before the next request."""
        if self._answer == 429:
            why = "rate limited,"
        elif self._answer == 200:
            why = self.pacing
        elif self._answer is None:
            why = "no answer, trying again in"
        else:
            why = f"HTTP {self._answer}, trying again in"
        wait = f"{why} {math.ceil(seconds_left)} s"
        self._draw(f", {wait}")
        self._say(wait)

    def note(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._console.file.write(visible(text) + "\n")
        self._console.file.flush()

    def _say(self, wait: str) -> None:
        """Without a terminal, note a wait at once and every 30 s, but no wait for the quota."""
        if self._live or self._answer == 200:
            return
        if self._silent_s >= _SAID_EVERY_S:
            self.note(wait)
            self._silent_s = 0.0
        self._silent_s += _TICK_S

    def clear(self) -> None:
        """Erase the line before anything else is written to the terminal."""
        if self._drawn:
            self._console.file.write("\r\x1b[K")
            self._console.file.flush()
            self._drawn = False

    def _draw(self, wait: str) -> None:
        if self._live:
            line = f"{counted(self.pages, 'page')}, {counted(self.jobs, 'job')}{wait}"
            self._console.file.write(f"\r{line[: max(self._console.width - 1, 0)]}\x1b[K")
            self._console.file.flush()
            self._drawn = True


def counted(number: int, thing: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


class WatchedClock(Clock):
    """A clock whose waits count down on the progress line."""

    def __init__(self, clock: Clock, progress: Progress) -> None:
        self._clock = clock
        self._progress = progress

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        return self._clock.time()

    def random(self) -> float:
        return self._clock.random()

    def sleep(self, seconds: float) -> None:
        left_s = seconds
        while left_s > 0.0:
            self._progress.waiting(left_s)
            self._clock.sleep(min(left_s, _TICK_S))
            left_s -= _TICK_S

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        return self._clock.wait(event, seconds)


class _Notes(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.note(f"{record.levelname.lower()}: {record.getMessage()}")


@contextlib.contextmanager
def warnings_as_notes(progress: Progress) -> Iterator[None]:
    """Show the warnings of the library as notes."""
    logger, handler = logging.getLogger("klaviyo_variant_jobs"), _Notes(progress)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        progress.clear()
