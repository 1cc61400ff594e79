"""The README's examples, run as they stand against the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from klaviyo_variant_jobs import REVISIONS
from klaviyo_variant_jobs.clock import SYSTEM_CLOCK
from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock
from tooling.valkey import Valkey, server_program

ROOT = Path(__file__).parent.parent
KEPT = [revision.date for revision in REVISIONS]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
# One that begins with the name of a file is a file of somebody's tests.
FILES = {found[1]: text for text in PYTHON if (found := re.match(r"# (\w+\.py)\n", text))}
EXAMPLES = [text for text in PYTHON if text not in FILES.values()]
COMMANDS = [
    line.partition("#")[0].partition(">")[0].strip()
    for kind, text in BLOCKS
    for line in text.splitlines()
    if kind == "sh" and line.startswith("klaviyo-variant-jobs ")
]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A fake API where clients expect the real one, and no waiting; the loopback stays real."""
    clock = VirtualClock()
    sandbox = Sandbox(jobs=250, clock=clock)
    answers = sandbox.transport()
    really = httpx.HTTPTransport.handle_request
    really_async = httpx.AsyncHTTPTransport.handle_async_request

    def handle(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.url.host == "127.0.0.1":
            return really(transport, request)
        return answers.handle_request(request)

    async def handle_async(
        transport: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        if request.url.host == "127.0.0.1":
            return await really_async(transport, request)
        return await answers.handle_async_request(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    for name in ("monotonic", "time", "random", "sleep", "wait"):
        monkeypatch.setattr(SYSTEM_CLOCK, name, getattr(clock, name))
    monkeypatch.setattr(asyncio, "run", clock.run)
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.lower(), raising=False)
    monkeypatch.setenv("KLAVIYO_API_KEY", f"pk_readme_{time.monotonic_ns()}")
    return sandbox


@pytest.fixture
def shared_quota(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Redis server for the example that wants one, where there is a program for it."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(Valkey()).port if server_program() else 1
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
        yield


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Takes back what an example sets."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


def test_every_block_says_what_it_is_and_there_are_examples() -> None:
    assert {kind for kind, _ in BLOCKS} == {"python", "sh"}
    assert len(EXAMPLES) >= 14
    assert set(FILES) == {"conftest.py", "test_report.py"}


def test_the_quickstart_has_at_most_twelve_lines() -> None:
    assert len(EXAMPLES[0].splitlines()) <= 12


@pytest.mark.usefixtures("shared_quota", "quiet_logging")
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str, live: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), scope)
    if "rest" in scope:
        assert len([*scope["first"], *scope["rest"]]) == 250
    # Those with a sandbox of their own ask no other.
    assert bool(live.requests) != ("Sandbox(" in example)
    shown = capsys.readouterr().out
    assert bool(shown) == ("print(" in example)


def test_the_tests_it_shows_pass_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_a_type_checker_is_content_with_the_examples(tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(example, encoding="utf-8")
    ran = subprocess.run(
        # Not all functions of the oldest redis-py that we work with have types.
        [sys.executable, "-m", "mypy", "--strict", "--untyped-calls-exclude=redis", "."],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_line_it_shows_can_be_parsed(command: str) -> None:
    from klaviyo_variant_jobs.cli.commands import commands

    _, name, *arguments = shlex.split(command)
    commands.commands[name].make_context(name, arguments)


@pytest.mark.skipif("2022-10-17" not in KEPT, reason="the revision is no longer kept")
def test_it_warns_of_the_retired_revision_before_the_first_example() -> None:
    # scripts/retire finds the paragraph by these words, and removes it.
    assert README.index("\n\n> **Revision 2022-10-17 is retired") < README.index("```python")


@pytest.mark.parametrize("name", ["README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"])
def test_the_commands_and_files_it_names_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    commands = set(re.findall(r"scripts/([a-z]+)\b(?!/)", text))
    assert commands
    for command in commands:
        assert (ROOT / "scripts" / command).stat().st_mode & 0o111, command
    for path in re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:md|py|yml|json))`", text):
        assert (ROOT / path).exists() or list(ROOT.glob(f".github/**/{path}")), path


@functools.cache
def anchors() -> set[str]:
    titles = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_chapter_is_in_the_list_of_chapters() -> None:
    chapters = re.findall(r"^## (.+)$", README, re.MULTILINE)
    assert chapters == re.findall(r"\[([^]]+)\]\(#[^)]+\)(?: ·|\n\n)", README)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_a_link_works_on_a_package_index_too(target: str) -> None:
    # A relative path leads nowhere there.
    assert target.startswith("https://") or target[1:] in anchors()
