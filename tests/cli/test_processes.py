"""What only a process of its own shows: exit codes, signals, pipes, terminals."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx
import pytest

from klaviyo_variant_jobs import REVISIONS
from klaviyo_variant_jobs.cli import main
from klaviyo_variant_jobs.sandbox import Fault, Request, Response, Sandbox, SandboxJob

COMMAND = [sys.executable, "-m", "klaviyo_variant_jobs.cli"]
ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
    "KLAVIYO_API_KEY": "pk_test",
}
posix_only = pytest.mark.skipif(
    os.name != "posix", reason="signals and terminals as POSIX has them"
)


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
    )


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `"$@"` is the command."""
    return subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND],
        text=True,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["list", "--status", "done", "--sandbox"], 2), (["nothing"], 2)],
)
def test_the_exit_code_tells_success_from_a_wrong_command_line(
    arguments: list[str], code: int
) -> None:
    process = start(*arguments)
    process.communicate()
    assert process.returncode == code


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("sandbox", "--port", str(taken.getsockname()[1]))
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("Error: cannot serve on port")
    assert err.count("\n") == 1


def test_an_error_of_the_api_exits_1() -> None:
    sandbox = Sandbox(jobs=1)
    sandbox.fail_next(Fault(status=401))
    with sandbox.serve() as server:
        process = start("list", "--base-url", server.base_url)
        _, told = process.communicate()
    assert process.returncode == 1
    assert told.startswith("error: HTTP 401")


@posix_only
def test_a_closed_pipe_ends_the_listing_quietly() -> None:
    process = start("list", "--sandbox", "--output", "ndjson")
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


class _Stalling(Sandbox):
    """Has the client wait before its second page, until `stalls` is False."""

    stalls = True

    def __init__(self) -> None:
        super().__init__(jobs=150)
        self.asked_for_more = threading.Event()

    def handle(self, request: Request) -> Response:
        if self.stalls and "cursor" in request.query:
            self.fail_next(Fault(status=429, retry_after=100))
            self.asked_for_more.set()
        return super().handle(request)


def go_on_with(told: str) -> list[str]:
    """The arguments of the command that stderr tells to go on with."""
    match = re.search(r"go on with: klaviyo-variant-jobs (.+)", told)
    assert match is not None, told
    return shlex.split(match[1])


@posix_only
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_prints_a_checkpoint_that_loses_nothing(number: signal.Signals, code: int) -> None:
    sandbox = _Stalling()
    with sandbox.serve() as server:
        process = start("list", "--output", "ndjson", "--base-url", server.base_url)
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            lines = [process.stdout.readline() for _ in range(100)]
            # Between a row and the place after it a signal would have the row repeated.
            assert sandbox.asked_for_more.wait(30)
            process.send_signal(number)
            told = process.stderr.read()
        assert process.returncode == code
        assert "interrupted\ncheckpoint kvj1." in told
        sandbox.stalls = False
        rest, _ = start(*go_on_with(told)).communicate()
    listed = [json.loads(line)["id"] for line in lines + rest.splitlines()]
    assert listed == [job.id for job in sandbox.jobs]


@posix_only
def test_a_signal_while_a_table_is_written_goes_on_from_the_start() -> None:
    with Sandbox(jobs=3000).serve() as server:
        process = start("list", "--base-url", server.base_url)
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            assert process.stdout.readline().startswith(
                "id "
            )  # The rest is more than a pipe holds.
            process.send_signal(signal.SIGINT)
            process.stdout.readlines()
            told = process.stderr.read()
    assert process.returncode == 130
    assert "\n0 jobs written; go on with" in told


@posix_only
def test_nobody_has_to_read_what_was_written_for_the_checkpoint_to_be_told() -> None:
    sandbox = _Stalling()
    with sandbox.serve() as server:
        process = start("list", "--output", "ndjson", "--base-url", server.base_url)
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            process.stdout.readline()  # The rest of the page is more than a pipe holds.
            process.send_signal(signal.SIGTERM)
            assert process.stderr.readline() == "interrupted\n"
            assert process.stderr.readline().startswith("checkpoint kvj1.")
            process.send_signal(signal.SIGTERM)
        # The second signal ends it at once where the first has found the pipe full already.
        assert process.returncode in (143, -signal.SIGTERM)


@posix_only
@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
@pytest.mark.parametrize("command", ["list", "errors"])
def test_a_full_disk_is_told_in_one_line_with_a_checkpoint(command: str, output: str) -> None:
    ended = shell(f'"$@" {command} --sandbox --output {output} > /dev/full')
    assert ended.returncode == 1
    first, *where = ended.stderr.splitlines()
    assert first == "error: cannot write to standard output: No space left on device"
    assert where[0].startswith("checkpoint kvj1.")
    assert re.match(r"\d+ jobs written; go on with: ", where[1])
    assert len(where) == 2


