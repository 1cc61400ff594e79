"""`watch`: a table on a terminal, lines elsewhere, a summary and an exit code."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from klaviyo_variant_jobs import NEWEST
from klaviyo_variant_jobs.cli.asked import Asked
from klaviyo_variant_jobs.cli.board import ASCII_BARS, BARS, Board, line_of
from klaviyo_variant_jobs.cli.options import Surroundings
from klaviyo_variant_jobs.cli.stopped import Stopped
from klaviyo_variant_jobs.cli.watching import Block, run
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob, VirtualClock

if TYPE_CHECKING:
    from typing import NoReturn

    from cli.conftest import Attach, CommandLine

QUICK = SandboxJob(queued_seconds=8, processing_seconds=20, variants=4)


def with_jobs(cli: CommandLine, *jobs: SandboxJob) -> list[str]:
    cli.sandbox = Sandbox(jobs=0, clock=cli.clock)
    return [job.id for job in cli.sandbox.add_jobs(*jobs)]


def test_each_change_is_a_line_and_the_last_what_came_of_it(cli: CommandLine) -> None:
    (name,) = with_jobs(cli, QUICK)
    result = cli("watch", name)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"2026-11-02 09:00:00Z {name} queued 0/4 variants done"
    assert f"{name} processing 1/4 variants done" in lines[2]
    assert lines[-2].endswith(f"{name} complete 4/4 variants done")
    assert lines[-1] == "1 job: 1 complete; 4/4 variants done"
    assert result.stderr == ""


def test_errors_of_failed_variants_are_grouped_by_what_they_say(cli: CommandLine) -> None:
    price = {"detail": "The price is negative."}
    with_jobs(
        cli,
        SandboxJob(failed=2, errors=[{**price, "meta": {"external_id": str(n)}} for n in range(5)]),
        SandboxJob(failed=1, errors=[{"title": "Odd."}, price]),
    )
    result = cli("watch")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-3:] == [
        "2 jobs: 2 complete; 3/6 variants done, 3 failed",
        "   6 x The price is negative. (0, 1, 2, ...)",
        "   1 x Odd.",
    ]


def test_a_cancelled_job_exits_3(cli: CommandLine) -> None:
    with_jobs(cli, SandboxJob(cancelled=True), QUICK)
    result = cli("watch")
    assert result.exit_code == 3
    assert "2 jobs: 1 complete, 1 cancelled" in result.stdout


@pytest.mark.parametrize("timeout", ["90", "90s", "1.5m", "1.5 M"])
def test_time_that_runs_out_exits_4_with_what_is_known(cli: CommandLine, timeout: str) -> None:
    slow, _ = with_jobs(cli, SandboxJob(queued_seconds=1000), QUICK)
    result = cli("watch", "--timeout", timeout)
    assert result.exit_code == 4
    assert cli.clock.monotonic() == 90
    assert "2 jobs: 1 queued, 1 complete" in result.stdout
    assert result.stderr == f"error: not ended after 90 s: {slow} (1 of 2 jobs)\n"


@pytest.mark.parametrize("timeout", ["soon", "-5", "10 minutes", ""])
def test_a_timeout_that_is_no_duration_is_refused(cli: CommandLine, timeout: str) -> None:
    result = cli("watch", "--timeout", timeout)
    assert result.exit_code == 2
    assert "10m" in result.stderr


def test_ids_that_are_on_no_list_exit_1_after_the_others_have_ended(cli: CommandLine) -> None:
    (name,) = with_jobs(cli, QUICK)
    result = cli("watch", name, "NONE")
    assert result.exit_code == 1
    assert "1 job: 1 complete" in result.stdout
    assert "NONE" in result.stderr


def test_an_error_of_the_api_is_told_and_nothing_else(cli: CommandLine) -> None:
    with_jobs(cli, QUICK)
    cli.sandbox.fail_next(401)
    result = cli("watch")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: HTTP 401")


def test_nothing_to_watch_is_told(cli: CommandLine) -> None:
    with_jobs(cli)
    result = cli("watch")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no jobs\n")


def test_the_built_in_sandbox_moves_on_by_itself(cli: CommandLine) -> None:
    result = cli("watch", "--sandbox", transport=None, env={})
    assert result.exit_code == 3
    assert re.search(r"\d+ jobs: \d+ complete, \d+ cancelled; ", result.stdout)


def test_ctrl_c_exits_130_with_what_is_known(cli: CommandLine) -> None:
    with_jobs(cli, QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.clock, "sleep", _interrupt)
        patch.setattr(cli.clock, "wait", _interrupt)
        result = cli("watch")
    assert result.exit_code == 130
    assert "1 job: 1 queued" in result.stdout
    assert result.stderr == "interrupted\n"


def _interrupt(*arguments: object) -> NoReturn:
    raise KeyboardInterrupt


def test_control_characters_of_the_api_never_reach_the_terminal(cli: CommandLine) -> None:
    evil = "\x1b[2J\x9b31m\u202egnp.exe\x07"
    with_jobs(cli, SandboxJob(id=f"01{evil}", failed=1, errors=[{"detail": evil}]))
    result = cli("watch")
    assert result.exit_code == 3
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(result.stdout + result.stderr)


# On a terminal


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_test")


def watch(clock: VirtualClock, sandbox: Sandbox, *ids: str, timeout_s: float | None = None) -> int:
    return run(Asked(command="watch"), ids, timeout_s, Surroundings(clock, sandbox.transport()))


def frames(shown: str) -> list[str]:
    """What the terminal showed, one state after the other."""
    plain = re.split(r"(?:\r?\x1b\[2K|\x1b\[1A\x1b\[2K)+", shown)
    return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame) for frame in plain]


@pytest.mark.parametrize("columns", [120, 80, 40, 20])
def test_a_terminal_shows_a_table_that_fits(terminal: Attach, columns: int) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=0, clock=clock)
    sandbox.add_jobs(*[SandboxJob(variants=100, failed=7), *[SandboxJob(cancelled=True)] * 50])
    shown = terminal(columns=columns)
    assert watch(clock, sandbox) == 3
    states = frames(shown.getvalue())
    live, last = states[:-1], states[-1]
    assert any("processing" in state and BARS[0] in state for state in live)
    assert any("next look in" in state for state in live)
    for state in live:
        assert all(cell_len(line) <= columns for line in state.splitlines())
        assert len(state.splitlines()) <= 25
    assert "51 jobs: 1 complete, 50 cancelled" in " ".join(last.split())
    assert "7 failed" in " ".join(last.split())
    assert shown.getvalue().count("\x1b[?25l") == shown.getvalue().count("\x1b[?25h") == 1


def test_a_wait_stands_below_the_table(terminal: Attach) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=0, clock=clock)
    sandbox.add_jobs(SandboxJob())
    sandbox.fail_next(429)
    shown = terminal()
    with pytest.raises(Stopped) as stopped:
        watch(clock, sandbox, timeout_s=30)
    assert stopped.value.exit_code == 4
    assert "rate limited" in shown.getvalue()


def test_a_terminal_without_cursor_movement_gets_lines(terminal: Attach) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=0, clock=clock)
    sandbox.add_jobs(QUICK)
    shown = terminal(term="dumb")
    assert watch(clock, sandbox) == 0
    assert "processing 1/4" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()


def test_until_an_answer_comes_the_terminal_says_what_is_looked_for_and_what_failed(
    terminal: Attach,
) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=0, clock=clock)
    job, _ = sandbox.add_jobs(QUICK, QUICK)
    sandbox.fail_next(503)
    shown = terminal()
    with pytest.raises(Stopped):
        watch(clock, sandbox, job.id, "NONE", job.id)
    told = [state.splitlines() for state in frames(shown.getvalue())]
    assert ["looking for 2 jobs", "HTTP 503, trying again in 1 s"] in told
    assert any("1 of 2 jobs ended, 4/4 variants done" in state for state in told)
    assert not any("0 of 0" in line for state in told for line in state)


def test_lines_on_a_pipe_have_their_progress_on_the_terminal_beside_it(
    terminal: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=0, clock=clock)
    sandbox.add_jobs(QUICK)
    shown = terminal()
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert watch(clock, sandbox) == 0
    assert "looking for active jobs\x1b[K" in shown.getvalue()
    assert "0 of 1 job ended, 0/4 variants done, next look in 5 s" in shown.getvalue()


# The board by itself


def job(name: str, status: str, done: int = 0, total: int = 100, failed: int = 0) -> object:
    return msgspec.convert(
        {
            "type": "catalog-variant-bulk-create-job",
            "id": name,
            "attributes": {
                "status": status,
                "total_count": total,
                "completed_count": done,
                "failed_count": failed,
            },
        },
        type=NEWEST.load().job_model,
    )


def text_of(board: Board, width: int, height: int, now: float = 0.0) -> list[str]:
    return [line.plain for line in board.lines(width, height, now)]


def test_a_bar_is_done_failed_and_open_in_proportion() -> None:
    board = Board(ASCII_BARS)
    board.saw(job("A", "processing", done=50, failed=20), 0.0)
    (_, line) = text_of(board, 100, 9)
    bar = re.search(r"[#!-]+", line)
    assert bar is not None
    whole = len(bar[0])
    assert bar[0].count("#") == pytest.approx(whole * 0.5, abs=1)
    assert bar[0].count("!") == pytest.approx(whole * 0.2, abs=1)
    assert bar[0] == "".join(sorted(bar[0], key="#!-".index))


def test_rate_and_time_left_are_told_where_two_looks_tell_them() -> None:
    board = Board()
    board.saw(job("A", "processing", done=10), 0.0)
    assert text_of(board, 100, 9)[1].split()[-1] == "0", "one look tells no rate"
    board.saw(job("A", "processing", done=30), 10.0)
    assert text_of(board, 100, 9, 10.0)[1].split()[-3:] == ["2.0", "35", "s"]
    assert text_of(board, 100, 9, 20.0)[1].split()[-3:] == ["2.0", "25", "s"]
    assert text_of(board, 100, 9, 99.0)[1].split()[-2:] == ["2.0", "soon"]
    board.saw(job("A", "complete", done=100), 50.0)
    assert text_of(board, 100, 9, 50.0)[1].split()[-1] == "0"


def test_jobs_at_work_come_first_and_those_without_room_are_counted() -> None:
    board = Board()
    for n in range(30):
        board.saw(job(f"C{n}", "complete", done=100), 0.0)
    board.saw(job("Q", "queued"), 0.0)
    board.saw(job("P", "processing"), 0.0)
    board.saw(job("F", "complete", done=99, failed=1), 0.0)
    shown = text_of(board, 100, 10)
    assert [line.split()[0] for line in shown[1:5]] == ["P", "Q", "F", "C0"]
    assert shown[-1] == "and 25 more: 25 complete"
    assert len(shown) == 10


@pytest.mark.parametrize("width", [72, 80])
def test_a_long_id_is_shortened_in_the_middle_and_every_column_is_shown(width: int) -> None:
    board = Board()
    board.saw(job("01M1PADXEW6S9KKAEWJYE4HS00-and-17-more-tail", "processing", done=5), 0.0)
    board.saw(job("01M1PADXEW6S9KKAEWJYE4HS01", "queued"), 0.0)
    heading, long, usual = _printed(board, width, 9)
    assert heading.split() == ["job", "status", "done", "failed", "/s", "left"]
    assert re.match(r"01M1PADXEW6S\S*…\S*-more-tail  processing ", long)
    assert usual.startswith("01M1PADXEW6S9KKAEWJYE4HS01 ")


def test_what_is_done_is_what_is_complete_and_not_what_has_failed() -> None:
    board = Board()
    tracked = board.saw(job("A", "processing", done=90, failed=7), 0.0)
    for line in (*text_of(board, 100, 9)[1:], *text_of(board, 40, 9)[1:]):
        assert " 90/100 " in line
    for line in (board.told(), *board.summary(), line_of(tracked)):
        assert "90/100 variants done, 7 failed" in line


@pytest.mark.parametrize("width", [10, 20, 39, 40, 71, 72, 80, 200])
@pytest.mark.parametrize("height", [1, 5, 50])
def test_a_table_fits_any_width(width: int, height: int) -> None:
    board = Board()
    for n, status in enumerate(["queued", "processing", "complete", "cancelled", "paused"] * 3):
        board.saw(job(f"01M1PADXEW6S9KKAEWJYE4HS{n:02}", status, done=5 * n, failed=n), 0.0)
    for line in _printed(board, width, height):
        assert cell_len(line) <= width


def _printed(board: Board, width: int, height: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(Block(list(board.lines(width, height, 0.0))))
    return capture.get().splitlines()
