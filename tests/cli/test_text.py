"""Values as text: nothing that the API sends is lost, steers a terminal or ends a listing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from klaviyo_variant_jobs.cli.text import cell, json_line, plain, visible
from klaviyo_variant_jobs.sandbox import Fault, Sandbox, SandboxJob

if TYPE_CHECKING:
    from cli.conftest import CommandLine

HALF_A_PAIR = "a\ud83d"
LONG = 10**5000 + 7


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain \u00e9\U0001f600", "plain \u00e9\U0001f600"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb\x7f\x85", "a\\r\\nb\\x7f\\x85"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
        ("a\ud83d", "a\\ud83d"),
    ],
)
def test_text_is_visible_when_nothing_in_it_can_steer_a_terminal(text: str, seen: str) -> None:
    assert visible(text) == seen


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (
            datetime(2026, 11, 2, 9, 30, 5, 7, timezone(timedelta(hours=2))),
            "2026-11-02 07:30:05Z",
        ),
        (datetime(33, 4, 3, tzinfo=UTC), "0033-04-03 00:00:00Z"),
        (
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-1))),
            "9999-12-31 23:59:59-01:00",
        ),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "0001-01-01 00:00:00+01:00"),
    ],
)
def test_a_time_is_shown_in_utc_or_with_its_own_offset_where_utc_has_no_such_year(
    moment: datetime, shown: str
) -> None:
    assert cell(moment) == shown


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"])
def test_a_job_at_the_end_of_time_is_listed(cli: CommandLine, date: str) -> None:
    cli.sandbox = Sandbox(jobs=[SandboxJob(attributes={"created_at": date})], clock=cli.clock)
    for arguments in ((), ("--since", "today"), ("--output", "json"), ("--output", "csv")):
        assert cli("list", *arguments).exit_code == 0
    assert date.replace("T", " ") in cli("list").stdout


@pytest.mark.parametrize(
    "mark",
    ["\x7f", "\x85", "\u061c", "\u200b", "\u202e", "\ufeff", "\ufff9", "\ufffb", "\U000e0001"],
)
def test_json_escapes_what_could_steer_a_terminal_and_is_read_back_exactly(mark: str) -> None:
    line = json_line({"detail": f"\u00e9{mark}\U0001f600"})
    assert line.isprintable()
    assert "\u00e9" in line
    assert json.loads(line) == {"detail": f"\u00e9{mark}\U0001f600"}


def test_half_a_surrogate_pair_is_shown_as_an_escape() -> None:
    assert cell(HALF_A_PAIR) == plain(HALF_A_PAIR) == "a\\ud83d"
    assert plain([HALF_A_PAIR]) == '["a\\ud83d"]'
    assert json_line({HALF_A_PAIR: [HALF_A_PAIR, "\u00e9"]}) == '{"a\\ud83d":["a\\ud83d","\u00e9"]}'


@pytest.mark.parametrize("kind", [int, Decimal])
def test_an_integer_of_any_length_is_written_with_every_digit(kind: type) -> None:
    digits = "1" + "0" * 4999 + "7"
    number, negative = kind(LONG), kind(-LONG)
    assert cell(number) == plain(number) == digits
    assert cell(negative) == f"-{digits}"
    assert plain([number]) == json_line([number]) == f"[{digits}]"
    assert json_line([number, HALF_A_PAIR, True]) == f'[{digits},"a\\ud83d",true]'


def test_what_json_has_no_number_for_is_null_beside_anything_else() -> None:
    assert json_line([float("inf"), 1.5]) == "[null,1.5]"
    assert json_line([float("nan"), HALF_A_PAIR, 1.5]) == '[null,"a\\ud83d",1.5]'


@pytest.mark.parametrize("output", ["table", "csv", "json", "ndjson"])
def test_odd_values_end_no_listing(cli: CommandLine, output: str) -> None:
    job = b"""{"type": "catalog-variant-bulk-create-job", "id": "1", "attributes":
        {"status": "a\\ud83d", "total_count": 1%s7, "completed_at": 1e999}}""" % (b"0" * 4999)
    cli.sandbox.fail_next(Fault(status=200, body=b'{"data": [%s], "links": {"next": null}}' % job))
    result = cli("list", "--fields", "status,total_count,completed_at", "--output", output)
    assert result.exit_code == 0, result.stderr
    assert "a\\ud83d" not in result.stdout
    assert "attributes.status" in result.stderr
