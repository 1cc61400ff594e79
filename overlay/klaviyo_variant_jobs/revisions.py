"""The revisions this release speaks, and how long the API keeps each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision

LIFECYCLE = ("queued", "processing", "complete", "cancelled")
"""Statuses in the order a job passes through them."""

__all__ = [
    "LIFECYCLE",
    "NEWEST",
    "REVISIONS",
    "Revision",
    "check_fields",
    "check_status",
    "find",
    "job_id",
    "retired_on",
    "stable_until",
]


def find(revision: str | Revision[Any]) -> Revision[Any]:
    """The revision for a date such as `2026-07-15`, or the revision itself.

    Raises `ValueError` that lists the known dates.
    """
    if isinstance(revision, Revision):
        return revision
    for known in REVISIONS:
        if known.date == revision:
            return known
    dates = ", ".join(known.date for known in REVISIONS)
    # An older date is no mistake of an old release: the API has retired it, or soon will.
    newer = isinstance(revision, str) and revision > NEWEST.date
    raise ValueError(
        f"this release does not know revision {revision!r}; it knows {dates}. "
        f"Pin one of these{', or upgrade klaviyo-variant-jobs' if newer else ''}"
    )


def stable_until(revision: str) -> dt.date:
    """The day a revision's first year ends: from then on it is deprecated."""
    return _years_after(revision, 1)


def retired_on(revision: str) -> dt.date:
    """The day a revision's second year ends: from then on the API may retire it."""
    return _years_after(revision, 2)


def _years_after(revision: str, years: int) -> dt.date:
    # Imported here: the calendar is asked for once per client, the import would cost every start.
    from dateutil.relativedelta import relativedelta

    return dt.date.fromisoformat(revision[:10]) + relativedelta(years=years)


def check_status(revision: Revision[Any], status: str | Iterable[str] | None) -> tuple[str, ...]:
    """The statuses to list, one pass each, in lifecycle order; empty for no filter.

    Raises `ValueError` for a status this revision does not have.
    """
    if status is None:
        return ()
    asked = _texts("status", status)
    if not asked:
        raise ValueError("status is empty: pass None to list the jobs of every status")
    known = revision.statuses
    unknown = [item for item in asked if item not in known]
    if unknown:
        raise ValueError(
            f"unknown status {', '.join(map(repr, unknown))}; "
            f"revision {revision.date} has {', '.join(known)}"
        )
    order = [*LIFECYCLE, *(item for item in known if item not in LIFECYCLE)]
    return tuple(item for item in order if item in asked)


def check_fields(revision: Revision[Any], fields: Iterable[str] | None) -> tuple[str, ...]:
    """The sparse fieldset to ask for; empty for all fields.

    `job_id` is added where it is the identifier. Raises `ValueError` for an unknown field.
    """
    if fields is None:
        return ()
    asked = _texts("field", fields)
    if not asked:
        raise ValueError("fields is empty: pass None to get every field")
    unknown = [item for item in asked if item not in revision.fields]
    if unknown:
        raise ValueError(
            f"unknown field {', '.join(map(repr, unknown))}; "
            f"revision {revision.date} has {', '.join(revision.fields)}"
        )
    if revision.id_in_attributes:
        asked.append("job_id")
    return tuple(dict.fromkeys(asked))


def _texts(what: str, asked: str | Iterable[str]) -> list[str]:
    if isinstance(asked, str):
        return [_text(what, asked)]
    if not isinstance(asked, Iterable):
        raise ValueError(f"a {what} must be a string, or several, not {type(asked).__name__}")
    return [_text(what, item) for item in asked]


def _text(what: str, item: object) -> str:
    if not isinstance(item, str):
        raise ValueError(f"a {what} must be a string, not {type(item).__name__}")
    # The plain string even of an enum member, whose own formatting differs.
    return str.__str__(item)


def job_id(job: object) -> str | None:
    """The identifier of a job, whichever revision it came from.

    `attributes.job_id` before revision 2023-12-15, `id` since. None only when the API left it out.
    """
    identifier = getattr(job, "id", None)
    if identifier is None:
        identifier = getattr(getattr(job, "attributes", None), "job_id", None)
    return identifier if isinstance(identifier, str) else None
