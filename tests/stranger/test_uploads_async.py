"""Under pytest-asyncio and under anyio's plugin, both in virtual time."""

from __future__ import annotations

import httpx
import pytest
from uploads import healthy, progress

from klaviyo_variant_jobs import AsyncClient
from klaviyo_variant_jobs.sandbox import Sandbox, SandboxJob, VirtualClock


@pytest.mark.asyncio
async def test_progress_takes_no_time_to_test(
    klaviyo_async_client: AsyncClient, klaviyo_sandbox: Sandbox, klaviyo_clock: VirtualClock
) -> None:
    (job,) = klaviyo_sandbox.add_jobs(SandboxJob(queued_seconds=600, processing_seconds=3000))
    lines = await progress(klaviyo_async_client)
    assert lines[0] == f"{job.id} queued 0/3"
    assert lines[-1] == f"{job.id} complete 3/3"
    assert klaviyo_clock.monotonic() >= 3600


@pytest.mark.anyio
async def test_an_account_that_locks_us_out_does_not_hide_the_others(
    klaviyo_clock: VirtualClock,
) -> None:
    sandbox = Sandbox(clock=klaviyo_clock, api_keys={"pk_one": "one", "pk_two": "two"})
    clients = {
        account: AsyncClient(
            key,
            revision="2026-07-15",
            http_client=httpx.AsyncClient(transport=sandbox.transport()),
            clock=klaviyo_clock,
        )
        for account, key in (("one", "pk_one"), ("revoked", "pk_old"), ("two", "pk_two"))
    }
    assert await healthy(clients) == {"one": True, "revoked": False, "two": True}


@pytest.mark.anyio
async def test_a_service_in_one_loop_has_an_account_each(klaviyo_clock: VirtualClock) -> None:
    sandbox = Sandbox(jobs=0, clock=klaviyo_clock)
    sandbox.add_jobs(SandboxJob(id="MINE"), credential="pk_mine_anyio")
    client = AsyncClient(
        "pk_mine_anyio",
        revision="2026-07-15",
        http_client=httpx.AsyncClient(transport=sandbox.transport()),
        clock=klaviyo_clock,
    )
    assert (await progress(client))[-1] == "MINE complete 3/3"
