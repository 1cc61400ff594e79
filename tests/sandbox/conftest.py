from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from klaviyo_variant_jobs.sandbox import Request, Response, Sandbox, VirtualClock
from klaviyo_variant_jobs_api import registry

KEY = "pk_test"
Ask = Callable[..., Response]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=registry.REVISIONS, ids=lambda revision: revision.date)
def revision(request: pytest.FixtureRequest) -> registry.Revision[Any]:
    found: registry.Revision[Any] = request.param
    return found


@pytest.fixture
def ask() -> Ask:
    """Ask a sandbox as a client that sends what it should, except for what a test changes."""

    def ask(
        sandbox: Sandbox,
        query: str | dict[str, str] = "",
        *,
        revision: registry.Revision[Any] = registry.NEWEST,
        date: str | None = None,
        path: str | None = None,
        method: str = "GET",
        authorization: str | None = f"Klaviyo-API-Key {KEY}",
        opt_out: bool = True,
    ) -> Response:
        headers = {"revision": date or revision.date}
        if authorization is not None:
            headers["authorization"] = authorization
        if opt_out:
            headers["x-klaviyo-revision-fall-forward-opt-out"] = "1"
        return sandbox.handle(
            Request(
                method=method,
                path=path or revision.path,
                query=query if isinstance(query, str) else urlencode(query),
                headers=headers,
            )
        )

    return ask


@pytest.fixture
def data() -> Callable[[Response], Any]:
    """The parsed body of a response."""
    return lambda response: json.loads(response.body)


@pytest.fixture
def error(data: Callable[[Response], Any]) -> Callable[[Response], Any]:
    """The one error of a response, after a look at what all errors have in common."""

    def error(response: Response) -> Any:
        (only,) = data(response)["errors"]
        assert only["status"] == response.status
        assert only["id"] == response.header("x-klaviyo-req-id")
        assert only["title"]
        return only

    return error


@pytest.fixture
def job_ids(revision: registry.Revision[Any]) -> Callable[[Any], list[str]]:
    """The identifiers on a page of this revision."""
    if revision.id_in_attributes:
        return lambda page: [job["attributes"]["job_id"] for job in page["data"]]
    return lambda page: [job["id"] for job in page["data"]]
