"""Iterating: every job once, in order, and from any place again. Both clients."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import pickle
import threading
import weakref
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs
import httpx
import pytest

from conftest import Wire
from fake_api import ORIGIN, PATH, FakeAPI, Slow, error, job, jobs, next_link, page, reply
from klaviyo_variant_jobs import (
    REVISIONS,
    APIError,
    BadRequestError,
    Checkpoint,
    CheckpointError,
    InvalidResponseError,
    KlaviyoError,
    NotFoundError,
    PaginationError,
    RateLimitError,
    RetryPolicy,
    Revision,
    RevisionRetiredError,
    ServerError,
    TransportError,
)

prefetching = pytest.mark.parametrize("prefetch", [0, 1])
MIXED = [job(n, ("complete", "queued", "processing")[n % 3]) for n in range(1, 12)]


def ids(items: list[Any]) -> list[str]:
    return [item.id for item in items]


@prefetching
async def test_every_job_comes_once_in_order_across_the_pages(wire: Wire, prefetch: int) -> None:
    api = FakeAPI(jobs(7))
    client = wire.client(api)
    assert ids(await wire.all(client.iter_jobs(prefetch=prefetch))) == [j["id"] for j in api.jobs]
    assert [query.get("page[cursor]") for query in api.queries] == [None, "at:3", "at:6"]


async def test_nothing_is_sent_before_the_first_job_is_asked_for(wire: Wire) -> None:
    api = FakeAPI(jobs(7))
    iteration = wire.client(api).iter_jobs(prefetch=1)
    assert api.requests == []
    await wire.next(iteration)
    await wire.close(iteration)


async def test_without_prefetch_a_page_is_asked_for_when_its_turn_comes(wire: Wire) -> None:
    api = FakeAPI(jobs(7))
    iteration = wire.client(api).iter_jobs()
    await wire.take(iteration, 3)
    assert len(api.requests) == 1
    await wire.next(iteration)
    assert len(api.requests) == 2


async def test_pages_come_whole_with_what_their_response_said(wire: Wire) -> None:
    api = FakeAPI(jobs(5))
    api.script.append(
        lambda request: page(
            jobs(3),
            next_link("at:3"),
            x_klaviyo_req_id="req-1",
            x_klaviyo_api_revision="2026-04-15",
            ratelimit_limit="75, 75;w=1, 750;w=60",
            ratelimit_remaining="74",
            ratelimit_reset="0",
        )
    )
    first, second = await wire.all(wire.client(api).iter_pages())
    assert ids(first.jobs) == ["J001", "J002", "J003"]
    assert (first.cursor, first.next_cursor) == (None, "at:3")
    assert (first.request_id, first.revision_served) == ("req-1", "2026-04-15")
    assert first.rate_limit.remaining == 74
    assert first.anomalies == ()
    assert (second.cursor, second.next_cursor) == ("at:3", None)
    assert (second.rate_limit, second.request_id, second.revision_served) == (None, None, None)


async def test_empty_pages_are_pages_too(wire: Wire) -> None:
    api = FakeAPI()
    api.script.extend([page([], next_link("c2")), page(jobs(1))])
    pages = await wire.all(wire.client(api).iter_pages())
    assert [len(p.jobs) for p in pages] == [0, 1]


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"data": [], "links": null}'])
async def test_missing_links_end_the_iteration(wire: Wire, body: bytes) -> None:
    api = FakeAPI()
    api.script.append(reply(200, body))
    assert await wire.all(wire.client(api).iter_jobs()) == []


async def test_an_ended_iteration_stays_ended(wire: Wire) -> None:
    api = FakeAPI(jobs(2))
    iteration = wire.client(api).iter_jobs()
    await wire.all(iteration)
    assert await wire.next(iteration) is None
    assert len(api.requests) == 1


@prefetching
async def test_several_statuses_are_one_pass_each_in_lifecycle_order(
    wire: Wire, prefetch: int
) -> None:
    api = FakeAPI(MIXED)
    client = wire.client(api)
    found = await wire.all(
        client.iter_jobs(status={"complete", "queued", "processing"}, prefetch=prefetch)
    )
    assert [j.attributes.status for j in found] == (
        ["queued"] * 4 + ["processing"] * 4 + ["complete"] * 3
    )
    assert [(q["filter"], q.get("page[cursor]")) for q in api.queries] == [
        ('equals(status,"queued")', None),
        ('equals(status,"queued")', "at:3"),
        ('equals(status,"processing")', None),
        ('equals(status,"processing")', "at:3"),
        ('equals(status,"complete")', None),
    ]


async def test_a_job_that_moves_on_between_the_passes_is_not_repeated(wire: Wire) -> None:
    api = FakeAPI()
    api.script.extend([page([job(1, "queued"), job(2, "queued")]), page([job(2), job(3)])])
    found = await wire.all(wire.client(api).iter_jobs(status=["complete", "queued"]))
    assert ids(found) == ["J001", "J002", "J003"]


async def test_filter_and_fields_go_with_every_page(wire: Wire) -> None:
    api = FakeAPI(jobs(7, "queued"))
    client = wire.client(api)
    await wire.all(client.iter_jobs(status="queued", fields=["status", "created_at"]))
    assert len(api.queries) == 3
    for query in api.queries:
        assert query["filter"] == 'equals(status,"queued")'
        assert query["fields[catalog-variant-bulk-create-job]"] == "status,created_at"


@pytest.mark.parametrize(
    "revision",
    [revision for revision in REVISIONS if revision.id_in_attributes],
    ids=lambda revision: revision.date,
)
async def test_before_2023_12_15_the_identifier_is_always_among_the_fields(
    wire: Wire, revision: Revision[Any]
) -> None:
    api = FakeAPI()
    client = wire.client(api, revision=revision)
    await wire.all(client.iter_jobs(fields=["status"]))
    (query,) = api.queries
    assert query["fields[catalog-variant-bulk-create-job]"] == "status,job_id"


@pytest.mark.parametrize(
    "cursor", ["a b+c&d=e#f?g/h%2Fi;j,k", 'WyIyMDI2Il0=="', "é\u2028", "\udcff\udc80x"]
)
async def test_a_cursor_goes_back_as_it_came(wire: Wire, cursor: str) -> None:
    raw = cursor.encode("utf-8", "surrogateescape")
    quoted = "".join(f"%{byte:02X}" for byte in raw)
    api = FakeAPI()
    api.script.extend([page(jobs(1), f"{ORIGIN}{PATH}?page%5Bcursor%5D={quoted}"), page()])
    iteration = wire.client(api).iter_jobs()
    await wire.next(iteration)
    assert Checkpoint.parse(str(iteration.checkpoint)).cursor == cursor
    await wire.all(iteration)
    name, _, sent = api.requests[1].url.query.partition(b"=")
    assert httpx.QueryParams(f"{name.decode()}=x") == httpx.QueryParams({"page[cursor]": "x"})
    assert unquote_to_bytes(sent) == raw
    assert b"&" not in sent
    assert b"+" not in sent
    assert len(api.requests) == 2


# Resuming.


@prefetching
@pytest.mark.parametrize("resumed_prefetch", [0, 1])
@pytest.mark.parametrize("status", [None, "queued", ("queued", "processing", "complete")])
async def test_resuming_at_every_position_gives_exactly_the_rest(
    wire: Wire, prefetch: int, resumed_prefetch: int, status: Any
) -> None:
    api = FakeAPI(MIXED)
    client = wire.client(api)
    everything = ids(await wire.all(client.iter_jobs(status=status)))
    assert len(everything) == (4 if status == "queued" else len(MIXED))
    for position in range(len(everything) + 1):
        iteration = client.iter_jobs(status=status, prefetch=prefetch)
        before = ids(await wire.take(iteration, position))
        place = str(iteration.checkpoint)
        await wire.close(iteration)
        assert str(iteration.checkpoint) == place
        rest = client.iter_jobs(status=status, resume=place, prefetch=resumed_prefetch)
        assert str(rest.checkpoint) == place
        assert before + ids(await wire.all(rest)) == everything


async def test_resuming_in_mid_page_repeats_no_job_whose_id_is_a_number(wire: Wire) -> None:
    api = FakeAPI([{**job(number), "id": number} for number in range(1, 8)])
    client = wire.client(api)
    iteration = client.iter_jobs()
    first = await wire.take(iteration, 5)
    rest = await wire.all(client.iter_jobs(resume=str(iteration.checkpoint)))
    assert [one.id for one in [*first, *rest]] == list("1234567")


async def test_a_value_of_another_type_in_one_listing_breaks_no_comparison(wire: Wire) -> None:
    odd = [job(1, total_count="many"), job(2, completed_count=[3]), job(3, completed_count="3")]
    listed = await wire.all(wire.client(FakeAPI(odd)).iter_jobs())
    counts = [(one.attributes.completed_count, one.attributes.total_count) for one in listed]
    assert counts == [(None, None), (None, 2), (3, 3)]
    assert [(done or 0) >= (total or 0) for done, total in counts] == [True, False, True]


@prefetching
async def test_pages_resumed_at_every_position_give_the_rest(wire: Wire, prefetch: int) -> None:
    api = FakeAPI(jobs(8))
    client = wire.client(api)
    for position in range(9):
        iteration = client.iter_jobs()
        await wire.take(iteration, position)
        pages = await wire.all(client.iter_pages(resume=iteration.checkpoint, prefetch=prefetch))
        assert [i for p in pages for i in ids(p.jobs)] == [j["id"] for j in api.jobs[position:]]
        assert all(p.jobs for p in pages)


async def test_a_page_is_passed_once_it_was_given_out(wire: Wire) -> None:
    api = FakeAPI(jobs(5))
    client = wire.client(api)
    iteration = client.iter_pages()
    assert iteration.checkpoint == Checkpoint(revision=REVISIONS[-1].date)
    await wire.next(iteration)
    assert iteration.checkpoint.cursor == "at:3"
    await wire.next(iteration)
    assert (iteration.checkpoint.offset, iteration.checkpoint.last_job_id) == (2, "J005")


async def test_resuming_on_a_page_whose_job_has_gone_repeats_it_rather_than_loses_any(
    wire: Wire,
) -> None:
    api = FakeAPI(jobs(6))
    client = wire.client(api)
    iteration = client.iter_jobs()
    await wire.take(iteration, 5)
    del api.jobs[4]
    rest = await wire.all(client.iter_jobs(resume=iteration.checkpoint))
    assert ids(rest) == ["J004", "J006"]


async def test_resuming_finds_the_job_where_new_ones_have_pushed_it(wire: Wire) -> None:
    api = FakeAPI(jobs(3))
    client = wire.client(api)
    iteration = client.iter_jobs()
    await wire.take(iteration, 1)
    api.jobs.insert(0, job(900))
    assert ids(await wire.all(client.iter_jobs(resume=iteration.checkpoint))) == ["J002", "J003"]


async def test_resume_takes_the_checkpoint_or_its_text(wire: Wire) -> None:
    client = wire.client(FakeAPI(jobs(5)))
    iteration = client.iter_jobs()
    await wire.take(iteration, 4)
    for place in (iteration.checkpoint, str(iteration.checkpoint), f" {iteration.checkpoint}\n"):
        assert ids(await wire.all(client.iter_jobs(resume=place))) == ["J005"]


async def test_statuses_in_any_order_resume_one_another(wire: Wire) -> None:
    client = wire.client(FakeAPI(MIXED))
    iteration = client.iter_jobs(status=["complete", "queued"])
    before = ids(await wire.take(iteration, 5))
    rest = client.iter_jobs(status=("queued", "complete"), resume=iteration.checkpoint)
    after = ids(await wire.all(rest))
    assert len(set(before + after)) == len(before) + len(after) == 7


async def test_an_iterator_in_use_by_another_says_so_and_goes_on(wire: Wire) -> None:
    api = FakeAPI(jobs(5))
    refused: list[RuntimeError] = []

    def meddle(request: httpx.Request) -> httpx.Response:
        # While the page is fetched, as another thread or task would.
        try:
            if wire.kind == "sync":
                next(iteration)
            else:
                anext(iteration).__await__().send(None)
        except RuntimeError as error:
            refused.append(error)
        return api.pages(request)

    api.script.append(meddle)
    iteration = wire.client(api).iter_jobs()
    assert ids(await wire.all(iteration)) == [entry["id"] for entry in api.jobs]
    (error,) = refused
    assert "already in use" in str(error)


# Errors on the way.


@prefetching
async def test_an_error_carries_the_place_after_the_last_job_and_resuming_loses_nothing(
    wire: Wire, prefetch: int
) -> None:
    api = FakeAPI(jobs(8))
    client = wire.client(api)
    api.script.extend([api.pages, error(400)])
    iteration = client.iter_jobs(prefetch=prefetch)
    before = ids(await wire.take(iteration, 3))
    raised = await wire.error(BadRequestError, iteration)
    assert raised.checkpoint == iteration.checkpoint
    assert raised.checkpoint.cursor == "at:3"
    rest = ids(await wire.all(client.iter_jobs(resume=str(raised.checkpoint))))
    assert before + rest == [j["id"] for j in api.jobs]
    assert pickle.loads(pickle.dumps(raised)).checkpoint == raised.checkpoint
    assert raised.__notes__ == [f"resume from checkpoint {raised.checkpoint}"]


@prefetching
async def test_asking_again_after_an_error_tries_again(wire: Wire, prefetch: int) -> None:
    api = FakeAPI(jobs(5))
    api.script.extend([api.pages, error(400)])
    iteration = wire.client(api).iter_jobs(prefetch=prefetch)
    await wire.take(iteration, 3)
    await wire.error(BadRequestError, iteration)
    assert ids(await wire.all(iteration)) == ["J004", "J005"]


async def test_an_error_on_the_first_page_carries_the_start(wire: Wire) -> None:
    api = FakeAPI(jobs(2))
    api.script.append(error(401))
    raised = await wire.error(KlaviyoError, wire.client(api).iter_jobs(status="queued"))
    assert raised.checkpoint == Checkpoint(revision=REVISIONS[-1].date, status=("queued",))


async def test_outside_an_iteration_an_error_has_no_checkpoint(wire: Wire) -> None:
    api = FakeAPI()
    api.script.append(error(400))
    assert (await wire.error(BadRequestError, wire.client(api).get_page)).checkpoint is None


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (f"{ORIGIN}{PATH}", "has no cursor"),
        (f"{ORIGIN}{PATH}?page[cursor]=x&page[cursor]=y", "has several cursors"),
        ("https://[::1", "has no cursor"),
        (17, "is no string but int"),
    ],
)
@prefetching
async def test_a_next_link_without_exactly_one_cursor_is_an_error_after_the_jobs_of_its_page(
    wire: Wire, link: object, said: str, prefetch: int
) -> None:
    api = FakeAPI()
    api.script.extend([page(jobs(2), link)] * 2)
    client = wire.client(api)
    iteration = client.iter_jobs(prefetch=prefetch)
    assert ids(await wire.take(iteration, 2)) == ["J001", "J002"]
    raised = await wire.error(PaginationError, iteration)
    assert said in str(raised)
    assert raised.checkpoint is not None
    assert (raised.checkpoint.offset, raised.checkpoint.last_job_id) == (2, "J002")
    assert len(api.requests) == 1
    again = await wire.error(PaginationError, iteration)
    assert again.__notes__ == raised.__notes__
    resumed = client.iter_jobs(resume=raised.checkpoint)
    assert said in str(await wire.error(PaginationError, resumed))


@prefetching
async def test_a_gateway_may_rewrite_the_next_link_since_only_its_cursor_is_taken(
    wire: Wire, prefetch: int
) -> None:
    api = FakeAPI(jobs(5))
    api.script.append(page(jobs(3), "https://evil.example/x?page[cursor]=at:3&filter=y"))
    found = await wire.all(wire.client(api).iter_jobs(prefetch=prefetch))
    assert ids(found) == [entry["id"] for entry in api.jobs]
    assert [str(request.url.copy_with(query=None)) for request in api.requests] == [
        f"{ORIGIN}{PATH}"
    ] * 2
    assert api.queries[1] == {"page[cursor]": "at:3"}


async def test_a_page_with_a_link_without_a_cursor_is_still_given(wire: Wire) -> None:
    api = FakeAPI()
    api.script.append(page(jobs(2), "https://evil.example"))
    iteration = wire.client(api).iter_pages()
    only = await wire.next(iteration)
    assert ids(only.jobs) == ["J001", "J002"]
    with pytest.raises(PaginationError, match="has no cursor"):
        _ = only.next_cursor
    await wire.error(PaginationError, iteration)


@prefetching
async def test_cursors_that_go_in_circles_end_with_an_error(wire: Wire, prefetch: int) -> None:
    api = FakeAPI()
    api.script.extend(
        [
            page([job(1)], next_link("c2")),
            page([job(2)], next_link("c3")),
            page([job(3)], next_link("c2")),
        ]
    )
    iteration = wire.client(api).iter_jobs(prefetch=prefetch)
    assert ids(await wire.take(iteration, 3)) == ["J001", "J002", "J003"]
    raised = await wire.error(PaginationError, iteration)
    assert "'c2' came before" in str(raised)
    assert len(api.requests) == 3


async def test_the_cause_of_a_failure_is_kept(wire: Wire) -> None:
    api = FakeAPI()
    api.script.append(httpx.ConnectError("refused"))
    client = wire.client(api, retry=RetryPolicy(max_attempts=1))
    raised = await wire.error(TransportError, client.iter_jobs())
    assert isinstance(raised.__cause__, httpx.ConnectError)


# Prefetch and closing.


async def test_one_page_is_fetched_ahead_while_the_jobs_are_worked_on(wire: Wire) -> None:
    api = FakeAPI(jobs(9))
    iteration = wire.client(api).iter_jobs(prefetch=1)
    await wire.next(iteration)
    await everything_ended(wire)
    assert len(api.requests) == 2
    await wire.take(iteration, 2)
    assert len(api.requests) == 2
    await wire.next(iteration)
    await wire.close(iteration)
    assert len(api.requests) <= 3


async def test_an_error_ahead_comes_when_its_turn_comes(wire: Wire) -> None:
    api = FakeAPI(jobs(5))
    api.script.extend([api.pages, error(400)])
    iteration = wire.client(api).iter_jobs(prefetch=1)
    assert ids(await wire.take(iteration, 3)) == ["J001", "J002", "J003"]
    await wire.error(BadRequestError, iteration)


@pytest.mark.parametrize("prefetch", [-1, 2, 0.5, None, "1"])
async def test_only_one_page_is_fetched_ahead(wire: Wire, prefetch: Any) -> None:
    client = wire.client(FakeAPI())
    for iterate in (client.iter_jobs, client.iter_pages):
        with pytest.raises(ValueError, match="prefetch is 0 or 1 page"):
            iterate(prefetch=prefetch)


@prefetching
async def test_a_closed_iteration_gives_nothing_more_and_leaves_nothing(
    wire: Wire, prefetch: int
) -> None:
    threads = threading.active_count()
    tasks = len(asyncio.all_tasks()) if wire.kind == "async" else 0
    client = wire.client(FakeAPI(jobs(9)))
    iteration = client.iter_jobs(prefetch=prefetch)
    await wire.next(iteration)
    place = iteration.checkpoint
    for _ in range(2):
        await wire.close(iteration)
    assert await wire.next(iteration) is None
    assert iteration.checkpoint == place
    assert threading.active_count() == threads
    if wire.kind == "async":
        assert len(asyncio.all_tasks()) == tasks


@prefetching
async def test_an_iteration_is_a_context_manager(wire: Wire, prefetch: int) -> None:
    client = wire.client(FakeAPI(jobs(9)))
    with pytest.raises(ZeroDivisionError):
        if wire.kind == "sync":
            with client.iter_jobs(prefetch=prefetch) as iteration:
                await wire.next(iteration)
                raise ZeroDivisionError
        else:
            async with client.iter_jobs(prefetch=prefetch) as iteration:
                await wire.next(iteration)
                raise ZeroDivisionError
    assert await wire.next(iteration) is None


async def test_a_run_to_the_end_leaves_no_thread_and_no_task(wire: Wire) -> None:
    threads = threading.active_count()
    await wire.all(wire.client(FakeAPI(jobs(9))).iter_jobs(prefetch=1))
    assert threading.active_count() == threads
    if wire.kind == "async":
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_ends_a_wait_of_the_page_ahead_at_once(wire: Wire) -> None:
    api = FakeAPI(jobs(9))
    api.script.extend([api.pages, *[error(503, retry_after="200")] * 9])
    iteration = wire.client(api).iter_jobs(prefetch=1)
    await wire.next(iteration)
    if wire.kind == "async":
        await asyncio.sleep(1)
    await wire.close(iteration)
    assert threading.active_count() == 1
    sent = len(api.requests)
    assert await wire.next(iteration) is None
    assert len(api.requests) == sent


async def everything_ended(wire: Wire) -> None:
    """No task and no thread but this one is left."""
    if wire.kind == "async":
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


async def test_a_dropped_iteration_is_forgotten_at_once_and_its_page_ahead_ends_by_itself(
    wire: Wire,
) -> None:
    api = FakeAPI(jobs(9))
    if wire.kind == "async":
        api.release = asyncio.Event()
        api.release.set()
    iteration = wire.client(api).iter_jobs(prefetch=1)
    await wire.next(iteration)
    if wire.kind == "async":
        assert api.release is not None
        api.release.clear()
    gone = weakref.ref(iteration)
    del iteration
    gc.collect()
    assert gone() is None
    if wire.kind == "sync":
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join()
    else:
        assert api.release is not None
        api.release.set()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
    assert len(api.requests) <= 2


async def test_the_page_ahead_of_a_dropped_iteration_is_not_tried_again(wire: Wire) -> None:
    dropped = threading.Event()

    def failure(request: httpx.Request) -> httpx.Response:
        if wire.kind == "sync":
            dropped.wait()
        return error(503)

    api = FakeAPI(jobs(9))
    api.script.extend([api.pages, *[failure] * 7])
    iteration = wire.client(api).iter_jobs(prefetch=1)
    await wire.next(iteration)
    if wire.kind == "async":
        while len(api.requests) < 2:
            await asyncio.sleep(0)
    del iteration
    gc.collect()
    dropped.set()
    await everything_ended(wire)
    assert len(api.requests) == 2


async def test_a_failed_page_ahead_of_a_dropped_iteration_is_not_reported(wire: Wire) -> None:
    api = FakeAPI(jobs(9))
    api.script.extend([api.pages, error(400)])
    iteration = wire.client(api).iter_jobs(prefetch=1)
    await wire.next(iteration)
    del iteration
    await everything_ended(wire)
    gc.collect()


async def test_the_page_ahead_is_fetched_on_a_daemon_thread(wire: Wire) -> None:
    if wire.kind == "async":
        return
    fetching: list[threading.Thread] = []

    def note(request: httpx.Request) -> httpx.Response:
        fetching.append(threading.current_thread())
        return api.pages(request)

    api = FakeAPI(jobs(9))
    api.script.extend([note, note])
    iteration = wire.client(api).iter_jobs(prefetch=1)
    await wire.next(iteration)
    await everything_ended(wire)
    assert fetching[0] is threading.current_thread()
    assert fetching[1] is not threading.current_thread()
    assert fetching[1].daemon
    await wire.close(iteration)


async def test_the_page_ahead_is_fetched_in_the_context_of_the_caller(wire: Wire) -> None:
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")
    seen: list[str] = []

    def note(request: httpx.Request) -> httpx.Response:
        seen.append(trace.get())
        return api.pages(request)

    api = FakeAPI(jobs(9))
    api.script.extend([note] * 3)
    before = trace.set("of the caller")
    assert len(await wire.all(wire.client(api).iter_jobs(prefetch=1))) == 9
    trace.reset(before)
    assert seen == ["of the caller"] * 3


@pytest.mark.parametrize("by_page", [False, True])
async def test_where_no_thread_can_be_started_a_page_is_fetched_when_its_turn_comes(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, by_page: bool
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    api = FakeAPI(jobs(9))
    client = wire.client(api)
    ahead = client.iter_pages(prefetch=1) if by_page else client.iter_jobs(prefetch=1)
    assert len(await wire.all(ahead)) == (3 if by_page else 9)
    await wire.close(ahead)
    assert len(api.requests) == 3


async def test_a_cancelled_consumer_loses_no_job(wire: Wire) -> None:
    if wire.kind == "sync":
        return
    api = FakeAPI(jobs(6))
    api.script.extend([api.pages, Slow(10, page(jobs(3, first=4)))])
    for prefetch in (0, 1):
        api.script.clear()
        api.script.extend([api.pages, Slow(10, page(jobs(3, first=4)))])
        iteration = wire.client(api).iter_jobs(prefetch=prefetch)
        before = ids(await wire.take(iteration, 3))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await anext(iteration)
        assert before + ids(await wire.all(iteration)) == [j["id"] for j in api.jobs]


async def test_two_iterations_of_one_client_do_not_meet(wire: Wire) -> None:
    client = wire.client(FakeAPI(jobs(7)))
    one, two = client.iter_jobs(prefetch=1), client.iter_jobs()
    found: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(7):
        found[0].append(await wire.next(one))
        found[1].append(await wire.next(two))
    assert ids(found[0]) == ids(found[1]) == [f"J{n:03}" for n in range(1, 8)]
    await wire.close(one)


async def test_failures_that_pass_are_not_seen_by_the_loop(wire: Wire) -> None:
    api = FakeAPI(jobs(7))
    api.script.extend(
        [
            error(429, retry_after="2"),
            api.pages,
            httpx.ReadError("reset"),
            reply(520, b"<html>"),
            api.pages,
            error(429),
        ]
    )
    client = wire.client(api)
    assert len(await wire.all(client.iter_jobs())) == 7
    assert wire.clock.monotonic() >= 3.0


async def test_a_lasting_failure_ends_with_the_jobs_so_far_kept(wire: Wire) -> None:
    api = FakeAPI(jobs(7))
    api.script.extend([api.pages, *[error(503)] * 8])
    iteration = wire.client(api, retry=RetryPolicy(max_attempts=8)).iter_jobs()
    before = ids(await wire.take(iteration, 3))
    raised = await wire.error(ServerError, iteration)
    assert raised.attempts == 8
    assert before + ids(await wire.all(iteration)) == [j["id"] for j in api.jobs]


async def test_an_odd_page_in_the_middle_is_an_error_with_a_place(wire: Wire) -> None:
    api = FakeAPI(jobs(7))
    odd = [reply(200, b'{"data": {}}', x_klaviyo_req_id=f"req-{n}") for n in range(2, 5)]
    api.script.extend([api.pages, *odd])
    iteration = wire.client(api).iter_jobs()
    await wire.take(iteration, 3)
    raised = await wire.error(InvalidResponseError, iteration)
    assert (raised.request_id, raised.attempts) == ("req-4", 3)
    assert raised.checkpoint is not None
    assert raised.checkpoint.cursor == "at:3"


async def test_a_quota_that_stays_full_is_told_with_the_wait_it_asks_for(wire: Wire) -> None:
    api = FakeAPI(jobs(3))
    api.script.append(error(429, "throttled", retry_after="86400"))
    raised = await wire.error(RateLimitError, wire.client(api).iter_jobs())
    assert raised.retry_after == 86400.0
    assert wire.clock.monotonic() == 0.0


@prefetching
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (302, b"", APIError),
        (400, b"", BadRequestError),
        (404, b"", NotFoundError),
        (410, b"", RevisionRetiredError),
        (429, b"", RateLimitError),
        (503, b"", ServerError),
        (200, b"<html>", InvalidResponseError),
    ],
)
async def test_every_error_of_an_iteration_carries_its_place(
    wire: Wire, prefetch: int, status: int, body: bytes, kind: type[KlaviyoError]
) -> None:
    api = FakeAPI(jobs(7))
    api.script.extend([api.pages, reply(status, body)])
    client = wire.client(api, retry=RetryPolicy(max_attempts=1))
    iteration = client.iter_jobs(prefetch=prefetch)
    given = await wire.take(iteration, 3)
    failed = await wire.error(kind, iteration)
    assert failed.checkpoint == iteration.checkpoint
    assert failed.__notes__ == [f"resume from checkpoint {failed.checkpoint}"]
    rest = await wire.all(client.iter_jobs(resume=str(failed.checkpoint)))
    assert ids(given + rest) == [entry["id"] for entry in api.jobs]


@prefetching
async def test_an_empty_page_does_not_end_the_iteration(wire: Wire, prefetch: int) -> None:
    api = FakeAPI(jobs(5))
    api.script.append(page([], next_link("at:0")))
    found = await wire.all(wire.client(api).iter_jobs(prefetch=prefetch))
    assert ids(found) == [entry["id"] for entry in api.jobs]


@pytest.mark.parametrize(
    ("taken_with", "resumed_with"),
    [
        ({}, {"status": "queued"}),
        ({"status": "queued"}, {}),
        ({"status": "queued"}, {"status": ["queued", "complete"]}),
        ({}, {"fields": ["status"]}),
        ({"fields": ["status"]}, {"fields": ["status", "errors"]}),
    ],
)
async def test_a_checkpoint_of_another_listing_is_refused_before_anything_is_sent(
    wire: Wire, taken_with: dict[str, Any], resumed_with: dict[str, Any]
) -> None:
    api = FakeAPI(jobs(7))
    client = wire.client(api)
    place = client.iter_jobs(**taken_with).checkpoint
    for resume in (place, str(place)):
        for iterate in (client.iter_jobs, client.iter_pages):
            with pytest.raises(CheckpointError):
                iterate(resume=resume, **resumed_with)
    assert api.requests == []


async def test_a_checkpoint_of_another_revision_is_refused_before_anything_is_sent(
    wire: Wire,
) -> None:
    api = FakeAPI(jobs(7))
    other = attrs.evolve(REVISIONS[-1], date="2020-01-01")
    place = wire.client(api, revision=other).iter_jobs().checkpoint
    with pytest.raises(CheckpointError, match=other.date):
        wire.client(api, revision=REVISIONS[-1].date).iter_jobs(resume=place)
    assert api.requests == []
