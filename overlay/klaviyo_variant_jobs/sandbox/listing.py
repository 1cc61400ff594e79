"""Pages of the job list, cached until a job changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from klaviyo_variant_jobs.sandbox import documents, queries
from klaviyo_variant_jobs.sandbox.jobs import JobList, JobState, older_than
from klaviyo_variant_jobs.sandbox.messages import Request
from klaviyo_variant_jobs_api.registry import Revision

# A page of 100 large jobs has about 1 MB, so the cache takes at most some 256 MB.
_PAGES_REMEMBERED = 256


class Listing:
    """Renders pages of a list of jobs."""

    def __init__(self, jobs: JobList, *, jobs_per_page: int) -> None:
        self._jobs = jobs
        self._jobs_per_page = jobs_per_page
        self._rendered: dict[tuple[int, str, str, str], bytes] = {}
        self._rendered_version = 0

    def page(self, request: Request, revision: Revision[Any], *, account: str, now: float) -> bytes:
        """The body of the page that the request asks for, at `now` in epoch seconds.

        Raises:
            Refusal: the query is invalid in this revision.
        """
        snapshot = self._jobs.at(now)
        if snapshot.version != self._rendered_version or len(self._rendered) >= _PAGES_REMEMBERED:
            self._rendered.clear()
            self._rendered_version = snapshot.version
        snapshot = snapshot.of(account)
        # id() is unique here: the snapshot lives as long as its pages are cached.
        key = (id(snapshot), revision.date, request.origin, request.query)
        body = self._rendered.get(key)
        if body is None:
            query = queries.parse(request.query, revision)
            states = snapshot.with_status(query.status)
            body = self._rendered[key] = self._render(states, query, revision, request.origin)
        return body

    def _render(
        self,
        states: Sequence[JobState],
        query: queries.Query,
        revision: Revision[Any],
        origin: str,
    ) -> bytes:
        end = len(states) if query.after is None else older_than(states, query.after)
        start = max(0, end - self._jobs_per_page)
        on_last_page = min(len(states), len(states) % self._jobs_per_page or self._jobs_per_page)
        # Recorded: the list's own link has no trailing slash, a job's own link has one.
        collection_url = origin + revision.path.rstrip("/")

        def url(base: str, query_string: str) -> str:
            return f"{base}?{query_string}" if query_string else base

        def page_of(older: int) -> str:
            """The URL of the page whose first job is the newest of the `older` oldest jobs."""
            position = states[older].key if older < len(states) else None
            return url(origin + revision.path, query.at(position))

        return documents.page(
            documents.shape_of(revision),
            reversed(states[start:end]),
            fields=query.fields,
            links={
                "self": url(collection_url, query.encoded),
                "first": page_of(len(states)),
                "last": page_of(on_last_page),
                "next": page_of(start) if start else None,
                "prev": None,
            },
            collection_url=collection_url,
        )
