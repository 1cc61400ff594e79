from __future__ import annotations

import json
from pathlib import Path

import pytest
from uploads import await_upload, export

from klaviyo_variant_jobs import Client, JobsMissingError, PermissionDeniedError
from klaviyo_variant_jobs.sandbox import Fault, Sandbox, SandboxJob, VirtualClock

NO_PRICE = {"detail": "The variant has no price.", "meta": {"external_id": "SKU-1"}}


def test_an_upload_that_goes_well(
    klaviyo_client: Client, klaviyo_sandbox: Sandbox, klaviyo_clock: VirtualClock
) -> None:
    jobs = klaviyo_sandbox.add_jobs(*[SandboxJob(variants=100)] * 30)
    outcome = await_upload(klaviyo_client, [job.id for job in jobs], patience_s=600)
    assert (outcome.created, outcome.failed, outcome.unfinished) == (3000, 0, [])
    assert klaviyo_clock.monotonic() < 120
    assert len(klaviyo_sandbox.requests) < 40


def test_failed_variants_are_counted_by_reason(
    klaviyo_client: Client, klaviyo_sandbox: Sandbox
) -> None:
    (job,) = klaviyo_sandbox.add_jobs(SandboxJob(variants=5, failed=2, errors=[NO_PRICE] * 2))
    outcome = await_upload(klaviyo_client, [job.id], patience_s=600)
    assert (outcome.created, outcome.failed) == (3, 2)
    assert outcome.reasons == {"The variant has no price.": 2}


def test_a_bad_minute_of_the_api_is_not_noticed(
    klaviyo_client: Client, klaviyo_sandbox: Sandbox
) -> None:
    (job,) = klaviyo_sandbox.add_jobs(SandboxJob())
    klaviyo_sandbox.fail_next(429, Fault(status=503, retry_after=7), Fault(delivery="drop"), 500)
    assert await_upload(klaviyo_client, [job.id], patience_s=600).created == 3


def test_patience_ends(klaviyo_client: Client, klaviyo_sandbox: Sandbox) -> None:
    slow, quick = klaviyo_sandbox.add_jobs(SandboxJob(queued_seconds=9999), SandboxJob())
    outcome = await_upload(klaviyo_client, [slow.id, quick.id], patience_s=300)
    assert (outcome.created, outcome.unfinished) == (3, [slow.id])


def test_a_job_of_another_account_is_not_ours(
    klaviyo_client: Client, klaviyo_sandbox: Sandbox
) -> None:
    (theirs,) = klaviyo_sandbox.add_jobs(SandboxJob(), credential="pk_theirs")
    with pytest.raises(JobsMissingError) as missing:
        await_upload(klaviyo_client, [theirs.id], patience_s=600)
    assert missing.value.ids == (theirs.id,)


def test_an_export_goes_on_where_it_was_stopped(
    klaviyo_client: Client, klaviyo_sandbox: Sandbox, tmp_path: Path
) -> None:
    klaviyo_sandbox.add_jobs(*[SandboxJob(status="complete")] * 250)
    file = tmp_path / "jobs.ndjson"
    klaviyo_sandbox.fail_next(Fault(), 403)  # The first request is answered, the second refused.
    with pytest.raises(PermissionDeniedError):
        export(klaviyo_client, file)
    assert len(file.read_text().splitlines()) == 100
    assert export(klaviyo_client, file) == 150
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert ids == [job.id for job in klaviyo_sandbox.jobs]
    assert list(tmp_path.iterdir()) == [file]
