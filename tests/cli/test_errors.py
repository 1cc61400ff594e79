"""`errors`: what went wrong with single variants, a row each."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import fail_on_page, to_go_on
from klaviyo_variant_jobs import REVISIONS
from klaviyo_variant_jobs.cli.asked import Asked
from klaviyo_variant_jobs.cli.listing import run
from klaviyo_variant_jobs.cli.options import Surroundings
from klaviyo_variant_jobs.cli.rows import ERROR_LAYOUT, error_rows
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob, VirtualClock

if TYPE_CHECKING:
    from cli.conftest import Attach, CommandLine

WHOLE = {
    "id": "e1",
    "code": "invalid",
    "title": "Invalid input.",
    "detail": "The price is negative.",
    "source": {"pointer": "/data/attributes/variants/data/3"},
    "meta": {"external_id": "SKU-3"},
}


def with_errors(cli: CommandLine, *errors: Any) -> None:
    cli.sandbox = Sandbox(
        jobs=[
            SandboxJob(id="fine", status="complete"),
            SandboxJob(id="failed", status="complete", attributes={"errors": list(errors)}),
        ],
        clock=cli.clock,
    )


@pytest.mark.parametrize("date", [revision.date for revision in REVISIONS])
def test_each_error_is_a_row_with_its_job(cli: CommandLine, date: str) -> None:
    with_errors(cli, WHOLE, {**WHOLE, "detail": "The title is empty."})
    result = cli("errors", "--revision", date, "--output", "ndjson")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == {
        "job": "failed",
        "external_id": "SKU-3",
        "pointer": "/data/attributes/variants/data/3",
        "detail": "The price is negative.",
    }
    assert second["detail"] == "The title is empty."
    assert "errors" in cli.sandbox.requests[0].query


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        ({"detail": "only this"}, "only this"),
        ({"title": "a title"}, "a title"),
        ({"code": "a_code", "meta": {}, "source": None}, "a_code"),
        ({}, ""),
        ({"detail": {"en": "odd"}, "meta": [1], "source": "nowhere"}, ""),
    ],
)
def test_a_partial_or_odd_error_still_has_its_row(
    cli: CommandLine, error: object, detail: str
) -> None:
    with_errors(cli, error)
    (row,) = csv.DictReader(io.StringIO(cli("errors", "--output", "csv").stdout))
    assert row == {"job": "failed", "external_id": "", "pointer": "", "detail": detail}


def test_a_piped_table_of_errors_keeps_each_on_its_line(cli: CommandLine) -> None:
    with_errors(cli, {**WHOLE, "detail": "long " * 60 + "end\nand more"})
    heading, row = cli("errors").stdout.splitlines()
    assert heading.split() == ["job", "external", "id", "pointer", "detail"]
    assert row.endswith("end\\nand more")


def test_no_errors_are_told_in_words(cli: CommandLine) -> None:
    with_errors(cli)
    assert cli("errors", "--output", "ndjson").stderr == "no errors in 2 jobs\n"
    cli.sandbox = Sandbox(jobs=0, clock=cli.clock)
    assert cli("errors", "--output", "ndjson").stderr == "no jobs\n"


def test_a_terminal_has_the_errors_below_their_jobs_and_is_told_once_where_the_rest_is(
    terminal: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_test")
    clock = VirtualClock()
    long = {**WHOLE, "detail": "The price is negative, which no price of a variant may be."}
    errors = [long, {**long, "meta": {"external_id": "SKU-4"}}]
    jobs = [
        SandboxJob(id=name, status="complete", failed=2, variants=9, errors=errors) for name in "AB"
    ]
    shown = terminal(columns=70)
    asked = Asked(command="errors", needs=("errors", "failed_count", "total_count"))
    surroundings = Surroundings(clock, Sandbox(jobs=jobs, clock=clock).transport())
    run(asked, surroundings, lambda revision, fields: ERROR_LAYOUT, error_rows)
    assert [line.split("  ")[:2] for line in shown.text().splitlines()] == [
        ["", "external id"],
        ["A", "2 of 9 failed"],
        ["", "SKU-3"],
        ["", "SKU-4"],
        ["B", "2 of 9 failed"],
        ["", "SKU-3"],
        ["", "SKU-4"],
        ["no room for: whole detail; --output csv has them"],
    ]
    assert "\x1b[2mno room for" in shown.getvalue()


def test_markup_in_a_detail_is_shown_as_it_is(cli: CommandLine) -> None:
    with_errors(cli, {"detail": "[red]not a colour[/red] :smile:"})
    assert "[red]not a colour[/red] :smile:" in cli("errors").stdout


def test_a_limit_is_of_errors_and_going_on_counts_them(cli: CommandLine) -> None:
    errors = [{"detail": str(n)} for n in range(3)]
    cli.sandbox = Sandbox(
        jobs=[SandboxJob(status="complete", errors=errors) for _ in range(150)], clock=cli.clock
    )
    result = cli("errors", "--limit", "5", "--output", "ndjson")
    assert [json.loads(line)["detail"] for line in result.stdout.splitlines()] == list("01201")
    fail_on_page(cli, 2)
    broken = cli("errors", "--limit", "310", "--output", "ndjson")
    rest = cli(*to_go_on(broken))
    assert len(broken.stdout.splitlines()) == 300
    assert len(rest.stdout.splitlines()) == 10
