"""The commands and their options."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import click

from klaviyo_variant_jobs.version import __version__
from klaviyo_variant_jobs_api.registry import NEWEST

from . import options, signals, summary
from .asked import Asked
from .connection import SANDBOX_KEY
from .lifecycle import REVISION_LAYOUT, revision_rows
from .listing import run
from .options import Surroundings
from .output import open_writer
from .progress import Progress
from .rows import ERROR_LAYOUT, error_rows, job_layout
from .stopped import Stopped, unwritten


class _Commands(click.Group):
    """Ends silently when the reader closes the pipe; any other failed write prints a message."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _told():  # --help and --version write here.
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(Surroundings)
        with _told():
            super().invoke(ctx)
            sys.stdout.flush()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn signals and failed writes into an exit code, with a message for the latter."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(0) from None
    except OSError as error:
        raise Stopped(unwritten(error)) from error
    except KeyboardInterrupt as interrupt:
        raise click.exceptions.Exit(signals.exit_code(interrupt)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="klaviyo-variant-jobs", message="%(prog)s %(version)s")
def commands() -> None:
    """List Klaviyo's catalog variant bulk create jobs.

    Data goes to stdout, everything else to stderr. The API key is read from KLAVIYO_API_KEY or
    from --api-key-file. Exit codes: 0 done, 1 error, 2 wrong command line, 130 Ctrl-C, 143 SIGTERM;
    both signals end sandbox with 0.
    """


@commands.command("list")
@options.status
@options.fields
@options.revision
@options.limit("jobs")
@options.since
@options.resume("revision, statuses and fields")
@options.output
@click.option("--summary", is_flag=True, help="Only count jobs and variants, per status.")
@options.api_key_file
@options.base_url
@options.sandbox
@click.pass_obj
def list_(surroundings: Surroundings, /, **asked: Any) -> None:
    """List jobs.

    The newest have always come first, but the API does not promise it, so --since reads all pages.

    A table is printed when all pages are read, one line per job. The others are written as pages
    arrive: csv with the attributes asked for, json and ndjson with the whole job or --fields of it.
    Import csv cells as text: a spreadsheet takes one that begins with =, +, - or @ for a formula.
    """
    request = Asked(command="list", **asked)
    if not request.summary:
        run(request, surroundings, job_layout, lambda job: [job])
        return
    for flag, given in (("--fields", request.fields), ("--limit", request.limit)):
        if given:
            raise click.UsageError(f"--summary counts all jobs; leave out {flag}")
    if request.resume:
        raise click.UsageError("--summary counts from the start; leave out --resume")
    request = attrs.evolve(request, needs=summary.FIELDS)
    counted = summary.Summary(request.status or NEWEST.statuses)
    run(
        request,
        surroundings,
        lambda revision, fields: summary.SUMMARY_LAYOUT,
        counted.add,
        counted.rows,
    )


@commands.command()
@options.status
@options.revision
@options.limit("errors")
@options.since
@options.resume("revision and statuses")
@options.output
@options.api_key_file
@options.base_url
@options.sandbox
@click.pass_obj
def errors(surroundings: Surroundings, /, **asked: Any) -> None:
    """List the errors of jobs, one row each.

    A row has the job, the external id of the variant, the pointer into the request that made the
    job, and the detail. A terminal shows them below their job, cut to its width; csv, json and
    ndjson have whole texts.
    """
    request = Asked(
        command="errors", fields=(), needs=("errors", "failed_count", "total_count"), **asked
    )
    run(request, surroundings, lambda revision, fields: ERROR_LAYOUT, error_rows)


@commands.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@options.timeout
@options.revision
@options.api_key_file
@options.base_url
@options.sandbox
@click.pass_obj
def watch(
    surroundings: Surroundings, /, ids: tuple[str, ...], timeout: float | None, **asked: Any
) -> None:
    """Watch jobs until they have ended.

    Without IDs it watches every job that is or becomes active. A terminal shows a table, a pipe
    gets a line for each change; the result comes last. Exit codes: 0 all complete without
    failures, 3 failed variants or cancelled jobs, 4 time ran out.
    """
    from . import watching

    code = watching.run(Asked(command="watch", **asked), ids, timeout, surroundings)
    if code:
        raise click.exceptions.Exit(code)


_CONTROL = """\
Script faults, add jobs, and see the requests so far:
  curl {url}/sandbox/faults --json '[429, {{"status": 503, "retry_after": 3}}]'
  curl {url}/sandbox/jobs --json '[{{"variants": 5, "failed": 1, "credential": "pk_mine"}}]'
  curl {url}/sandbox/requests
"""


@commands.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where to listen.  [default: a free one]",
    metavar="N",
)
@click.option(
    "--jobs",
    type=click.IntRange(0, 100_000),
    default=300,
    show_default=True,
    metavar="N",
    help="How many sample jobs it has.",
)
@click.option(
    "--control",
    is_flag=True,
    help="Let programs add jobs and faults, by JSON sent to URL/sandbox/.",
)
@click.pass_obj
def sandbox(surroundings: Surroundings, port: int, jobs: int, control: bool) -> None:
    """Serve a fake API on this machine until Ctrl-C.

    Its URL goes to stdout. Ctrl-C and SIGTERM end it with exit code 0.
    """
    from klaviyo_variant_jobs.sandbox import Sandbox
    from klaviyo_variant_jobs_api.registry import NEWEST

    with contextlib.ExitStack() as stack:
        try:
            serving = Sandbox(jobs=jobs, clock=surroundings.clock).serve(port=port, control=control)
            url = stack.enter_context(serving).base_url
        except OSError as error:
            raise click.ClickException(f"cannot serve on port {port}: {error.strerror}") from None
        click.echo(
            "It accepts any key that begins with pk_. Use it with\n"
            f'  Client("{SANDBOX_KEY}", revision="{NEWEST.date}", base_url="{url}")\n'
            f"  KLAVIYO_API_KEY={SANDBOX_KEY} klaviyo-variant-jobs list --base-url {url}\n"
            + _CONTROL.format(url=url) * control
            + "Stop it with Ctrl-C.",
            err=True,
        )
        click.echo(url)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@commands.command()
@options.output
@click.pass_obj
def revisions(surroundings: Surroundings, output: str) -> None:
    """Show the known API revisions, and how long each lasts."""
    writer = open_writer(output, REVISION_LAYOUT, Progress().remark)
    for row in revision_rows(datetime.fromtimestamp(surroundings.clock.time(), UTC).date()):
        writer.write(row)
    writer.close()
