from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from klaviyo_variant_jobs.sandbox import Response, Sandbox, SandboxJob, VirtualClock
from klaviyo_variant_jobs_api import registry

FIELDS = "fields[catalog-variant-bulk-create-job]"
Ask = Callable[..., Response]
Data = Callable[[Response], Any]
Revision = registry.Revision[Any]


@pytest.fixture
def sandbox(clock: VirtualClock) -> Sandbox:
    statuses = ["queued", "processing", "complete", "cancelled"] * 3
    return Sandbox(
        jobs=[SandboxJob(status=status) for status in statuses], jobs_per_page=2, clock=clock
    )


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("status", ["queued", "processing", "complete", "cancelled"])
def test_the_filter_gives_the_jobs_of_one_status_on_all_pages(
    quote: str, status: str, revision: Revision, sandbox: Sandbox, ask: Ask, data: Data
) -> None:
    query: str | dict[str, str] = {"filter": f"equals(status,{quote}{status}{quote})"}
    found = []
    while query:
        page = data(ask(sandbox, query, revision=revision))
        found += [job["attributes"]["status"] for job in page["data"]]
        query = urlsplit(page["links"]["next"] or "").query
    assert found == [status] * 3


def test_a_job_joins_the_filter_when_its_status_changes(
    clock: VirtualClock, ask: Ask, data: Data
) -> None:
    sandbox = Sandbox(jobs=[SandboxJob(queued_seconds=10)], clock=clock)
    query = {"filter": 'equals(status,"processing")'}
    assert data(ask(sandbox, query))["data"] == []
    clock.sleep(11)
    assert len(data(ask(sandbox, query))["data"]) == 1


def test_a_job_whose_status_is_no_text_is_in_no_filter(
    clock: VirtualClock, ask: Ask, data: Data
) -> None:
    odd = SandboxJob(status="complete", attributes={"status": None})
    sandbox = Sandbox(jobs=[odd], clock=clock)
    assert data(ask(sandbox, {"filter": 'equals(status,"complete")'}))["data"] == []
    assert len(data(ask(sandbox))["data"]) == 1


def test_sparse_fieldsets_leave_only_what_was_asked_for_and_the_relationships(
    revision: Revision, sandbox: Sandbox, ask: Ask, data: Data
) -> None:
    page = data(ask(sandbox, {FIELDS: "status,total_count"}, revision=revision))
    for job in page["data"]:
        assert set(job["attributes"]) == {"status", "total_count"}
        assert "variants" in job["relationships"]
        assert job["links"]["self"]


def test_every_field_a_revision_has_can_be_asked_for(
    revision: Revision, sandbox: Sandbox, ask: Ask, data: Data
) -> None:
    page = data(ask(sandbox, {FIELDS: ",".join(revision.fields)}, revision=revision))
    assert set(page["data"][0]["attributes"]) == {*revision.fields} - {"id"}


def test_an_empty_fieldset_leaves_no_attribute(sandbox: Sandbox, ask: Ask, data: Data) -> None:
    assert data(ask(sandbox, {FIELDS: ""}))["data"][0]["attributes"] == {}


@pytest.mark.parametrize("fields", ["colour", "status,colour", "status, total_count", "status,"])
def test_a_field_that_is_none_is_refused(
    fields: str,
    revision: Revision,
    sandbox: Sandbox,
    ask: Ask,
    error: Callable[[Response], Any],
) -> None:
    response = ask(sandbox, {FIELDS: fields}, revision=revision)
    assert response.status == 400
    assert error(response)["source"] == {"parameter": FIELDS}
    assert response.header("content-type") == revision.media_type


@pytest.mark.parametrize("name", ["id", "job_id"])
def test_a_field_that_only_other_revisions_have_is_refused(
    name: str, revision: Revision, sandbox: Sandbox, ask: Ask
) -> None:
    known = name in revision.fields
    assert ask(sandbox, {FIELDS: name}, revision=revision).status == (200 if known else 400)


def test_there_is_no_page_size(
    revision: Revision, sandbox: Sandbox, ask: Ask, error: Callable[[Response], Any]
) -> None:
    response = ask(sandbox, {"page[size]": "50"}, revision=revision)
    assert response.status == 400
    assert error(response)["detail"] == "page_size is not a valid field"


@pytest.mark.parametrize("name", ["sort", "include", "fields[catalog-variant]", "page"])
def test_a_parameter_that_no_revision_has_is_refused(name: str, sandbox: Sandbox, ask: Ask) -> None:
    assert ask(sandbox, {name: "x"}).status == 400


def test_a_parameter_given_twice_is_refused(sandbox: Sandbox, ask: Ask) -> None:
    assert ask(sandbox, f"{FIELDS}=status&{FIELDS}=total_count").status == 400


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("any(status,['queued'])", "'any' is not an operator"),
        ("greater-than(status,'queued')", "'greater-than' is not an operator"),
        ("equals(created_at,'queued')", "'created_at' is not a field"),
        ("equals(status,queued)", "not one quoted string"),
        ("equals(status,\"queued')", "not one quoted string"),
        ("equals(status,'queued','complete')", "not one quoted string"),
        ("equals(status,'paused')", "'paused' is no status"),
        ("status=queued", "not of the form"),
        ("", "not of the form"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    text: str,
    because: str,
    revision: Revision,
    sandbox: Sandbox,
    ask: Ask,
    error: Callable[[Response], Any],
) -> None:
    response = ask(sandbox, {"filter": text}, revision=revision)
    assert response.status == 400
    assert because in error(response)["detail"]
    assert error(response)["source"] == {"parameter": "filter"}


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!!", "WzFd", "Wzw+", "WyJub3ciLCAiaWQiXQ==", "WyIyMDI2LTAxLTAxIiwiSSJd"]
)
def test_a_cursor_that_the_sandbox_did_not_make_is_refused(
    cursor: str,
    revision: Revision,
    sandbox: Sandbox,
    ask: Ask,
    error: Callable[[Response], Any],
) -> None:
    response = ask(sandbox, {"page[cursor]": cursor}, revision=revision)
    assert response.status == 400
    assert error(response)["detail"] == "Invalid cursor provided."


def test_a_cursor_that_was_not_percent_encoded_is_refused(
    sandbox: Sandbox, ask: Ask, data: Data
) -> None:
    first = data(ask(sandbox))
    query = urlsplit(first["links"]["next"]).query
    assert ask(sandbox, query).status == 200
    assert ask(sandbox, query.replace("%3D", "%20")).status == 400
