"""The cost of a permit, and how it grows with the members: one process, a real server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import attrs
import redis
import redis.asyncio

from klaviyo_variant_jobs.rate_limits import Permit, RateLimit, RateLimiter, Wait
from klaviyo_variant_jobs.redis import RedisRateLimiter
from tooling.valkey import Valkey

PLENTY = 1_000_000
SAID = RateLimit.parse(f"{PLENTY}, {PLENTY};w=1, {PLENTY};w=60", str(PLENTY - 1), "0")
LATENCY_S = 0.05
BURST = 75


@attrs.frozen(kw_only=True)
class Cost:
    """The cost of a permit in one process without contention."""

    wall_us: float
    cpu_us: float
    server_us: float
    trips: float


def cost_of_ours(server: Valkey, *, grants: int = 2_000) -> Cost:
    """Acquire and release permits, one after the other."""
    with redis.Redis(port=server.port) as client:
        limiter = RedisRateLimiter(client, burst=PLENTY, steady=PLENTY, account="cost")
        _grant(limiter)
        client.config_resetstat()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(grants):
            _grant(limiter)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        limiter.flush()
        calls, server_us = _calls(client)
    return Cost(
        wall_us=wall / grants * 1e6,
        cpu_us=cpu / grants * 1e6,
        server_us=server_us,
        trips=calls / grants,
    )


def cost_alone_us(*, grants: int = 20_000) -> float:
    """As `cost_of_ours`, with the limiter of one process."""
    limiter = RateLimiter(PLENTY, PLENTY)
    started = time.perf_counter()
    for _ in range(grants):
        _grant(limiter)
    return (time.perf_counter() - started) / grants * 1e6


def _grant(limiter: Any) -> None:
    permit = limiter.acquire(None, left_s=300.0)
    assert isinstance(permit, Permit)
    limiter.release(permit, said=SAID)


def _calls(client: redis.Redis) -> tuple[int, float]:
    """The number of trips, and the microseconds that one takes on the server."""
    seen: Any = client.info("commandstats")
    return seen["cmdstat_evalsha"]["calls"], seen["cmdstat_evalsha"]["usec_per_call"]


@attrs.frozen(kw_only=True)
class Growth:
    """The result of `growth`."""

    members: int
    used: float
    spread: float
    """Most permits of a member ÷ fewest."""
    asks: float
    trips: float
    server_us: float


def growth(server: Valkey, members: int, *, seconds: float = 8.0) -> Growth:
    """Let each member make one request after the other."""
    served = [0] * members
    asked = 0

    async def work(nth: int, until: float) -> None:
        nonlocal asked
        async with redis.asyncio.Redis(port=server.port) as client:
            account = f"growth-{members}"
            limiter = RedisRateLimiter(client, burst=BURST, steady=PLENTY, account=account)
            earlier: Any = None
            while time.monotonic() < until:
                asked += 1
                outcome: Any = limiter.acquire(earlier, left_s=300.0)
                earlier = await outcome
                if isinstance(earlier, Wait):
                    await asyncio.sleep(earlier.seconds)
                    continue
                served[nth] += 1
                await asyncio.sleep(LATENCY_S)
                limiter.release(earlier)
            flushed = limiter.flush()
            assert flushed is not None
            await flushed

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(work(nth, until) for nth in range(members)))

    with redis.Redis(port=server.port) as client:
        client.config_resetstat()
        asyncio.run(all_of_them())
        calls, server_us = _calls(client)
    # A place is taken for the latency of its request and one window after it.
    possible = BURST * seconds / (1.0 + LATENCY_S)
    return Growth(
        members=members,
        used=sum(served) / min(possible, members * seconds / LATENCY_S),
        spread=max(served) / max(1, min(served)),
        asks=asked / sum(served),
        trips=calls / sum(served),
        server_us=server_us,
    )
