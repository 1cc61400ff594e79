"""The revisions this release speaks, and how long the API keeps each."""

import datetime as dt
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision

LIFECYCLE = ("queued", "processing", "complete", "cancelled")
"""Statuses in the order a job passes through them."""


def find(revision: str | Revision[Any]) -> Revision[Any]:
    """The revision for a date such as `2026-07-15`, or the revision itself.

    Raises `ValueError` that lists the known dates.
    """
    if isinstance(revision, Revision):
        return revision
    known = {each.date: each for each in REVISIONS}
    if revision in known:
        return known[revision]
    # Upgrading helps only for a newer date: later releases know fewer old revisions, not more.
    newer = isinstance(revision, str) and revision > NEWEST.date
    raise ValueError(
        f"this release does not know revision {revision!r}; it knows {', '.join(known)}. "
        f"Pin one of these{', or upgrade klaviyo-variant-jobs' if newer else ''}"
    )


def stable_until(revision: str) -> dt.date:
    """The day a revision's first year ends: from then on it is deprecated."""
    return _years_after(revision, 1)


def retired_on(revision: str) -> dt.date:
    """The day a revision's second year ends: from then on the API may retire it."""
    return _years_after(revision, 2)


def _years_after(revision: str, years: int) -> dt.date:
    # Imported late: it is needed once per client, and importing it would slow every start.
    from dateutil.relativedelta import relativedelta

    return dt.date.fromisoformat(revision[:10]) + relativedelta(years=years)


def check_status(revision: Revision[Any], status: str | Iterable[str] | None) -> tuple[str, ...]:
    """The statuses to list, one pass each, in lifecycle order; empty for no filter.

    Raises `ValueError` for a status this revision does not have.
    """
    known = revision.statuses
    asked = _known(revision, "status", known, status)
    order = [*LIFECYCLE, *(item for item in known if item not in LIFECYCLE)]
    return tuple(item for item in order if item in asked)


def check_fields(revision: Revision[Any], fields: Iterable[str] | None) -> tuple[str, ...]:
    """The sparse fieldset to ask for; empty for all fields.

    `job_id` is added where it is the identifier. Raises `ValueError` for an unknown field.
    """
    asked = _known(revision, "field", revision.fields, fields)
    identifier = ["job_id"] if asked and revision.id_in_attributes else []
    return tuple(dict.fromkeys([*asked, *identifier]))


def check_extra_query(
    revision: Revision[Any], extra_query: Mapping[str, object] | None
) -> tuple[tuple[str, str], ...]:
    """More query parameters to send with every page, sorted by name.

    Raises `ValueError` for one that this revision does not have, or that has an argument of its
    own.
    """
    asked = extra_query or {}
    free = [name for name in revision.query if name not in _WITH_ARGUMENTS]
    for name in asked:
        if name not in free:
            raise ValueError(
                f"extra_query has {name!r}; besides what arguments are for, revision "
                f"{revision.date} takes {', '.join(free) or 'nothing'}"
            )
    return tuple(sorted((name, str(value)) for name, value in asked.items()))


_WITH_ARGUMENTS = ("filter", "page[cursor]", "fields[catalog-variant-bulk-create-job]")


def _known(
    revision: Revision[Any], what: str, known: tuple[str, ...], asked: Iterable[str] | None
) -> list[str]:
    if asked is None:
        return []
    if not isinstance(asked, Iterable):
        raise ValueError(f"a {what} must be a string, or several, not {type(asked).__name__}")
    items = [asked] if isinstance(asked, str) else list(asked)
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"a {what} must be a string, not {type(item).__name__}")
    if not items:
        raise ValueError(f"{'fields' if what == 'field' else what} is empty: pass None for all")
    unknown = [repr(str.__str__(item)) for item in items if item not in known]
    if unknown:
        has = f"revision {revision.date} has {', '.join(known)}"
        raise ValueError(f"unknown {what} {', '.join(unknown)}; {has}")
    # The plain string even of an enum member, whose own formatting differs.
    return [str.__str__(item) for item in items]


def job_id(job: object) -> str | None:
    """The identifier of a job, whichever revision it came from.

    `attributes.job_id` before revision 2023-12-15, `id` since. None only when the API left it out.
    """
    identifier = getattr(job, "id", None)
    if identifier is None:
        identifier = getattr(getattr(job, "attributes", None), "job_id", None)
    return identifier if isinstance(identifier, str) else None


def external_id(error: object) -> str | None:
    """The `external_id` of the variant that a job's error is about; None where the API tells none.

    It stands in `meta` of real job errors.
    """
    found = (getattr(error, "meta", None) or {}).get("external_id")
    return found if isinstance(found, str) else None


def job_ids(jobs: Sequence[object]) -> Iterator[str]:
    """The identifiers of jobs of one revision, less those that the API left out."""
    # attrgetter takes a fifth of the time that `job_id` takes for the 100 jobs of a page.
    name = "id" if jobs and hasattr(jobs[0], "id") else "attributes.job_id"
    return filter(None, map(operator.attrgetter(name), jobs))
