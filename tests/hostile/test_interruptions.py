"""Cancelled tasks, forked processes, exceptions of signal handlers: what comes from outside."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

import httpx
import pytest

from hostile.drive import KEY
from hostile.fault_server import FaultServer
from klaviyo_variant_jobs import (
    NEWEST,
    AsyncClient,
    Client,
    KlaviyoError,
    RateLimiter,
    RetryPolicy,
    TokenError,
    TransportError,
    job_id,
    pagination,
)
from klaviyo_variant_jobs.iteration import progress
from klaviyo_variant_jobs.rate_limits import headers, limiter, quota, shared, turn

ONCE = RetryPolicy(max_attempts=1)


def make(kind: Any, server: FaultServer, **options: Any) -> Any:
    options.setdefault("rate_limiter", RateLimiter.unlimited())
    return kind(KEY, revision=NEWEST, base_url=server.url, timeout=5.0, **options)


@pytest.mark.parametrize("turns", [1, 5, 10, 20])
def test_hundreds_of_cancelled_calls_leave_a_client_as_good_as_new(
    server: FaultServer, turns: int
) -> None:
    async def main() -> None:
        async with make(AsyncClient, server, retry=ONCE) as client:
            for _ in range(130):
                call = asyncio.create_task(client.get_page())
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait([call])
            page = await client.get_page()
            assert [entry.id for entry in page.jobs] == ["A1", "A2", "A3"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_cancelled_calls_do_not_disturb_those_beside_them(server: FaultServer) -> None:
    chance = random.Random(7)

    async def disturb(client: AsyncClient[Any]) -> None:
        for _ in range(60):
            call = asyncio.create_task(client.get_page())
            for _ in range(chance.randrange(30)):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])

    async def main() -> None:
        async with make(AsyncClient, server, retry=ONCE) as client:
            disturbing = [asyncio.create_task(disturb(client)) for _ in range(3)]
            while not all(task.done() for task in disturbing):
                assert [entry.id async for entry in client.iter_jobs(prefetch=1)] == server.ids

    asyncio.run(main())


def test_a_client_lends_a_connection_again_and_closes_all_with_itself(server: FaultServer) -> None:
    with make(Client, server) as client:
        for _ in range(5):
            client.get_page()
    assert (server.accepted, len(server.requests)) == (1, 5)


FORKING = """
import os, sys
from klaviyo_variant_jobs import Client, RateLimiter
client = Client("pk_test", revision=sys.argv[2], base_url=sys.argv[1], timeout=5,
                rate_limiter=RateLimiter(burst=10_000, steady=100_000))
def everything():
    return [job.id for job in client.iter_jobs()]
before = everything()
halfway = client.iter_jobs(prefetch=1)
begun = [next(halfway).id]
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        same = all(everything() == before for _ in range(5))
        same = same and begun + [job.id for job in halfway] == before
        os._exit(0 if same else 1)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
