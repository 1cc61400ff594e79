"""Prefetch: wall time of a list whose consumer waits as long as the network does."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

from klaviyo_variant_jobs import AsyncClient, Client, RateLimiter
from tooling.bench._contestants import KEY
from tooling.bench._figures import Figure, show
from tooling.bench._pages import REVISION, Listing
from tooling.bench._server import page_server


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="bench prefetch", description=__doc__)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--delay-ms", type=int, default=50, help="latency, and work, per page")
    options = parser.parse_args(argv)
    listing = Listing(pages=options.pages, delay_ms=options.delay_ms)
    wall_s: dict[tuple[str, int], float] = {}
    with page_server() as server:
        url = server + listing.prefix
        for prefetch in (0, 1):
            wall_s["sync", prefetch] = _sync_s(url, prefetch, options.delay_ms / 1000)
            wall_s["async", prefetch] = asyncio.run(
                _async_s(url, prefetch, options.delay_ms / 1000)
            )
    return show(
        "prefetch",
        [(f"{kind}, prefetch={ahead}", f"{s:.2f} s") for (kind, ahead), s in wall_s.items()],
        [
            Figure(f"{kind}, without/with", wall_s[kind, 0] / wall_s[kind, 1], at_least=1.9)
            for kind in ("sync", "async")
        ],
    )


def _sync_s(url: str, prefetch: int, work_s: float) -> float:
    limiter = RateLimiter(999_999, 999_999)
    with Client(KEY, revision=REVISION, base_url=url, rate_limiter=limiter) as client:
        started = time.monotonic()
        for _ in client.iter_pages(prefetch=prefetch):
            time.sleep(work_s)
        return time.monotonic() - started


async def _async_s(url: str, prefetch: int, work_s: float) -> float:
    limiter = RateLimiter(999_999, 999_999)
    async with AsyncClient(KEY, revision=REVISION, base_url=url, rate_limiter=limiter) as client:
        started = time.monotonic()
        async for _ in client.iter_pages(prefetch=prefetch):
            await asyncio.sleep(work_s)
        return time.monotonic() - started
