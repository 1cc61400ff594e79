"""The exception of a command that cannot continue."""

from __future__ import annotations

import re
from typing import Any

import click

from .text import visible


class Stopped(click.ClickException):
    """Ends the command with `code`, and writes the lines to stderr."""

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(visible(line) for line in lines))
        self.exit_code = code  # type: ignore[misc]  # a ClassVar in click

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


def failed(failure: Exception) -> str:
    """The message for an error of the library."""
    # The API points at the whole document where it has nothing to point at.
    return "error: " + re.sub(r" \(at /data/?\)", "", str(failure))


def unwritten(error: OSError) -> str:
    """The message for a failed write to stdout."""
    return f"error: cannot write to standard output: {error.strerror or error}"
