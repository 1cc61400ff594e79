"""Standard streams that are closed, full, or whose encoding lacks characters of the data."""

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
    """Make stdout accept any text and stderr never fail. Exits if stdout is closed."""
    # The next file that is opened gets the number of a closed stream. Let that be os.devnull: if it
    # were a connection, text for the stream would go to the server.
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - open to the end
    if sys.stdout is None:
        sys.exit("klaviyo-variant-jobs: standard output is closed; give it a file or a pipe")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPING)
    with contextlib.suppress(io.UnsupportedOperation):  # A test's stream has no fileno.
        sys.stderr = _never_failing(sys.stderr.fileno(), sys.stderr.encoding)


def finish() -> None:
    """Flush stdout. If that fails, drop the rest, or Python would fail on it again at exit."""
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
    """Drops what it cannot write: a full disk under stderr must not change the exit code."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return super().write(data) or len(data)
        return len(data)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Escape as JSON does: valid inside JSON, and readable elsewhere."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


_ESCAPING = "klaviyo_variant_jobs.escape"
codecs.register_error(_ESCAPING, _escape)
