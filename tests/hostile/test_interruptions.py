"""Cancelled tasks, forked processes, exceptions of signal handlers: what comes from outside."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import linecache
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from hostile.drive import KEY
from hostile.fault_server import Fault, FaultServer, Honest, Reply, honest
from http_library import http
from klaviyo_variant_jobs import (
    NEWEST,
    AsyncClient,
    Client,
    KlaviyoError,
    RateLimiter,
    RetryPolicy,
    TokenError,
    TransportError,
    iteration as progress,
    job_id,
    pagination,
    rate_limits,
)
from klaviyo_variant_jobs.sandbox import VirtualClock

ONCE = RetryPolicy(max_attempts=1)


def make(kind: Any, server: FaultServer | str, **options: Any) -> Any:
    options.setdefault("rate_limiter", RateLimiter.unlimited())
    url = server if isinstance(server, str) else server.url
    return kind(KEY, revision=NEWEST, base_url=url, timeout=5.0, **options)


CANCELLED = 1_500
"""More show no more: 10,000 left as little."""


async def answer_pages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve a page for every request on a connection, in the event loop of the client."""
    body = b'{"data": [{"id": "A"}], "links": {"next": null}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with contextlib.closing(writer), contextlib.suppress(ConnectionError, EOFError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + body[:20])
            await writer.drain()
            await asyncio.sleep(0)  # A cancellation may come in the midst of a body, too.
            writer.write(body[20:])
            await writer.drain()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets are counted on Linux")
