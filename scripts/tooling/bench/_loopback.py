"""Threads and tasks on one limiter against the sandbox over loopback, in real time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time

import attrs

from klaviyo_variant_jobs import NEWEST, AsyncClient, Client
from klaviyo_variant_jobs.rate_limits import RateLimiter
from klaviyo_variant_jobs.sandbox import Sandbox
from klaviyo_variant_jobs.sandbox.windows import Window
from tooling.bench._simulation import ideal_s


@attrs.frozen(kw_only=True)
class Shared:
    """The result of `threads_and_tasks`."""

    requests: int
    refused: int
    seconds: float
    ideal_s: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.ideal_s


def threads_and_tasks(
    *, threads: int = 16, tasks: int = 16, each: int = 5, burst: int = 40
) -> Shared:
    """Make `each` requests per thread and task."""
    requests = (threads + tasks) * each
    limiter = RateLimiter(burst, 750)
    sandbox = Sandbox(jobs=1, burst=burst, steady=750)
    with sandbox.serve() as server, concurrent.futures.ThreadPoolExecutor(threads) as pool:
        key, url = "pk_bench", server.base_url
        started = time.monotonic()
        with Client(key, revision=NEWEST, base_url=url, rate_limiter=limiter) as client:

            def work() -> None:
                for _ in range(each):
                    client.get_page()

            futures = [pool.submit(work) for _ in range(threads)]
            asyncio.run(_run_tasks(key, url, limiter, tasks, each))
            for future in futures:
                future.result()
        seconds = time.monotonic() - started
    return Shared(
        requests=requests,
        refused=sandbox.count(status=429),
        seconds=seconds,
        ideal_s=ideal_s(requests, (Window(burst, 1),)),
    )


async def _run_tasks(key: str, url: str, limiter: RateLimiter, tasks: int, each: int) -> None:
    client = AsyncClient(key, revision=NEWEST, base_url=url, rate_limiter=limiter)

    async def work() -> None:
        for _ in range(each):
            await client.get_page()

    async with client:
        await asyncio.gather(*(work() for _ in range(tasks)))
