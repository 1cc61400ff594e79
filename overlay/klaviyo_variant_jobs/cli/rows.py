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
from .text import NOTHING, builtin, cell, plain

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


_LEAST_ID = 26
"""Characters of the ids of the API; only longer ones are shortened."""

_JOB_COLUMNS = (
    _JobColumn(frozenset({"id", "job_id"}), _plain_column("id", "id", least=_LEAST_ID)),
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

    A table shows a summary, CSV every attribute asked for, JSON the whole job but for attributes
    that were not asked for.
    """
    header = ["id", *(f for f in fields or revision.fields if f not in ("id", "job_id"))]
    return Layout(
        columns=_columns_for(fields) if fields else [known.column for known in _JOB_COLUMNS],
        header=header,
        values=lambda job: [plain(_value(job, name)) for name in header],
        document=(lambda job: _with_only(fields, job)) if fields else lambda job: job,
    )


def _with_only(fields: Sequence[str], job: object) -> Any:
    """The job as builtins, without the attributes that were not asked for."""
    document = builtin(job)
    attributes = document.get("attributes")
    if isinstance(attributes, dict):
        asked = {"job_id", *fields}
        document["attributes"] = {n: value for n, value in attributes.items() if n in asked}
    return document


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
            "failed": attribute(job, "failed_count"),
            "total": attribute(job, "total_count"),
        }


def _said(error: object) -> Any:
    if not isinstance(error, msgspec.Struct):
        return error
    said = (getattr(error, name, None) for name in ("detail", "title", "code"))
    return next((text for text in said if text is not None), None)


def mapping_layout(columns: Sequence[Column[Any]], names: Sequence[str]) -> Layout[Any]:
    """The layout of rows that are mappings; `names` are the keys for CSV and JSON."""
    return Layout(
        columns=columns,
        header=names,
        values=lambda row: [plain(row[name]) for name in names],
        document=lambda row: {name: row[name] for name in names},
    )


def _key_column(heading: str, name: str, **options: Any) -> Column[Any]:
    return Column(heading, lambda row: cell(row[name]), **options)


def _failed_of(row: ErrorRow) -> str:
    failed, total = row["failed"], row["total"]
    known = isinstance(failed, int) and isinstance(total, int)
    return f"{cell(row['job'])}  {failed} of {total} failed" if known else cell(row["job"])


def _where(row: ErrorRow) -> str:
    """The pointer without what all have in common, such as `variants/0 external_id`."""
    place = cell(row["pointer"]).removeprefix("/data/attributes/")
    return place.replace("/data/", "/").replace("/attributes/", " ")


ERROR_LAYOUT = mapping_layout(
    (
        _key_column("job", "job", brief=_failed_of, above=True),
        _key_column("external id", "external_id", least=16),
        _key_column("pointer", "pointer", brief=_where, least=len("variants/99 external_id")),
        _key_column("detail", "detail", least=30, keeps_end=False),
    ),
    ("job", "external_id", "pointer", "detail"),
)
