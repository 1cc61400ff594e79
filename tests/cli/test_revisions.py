"""`revisions`: how long each lasts, and how it differs from the newest."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from klaviyo_variant_jobs import NEWEST, REVISIONS
from klaviyo_variant_jobs.cli.lifecycle import state

if TYPE_CHECKING:
    from cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("years", "days", "expected"),
    [(1, -1, "live"), (1, 0, "deprecated"), (2, -1, "deprecated"), (2, 0, "retired")],
)
def test_a_revision_is_live_for_a_year_and_retired_after_two(
    years: int, days: int, expected: str
) -> None:
    begun = dt.date.fromisoformat(NEWEST.date)
    today = begun.replace(year=begun.year + years) + dt.timedelta(days=days)
    assert state(NEWEST, today) == expected


def test_every_kept_revision_has_a_row_with_its_dates(cli: CommandLine) -> None:
    rows = json.loads(cli("revisions", "--output", "json").stdout)
    assert [row["revision"] for row in rows] == [revision.date for revision in REVISIONS]
    for row in rows:
        year = int(row["revision"][:4])
        assert row["stable_until"].startswith(str(year + 1))
        assert row["retired_on"].startswith(str(year + 2))


def test_a_revision_tells_how_the_newest_differs_in_the_words_of_python(cli: CommandLine) -> None:
    rows = json.loads(cli("revisions", "--output", "json").stdout)
    assert rows[-1]["differs"] == []
    for revision, row in zip(REVISIONS, rows, strict=True):
        named = {change["where"]: change for change in row["differs"]}
        assert ("path" in named) == (revision.path != NEWEST.path)
        if revision.id_in_attributes and not NEWEST.id_in_attributes:
            gone = named["200.data[].attributes.job_id"]
            assert (gone["level"], gone["name"]) == ("breaking", "job.attributes.job_id")
            assert "job_id(job)" in gone["what"]


def test_the_table_needs_no_key(cli: CommandLine) -> None:
    result = cli("revisions", env={"KLAVIYO_API_KEY": None})
    assert result.exit_code == 0
    assert result.stdout.startswith("revision")


def test_the_table_has_a_line_for_each_revision_and_counts_what_differs(cli: CommandLine) -> None:
    _, *lines = cli("revisions").stdout.splitlines()
    differs = [row["differs"] for row in json.loads(cli("revisions", "--output", "json").stdout)]
    for line, places in zip(lines, differs, strict=True):
        assert len(line) < 80
        assert line.endswith(f"  {len(places)} places (--output json)" if places else "  -")
