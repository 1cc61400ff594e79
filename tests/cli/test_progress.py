"""The line on a terminal's stderr."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from klaviyo_variant_jobs import NEWEST, ServerError
from klaviyo_variant_jobs.cli.asked import Asked
from klaviyo_variant_jobs.cli.listing import run
from klaviyo_variant_jobs.cli.options import Surroundings
from klaviyo_variant_jobs.cli.progress import Progress, WatchedClock
from klaviyo_variant_jobs.cli.rows import job_layout
from klaviyo_variant_jobs.events import PageRead, RequestFailed, Waiting, Why
from klaviyo_variant_jobs.sandbox import Delivery, Fault, Sandbox, VirtualClock

if TYPE_CHECKING:
    from cli.conftest import Attach, Terminal

FACTS: dict[str, Any] = {"client": None, "revision": NEWEST.date}


def failed(error: Exception) -> RequestFailed:
    return RequestFailed(attempt=1, error=error, **FACTS)


def waiting(why: Why) -> Waiting:
    return Waiting(seconds=1.0, why=why, reason="", **FACTS)


def read(jobs: int) -> PageRead:
    return PageRead(
        jobs=jobs, anomalies=0, attempts=1, waited_s=0.0, elapsed_s=0.0, request_id=None, **FACTS
    )


def listing(*, output: str, faults: tuple[Fault | int, ...]) -> None:
    clock = VirtualClock()
    sandbox = Sandbox(jobs=150, clock=clock)
    sandbox.fail_next(*faults)
    run(
        Asked(command="list", output=output),
        Surroundings(clock, sandbox.transport()),
        job_layout,
        lambda job: [job],
    )


def drawn(shown: Terminal) -> list[str]:
    """The states of the progress line, in order."""
    return re.findall(r"\r([^\r\x1b\n]+)\x1b\[K", shown.getvalue())


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_test")


def test_pages_jobs_and_waits_are_counted_on_one_line(terminal: Attach) -> None:
    shown = terminal()
    listing(output="table", faults=(Fault(status=429, retry_after=12),))
    states = drawn(shown)
    assert states[:4] == [
        "0 pages, 0 jobs",
        "0 pages, 0 jobs, rate limited, 12 s",
        "0 pages, 0 jobs, rate limited, 11 s",
        "0 pages, 0 jobs, rate limited, 10 s",
    ]
    assert "1 page, 100 jobs" in states
    assert states[-1] == "2 pages, 150 jobs"


def test_an_answer_that_is_no_page_is_not_counted_and_its_wait_says_so(terminal: Attach) -> None:
    shown = terminal()
    listing(output="table", faults=(Fault(status=200, body="<html>"),) * 2)
    states = drawn(shown)
    assert states[1] == "0 pages, 0 jobs, an answer that is no page, trying again in 1 s"
    assert not any("pacing" in state for state in states)
    assert states[-1] == "2 pages, 150 jobs"


def test_the_line_is_gone_before_the_table_is_written(terminal: Attach) -> None:
    shown = terminal()
    listing(output="table", faults=())
    before, _, after = shown.getvalue().rpartition("\r\x1b[K")
    assert "2 pages" in before
    assert "pages" not in after
    assert "status" in after


def test_rows_on_the_same_terminal_do_not_run_into_the_line(terminal: Attach) -> None:
    shown = terminal()
    listing(output="ndjson", faults=())
    rows = [line.rpartition("\x1b[K")[2] for line in shown.getvalue().splitlines()]
    assert len([json.loads(row) for row in rows if row]) == 150


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(status=503, retry_after=3), "HTTP 503, trying again in 3 s"),
        (Fault(delivery=Delivery.DROP), "closed the connection unanswered, trying again in"),
    ],
)
def test_a_wait_says_what_it_is_for(terminal: Attach, fault: Fault, told: str) -> None:
    shown = terminal()
    listing(output="table", faults=(fault,))
    assert told in "\n".join(drawn(shown))


def test_waiting_for_the_quota_is_called_pacing(terminal: Attach) -> None:
    shown = terminal()
    progress = Progress()
    progress.heard(read(7))
    progress.heard(waiting("quota"))
    progress.waiting(5.0)
    assert drawn(shown)[-1] == "1 page, 7 jobs, pacing, 5 s"


def test_the_line_is_cut_to_the_width_of_the_terminal(
    terminal: Attach,
) -> None:
    shown = terminal(columns=20)
    Progress().waiting(5.0)
    assert len(drawn(shown)[0]) < 20
    shown = terminal(columns=0)
    Progress().waiting(5.0)
    assert shown.getvalue() == "\r\x1b[K"


def test_a_terminal_without_cursor_movement_gets_no_line(
    terminal: Attach,
) -> None:
    shown = terminal(term="dumb")
    Progress().waiting(5.0)
    assert shown.getvalue() == ""


def test_without_a_terminal_only_notes_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.note("something to know\x07")
    assert capsys.readouterr().err == "something to know\\x07\n"


def test_without_a_terminal_an_outage_is_told_at_once_and_now_and_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    clock = WatchedClock(VirtualClock(), progress)
    progress.heard(failed(ConnectionRefusedError("[Errno 111] Connection refused")))
    progress.heard(waiting("backoff"))
    clock.sleep(40.0)
    progress.heard(failed(ServerError("HTTP 503", status_code=503)))
    progress.heard(waiting("retry-after"))
    clock.sleep(25.0)
    refused = "connection refused, trying again in"
    assert capsys.readouterr().err.splitlines() == [
        f"{refused} 40 s",
        f"{refused} 10 s",
        "HTTP 503, trying again in 25 s",
    ]
    progress.heard(read(1))
    clock.sleep(100.0)
    assert capsys.readouterr().err == ""


def test_a_watched_clock_keeps_the_time_of_the_clock_it_watches() -> None:
    clock = VirtualClock()
    watched = WatchedClock(clock, Progress())
    assert not watched.wait(threading.Event(), 2.5)
    watched.sleep(1.0)
    assert clock.monotonic() == watched.monotonic() == 3.5
    assert watched.time() == clock.time()
