"""Clients list while a test has frozen the time, and go on when it no longer has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from klaviyo_variant_jobs.sandbox import Server

LISTED = """
import asyncio, datetime, sys

def client():
    import klaviyo_variant_jobs as package
    kind, url = sys.argv[1:]
    return getattr(package, kind)("pk_x", revision="2026-07-15", base_url=url)

def listed(client):
    async def all_of_it():
        return [job async for job in client.iter_jobs()]

    is_async = type(client).__name__ == "AsyncClient"
    jobs = runner.run(all_of_it()) if is_async else list(client.iter_jobs())
    assert len(jobs) == 5
    for job in jobs:
        assert job.attributes.created_at.year >= 2025, job.attributes.created_at
        assert job.attributes.created_at.utcoffset() == datetime.timedelta()

runner = asyncio.Runner()
"""
FREEZERS = {
    "freezegun": "import freezegun; frozen = lambda: freezegun.freeze_time('2020-01-01')",
    "time-machine": "import time_machine; frozen = lambda: time_machine.travel(0, tick=False)",
}
ORDERS = {
    "imported while frozen": """
with frozen():
    one = client()
    listed(one)
listed(one)
listed(client())
""",
    "first page while frozen": """
one = client()
with frozen():
    listed(one)
listed(one)
with frozen():
    listed(client())
""",
    "first page before": """
one = client()
listed(one)
with frozen():
    listed(one)
listed(one)
""",
}


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("freezer", FREEZERS.values(), ids=FREEZERS)
def test_a_client_lists_while_time_is_frozen_and_afterwards(
    server: Server, freezer: str, order: str, kind: str
) -> None:
    # A process of its own, since what matters is when modules are imported.
    program = LISTED + freezer + order + "runner.close()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, kind, server.base_url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


WAITING = """
with frozen():
    from klaviyo_variant_jobs import RateLimiter
    limiter = RateLimiter(burst=1)
    limiter.release(limiter.acquire(None, left_s=60.0), pause_s=0.001)
    event = __import__("threading").Event()
    for _ in range(100):
        event.wait(0.001)
        if not limiter.snapshot().paused_for_s:
            break
    else:
        raise AssertionError("a pause never ends while the time is frozen")
assert limiter.snapshot().paused_for_s == 0.0, "a pause is not over when the time thaws"
"""


@pytest.mark.parametrize("freezer", FREEZERS.values(), ids=FREEZERS)
def test_a_pause_ends_though_we_were_imported_while_time_was_frozen(freezer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", freezer + WAITING],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
