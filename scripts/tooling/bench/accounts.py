"""Many accounts at once on one event loop, with one client each, against one account."""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Sequence

from klaviyo_variant_jobs import AsyncClient, RateLimiter
from tooling.bench._contestants import KEY, counted_async
from tooling.bench._figures import Figure, show
from tooling.bench._pages import REVISION, Listing
from tooling.bench._server import page_server


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="bench accounts", description=__doc__)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--pages", type=int, default=10, help="of each account")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    one: list[float] = []
    many: list[float] = []
    with page_server() as server:
        long = server + Listing(pages=options.accounts * options.pages // 4).prefix
        short = server + Listing(pages=options.pages).prefix
        for _ in range(options.rounds):
            one.append(asyncio.run(_jobs_per_cpu_s(long, 1)))
            many.append(asyncio.run(_jobs_per_cpu_s(short, options.accounts)))
    alone, together = statistics.median(one), statistics.median(many)
    return show(
        "accounts",
        [
            ("1 account", f"{alone:.0f} jobs/CPU s"),
            (f"{options.accounts} accounts", f"{together:.0f} jobs/CPU s"),
        ],
        [Figure(f"{options.accounts} accounts/1", together / alone, at_least=0.85)],
    )


async def _jobs_per_cpu_s(url: str, accounts: int) -> float:
    """Jobs per CPU second; includes connecting, but not making the clients."""
    clients = [
        AsyncClient(
            f"{KEY}{number}",
            revision=REVISION,
            base_url=url,
            rate_limiter=RateLimiter(999_999, 999_999),
        )
        for number in range(accounts)
    ]
    gc.collect()
    started = time.process_time()
    jobs = await asyncio.gather(*(counted_async(client.iter_jobs()) for client in clients))
    cpu_s = time.process_time() - started
    for client in clients:
        await client.aclose()
    return sum(jobs) / cpu_s