sys.exit(any(codes) or everything() != before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_forked_processes_read_their_own_answers(server: FaultServer) -> None:
    command = [
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        FORKING,
        server.url,
        NEWEST.date,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_process_is_not_held_up_by_what_its_parent_was_doing() -> None:
    limiter = RateLimiter(burst=2, steady=100)
    under_way = [limiter.join(0.0) for _ in range(3)]
    limiter._turn.lock.acquire()
    shared._start_in_child()
    snapshot = limiter.snapshot(0.0)
    assert (snapshot.in_flight, snapshot.waiting) == (0, 0)
    assert limiter.join(0.0).wait_s(0.0) == 0.0
    assert len(under_way) == 3


@pytest.mark.parametrize("end", ["answered", "refused", "failed", "cancel"])
def test_what_a_parent_has_under_way_ends_in_a_forked_process_without_a_trace(end: str) -> None:
    paced = RateLimiter(burst=2, steady=100)
    inherited = [paced.join(0.0) for _ in range(3)]
    shared._start_in_child()
    ours = paced.join(0.0)
    for ticket in inherited:
        assert ticket.wait_s(0.0) == 0.0
        more = {"answered": (None,), "refused": (5.0,)}.get(end, ())
        getattr(ticket, end)(0.0, *more)
    del ticket, inherited
    assert (paced.snapshot(0.0).in_flight, paced.snapshot(0.0).paused_for_s) == (1, 0.0)
    ours.refused(0.0, 1.0)
    assert paced.join(0.5).wait_s(0.5) == pytest.approx(0.5)


class Interrupt(Exception):
    """What a signal handler raises."""


def interrupted_at(line: int, run: Callable[[], object], *rooms: ModuleType) -> bool:
    """Run, and raise before line number `line` of those executed in the rooms; tells whether."""
    files = {room.__file__ for room in rooms}
    seen = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal seen
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        # Leaving a block is an event of its line, but no signal is looked at there.
        seen += event == "line" and not source.lstrip().startswith("with ")
        if seen == line:
            seen += 1
            raise Interrupt
        return count

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        # What a request that failed leaves is seen out by a lock that is only tried for.
        left_out = ("settle", "__del__")  # And Python swallows what comes out of the latter.
        inside = code.co_filename in files and code.co_name not in left_out
        return count if inside else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_exception_of_a_signal_handler_anywhere_in_the_limiter_costs_no_place() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"ratelimit-limit": "3, 3;w=1, 90;w=60", "ratelimit-remaining": "1"}
        return httpx.Response(200, headers=headers, content=b'{"data": [], "links": {}}')

    line = 0
    interrupted = True
    while interrupted:
        line += 1
        paced = RateLimiter(burst=3, steady=90)
        with (
            httpx.Client(transport=httpx.MockTransport(answer)) as http_client,
            Client(KEY, revision=NEWEST, rate_limiter=paced, http_client=http_client) as c,
        ):
            c.get_page()
            interrupted = interrupted_at(line, c.get_page, headers, limiter, quota, turn)
        assert not paced._turn.lock.locked()
        now = c._clock.monotonic()
        for later in (100.0, 200.0):  # Who was called and did not come loses the place.
            tickets = [paced.join(now + later) for _ in range(4)]
            assert tickets[-1].wait_s(now + later + 1.0) > 0.0
            for ticket in tickets:
                ticket.cancel(now + later + 1.0)
        assert paced.snapshot(now + 400.0).in_flight == 0, line
    assert line > 20, "nothing was interrupted"


@pytest.mark.parametrize("status", [None, ["queued", "complete"]])
def test_an_exception_of_a_signal_handler_at_a_page_turn_loses_no_job(status: Any) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        # Two pages for each status; with several, the second pass meets a job of the first.
        first = "page%5Bcursor%5D=x" not in str(request.url)
        own = "complete" if "complete" in str(request.url) else "queued"
        names = ["both", own] if first else [f"{own} 2", f"{own} 3"]
        link = f"https://a.klaviyo.com{NEWEST.path}?page%5Bcursor%5D=x" if first else None
        document = {"data": [{"id": name} for name in names], "links": {"next": link}}
        return httpx.Response(200, json=document)

    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    client = Client(
        KEY, revision=NEWEST, rate_limiter=RateLimiter.unlimited(), http_client=http_client
    )
    everything = [job_id(job) for job in client.iter_jobs(status=status)]
    assert len(everything) == len(set(everything)) > 3
    line = 0
    interrupted = True
    while interrupted:
        line += 1
        iteration = client.iter_jobs(status=status)
        taken: list[str | None] = []

        def take(jobs: Any = iteration, into: Any = taken) -> None:
            into.extend(job_id(job) for job in jobs)

        interrupted = interrupted_at(line, take, pagination, progress)
        place = str(iteration.checkpoint)
        rest = [job_id(job) for job in client.iter_jobs(status=status, resume=place)]
        # A resume is another run, which may meet a job of an earlier pass again.
        assert list(dict.fromkeys([*taken, *rest])) == everything, line
        take()
        assert taken == everything, line
    assert line > 60, "nothing was interrupted"
    http_client.close()


def test_ctrl_c_while_waiting_for_the_page_ahead_leaves_no_thread_and_loses_no_job(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(Client, server) as client, client.iter_jobs(prefetch=1) as iteration:
        taken = [next(iteration).id for _ in range(3)]
        ahead = iteration._ahead
        assert ahead is not None
        with monkeypatch.context() as patch:
            # As a signal does it: on a lock of the interpreter, with the thread still running.
            patch.setattr(ahead._done, "wait", _interrupt)
            patch.setattr(ahead._thread, "is_alive", lambda: True)
            with pytest.raises(KeyboardInterrupt):
                next(iteration)
            assert iteration._ahead is ahead
        assert taken == ["A1", "A2", "A3"]
    assert "klaviyo-variant-jobs ahead" not in {thread.name for thread in threading.enumerate()}


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_the_page_ahead_is_still_there_after_ctrl_c(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(Client, server) as client, client.iter_jobs(prefetch=1) as iteration:
        taken = [next(iteration).id for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(iteration._ahead, "wait", _interrupt)
            with pytest.raises(KeyboardInterrupt):
                next(iteration)
        taken += [entry.id for entry in iteration]
        assert taken == server.ids
        assert len(server.requests) == len(server.pages)


def test_a_page_ahead_that_others_cancelled_is_asked_for_again(server: FaultServer) -> None:
    async def main() -> None:
        async with make(AsyncClient, server) as client, client.iter_jobs(prefetch=1) as iteration:
            taken = [(await anext(iteration)).id]
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            taken += [entry.id async for entry in iteration]
            assert taken == server.ids

    asyncio.run(main())


def test_a_token_from_a_task_that_was_cancelled_is_a_token_error(server: FaultServer) -> None:
    async def token() -> str:
        refreshing = asyncio.create_task(asyncio.sleep(60, "token"))
        refreshing.cancel()
        return await refreshing

    async def main() -> None:
        async with AsyncClient(access_token=token, revision=NEWEST, base_url=server.url) as client:
            with pytest.raises(TokenError, match="nothing was sent"):
                await client.get_page()
            caller = asyncio.create_task(client.get_page())
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller

    asyncio.run(main())
    assert server.requests == []


def test_a_closed_httpx_client_is_told_of_at_once(server: FaultServer) -> None:
    http_client = httpx.Client()
    http_client.close()
    with (
        make(Client, server, http_client=http_client) as client,
        pytest.raises(KlaviyoError, match=r"RuntimeError: .*closed.*look at http_client"),
    ):
        client.get_page()


def test_an_exception_of_a_hook_goes_through_as_it_is(server: FaultServer) -> None:
    def hook(request: httpx.Request) -> None:
        raise Interrupt

    with (
        httpx.Client(event_hooks={"request": [hook]}) as http_client,
        make(Client, server, http_client=http_client) as client,
        pytest.raises(Interrupt),
    ):
        client.get_page()


def test_an_answer_that_a_hook_has_closed_is_a_failure_and_not_read(server: FaultServer) -> None:
    def hook(response: httpx.Response) -> None:
        response.close()

    async def hook_async(response: httpx.Response) -> None:
        await response.aclose()

    async def main() -> None:
        async with (
            httpx.AsyncClient(event_hooks={"response": [hook_async]}) as http_client,
            make(AsyncClient, server, http_client=http_client, retry=ONCE) as client,
        ):
            with pytest.raises(TransportError, match="StreamClosed"):
                await client.get_page()

    with (
        httpx.Client(event_hooks={"response": [hook]}) as http_client,
        make(Client, server, http_client=http_client, retry=ONCE) as client,
        pytest.raises(TransportError, match="StreamClosed"),
    ):
        client.get_page()
    asyncio.run(main())


def test_a_timeout_of_a_hook_is_not_taken_for_our_deadline(server: FaultServer) -> None:
    async def hook(request: httpx.Request) -> None:
        raise TimeoutError("the tracer is away")

    async def main() -> None:
        async with (
            httpx.AsyncClient(event_hooks={"request": [hook]}) as http_client,
            make(AsyncClient, server, http_client=http_client, retry=ONCE) as client,
        ):
            with pytest.raises(TransportError, match="the tracer is away"):
                await client.get_page()

    asyncio.run(main())


def test_an_async_mock_that_has_run_out_is_not_the_end_of_the_list(server: FaultServer) -> None:
    link = f"{server.url}{NEWEST.path}?page%5Bcursor%5D=x"
    answers = iter([httpx.Response(200, json={"data": [{"id": "A"}], "links": {"next": link}})])

    async def answer(request: httpx.Request) -> httpx.Response:
        for response in answers:
            return response
        raise StopAsyncIteration

    async def main() -> None:
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http_client,
            make(AsyncClient, server, http_client=http_client) as client,
        ):
            iteration = client.iter_jobs()
            assert job_id(await anext(iteration)) == "A"
            with pytest.raises(KlaviyoError, match="StopAsyncIteration"):
                await anext(iteration)

    asyncio.run(main())


def test_closing_from_another_event_loop_neither_fails_nor_waits(server: FaultServer) -> None:
    client = make(AsyncClient, server)
    iteration = client.iter_jobs(prefetch=1)

    async def begin() -> None:
        await anext(iteration)

    async def end() -> None:
        await iteration.aclose()
        await client.aclose()

    with asyncio.Runner() as first:
        first.run(begin())
        asyncio.run(end())
        first.run(asyncio.sleep(0))  # Where the page ahead is cancelled.
        first.run(client.aclose())

    async def enter() -> None:
        async with client:
            await client.get_page()

    with pytest.raises(KlaviyoError, match=r"closed|another event loop"):
        asyncio.run(enter())
    gc.collect()


def test_a_mock_that_has_run_out_is_no_page(server: FaultServer) -> None:
    answers = iter([httpx.Response(200, content=b'{"data": []}')])
    transport = httpx.MockTransport(lambda request: next(answers))
    with (
        httpx.Client(transport=transport) as http_client,
        make(Client, server, http_client=http_client) as client,
    ):
        client.get_page()
        with pytest.raises(KlaviyoError, match="StopIteration"):
            client.get_page()


def test_threads_that_ask_for_a_first_page_at_once_all_send_whole_requests(
    server: FaultServer,
) -> None:
    switching_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            with make(Client, server) as client:
                threads = [threading.Thread(target=client.get_page) for _ in range(6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
    finally:
        sys.setswitchinterval(switching_s)
    assert len(server.requests) == 60
    for request in server.requests:
        assert request.headers["authorization"] == f"Klaviyo-API-Key {KEY}"
        assert request.headers["revision"] == NEWEST.date
        assert "host" in request.headers
