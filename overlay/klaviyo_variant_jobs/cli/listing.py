"""One run over the list of jobs: client, loop, and what to say when it stops halfway."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click
import httpx

from klaviyo_variant_jobs import Client, revisions
from klaviyo_variant_jobs.checkpoint import Checkpoint, KlaviyoError
from klaviyo_variant_jobs.client.shell import DEFAULT_BASE_URL
from klaviyo_variant_jobs.credentials import ENVIRONMENT_VARIABLE

from . import signals
from .options import Surroundings, read_api_key
from .output import Layout, Writer, open_writer
from .progress import Progress, WatchedClock, counted, warnings_as_notes
from .text import visible

if TYPE_CHECKING:
    from klaviyo_variant_jobs.iteration.blocking import Iteration
    from klaviyo_variant_jobs_api.registry import AnyJob

RowT = TypeVar("RowT")

SANDBOX_KEY = "pk_sandbox"


@attrs.frozen(kw_only=True)
class Asked:
    """What the user asked for on the command line."""

    command: str
    api_key_file: str | None
    base_url: str
    sandbox: bool
    revision: str | None
    status: tuple[str, ...]
    fields: tuple[str, ...] | None
    since: datetime | None
    limit: int | None
    resume: Checkpoint | None
    output: str

    @property
    def revision_pinned(self) -> str:
        """The revision: as asked, as the checkpoint has it, or the newest."""
        resumed = self.resume.revision if self.resume else revisions.NEWEST.date
        return self.revision or resumed

    @property
    def status_listed(self) -> tuple[str, ...]:
        """The statuses: as asked, or as the checkpoint has them."""
        return self.status or (self.resume.status if self.resume else ())

    @property
    def fields_sent(self) -> tuple[str, ...]:
        """The fields: as asked, or as the checkpoint has them, and what `--since` looks at."""
        fields = self.fields or (self.resume.fields if self.resume else ())
        if self.since and fields and "created_at" not in fields:
            return (*fields, "created_at")
        return fields

    def wants(self, job: object) -> bool:
        """Whether the job is new enough; one whose age is not known is."""
        created = getattr(getattr(job, "attributes", None), "created_at", None)
        return self.since is None or not isinstance(created, datetime) or created >= self.since

    def to_go_on(self, checkpoint: Checkpoint, jobs: int) -> str:
        """The command that goes on from `checkpoint` after `jobs` jobs were written."""
        words = ["klaviyo-variant-jobs", self.command]
        for flag, value, default in (
            ("--api-key-file", self.api_key_file, None),
            ("--base-url", self.base_url, DEFAULT_BASE_URL),
            ("--since", self.since and self.since.isoformat(), None),
            ("--limit", self.limit and str(self.limit - jobs), None),
            ("--output", self.output, "table"),
            ("--resume", str(checkpoint), None),
        ):
            if value and value != default:
                words += [flag, value]
        return shlex.join(words + ["--sandbox"] * self.sandbox)


class Stopped(click.ClickException):
    """Ends the command with `code` and its message on stderr, a line each."""

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(visible(line) for line in lines))
        self.exit_code = code  # type: ignore[misc]  # of the class, says click

    def show(self, file: Any = None) -> None:
        click.echo(self.message, err=True)


def run(
    asked: Asked,
    surroundings: Surroundings,
    layout: Callable[[revisions.Revision[Any], tuple[str, ...]], Layout[RowT]],
    rows_of: Callable[[AnyJob], Iterable[RowT]],
) -> None:
    """List jobs and write the rows of each.

    Raises `click.UsageError` for what the library does not know, `Stopped` when it cannot go on.
    """
    progress = Progress()
    with _client(asked, surroundings, progress) as client:
        with _usage():
            jobs = client.iter_jobs(
                status=asked.status_listed or None,
                fields=asked.fields_sent or None,
                resume=asked.resume,
            )
        revision = revisions.find(asked.revision_pinned)
        writer = open_writer(asked.output, layout(revision, asked.fields_sent), progress.note)
        start = jobs.checkpoint
        written = _Written(place=start)
        broken = _failure_of(lambda: _write(jobs, rows_of, writer, written, asked, progress))
        unclosed = _failure_of(writer.close)
        if failure := broken or unclosed:
            if isinstance(failure, BrokenPipeError):
                raise failure
            signals.ignore()
            raise _stopped(failure, asked, written if writer.shown else _Written(place=start))
        if not written.jobs:
            progress.note("no jobs")


@attrs.define
class _Written:
    """How far the rows on stdout go."""

    place: Checkpoint
    jobs: int = 0


def _write(
    jobs: Iteration[AnyJob],
    rows_of: Callable[[AnyJob], Iterable[RowT]],
    writer: Writer[RowT],
    written: _Written,
    asked: Asked,
    progress: Progress,
) -> None:
    with warnings_as_notes(progress):
        for job in jobs:
            if asked.wants(job):
                progress.clear()
                for row in rows_of(job):
                    writer.write(row)
                written.jobs = progress.jobs = written.jobs + 1
            # After the rows: a stop between the two repeats a job rather than lose it.
            written.place = jobs.checkpoint
            if written.jobs == asked.limit:
                break


def _failure_of(step: Callable[[], None]) -> Exception | KeyboardInterrupt | None:
    """What ended `step` early. Anything: whatever it is, the place to go on from must be told."""
    try:
        step()
    except (Exception, KeyboardInterrupt) as error:
        return error
    return None


def _stopped(failure: Exception | KeyboardInterrupt, asked: Asked, written: _Written) -> Stopped:
    go_on = asked.to_go_on(written.place, written.jobs)
    where = (
        f"checkpoint {written.place}",
        f"{counted(written.jobs, 'job')} written; go on with: {go_on}",
    )
    match failure:
        case KeyboardInterrupt():
            return Stopped("interrupted", *where, code=signals.exit_code(failure))
        case KlaviyoError():
            return Stopped(f"error: {failure}", *where)
        case OSError():
            return Stopped(unwritten(failure), *where)
    return Stopped(f"error: {type(failure).__name__}: {failure}", *where)


def unwritten(error: OSError) -> str:
    """What to say when stdout does not take the data."""
    return f"error: cannot write to standard output: {error.strerror or error}"


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """What the library refuses before it sends anything is the command line's fault."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def _client(
    asked: Asked, surroundings: Surroundings, progress: Progress
) -> Iterator[Client[AnyJob]]:
    if asked.sandbox and asked.base_url != DEFAULT_BASE_URL:
        raise click.UsageError("--sandbox answers by itself; give it or --base-url, not both")
    api_key, transport = read_api_key(asked.api_key_file), surroundings.transport
    if asked.sandbox:
        from klaviyo_variant_jobs.sandbox import Sandbox

        api_key, transport = SANDBOX_KEY, Sandbox(clock=surroundings.clock).transport()
    if api_key is None and not os.environ.get(ENVIRONMENT_VARIABLE, "").strip():
        raise click.UsageError(
            f"no API key: set {ENVIRONMENT_VARIABLE} or give --api-key-file; --sandbox needs none"
        )
    with httpx.Client(
        transport=transport,
        event_hooks={"request": [progress.requested], "response": [progress.responded]},
    ) as http_client:
        with _usage():
            client = Client(
                api_key,
                revision=asked.revision_pinned,
                base_url=asked.base_url,
                http_client=http_client,
                clock=WatchedClock(surroundings.clock, progress),
            )
        with client:
            yield client
