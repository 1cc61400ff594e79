"""Tables fit the terminal they are shown on and never cut data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from klaviyo_variant_jobs import NEWEST, Client
from klaviyo_variant_jobs.cli.output import Layout, open_writer
from klaviyo_variant_jobs.cli.rows import ERROR_LAYOUT, error_rows, job_layout
from klaviyo_variant_jobs.cli.table import Column, render
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob, VirtualClock

if TYPE_CHECKING:
    from cli.conftest import Attach
    from klaviyo_variant_jobs_api.registry import NewestJob

EXTERNAL_ID = "SHIRT-2026-SUMMER-BLUE-XL-0017"
POINTER = "/data/attributes/variants/data/17/attributes/external_id"
DETAIL = "The price of this variant is negative, which no variant's price may be."


@pytest.fixture(scope="module")
def jobs() -> list[NewestJob]:
    clock = VirtualClock()
    failed = SandboxJob(
        status="complete",
        variants=100,
        failed=1,
        errors=[
            {
                "detail": DETAIL,
                "source": {"pointer": POINTER},
                "meta": {"external_id": EXTERNAL_ID},
            }
        ],
    )
    sandbox = Sandbox(jobs=[failed, SandboxJob(variants=100)], clock=clock)
    http_client = httpx.Client(transport=sandbox.transport())
    with http_client, Client("pk_test", http_client=http_client, clock=clock) as client:
        return list(client.iter_jobs())


def shown(layout: Layout[Any], items: list[Any]) -> tuple[str, list[str]]:
    """The plain text of a table on the terminal, and what had no room."""
    rows = [[(column.brief or column.cell)(item) for column in layout.columns] for item in items]
    text, left_out = render(layout.columns, rows)
    return re.sub(r"\x1b\[[0-9;]*m", "", text), left_out


def errors(jobs: list[NewestJob]) -> list[Any]:
    return [row for job in jobs for row in error_rows(job)]


@pytest.mark.parametrize("width", [40, 79, 80, 120, 200])
def test_no_line_of_jobs_is_wider_than_the_terminal_and_nothing_is_cut(
    jobs: list[NewestJob], terminal: Attach, width: int
) -> None:
    terminal(columns=width)
    layout = job_layout(NEWEST, ())
    text, left_out = shown(layout, list(jobs))
    assert max(map(len, text.splitlines())) <= width
    for column in layout.columns:
        assert column.heading in left_out or all(column.cell(job) in text for job in jobs)
    assert "…" not in text


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (76, "SHIRT-20…-XL-0017  variants/17 external_id  The price of this variant is…"),
        (80, "SHIRT-2026…UE-XL-0017  variants/17 external_id  The price of this variant is…"),
        (
            100,
            "SHIRT-2026-SUMMER-BLUE-XL-0017  variants/17 external_id  "
            "The price of this variant is negative, w…",
        ),
    ],
)
def test_an_error_is_one_line_below_its_job_with_each_text_as_long_as_there_is_room(
    jobs: list[NewestJob], terminal: Attach, width: int, line: str
) -> None:
    terminal(columns=width)
    text, left_out = shown(ERROR_LAYOUT, errors(jobs))
    heading, job, error = text.splitlines()
    assert heading.split() == ["external", "id", "pointer", "detail"]
    assert job == f"{jobs[0].id}  1 of 100 failed"
    assert error.split() == line.split()
    assert len(error) <= width
    assert left_out[-1] == "whole detail"


def test_a_wide_terminal_shows_errors_whole(jobs: list[NewestJob], terminal: Attach) -> None:
    terminal(columns=200)
    text, left_out = shown(ERROR_LAYOUT, errors(jobs))
    assert text.splitlines()[2] == f"  {EXTERNAL_ID}  variants/17 external_id  {DETAIL}"
    assert left_out == []


@pytest.mark.parametrize(
    ("pointer", "told"),
    [
        ("/data/attributes/variants/data/3", "variants/3"),
        ("/data/attributes/variants/data/3/attributes/price", "variants/3 price"),
        ("/data", "/data"),
        (None, "-"),
    ],
)
def test_a_terminal_shows_of_a_pointer_what_differs(pointer: str | None, told: str) -> None:
    assert ERROR_LAYOUT.columns[2].brief is not None
    assert ERROR_LAYOUT.columns[2].brief({"pointer": pointer}) == told


def test_a_job_whose_counts_are_unknown_stands_above_its_errors_alone() -> None:
    assert ERROR_LAYOUT.columns[0].brief is not None
    row = {"job": "A", "failed": None, "total": 5}
    assert ERROR_LAYOUT.columns[0].brief(row) == "A"


def test_wide_characters_are_counted_as_the_cells_they_take(terminal: Attach) -> None:
    terminal(columns=12)
    columns = [Column("a", str, least=4), Column("b", str)]
    text, left_out = render(columns, [["日本語日本語", "x"]])
    assert re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() == ["a          b", "日本…本語  x"]
    assert left_out == ["whole a"]


def test_at_80_columns_a_job_is_one_line_and_what_had_no_room_is_told(
    jobs: list[NewestJob], terminal: Attach
) -> None:
    terminal(columns=80)
    text, left_out = shown(job_layout(NEWEST, ()), list(jobs))
    assert len(text.splitlines()) == 1 + len(jobs)
    assert left_out == ["errors", "completed", "expires"]


def test_one_long_id_is_shortened_and_every_job_keeps_its_line(
    jobs: list[NewestJob], terminal: Attach
) -> None:
    terminal(columns=80)
    long = msgspec.structs.replace(jobs[0], id=f"{jobs[0].id}-and-17-more-tail")
    text, left_out = shown(job_layout(NEWEST, ()), [long, *jobs])
    _, first, *others = text.splitlines()
    assert first.startswith(jobs[0].id[:12])
    assert re.search(r"…\S*-more-tail  complete ", first)
    assert [line.split()[0] for line in others] == [job.id for job in jobs]
    assert left_out == ["errors", "completed", "expires", "whole id"]


def test_at_200_columns_every_column_is_shown(jobs: list[NewestJob], terminal: Attach) -> None:
    terminal(columns=200)
    text, left_out = shown(job_layout(NEWEST, ()), list(jobs))
    assert left_out == []
    assert len(text.splitlines()) == 1 + len(jobs)


def test_at_40_columns_each_job_is_a_block_with_everything(
    jobs: list[NewestJob], terminal: Attach
) -> None:
    terminal(columns=40)
    text, left_out = shown(job_layout(NEWEST, ()), list(jobs))
    assert left_out == []
    assert f"id         {jobs[0].id}" in text.splitlines()
    assert "" in text.splitlines()


@pytest.mark.parametrize("width", [0, 1, 5, 16])
def test_a_terminal_with_hardly_any_columns_gets_all_the_data(
    jobs: list[NewestJob], terminal: Attach, width: int
) -> None:
    terminal(columns=width)
    text, left_out = shown(job_layout(NEWEST, ()), list(jobs))
    letters = re.sub(r"\s", "", text)
    assert left_out == []
    assert "\u2026" not in text
    for name in ("status", "completed"):
        assert letters.count(name) >= len(jobs)
    assert len(re.findall(r"id {9}\S", text)) == len(jobs)


def test_columns_named_by_the_user_are_never_left_out(
    jobs: list[NewestJob], terminal: Attach
) -> None:
    terminal(columns=60)
    layout = job_layout(NEWEST, ("expires_at", "completed_at", "created_at", "errors"))
    text, left_out = shown(layout, list(jobs))
    assert left_out == []
    assert text.count("expires") == len(jobs)


def test_a_field_that_no_column_is_made_for_gets_one_of_its_own() -> None:
    columns = job_layout(NEWEST, ("status", "region")).columns
    assert [column.heading for column in columns] == ["id", "status", "region"]
    assert columns[-1].cell(object()) == "-"


def test_colours_are_for_terminals_that_want_them(
    jobs: list[NewestJob], terminal: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal()
    layout = job_layout(NEWEST, ())
    rows = [[column.cell(job) for column in layout.columns] for job in jobs]
    green = "\x1b[32mcomplete"
    assert green in render(layout.columns, rows)[0]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3\d", render(layout.columns, rows)[0])


def test_csv_on_a_terminal_shows_control_characters_instead_of_sending_them(
    terminal: Attach,
) -> None:
    shown = terminal()
    layout = Layout[str](columns=(), header=("text",), values=lambda text: [text])
    open_writer("csv", layout, print).write("\x1b[2Jgone")
    assert shown.getvalue() == "text\n\\x1b[2Jgone\n"
