"""Waiting for jobs, in virtual time against the sandbox, with both clients."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import pytest

from conftest import Wire
from klaviyo_variant_jobs import (
    AuthenticationError,
    DeadlineError,
    InvalidResponseError,
    JobsMissingError,
    KlaviyoError,
    RateLimiter,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
    WatchTimeoutError,
    is_finished,
    job_id,
)
from klaviyo_variant_jobs.sandbox import Delivery, Fault, Request, Response, Sandbox, SandboxJob
from klaviyo_variant_jobs.watch import in_brief
from klaviyo_variant_jobs_api.registry import REVISIONS


def submitted(wire: Wire, *jobs: SandboxJob, old: int = 0, **options: Any) -> Sandbox:
    """A sandbox with `jobs` and, a day older, `old` complete ones."""
    sandbox = Sandbox(jobs=0, clock=wire.clock, **options)
    if old:
        sandbox.add_jobs(*(SandboxJob(queued_seconds=1, processing_seconds=1),) * old)
        wire.clock.sleep(86_400)
    sandbox.add_jobs(*jobs)
    return sandbox


def ids_of(sandbox: Sandbox, count: int) -> list[str]:
    """The ids of the newest jobs."""
    return [job.id for job in sandbox.jobs[:count]]


def client_of(wire: Wire, sandbox: Sandbox, **options: Any) -> Any:
    return wire.client(sandbox, http_client=wire.http(sandbox.transport()), **options)  # type: ignore[arg-type]


def asked(sandbox: Sandbox) -> Counter[str]:
    """How many pages were asked for of each status, `all` without one."""
    filters = (parse_qs(record.query).get("filter", ['"all"'])[0] for record in sandbox.requests)
    return Counter(text.split('"')[1] for text in filters)


def before_request(sandbox: Sandbox, nth: int, do: Callable[[], object]) -> None:
    """Have `do` done just before the nth request is answered."""
    handle = sandbox.handle

    def handling(request: Request) -> Response:
        if len(sandbox.requests) == nth - 1:
            do()
        return handle(request)

    sandbox.handle = handling  # type: ignore[method-assign]


def statuses(changes: Iterable[Any], name: str) -> list[str]:
    return [change.job.attributes.status for change in changes if change.job.id == name]


async def test_every_change_of_a_job_comes_with_what_it_was_before(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(variants=4), old=5)
    (name,) = ids_of(sandbox, 1)
    changes = await wire.all(client_of(wire, sandbox).watch([name], timeout=600))
    assert [c.previous for c in changes] == [None, *(c.job for c in changes[:-1])]
    assert list(dict.fromkeys(statuses(changes, name))) == ["queued", "processing", "complete"]
    counts = [c.job.attributes.completed_count for c in changes]
    assert counts == sorted(counts)
    assert counts[-1] == 4


async def test_thirty_jobs_through_429s_drops_and_moves_between_passes(wire: Wire) -> None:
    jobs = [SandboxJob(queued_seconds=5 * n, processing_seconds=30) for n in range(30)]
    sandbox = submitted(wire, *jobs, old=250)
    names = ids_of(sandbox, 30)
    sandbox.fail_next(429, Fault(status=429, retry_after=3))
    before_request(sandbox, 9, lambda: sandbox.fail_next(Fault(delivery=Delivery.DROP), 503))
    # When queued has been read and processing has not, a job goes all the way.
    before_request(sandbox, 4, lambda: sandbox.change_job(names[29], status="complete"))
    done = await wire.of(client_of(wire, sandbox, rate_limiter=None).wait(names, timeout=600))
    assert list(done) == names
    assert all(is_finished(job) for job in done.values())
    assert sandbox.count(status=429) == 2
    # 0 s to 180 s with a look every 5 s or so: queued, processing, and mostly complete.
    assert 60 < len(sandbox.requests) < 120


async def test_a_job_that_moves_between_two_requests_is_not_lost(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(status="queued"), SandboxJob(status="processing"))
    one, other = ids_of(sandbox, 2)
    before_request(sandbox, 2, lambda: sandbox.change_job(one, status="processing"))
    before_request(sandbox, 2, lambda: sandbox.change_job(other, status="complete"))
    before_request(sandbox, 5, lambda: sandbox.change_job(one, status="cancelled"))
    changes = await wire.all(client_of(wire, sandbox).watch([one, other], timeout=600))
    assert statuses(changes, other) == ["complete"]
    assert statuses(changes, one) == ["queued", "processing", "cancelled"]


async def test_without_ids_it_watches_what_is_or_becomes_active_until_none_is(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(), SandboxJob(), old=150)
    first = ids_of(sandbox, 2)
    late: list[str] = []

    def another() -> None:
        late.extend(job.id for job in sandbox.add_jobs(SandboxJob()))

    before_request(sandbox, 10, another)
    changes = await wire.all(client_of(wire, sandbox).watch(timeout=600))
    assert {c.job.id for c in changes} == {*first, *late}
    assert {c.job.id for c in changes if is_finished(c.job)} == {*first, *late}


async def test_without_ids_a_job_that_begins_and_ends_between_two_looks_is_told(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(queued_seconds=300), old=150)
    quick: list[SandboxJob] = []

    def begin() -> None:
        wire.clock.sleep(2)  # Its start and end lie within the wait before the fourth request.
        quick.extend(sandbox.add_jobs(SandboxJob(queued_seconds=0.1, processing_seconds=0.1)))
        wire.clock.sleep(2)

    before_request(sandbox, 4, begin)
    changes = await wire.all(client_of(wire, sandbox).watch(timeout=900))
    assert statuses(changes, quick[0].id) == ["complete"]


async def test_without_ids_and_without_active_jobs_it_ends_at_once(wire: Wire) -> None:
    sandbox = submitted(wire, old=150)
    now = wire.clock.monotonic()
    assert await wire.all(client_of(wire, sandbox).watch(timeout=600)) == []
    assert wire.clock.monotonic() == now
    assert len(sandbox.requests) == 3


async def test_no_ids_are_nothing_to_wait_for(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob())
    assert await wire.of(client_of(wire, sandbox).wait([], timeout=600)) == {}
    assert sandbox.requests == []


async def test_cancelled_and_failed_jobs_are_results(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(cancelled=True), SandboxJob(failed=2))
    cancelled, failed = ids_of(sandbox, 2)
    done = await wire.of(client_of(wire, sandbox).wait([failed, cancelled], timeout=600))
    assert list(done) == [failed, cancelled]
    assert done[cancelled].attributes.status == "cancelled"
    assert done[failed].attributes.failed_count == 2


async def test_when_time_runs_out_the_error_has_all_jobs_as_last_seen(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(), SandboxJob(queued_seconds=500))
    quick, slow = ids_of(sandbox, 2)
    start = wire.clock.monotonic()
    watch = client_of(wire, sandbox).watch([quick, slow, "NONE"], timeout=100)
    error = await wire.error(WatchTimeoutError, wire.all(watch))
    assert wire.clock.monotonic() - start == 100
    assert isinstance(error, DeadlineError)
    assert error.jobs[quick].attributes.status == "complete"
    assert error.jobs[slow].attributes.status == "queued"
    assert error.jobs["NONE"] is None
    assert str(error) == f"not ended after 100 s: {slow}, NONE (2 of 3 jobs)"
    assert pickle.loads(pickle.dumps(error)).jobs == error.jobs


async def test_it_looks_once_more_when_time_runs_out(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(queued_seconds=40, processing_seconds=58))
    watch = client_of(wire, sandbox).wait(ids_of(sandbox, 1), timeout=99, interval=60)
    assert len(await wire.of(watch)) == 1


async def test_no_time_is_one_look(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob())
    client, name = client_of(wire, sandbox), ids_of(sandbox, 1)
    error = await wire.error(WatchTimeoutError, lambda: client.wait(name, timeout=0))
    assert [job.attributes.status for job in error.jobs.values()] == ["queued"]


async def test_jobs_on_no_list_are_told_after_all_others_have_ended(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(), old=150)
    (name,) = ids_of(sandbox, 1)
    changes: list[Any] = []

    async def collect() -> None:
        watch = client_of(wire, sandbox).watch(["NONE", name, "NEVER"], timeout=600)
        while change := await wire.next(watch):
            changes.append(change)

    error = await wire.error(JobsMissingError, collect())
    assert error.ids == ("NONE", "NEVER")
    assert is_finished(changes[-1].job)
    # Two complete looks: complete has two pages, the whole list too. None but these.
    assert asked(sandbox)["all"] == 4
    assert str(error).startswith("not on the list: NEVER, NONE (2 of 3 jobs); check the ids")
    assert pickle.loads(pickle.dumps(error)).ids == error.ids


async def test_a_job_that_is_listed_late_is_found(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(queued_seconds=300))
    late = SandboxJob(id="LATE", queued_seconds=500)  # The other has ended long before.
    before_request(sandbox, 14, lambda: sandbox.add_jobs(late))
    done = await wire.of(client_of(wire, sandbox).wait([*ids_of(sandbox, 1), "LATE"], timeout=900))
    assert is_finished(done["LATE"])


async def test_a_job_taken_off_the_list_is_missing(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(status="processing"), old=150)
    (name,) = ids_of(sandbox, 1)
    before_request(sandbox, 5, lambda: sandbox.remove_job(name))
    error = await wire.error(
        JobsMissingError, wire.all(client_of(wire, sandbox).watch([name], timeout=600))
    )
    assert error.ids == (name,)
    assert str(error).startswith(f"not on the list: {name}; check the ids")
    # One look as far back as the job was, and since it was not there two complete ones.
    assert asked(sandbox)["all"] == 1 + 2 + 2


async def test_without_ids_a_job_taken_off_the_list_is_missing_too(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(status="processing"), old=150)
    (name,) = ids_of(sandbox, 1)
    before_request(sandbox, 5, lambda: sandbox.remove_job(name))
    error = await wire.error(
        JobsMissingError, wire.all(client_of(wire, sandbox).watch(timeout=600))
    )
    assert error.ids == (name,)


async def test_a_status_that_nobody_knows_is_not_the_end(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(status="processing"), old=150)
    (name,) = ids_of(sandbox, 1)
    before_request(sandbox, 3, lambda: sandbox.change_job(name, status="paused"))
    before_request(sandbox, 40, lambda: sandbox.change_job(name, status="complete"))
    changes = await wire.all(client_of(wire, sandbox).watch([name], timeout=6000))
    assert statuses(changes, name) == ["processing", "paused", "complete"]
    assert asked(sandbox)["all"] < 10, "no further back in the whole list than the job is"


async def test_it_reads_no_further_back_than_the_watched_jobs(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(queued_seconds=4, processing_seconds=4), old=1000)
    name = ids_of(sandbox, 1)
    await wire.of(client_of(wire, sandbox).wait(name, timeout=600))
    assert asked(sandbox) == {"queued": 3, "processing": 2, "complete": 1}


async def test_a_cancelled_job_is_not_looked_for_in_all_of_the_past(wire: Wire) -> None:
    job = SandboxJob(queued_seconds=4, processing_seconds=4, cancelled=True)
    sandbox = submitted(wire, job, old=1000)
    await wire.of(client_of(wire, sandbox).wait(ids_of(sandbox, 1), timeout=600))
    assert asked(sandbox) == {"queued": 3, "processing": 2, "complete": 1, "cancelled": 1}


async def test_a_job_that_has_ended_before_is_found_without_reading_on(wire: Wire) -> None:
    sandbox = submitted(wire, old=1000)
    done = await wire.of(client_of(wire, sandbox).wait(ids_of(sandbox, 30), timeout=600))
    assert len(done) == 30
    assert asked(sandbox) == {"queued": 1, "processing": 1, "complete": 1}


async def test_500_jobs_cost_no_more_requests_than_one(wire: Wire) -> None:
    counts: dict[int, Counter[str]] = {}
    for count in (1, 500):
        jobs = [SandboxJob(queued_seconds=100, processing_seconds=100)] * 500
        sandbox = submitted(wire, *jobs)
        names = ids_of(sandbox, 500)[-count:]  # The oldest is on the last page, as of all.
        await wire.of(client_of(wire, sandbox).wait(names, timeout=600))
        counts[count] = asked(sandbox)
    assert counts[500] == counts[1]


async def test_the_interval_grows_while_nothing_changes_and_falls_back(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(queued_seconds=200, processing_seconds=1), SandboxJob())
    sandbox.change_job(sandbox.jobs[1].id, status="processing")
    await wire.of(
        client_of(wire, sandbox).wait(ids_of(sandbox, 1), timeout=600, interval=8, max_interval=30)
    )
    times = sorted({record.time for record in sandbox.requests})
    gaps = [round(b - a, 3) for a, b in itertools.pairwise(times)]
    assert gaps == [8, 12, 18, 27, 30, 30, 30, 30, 30]


async def test_the_interval_falls_back_when_something_changes(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(queued_seconds=30, processing_seconds=100))
    await wire.of(client_of(wire, sandbox).wait(ids_of(sandbox, 1), timeout=600))
    times = sorted({record.time for record in sandbox.requests})
    gaps = [round(b - a, 3) for a, b in itertools.pairwise(times)]
    assert gaps[:5] == [5, 7.5, 11.25, pytest.approx(16.875), 5]


async def test_it_asks_for_the_fields_it_needs_besides_those_wanted(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(), old=1)
    changes = await wire.all(
        client_of(wire, sandbox).watch(ids_of(sandbox, 1), timeout=600, fields=["failed_count"])
    )
    assert changes[-1].job.attributes.failed_count == 0
    assert changes[-1].job.attributes.total_count is None
    sent = {
        parse_qs(r.query)["fields[catalog-variant-bulk-create-job]"][0] for r in sandbox.requests
    }
    assert sent == {"failed_count,status,created_at"}


async def test_one_id_may_be_given_alone_and_any_twice(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob())
    (name,) = ids_of(sandbox, 1)
    assert list(await wire.of(client_of(wire, sandbox).wait(name, timeout=600))) == [name]
    twice = client_of(wire, sandbox).wait([name, name], timeout=600)
    assert list(await wire.of(twice)) == [name]


async def test_the_oldest_revision_is_watched_as_the_newest(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(), old=3)
    (name,) = ids_of(sandbox, 1)
    client = client_of(wire, sandbox, revision=REVISIONS[0].date)
    done = await wire.of(client.wait([name], timeout=600, fields=["status"]))
    assert job_id(done[name]) == name


async def test_what_cannot_be_mended_raises_as_it_is(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob())
    before_request(sandbox, 3, lambda: sandbox.fail_next(401))
    client, name = client_of(wire, sandbox), ids_of(sandbox, 1)
    await wire.error(AuthenticationError, lambda: client.wait(name, timeout=600))


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (503, "HTTP 503"),
        (Fault(delivery=Delivery.DROP), "the sandbox closed the connection unanswered"),
        (Fault(status=429, retry_after=90), "HTTP 429"),
    ],
)
async def test_a_passing_failure_that_outlasts_the_time_is_its_cause_and_is_named(
    wire: Wire, fault: Fault | int, named: str
) -> None:
    sandbox = submitted(wire, SandboxJob())
    before_request(sandbox, 3, lambda: sandbox.fail_next(*[fault] * 1000))
    client, name, start = client_of(wire, sandbox), ids_of(sandbox, 1), wire.clock.monotonic()
    error = await wire.error(WatchTimeoutError, lambda: client.wait(name, timeout=60))
    assert wire.clock.monotonic() - start <= 61
    assert isinstance(error.__cause__, ServerError | RateLimitError | TransportError)
    assert str(error) == f"not ended after 60 s: {name[0]}; the last failure: {named}"
    assert [job.attributes.status for job in error.jobs.values()] == ["queued"]


async def test_time_that_runs_out_before_any_job_is_seen_is_told_with_the_failure(
    wire: Wire,
) -> None:
    sandbox = submitted(wire)
    sandbox.fail_next(*[503] * 1000)
    watch = client_of(wire, sandbox).watch(timeout=5)
    error = await wire.error(WatchTimeoutError, wire.all(watch))
    assert str(error) == "still looking for jobs after 5 s; the last failure: HTTP 503"


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("[Errno 111] Connection refused", "connection refused"),
        ("[SSL: UNEXPECTED_EOF] EOF occurred (_ssl.c:1006)", "EOF occurred"),
        ("Server disconnected.", "server disconnected"),
        ("", "TransportError"),
    ],
)
def test_a_failure_of_the_network_is_named_in_a_few_words(failure: str, told: str) -> None:
    error = TransportError(f"httpx.ConnectError: {failure} [https://a.klaviyo.com]; try again")
    error.__cause__ = OSError(failure)
    assert in_brief(error) == told


def test_a_late_answer_and_one_that_is_no_page_are_named_too() -> None:
    assert in_brief(DeadlineError("no answer within 60 s; resume later")) == "no answer in time"
    assert in_brief(InvalidResponseError("HTTP 200, but ...")) == "an answer that is no page"


async def test_a_passing_failure_that_the_policy_gives_up_raises_while_time_is_left(
    wire: Wire,
) -> None:
    sandbox = submitted(wire, SandboxJob())
    sandbox.fail_next(503, 503)
    client = client_of(wire, sandbox, retry=RetryPolicy(max_attempts=2))
    name = ids_of(sandbox, 1)
    await wire.error(ServerError, lambda: client.wait(name, timeout=60))


async def test_the_last_look_ends_in_time(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob(status="queued"))
    handle, start = sandbox.handle, wire.clock.monotonic()

    def slow(request: Request) -> Response:
        wire.clock.sleep(3)
        return handle(request)

    sandbox.handle = slow  # type: ignore[method-assign]
    client, name = client_of(wire, sandbox), ids_of(sandbox, 1)
    await wire.error(WatchTimeoutError, lambda: client.wait(name, timeout=20))
    assert wire.clock.monotonic() - start == 20
    assert len(sandbox.requests) == 3


async def test_an_answer_that_drips_does_not_stretch_the_time(wire: Wire) -> None:
    sandbox = submitted(wire, SandboxJob())
    drip = Fault(delivery=Delivery.DRIP, drip_seconds=10)
    before_request(sandbox, 3, lambda: sandbox.fail_next(drip))
    start = wire.clock.monotonic()
    client, name = client_of(wire, sandbox), ids_of(sandbox, 1)
    await wire.error(WatchTimeoutError, lambda: client.wait(name, timeout=60))
    assert wire.clock.monotonic() - start <= (61 if wire.kind == "async" else 71), "a piece more"


async def test_it_keeps_to_the_quota(wire: Wire) -> None:
    sandbox = submitted(wire, *[SandboxJob()] * 300, steady=10)
    client = client_of(wire, sandbox, rate_limiter=RateLimiter(steady=10))
    done = await wire.of(client.wait(ids_of(sandbox, 300), timeout=None))
    assert len(done) == 300
    assert sandbox.count(status=429) == 0


async def test_a_list_that_goes_in_circles_raises(wire: Wire) -> None:
    sandbox = submitted(wire, *[SandboxJob()] * 300)
    page = sandbox.handle(
        Request(
            path="/api/catalog-variant-bulk-create-jobs",
            headers={"revision": "2026-07-15", "authorization": "Klaviyo-API-Key pk_x"},
        )
    )
    sandbox.handle = lambda request: page  # type: ignore[method-assign]
    client = client_of(wire, sandbox)
    await wire.error(KlaviyoError, lambda: client.wait(["NONE"], timeout=60))


@pytest.mark.parametrize(
    ("ids", "options"),
    [
        (None, {"timeout": -1}),
        (None, {"timeout": float("nan")}),
        (None, {"timeout": 60, "interval": 0}),
        (None, {"timeout": 60, "interval": 90}),
        (None, {"timeout": 60, "max_interval": float("inf")}),
        ([None], {"timeout": 60}),
        ([""], {"timeout": 60}),
        (["A"], {"timeout": 60, "fields": ["colour"]}),
        (["A"], {"timeout": 60, "fields": []}),
    ],
)
async def test_arguments_that_make_no_sense_are_refused_at_once(
    wire: Wire, ids: Any, options: dict[str, Any]
) -> None:
    sandbox = submitted(wire, SandboxJob())
    with pytest.raises(ValueError, match=r"timeout|interval|ids|field"):
        client_of(wire, sandbox).watch(ids, **options)
    assert sandbox.requests == []


async def test_the_time_must_be_given(wire: Wire) -> None:
    with pytest.raises(TypeError, match="timeout"):
        client_of(wire, submitted(wire)).watch(["A"])


async def test_a_watch_left_halfway_asks_no_more(wire: Wire) -> None:
    sandbox = submitted(wire, *[SandboxJob()] * 3)
    watch = client_of(wire, sandbox).watch(timeout=600)
    assert (await wire.next(watch)).previous is None
    await wire.close(watch)
    assert len(sandbox.requests) == 1
