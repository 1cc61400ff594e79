"""A served sandbox that programs in other languages tell what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from klaviyo_variant_jobs import Client, RateLimiter
from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock


@pytest.fixture
def sandbox(clock: VirtualClock) -> Sandbox:
    return Sandbox(jobs=0, clock=clock)


@pytest.fixture
def outside(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with sandbox.serve(control=True) as server, httpx.Client(base_url=server.base_url) as outside:
        yield outside


def listed(outside: httpx.Client, key: str, clock: VirtualClock) -> list[Any]:
    limiter = RateLimiter.unlimited()
    url = str(outside.base_url)
    with Client(key, base_url=url, rate_limiter=limiter, clock=clock) as client:
        return list(client.iter_jobs())


def test_faults_are_met_by_the_next_requests(
    outside: httpx.Client, sandbox: Sandbox, clock: VirtualClock
) -> None:
    told = outside.post(
        "/sandbox/faults",
        json=[429, {"status": 503, "retry_after": 3}, {"delivery": "drop"}, {"status": 500}],
    )
    assert told.json() == {"faults_left": 4}
    assert listed(outside, "pk_any", clock) == []
    assert [record.status for record in sandbox.requests] == [429, 503, 200, 500, 200]
    assert outside.get("/sandbox/faults").json() == {"faults_left": 0}
    assert [record["status"] for record in outside.get("/sandbox/requests").json()] == [
        *(429, 503, 200, 500, 200)
    ]


def test_jobs_can_be_added_for_all_and_for_one(outside: httpx.Client, clock: VirtualClock) -> None:
    added = outside.post(
        "/sandbox/jobs",
        json=[
            {"variants": 5, "failed": 1, "status": "complete"},
            {"id": "OLD", "created_at": "2026-01-01T00:00:00", "credential": "pk_mine"},
        ],
    ).json()
    assert added[1] == {"id": "OLD", "created_at": "2026-01-01T00:00:00Z"}
    mine = listed(outside, "pk_mine", clock)
    assert [job.id for job in mine] == [job["id"] for job in added]
    assert mine[0].attributes.failed_count == 1
    assert len(listed(outside, "pk_other", clock)) == 1


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("faults", b"{}", "array"),
        ("faults", b'[{"statsu": 1}]', "statsu"),
        ("faults", b"[7]", "between"),
        ("faults", b'[{"delivery": "pigeon"}]', "pigeon"),
        ("jobs", b'[{"variants": "many"}]', "int"),
        ("jobs", b'[{"credential": "sk_x"}]', "credential"),
        ("jobs", b"[", "truncated"),
    ],
)
def test_what_means_nothing_is_refused_with_a_reason(
    clock: VirtualClock, path: str, body: bytes, said: str
) -> None:
    sandbox = Sandbox(jobs=0, clock=clock, access_tokens={})
    with sandbox.serve(control=True) as server:
        answer = httpx.post(
            f"{server.base_url}/sandbox/{path}",
            content=body,
            headers={"content-type": "application/json"},
        )
    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert sandbox.faults_left == sandbox.jobs == []


def test_what_a_web_page_can_send_unasked_is_not_taken(outside: httpx.Client) -> None:
    assert outside.post("/sandbox/faults", content=b"[429]").status_code == 415
    assert outside.post("/sandbox/faults", data={"a": "b"}).status_code == 415
    assert outside.get("/sandbox/faults").json() == {"faults_left": 0}


def test_what_there_is_is_told_at_any_other_path(outside: httpx.Client) -> None:
    answer = outside.get("/sandbox/")
    assert answer.status_code == 404
    assert "POST /sandbox/faults" in answer.json()["message"]


def test_nothing_can_be_told_unless_it_was_asked_for(sandbox: Sandbox) -> None:
    with sandbox.serve() as server:
        assert httpx.post(f"{server.base_url}/sandbox/faults", json=[429]).status_code >= 400
    assert sandbox.faults_left == []
