"""A service's code, checked by mypy: which job model a client is known to give.

It names no date of its own, so that it holds for whatever revisions are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, assert_never, assert_type

import httpx
import httpx2
import redis
import redis.asyncio

from klaviyo_variant_jobs import (
    NEWEST,
    AnyJob,
    AsyncClient,
    Change,
    Client,
    Iteration,
    NewestJob,
    Page,
    Permit,
    RateLimit,
    RateLimiter,
    Revision,
    Wait,
)
from klaviyo_variant_jobs.redis import RedisRateLimiter

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import NewestDate

JobT = TypeVar("JobT")


def counts(date: str, newest: NewestDate) -> None:
    with Client() as client:
        for job in client.iter_jobs(status="processing"):
            assert_type(job, NewestJob)
            assert_type(job.attributes.completed_count, int | None)
    for job in Client(revision=newest).iter_jobs():
        assert_type(job, NewestJob)
    for job in Client(revision=NEWEST).iter_jobs():
        assert_type(job, NewestJob)
    for some in Client(revision=date).iter_jobs():
        assert_type(some, AnyJob)


def first_of(revision: Revision[JobT]) -> JobT | None:
    with Client(revision=revision) as client:
        assert_type(client, Client[JobT])
        return next(client.iter_jobs(), None)


async def counts_async(date: str, newest: NewestDate) -> None:
    async with AsyncClient(revision=newest) as client:
        async for page in client.iter_pages(prefetch=1):
            assert_type(page.next_cursor, str | None)
            assert_type(page.jobs[0], NewestJob)
    async for some in AsyncClient(revision=date).iter_jobs():
        assert_type(some, AnyJob)


async def through_clients_of_either_library() -> None:
    Client(http_client=httpx.Client(), timeout=httpx.Timeout(3.0))
    Client(http_client=httpx2.Client(), timeout=httpx2.Timeout(3.0))
    AsyncClient(http_client=httpx.AsyncClient())
    AsyncClient(http_client=httpx2.AsyncClient())
    Client(http_client=httpx2.AsyncClient())  # type: ignore[call-overload]
    AsyncClient(http_client=httpx2.Client())  # type: ignore[call-overload]


def counts_of_any(client: Client) -> int:
    """A bare `Client` is one of any revision."""
    jobs = client.iter_jobs()
    assert_type(jobs, Iteration[AnyJob])
    assert_type(client.get_page(), Page[AnyJob])
    return sum(job.attributes.total_count or 0 for job in jobs)


async def first_of_any(client: AsyncClient) -> AnyJob:
    return await anext(client.iter_jobs())


class OwnLimiter:
    """What the protocol asks of a limiter, written out."""

    def acquire(self, earlier: Wait | None, *, left_s: float) -> Permit | Wait:
        return Wait(0.1) if earlier is None else Permit()

    def release(
        self,
        permit: Permit,
        *,
        sent: bool = True,
        said: RateLimit | None = None,
        pause_s: float | None = None,
    ) -> None: ...

    def flush(self) -> None: ...


def paced(shared: redis.Redis, shared_async: redis.asyncio.Redis) -> None:
    Client(rate_limiter=OwnLimiter())
    Client(rate_limiter=RateLimiter(burst=10))
    Client(rate_limiter=RateLimiter.unlimited())
    Client(rate_limiter=RedisRateLimiter(shared))
    AsyncClient(rate_limiter=RedisRateLimiter(shared_async))


class Service:
    """Holds a client of whichever revision it is configured with."""

    client: Client

    def __init__(self, date: str, revision: Revision[NewestJob], newest: NewestDate) -> None:
        self.client = Client()
        self.client = Client(revision=newest)
        self.client = Client(revision=revision)
        self.client = Client(revision=date)
        with Client() as client:
            counts_of_any(client)
        self.pages: Iterator[Page] = Client().iter_pages()
        self.jobs: Iterator[AnyJob] = Client().iter_jobs()
        self.changes: Iterator[Change] = Client().watch(timeout=60.0)


async def pass_on() -> AnyJob:
    async with AsyncClient() as client:
        some: AsyncClient = client
        return await first_of_any(some)


def is_over(job: NewestJob) -> bool:
    match job.attributes.status:
        case "queued" | "processing":
            return False
        case "complete" | "cancelled":
            return True
        case other:
            # With every known status handled something else may still come.
            assert_never(other)  # type: ignore[arg-type]


def misuse(client: Client[NewestJob]) -> None:
    client.iter_jobs(state="processing")  # type: ignore[call-arg]
    client.get_page(page_size=10)  # type: ignore[call-arg]
    Client(api_key="pk_x", timeot=3)  # type: ignore[call-overload]
