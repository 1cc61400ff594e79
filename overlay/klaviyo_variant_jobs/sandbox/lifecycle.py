"""Which revision answers a request on a given day."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from typing import Any

import attrs

from klaviyo_variant_jobs.revisions import retired_on, stable_until
from klaviyo_variant_jobs.sandbox import refusals
from klaviyo_variant_jobs_api import registry

OPT_OUT_HEADER = "x-klaviyo-revision-fall-forward-opt-out"

PUBLISHED = (
    "2022-10-17",
    "2023-01-24",
    "2023-02-22",
    "2023-06-15",
    "2023-07-15",
    "2023-08-15",
    "2023-09-15",
    "2023-10-15",
    "2023-12-15",
    "2024-02-15",
    "2024-05-15",
    "2024-06-15",
    "2024-07-15",
    "2024-10-15",
    "2025-01-15",
    "2025-04-15",
    "2025-07-15",
    "2025-10-15",
    "2026-01-15",
    "2026-04-15",
    "2026-07-15",
    "2026-10-15",
)
"""Every revision that Klaviyo published up to November 2026, kept here or not."""

_FORM = re.compile(r"(\d{4}-\d{2}-\d{2})(\.\w+)?")


@attrs.frozen
class Served:
    """The revision that is served, and its response headers."""

    revision: registry.Revision[Any]
    headers: tuple[tuple[str, str], ...]


class Lifecycle:
    """Serves the kept revisions, and forwards requests for other revisions to them.

    A kept revision is served whatever its age, unless it is in `retired`, so that clients for it
    can be tested. Requests for another published revision get the next newer kept revision, or the
    newest kept one if there is none.
    """

    def __init__(self, *, retired: Collection[str]) -> None:
        kept = {revision.date: revision for revision in registry.REVISIONS}
        unknown = sorted(set(retired) - set(PUBLISHED) - set(kept))
        if unknown:
            raise ValueError(
                f"cannot retire {', '.join(unknown)}: no such revision was ever published"
            )
        self._published = sorted({*PUBLISHED, *kept})
        self._retired = frozenset(retired)
        self._kept = kept
        self._live = [r for r in registry.REVISIONS if r.date not in self._retired]

    def asked(self, date: str | None, today: dt.date) -> str:
        """The published revision that a request names.

        Raises:
            Refusal: the header is missing or malformed, or no such revision is published yet.
        """
        if date is None:
            raise refusals.bad_request("The revision header is missing.", parameter="revision")
        match = _FORM.fullmatch(date)
        if match is None or not _is_day(match[1]):
            raise refusals.bad_request(
                f"{date!r} is not a revision: it takes the form YYYY-MM-DD.", parameter="revision"
            )
        if date in self._kept:
            return date
        if date not in self._published or dt.date.fromisoformat(date) > today:
            raise refusals.not_found(f"There is no revision {date}.")
        return date

    def kept(self, date: str) -> registry.Revision[Any] | None:
        """The kept revision of that date; None if it is not kept."""
        return self._kept.get(date)

    def served(self, date: str, today: dt.date, *, opted_out: bool) -> Served:
        """The revision that answers a request for the published revision `date`.

        Raises:
            Refusal: it is retired and the request opted out of another one, or none is left.
        """
        if self._is_retired(date, today) and (opted_out or not self._live):
            raise refusals.revision_retired(date)
        if not self._live:
            raise refusals.not_found(f"Revision {date} is not served by this sandbox.")
        later = [revision for revision in self._live if revision.date >= date]
        revision = later[0] if later else self._live[-1]
        headers = [("x-klaviyo-api-revision", revision.date)]
        if today >= stable_until(revision.date):
            headers.append(("x-klaviyo-api-retirement-date", retired_on(revision.date).isoformat()))
        return Served(revision, tuple(headers))

    def _is_retired(self, date: str, today: dt.date) -> bool:
        if date in self._kept:
            return date in self._retired
        return date in self._retired or today >= retired_on(date)


def _is_day(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
