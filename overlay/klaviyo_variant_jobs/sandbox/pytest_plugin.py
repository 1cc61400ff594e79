"""Pytest fixtures for code that uses the client. Put this into the top conftest.py:

    pytest_plugins = ["klaviyo_variant_jobs.sandbox.pytest_plugin"]

Each test gets a clock, a sandbox without jobs, a credential and a quota of its own:

    def test_my_report(klaviyo_client, klaviyo_sandbox):
        klaviyo_sandbox.add_jobs(SandboxJob(failed=2))
        klaviyo_sandbox.fail_next(429, Fault(delivery="drop"))
        assert my_report(klaviyo_client) == ...

Async tests need this line in conftest.py, so that they run in virtual time:

    from klaviyo_variant_jobs.sandbox.loops import anyio_backend, pytest_asyncio_loop_factories

Without it the first request of an `AsyncClient` raises `RuntimeError`, which names the line. A test
fails if a fault given to `fail_next` was not used: it did not test what it was meant to.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from klaviyo_variant_jobs import AsyncClient, Client
from klaviyo_variant_jobs.sandbox.api import Sandbox
from klaviyo_variant_jobs.sandbox.loops import follow
from klaviyo_variant_jobs.sandbox.virtual_time import VirtualClock

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import NewestJob


@pytest.fixture
def klaviyo_clock() -> VirtualClock:
    """A clock on which waits take no time; `monotonic()` is the virtual seconds so far."""
    clock = VirtualClock()
    follow(clock)
    return clock


@pytest.fixture
def klaviyo_sandbox(klaviyo_clock: VirtualClock) -> Iterator[Sandbox]:
    """A fake API without jobs. Fails the test if a scripted fault was not used."""
    sandbox = Sandbox(jobs=0, clock=klaviyo_clock)
    yield sandbox
    if left := sandbox.faults_left:
        pytest.fail(
            f"{len(left)} of the faults given to fail_next were not used: "
            + ", ".join(map(str, left)),
            pytrace=False,
        )


@pytest.fixture
def klaviyo_client(klaviyo_sandbox: Sandbox) -> Iterator[Client[NewestJob]]:
    """A client of the newest revision, connected to the sandbox, with a key of its own."""
    http_client = httpx.Client(transport=klaviyo_sandbox.transport())
    with (
        http_client,
        Client(_new_key(), http_client=http_client, clock=klaviyo_sandbox.clock) as client,
    ):
        yield client


@pytest.fixture
def klaviyo_async_client(klaviyo_sandbox: Sandbox) -> AsyncClient[NewestJob]:
    """`klaviyo_client` for asyncio. It need not be closed, as it opens no connection."""
    http_client = httpx.AsyncClient(transport=klaviyo_sandbox.transport())
    return AsyncClient(_new_key(), http_client=http_client, clock=klaviyo_sandbox.clock)


def _new_key() -> str:
    # Clients of one key share a limiter, which outlives the test.
    return f"pk_test_{uuid.uuid4().hex}"