def test_requests_cancelled_at_random_moments_leave_a_client_as_good_as_new() -> None:
    chance = random.Random(7)

    async def cancel(client: AsyncClient[Any], calls: int) -> None:
        for _ in range(calls):
            call = asyncio.create_task(client.get_page())
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])

    async def left(client: AsyncClient[Any], calls: int) -> tuple[int, int, int]:
        """Sockets, tasks and blocks of memory held after so many cancelled requests."""
        await asyncio.gather(*(cancel(client, calls // 5) for _ in range(5)))
        assert [entry.id for entry in (await client.get_page()).jobs] == ["A"]
        await settled()
        gc.collect()
        sockets = sum(1 for _ in Path("/proc/self/fd").iterdir())
        return sockets, len(asyncio.all_tasks()), sys.getallocatedblocks()

    async def settled() -> None:
        for _ in range(100):  # Until the server has seen which connections were closed.
            await asyncio.sleep(0)

    async def main() -> None:
        before = sum(1 for _ in Path("/proc/self/fd").iterdir())
        server = await asyncio.start_server(answer_pages, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, make(AsyncClient, url, retry=ONCE) as client:
            memory = (await left(client, 100))[2]
            sockets, tasks, memory_later = await left(client, CANCELLED)
            # The one that listens, and both ends of the connections that five requests had at once.
            assert sockets <= before + 1 + 2 * 5
            assert tasks <= 1 + 5
            assert memory_later - memory < CANCELLED
        await settled()

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
        paced = RateLimiter(burst=10**6, steady=10**6)
        async with make(AsyncClient, server, retry=ONCE, rate_limiter=paced) as client:
            disturbing = [asyncio.create_task(disturb(client)) for _ in range(3)]
            while not all(task.done() for task in disturbing):
                assert [entry.id async for entry in client.iter_jobs(prefetch=1)] == server.ids
        assert paced.snapshot().pending == 0

    asyncio.run(main())


def test_a_client_uses_a_connection_again(server: FaultServer) -> None:
    with make(Client, server) as client:
        for _ in range(5):
            client.get_page()
    assert (server.accepted, len(server.requests)) == (1, 5)


FORKING = """
import os, signal, sys
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
        signal.alarm(30)
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


HELD = """
import os, signal, sys, threading
from klaviyo_variant_jobs import Clock, Permit, RateLimiter
parent, asked, go_on = os.getpid(), threading.Event(), threading.Event()
class Held(Clock):
    def monotonic(self):
        if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
            asked.set()
            go_on.wait()
        return 1000.0
limiter = RateLimiter(burst=2, steady=100, clock=Held())
under_way = [limiter.acquire(None, left_s=9.0) for _ in range(3)]
assert [isinstance(answer, Permit) for answer in under_way] == [True, True, False]
looking = threading.Thread(target=limiter.snapshot)
looking.start()
asked.wait()
child = os.fork()
if not child:
    signal.alarm(20)
    for permit in under_way[:2]:
        limiter.release(permit, **eval(sys.argv[1]))
    seen = limiter.snapshot()
    ours = [isinstance(limiter.acquire(None, left_s=9.0), Permit) for _ in range(3)]
    expected = (0, 0, 0.0, [True, True, False])
    os._exit((seen.pending, seen.waiting, seen.paused_for_s, ours) != expected)
go_on.set()
looking.join()
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.parametrize("end", ["{}", "{'pause_s': 5.0}", "{'sent': False}"])
def test_what_a_parent_has_under_way_neither_holds_up_a_forked_process_nor_counts_there(
    end: str,
) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HELD, end]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


LONGER_THAN_A_PERMIT_LASTS_S = 3_600.0


class Interrupt(Exception):
    """What a signal handler raises."""


def interrupted_at(line: int, run: Callable[[], object], *modules: ModuleType) -> bool:
    """Run, and raise before line number `line` of those executed in the modules; tells whether."""
    files = {module.__file__ for module in modules}
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
        # Python swallows what comes out of __del__, and looks at no signal between taking an item
        # from a list and returning it.
        left_out = ("__del__", "__next__")
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


def test_an_exception_of_a_signal_handler_in_the_limiter_costs_at_most_a_permit_that_expires() -> (
    None
):
    def answer(request: http.Request) -> http.Response:
        headers = {
            "ratelimit-limit": "3, 3;w=1, 90;w=60",
            "ratelimit-remaining": "1",
            "content-type": "application/vnd.api+json",
        }
        return http.Response(200, headers=headers, content=b'{"data": [], "links": {}}')

    http_client = http.Client(transport=http.MockTransport(answer))
    line = 0
    interrupted = True
    while interrupted:
        line += 1
        clock = VirtualClock()
        paced = RateLimiter(burst=3, steady=90)
        client = Client(
            KEY, revision=NEWEST, rate_limiter=paced, http_client=http_client, clock=clock
        )
        client.get_page()
        interrupted = interrupted_at(line, client.get_page, rate_limits)
        # In a thread: a limiter whose lock was never let go of would hold up the tests.
        looking = threading.Thread(target=paced.snapshot, daemon=True)
        looking.start()
        looking.join(10.0)
        assert not looking.is_alive(), line
        clock.sleep(LONGER_THAN_A_PERMIT_LASTS_S)
        assert (paced.snapshot().pending, paced.snapshot().waiting) == (0, 0), line
        began = clock.monotonic()
        for _ in range(4):
            client.get_page()
        assert 0.0 < clock.monotonic() - began < 3.0, line
    assert line > 20, "nothing was interrupted"
    http_client.close()


@pytest.mark.parametrize("status", [None, ["queued", "complete"]])
def test_an_exception_of_a_signal_handler_at_a_page_turn_loses_no_job(status: Any) -> None:
    def answer(request: http.Request) -> http.Response:
        # Two pages for each status; with several, the second pass meets a job of the first.
        first = "page%5Bcursor%5D=x" not in str(request.url)
        own = "complete" if "complete" in str(request.url) else "queued"
        names = ["both", own] if first else [f"{own} 2", f"{own} 3"]
        link = f"https://a.klaviyo.com{NEWEST.path}?page%5Bcursor%5D=x" if first else None
        document = {"data": [{"id": name} for name in names], "links": {"next": link}}
        return http.Response(200, json=document)

    http_client = http.Client(transport=http.MockTransport(answer))
    client = Client(
        KEY, revision=NEWEST, rate_limiter=RateLimiter.unlimited(), http_client=http_client
    )
    everything = [job_id(job) for job in client.iter_jobs(status=status)]
    assert len(everything) == len(set(everything)) > 3
    pages = list(client.iter_pages(status=status))
    line = unusable = 0
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
        try:
            take()
        except RuntimeError as error:
            # At the one line that takes the mark of use away, the iterator is lost, but no job.
            assert "already in use" in str(error)
            unusable += 1
        else:
            assert taken == everything, line
    assert unusable <= 2 * len(pages)
    assert line > 60, "nothing was interrupted"
    http_client.close()


def interrupted_while_waiting(iteration: Any, server_goes_on: threading.Event) -> None:
    """Ask for an item that the server keeps back, and press Ctrl-C meanwhile."""
    asking, interrupted = threading.Event(), threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asking.is_set() and not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def press() -> None:
        asking.wait()
        # Again and again: one that comes just before a lock is waited for does not end the wait.
        while not interrupted.wait(0.02):
            signal.pthread_kill(main_thread, signal.SIGINT)

    main_thread = threading.get_ident()
    before = signal.signal(signal.SIGINT, interrupt)
    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            asking.set()
            next(iteration)
    finally:
        server_goes_on.set()
        interrupted.set()
        pressing.join()
        signal.signal(signal.SIGINT, before)


def kept_back(goes_on: threading.Event) -> Fault:
    def fault(answer: Honest) -> Reply:
        goes_on.wait()
        return answer.reply

    return fault


needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="no signals to threads here"
)


@needs_signals
def test_ctrl_c_while_waiting_for_the_page_ahead_leaves_no_thread_and_loses_no_job(
    server: FaultServer,
) -> None:
    goes_on = threading.Event()
    server.say(honest, kept_back(goes_on))
    with make(Client, server) as client:
        with client.iter_jobs(prefetch=1) as iteration:
            taken = [next(iteration).id for _ in range(3)]
            interrupted_while_waiting(iteration, goes_on)
        assert "klaviyo-variant-jobs ahead" not in {thread.name for thread in threading.enumerate()}
        taken += [entry.id for entry in client.iter_jobs(resume=iteration.checkpoint)]
    assert taken == server.ids


@needs_signals
def test_the_page_ahead_is_still_there_after_ctrl_c(server: FaultServer) -> None:
    goes_on = threading.Event()
    server.say(honest, kept_back(goes_on))
    with make(Client, server) as client, client.iter_jobs(prefetch=1) as iteration:
        taken = [next(iteration).id for _ in range(3)]
        interrupted_while_waiting(iteration, goes_on)
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
    http_client = http.Client()
    http_client.close()
    with (
        make(Client, server, http_client=http_client) as client,
        pytest.raises(KlaviyoError, match=r"RuntimeError: .*closed.*look at http_client"),
    ):
        client.get_page()


LIBRARY = ("httpx", "httpcore", "httpx2", "httpcore2", "h11", "anyio")


@pytest.mark.parametrize("moment", ["request", "response"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_exception_of_a_hook_goes_through_with_its_own_frames_and_none_of_the_library(
    server: FaultServer, kind: Any, moment: str
) -> None:
    def deeper() -> None:
        raise Interrupt

    def hook(message: object) -> None:
        deeper()

    async def hook_async(message: object) -> None:
        deeper()

    async def main() -> None:
        async with (
            http.AsyncClient(event_hooks={moment: [hook_async]}) as http_client,
            make(kind, server, http_client=http_client) as client,
        ):
            await client.get_page()

    with pytest.raises(Interrupt) as caught:
        if kind is AsyncClient:
            asyncio.run(main())
        with (
            http.Client(event_hooks={moment: [hook]}) as http_client,
            make(kind, server, http_client=http_client) as client,
        ):
            client.get_page()
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    names = [frame.f_code.co_name for frame in frames]
    assert names[-2:] == ["hook" if kind is Client else "hook_async", "deeper"]
    modules = {frame.f_globals["__name__"].partition(".")[0] for frame in frames}
    assert modules.isdisjoint(LIBRARY)


def test_an_answer_that_a_hook_has_closed_is_a_failure_and_not_read(server: FaultServer) -> None:
    def hook(response: http.Response) -> None:
        response.close()

    async def hook_async(response: http.Response) -> None:
        await response.aclose()

    async def main() -> None:
        async with (
            http.AsyncClient(event_hooks={"response": [hook_async]}) as http_client,
            make(AsyncClient, server, http_client=http_client, retry=ONCE) as client,
        ):
            with pytest.raises(TransportError, match="StreamClosed"):
                await client.get_page()

    with (
        http.Client(event_hooks={"response": [hook]}) as http_client,
        make(Client, server, http_client=http_client, retry=ONCE) as client,
        pytest.raises(TransportError, match="StreamClosed"),
    ):
        client.get_page()
    asyncio.run(main())


def test_a_timeout_of_a_hook_is_not_taken_for_our_deadline(server: FaultServer) -> None:
    async def hook(request: http.Request) -> None:
        raise TimeoutError("the tracer is away")

    async def main() -> None:
        async with (
            http.AsyncClient(event_hooks={"request": [hook]}) as http_client,
            make(AsyncClient, server, http_client=http_client, retry=ONCE) as client,
        ):
            with pytest.raises(TransportError, match="the tracer is away"):
                await client.get_page()

    asyncio.run(main())


def test_an_async_mock_that_has_run_out_is_not_the_end_of_the_list(server: FaultServer) -> None:
    link = f"{server.url}{NEWEST.path}?page%5Bcursor%5D=x"
    answers = iter([http.Response(200, json={"data": [{"id": "A"}], "links": {"next": link}})])

    async def answer(request: http.Request) -> http.Response:
        for response in answers:
            return response
        raise StopAsyncIteration

    async def main() -> None:
        async with (
            http.AsyncClient(transport=http.MockTransport(answer)) as http_client,
            make(AsyncClient, server, http_client=http_client) as client,
        ):
            iteration = client.iter_jobs()
            assert job_id(await anext(iteration)) == "A"
            with pytest.raises(KlaviyoError, match="StopAsyncIteration"):
                await anext(iteration)

    asyncio.run(main())


def test_without_asyncio_an_async_client_says_that_it_needs_it(server: FaultServer) -> None:
    client = make(AsyncClient, server)
    calls = [client.get_page(), anext(client.iter_jobs()), anext(client.iter_pages(prefetch=1))]
    for call in calls:
        # As trio does it: by steps, with no event loop of asyncio running.
        with pytest.raises(KlaviyoError, match="AsyncClient needs asyncio"):
            call.__await__().send(None)
    assert server.requests == []


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
    answers = iter([http.Response(200, content=b'{"data": []}')])
    transport = http.MockTransport(lambda request: next(answers))
    with (
        http.Client(transport=transport) as http_client,
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


AT_EXIT = """
import atexit, sys
from klaviyo_variant_jobs import Client

client = Client("pk_test", revision="2026-07-15", base_url=sys.argv[1])
jobs = client.iter_jobs(prefetch=1)
print(next(jobs).id)
atexit.register(lambda: print(*[job.id for job in jobs]))
"""


def test_a_listing_goes_on_while_the_interpreter_exits(server: FaultServer) -> None:
    # From 3.12 on no thread can be started then.
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == server.ids
