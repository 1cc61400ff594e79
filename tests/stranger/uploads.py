"""A stranger's service: it uploads variants elsewhere, and asks here what became of the jobs.

It is written as a user of `klaviyo_variant_jobs` would write it. Its tests need no network, no
account and no waiting.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from klaviyo_variant_jobs import (
    AsyncClient,
    AuthenticationError,
    Client,
    KlaviyoError,
    WatchTimeoutError,
    job_id,
)


@dataclass
class Outcome:
    """What became of an upload."""

    created: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    unfinished: list[str] = field(default_factory=list)


def await_upload(client: Client, ids: Iterable[str], *, patience_s: float) -> Outcome:
    """Wait until the jobs of an upload have ended; what has not by then is `unfinished`."""
    outcome = Outcome()
    try:
        jobs = client.wait(ids, timeout=patience_s)
    except WatchTimeoutError as error:
        jobs = {name: job for name, job in error.jobs.items() if job is not None}
        outcome.unfinished = [
            name
            for name, job in error.jobs.items()
            if job is None or job.attributes.status in ("queued", "processing")
        ]
    for job in jobs.values():
        outcome.created += job.attributes.completed_count or 0
        outcome.failed += job.attributes.failed_count or 0
        outcome.reasons.update(error.detail or "?" for error in job.attributes.errors or ())
    return outcome


def export(client: Client, file: Path) -> int:
    """Append every job to `file`, from where the last run was stopped; returns how many."""
    place = file.with_suffix(".checkpoint")
    resume = place.read_text() if place.exists() else None
    written = 0
    with file.open("a") as lines, client.iter_jobs(resume=resume) as jobs:
        try:
            for job in jobs:
                attributes = job.attributes
                lines.write(json.dumps({"id": job_id(job), "status": attributes.status}) + "\n")
                written += 1
        except KlaviyoError as error:
            place.write_text(str(error.checkpoint))
            raise
    place.unlink(missing_ok=True)
    return written


async def healthy(clients: dict[str, AsyncClient]) -> dict[str, bool]:
    """Which accounts let us in."""
    answers: dict[str, bool] = {}
    for account, client in clients.items():
        try:
            await client.get_page(fields=["status"])
            answers[account] = True
        except AuthenticationError:
            answers[account] = False
    return answers


async def progress(client: AsyncClient) -> list[str]:
    """A line for each change of any active job, until none is."""
    return [
        f"{job_id(change.job)} {change.job.attributes.status} "
        f"{change.job.attributes.completed_count}/{change.job.attributes.total_count}"
        async for change in client.watch(timeout=None)
    ]
