"""The command line in this process, against a sandbox in virtual time."""

from __future__ import annotations

import io
import itertools
import json
import re
import shlex
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from klaviyo_variant_jobs.cli.commands import commands
from klaviyo_variant_jobs.cli.options import Surroundings
from klaviyo_variant_jobs.sandbox import Request, Response, Sandbox, VirtualClock


@attrs.define
class CommandLine:
    """Runs commands; `sandbox` answers them."""

    clock: VirtualClock = attrs.field(factory=VirtualClock)
    sandbox: Sandbox = attrs.field()

    @sandbox.default
    def _sandbox(self) -> Sandbox:
        return Sandbox(jobs=250, clock=self.clock)

    def __call__(self, *arguments: str, **options: Any) -> Result:
        transport = options.pop("transport", self.sandbox.transport())
        surroundings = Surroundings(clock=self.clock, transport=transport)
        options.setdefault("env", {"KLAVIYO_API_KEY": "pk_test"})
        return CliRunner().invoke(
            commands, arguments, obj=surroundings, prog_name="klaviyo-variant-jobs", **options
        )


@pytest.fixture
def cli() -> CommandLine:
    return CommandLine()


def ids(result: Result) -> list[str]:
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def to_go_on(result: Result) -> list[str]:
    """The arguments of the command that stderr tells to go on with."""
    match = re.search(r"go on with: klaviyo-variant-jobs (.+)", result.stderr)
    assert match is not None, result.stderr
    return shlex.split(match[1])


def fail_on_page(cli: CommandLine, page: int, *, error: type[BaseException] | None = None) -> None:
    """Refuse the request for that page of the next listing, or raise in the midst of it."""
    handle = cli.sandbox.handle
    requests = itertools.count(1)

    def failing(request: Request) -> Response:
        if next(requests) == page:
            if error is not None:
                raise error
            cli.sandbox.fail_next(403)
        return handle(request)

    cli.sandbox.handle = failing  # type: ignore[method-assign]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """What was written, without colours and what stood on the progress line."""
        text = re.sub(r"\r[^\n]*\x1b\[K", "", self.getvalue())
        return re.sub(r"\x1b\[[0-9;]*m", "", text)


Attach = Callable[..., Terminal]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Attach:
    """Makes standard output and error one terminal; for the test to call, since pytest sets its
    own streams once fixtures are made."""

    def attach(*, columns: int = 80, term: str = "xterm-256color") -> Terminal:
        shown = Terminal()
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", "25")
        monkeypatch.setattr("sys.stdout", shown)
        monkeypatch.setattr("sys.stderr", shown)
        return shown

    return attach
