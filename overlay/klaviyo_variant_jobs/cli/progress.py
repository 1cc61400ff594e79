"""Progress on stderr while a command runs."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.events import Event, PageRead, RequestFailed, RequestSent, Waiting
from klaviyo_variant_jobs.watch import in_brief

from .text import visible

_TICK_S = 1.0
_SAID_EVERY_S = 30.0
"""Without a terminal, how often a long wait is reported."""


_PACING = "pacing,"
_NEXT_LOOK = "next look in"


class Progress:
    """Shows pages, jobs and waits on one line of a terminal; notes get lines of their own.

    Without a terminal it writes notes only, retries included.
    """

    def __init__(self, told: Callable[[], str] | None = None) -> None:
        self.pages = 0
        self._jobs = 0
        self._told = told or self._pages_and_jobs
        self._failure, self._why = "", _PACING
        self._console = Console(stderr=True)
        stream = self._console.file
        self._live = stream.isatty() and not self._console.is_dumb_terminal
        self._drawn = False
        self._silent_s = _SAID_EVERY_S
        self._said = ""  # The reason noted last.

    def heard(self, event: Event) -> None:
        """Listen to the client."""
        match event:
            case RequestSent():
                self._draw("")
            case PageRead():
                self.pages += 1
                self._jobs += event.jobs
                self._why = _NEXT_LOOK
                self._silent_s = _SAID_EVERY_S
                self._draw("")
            case RequestFailed():
                self._failure = in_brief(event.error)
            case Waiting(why="quota"):
                self._why = _PACING
            case Waiting():
                limited = event.why == "pause" or self._failure == "HTTP 429"
                self._why = "rate limited," if limited else f"{self._failure}, trying again in"

    def waiting(self, seconds_left: float) -> None:
        """Show a wait before the next request."""
        wait = f"{self._why} {math.ceil(seconds_left)} s"
        self._draw(f", {wait}")
        self._say(wait)

    def note(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._console.file.write(visible(text) + "\n")
        self._console.file.flush()

    def remark(self, text: str) -> None:
        """Write a line that stays, dim."""
        self.clear()
        self._console.print(Text(visible(text), "dim"), soft_wrap=True)

    def _say(self, wait: str) -> None:
        """Without a terminal, note a reason at once and every 30 s, but no wait for the quota."""
        if self._live or self._why in (_PACING, _NEXT_LOOK):
            return
        if self._silent_s >= _SAID_EVERY_S or self._why != self._said:
            self.note(wait)
            self._said = self._why
            self._silent_s = 0.0
        self._silent_s += _TICK_S

    def interrupted(self) -> None:
        """Erase the ^C that a terminal has echoed."""
        self._drawn = self._live
        self.clear()

    def clear(self) -> None:
        """Erase the line before anything else is written to the terminal."""
        if self._drawn:
            self._console.file.write("\r\x1b[K")
            self._console.file.flush()
            self._drawn = False

    def _draw(self, wait: str) -> None:
        if self._live:
            line = f"{self._told()}{wait}"
            self._console.file.write(f"\r{line[: max(self._console.width - 1, 0)]}\x1b[K")
            self._console.file.flush()
            self._drawn = True

    def _pages_and_jobs(self) -> str:
        return f"{counted(self.pages, 'page')}, {counted(self._jobs, 'job')}"


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
