"""Standard streams as a command may find them: closed, full, or without letters for the data."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any


def prepare() -> None:
    """Have stdout take any text, and stderr fail at nothing. Exits when stdout is closed."""
    # A closed stream's number goes to the next file that is opened, so let that be this one: else
    # it would be a connection, and what is meant for the stream would go into it.
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - open to the end
    if sys.stdout is None:
        sys.exit("klaviyo-variant-jobs: standard output is closed; give it a file or a pipe")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPING)
    with contextlib.suppress(io.UnsupportedOperation):  # A test's has no number.
        sys.stderr = _never_failing(sys.stderr.fileno(), sys.stderr.encoding)


def finish() -> None:
    """Write what stdout holds back; drop what it does not take, else Python fails on it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _never_failing(number: int, encoding: str) -> io.TextIOWrapper:
    raw = _Unfailing(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True
    )


class _Unfailing(io.FileIO):
    """Drops what it cannot write: a full disk under stderr is not to change how a command ends."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return super().write(data) or len(data)
        return len(data)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """As JSON escapes it, which is right within JSON and can be read anywhere else."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


_ESCAPING = "klaviyo_variant_jobs.escape"
codecs.register_error(_ESCAPING, _escape)
