"""The signals that stop a command: SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn

_ASKING_TO_STOP = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM; code that handles Ctrl-C handles it too."""


def watch() -> None:
    """Have SIGTERM raise `Terminated`, as Ctrl-C raises `KeyboardInterrupt`."""
    signal.signal(signal.SIGTERM, _terminate)


def ignore() -> None:
    """Ignore signals while the last messages are written; no effect unless `watch` was called."""
    if signal.getsignal(signal.SIGTERM) is _terminate:
        _handle_by(signal.SIG_IGN)


def release() -> None:
    """Let a signal end the process at once: all messages are written."""
    _handle_by(signal.SIG_DFL)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """The exit code that shells use for the signal: 130 or 143."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _handle_by(handler: Any) -> None:
    for number in _ASKING_TO_STOP:
        signal.signal(number, handler)
