"""A service's code, checked by mypy: which job model a client is known to give."""

from typing import assert_type

from klaviyo_variant_jobs import AsyncClient, Client
from klaviyo_variant_jobs_api.r2022_10_17.models.job import Job as OldestJob
from klaviyo_variant_jobs_api.r2026_07_15.models.job import Job as NewestJob
from klaviyo_variant_jobs_api.registry import R2022_10_17


def counts(date: str) -> None:
    with Client() as newest:
        for job in newest.iter_jobs(status="processing"):
            assert_type(job, NewestJob)
            assert_type(job.attributes.completed_count, int | None)
    for job in Client(revision="2026-07-15").iter_jobs():
        assert_type(job, NewestJob)
    for old in Client(revision=R2022_10_17).iter_jobs():
        assert_type(old, OldestJob)
        assert_type(old.attributes.job_id, str | None)
    for some in Client(revision=date).iter_jobs():
        assert_type(some, OldestJob | NewestJob)


async def counts_async() -> None:
    async with AsyncClient(revision="2026-07-15") as client:
        async for page in client.iter_pages(prefetch=1):
            assert_type(page.next_cursor, str | None)


def misuse(client: Client[NewestJob]) -> None:
    client.iter_jobs("processing")  # type: ignore[call-arg]
    client.get_page(page_size=10)  # type: ignore[call-arg]
    Client(api_key="pk_x", timeot=3)  # type: ignore[call-overload]
