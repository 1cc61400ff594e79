"""How a command says that it cannot go on."""

from __future__ import annotations

from typing import Any

import click

from .text import visible


class Stopped(click.ClickException):
    """Ends the command with `code` and its message on stderr, a line each."""

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(visible(line) for line in lines))
        self.exit_code = code  # type: ignore[misc]  # of the class, says click

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


def unwritten(error: OSError) -> str:
    """What to say when stdout does not take the data."""
    return f"error: cannot write to standard output: {error.strerror or error}"
