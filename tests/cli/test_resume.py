"""`--resume`: the rest of an earlier run, with what it was asked."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from cli.conftest import fail_on_page, ids, to_go_on
from klaviyo_variant_jobs import REVISIONS, Checkpoint
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob

if TYPE_CHECKING:
    from cli.conftest import CommandLine

ERRORS = [{"detail": "no price"}, {"detail": "no title"}]


def checkpoint(cli: CommandLine, command: str, *arguments: str) -> str:
    """That of a run that was interrupted after its first page."""
    fail_on_page(cli, 2, error=KeyboardInterrupt)
    result = cli(command, *arguments)
    assert result.exit_code == 130
    told = to_go_on(result)
    return told[told.index("--resume") + 1]


@pytest.mark.parametrize("date", [revision.date for revision in REVISIONS])
@pytest.mark.parametrize(
    "asked",
    [
        (),
        ("--since", "1d"),
        ("--status", "complete,queued", "--fields", "status"),
        ("--status", "complete", "--fields", "total_count,status", "--since", "1d"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_the_rest_of_a_list_is_what_was_asked_whether_it_is_asked_again_or_not(
    cli: CommandLine, asked: tuple[str, ...], date: str, again: bool
) -> None:
    asked = (*asked, "--revision", date, "--output", "csv")
    whole = cli("list", *asked).stdout.splitlines()
    fail_on_page(cli, 2)
    broken = cli("list", *asked)
    assert broken.exit_code == 1
    told = to_go_on(broken)
    rest = cli("list", *asked, *told[told.index("--resume") :]) if again else cli(*told)
    assert rest.exit_code == 0, rest.stderr
    header, *rows = rest.stdout.splitlines()
    assert header == whole[0]
    assert broken.stdout.splitlines() + rows == whole


@pytest.mark.parametrize("asked", [(), ("--since", "1d"), ("--status", "complete")])
def test_errors_go_on_from_their_own_checkpoint(cli: CommandLine, asked: tuple[str, ...]) -> None:
    cli.sandbox = Sandbox(
        jobs=[SandboxJob(status="complete", errors=ERRORS) for _ in range(150)], clock=cli.clock
    )
    whole = cli("errors", *asked, "--output", "ndjson").stdout
    fail_on_page(cli, 2)
    broken = cli("errors", *asked, "--output", "ndjson")
    told = to_go_on(broken)
    rest = cli(*told)
    assert rest.exit_code == 0, rest.stderr
    assert broken.stdout + rest.stdout == whole
    bare = cli("errors", "--output", "ndjson", *told[told.index("--resume") :])
    assert broken.stdout + bare.stdout == whole


def test_errors_go_on_from_a_list_that_asked_for_them(cli: CommandLine) -> None:
    for asked in ((), ("--fields", "status,errors")):
        told = checkpoint(cli, "list", *asked)
        assert cli("errors", "--resume", told).exit_code == 0
        assert cli("list", "--resume", checkpoint(cli, "errors")).exit_code == 0


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (
            (),
            ("--status", "complete"),
            "a run without --status; leave out --status, or leave out --resume",
        ),
        (
            ("--status", "queued,complete"),
            ("--status", "complete"),
            "a run with --status queued,complete; leave out --status, or",
        ),
        (
            ("--fields", "status"),
            ("--fields", "errors", "--status", "queued"),
            "a run without --status and with --fields status; leave out --status and --fields, or",
        ),
        pytest.param(
            (),
            ("--revision", REVISIONS[0].date),
            f"a run with --revision {REVISIONS[-1].date}; leave out --revision, or",
            marks=pytest.mark.skipif(len(REVISIONS) == 1, reason="there is no other revision"),
        ),
        (
            ("--fields", "status"),
            ("--since", "1d"),
            "--since needs created_at, but --resume continues a run with --fields status; leave",
        ),
    ],
)
def test_options_that_do_not_go_with_the_checkpoint_are_named(
    cli: CommandLine, then: tuple[str, ...], now: tuple[str, ...], said: str
) -> None:
    told = checkpoint(cli, "list", *then)
    sent = len(cli.sandbox.requests)
    result = cli("list", "--resume", told, *now)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(cli.sandbox.requests) == sent


def test_errors_whose_cursor_is_no_longer_taken_are_listed_from_the_start(cli: CommandLine) -> None:
    place = Checkpoint(revision=REVISIONS[-1].date, fields=("errors",), cursor="W10=")
    refused = cli("errors", "--resume", str(place))
    told = re.search(r"from the start with: klaviyo-variant-jobs (.+)", refused.stderr)
    assert told is not None
    assert cli(*shlex.split(told[1])).exit_code == 0


def test_errors_do_not_go_on_from_a_list_without_them(cli: CommandLine) -> None:
    result = cli("errors", "--resume", checkpoint(cli, "list", "--fields", "status"))
    assert result.exit_code == 2
    assert "the command errors needs errors, but --resume continues a run with" in result.stderr


def test_a_status_may_be_given_again_in_another_order(cli: CommandLine) -> None:
    told = checkpoint(cli, "list", "--status", "complete,queued")
    again = ("--status", "queued", "--status", "complete")
    result = cli("list", "--resume", told, *again, "--output", "ndjson")
    assert result.exit_code == 0
    whole = ids(cli("list", *again, "--output", "ndjson"))
    assert ids(result) == whole[-len(ids(result)) :] != []
