"""`list`: what it asks for, what it writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httpx
import pytest

from cli.conftest import fail_on_page, ids, to_go_on
from klaviyo_variant_jobs import NEWEST, REVISIONS, Checkpoint
from klaviyo_variant_jobs.revisions import stable_until
from klaviyo_variant_jobs.sandbox import (
    Fault,
    Sandbox,
    SandboxJob,
    VirtualClock,
)

if TYPE_CHECKING:
    from cli.conftest import CommandLine

DATES = [revision.date for revision in REVISIONS]


def test_every_job_is_one_line_of_json_in_the_order_of_the_api(cli: CommandLine) -> None:
    result = cli("list", "--output", "ndjson")
    assert result.exit_code == 0
    assert ids(result) == [job.id for job in cli.sandbox.jobs]
    assert result.stderr == ""


def test_json_is_one_array_with_every_field_of_the_model(cli: CommandLine) -> None:
    cli.sandbox = Sandbox(jobs=2, clock=cli.clock)
    first, _ = json.loads(cli("list", "--output", "json").stdout)
    assert {"type", "id", "attributes", "relationships", "links"} <= first.keys()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", first["attributes"]["created_at"]
    )


@pytest.mark.parametrize("output", ["json", "ndjson"])
@pytest.mark.parametrize("date", DATES)
def test_json_has_only_the_attributes_asked_for_null_ones_included(
    cli: CommandLine, output: str, date: str
) -> None:
    cli.sandbox = Sandbox(jobs=[SandboxJob(status="queued")], clock=cli.clock)
    asked = ("--fields", "status,completed_at", "--revision", date)
    listed = json.loads(cli("list", *asked, "--output", output).stdout)
    (job,) = listed if output == "json" else [listed]
    job["attributes"].pop("job_id", None)
    assert job["attributes"] == {"status": "queued", "completed_at": None}
    assert job["type"] == "catalog-variant-bulk-create-job"


def test_json_of_no_jobs_is_an_empty_array(cli: CommandLine) -> None:
    cli.sandbox = Sandbox(jobs=0, clock=cli.clock)
    result = cli("list", "--output", "json")
    assert json.loads(result.stdout) == []
    assert result.stderr == "no jobs\n"


@pytest.mark.parametrize("date", DATES)
def test_csv_has_the_identifier_and_every_attribute_of_the_revision(
    cli: CommandLine, date: str
) -> None:
    rows = list(
        csv.DictReader(io.StringIO(cli("list", "--revision", date, "--output", "csv").stdout))
    )
    assert [row["id"] for row in rows] == [job.id for job in cli.sandbox.jobs]
    known = next(r for r in REVISIONS if r.date == date)
    assert set(rows[0]) == {"id", *known.fields} - {"job_id"}


def test_csv_keeps_what_a_table_sums_up(cli: CommandLine) -> None:
    cli.sandbox = Sandbox(
        jobs=[SandboxJob(status="complete", errors=[{"detail": 'no "price", sorry'}])],
        clock=cli.clock,
    )
    (row,) = csv.DictReader(io.StringIO(cli("list", "--output", "csv").stdout))
    assert json.loads(row["errors"])[0]["detail"] == 'no "price", sorry'


def test_a_piped_table_has_every_column_and_cuts_nothing(cli: CommandLine) -> None:
    result = cli("list", env={"KLAVIYO_API_KEY": "pk_test", "COLUMNS": "40"})
    heading, *rows = result.stdout.splitlines()
    assert heading.split() == [
        "id", "status", "done", "failed", "created", "errors", "completed", "expires",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == [job.id for job in cli.sandbox.jobs]
    assert "\x1b" not in result.stdout


def test_fields_choose_the_columns_and_are_all_that_is_asked_for(cli: CommandLine) -> None:
    result = cli("list", "--fields", "status, expires_at", "--limit", "1")
    assert result.stdout.splitlines()[0].split() == ["id", "status", "expires"]
    assert "status%2Cexpires_at" in cli.sandbox.requests[0].query


def test_several_statuses_are_listed_in_lifecycle_order(cli: CommandLine) -> None:
    result = cli("list", "--status", "complete", "--status", "processing", "--output", "ndjson")
    statuses = [json.loads(line)["attributes"]["status"] for line in result.stdout.splitlines()]
    assert list(dict.fromkeys(statuses)) == ["processing", "complete"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--status", "complete, processing"),
        ("--status", "complete", "--status", "processing,"),
    ],
)
def test_names_are_separated_by_commas_or_options(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    result = cli("list", *arguments, "--fields", "status", "--fields", "errors,created_at")
    assert {row.split()[1] for row in result.stdout.splitlines()[1:]} == {"complete", "processing"}
    assert "status%2Cerrors%2Ccreated_at" in cli.sandbox.requests[0].query


def test_help_names_what_can_be_asked_for(cli: CommandLine) -> None:
    told = re.sub(r"\s+", " ", cli("list", "--help").stdout)
    for name in (*NEWEST.statuses, *NEWEST.fields, "24 Nov 2026", "2h"):
        assert name in told
    assert "a spreadsheet takes one that begins with =, +, - or @ for a formula" in told


def test_limit_stops_before_another_page_is_asked_for(cli: CommandLine) -> None:
    result = cli("list", "--limit", "100", "--output", "ndjson")
    assert len(ids(result)) == 100
    assert len(cli.sandbox.requests) == 1


def test_the_key_comes_from_a_file_or_from_standard_input(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("\ufeffpk_file\n", encoding="utf-8")
    assert cli("list", "--api-key-file", str(file), "--limit", "1").exit_code == 0
    piped = cli("list", "--api-key-file", "-", "--limit", "1", input="pk_stdin\n")
    assert piped.exit_code == 0
    assert cli.sandbox.count(credential="pk_file") == 1
    assert cli.sandbox.count(credential="pk_stdin") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--status", "done"], "queued, processing, complete, cancelled"),
        (["--fields", "colour"], "completed_count"),
        (["--fields", ","], "name at least one"),
        (["--status", ""], "name at least one"),
        (["--revision", "2020-01-01"], DATES[-1]),
        (["--revision", ""], "does not know revision ''"),
        (["--resume", "kvj1.nonsense"], "not a checkpoint"),
        (["--since", "when it rained"], "is no date"),
        (["--limit", "0"], "--limit"),
        (["--output", "xml"], "ndjson"),
        (["--base-url", "http://example.com"], "plain http"),
        (["--base-url", "http://localhost:1", "--sandbox"], "not both"),
        (["--api-key", "pk_argument"], "No such option"),
    ],
)
def test_a_wrong_command_line_exits_2_says_why_and_sends_nothing(
    cli: CommandLine, arguments: list[str], said: str
) -> None:
    result = cli("list", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert cli.sandbox.requests == []


def test_a_missing_key_is_a_wrong_command_line_and_says_where_keys_come_from(
    cli: CommandLine,
) -> None:
    result = cli("list", env={"KLAVIYO_API_KEY": None})
    assert result.exit_code == 2
    for way in ("KLAVIYO_API_KEY", "--api-key-file", "--sandbox"):
        assert way in result.stderr


def test_a_key_that_cannot_be_sent_is_not_quoted(cli: CommandLine) -> None:
    result = cli("list", env={"KLAVIYO_API_KEY": "pk_secret\x1bvalue"})
    assert result.exit_code == 2
    assert "secret" not in result.output


def test_the_sandbox_needs_no_key_and_no_network(cli: CommandLine) -> None:
    result = cli(
        "list", "--sandbox", "--limit", "3", "--output", "ndjson", env={"KLAVIYO_API_KEY": None}
    )
    assert result.exit_code == 0
    assert len(ids(result)) == 3
    assert cli.sandbox.requests == []


@pytest.mark.parametrize("output", ["table", "ndjson"])
def test_an_error_before_the_first_page_leaves_nothing_to_go_on_from(
    cli: CommandLine, output: str
) -> None:
    cli.sandbox.fail_next(Fault(status=401))
    result = cli("list", "--output", output)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: HTTP 401")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "watch"])
@pytest.mark.parametrize(
    ("pointer", "told"),
    [
        ("/data/", "Incorrect key. ["),
        ("/data", "Incorrect key. ["),
        ("/data/id", "Incorrect key. (at /data/id) ["),
    ],
)
def test_a_pointer_at_everything_is_left_out_of_an_error(
    cli: CommandLine, command: str, pointer: str, told: str
) -> None:
    error = {"detail": "Incorrect key.", "source": {"pointer": pointer}}
    cli.sandbox.fail_next(Fault(status=401, body=json.dumps({"errors": [error]})))
    assert cli(command).stderr.startswith(f"error: HTTP 401: {told}")


def test_an_error_of_the_api_exits_1_and_tells_how_to_go_on(cli: CommandLine) -> None:
    fail_on_page(cli, 2)
    result = cli("list", "--output", "ndjson")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: HTTP 403")
    assert "checkpoint kvj1." in result.stderr


def test_a_cursor_that_is_no_longer_taken_leads_to_the_start(cli: CommandLine) -> None:
    cursor = "W10="  # Of no form that the sandbox gives.
    place = Checkpoint(
        revision="2026-07-15", status=("queued", "complete"), fields=("status",), cursor=cursor
    )
    refused = cli("list", "--output", "ndjson", "--resume", str(place))
    assert refused.exit_code == 1
    assert "checkpoint" not in refused.stderr.replace("the checkpoint", "")
    match = re.search(r"from the start with: klaviyo-variant-jobs (.+)", refused.stderr)
    assert match is not None
    assert "--resume" not in match[1]
    again = cli(*shlex.split(match[1]))
    assert ids(again) == ids(
        cli("list", "--output", "ndjson", "--status", "queued,complete", "--fields", "status")
    )


def test_a_summary_counts_jobs_and_variants_per_status(cli: CommandLine) -> None:
    result = cli("list", "--summary", "--output", "ndjson")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["status"] for row in rows] == [*NEWEST.statuses, "all"]
    assert sum(row["jobs"] for row in rows[:-1]) == rows[-1]["jobs"] == 250
    assert rows[-1]["variants"] == 750
    assert "status,total_count,completed_count,failed_count" in unquote(
        cli.sandbox.requests[0].query
    )
    assert cli("list", "--summary").stdout.splitlines()[-1].split()[:2] == ["all", "250"]


def test_a_summary_of_one_status_and_of_an_unknown_one(cli: CommandLine) -> None:
    cli.sandbox = Sandbox(jobs=[SandboxJob(status="paused")], clock=cli.clock)
    rows = cli("list", "--summary", "--output", "csv").stdout.splitlines()
    assert rows[-2:] == ["paused,1,3,3,0", "all,1,3,3,0"]
    one = cli("list", "--summary", "--status", "queued", "--output", "csv").stdout.splitlines()
    assert one[1:] == ["queued,0,0,0,0", "all,0,0,0,0"]


@pytest.mark.parametrize(
    "option", [("--fields", "status"), ("--limit", "5"), ("--resume", "CHECKPOINT")]
)
def test_what_a_summary_cannot_be_of_is_refused(cli: CommandLine, option: tuple[str, str]) -> None:
    place = str(Checkpoint(revision="2026-07-15"))
    result = cli("list", "--summary", option[0], option[1].replace("CHECKPOINT", place))
    assert result.exit_code == 2
    assert option[0] in result.stderr


def test_a_summary_that_fails_has_no_checkpoint(cli: CommandLine) -> None:
    fail_on_page(cli, 2)
    result = cli("list", "--summary")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("output", ["table", "csv", "json", "ndjson"])
def test_what_came_before_a_failure_is_written_whole(cli: CommandLine, output: str) -> None:
    asked = ("list", "--output", output, "--fields", "failed_count")
    unhindered = cli(*asked, "--limit", "100")
    fail_on_page(cli, 2)
    broken = cli(*asked)
    assert broken.exit_code == 1
    assert broken.stdout == unhindered.stdout
    assert "100 jobs written" in broken.stderr


def test_the_command_to_go_on_with_gives_exactly_the_rest(cli: CommandLine) -> None:
    asked = ("list", "--status", "complete", "--status", "queued", "--fields", "status")
    whole = ids(cli(*asked, "--output", "ndjson"))
    fail_on_page(cli, 3)
    broken = cli(*asked, "--output", "ndjson")
    assert broken.exit_code == 1
    rest = cli(*to_go_on(broken))
    assert rest.exit_code == 0
    assert ids(broken) + ids(rest) == whole
    assert 0 < len(ids(broken)) < len(whole)


def test_ctrl_c_exits_130_and_tells_how_to_go_on(cli: CommandLine) -> None:
    fail_on_page(cli, 2, error=KeyboardInterrupt)
    stopped = cli("list", "--output", "ndjson")
    assert stopped.exit_code == 130
    assert stopped.stderr.startswith("interrupted\ncheckpoint kvj1.")
    assert len(ids(stopped)) == 100


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.parametrize("page", [2, None])
def test_what_was_received_but_could_not_be_shown_is_listed_again(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, output: str, page: int | None
) -> None:
    """Interrupted at the end, when a table is rendered, after a page or after all of them."""
    writer = {"table": "_TableWriter", "json": "_JsonWriter"}[output]
    whole = ids(cli("list", "--output", "ndjson"))
    if page is not None:
        fail_on_page(cli, page)
    with monkeypatch.context() as patch:
        patch.setattr(f"klaviyo_variant_jobs.cli.output.{writer}.close", interrupted)
        stopped = cli("list", "--output", output)
    assert stopped.exit_code == (130 if page is None else 1)
    assert "0 jobs written; go on with" in stopped.stderr
    assert ids(cli(*to_go_on(stopped), "--output", "ndjson")) == whole


def interrupted(writer: object, *, failed: bool = False) -> None:
    raise KeyboardInterrupt


def test_a_table_interrupted_while_it_grows_is_shown_as_far_as_it_got(cli: CommandLine) -> None:
    fail_on_page(cli, 2, error=KeyboardInterrupt)
    stopped = cli("list")
    assert stopped.exit_code == 130
    assert len(stopped.stdout.splitlines()) == 101
    assert stopped.stderr.startswith("interrupted\ncheckpoint kvj1.")
    assert "100 jobs written" in stopped.stderr


@pytest.mark.parametrize(("summary", "page"), [((), 1), (("--summary",), 1), (("--summary",), 2)])
def test_ctrl_c_that_leaves_nothing_to_go_on_from_prints_no_checkpoint(
    cli: CommandLine, summary: tuple[str, ...], page: int
) -> None:
    fail_on_page(cli, page, error=KeyboardInterrupt)
    stopped = cli("list", *summary)
    assert (stopped.exit_code, stopped.stdout, stopped.stderr) == (130, "", "interrupted\n")


def test_two_interruptions_that_make_an_error_are_an_interruption(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(document: object) -> str:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    monkeypatch.setattr("klaviyo_variant_jobs.cli.output.json_line", fail)
    result = cli("list", "--output", "ndjson")
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted\ncheckpoint ")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RecursionError("deep")])
def test_whatever_ends_a_listing_is_told_with_a_checkpoint(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(document: object) -> str:
        raise error

    monkeypatch.setattr("klaviyo_variant_jobs.cli.output.json_line", fail)
    result = cli("list", "--output", "ndjson")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert (error.strerror if isinstance(error, OSError) else "deep") in result.stderr
    assert "0 jobs written; go on with" in result.stderr


def test_going_on_keeps_what_is_left_of_the_limit(cli: CommandLine) -> None:
    fail_on_page(cli, 2)
    broken = cli("list", "--limit", "120", "--output", "ndjson")
    arguments = to_go_on(broken)
    assert arguments[arguments.index("--limit") + 1] == "20"
    assert len(ids(cli(*arguments))) == 20


def test_going_on_names_no_key(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "the key"
    file.write_text("pk_secret")
    fail_on_page(cli, 2)
    result = cli("list", "--api-key-file", str(file), "--since", "2020-01-01 12:00")
    arguments = to_go_on(result)
    assert arguments[arguments.index("--api-key-file") + 1] == str(file)
    assert arguments[arguments.index("--since") + 1] == "2020-01-01T12:00:00+00:00"
    assert "pk_secret" not in result.output


def test_control_characters_of_the_api_never_reach_the_terminal(cli: CommandLine) -> None:
    evil = "\x1b[2J\x9b31m\u202egnp.exe\x07"
    cli.sandbox = Sandbox(
        jobs=[SandboxJob(status=evil, errors=[{"detail": evil}], id=f"01{evil}")], clock=cli.clock
    )
    for command in (
        ["list"],
        ["list", "--output", "ndjson"],
        ["list", "--output", "json"],
        ["errors"],
    ):
        result = cli(*command)
        assert result.exit_code == 0
        assert result.stdout.replace("\n", "").isprintable(), command
    (line,) = cli("list", "--output", "ndjson").stdout.splitlines()
    assert json.loads(line)["attributes"]["status"] == evil


def test_control_characters_in_an_error_of_the_api_do_not_either(cli: CommandLine) -> None:
    body = json.dumps({"errors": [{"detail": "\x1b]0;owned\x07"}]}).encode()
    cli.sandbox.fail_next(Fault(status=400, body=body))
    result = cli("list")
    assert "]0;owned" in result.stderr
    assert result.stderr.replace("\n", "").isprintable()


def test_what_the_library_warns_of_is_told_on_stderr(cli: CommandLine) -> None:
    deprecated = datetime.combine(stable_until(DATES[-1]), time(), UTC)
    cli.clock = VirtualClock(start=deprecated)
    cli.sandbox = Sandbox(jobs=2, clock=cli.clock)
    result = cli("list", "--output", "ndjson")
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert DATES[-1] in result.stderr


def test_an_odd_page_is_listed_all_the_same(cli: CommandLine) -> None:
    cli.sandbox = Sandbox(
        jobs=[SandboxJob(attributes={"completed_at": {"at": 5}, "errors": {"none": True}})],
        clock=cli.clock,
    )
    result = cli("list")
    assert result.exit_code == 0
    assert '{"at":5}' not in result.stdout
    assert "completed_at" in result.stderr


@pytest.mark.parametrize("output", ["csv", "table"])
def test_ids_that_are_numbers_are_shown(cli: CommandLine, output: str) -> None:
    data = [{"id": number, "attributes": {"status": "complete"}} for number in (1, 2, 3)]
    served = httpx.MockTransport(lambda request: httpx.Response(200, json={"data": data}))
    _, *rows = cli("list", "--output", output, transport=served).stdout.splitlines()
    assert [row.replace(",", " ").split()[0] for row in rows] == ["1", "2", "3"]


def test_the_commands_of_the_readme_run(cli: CommandLine) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    commands = re.findall(r"^klaviyo-variant-jobs ((?:list|errors) [^#>\n]+)", readme, re.MULTILINE)
    assert commands
    for command in commands:
        assert cli(*shlex.split(command)).exit_code == 0


def test_the_version_is_told(cli: CommandLine) -> None:
    assert re.fullmatch(r"klaviyo-variant-jobs \d+\.\d+\.\d+(\.dev\d+)?\n", cli("--version").stdout)
