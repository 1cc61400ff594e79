"""The rows of `revisions`: lifecycle of each kept revision, and how the newest differs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from klaviyo_variant_jobs.revisions import retired_on, stable_until
from klaviyo_variant_jobs_api.changes import CHANGES
from klaviyo_variant_jobs_api.registry import REVISIONS, Revision

from .progress import counted
from .rows import mapping_layout
from .table import Column
from .text import NOTHING


def revision_rows(today: dt.date) -> Iterator[Mapping[str, Any]]:
    """One row for each revision, oldest first."""
    for revision in REVISIONS:
        yield {
            "revision": revision.date,
            "today": state(revision, today),
            "stable_until": stable_until(revision.date).isoformat(),
            "retired_on": retired_on(revision.date).isoformat(),
            "differs": [attrs.asdict(change) for change in CHANGES[revision.date]],
        }


def state(revision: Revision[Any], today: dt.date) -> str:
    """`live`, `deprecated` or `retired`."""
    if today < stable_until(revision.date):
        return "live"
    return "deprecated" if today < retired_on(revision.date) else "retired"


def _count(row: Mapping[str, Any]) -> str:
    places = len(row["differs"])
    return f"{counted(places, 'place')} (--output json)" if places else NOTHING


_STYLES = {"live": "green", "deprecated": "yellow", "retired": "red"}

REVISION_LAYOUT = mapping_layout(
    (
        Column("revision", lambda row: row["revision"]),
        Column("today", lambda row: row["today"], style=lambda text: _STYLES.get(text, "")),
        Column("stable until", lambda row: row["stable_until"]),
        Column("retired on", lambda row: row["retired_on"]),
        Column("the newest differs in", _count),
    ),
    ("revision", "today", "stable_until", "retired_on", "differs"),
)
