"""The kept revisions: how long each lasts, and how it differs from the newest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from klaviyo_variant_jobs.revisions import (
    NEWEST,
    REVISIONS,
    Revision,
    retired_on,
    stable_until,
)

from .rows import mapping_layout
from .table import Column
from .text import NOTHING, visible


def revision_rows(today: dt.date) -> Iterator[Mapping[str, Any]]:
    """One row for each revision, oldest first."""
    for revision in REVISIONS:
        yield {
            "revision": revision.date,
            "today": state(revision, today),
            "stable_until": stable_until(revision.date).isoformat(),
            "retired_on": retired_on(revision.date).isoformat(),
            "differs": list(differences(revision)),
        }


def state(revision: Revision[Any], today: dt.date) -> str:
    """`live`, `deprecated` or `retired`."""
    if today < stable_until(revision.date):
        return "live"
    return "deprecated" if today < retired_on(revision.date) else "retired"


def differences(revision: Revision[Any]) -> Iterator[str]:
    """How a revision differs from the newest, as far as the registry tells."""
    for what, here, newest in (
        ("path", revision.path, NEWEST.path),
        ("media type", revision.media_type, NEWEST.media_type),
        ("rate limit", _limits(revision), _limits(NEWEST)),
        ("identifier", _identifier(revision), _identifier(NEWEST)),
    ):
        if here != newest:
            yield f"{what} {here}, newest {newest}"
    for what, ours, theirs in (
        ("field", revision.fields, NEWEST.fields),
        ("status", revision.statuses, NEWEST.statuses),
    ):
        for name in ours:
            if name not in theirs:
                yield f"{what} {name}, gone in the newest"
        for name in theirs:
            if name not in ours:
                yield f"no {what} {name}, new since"


def _limits(revision: Revision[Any]) -> str:
    return f"{revision.burst}/s {revision.steady}/min"


def _identifier(revision: Revision[Any]) -> str:
    return "attributes.job_id" if revision.id_in_attributes else "id"


_STYLES = {"live": "green", "deprecated": "yellow", "retired": "red"}

REVISION_LAYOUT = mapping_layout(
    (
        Column("revision", lambda row: row["revision"]),
        Column("today", lambda row: row["today"], style=lambda text: _STYLES.get(text, "")),
        Column("stable until", lambda row: row["stable_until"]),
        Column("retired on", lambda row: row["retired_on"]),
        Column(
            "differs from the newest",
            lambda row: visible("; ".join(row["differs"])) or NOTHING,
            folds=True,
        ),
    ),
    ("revision", "today", "stable_until", "retired_on", "differs"),
)
