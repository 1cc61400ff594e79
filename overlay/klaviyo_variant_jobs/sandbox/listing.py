"""Pages of the job list, rendered once for as long as they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from klaviyo_variant_jobs.sandbox import documents, queries
from klaviyo_variant_jobs.sandbox.jobs import JobList, JobState, older_than
from klaviyo_variant_jobs.sandbox.messages import Request
from klaviyo_variant_jobs_api.registry import Revision

# Of 100 large jobs a page has about 1 MB, so this is the most memory we take, in megabytes.
_PAGES_REMEMBERED = 256


class Listing:
    """Answers queries about a list of jobs."""

    def __init__(self, jobs: JobList, *, jobs_per_page: int) -> None:
        self._jobs = jobs
        self._jobs_per_page = jobs_per_page
        self._rendered: dict[tuple[int, str, str, str], bytes] = {}
        self._rendered_version = 0

    def page(self, request: Request, revision: Revision[Any], *, account: str, now: float) -> bytes:
        """The body for this request of an account at `now`, in epoch seconds.

        Raises:
            Refusal: the query means nothing to this revision.
        """
        snapshot = self._jobs.at(now)
        if snapshot.version != self._rendered_version or len(self._rendered) >= _PAGES_REMEMBERED:
            self._rendered.clear()
            self._rendered_version = snapshot.version
        snapshot = snapshot.of(account)
        # The number of a snapshot is its own as long as the pages of it are remembered.
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
            """The page that begins with the youngest of the `older` oldest jobs."""
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
