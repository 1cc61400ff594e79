"""A service in a few lines, which scripts/compatibility freezes: it lists all jobs at a URL."""

from __future__ import annotations

import asyncio
import sys

import klaviyo_variant_jobs
from klaviyo_variant_jobs import AsyncClient, Client, RateLimiter
from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS


def main(url: str) -> None:
    limiter = RateLimiter.unlimited()
    for revision in REVISIONS:
        with Client("pk_x", revision=revision, base_url=url, rate_limiter=limiter) as client:
            assert len(list(client.iter_jobs(prefetch=1))) == 250
    asyncio.run(list_async(url))
    print(f"listed by {klaviyo_variant_jobs.__file__}")


async def list_async(url: str) -> None:
    async with AsyncClient(
        "pk_x", revision=NEWEST, base_url=url, rate_limiter=RateLimiter.unlimited()
    ) as client:
        assert len([job async for job in client.iter_jobs(prefetch=1)]) == 250


if __name__ == "__main__":
    main(sys.argv[1])
