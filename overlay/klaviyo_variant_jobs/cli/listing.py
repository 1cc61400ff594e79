"""One run over the list of jobs: client, loop, and what to say when it stops halfway."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from klaviyo_variant_jobs import revisions
from klaviyo_variant_jobs.checkpoint import Checkpoint
from klaviyo_variant_jobs.errors import KlaviyoError
from klaviyo_variant_jobs_api.registry import Revision

from . import signals
from .asked import Asked
from .connection import connected, refused
from .options import Surroundings
from .output import Layout, Writer, open_writer
from .progress import Progress, counted, warnings_as_notes
from .stopped import Stopped, unwritten

if TYPE_CHECKING:
    from klaviyo_variant_jobs.iteration import Iteration
    from klaviyo_variant_jobs_api.registry import AnyJob

RowT = TypeVar("RowT")


def run(
    asked: Asked,
    surroundings: Surroundings,
    layout: Callable[[Revision[Any], tuple[str, ...]], Layout[RowT]],
    rows_of: Callable[[AnyJob], Iterable[RowT]],
) -> None:
    """List jobs and write the rows of each.

    Raises `click.UsageError` for what cannot be asked, `Stopped` when it cannot go on.
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
    except KeyboardInterrupt as interrupt:
        return interrupt
    except Exception as error:
        return _interrupt_behind(error) or error
    return None


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """A second Ctrl-C that meets the first one leaving a lock makes an error of both."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


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
