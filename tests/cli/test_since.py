"""`--since`: dates as people write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from klaviyo_variant_jobs.cli.options import read_moment
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob

if TYPE_CHECKING:
    from cli.conftest import CommandLine

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-31", datetime(2026, 10, 31, tzinfo=UTC)),
        ("31 Oct", datetime(2026, 10, 31, tzinfo=UTC)),
        ("Oct 31 2026 14:05", datetime(2026, 10, 31, 14, 5, tzinfo=UTC)),
        ("08:15", datetime(2026, 11, 2, 8, 15, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01 10:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("31/10/2026", datetime(2026, 10, 31, tzinfo=UTC)),
        ("today", datetime(2026, 11, 2, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_a_date_is_read_as_people_write_it_and_means_utc(text: str, moment: datetime) -> None:
    assert read_moment(text, now=NOW) == moment


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no date"),
        ("soon", "is no date"),
        ("2026-02-31", "is no date"),
        ("9" * 400, "is no date"),
        ("3/4/2026", "2026-03-04 or 2026-04-03"),
        ("2026-11-01 10:00 XYZT", "write its offset"),
    ],
)
def test_a_date_that_could_mean_something_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_moment(text, now=NOW)


def test_a_date_to_come_is_a_wrong_command_line(cli: CommandLine) -> None:
    result = cli("list", "--since", "2 Dec")
    assert result.exit_code == 2
    assert "2026-12-02 00:00 UTC, which is yet to come" in result.stderr


def listed(cli: CommandLine, *arguments: str) -> list[str]:
    lines = cli("list", "--output", "ndjson", *arguments).stdout.splitlines()
    return [json.loads(line)["id"] for line in lines]


def test_jobs_created_at_or_after_the_date_are_listed_whatever_their_order(
    cli: CommandLine,
) -> None:
    start = datetime.fromtimestamp(cli.clock.time(), UTC).replace(hour=0)
    jobs = [
        SandboxJob(id="new", created_at=start + timedelta(hours=1)),
        SandboxJob(id="just", created_at=start),
        SandboxJob(id="old", created_at=start - timedelta(seconds=1)),
        SandboxJob(id="back-dated", attributes={"created_at": "2026-11-02T05:00:00+00:00"}),
        SandboxJob(id="undated", attributes={"created_at": None}),
    ]
    cli.sandbox = Sandbox(jobs=jobs, clock=cli.clock, jobs_per_page=2)
    assert set(listed(cli, "--since", "today")) == {"new", "just", "back-dated", "undated"}


def test_the_date_is_asked_for_even_when_the_fields_leave_it_out(cli: CommandLine) -> None:
    assert listed(cli, "--since", "today", "--fields", "status") != []
    assert "status%2Ccreated_at" in cli.sandbox.requests[0].query


def test_the_limit_counts_the_jobs_that_are_new_enough(cli: CommandLine) -> None:
    assert len(listed(cli, "--since", "2026-01-01", "--limit", "3")) == 3
