"""The rows and columns of jobs and of their errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from klaviyo_variant_jobs.revisions import job_id
from klaviyo_variant_jobs_api.registry import Revision

from .output import Layout
from .table import Column
from .text import NOTHING, cell, plain

STATUS_STYLES = {"complete": "green", "processing": "cyan", "cancelled": "dim"}


def attribute(job: object, name: str) -> Any:
    """An attribute of a job; None if the job, its attributes or the attribute is missing."""
    return getattr(getattr(job, "attributes", None), name, None)


def _value(job: object, name: str) -> Any:
    return job_id(job) if name in ("id", "job_id") else attribute(job, name)


def _done(job: object) -> str:
    done, total = attribute(job, "completed_count"), attribute(job, "total_count")
    return NOTHING if done is None and total is None else f"{cell(done)}/{cell(total)}"


def _error_count(job: object) -> str:
    errors = attribute(job, "errors")
    return str(len(errors)) if isinstance(errors, list) else cell(errors)


def _plain_column(heading: str, field: str, **options: Any) -> Column[Any]:
    return Column(heading, lambda job: cell(_value(job, field)), **options)


def _red(text: str) -> str:
    return "" if text in ("0", NOTHING) else "red"


@attrs.frozen
class _JobColumn:
    fields: frozenset[str]
    """The column is shown when any of these is asked for."""
    column: Column[Any]


_JOB_COLUMNS = (
    _JobColumn(frozenset({"id", "job_id"}), _plain_column("id", "id")),
    _JobColumn(
        frozenset({"status"}),
        _plain_column("status", "status", style=lambda text: STATUS_STYLES.get(text, "")),
    ),
    _JobColumn(frozenset({"completed_count", "total_count"}), Column("done", _done, right=True)),
    _JobColumn(
        frozenset({"failed_count"}),
        _plain_column("failed", "failed_count", right=True, style=_red),
    ),
    _JobColumn(frozenset({"created_at"}), _plain_column("created", "created_at")),
    _JobColumn(
        frozenset({"errors"}), Column("errors", _error_count, right=True, style=_red, optional=True)
    ),
    _JobColumn(
        frozenset({"completed_at"}), _plain_column("completed", "completed_at", optional=True)
    ),
    _JobColumn(frozenset({"expires_at"}), _plain_column("expires", "expires_at", optional=True)),
)


def job_layout(revision: Revision[Any], fields: Sequence[str]) -> Layout[Any]:
    """Jobs of a revision, with all fields when `fields` is empty.

    A table shows a summary, CSV every attribute asked for, JSON the whole job.
    """
    header = ["id", *(f for f in fields or revision.fields if f not in ("id", "job_id"))]
    return Layout(
        columns=_columns_for(fields) if fields else [known.column for known in _JOB_COLUMNS],
        header=header,
        values=lambda job: [plain(_value(job, name)) for name in header],
    )


def _columns_for(fields: Sequence[str]) -> list[Column[Any]]:
    """The columns for the fields the user named; none of them is optional."""
    asked = {"id", *fields}
    columns = [attrs.evolve(c.column, optional=False) for c in _JOB_COLUMNS if c.fields & asked]
    known = frozenset[str]().union(*(c.fields for c in _JOB_COLUMNS))
    return columns + [_plain_column(name, name) for name in fields if name not in known]


ErrorRow = Mapping[str, Any]


def error_rows(job: object) -> Iterator[ErrorRow]:
    """The errors of a job, one row each. Real ones may have only detail, meta and source."""
    errors = attribute(job, "errors")
    for error in errors if isinstance(errors, list) else []:
        meta = getattr(error, "meta", None)
        yield {
            "job": job_id(job),
            "external_id": meta.get("external_id") if isinstance(meta, Mapping) else None,
            "pointer": getattr(getattr(error, "source", None), "pointer", None),
            "detail": _said(error),
        }


def _said(error: object) -> Any:
    if not isinstance(error, msgspec.Struct):
        return error
    said = (getattr(error, name, None) for name in ("detail", "title", "code"))
    return next((text for text in said if text is not None), None)


def mapping_layout(columns: Sequence[Column[Any]], names: Sequence[str]) -> Layout[Any]:
    """The layout of rows that are mappings; `names` are the keys for CSV."""
    return Layout(
        columns=columns,
        header=names,
        values=lambda row: [plain(row[name]) for name in names],
    )


def _key_column(heading: str, name: str, **options: Any) -> Column[Any]:
    return Column(heading, lambda row: cell(row[name]), **options)


ERROR_LAYOUT = mapping_layout(
    (
        _key_column("job", "job"),
        _key_column("external id", "external_id", folds=True),
        _key_column("pointer", "pointer", folds=True),
        _key_column("detail", "detail", folds=True),
    ),
    ("job", "external_id", "pointer", "detail"),
)
