"""One run over the list of jobs, and what it prints when it stops halfway."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from klaviyo_variant_jobs import revisions
from klaviyo_variant_jobs.checkpoint import Checkpoint
from klaviyo_variant_jobs.errors import CursorError, KlaviyoError
from klaviyo_variant_jobs_api.registry import Revision

from . import signals
from .asked import Asked
from .connection import connected, refused
from .options import Surroundings
from .output import Layout, Writer, open_writer
from .progress import Progress, counted, warnings_as_notes
from .stopped import Stopped, failed, unwritten

if TYPE_CHECKING:
    from klaviyo_variant_jobs.iteration import Iteration
    from klaviyo_variant_jobs_api.registry import AnyJob

RowT = TypeVar("RowT")


def run(
    asked: Asked,
    surroundings: Surroundings,
    layout: Callable[[Revision[Any], tuple[str, ...]], Layout[RowT]],
    rows_of: Callable[[AnyJob], Iterable[RowT]],
    last_rows: Callable[[], Iterable[RowT]] = tuple,
) -> None:
    """List jobs and write `rows_of` each, then `last_rows`.

    Raises `click.UsageError` for invalid options, `Stopped` when the run cannot continue.
    """
    asked.check()
    progress = Progress()
    with connected(asked, surroundings, progress) as client:
        with refused():
            jobs = client.iter_jobs(
                status=asked.status_listed or None,
                fields=asked.fields_sent or None,
                resume=asked.resume,
            )
        revision = revisions.find(asked.revision_pinned)
        writer = open_writer(asked.output, layout(revision, asked.fields_sent), progress.remark)
        start = jobs.checkpoint
        written = _Written(place=start)
        broken = _failure_of(lambda: _write(jobs, rows_of, writer, written, asked, progress))
        if not broken:
            broken = _failure_of(lambda: _write_all(last_rows(), writer))
        if isinstance(broken, KeyboardInterrupt):
            progress.interrupted()
        unclosed = _failure_of(lambda: writer.close(failed=broken is not None))
        if failure := broken or unclosed:
            if isinstance(failure, BrokenPipeError):
                raise failure
            signals.ignore()
            told = written if writer.shown else _Written(place=start)
            # Before the first page there is nothing to resume: print no checkpoint.
            raise _stopped(failure, asked, told, listed=progress.pages > 0)
        if not written.jobs:
            progress.note("no jobs")
        elif not written.rows and not asked.summary:
            progress.note(f"no errors in {counted(written.jobs, 'job')}")


@attrs.define
class _Written:
    """How much has been written to stdout."""

    place: Checkpoint
    jobs: int = 0
    rows: int = 0
    """Rows of the jobs up to `place`."""


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
                left = None if asked.limit is None else asked.limit - written.rows
                rows = list(itertools.islice(rows_of(job), left))
                _write_all(rows, writer)
                written.jobs += 1
                written.rows += len(rows)
            # After the rows: an interrupt in between repeats a job and does not lose it.
            written.place = jobs.checkpoint
            if written.rows == asked.limit:
                break


def _write_all(rows: Iterable[RowT], writer: Writer[RowT]) -> None:
    for row in rows:
        writer.write(row)


def _failure_of(step: Callable[[], None]) -> Exception | KeyboardInterrupt | None:
    """The exception that ended `step`, if any. Any kind: the checkpoint must be printed anyway."""
    try:
        step()
    except KeyboardInterrupt as interrupt:
        return interrupt
    except Exception as error:
        return _interrupt_behind(error) or error
    return None


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C behind an error: a second one while a lock is released raises another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def _stopped(
    failure: Exception | KeyboardInterrupt, asked: Asked, written: _Written, *, listed: bool
) -> Stopped:
    where: tuple[str, ...] = ()
    if isinstance(failure, CursorError):
        # No checkpoint is printed: the API would refuse its cursor again.
        where = (
            f"{counted(written.jobs, 'job')} written; the API no longer takes the cursor, so list "
            f"from the start with: {asked.from_the_start()}",
        )
    elif listed and not asked.summary:
        go_on = asked.to_go_on(written.place, written.rows)
        where = (
            f"checkpoint {written.place}",
            f"{counted(written.jobs, 'job')} written; go on with: {go_on}",
        )
    match failure:
        case KeyboardInterrupt():
            return Stopped("interrupted", *where, code=signals.exit_code(failure))
        case KlaviyoError():
            return Stopped(failed(failure), *where)
        case OSError():
            return Stopped(unwritten(failure), *where)
    return Stopped(f"error: {type(failure).__name__}: {failure}", *where)