@posix_only
@pytest.mark.parametrize("command", ["revisions", "--version", "--help", "list --help"])
def test_a_full_disk_is_told_in_one_line_by_the_other_commands(command: str) -> None:
    ended = shell(f'"$@" {command} > /dev/full')
    assert ended.returncode == 1
    assert ended.stderr == "error: cannot write to standard output: No space left on device\n"


@posix_only
@pytest.mark.parametrize(
    "command", ["list --sandbox", "errors --sandbox", "revisions", "--version", "sandbox"]
)
def test_a_closed_stdout_is_told_in_one_line(command: str) -> None:
    ended = shell(f'"$@" {command} >&-')
    assert ended.returncode == 1
    assert ended.stderr == (
        "klaviyo-variant-jobs: standard output is closed; give it a file or a pipe\n"
    )


@posix_only
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>&- <&-"])
@pytest.mark.parametrize(("arguments", "code"), [("", 0), ("--status done", 2)])
def test_a_stderr_that_takes_nothing_changes_nothing_else(
    arguments: str, code: int, stderr: str
) -> None:
    # This revision is told to be deprecated, on stderr.
    command = f'"$@" list --sandbox --revision {REVISIONS[0].date} {arguments} --output ndjson'
    ended = shell(f"{command} {stderr}")
    assert ended.returncode == code
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == (0 if code else 300)


@posix_only
@pytest.mark.parametrize("command", ["list --sandbox", "revisions", "--version", "--help"])
def test_a_pipe_that_nobody_reads_ends_every_command_quietly(command: str) -> None:
    ended = shell(f'{{ "$@" {command}; echo "ended with $?" >&2; }} | true')
    assert ended.stderr == "ended with 0\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_can_be_read_whatever_letters_stdout_has(encoding: str) -> None:
    status = "\u00e9\u20ac\U0001f600"
    with Sandbox(jobs=[SandboxJob(status=status)]).serve() as server:
        asked = ("list", "--output", "ndjson", "--base-url", server.base_url)
        process = subprocess.run(
            [*COMMAND, *asked],
            capture_output=True,
            check=True,
            env={**ENVIRONMENT, "PYTHONIOENCODING": encoding},
        )
    assert json.loads(process.stdout.decode(encoding))["attributes"]["status"] == status


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_tells_its_url_first_and_ends_with_a_signal(number: signal.Signals) -> None:
    server = start("sandbox", "--jobs", "7")
    assert server.stdout is not None
    assert server.stderr is not None
    with server:
        url = server.stdout.readline().strip()
        out, _ = start("list", "--output", "ndjson", "--base-url", url).communicate()
        server.send_signal(number)
        told = server.stderr.read()
    assert server.returncode == 0
    assert len(out.splitlines()) == 7
    assert f"list --base-url {url}" in told
    assert "Traceback" not in told


@posix_only
def test_the_sandbox_can_be_told_what_goes_wrong_by_another_program() -> None:
    server = start("sandbox", "--jobs", "0", "--control")
    assert server.stdout is not None
    assert server.stderr is not None
    with server:
        url = server.stdout.readline().strip()
        assert httpx.post(f"{url}/sandbox/faults", json=[401]).json() == {"faults_left": 1}
        _, told = start("list", "--base-url", url).communicate()
        server.send_signal(signal.SIGINT)
        assert f"{url}/sandbox/faults" in server.stderr.read()
    assert "HTTP 401" in told


def shown_on_terminal(columns: int, **environment: str) -> str:
    """What a terminal of that width gets to see."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, "list", "--sandbox", "--limit", "4", "--status", "complete"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**ENVIRONMENT, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    pieces: list[bytes] = []
    try:
        while piece := os.read(ours, 65536):
            pieces.append(piece)
    except OSError:  # How Linux says that the other end was closed.
        pass
    os.close(ours)
    assert process.wait() == 0
    return b"".join(pieces).decode()


@posix_only
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_everything_fits_a_terminal_of_any_width(columns: int) -> None:
    shown = shown_on_terminal(columns)
    table = shown.rpartition("\r\x1b[K")[2]
    lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in table.splitlines()]
    rows = [line for line in lines if not line.startswith("no room for")]
    assert max(map(len, rows)) <= columns
    assert sum("complete" in row.split() for row in rows) == 4
    assert ("no room for" in table) == (columns == 80)


@posix_only
def test_no_color_is_respected() -> None:
    coloured = re.compile(r"\x1b\[[0-9;]*3\d")
    assert coloured.search(shown_on_terminal(200))
    assert not coloured.search(shown_on_terminal(200, NO_COLOR="1"))


@pytest.fixture
def _process_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the entry point changes for its process is put back."""
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("library", ["click", "rich"])
@pytest.mark.usefixtures("_process_kept")
def test_without_the_extra_one_line_says_how_to_get_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == (
        f"klaviyo-variant-jobs: the command line needs {library}, which is not installed; "
        "get it with: pip install 'klaviyo-variant-jobs[cli]'"
    )


@pytest.mark.usefixtures("_process_kept")
def test_the_entry_point_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["klaviyo-variant-jobs", "--version"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("klaviyo-variant-jobs ")
