"""The README's examples, run as they stand against the sandbox."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest

from klaviyo_variant_jobs.sandbox import Sandbox

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A fake API where clients without a transport of their own expect the real one."""
    sandbox = Sandbox(jobs=250)
    answers = sandbox.transport()
    monkeypatch.setattr(
        httpx.HTTPTransport, "handle_request", lambda _, request: answers.handle_request(request)
    )
    monkeypatch.setattr(
        httpx.AsyncHTTPTransport,
        "handle_async_request",
        lambda _, request: answers.handle_async_request(request),
    )
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.lower(), raising=False)
    monkeypatch.setenv("KLAVIYO_API_KEY", f"pk_readme_{time.monotonic_ns()}")
    return sandbox


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_and_is_short(example: str, live: Sandbox) -> None:
    scope: dict[str, object] = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), scope)
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    if "rest" in scope:
        assert len([*scope["first"], *scope["rest"]]) == 250  # type: ignore[misc]
    # The last example brings a sandbox of its own, which the patched classes do not touch.
    assert bool(live.requests) == ("Sandbox(" not in example)


@pytest.mark.parametrize("command", ["scripts/demo", "scripts/test", "scripts/regenerate"])
def test_the_commands_it_names_exist(command: str) -> None:
    assert command in README
    assert (Path(__file__).parent.parent / command).stat().st_mode & 0o111
