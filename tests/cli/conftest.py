"""The command line in this process, against a sandbox in virtual time."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from klaviyo_variant_jobs.cli.commands import commands
from klaviyo_variant_jobs.cli.options import Surroundings
from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock


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


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


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
