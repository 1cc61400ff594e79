"""Each cassette, played to both clients: what they make of it. And what every cassette must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import jsonschema_rs
import pytest
from vcr.cassette import Cassette
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.serializers import yamlserializer

from klaviyo_variant_jobs import (
    APIError,
    AuthenticationError,
    CursorError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    RevisionRetiredError,
    ServerError,
    job_id,
)
from klaviyo_variant_jobs_api.registry import REVISIONS, Revision
from tooling import fragment
from tooling.record import (
    API,
    MATCH_ON,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    SANDBOX,
    answer_of,
    stale,
)
from tooling.scenarios import SCENARIOS, UNKNOWN_STATUS, Scenario, scenarios_of

pytestmark = pytest.mark.block_network

FOLDER = Path(__file__).parent
SPEC = FOLDER.parent.parent / "spec"

ERRORS: dict[str, type[APIError]] = {
    "400": CursorError,
    "401": AuthenticationError,
    "403_html": PermissionDeniedError,
    "404": NotFoundError,
    "410": RevisionRetiredError,
}
RETRIES: dict[str, type[APIError]] = {"429_then_200": RateLimitError, "503_then_200": ServerError}


def _each(*names: str) -> pytest.MarkDecorator:
    """The cassettes of these scenarios, or of all, in every revision."""
    pairs = [
        pytest.param(revision, scenario, id=f"{revision.date}-{scenario.name}")
        for revision in REVISIONS
        for scenario in scenarios_of(revision)
        if not names or scenario.name in names
    ]
    return pytest.mark.parametrize(("revision", "scenario"), pairs)


_LISTS = [scenario.name for scenario in SCENARIOS if scenario.name not in ERRORS]


def _documents(cassette: Cassette) -> list[Any]:
    """The bodies of the pages in a cassette."""
    return [answer_of(r).document for r in cassette.responses if r["status"]["code"] == 200]


def _recorded_jobs(cassette: Cassette) -> list[dict[str, Any]]:
    return [job for document in _documents(cassette) for job in document["data"]]


def _load(revision: Revision[Any], scenario: Scenario) -> Cassette:
    # As anybody's vcrpy would, without our options.
    return Cassette.load(path=str(FOLDER / revision.date / f"{scenario.name}.yaml"))


# What the clients make of them


@pytest.mark.vcr
@_each(*_LISTS)
async def test_a_list_gives_exactly_the_recorded_jobs_in_their_order(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    recorded = _recorded_jobs(vcr)
    client = replaying(revision)

    iteration = client.iter_jobs(**scenario.query(revision))
    jobs = await wire.take(iteration, len(recorded))
    # Recording stops after some pages; a list that ends before is seen to end.
    if not recorded or not (_documents(vcr)[-1].get("links") or {}).get("next"):
        assert await wire.next(iteration) is None

    ids = [job.get("id") or job["attributes"]["job_id"] for job in recorded]
    assert [job_id(job) for job in jobs] == ids
    for job, entry in zip(jobs, recorded, strict=True):
        for name in entry["attributes"].keys() & {"status", "total_count", "failed_count"}:
            assert getattr(job.attributes, name) == entry["attributes"][name]
    assert vcr.all_played
    await wire.close(client)


@pytest.mark.vcr
@_each(*(name for name in _LISTS if name not in RETRIES))
async def test_a_page_carries_what_its_headers_said(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    headers = vcr.responses[0]["headers"]
    client = replaying(revision, strict=True)

    page = await wire.of(client.get_page(**scenario.query(revision)))

    assert [page.request_id] == headers["x-klaviyo-req-id"]
    assert [page.revision_served] == headers["x-klaviyo-api-revision"]
    assert [str(page.rate_limit)] == headers["ratelimit-limit"]
    assert [str(page.rate_limit.remaining)] == headers["ratelimit-remaining"]
    assert page.anomalies == ()
    await wire.close(client)


@pytest.mark.vcr
@_each(*ERRORS)
async def test_a_refusal_is_raised_at_once_as_the_error_of_its_status(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    (response,) = vcr.responses
    client = replaying(scenario.pinned(revision))

    error = await wire.error(
        ERRORS[scenario.name], lambda: client.get_page(**scenario.query(revision))
    )

    assert type(error) is ERRORS[scenario.name]
    assert error.status_code == response["status"]["code"]
    assert error.attempts == 1
    assert [error.request_id] == response["headers"].get("x-klaviyo-req-id", [None])
    document = answer_of(response).document or {}
    assert [detail.id for detail in error.errors if detail.id] == [
        entry["id"] for entry in document.get("errors", ())
    ]
    assert vcr.all_played
    await wire.close(client)


@pytest.mark.vcr
@_each("429_then_200", "503_then_200")
async def test_a_passing_failure_is_tried_again_after_a_virtual_wait(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    retry_after = float(vcr.responses[0]["headers"].get("retry-after", ["0"])[0])
    client = replaying(revision)
    begun = wire.clock.monotonic()

    page = await wire.of(client.get_page())

    assert len(page.jobs) == len(_recorded_jobs(vcr))
    assert wire.clock.monotonic() - begun > 0
    assert wire.clock.monotonic() - begun >= retry_after
    assert vcr.play_count == 2
    await wire.close(client)


@pytest.mark.vcr
@_each("429_then_200", "503_then_200")
async def test_a_passing_failure_is_raised_when_there_is_one_attempt(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    client = replaying(revision, retry=RetryPolicy(max_attempts=1))

    error = await wire.error(RETRIES[scenario.name], client.iter_jobs())

    assert (error.attempts, error.checkpoint.offset) == (1, 0)
    assert vcr.play_count == 1
    await wire.close(client)


@pytest.mark.vcr
@_each("unknown_status")
async def test_an_unknown_status_keeps_its_text(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    client = replaying(revision, strict=True)

    jobs = await wire.all(client.iter_jobs())

    assert UNKNOWN_STATUS in [job.attributes.status for job in jobs]
    await wire.close(client)


@pytest.mark.vcr
@_each("job_errors_detail_meta")
async def test_job_errors_with_only_detail_and_meta_are_read(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    recorded = [e for job in _recorded_jobs(vcr) for e in job["attributes"]["errors"]]
    client = replaying(revision, strict=True)

    jobs = await wire.all(client.iter_jobs())

    errors = [error for job in jobs for error in job.attributes.errors]
    assert [error.detail for error in errors] == [entry["detail"] for entry in recorded]
    assert [error.meta["external_id"] for error in errors] == [
        entry["meta"]["external_id"] for entry in recorded
    ]
    assert {(error.id, error.code, error.title, error.source) for error in errors} == {(None,) * 4}
    await wire.close(client)


@pytest.mark.vcr
@_each("one_page")
async def test_a_cassette_does_not_answer_for_another_revision(
    revision: Revision[Any], scenario: Scenario, wire: Any, replaying: Any, vcr: Cassette
) -> None:
    # Of the same path, so that nothing but the header tells them apart.
    others = [attrs.evolve(revision, date=one.date) for one in REVISIONS if one is not revision]
    others.append(attrs.evolve(revision, date="1999-12-31"))
    for other in others:
        client = replaying(other)
        with pytest.raises(CannotOverwriteExistingCassetteException, match="revision"):
            await wire.of(client.get_page())
        await wire.close(client)
    assert vcr.play_count == 0


# What every cassette must be


def test_every_revision_has_a_cassette_of_every_scenario_and_no_other_exists() -> None:
    wanted = {
        f"{revision.date}/{scenario.name}.yaml"
        for revision in REVISIONS
        for scenario in scenarios_of(revision)
    }
    found = {file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob("*.yaml")}
    assert found == wanted, "run scripts/record"
    assert stale(FOLDER) == [], "run scripts/record"


@_each()
def test_it_shows_what_its_name_says(revision: Revision[Any], scenario: Scenario) -> None:
    answers = [answer_of(response) for response in _load(revision, scenario).responses]
    assert scenario.shows(revision, answers)


@_each()
def test_every_request_in_it_pins_its_folders_revision_at_the_real_host(
    revision: Revision[Any], scenario: Scenario
) -> None:
    for request in _load(revision, scenario).requests:
        assert request.method == "GET"
        assert request.uri.startswith(f"{API}{scenario.pinned(revision).path}")
        assert request.headers["revision"] == revision.date
        assert request.headers["x-klaviyo-revision-fall-forward-opt-out"] == "1"


@_each()
def test_it_says_where_it_comes_from(revision: Revision[Any], scenario: Scenario) -> None:
    text = (FOLDER / revision.date / f"{scenario.name}.yaml").read_text(encoding="utf-8")
    source = yamlserializer.deserialize(text)["recorded_from"]
    assert source == SANDBOX or (source == API and scenario.live)


@_each()
def test_it_holds_no_secret(revision: Revision[Any], scenario: Scenario) -> None:
    text = (FOLDER / revision.date / f"{scenario.name}.yaml").read_text(encoding="utf-8").lower()
    for word in ("authorization", "klaviyo-api-key", "bearer", "cookie", "pk_", "127.0.0.1"):
        assert word not in text
    cassette = _load(revision, scenario)
    for request, response in zip(cassette.requests, cassette.responses, strict=True):
        assert set(request.headers) <= set(REQUEST_HEADERS)
        assert set(response["headers"]) <= {*RESPONSE_HEADERS, "content-length"}


@_each()
def test_its_pages_are_what_the_fragment_describes(
    revision: Revision[Any], scenario: Scenario
) -> None:
    schema = _page_schema(revision)
    for response in _load(revision, scenario).responses:
        if response["status"]["code"] != 200:
            continue
        headers = {name: values[0] for name, values in response["headers"].items()}
        schema.validate(json.loads(response["body"]["string"]))
        assert headers["content-type"].partition(";")[0] == revision.media_type
        assert headers["x-klaviyo-req-id"]
        # The API may name an earlier revision that is the same for this endpoint.
        assert headers["x-klaviyo-api-revision"] <= revision.date
        for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"):
            assert headers[name]
        assert int(headers["content-length"]) == len(response["body"]["string"])


@_each("400", "401", "404", "429_then_200", "503_then_200")
def test_its_refusals_are_error_documents_named_by_the_request_id(
    revision: Revision[Any], scenario: Scenario
) -> None:
    response = _load(revision, scenario).responses[0]
    status, headers = response["status"]["code"], response["headers"]
    document = answer_of(response).document
    for error in document["errors"]:
        # Recorded: an array where there are none, of what the schema says are objects.
        error.update({name: {} for name in ("links", "meta") if error.get(name) == []})
    _schema(revision, "ErrorDocument").validate(document)
    assert document["errors"][0]["id"] == headers["x-klaviyo-req-id"][0]
    assert ("content-type" in headers) == (status != 429)
    if status == 429:
        assert not [name for name in headers if name.startswith("ratelimit")]


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)
def test_the_schema_refuses_a_page_that_is_not_as_described(revision: Revision[Any]) -> None:
    one_page = next(one for one in SCENARIOS if one.name == "one_page")
    (page,) = _documents(_load(revision, one_page))
    schema = _page_schema(revision)
    assert schema.is_valid(page)
    page["data"][0]["attributes"]["total_count"] = {"an": "object"}
    assert not schema.is_valid(page)
    assert not schema.is_valid({"links": {}})


def test_matching_looks_at_everything_that_names_an_answer() -> None:
    assert {"method", "path", "query", "revision"} <= set(MATCH_ON)


def _page_schema(revision: Revision[Any]) -> jsonschema_rs.Draft202012Validator:
    return _schema(revision, "JobPage")


def _schema(revision: Revision[Any], component: str) -> jsonschema_rs.Draft202012Validator:
    document = fragment.load(SPEC / f"{revision.date}.yaml")
    reference = {"$ref": f"#/components/schemas/{component}"}
    return jsonschema_rs.Draft202012Validator({**reference, "components": document["components"]})
