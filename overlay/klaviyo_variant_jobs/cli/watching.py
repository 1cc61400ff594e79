"""The command `watch`: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Protocol

import attrs
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from klaviyo_variant_jobs import KlaviyoError
from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.watch import WatchTimeoutError

from . import signals
from .asked import Asked
from .board import ASCII_BARS, BARS, Board, Tracked, line_of
from .connection import connected, refused
from .options import Surroundings
from .progress import Progress, warnings_as_notes
from .stopped import Stopped, failed
from .text import cell, visible

EXIT_NOT_WELL = 3
"""Every job has ended, and some variant failed or some job was cancelled."""
EXIT_OUT_OF_TIME = 4


def run(
    asked: Asked, ids: Sequence[str], timeout_s: float | None, surroundings: Surroundings
) -> int:
    """Watch jobs until they have ended, show their changes, and return the exit code.

    Raises `click.UsageError` for invalid options, `Stopped` when the watch cannot continue.
    """
    bars = BARS if _utf(sys.stdout.encoding) else ASCII_BARS
    board = Board(bars, named=len({*ids}) or None)
    shown = (_Table if _on_terminal() else _Lines)(board, surroundings.clock)
    try:
        with connected(asked, surroundings, shown.progress) as client:
            with refused():
                changes = client.watch(ids or None, timeout=timeout_s)
            with shown.open(), warnings_as_notes(shown.progress):
                for change in changes:
                    tracked = board.saw(change.job, surroundings.clock.monotonic())
                    shown.saw(tracked)
    except (KlaviyoError, KeyboardInterrupt) as failure:
        signals.ignore()
        _tell(board, shown)
        raise _stopped(failure) from failure
    if not len(board):
        shown.progress.note("no jobs")
    _tell(board, shown)
    return 0 if board.all_went_well else EXIT_NOT_WELL


def _stopped(failure: KlaviyoError | KeyboardInterrupt) -> Stopped:
    if isinstance(failure, KeyboardInterrupt):
        return Stopped("interrupted", code=signals.exit_code(failure))
    code = EXIT_OUT_OF_TIME if isinstance(failure, WatchTimeoutError) else 1
    return Stopped(failed(failure), code=code)


def _tell(board: Board, shown: _Shown) -> None:
    if len(board):
        shown.end(board.summary())
        sys.stdout.flush()


def _utf(encoding: str | None) -> bool:
    return (encoding or "utf-8").lower().startswith("utf")


def _on_terminal() -> bool:
    return sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


class _Shown(Protocol):
    """Shows changes: as a table or as lines."""

    progress: Progress

    def open(self) -> AbstractContextManager[None]: ...

    def saw(self, tracked: Tracked) -> None: ...

    def end(self, summary: Iterable[str]) -> None: ...


class _Lines:
    """A line for each change."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self.progress: Progress = Progress(board.told)
        self._clock = clock

    @contextmanager
    def open(self) -> Iterator[None]:
        yield

    def saw(self, tracked: Tracked) -> None:
        self.progress.clear()
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        sys.stdout.write(f"{cell(now)} {line_of(tracked)}\n")
        sys.stdout.flush()

    def end(self, summary: Iterable[str]) -> None:
        sys.stdout.writelines(f"{line}\n" for line in summary)


class _Table:
    """The board, redrawn at each change and each second of a wait."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.progress: Progress = _Footer(self._console, self.draw)

    @contextmanager
    def open(self) -> Iterator[None]:
        with self._live:
            yield

    def saw(self, tracked: Tracked) -> None:
        self.draw("")

    def draw(self, footer: str) -> None:
        width, now = self._console.width, self._clock.monotonic()
        told = textwrap.wrap(self._board.told(), width)
        room = self._console.height - len(told) - 2
        lines = [*self._board.lines(width, room, now), *map(Text, told), Text(footer, "dim")]
        self._live.update(Block(lines), refresh=True)

    def end(self, summary: Iterable[str]) -> None:
        width = self._console.width
        lines = [*self._board.lines(width, sys.maxsize, self._clock.monotonic()), Text()]
        self._console.print(Block(lines))
        for line in summary:
            hanging = " " * (7 if line.startswith(" ") else 2)
            for part in textwrap.wrap(line, width, subsequent_indent=hanging):
                sys.stdout.write(f"{part}\n")


@attrs.frozen
class Block:
    """Lines, cut to the width of the terminal."""

    lines: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines:
            line.no_wrap = True
            line.truncate(options.max_width)
            yield line


class _Footer(Progress):
    """Shows waits below the table and notes above it."""

    def __init__(self, console: Console, draw: Callable[[str], None]) -> None:
        super().__init__()
        self._above = console
        self._draw_footer = draw

    def note(self, text: str) -> None:
        if sys.stderr.isatty():
            self._above.print(visible(text))
        else:
            super().note(text)

    def clear(self) -> None:
        """Nothing to erase: the table shows the waits."""

    def _draw(self, wait: str) -> None:
        self._draw_footer(wait.removeprefix(", "))
