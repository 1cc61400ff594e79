"""The signals that ask a command to stop: Ctrl-C, and SIGTERM as service managers send it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn

_ASKING_TO_STOP = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; whatever minds Ctrl-C minds it too."""


def watch() -> None:
    """Have SIGTERM raise `Terminated`, as Ctrl-C raises `KeyboardInterrupt`."""
    signal.signal(signal.SIGTERM, _terminate)


def ignore() -> None:
    """Let nothing interrupt the last words; does nothing where `watch` was not called."""
    if signal.getsignal(signal.SIGTERM) is _terminate:
        _handle_by(signal.SIG_IGN)


def release() -> None:
    """Let a signal end the process at once, without a word: all words have been said."""
    _handle_by(signal.SIG_DFL)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """What a shell calls the end by that signal: 130 or 143."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _handle_by(handler: Any) -> None:
    for number in _ASKING_TO_STOP:
        signal.signal(number, handler)
