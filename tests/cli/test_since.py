"""`--since`: dates as people write them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from klaviyo_variant_jobs.cli.moment import read_moment
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob

if TYPE_CHECKING:
    from cli.conftest import CommandLine

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-31", datetime(2026, 10, 31, tzinfo=UTC)),
        ("20261031", datetime(2026, 10, 31, tzinfo=UTC)),
        ("31 Oct 2026", datetime(2026, 10, 31, tzinfo=UTC)),
        ("October 31st, 2026", datetime(2026, 10, 31, tzinfo=UTC)),
        ("Saturday 31-oct-2026", datetime(2026, 10, 31, tzinfo=UTC)),
        ("Oct 31 2026 14:05", datetime(2026, 10, 31, 14, 5, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01 10:00 -02:00", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("2026-11-01 10:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("Sun, 01 Nov 2026 10:00:00 GMT", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("31/10/2026", datetime(2026, 10, 31, tzinfo=UTC)),
        ("31.10.2026", datetime(2026, 10, 31, tzinfo=UTC)),
        ("today", datetime(2026, 11, 2, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 1, tzinfo=UTC)),
        ("10m", datetime(2026, 11, 2, 9, 20, tzinfo=UTC)),
        ("2h", datetime(2026, 11, 2, 7, 30, tzinfo=UTC)),
        (" 3 D ", datetime(2026, 10, 30, 9, 30, tzinfo=UTC)),
    ],
)
def test_a_date_is_read_as_people_write_it_and_means_utc(text: str, moment: datetime) -> None:
    assert read_moment(text, now=NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026",
        "2026-11",
        "nov",
        "Nov 2026",
        "99",
        "monday",
        "31 Oct",
        "08:15",
        "14h UTC",
        "2 hours",
        "26-10-31",
        "31 Oct 26",
        "\u0662\u0660\u0662\u0666-10-31",
    ],
)
def test_what_names_no_full_date_is_refused_with_what_does(text: str) -> None:
    with pytest.raises(ValueError, match="no full date; write it like one of 2026-11-24, ") as told:
        read_moment(text, now=NOW)
    for form in re.findall(r"'([^']+)'|([^\s,']+)", str(told.value).partition(" of ")[2]):
        read_moment("".join(form), now=NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no date"),
        ("-", "is no date"),
        ("soon", "is no date"),
        ("2026-02-31", "is no date"),
        ("2026-W45", "is no date"),
        ("1764000000", "is no date"),
        ("9" * 400, "is no date"),
        ("2h" + "9" * 40 + " :\u2460", "is no date"),
        ("2026-11-01 10:00+99:00", "is no date"),
        ("3/4/2026", "2026-03-04 or 2026-04-03"),
        ("2026-11-01 10:00 XYZT", "write its offset"),
        ("2026-11-01 10:00 UTC+3", "write its offset"),
        ("2026-11-01 10:00 GMT-3", "write its offset"),
        ("2026-11-01 10:00 XYZ+3", "write its offset"),
        ("0001-01-01 00:00 +05:00", "before the year 1 or after 9999"),
        ("9999-12-31 23:00 -05:00", "before the year 1 or after 9999"),
        ("99999999d", "before the year 1 or after 9999"),
        ("9" * 5000 + "h", "is no date"),
    ],
)
def test_a_date_that_could_mean_something_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_moment(text, now=NOW)


@given(st.text(st.sampled_from("0123456789 -+/:.,TZamhpdnov\u2460\u0662\x00\ud83d"), max_size=24))
def test_any_other_text_is_a_date_or_refused(text: str) -> None:
    try:
        assert read_moment(text, now=NOW).tzinfo is UTC
    except ValueError as refused:
        assert repr(text) in str(refused)


def test_a_date_to_come_is_a_wrong_command_line(cli: CommandLine) -> None:
    result = cli("list", "--since", "2 Dec 2026")
    assert result.exit_code == 2
    assert "2026-12-02 00:00 UTC, which is in the future" in result.stderr


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
