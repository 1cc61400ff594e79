from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest

from klaviyo_variant_jobs.sandbox import Request, Response, Sandbox, SandboxJob, VirtualClock
from klaviyo_variant_jobs_api import registry

Ask = Callable[..., Response]
Data = Callable[[Response], Any]
JobIds = Callable[[Any], list[str]]
Revision = registry.Revision[Any]


def next_query(page: Any) -> str:
    return str(urlsplit(page["links"]["next"]).query)


def test_every_job_comes_once_and_the_newest_first(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data, job_ids: JobIds
) -> None:
    sandbox = Sandbox(jobs=250, clock=clock)
    pages = [data(ask(sandbox, revision=revision))]
    while pages[-1]["links"]["next"]:
        pages.append(data(ask(sandbox, next_query(pages[-1]), revision=revision)))
    assert [len(page["data"]) for page in pages] == [100, 100, 50]
    assert [job_id for page in pages for job_id in job_ids(page)] == [j.id for j in sandbox.jobs]
    dates = [job["attributes"]["created_at"] for page in pages for job in page["data"]]
    assert dates == sorted(dates, reverse=True)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_a_list_that_fills_its_last_page_has_no_empty_one_after_it(
    count: int, revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    sandbox = Sandbox(jobs=count, jobs_per_page=2, clock=clock)
    page = data(ask(sandbox, revision=revision))
    sizes = [len(page["data"])]
    while page["links"]["next"]:
        page = data(ask(sandbox, next_query(page), revision=revision))
        sizes.append(len(page["data"]))
    assert sum(sizes) == count
    assert sizes in ([0], [1], [2], [2, 1], [2, 2])


def test_next_and_prev_of_the_last_page_are_null(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    links = data(ask(Sandbox(jobs=3, clock=clock), revision=revision))["links"]
    assert links["next"] is None
    assert links["prev"] is None


def test_links_are_absolute_and_repeat_every_parameter_percent_encoded(
    revision: Revision, clock: VirtualClock
) -> None:
    sandbox = Sandbox(jobs=30, jobs_per_page=2, clock=clock)
    response = sandbox.handle(
        Request(
            origin="http://127.0.0.1:8000",
            path=revision.path,
            query="fields[catalog-variant-bulk-create-job]=status&filter=equals(status,'complete')",
            headers={"revision": revision.date, "authorization": "Klaviyo-API-Key pk_a"},
        )
    )
    links = msgspec.json.decode(response.body)["links"]
    following = urlsplit(links["next"])
    assert f"{following.scheme}://{following.netloc}" == "http://127.0.0.1:8000"
    assert following.path == revision.path
    assert not set("[](),' ") & set(following.query)
    parameters = dict(parse_qsl(following.query))
    assert parameters.pop("page[cursor]")
    assert parameters == {
        "fields[catalog-variant-bulk-create-job]": "status",
        "filter": "equals(status,'complete')",
    }
    assert unquote(links["self"]).endswith("filter=equals(status,'complete')")


def test_the_list_links_to_itself_without_a_slash_and_to_each_job_with_one(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    page = data(ask(Sandbox(jobs=1, clock=clock), revision=revision))
    own = "https://a.klaviyo.com/api/catalog-variant-bulk-create-jobs"
    assert page["links"]["self"] == own
    (job,) = page["data"]
    assert job["links"]["self"].startswith(own + "/")
    assert job["links"]["self"].endswith("/")


def test_a_revision_has_exactly_the_links_of_its_model(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    links = data(ask(Sandbox(jobs=5, jobs_per_page=2, clock=clock), revision=revision))["links"]
    ends = {"first", "last"} if revision.date < "2026-04-15" else set()
    assert set(links) == {"self", "prev", "next"} | ends


@pytest.mark.parametrize(
    "revision",
    [revision for revision in registry.REVISIONS if revision.date < "2026-04-15"],
    ids=lambda revision: revision.date,
)
def test_first_and_last_lead_where_they_say(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data, job_ids: JobIds
) -> None:
    sandbox = Sandbox(jobs=5, jobs_per_page=2, clock=clock)
    links = data(ask(sandbox, revision=revision))["links"]
    last = data(ask(sandbox, urlsplit(links["last"]).query, revision=revision))
    assert job_ids(last) == [sandbox.jobs[-1].id]
    assert last["links"]["next"] is None
    assert urlsplit(last["links"]["first"]).query == ""


def test_new_jobs_at_the_front_do_not_shift_the_pages_behind(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data, job_ids: JobIds
) -> None:
    sandbox = Sandbox(jobs=6, jobs_per_page=2, clock=clock)
    before = [job.id for job in sandbox.jobs]
    page = data(ask(sandbox, revision=revision))
    clock.sleep(1)
    added = sandbox.add_jobs(SandboxJob(), SandboxJob(), SandboxJob())
    assert [job.id for job in sandbox.jobs] == [job.id for job in added] + before
    following = data(ask(sandbox, next_query(page), revision=revision))
    assert job_ids(following) == before[2:4]


def test_a_cursor_holds_when_the_job_it_was_made_from_is_gone(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data, job_ids: JobIds
) -> None:
    sandbox = Sandbox(jobs=5, jobs_per_page=2, clock=clock)
    ids = [job.id for job in sandbox.jobs]
    page = data(ask(sandbox, revision=revision))
    sandbox.remove_job(ids[1])
    sandbox.remove_job(ids[2])
    following = data(ask(sandbox, next_query(page), revision=revision))
    assert job_ids(following) == ids[3:5]


def test_jobs_go_from_queued_through_processing_to_complete(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    sandbox = Sandbox(
        jobs=[SandboxJob(variants=4, failed=1, queued_seconds=10, processing_seconds=40)],
        clock=clock,
    )
    seen = []
    for _ in range(7):
        (job,) = data(ask(sandbox, revision=revision))["data"]
        attributes = job["attributes"]
        seen.append(
            (
                attributes["status"],
                attributes["completed_count"],
                attributes["failed_count"],
                len(attributes["errors"]),
                attributes["completed_at"] is not None,
                len(job["relationships"]["variants"]["data"]),
            )
        )
        clock.sleep(10)
    assert seen == [
        ("queued", 0, 0, 0, False, 0),
        ("processing", 0, 0, 0, False, 0),
        ("processing", 1, 0, 0, False, 0),
        ("processing", 2, 0, 0, False, 0),
        ("processing", 3, 0, 0, False, 0),
        ("complete", 3, 1, 1, True, 3),
        ("complete", 3, 1, 1, True, 3),
    ]


def test_a_cancelled_job_ends_halfway(clock: VirtualClock, ask: Ask, data: Data) -> None:
    sandbox = Sandbox(
        jobs=[SandboxJob(variants=4, cancelled=True, queued_seconds=10, processing_seconds=40)],
        clock=clock,
    )
    clock.sleep(31)
    (job,) = data(ask(sandbox))["data"]
    assert job["attributes"]["status"] == "cancelled"
    assert job["attributes"]["completed_count"] == 2
    assert job["attributes"]["completed_at"] is None


def test_times_have_microseconds_and_an_offset_since_2024_05_15(
    revision: Revision, ask: Ask, data: Data
) -> None:
    clock = VirtualClock(start=datetime(2026, 9, 4, 13, 41, 16, 380_858, tzinfo=UTC))
    sandbox = Sandbox(jobs=[SandboxJob(queued_seconds=1, processing_seconds=1)], clock=clock)
    clock.sleep(60)
    attributes = data(ask(sandbox, revision=revision))["data"][0]["attributes"]
    offset = "+00:00" if revision.date >= "2024-05-15" else ""
    assert attributes["created_at"] == f"2026-09-04T13:41:16.380858{offset}"
    assert attributes["completed_at"] == f"2026-09-04T13:41:18.380858{offset}"
    assert attributes["expires_at"] == f"2026-09-11T13:41:16.380858{offset}"


def test_the_identifier_is_where_the_revision_has_it(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    (job,) = data(ask(Sandbox(jobs=1, clock=clock), revision=revision))["data"]
    assert ("id" in job) is not revision.id_in_attributes
    assert ("job_id" in job["attributes"]) is revision.id_in_attributes


def test_ids_look_like_ulids_and_repeat_with_the_seed(clock: VirtualClock) -> None:
    ids = [[job.id for job in Sandbox(jobs=5, clock=clock, seed=s).jobs] for s in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert all(len(job_id) == 26 and job_id.isalnum() and job_id.isupper() for job_id in ids[0])


def test_a_sample_list_has_every_status_and_failures_among_the_complete(
    clock: VirtualClock, ask: Ask, data: Data
) -> None:
    page = data(ask(Sandbox(jobs=100, clock=clock)))
    statuses = {job["attributes"]["status"] for job in page["data"]}
    assert statuses == {"queued", "processing", "complete", "cancelled"}
    assert any(
        job["attributes"]["status"] == "complete" and job["attributes"]["failed_count"]
        for job in page["data"]
    )


def test_job_errors_come_in_every_form_that_has_been_met(
    clock: VirtualClock, ask: Ask, data: Data
) -> None:
    sandbox = Sandbox(jobs=[SandboxJob(status="complete", variants=3, failed=3)], clock=clock)
    errors = data(ask(sandbox))["data"][0]["attributes"]["errors"]
    assert [set(error) for error in errors] == [
        {"id", "code", "title", "detail", "source"},
        {"detail", "meta", "source"},
        {"detail", "meta"},
    ]


def test_the_number_of_variants_is_the_length_of_the_relationship(
    clock: VirtualClock, ask: Ask, data: Data
) -> None:
    sandbox = Sandbox(jobs=30, variants_per_job=100, clock=clock)
    complete = data(ask(sandbox, "filter=equals(status,'complete')"))["data"]
    lengths = {len(job["relationships"]["variants"]["data"]) for job in complete}
    assert max(lengths) == 100
    assert complete[0]["relationships"]["variants"]["data"][0]["type"] == "catalog-variant"


def test_a_job_may_hold_a_status_and_values_that_nobody_declared(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    odd = SandboxJob(status="paused", attributes={"total_count": "many", "mood": {"is": "new"}})
    sandbox = Sandbox(jobs=[odd], clock=clock)
    attributes = data(ask(sandbox, revision=revision))["data"][0]["attributes"]
    assert attributes["status"] == "paused"
    assert attributes["total_count"] == "many"
    assert attributes["mood"] == {"is": "new"}


def test_a_changed_job_keeps_its_place(clock: VirtualClock, ask: Ask, data: Data) -> None:
    sandbox = Sandbox(jobs=3, clock=clock)
    ids = [job.id for job in sandbox.jobs]
    sandbox.change_job(ids[1], status="cancelled", errors=[{"detail": "stopped by hand"}])
    jobs = data(ask(sandbox))["data"]
    assert [job["id"] for job in jobs] == ids
    assert jobs[1]["attributes"]["status"] == "cancelled"
    assert jobs[1]["attributes"]["errors"] == [{"detail": "stopped by hand"}]


def test_a_job_that_is_not_there_cannot_be_changed_or_removed(clock: VirtualClock) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    with pytest.raises(KeyError, match="no job 'X'"):
        sandbox.change_job("X", status="complete")
    with pytest.raises(KeyError, match="no job 'X'"):
        sandbox.remove_job("X")


def test_jobs_of_one_s_own_keep_their_order_and_their_dates(clock: VirtualClock) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    sandbox = Sandbox(
        jobs=[SandboxJob(id="B"), SandboxJob(id="A"), SandboxJob(id="old", created_at=when)],
        clock=clock,
    )
    assert [job.id for job in sandbox.jobs] == ["B", "A", "old"]
    assert sandbox.jobs[2].created_at == when
    assert sandbox.jobs[0].created_at is not None
    assert sandbox.jobs[0].created_at - when > timedelta(days=300)


def test_agent_hints_come_with_the_revisions_that_have_them(
    revision: Revision, clock: VirtualClock, ask: Ask, data: Data
) -> None:
    page = data(ask(Sandbox(jobs=3, jobs_per_page=2, clock=clock), revision=revision))
    assert ("meta" in page) is (revision.date >= "2026-07-15")


def test_every_page_decodes_into_the_generated_models(clock: VirtualClock, ask: Ask) -> None:
    revision = registry.NEWEST
    response = ask(Sandbox(jobs=100, clock=clock))
    page = msgspec.json.decode(response.body, type=revision.load().page_model)
    assert len(page.data) == 100


def test_a_page_asked_for_again_is_the_same_until_a_job_moves_on(
    clock: VirtualClock, ask: Ask
) -> None:
    job = SandboxJob(queued_seconds=10)
    sandbox = Sandbox(jobs=[job], clock=clock)
    first, second = ask(sandbox), ask(sandbox)
    assert first.body is second.body
    clock.sleep(10)
    assert ask(sandbox).body != first.body
